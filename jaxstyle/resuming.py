"""With --resume: which checkpoint to go on from, and whether it is this run's."""

from pathlib import Path
from typing import NamedTuple

from jaxstyle import files, record
from jaxstyle.checkpoint import DamagedError, Header, read_header
from jaxstyle.cli import Arguments
from jaxstyle.errors import InputError
from jaxstyle.inputs import Inputs, Say, run_record

WAY_OUT = "to begin anew, leave --resume out and add --force"


class Start(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    header: Header
    is_previous: bool
    """Whether this is the one before, because the last one is damaged or missing."""


def find_start(arguments: Arguments, output: Path, inputs: Inputs, *, say: Say) -> Start | None:
    """Returns what a run goes on from; None if it begins with the first step.

    Raises:
      InputError: no checkpoint that is there can be used, or it is another run's.
    """
    if not arguments.checkpoints.resume:
        return None
    path, faults = arguments.checkpoints.beside(output), []
    for each in (path, files.previous(path)):
        try:
            start = Start(each, read_header(each), each != path)
        except FileNotFoundError:
            continue
        except (DamagedError, OSError) as error:
            faults.append(f"{each} {_reason(error)}")
            continue
        _check_is_same_run(each, start.header, inputs)
        _check_log(arguments, start.header)
        for fault in faults:
            say(f"warning: {fault}; going on from the one before")
        return start
    if faults:
        raise InputError(f"{'; '.join(faults)}: {WAY_OUT}")
    say(f"there is no checkpoint {path}: beginning with the first step")
    return None


def _reason(error: DamagedError | OSError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error)


def _check_is_same_run(path: Path, header: Header, inputs: Inputs) -> None:
    changes = record.changes(header.run, run_record(inputs))
    if changes:
        raise InputError(f"{path} is of another run: {'; '.join(changes)}; {WAY_OUT}")


def _check_log(arguments: Arguments, header: Header) -> None:
    """Raises InputError if the log that is there is not the interrupted run's."""
    log = arguments.log
    if log is None or arguments.force or not log.exists():
        return
    there, kept = log.read_bytes(), header.log.encode()
    if not (there.startswith(kept) or kept.startswith(there)):
        raise InputError(
            f"{log} exists and is not the log of the interrupted run: choose another name, or"
            " --force to overwrite it"
        )
