"""Tests of jaxstyle.weights.download, against a server on this machine that misbehaves as told."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from local_server import Page, Site, serve

from jaxstyle.weights import download as module
from jaxstyle.weights.download import DownloadError, download

DATA = np.random.default_rng(0).bytes(10_000)
START = hashlib.sha256(DATA).hexdigest()[:8]


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        site.pages["/file"] = Page(DATA)
        yield site


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(module, "BLOCK", 1000)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file"


@pytest.fixture
def part(path: Path) -> Path:
    path.parent.mkdir()
    return path.with_name("file.part")


def ranges(site: Site) -> list[str | None]:
    return [asked for _, asked, _ in site.requests]


def failure(url: str, path: Path, start: str = START) -> str:
    """Returns why a download fails: one line, and nothing under the file's name."""
    with pytest.raises(DownloadError) as caught:
        download(url, path, sha256_start=start)
    assert "\n" not in str(caught.value)
    assert not path.exists()
    return str(caught.value)


def test_the_whole_file_comes_in_one_request_and_leaves_no_part(site: Site, path: Path) -> None:
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert ranges(site) == [None]
    assert {each.name for each in path.parent.iterdir()} <= {"file", "file.lock"}


def test_a_file_that_is_there_is_not_fetched(site: Site, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"here")
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == b"here"
    assert site.requests == []


def test_after_a_cut_only_the_rest_is_sent(site: Site, path: Path) -> None:
    site.pages["/file"].cuts = [3000]
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert [request[1:] for request in site.requests] == [(None, 3000), ("bytes=3000-", 7000)]


def test_a_killed_process_left_a_part_that_is_gone_on_with(site: Site, path: Path) -> None:
    site.pages["/file"].seconds = 60
    program = (
        "import sys; from pathlib import Path; from jaxstyle.weights.download import download;"
    )
    program += "download(sys.argv[1], Path(sys.argv[2]), sha256_start='')"
    part = path.with_name("file.part")
    process = subprocess.Popen([sys.executable, "-c", program, site.url("/file"), path])
    while not part.exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    part.write_bytes(DATA[:4321])  # what had come may still have been in memory
    site.pages["/file"].seconds = 0
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert ranges(site) == [None, "bytes=4321-"]


def test_a_server_without_ranges_begins_anew(site: Site, path: Path) -> None:
    site.pages["/file"] = Page(DATA, ranges=False, cuts=[3000])
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert [sent for _, _, sent in site.requests] == [3000, 10_000]


def test_cuts_are_no_matter_as_long_as_something_comes(site: Site, path: Path) -> None:
    site.pages["/file"].cuts = [1000] * 8
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert len(site.requests) == 9 > module.TRIES


@pytest.mark.parametrize("possible", [True, False])
def test_cuts_without_progress_end(site: Site, part: Path, possible: bool) -> None:
    cuts = [3000, *[0] * 99] if possible else [3000, 2000] * 50
    site.pages["/file"] = Page(DATA, ranges=possible, cuts=cuts)
    message = failure(site.url("/file"), part.with_name("file"))
    assert "cut 5 times" in message
    assert "run again" in message
    assert len(site.requests) == 6  # one with progress, and five without
    assert part.read_bytes() == DATA[: 3000 if possible else 2000]


