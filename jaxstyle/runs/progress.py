"""What a person sees of a run or a sweep: a bar or plain lines, and the log of every step."""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Never

from tqdm import tqdm

from jaxstyle.machine.devices import from_first
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.level import Level
from jaxstyle.painting.sweep_rounds import Tick

SECONDS_BETWEEN_LINES = 10.0

MOST_SHOWN = 4
"""Most variants that a line of progress shows."""


class Clock:
    """Seconds since the first step began, and until the last one ends."""

    def __init__(self, levels: Sequence[Level], *, seconds: float = 0.0) -> None:
        """Takes the levels of the run, and how long its steps took before it was interrupted."""
        self._levels = levels
        self._began: float | None = None
        self._per_pixel = 0.0
        self.seconds = seconds

    def tick(self, chunk: Chunk) -> None:
        """Takes note of a chunk that has just ended."""
        now = from_first(time.perf_counter())
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
        pixels = 0
        for level in self._levels:
            height, width = level.content.shape[:2]
            steps = level.first_step + level.steps - max(done, level.first_step)
            pixels += max(steps, 0) * height * width
        return pixels * self._per_pixel


def log_header(chunk: Chunk) -> str:
    """Returns the line that names the columns of `log_rows`."""
    names = ["step", "size", *chunk.losses.by_name(), "learning_rate", "seconds"]
    return ",".join(names) + "\r\n"


def log_rows(chunk: Chunk, seconds: float) -> str:
    """Returns a chunk's steps as CSV; it ended at `seconds`, and its steps share its time."""
    count = len(chunk.learning_rate)
    began = seconds - chunk.seconds
    rows = [
        [
            str(chunk.first_step + i),
            size_text(chunk.state.canvas.shape),
            *(f"{float(term[i]):.9g}" for term in chunk.losses.by_name().values()),
            f"{float(chunk.learning_rate[i]):.9g}",
            f"{began + chunk.seconds * (i + 1) / count:.3f}",
        ]
        for i in range(count)
    ]
    return "".join(",".join(row) + "\r\n" for row in rows)


class Log:
    """A file that is flushed as it goes."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._file = path.open("w" if overwrite else "x", newline="", encoding="utf-8")

    def write(self, text: str) -> None:
        """Writes rows."""
        self._file.write(text)
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Display:
    """Shows progress on a stream: a bar on a terminal, else a plain line now and then."""

    def __init__(self, steps: int, stream: IO[str]) -> None:
        self._steps, self._stream = steps, stream
        self._last_line = 0.0
        self._bar: tqdm[Never] | None = None
        if stream.isatty():
            bar_format = "{percentage:3.0f}%|{bar:10}| {desc}"
            self._bar = tqdm(total=steps, file=stream, bar_format=bar_format, leave=False)
            self._bar.set_description_str("compiling")

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
            self._bar.close()


class Reporter:
    """Reports a run: to the display and the log, whichever were asked for.

    Nothing that goes wrong here stops the run. The log's file is begun with the first step, so that
    a run that is refused leaves none.

    Attributes:
      log_failed: whether the log could not be written to the end.
    """

    def __init__(
        self,
        log: Path | None,
        steps: int,
        stream: IO[str] | None,
        say: Callable[[str], None],
        *,
        overwrite: bool,
        earlier: str = "",
    ) -> None:
        """Takes where to log and show what; `earlier` is the log so far of a run that goes on."""
        self._display = Display(steps, stream) if stream is not None else None
        self._path, self._overwrite = log, overwrite
        self._log: Log | None = None
        self._rows = [earlier] if earlier else []
        self._say = say
        self.log_failed = False

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            with contextlib.suppress(OSError):
                self._display.close()
        if self._log is not None:
            try:
                self._log.close()  # which tries once more to write what could not be written
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self.log_failed:
            self._say(f"warning: the log could not be written to its end: {error.strerror}")
        self.log_failed = True

    def see(self, chunk: Chunk, clock: Clock) -> None:
        """Shows and logs a chunk that has just ended."""
        if not self._rows:
            self._rows = [log_header(chunk)]
        if not len(chunk.learning_rate):
            return
        if self._display is not None:
            try:
                self._display.show(chunk, clock.left(int(chunk.state.step)))
            except OSError:  # nobody can read it any more
                self._display = None
        self._rows.append(log_rows(chunk, clock.seconds))
        if self._path is not None and not self.log_failed:
            try:
                if self._log is None:
                    self._log = Log(self._path, overwrite=self._overwrite)
                    self._log.write(self.log_text)
                else:
                    self._log.write(self._rows[-1])
            except OSError as error:
                self._fail(error)

    @property
    def log_text(self) -> str:
        """The log so far, whether or not a file was asked for."""
        return "".join(self._rows)


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
    """Shows progress on a stream: a bar on a terminal, else a plain line now and then.

    Nothing that goes wrong here stops the sweep.
    """

    def __init__(
        self, names: Sequence[str], steps: Sequence[int], work: int, stream: IO[str] | None
    ) -> None:
        """Takes the names and steps of all variants, and the pixel-steps that this process does."""
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
