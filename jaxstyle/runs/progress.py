"""What a person sees of a run or a sweep: a bar or plain lines; and the time left."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import IO, Never

from tqdm import tqdm

from jaxstyle.machine.worked_time import CLOCK
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.events import CallDone, Event, RunEnded, StepsDone
from jaxstyle.painting.level import Level, pixel_steps_after

SECONDS_BETWEEN_LINES = 10.0

MOST_SHOWN = 4
"""Most variants that a line of progress shows."""


class Clock:
    """An observer: seconds of work since the first step began, and until the last one ends."""

    def __init__(
        self,
        levels: Sequence[Level],
        *,
        seconds: float = 0.0,
        now: Callable[[], float] = CLOCK.seconds,
    ) -> None:
        """Takes the levels of the run, and how long its steps took before it was interrupted.

        `now` returns the time; processes that act together by it need the same.
        """
        self._levels, self._now = levels, now
        self._began: float | None = None
        self._per_pixel = 0.0
        self.seconds = seconds

    def see(self, event: Event) -> None:
        """Takes note of steps that have just ended."""
        if isinstance(event, StepsDone):
            self.tick(event.chunk)

    def tick(self, chunk: Chunk) -> None:
        """Takes note of a chunk that has just ended."""
        now = self._now()
        count = len(chunk.learning_rate)
        if self._began is None and count:
            self._began = now - chunk.seconds - self.seconds
        if count:
            height, width, _ = chunk.state.canvas.shape
            self.seconds = now - (self._began or now)
            latest = chunk.seconds / count / (height * width)
            self._per_pixel = (self._per_pixel or latest) * 0.8 + latest * 0.2  # steadier

    def left(self, done: int) -> float:
        """Returns the seconds that the steps after the first `done` will take, by their pixels."""
        parts = [(each.first_step, each.steps, each.content.shape[:2]) for each in self._levels]
        return pixel_steps_after(done, parts) * self._per_pixel


def _begin_bar(total: int, stream: IO[str]) -> "tqdm[Never] | None":
    """Returns a bar on a terminal; None elsewhere, and where the terminal is gone."""
    if not stream.isatty() or not _has_width(stream):
        return None
    bar_format = "{percentage:3.0f}%|{bar:10}| {desc}"
    try:
        bar: tqdm[Never] = tqdm(total=total, file=stream, bar_format=bar_format, leave=False)
        bar.set_description_str("compiling")
    except OSError:
        return None
    return bar


def _has_width(stream: IO[str]) -> bool:
    """Whether a terminal is not one of no columns, as a program's or a container's can be."""
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):  # nothing is known of it
        return True


class Display:
    """An observer that shows progress: a bar on a terminal, else a plain line now and then.

    Nothing that goes wrong here stops the run.
    """

    def __init__(self, steps: int, stream: IO[str], clock: Clock) -> None:
        """Takes the number of steps, where to show them, and the clock, which sees all first."""
        self._steps, self._stream, self._clock = steps, stream, clock
        self._is_seen = True
        self._last_line = 0.0
        self._bar = _begin_bar(steps, stream)

    def see(self, event: Event) -> None:
        """Shows where the run stands after a call with at least one step."""
        if isinstance(event, StepsDone) and len(event.chunk.learning_rate) and self._is_seen:
            try:
                self.show(event.chunk, self._clock.left(int(event.chunk.state.step)))
            except OSError:  # nobody can read it any more
                self._is_seen = False
        if isinstance(event, RunEnded):
            self.close()

    def show(self, chunk: Chunk, seconds_left: float) -> None:
        """Shows where the run stands after a chunk with at least one step."""
        done = int(chunk.state.step)
        if self._bar is not None:
            self._bar.n = done
            self._bar.set_description_str(bar_text(chunk, seconds_left))
            return
        now = time.monotonic()
        if done >= self._steps or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._stream.write(progress_text(chunk, self._steps, seconds_left) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()


def progress_text(chunk: Chunk, steps: int, seconds_left: float) -> str:
    """Returns one line: step, size, the losses of its last step, seconds per step, time left."""
    rate = chunk.seconds / len(chunk.learning_rate)
    return (
        f"step {int(chunk.state.step)}/{steps} at {size_text(chunk.state.canvas.shape)}:"
        f" {_losses_text(chunk)}, {rate:.2f} s/step, {time_text(seconds_left)} left"
    )


def bar_text(chunk: Chunk, seconds_left: float) -> str:
    """Returns the same with the most wanted first, for a terminal that may cut it off."""
    rate = chunk.seconds / len(chunk.learning_rate)
    step = int(chunk.state.step)
    return f"{step}, {time_text(seconds_left)} left, {rate:.2f} s/step, {_losses_text(chunk)}"


def _losses_text(chunk: Chunk) -> str:
    named = chunk.losses.by_name().items()
    return " ".join(f"{name} {float(values[-1]):.3g}" for name, values in named)


def time_text(seconds: float) -> str:
    """Returns seconds as minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def size_text(shape: Sequence[int]) -> str:
    """Returns HxW of an array's shape."""
    return f"{shape[0]}x{shape[1]}"


class SweepDisplay:
    """An observer of a sweep that shows progress: a bar on a terminal, else a line now and then.

    Nothing that goes wrong here stops the sweep.
    """

    def __init__(
        self, names: Sequence[str], steps: Sequence[int], work: int, stream: IO[str] | None
    ) -> None:
        """Takes the names and steps of all variants, and the pixel-steps that this process does."""
        self._names, self._steps, self._work, self._stream = names, steps, work, stream
        self._done, self._worked, self._seconds = 0, 0, 0.0
        self._just_ended = False
        self._last_line = time.monotonic()
        self._bar = None if stream is None else _begin_bar(max(work, 1), stream)

    def see(self, event: Event) -> None:
        """Shows where the sweep stands after a call."""
        if isinstance(event, RunEnded) and event.how != "interrupted":
            self._done += 1
            self._just_ended = True
        if isinstance(event, CallDone) and event.pixel_steps:
            self._worked += event.pixel_steps
            self._seconds += event.seconds
            if self._stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._show(event, self._stream)
            self._just_ended = False

    def _show(self, call: CallDone, stream: IO[str]) -> None:
        if self._bar is not None:
            self._bar.n = min(self._worked, self._work)
            self._bar.set_description_str(self._text(call))
        elif self._just_ended or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            stream.write(self._text(call) + "\n")
            stream.flush()

    def _text(self, call: CallDone) -> str:
        left = max(self._work - self._worked, 0) * self._seconds / max(self._worked, 1)
        shown = [
            f"{self._names[number]} step {done}/{self._steps[number]} total {total:.3g}"
            for number, done, total in call.running[:MOST_SHOWN]
        ]
        more = ["..."] if len(call.running) > MOST_SHOWN else []
        count = f"{self._done}/{len(self._names)} done"
        return f"{count}, {time_text(left)} left; {'; '.join(shown + more)}"

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