def test_silence_counts_as_a_cut(site: Site, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_WITHOUT_DATA", 0.2)
    site.pages["/file"].seconds = 2
    get = requests.get

    def get_slowly_once(*arguments, **settings):
        answer = get(*arguments, **settings)
        site.pages["/file"].seconds = 0
        return answer

    monkeypatch.setattr(requests, "get", get_slowly_once)
    download(site.url("/file"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert ranges(site) == [None, "bytes=5000-"]


def test_a_network_that_goes_away_is_tried_again_but_not_for_ever(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/file"].cuts = [3000]
    get, calls = requests.get, []

    def flaky(*arguments, **settings):
        calls.append(arguments)
        if len(calls) > 1:
            raise requests.exceptions.ConnectionError("gone")
        return get(*arguments, **settings)

    monkeypatch.setattr(requests, "get", flaky)
    assert "cut 5 times" in failure(site.url("/file"), part.with_name("file"))
    assert len(calls) == 6
    assert part.read_bytes() == DATA[:3000]


def test_another_file_is_deleted(site: Site, part: Path) -> None:
    message = failure(site.url("/file"), part.with_name("file"), start="00000000")
    assert "does not begin with 00000000" in message
    assert not part.exists()
    assert ranges(site) == [None]


def test_the_part_of_another_file_is_thrown_away_once(site: Site, part: Path) -> None:
    part.write_bytes(b"x" * 3000)
    download(site.url("/file"), part.with_name("file"), sha256_start=START)
    assert part.with_name("file").read_bytes() == DATA
    assert ranges(site) == ["bytes=3000-", None]


def test_a_wrong_part_and_a_wrong_file_end_after_two_requests(site: Site, part: Path) -> None:
    part.write_bytes(b"x" * 3000)
    failure(site.url("/file"), part.with_name("file"), start="00000000")
    assert ranges(site) == ["bytes=3000-", None]


def test_a_whole_part_is_only_checked(site: Site, part: Path) -> None:
    part.write_bytes(DATA)
    download(site.url("/file"), part.with_name("file"), sha256_start=START)
    assert part.with_name("file").read_bytes() == DATA
    assert [sent for _, _, sent in site.requests] == [0]


@pytest.mark.parametrize("start", [START, ""])
def test_a_part_longer_than_the_file_is_thrown_away(site: Site, part: Path, start: str) -> None:
    part.write_bytes(b"x" * 20_000)
    download(site.url("/file"), part.with_name("file"), sha256_start=start)
    assert part.with_name("file").read_bytes() == DATA


def test_a_range_that_starts_elsewhere_is_not_appended(site: Site, part: Path) -> None:
    part.write_bytes(DATA[:3000])
    site.pages["/file"].shift = 7
    download(site.url("/file"), part.with_name("file"), sha256_start="")
    assert part.with_name("file").read_bytes() == DATA
    assert ranges(site) == ["bytes=3000-", None]


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_refusal_is_told_and_not_repeated(site: Site, part: Path, status: int) -> None:
    site.pages["/file"] = Page(b"no", status=status)
    part.write_bytes(DATA[:10])
    assert f"answered {status}" in failure(site.url("/file"), part.with_name("file"))
    assert len(site.requests) == 1
    assert part.read_bytes() == DATA[:10]


def test_a_web_page_is_not_taken_for_the_file(site: Site, path: Path) -> None:
    site.pages["/file"] = Page(b"<html>", headers={"Content-Type": "Text/HTML; charset=utf-8"})
    assert "a web page" in failure(site.url("/file"), path, start="")
    assert not path.with_name("file.part").exists()


def test_redirects_are_followed_with_the_range(site: Site, path: Path) -> None:
    site.pages["/old"] = Page(b"", status=302, headers={"Location": "/file"})
    site.pages["/file"].cuts = [3000]
    download(site.url("/old"), path, sha256_start=START)
    assert path.read_bytes() == DATA
    assert [request for request in site.requests if request[0] == "/file"] == [
        ("/file", None, 3000),
        ("/file", "bytes=3000-", 7000),
    ]


def test_endless_redirects_end(site: Site, path: Path) -> None:
    site.pages["/file"] = Page(b"", status=302, headers={"Location": "/file"})
    assert "TooManyRedirects" in failure(site.url("/file"), path)


@pytest.mark.parametrize("start", [START, ""])
def test_a_cut_is_seen_where_no_length_is_given(site: Site, path: Path, start: str) -> None:
    site.pages["/file"] = Page(DATA, chunked=True, cuts=[3000])
    download(site.url("/file"), path, sha256_start=start)
    assert path.read_bytes() == DATA
    assert len(site.requests) == 2


def test_two_processes_at_once_fetch_once(site: Site, path: Path) -> None:
    site.pages["/file"].seconds = 1.0
    program = (
        "import sys; from pathlib import Path; from jaxstyle.weights.download import download;"
    )
    program += "download(sys.argv[1], Path(sys.argv[2]), sha256_start=sys.argv[3])"
    command = [sys.executable, "-W", "error", "-c", program, site.url("/file"), path, START]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    assert path.read_bytes() == DATA
    assert len(site.requests) == 1


@pytest.mark.parametrize("begun", [False, True])
def test_no_server_is_said_at_once(
    path: Path, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens there
        if begun:
            path.parent.mkdir()
            path.with_name("file.part").write_bytes(DATA[:10])
        message = failure(f"http://127.0.0.1:{free.getsockname()[1]}/file", path)
    assert "cannot reach http://127.0.0.1" in message
    assert "--weights embedded" in message
    assert path.with_name("file.part").exists() == begun


def test_an_unknown_host_is_said_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **settings: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 60)
    assert "cannot reach http://no.example/file" in failure("http://no.example/file", path)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/file", "http://", "http://[/file"])
def test_what_is_no_web_address_is_said(path: Path, url: str) -> None:
    assert f"cannot fetch {url}" in failure(url, path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said(site: Site, part: Path) -> None:
    part.symlink_to("/dev/full")
    message = failure(site.url("/file"), part.with_name("file"))
    assert "No space left on device" in message
    assert "JAXSTYLE_CACHE" in message


def test_a_disk_that_fills_up_keeps_what_had_come(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: object, count: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(module.tqdm, "update", stop)
        assert "No space left" in failure(site.url("/file"), part.with_name("file"))
    assert part.read_bytes() == DATA[:1000]


def test_a_folder_that_cannot_be_made_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    assert "cannot save" in failure(site.url("/file"), tmp_path / "taken" / "file")
    assert site.requests == []


def test_an_interruption_keeps_what_had_come(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, count: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.tqdm, "update", interrupt)
        with pytest.raises(KeyboardInterrupt):
            download(site.url("/file"), part.with_name("file"), sha256_start=START)
    assert part.read_bytes() == DATA[:1000]
    download(site.url("/file"), part.with_name("file"), sha256_start=START)
    assert part.with_name("file").read_bytes() == DATA
    assert ranges(site) == [None, "bytes=1000-"]


def test_progress_goes_to_the_stream_alone(
    site: Site, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    download(site.url("/file"), path, sha256_start=START, stream=stream)
    assert "download: 100%" in stream.getvalue()
    assert "10.0k/10.0k" in stream.getvalue()
    assert not {"\r", "\x1b"} & set(stream.getvalue())  # no terminal: whole lines
    path.unlink()
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    download(site.url("/file"), path, sha256_start=START, stream=terminal)
    assert "\rdownload: 100%" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()
    path.unlink()
    download(site.url("/file"), path, sha256_start=START)
    assert capfd.readouterr() == ("", "")


def test_without_locks_one_line_says_so_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module.files, "takes_locks", lambda folder: False)
    with (
        module.taking_turns(tmp_path / "w.h5"),
        module.taking_turns(tmp_path / "w.h5", say=said.append),
    ):
        pass
    assert len(said) == 1
    assert said[0].startswith(f"warning: {tmp_path} has no locks: let one process at a time ")
