"""The film of a run: its canvas at one size, frames evenly in log time, the last one held."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import Say
from jaxstyle.images.canvas import Picture, as_picture
from jaxstyle.images.film_file import encode_film
from jaxstyle.machine.process import unbreakable
from jaxstyle.optimization.optimizer import shown
from jaxstyle.painting.events import Event, RunEnded, StepsDone
from jaxstyle.painting.variants import Lane

MOST_FRAMES = 120

LONGEST_SIDE = 720
"""Frames have no more pixels than this: all of them are in memory, at most 190 MB."""


def due_steps(steps: int) -> list[int]:
    """Returns after which steps there is a frame: evenly in log time, each once, 1 and the last."""
    parts = np.linspace(0, 1, MOST_FRAMES)
    return sorted({round(steps ** float(part)) for part in parts})


def frame_size(size: tuple[int, int]) -> tuple[int, int]:
    """Returns the even (H, W) of the frames of a result of (H, W)."""
    factor = min(1, LONGEST_SIDE / max(size))
    height, width = (max(2, round(side * factor / 2) * 2) for side in size)
    return height, width


class Film:
    """An observer that keeps the canvas after some steps, to be written as a film in the end.

    Calls of several steps show their last one alone, and a run that goes on begins a new film.
    """

    def __init__(
        self,
        path: Path,
        *,
        steps: int,
        size: tuple[int, int],
        force: bool,
        say: Say,
        writes: bool = True,
    ) -> None:
        """Takes where to write, and what of which run.

        Args:
          path: .mp4, .gif or .webp.
          steps: of the whole run.
          size: (H, W) of the result.
          force: whether a file that is there may be replaced.
          say: is given warnings.
          writes: whether it is this process that writes; the others only help to gather.
        """
        self._path, self._due = path, due_steps(steps)
        self._size, self._force, self._say = frame_size(size), force, say
        self._writes = writes
        self._frames: list[Picture] = []

    def see(self, event: Event) -> None:
        """Keeps a frame if one is due, and the last good canvas when the run has ended."""
        if isinstance(event, StepsDone) and event.chunk.failure is None:
            done = int(event.chunk.state.step)
            if self._due and len(event.chunk.learning_rate) and done >= self._due[0]:
                self._due = [step for step in self._due if step > done]
                self._keep(event.lane, np.asarray(shown(event.chunk.state)))
        if isinstance(event, RunEnded):
            snapshot = event.lane.snapshot()
            if snapshot is not None:
                self._keep(event.lane, np.asarray(snapshot.canvas))

    def _keep(self, lane: Lane, canvas: NDArray[np.float32]) -> None:
        if self._writes:
            picture = lane.picture_of(canvas, size=self._size)
            self._frames.append(as_picture(picture, name="frame"))

    def write(self) -> bool:
        """Writes what was kept whole or not at all; returns whether that went well, else warns."""
        if not self._frames:
            return True
        try:
            data = encode_film(self._frames, self._path.suffix.lower())
            with unbreakable():
                files.write_whole(self._path, data, overwrite=self._force)
        except OSError as error:
            self._say(f"warning: the film could not be written: {error.strerror or error}")
            return False
        return True
