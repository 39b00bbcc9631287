"""The page of a run: what it shows, who may see it, and what it can do."""

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from conftest import SHALLOW
from PIL import Image

import jaxstyle
from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.painting.events import LevelBegun
from jaxstyle.painting.level import Level
from jaxstyle.settings.presets import preset
from jaxstyle.view.address import address_of, bound
from jaxstyle.view.live import Live
from jaxstyle.view.server import serve


def test_a_photo_of_more_than_eight_bits_is_as_bright_as_it_is() -> None:
    deep: Any = np.full((8, 12, 3), 0.5, np.float32)
    level = Level(deep, (np.full((8, 12, 3), 200, np.uint8),), 0, 1)
    lane: Any = SimpleNamespace(levels=[level], idle=False, seconds=0.0, steps_done=0)
    live = Live(lambda: None)
    live.see(LevelBegun(0, level, lane))
    for name, value in (("content", 128), ("style", 200)):
        shown = np.asarray(Image.open(io.BytesIO(live.given(name) or b"")))
        assert np.abs(shown.astype(int) - value).max() <= 2


def test_the_page_shows_the_run_to_who_has_its_address(params, content, style) -> None:
    stops: list[int] = []
    live = Live(lambda: stops.append(1))
    recipe, hyper = preset(size=48, steps=4, scales=(1.0,), **SHALLOW)
    at = bound("127.0.0.1", 0)
    address = serve(live, at)
    host = address.rsplit("/", 2)[0]
    assert requests.get(f"{address}canvas.png", timeout=5).status_code == 404
    given = {"recipe": recipe, "hyper": hyper, "observers": [live]}
    painted = jaxstyle.stylize(params, content, style, **given)
    told = requests.get(f"{address}events", timeout=5).text
    assert '"step": 4, "steps": 4' in told
    assert '"how": "finished"' in told
    page = requests.get(address, timeout=5)
    assert "Stop and save" in page.text
    data = requests.get(f"{address}canvas.png", timeout=5).content
    shown = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(shown, np.rint(255 * painted).astype(np.uint8))
    for path in ("/", "/wrong/", "/wrong/canvas.png", "/../../etc/passwd", "/%2e%2e/etc/passwd"):
        assert requests.get(host + path, timeout=5).status_code == 404
    assert requests.post(f"{host}/wrong/stop", timeout=5).status_code == 404
    assert requests.get(f"{address}stop", timeout=5).status_code == 405
    assert stops == []
    assert requests.post(f"{address}stop", timeout=5).status_code == 204
    assert stops == [1]
    with pytest.raises(InputError, match="--view cannot use 127"):
        bound("127.0.0.1", at.getsockname()[1])


