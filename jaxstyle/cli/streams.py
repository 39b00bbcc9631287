"""Pictures on standard input and output, which both are `-` on the command line."""

import contextlib
import dataclasses
import errno
import re
import sys
import tempfile
from pathlib import Path

from jaxstyle.errors import InputError
from jaxstyle.runs.paths import STANDARD
from jaxstyle.runs.request import Request

_FOLDER = "jaxstyle-stdin-"
_FILE = re.compile(rf"\S*{_FOLDER}\w+/stdin")
"""A file with the bytes of standard input, wherever temporary files are."""


def with_standard_input(request: Request, until: contextlib.ExitStack) -> Request:
    """Returns a request with the bytes of standard input in a file, if it names that.

    Args:
      request: what was asked for.
      until: at its end the file is removed.

    Raises:
      InputError: there is nothing to read, or two pictures were to come from there.
    """
    named = [request.content, *request.styles].count(STANDARD)
    if not named:
        return request
    if named > 1:
        raise InputError("- is one picture, that of standard input: give it once")
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- is standard input: pipe a picture into it")
    data = sys.stdin.buffer.read()
    if not data:
        raise InputError("- is standard input, which is empty: pipe a picture into it")
    path = Path(until.enter_context(tempfile.TemporaryDirectory(prefix=_FOLDER)), "stdin")
    path.write_bytes(data)
    content, *styles = (
        path if each == STANDARD else each for each in (request.content, *request.styles)
    )
    return dataclasses.replace(request, content=content, styles=tuple(styles))


def as_given(line: str) -> str:
    """Returns a line for a person, in which standard input has no name of a temporary file."""
    return _FILE.sub("standard input", line)


def check_standard_output(request: Request) -> None:
    """Raises InputError if the result is to go to standard output and something is against it."""
    if request.output != STANDARD:
        return
    if request.sweep is not None:
        raise InputError("a sweep needs a folder for its pictures: give -o DIR")
    others = {"json": request.json, "judge": request.judge}
    others["distributed"] = request.devices.distributed is not None
    for name in (name for name, given in others.items() if given):
        raise InputError(f"--{name} and -o - contradict each other: name a file")
    if sys.stdout is None or sys.stdout.isatty():
        raise InputError("-o - is standard output: pipe it into a program, or > FILE")


def write_standard_output(data: bytes) -> None:
    """Writes a picture's bytes.

    Raises:
      OSError: nobody takes them.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
