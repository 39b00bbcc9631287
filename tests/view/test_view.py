"""The page of a run: what it shows, who may see it, and what it can do."""

import io

import numpy as np
import pytest
import requests
from conftest import SHALLOW
from PIL import Image

import jaxstyle
from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.settings.presets import preset
from jaxstyle.view.address import bound
from jaxstyle.view.live import Live
from jaxstyle.view.server import serve


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
    assert "for a single run" in refusal("--view", "--sweep", "steps", "1", "2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'jaxstyle\[view\]'"):
        bound("127.0.0.1", 0)
