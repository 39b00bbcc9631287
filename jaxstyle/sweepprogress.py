"""What a person sees while a sweep paints: how many are done, each setting's loss, time left."""

import contextlib
import time
from collections.abc import Sequence
from typing import IO, Never

from tqdm import tqdm

from jaxstyle.progress import SECONDS_BETWEEN_LINES, time_text
from jaxstyle.rounds import Tick

MOST_SHOWN = 4
"""Of the settings that are being painted."""


class SweepDisplay:
    """Shows progress on a stream: a bar on a terminal, else a plain line now and then.

    Nothing that goes wrong here stops the sweep.
    """

    def __init__(
        self, names: Sequence[str], steps: Sequence[int], work: int, stream: IO[str] | None
    ) -> None:
        """Takes the names and steps of all settings, and the pixel-steps that this process does."""
        self._names, self._steps, self._work, self._stream = names, steps, work, stream
        self._done, self._worked, self._seconds = 0, 0, 0.0
        self._last_line = time.monotonic()
        self._bar: tqdm[Never] | None = None
        if stream is not None and stream.isatty():
            bar_format = "{percentage:3.0f}%|{bar:10}| {desc}"
            self._bar = tqdm(total=max(work, 1), file=stream, bar_format=bar_format, leave=False)
            self._bar.set_description_str("compiling")

    def see(self, tick: Tick) -> None:
        """Shows where the sweep stands after a call."""
        self._done += len(tick.finished)
        self._worked += tick.pixel_steps
        self._seconds += tick.seconds if tick.pixel_steps else 0.0
        if self._stream is None or not tick.pixel_steps:
            return
        with contextlib.suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.n = min(self._worked, self._work)
                self._bar.set_description_str(self._text(tick))
            elif tick.finished or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
                self._last_line = time.monotonic()
                self._stream.write(self._text(tick) + "\n")
                self._stream.flush()

    def _text(self, tick: Tick) -> str:
        left = max(self._work - self._worked, 0) * self._seconds / max(self._worked, 1)
        shown = [
            f"{self._names[number]} step {done}/{self._steps[number]} total {total:.3g}"
            for number, done, total in tick.running[:MOST_SHOWN]
        ]
        more = ["..."] if len(tick.running) > MOST_SHOWN else []
        count = f"{self._done}/{len(self._names)} done"
        return f"{count}, {time_text(left)} left; {'; '.join(shown + more)}"

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
