"""The studio: what it takes and refuses, its queue, its history on disk."""

import errno
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import EXAMPLES
from painter import PAINTS_AT_ONCE, png, stand_in
from PIL import Image

from jaxstyle.cli.commands import parse_studio
from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.view.address import bound
from jaxstyle.view.studio_folder import MOST_UPLOADED, StudioFolder, read_order, words_of
from jaxstyle.view.studio_queue import Queue
from jaxstyle.view.studio_server import serve_studio


def until_ended(address: str, name: str) -> dict[str, Any]:
    """Returns what the page is told of a run that has ended."""
    end = time.monotonic() + 30
    with requests.get(f"{address}events", stream=True, timeout=30) as told:
        for line in told.iter_lines():
            news = json.loads(line.removeprefix(b"data: ")) if line else {}
            for each in news.get("history", ()):
                if each["name"] == name and each["state"] not in ("waiting", "painting"):
                    return dict(each)
            assert time.monotonic() < end
    raise AssertionError("the studio has ended")


@pytest.fixture
def fake(monkeypatch, tmp_path: Path) -> Path:
    """A program in the place of the painter; returns where it is."""
    return stand_in(monkeypatch, tmp_path / "fake.py")


def test_from_two_files_to_a_result(fake: Path, tmp_path: Path) -> None:
    fake.write_text(PAINTS_AT_ONCE)
    folder = StudioFolder(tmp_path / "studio")
    address, _ = serve_studio(folder, bound("127.0.0.1", 0))
    upload = f"{address}pictures?name="
    content = requests.post(f"{upload}my%20photo.png", png(200), timeout=10)
    assert content.status_code == 201
    assert (content.json()["width"], content.json()["height"]) == (40, 30)
    style = requests.post(f"{upload}../../etc/passwd.png", png(90), timeout=10).json()
    assert style["name"].endswith("-passwd.png")
    assert sorted(each.name for each in folder.pictures.iterdir()) == sorted(
        [content.json()["name"], style["name"]]
    )
    asked = {"content": content.json()["name"], "style": style["name"], "size": 64, "photo": 2}
    answer = requests.post(f"{address}runs", json=asked, timeout=10)
    assert answer.status_code == 201
    name = answer.json()["name"]
    assert name == "0001-my-photo-passwd"
    run = until_ended(address, name)
    assert run["state"] == "finished"
    assert run["losses"] == {"total": 2.5}
    assert run["command"].startswith("jaxstyle --content ")
    assert "--size 64 --content-weight" in run["command"]
    there = sorted(each.name for each in (folder.results / name).iterdir())
    assert there == ["picture.png", "run.json"]
    assert StudioFolder(tmp_path / "studio").history() == [run]
    picture = requests.get(f"{address}runs/{name}/picture.png", timeout=10)
    assert "attachment" in picture.headers["Content-Disposition"]
    assert np.asarray(Image.open(io.BytesIO(picture.content)))[0, 0].tolist() == [9, 8, 7]
    assert requests.get(f"{address}runs/{name}/look.jpg", timeout=10).status_code == 200
    assert requests.get(f"{address}pictures/{style['name']}", timeout=10).status_code == 200
    for path in ("pictures/%2e%2e%2frun.json", "runs/../picture.png", "runs/%2e%2e/look.jpg"):
        assert requests.get(address + path, timeout=10).status_code == 404
    host = address.rsplit("/", 2)[0]
    assert requests.get(f"{host}/", timeout=10).status_code == 404
    elsewhere = {"Origin": "http://elsewhere.example"}
    refused = requests.post(f"{address}runs", json=asked, headers=elsewhere, timeout=10)
    assert refused.status_code == 403


