"""The log: a row for every step, as CSV, kept in memory and, if asked for, in a file."""

import csv
import io
from pathlib import Path

import numpy as np

from jaxstyle.errors import Say
from jaxstyle.losses.terms import Losses, losses_by_name
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.events import Event, RunEnded, StepsDone
from jaxstyle.runs.progress import Clock, size_text

OTHER_COLUMNS = ("step", "size", "learning_rate", "seconds")
"""The columns of a log that are not losses."""


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


def logged_losses(text: str) -> Losses | None:
    """Returns the losses before every step that a log tells of, float32, to the bit; None of none.

    Nine digits, as the log has them, are all that float32 has.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        return None
    names = [name for name in rows[0] if name not in OTHER_COLUMNS]
    return losses_by_name({name: np.array([r[name] for r in rows], np.float32) for name in names})


class LogFile:
    """The file of a log, which is flushed as it goes."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._file = path.open("w" if overwrite else "x", newline="", encoding="utf-8")

    def write(self, text: str) -> None:
        """Writes rows."""
        self._file.write(text)
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Log:
    """An observer that logs every step of a run.

    Nothing that goes wrong here stops the run. The file is begun with the first step, so that a run
    that is refused leaves none.

    Attributes:
      failed: whether the file could not be written to the end.
    """

    def __init__(
        self, path: Path | None, clock: Clock, *, say: Say, overwrite: bool, earlier: str = ""
    ) -> None:
        """Takes where to log, if in a file, and the clock, which sees everything first.

        `earlier` is the log so far of a run that goes on.
        """
        self._path, self._clock, self._overwrite, self._say = path, clock, overwrite, say
        self._file: LogFile | None = None
        self._rows = [earlier] if earlier else []
        self.failed = False

    def see(self, event: Event) -> None:
        """Logs the steps that a call has done; when the run has ended, closes the file."""
        if isinstance(event, StepsDone) and not self._rows:
            self._rows = [log_header(event.chunk)]
        if isinstance(event, StepsDone) and len(event.chunk.learning_rate):
            self._rows.append(log_rows(event.chunk, self._clock.seconds))
            if self._path is not None and not self.failed:
                self._write(self._path)
        if isinstance(event, RunEnded):
            self.close()

    def _write(self, path: Path) -> None:
        try:
            if self._file is None:
                self._file = LogFile(path, overwrite=self._overwrite)
                self._file.write(self.text)
            else:
                self._file.write(self._rows[-1])
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Closes the file, if there is one."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()  # which tries once more to write what could not be written
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            self._say(f"warning: the log could not be written to its end: {error.strerror}")
        self.failed = True

    @property
    def text(self) -> str:
        """The log so far, whether or not a file was asked for."""
        return "".join(self._rows)
