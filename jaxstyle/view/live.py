"""What a page knows of a run: an observer that keeps a copy of the canvas while someone looks."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxstyle.images.canvas import floats_within
from jaxstyle.images.picture_file import encode
from jaxstyle.optimization.optimizer import shown
from jaxstyle.painting.events import Event, RunEnded, StepsDone
from jaxstyle.painting.variants import Lane

BETWEEN = 0.5
"""Least time between two copies of the canvas, in seconds."""

LONGEST_SHOWN = 1024
"""A larger canvas is scaled for the page, in pixels."""


class Live:
    """An observer that a server asks, from its own thread, for the latest canvas and losses.

    Attributes:
      looking: how many look now; with none a step costs a comparison.
      how: how the run ended, or "".
      stop: ends the run as Ctrl-C does.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        """Takes what ends the run."""
        self.looking, self.how, self.stop = 0, "", stop
        self._lock, self._next = threading.Lock(), 0.0
        self._latest: tuple[Lane, Any, dict[str, Any]] | None = None

    def see(self, event: Event) -> None:
        """Copies the canvas, if it is time and someone looks; always at the end."""
        if not isinstance(event, StepsDone | RunEnded) or event.lane.chunk is None:
            return
        ended = isinstance(event, RunEnded)
        if not ended and (not self.looking or time.monotonic() < self._next):
            return
        chunk, lane = event.lane.chunk, event.lane
        losses = {**chunk.losses.terms, "total": chunk.losses.total}
        facts = {
            "step": lane.steps_done,
            "steps": sum(level.steps for level in lane.levels),
            "losses": {name: float(each[-1]) for name, each in losses.items() if len(each)},
        }
        snapshot = lane.snapshot() if ended else None
        canvas = shown(chunk.state) if snapshot is None else snapshot.canvas
        with self._lock:
            self._latest = lane, np.array(canvas), facts
            self.how = event.how if isinstance(event, RunEnded) else ""
        self._next = time.monotonic() + BETWEEN

    def linger(self, seconds: float = 1.5) -> None:
        """Waits, at most so long, until those who look have been told the end and shown it."""
        until, somebody = time.monotonic() + seconds, self.looking > 0
        while self.looking and time.monotonic() < until:
            time.sleep(0.05)
        if somebody:
            time.sleep(0.5)  # what was told first asks for the last picture

    def facts(self) -> dict[str, Any]:
        """Returns step, steps, losses by term, and how the run ended."""
        with self._lock:
            return {**({} if self._latest is None else self._latest[2]), "how": self.how}

    def picture(self) -> bytes | None:
        """Returns the canvas as a PNG file, made smaller for the page; None before the first."""
        with self._lock:
            latest = self._latest
        if latest is None:
            return None
        picture = latest[0].picture_of(latest[1])
        return encode(floats_within(picture, LONGEST_SHOWN), ".png", {})