def test_a_full_disk_fails_one_run_and_the_queue_goes_on(fake, tmp_path, monkeypatch) -> None:
    fake.write_text("")
    folder = StudioFolder(tmp_path / "studio")
    name = folder.add("p.png", png(5))["name"]
    write, full = folder.write, iter([True])

    def refusing(run: str, facts: dict[str, Any]) -> None:
        if facts["state"] == "painting" and next(full, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(run, facts)

    monkeypatch.setattr(folder, "write", refusing)
    address, queue = serve_studio(folder, bound("127.0.0.1", 0))
    order = read_order({"content": name, "style": name}, folder)
    first, second = queue.add(order), queue.add(order)
    assert until_ended(address, first)["why"] == (
        "its folder cannot be used: No space left on device"
    )
    assert until_ended(address, second)["state"] == "finished"


def with_two_orders(root: Path) -> tuple[StudioFolder, str, Queue, tuple[str, str]]:
    """Returns a studio with two runs ordered: its folder, address, queue, and their names."""
    folder = StudioFolder(root)
    name = folder.add("a.png", png(1))["name"]
    address, queue = serve_studio(folder, bound("127.0.0.1", 0))
    order = read_order({"content": name, "style": name}, folder)
    return folder, address, queue, (queue.add(order), queue.add(order))


def test_a_run_that_fails_says_why_and_the_next_is_painted(fake: Path, tmp_path: Path) -> None:
    fake.write_text("import sys; print('jaxstyle: error: no room', file=sys.stderr); sys.exit(1)")
    _, address, queue, (first, second) = with_two_orders(tmp_path / "studio")
    assert until_ended(address, first)["why"] == "no room"
    assert until_ended(address, second)["state"] == "failed"
    assert not queue.stop(second)
    assert requests.post(f"{address}runs/{second}/stop", timeout=10).status_code == 404


def test_a_run_is_stopped_as_it_begins_and_ends_with_the_studio(fake: Path, tmp_path: Path) -> None:
    fake.write_text("import time; time.sleep(60)")
    folder, address, queue, (first, second) = with_two_orders(tmp_path / "studio")
    until = time.monotonic() + 20
    while (queue.progress() or {}).get("name") != first and time.monotonic() < until:
        time.sleep(0.01)
    assert requests.post(f"{address}runs/{first}/stop", timeout=10).status_code == 204
    end = until_ended(address, first)
    assert (end["state"], end["why"]) == (
        "stopped",
        "stopped before the first step was finished: nothing to save",
    )
    while (queue.progress() or {}).get("name") != second and time.monotonic() < until:
        time.sleep(0.01)
    queue.close()
    assert [each["state"] for each in folder.history()] == ["failed", "stopped"]
    assert folder.history()[0]["why"] == "the studio ended before this run did"


def test_what_a_page_sends_is_checked(tmp_path: Path, monkeypatch) -> None:
    folder = StudioFolder(tmp_path / "studio")
    name = folder.add("a.png", png(1))["name"]
    good = {"content": name, "style": name}

    def refusal(**changes: Any) -> str:
        with pytest.raises(InputError) as caught:
            read_order({**good, **changes}, folder)
        return str(caught.value)

    assert "no such picture" in refusal(content="../run.json")
    assert "no such picture" in refusal(keep=str(EXAMPLES / "coffee.png"))
    assert "size" in refusal(size=0.2)
    assert "size is a number" in refusal(size="300; rm -rf /")
    assert "quality is one of draft, default, fine" in refusal(quality="book")
    assert "colors is one of" in refusal(colors=["style"])
    assert "photo is a number above 0" in refusal(photo=-1)
    assert "style_scale must be" in refusal(strokes=1e6)
    assert "one of the painting" in refusal(regions=[name])
    assert "one of the painting" in refusal(regions=0)
    assert "size is a whole number" in refusal(size=300.5)
    assert "size is a number" in refusal(size=float("nan"))
    assert "size is a number" in refusal(size=10**400)
    assert "size is a number" in refusal(size=True)
    assert refusal(output="/tmp/elsewhere.png") == "that is no order: reload the page"
    assert refusal(size=15).startswith("the content picture, 11x15 at this size, is too small")
    assert refusal(strokes=1e-9).startswith("the style picture, 1x1 at this size, is too small")
    assert "keeps nothing of the photo" in refusal(keep=name)
    order = read_order({**good, "strokes": 1.5, "colors": "photo", "quality": "draft"}, folder)
    request = parse(words_of(order, folder))
    assert request is not None
    assert request.preset == "draft"
    assert request.settings == {"size": 300, "style_scale": (1.5,), "colors": "photo"}
    for wrong, data in (("a.exe", png(1)), ("a.png", b"no picture"), ("a.png", png(1)[:60])):
        with pytest.raises(InputError):
            folder.add(wrong, data)
    assert [each.name for each in folder.pictures.iterdir()] == [name]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        StudioFolder(tmp_path / "file")
    monkeypatch.setattr("jaxstyle.view.studio_server.MOST_UPLOADED", 20)
    address, _ = serve_studio(folder, bound("127.0.0.1", 0))
    answer = requests.post(f"{address}pictures?name=a.png", png(2), timeout=10)
    assert answer.status_code == 400
    assert "make it smaller" in answer.text
    assert requests.post(f"{address}runs", b"[[[", timeout=10).status_code == 400
    assert MOST_UPLOADED == 64 * 2**20


def test_a_folder_has_one_studio(tmp_path: Path) -> None:
    with (
        StudioFolder(tmp_path).held(),
        pytest.raises(InputError, match="another studio is at work in"),
        StudioFolder(tmp_path).held(),
    ):
        pass
    with StudioFolder(tmp_path).held():
        pass


def test_results_that_others_have_changed_are_not_shown(tmp_path: Path) -> None:
    folder = StudioFolder(tmp_path)
    asked = {"content": "a.png", "quality": "draft"}
    facts = {"state": "finished", "command": "jaxstyle", "asked": asked}
    wrong: list[Any] = [{}, {"state": 5}, {"asked": {"content": "a.png", "quality": "x"}}, None]
    for number, changes in zip((9999, 10000, 1, 2, 3), [{}, {}, *wrong], strict=False):
        name = f"{number:04d}-a-a"
        (folder.results / name).mkdir()
        text = "[" if changes is None else json.dumps({**facts, "name": name, **changes})
        (folder.results / name / "run.json").write_text(text)
    (folder.results / "0001-a-a/run.json").write_text('{"name": "0001-a-a"}')
    assert [each["name"] for each in folder.history()] == ["10000-a-a", "9999-a-a"]
    photo = folder.add("a.png", png(1))["name"]
    name, _ = folder.begin(read_order({"content": photo, "style": photo}, folder))
    assert name == "10001-a-a"


def test_its_flags() -> None:
    assert parse_studio([]) == (Path("jaxstyle-studio"), "127.0.0.1", 0)
    with pytest.raises(InputError, match="from 1 to 65535, not 70000"):
        parse_studio(["--port", "70000"])
