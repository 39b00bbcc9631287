"""A checkpoint: one file from which an interrupted run can go on, and which one --resume takes.

    jaxstyle checkpoint 1
    sha256 of all that follows, hexadecimal
    JSON: the header, in one line
    the arrays, one after another, as the header describes them

A new one replaces the old one in one step, and the old one is kept under a second name.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError, Say
from jaxstyle.runs import record
from jaxstyle.runs.inputs import run_record
from jaxstyle.runs.reader import Inputs
from jaxstyle.runs.request import Request

FIRST_LINE = b"jaxstyle checkpoint 1\n"

NamedArrays = dict[str, NDArray[Any]]

WAY_OUT_OF_ONE = "to begin anew, leave --resume out and add --force"


class Header(NamedTuple):
    """All in a checkpoint but its arrays."""

    run: record.Record
    """What decides the run: settings, facts of files, versions, device, memory mode by level."""
    steps_done: int
    size: str
    """HxW of the canvas."""
    seconds: float
    """How long the steps took so far."""
    finished: list[Any] | None
    """If a level was finished: its last canvas's losses, by term, and the steps done by then."""
    pictures: list[str]
    """The sha256 of every picture that was saved when the run was interrupted."""
    log: str
    """The log so far."""


class DamagedError(ValueError):
    """A file is no checkpoint, or was cut off or altered; the message says which."""


def write(path: Path, header: Header, arrays: Mapping[str, Any], *, keep: bool = True) -> None:
    """Writes a checkpoint in place of the one before.

    Args:
      path: where; its folder must exist.
      header: of the checkpoint.
      arrays: by name.
      keep: whether to keep the one before as `files.previous(path)`.

    Raises:
      OSError: the folder is missing or cannot be written, or the disk is full. What was there
        before is there still.
    """
    body = _body(header, arrays)
    digest = hashlib.sha256()
    for each in body:
        digest.update(each)
    part = _part(path)
    try:
        with part.open("wb") as file:
            file.writelines([FIRST_LINE, digest.hexdigest().encode() + b"\n", *body])
            file.flush()
            files.sync(file.fileno())
        if keep and path.exists():
            files.replace(path, files.previous(path))
        files.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """Always the same name, so that what a killed run left is replaced by the next."""
    return path.with_name(f".{path.name}.part")


def _body(header: Header, arrays: Mapping[str, Any]) -> list[Any]:
    """Returns the header's line and the arrays' bytes, which are not copied."""
    plain = {name: np.ascontiguousarray(each) for name, each in arrays.items()}
    shapes = {name: [each.dtype.str, np.shape(arrays[name])] for name, each in plain.items()}
    line = json.dumps({**header._asdict(), "arrays": shapes}).encode() + b"\n"
    return [line, *(each.reshape(-1).view(np.uint8).data for each in plain.values())]


def read_header(path: Path) -> Header:
    """Returns the header of a checkpoint, all of which is checked to be as it was written.

    Raises:
      DamagedError: it is not.
      OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        facts = _open(file)
    facts.pop("arrays")
    return Header(**facts)


def _open(file: BufferedReader) -> dict[str, Any]:
    """Checks an open file and returns its header; leaves the file where the arrays begin."""
    if file.readline(len(FIRST_LINE)) != FIRST_LINE:
        raise DamagedError("is not a checkpoint of this version of jaxstyle")
    digest = file.readline(65)
    resumption = file.tell()
    if hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n" != digest:
        raise DamagedError("is cut off or altered")
    file.seek(resumption)
    header: dict[str, Any] = json.loads(file.readline())
    return header


def read_arrays(path: Path) -> NamedArrays:
    """Returns the arrays of a checkpoint, by name.

    Raises:
      DamagedError: it is not as it was written.
      OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        shapes: dict[str, Any] = _open(file)["arrays"]
        return {name: _read_array(file, *each) for name, each in shapes.items()}


def _read_array(file: BufferedReader, kind: str, shape: Iterable[int]) -> NDArray[Any]:
    data = file.read(np.dtype(kind).itemsize * math.prod(shape))
    return np.frombuffer(data, kind).reshape(tuple(shape))


def remove(path: Path) -> None:
    """Removes a checkpoint, the one before, and what a killed run may have left of a third.

    Raises:
      OSError: one of them cannot be removed.
    """
    for each in (path, files.previous(path), _part(path)):
        each.unlink(missing_ok=True)


class Resumption(NamedTuple):
    """A checkpoint from which a run is resumed."""

    path: Path
    header: Header
    is_previous: bool
    """Whether this is the one before, because the last one is damaged or missing."""


def find_resumption(
    arguments: Request, output: Path, inputs: Inputs, *, say: Say, way_out: str = WAY_OUT_OF_ONE
) -> Resumption | None:
    """Returns what a run goes on from; None if it begins with the first step.

    Args:
      arguments: what was asked for.
      output: where the picture goes.
      inputs: of the run.
      say: is given warnings.
      way_out: what else can be done, for errors.

    Raises:
      InputError: no checkpoint that is there can be used, or it is another run's.
    """
    if not arguments.checkpoints.resume:
        return None
    path, faults = arguments.checkpoints.beside(output), []
    for each in (path, files.previous(path)):
        try:
            resumption = Resumption(each, read_header(each), each != path)
        except FileNotFoundError:
            continue
        except (DamagedError, OSError) as error:
            faults.append(f"{each} {_reason(error)}")
            continue
        _check_is_same_run(each, resumption.header, inputs, way_out)
        _check_log(arguments, resumption.header)
        for fault in faults:
            say(f"warning: {fault}; going on from the one before")
        return resumption
    if faults:
        raise InputError(f"{'; '.join(faults)}: {way_out}")
    say(f"there is no checkpoint {path}: beginning with the first step")
    return None


def _reason(error: DamagedError | OSError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error)


def _check_is_same_run(path: Path, header: Header, inputs: Inputs, way_out: str) -> None:
    changes = record.changes(header.run, run_record(inputs))
    if changes:
        raise InputError(f"{path} is of another run: {'; '.join(changes)}; {way_out}")


def _check_log(arguments: Request, header: Header) -> None:
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
