"""What a page knows of a run: an observer that keeps a copy of the canvas while someone looks."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxstyle.images.canvas import floats_within
from jaxstyle.images.color import as_floats
from jaxstyle.images.picture_file import encode
from jaxstyle.machine.process import resident_bytes
from jaxstyle.optimization.optimizer import shown
from jaxstyle.painting.events import Event, LevelBegun, RunEnded, RunRefused, StepsDone
from jaxstyle.painting.variants import Lane
from jaxstyle.runs.progress import Clock, size_text

BETWEEN = 0.5
"""Least time between two copies of the canvas, in seconds."""

MOST_SHARE = 0.02
"""Most of one core's time that goes into pictures for the page: they come less often then."""

LONGEST_SHOWN = 1024
"""A larger canvas is scaled for the page, in pixels."""


def as_told(value: float) -> float | None:
    """Returns a loss as a page is told it, in four digits; None if it is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


Save = Callable[[Lane, NDArray[np.float32], int], str | None]
"""Saves a canvas after so many steps; returns the file's name, or None if that failed."""


class Live:
    """An observer that a server asks, from its own threads, for the latest canvas and losses.

    Attributes:
      looking: how many look now; with none a step costs a comparison.
      how: how all ended, or "".
      stop: ends the run as Ctrl-C does.
      pause: least time between two copies of the canvas, in seconds.
      runs: of a sweep, by run its name and "waiting", "painting", "refused" or how it ended.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        *,
        save: Save | None = None,
        runs: Mapping[str, str] | None = None,
    ) -> None:
        """Takes what ends the run and what saves its canvas.

        Args:
          stop: ends the run.
          save: saves its canvas.
          runs: of a sweep, by name, how they ended in an earlier call, or "waiting": these are the
            ones that events count.
        """
        self.looking, self.how, self.stop = 0, "", stop
        self.runs = [{"name": name, "state": state} for name, state in (runs or {}).items()]
        self._places = [i for i, each in enumerate(self.runs) if each["state"] == "waiting"]
        self._save, self._wants_save, self._saved = save, False, ""
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._next, self.pause = 0.0, BETWEEN
        self._lane: Lane | None = None
        self._clock, self._first, self._level, self._done = Clock([]), 1, 0, 0
        self._canvas: NDArray[np.float32] | None = None
        self._version = 0
        self._made: dict[str, tuple[Any, bytes]] = {}

    def see(self, event: Event) -> None:
        """Copies the canvas, if it is time and someone looks; always at the end of a run."""
        if isinstance(event, RunRefused):
            self._note(event.run, "refused")
        elif isinstance(event, LevelBegun):
            if not event.lane.idle:
                self._begin(event)
        elif isinstance(event, StepsDone | RunEnded):
            if isinstance(event, StepsDone) and event.lane is self._lane:
                self._take(event)
            if isinstance(event, RunEnded):
                self._end(event)

    def _begin(self, event: LevelBegun) -> None:
        """Follows a run from here on, unless the one that is followed still goes on."""
        self._note(event.run, "painting")
        with self._lock:
            if self._lane is None or self._lane is not event.lane:
                if self._lane is not None and self._is_painting(self._lane):
                    return
                self._lane, self._canvas, self._made = event.lane, None, {}
                self._clock = Clock(event.lane.levels, seconds=event.lane.seconds)
            self._done = event.lane.steps_done
            self._level = 1 + [level is event.level for level in event.lane.levels].index(True)

    def _is_painting(self, lane: Lane) -> bool:
        return bool(self.runs) and self.runs[self._places[lane.number]]["state"] == "painting"

    def _take(self, event: StepsDone) -> None:
        """Takes note of steps: of the canvas only if it is time and someone looks."""
        lane, now = event.lane, time.monotonic()
        self._clock.see(event)
        self._done = lane.steps_done  # a server's thread may not read states: calls use them up
        self._first = self._done + 1 - sum(len(part.total) for part in lane.history)
        saves = self._wants_save and len(event.chunk.learning_rate) > 0 and lane.failure is None
        if not saves and (not self.looking or now < self._next):
            return
        canvas = np.array(shown(event.chunk.state))
        with self._lock:
            self._canvas, self._version = canvas, self._version + 1
        self._next = time.monotonic() + self.pause
        if saves and self._save is not None:
            self._wants_save = False
            given = (self._save, lane, canvas, self._done)
            threading.Thread(target=self._saving, args=given).start()

    def _saving(self, save: Save, lane: Lane, canvas: NDArray[np.float32], done: int) -> None:
        self._saved = save(lane, canvas, done) or "nothing: see the warning in the terminal"

    def _end(self, event: RunEnded) -> None:
        self._note(event.run, event.how)
        if event.lane is not self._lane:
            return
        snapshot = event.lane.snapshot()
        with self._lock:
            if snapshot is not None:
                self._canvas, self._version = np.array(snapshot.canvas), self._version + 1
            if not self.runs:
                self.how = event.how

    def _note(self, run: int, state: str) -> None:
        if self.runs:
            place = self._places[run]
            self.runs[place] = {**self.runs[place], "state": state}

    def end(self, how: str) -> None:
        """Takes note of how a sweep ended."""
        self.how = how

    @property
    def can_save(self) -> bool:
        """Whether `save_now` does something."""
        return self._save is not None

    def save_now(self) -> None:
        """Has the canvas saved after the next step."""
        self._wants_save = True

    def linger(self, seconds: float = 1.5) -> None:
        """Waits, at most so long, until those who look have been told the end and shown it."""
        until, somebody = time.monotonic() + seconds, self.looking > 0
        while self.looking and time.monotonic() < until:
            time.sleep(0.05)
        if somebody:
            time.sleep(0.5)  # what was told first asks for the last picture

    def facts(self) -> dict[str, Any]:
        """Returns all that a page shows beside pictures and curves, as JSON has it."""
        with self._lock:
            lane, level, version = self._lane, self._level, self._version
            found: dict[str, Any] = {} if lane is None else self._facts_of(lane, level)
            canvas = {} if self._canvas is None else {"version": version}
        more = {"runs": list(self.runs)} if self.runs else {}
        return {
            **found,
            **canvas,
            **more,
            "saves": self.can_save,
            "saved": self._saved,
            "how": self.how,
        }

    def _facts_of(self, lane: Lane, level: int) -> dict[str, Any]:
        done, history = self._done, list(lane.history)
        losses = next((part for part in reversed(history) if len(part.total)), None)
        left = self._clock.left(done) if self._clock.seconds else None
        waiting = sum(each["state"] == "waiting" for each in self.runs)
        if left is not None:
            left = round(left + waiting * (self._clock.seconds + left))
        return {
            "step": done,
            "steps": sum(each.steps for each in lane.levels),
            "run": self._places[lane.number] if self.runs else lane.number,
            "level": level,
            "levels": len(lane.levels),
            "size": size_text(lane.levels[level - 1].content.shape),
            "full": lane.levels[-1].content.shape[:2],
            "styles": len(lane.variant.styles),
            "left": left,
            "memory": round(resident_bytes(), -7),
            "losses": {} if losses is None else losses[-1].numbers(),
        }

    def curves(self, run: int, sent: int) -> dict[str, Any] | None:
        """Returns the losses before every step by term, without those that were sent already.

        Args:
          run: the number of the run of which they were.
          sent: how many.

        Returns:
          "run", "first" (the number, from 1, of the first step of all), "from" and "terms"; None
          if there is nothing new. A value that is not finite is None.
        """
        lane = self._lane
        if lane is None:
            return None
        start = sent if run == lane.number else 0
        terms: dict[str, list[float | None]] = {}
        before = 0
        for part in list(lane.history):
            count = len(part.total)
            for name, values in part.by_name().items() if before + count > start else ():
                new = np.asarray(values)[max(0, start - before) :]
                terms.setdefault(name, []).extend(map(as_told, new.tolist()))
            before += count
        if not terms:
            return None
        return {"run": lane.number, "first": self._first, "from": start, "terms": terms}

    def picture(self, suffix: str = ".png") -> bytes | None:
        """Returns the canvas as a file, made smaller for the page; None before the first.

        It is made once for all who look, and the time that this takes decides when the next comes.
        """
        with self._making:
            with self._lock:
                lane, canvas, version = self._lane, self._canvas, self._version
            if lane is None or canvas is None:
                return None
            if self._made.get(suffix, (-1,))[0] == version:
                return self._made[suffix][1]
            began = time.thread_time()
            picture = floats_within(lane.picture_of(canvas), LONGEST_SHOWN)
            data = encode(picture, suffix, {})
            self.pause = max(BETWEEN, (time.thread_time() - began) / MOST_SHARE)
            self._made[suffix] = version, data
            return data

    def given(self, name: str, number: int = 0) -> bytes | None:
        """Returns the photo ("content") or a "style" as a JPEG file; None if there is none."""
        with self._making:
            lane, key = self._lane, f"{name}/{number}"
            if lane is None:
                return None
            last = lane.levels[-1]
            there = {"content": (last.content,), "style": last.styles}[name]
            if not 0 <= number < len(there):
                return None
            if self._made.get(key, (None,))[0] is not lane:
                picture = as_floats(np.asarray(there[number]))
                self._made[key] = lane, encode(floats_within(picture, LONGEST_SHOWN), ".jpg", {})
            return self._made[key][1]