def test_only_a_local_page_of_a_run_alone_is_served_without_more(monkeypatch) -> None:
    def refusal(*given: str) -> str:
        with pytest.raises(InputError) as caught:
            parse(["--content", "c.png", "--style", "s.png", *given])
        return str(caught.value)

    request = parse(["--content", "c.png", "--style", "s.png", "--view"])
    assert request.view == ("127.0.0.1", 0)
    assert "are for --view" in refusal("--view-port", "8000")
    assert "from 1 to 65535, not 70000" in refusal("--view", "--view-port", "70000")
    assert "for a single run" in refusal("--view", "--devices", "2")
    assert "for a single run" in refusal("--view", "--plan")
    assert "or a sweep" in refusal("--view", "--collect", "folder")
    assert "or a sweep" in refusal("--view", "--sweep", "steps", "1", "2", "--distributed")
    request = parse(["--view", "--view-host", "::1", "--sweep", "steps", "1", "2"])
    assert request.view == ("::1", 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'jaxstyle\[view\]'"):
        bound("127.0.0.1", 0)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def painted_live(params, content, style, live: Live, *, steps: int = 4) -> None:
    recipe, hyper = preset(size=48, steps=steps, scales=(1.0,), **SHALLOW)
    given: Any = {"recipe": recipe, "hyper": hyper, "observers": [live]}
    jaxstyle.stylize(params, content, style, **given)


def told(address: str) -> dict[str, Any]:
    """Returns what a page knows of a run when that has ended: the last facts, and all losses."""
    found: dict[str, Any] = {}
    terms: dict[str, list[float]] = {}
    with requests.get(f"{address}events", stream=True, timeout=60) as answer:
        for line in filter(None, answer.iter_lines()):
            found = json.loads(line.removeprefix(b"data: "))
            for name, values in found.pop("more", {"terms": {}})["terms"].items():
                terms.setdefault(name, []).extend(values)
    return {**found, "terms": terms}


def test_what_the_page_is_told_and_who_is_answered(params, content, style, stack) -> None:
    saved: list[int] = []

    def save(lane: Any, canvas: Any, done: int) -> str:
        assert np.isfinite(canvas).all()
        saved.append(done)
        return "saved.png"

    live = Live(lambda: None, save=save)
    at = bound("127.0.0.1", 0)
    address = serve(live, at)
    token = address.rstrip("/").rpartition("/")[2]
    deaf = stack.enter_context(socket.create_connection(at.getsockname()))  # never reads
    deaf.sendall(f"GET /{token}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    found: list[dict[str, Any]] = []
    clients = [threading.Thread(target=lambda: found.append(told(address))) for _ in range(10)]
    assert requests.post(f"{address}save", timeout=5).status_code == 204
    for each in clients:
        each.start()
    until = time.monotonic() + 20
    while live.looking < 11 and time.monotonic() < until:
        time.sleep(0.01)
    assert live.looking == 11  # ten, and the one that never reads, before the first step
    painted_live(params, content, style, live)
    for each in clients:
        each.join(20)
    assert len(saved) == 1
    assert 1 <= saved[0] <= 4
    assert len(found) == 10
    assert all({**each, "memory": 0} == {**found[0], "memory": 0} for each in found)
    facts = found[0]
    assert (facts["level"], facts["levels"], facts["size"]) == (1, 1, "35x48")
    assert facts["memory"] > 10**7
    assert facts["saved"] == "saved.png"
    assert {len(values) for values in facts["terms"].values()} == {4}
    last = {name: values[-1] for name, values in facts["terms"].items()}
    more = live.curves(-1, 0)
    assert more is not None
    assert (more["first"], more["from"], more["terms"]) == (1, 0, facts["terms"])
    assert last == {name: float(f"{value:.4g}") for name, value in facts["losses"].items()}
    photo = Image.open(io.BytesIO(requests.get(f"{address}content.jpg", timeout=5).content))
    assert photo.size == (48, 35)
    assert requests.get(f"{address}style/0.jpg", timeout=5).status_code == 200
    assert requests.get(f"{address}style/1.jpg", timeout=5).status_code == 404
    for name in ("view.js", "parts.js", "look.css", "page.css"):
        assert requests.get(f"{address}{name}", timeout=5).status_code == 200
    elsewhere = {"Origin": "http://elsewhere.example"}
    assert requests.post(f"{address}stop", headers=elsewhere, timeout=5).status_code == 403
    named = {"Host": "elsewhere.example"}
    assert requests.get(address, headers=named, timeout=5).status_code == 403
    own = {"Origin": address.rsplit("/", 2)[0]}
    assert requests.post(f"{address}stop", headers=own, timeout=5).status_code == 204


def test_pictures_take_no_more_than_their_share_of_the_time(params, content, style) -> None:
    live = Live(lambda: None)
    live.looking = 1
    painted_live(params, content, style, live)
    began = time.thread_time()
    data = live.picture(".jpg")
    took = time.thread_time() - began
    assert data is not None
    assert live.picture(".jpg") is data  # made once
    assert live.pause >= 0.5
    assert live.pause >= took / 0.02 * 0.5


def test_an_address_that_others_can_open() -> None:
    with bound("0.0.0.0", 0) as at:
        host, port = address_of(at).removeprefix("http://").rsplit(":", 1)
        assert int(port) == at.getsockname()[1]
        assert host not in ("0.0.0.0", "")
    with bound("127.0.0.1", 0) as at:
        assert address_of(at) == f"http://127.0.0.1:{at.getsockname()[1]}"
