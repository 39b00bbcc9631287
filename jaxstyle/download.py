"""One file from the network into the cache: resumed when cut, checked, never half there."""

import os
from pathlib import Path
from typing import Any

from jaxstyle import files

SECONDS_TO_CONNECT = 6
SECONDS_WITHOUT_DATA = 30
TRIES = 5
BLOCK = 1 << 20


class DownloadError(OSError):
    """The file could not be fetched; the message is one line that says why and what to do."""


def download(url: str, path: Path, *, sha256_start: str) -> None:
    """Fetches a file unless it is there; what is there under its name is always whole.

    What arrives is kept beside it in a .part file, from which a later call goes on. Two processes
    that want the same file take turns, so the second finds it done.

    Args:
      url: http or https.
      path: where; folders are made.
      sha256_start: how the file's sha256 begins, in hexadecimal; "" checks nothing.

    Raises:
      DownloadError: no network, the server refuses, the file is another one, or the disk is full.
    """
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(path.name + ".lock")):
            if not path.is_file():
                _fetch(url, path, sha256_start)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"cannot save {path}: {error.strerror or error}") from None


def _fetch(url: str, path: Path, sha256_start: str) -> None:
    part = path.with_name(path.name + ".part")
    resumed = part.exists()
    _fetch_whole(url, part)
    if not files.sha256(part).startswith(sha256_start):
        part.unlink()
        if not resumed:
            raise DownloadError(
                f"{url} is not the file it should be: its sha256 does not begin with"
                f" {sha256_start}; it was deleted"
            )
        _fetch(url, path, sha256_start)  # the part was of another file: once more from the start
        return
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def _fetch_whole(url: str, part: Path) -> None:
    """Adds to the part file until it has the length that the server names."""
    import requests

    problem = ""
    for _ in range(TRIES):
        try:
            if _fetch_rest(url, part):
                return
            problem = "the connection was cut"
        except requests.exceptions.ConnectionError as error:
            if not part.exists() or isinstance(error, requests.exceptions.ConnectTimeout):
                raise DownloadError(
                    f"cannot reach {url}: is there a network? --weights embedded needs none"
                ) from None
            problem = "the connection was lost"
        except requests.exceptions.RequestException as error:
            problem = type(error).__name__
    raise DownloadError(
        f"{url}: {problem} {TRIES} times; what has come is kept: run again to go on from there"
    )


def _fetch_rest(url: str, part: Path) -> bool:
    """Asks for what is missing and appends it; returns whether the file is whole now."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (SECONDS_TO_CONNECT, SECONDS_WITHOUT_DATA)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == 416:  # nothing is missing, or the part is of another file
            return True
        if answer.status_code not in (200, 206):
            raise DownloadError(f"{url}: the server answered {answer.status_code} {answer.reason}")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(f"{url}: the server sent a web page instead of the file")
        have = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else None
        _append(answer, part, have, whole)
    return whole is None or part.stat().st_size == whole


def _append(answer: Any, part: Path, have: int, whole: int | None) -> None:
    import requests
    from tqdm import tqdm

    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=whole, initial=have, unit="B", unit_scale=True, desc="download") as bar,
    ):
        try:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        except requests.exceptions.ChunkedEncodingError:
            pass  # cut off: the caller sees that bytes are missing
