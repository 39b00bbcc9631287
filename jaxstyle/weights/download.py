"""One file from the network into the cache: resumed when cut, checked, never half there."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import filelock
import requests
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,  # noqa: A004 - requests' own, which is no subclass of Python's
    RequestException,
    Timeout,
)
from tqdm import tqdm

from jaxstyle import files
from jaxstyle.errors import Say, silent

SECONDS_TO_CONNECT = 6
SECONDS_WITHOUT_DATA = 30
SECONDS_BETWEEN_TRIES = 2
TRIES = 5
"""How often in a row the connection may be cut before another `BLOCK` has come."""

SECONDS_BETWEEN_NEWS = 10.0
"""From one line of progress to the next, where there is no terminal for a bar."""

BLOCK = 1 << 16
"""Bytes read at once; when the connection is cut, what has come of a block is lost."""


class DownloadError(OSError):
    """The file could not be fetched; the message is one line that says why and what to do."""


def download(url: str, path: Path, *, sha256_start: str, stream: TextIO | None = None) -> None:
    """Fetches a file unless it is there already; a file under its name is always whole.

    What arrives is kept beside it in a .part file, from which a later call goes on. Two processes
    that want the same file take turns, so the second finds it done.

    Args:
      url: http or https.
      path: where; folders are made.
      sha256_start: how the file's sha256 begins, in hexadecimal; "" checks nothing.
      stream: where progress goes, a bar on a terminal, else lines; None shows none.

    Raises:
      DownloadError: no network, the server refuses, the file is another one, or the disk is full.
    """
    with taking_turns(path):
        try:
            if not path.is_file():
                _fetch(url, path, sha256_start, stream)
        except DownloadError:
            raise
        except OSError as error:
            raise _cannot_save(path, error) from None


@contextlib.contextmanager
def taking_turns(path: Path, *, say: Say = silent) -> Iterator[None]:
    """Makes a file's folder and holds its lock: of all processes, one at a time is in here.

    Where nothing can be locked, as in some network folders, they do not wait for each other.

    Args:
      path: the file that they all want.
      say: is given a line if another process has to be waited for, or cannot be.

    Raises:
      DownloadError: the folder cannot be made or written.
    """
    lock = filelock.FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if files.takes_locks(path.parent):
            _acquire(lock, path.name, say)
        else:
            say(f"warning: {path.parent} has no locks: let one process at a time get {path.name}")
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        raise _cannot_save(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, name: str, say: Say) -> None:
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        say(f"waiting for another process that is getting {name}")
        lock.acquire()


def _cannot_save(path: Path, error: Exception) -> DownloadError:
    reason = getattr(error, "strerror", None) or error
    return DownloadError(f"cannot save {path}: {reason}; JAXSTYLE_CACHE names another folder")


def _fetch(url: str, path: Path, sha256_start: str, stream: TextIO | None) -> None:
    part = path.with_name(path.name + ".part")
    # A part that was there may be of another file: then once more, from the start.
    for _ in range(2 if _size(part) else 1):
        _fetch_whole(url, part, stream)
        if files.sha256(part).startswith(sha256_start):
            with part.open("ab") as file:
                files.sync(file.fileno())
            files.replace(part, path)
            return
        part.unlink()
    raise DownloadError(
        f"{url} is not the file it should be: its sha256 does not begin with {sha256_start};"
        " it was deleted"
    )


def _fetch_whole(url: str, part: Path, stream: TextIO | None) -> None:
    """Adds to the part file until it has the length that the server names."""
    begun = most = _size(part)
    left = TRIES
    while left:
        try:
            if _fetch_rest(url, part, stream):
                return
        except (ConnectionError, Timeout) as error:
            if _size(part) == begun:
                raise DownloadError(
                    f"cannot reach {url} ({type(error).__name__}): is there a network?"
                    " --weights embedded needs none"
                ) from None
        except RequestException as error:
            raise DownloadError(f"cannot fetch {url}: {type(error).__name__}") from None
        # A server that can only send all again makes no progress.
        left = TRIES if _size(part) >= most + BLOCK else left - 1
        most = max(most, _size(part))
        if left:
            time.sleep(SECONDS_BETWEEN_TRIES)
    raise DownloadError(
        f"{url}: the connection was cut {TRIES} times; what has come is kept: run again to go on"
        " from there"
    )


def _fetch_rest(url: str, part: Path, stream: TextIO | None) -> bool:
    """Asks for what is missing and appends it; returns whether the file is whole now."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (SECONDS_TO_CONNECT, SECONDS_WITHOUT_DATA)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code not in (200, 206, 416):
            raise DownloadError(f"{url}: the server answered {answer.status_code} {answer.reason}")
        start, whole = _extent(answer)
        if answer.status_code == 416 and whole == have:
            return True  # all had come, and only the check was missing
        if start not in (0, have):
            part.unlink()  # the part does not fit: it is longer than the file
            return False
        if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise DownloadError(f"{url}: the server sent a web page instead of the file")
        ended = _append(answer, part, start, whole, stream)
    return ended and whole in (None, _size(part))


def _extent(answer: requests.Response) -> tuple[int, int | None]:
    """Returns where an answer starts in the file, -1 for nowhere, and the file's length."""
    if answer.status_code == 200:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    stated = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", stated)
    start, whole = match.groups() if match else (None, None)
    return int(start) if start else -1, int(whole) if whole else None


class _Lines:
    """A stream for a bar that writes it as whole lines, where there is no terminal to draw on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


def _ways_to_show(stream: TextIO | None) -> dict[str, Any]:
    """Returns how tqdm shows progress: a bar, a line now and then, or nothing."""
    if stream is None:
        return {"disable": True}
    if stream.isatty():
        return {"file": stream}
    return {"file": _Lines(stream), "mininterval": SECONDS_BETWEEN_NEWS}


def _append(
    answer: requests.Response, part: Path, start: int, whole: int | None, stream: TextIO | None
) -> bool:
    """Writes what comes, from `start` on; returns whether the answer ended as it should."""
    with (
        part.open("ab" if start else "wb") as file,
        tqdm(
            total=whole,
            initial=start,
            unit="B",
            unit_scale=True,
            desc="download",
            **_ways_to_show(stream),
        ) as bar,
    ):
        try:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        except ChunkedEncodingError:
            return False
    return True


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
