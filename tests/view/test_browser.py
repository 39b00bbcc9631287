"""The page of a run, and the studio, in a real browser: what they show and what a person does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from conftest import EXAMPLES, SHALLOW_FLAGS
from painter import PAINTS_WHEN_TOLD, png, stand_in

from jaxstyle.view.address import bound
from jaxstyle.view.studio_folder import StudioFolder
from jaxstyle.view.studio_server import serve_studio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def browser(tmp_path_factory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def test_the_page_of_a_run(browser: Browser, slim_file: Path, tmp_path: Path) -> None:
    words = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "mosaic.png")]
    words += ["--weights", str(slim_file), "--size", "48", "--scales", "1", "--steps", "1000000"]
    words += [*SHALLOW_FLAGS, "-o", str(tmp_path / "out.png"), "--view", "--device", "cpu"]
    run = subprocess.Popen(
        [sys.executable, "-m", "jaxstyle.run", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert run.stderr is not None
        said = next(line for line in run.stderr if "http://" in line)
        address = re.findall(r"http://\S+", said)[0]
        browser.look(390, 844)
        browser.open(address)
        source = browser.until("document.querySelector('.canvas').src")
        browser.until(f"document.querySelector('.canvas').src !== {source!r}")  # it changes
        points = "document.querySelector('[data-term=total]')?.points.length"
        count = browser.until(points)
        browser.until(f"{points} > {count} || {points} > 399")
        browser.until("[...document.images].every((each) => each.alt !== null)")
        assert browser.find("document.documentElement.scrollWidth") <= 390
        browser.find(
            "(each => { each.value = 40; each.dispatchEvent(new Event('input')); })"
            "(document.querySelector('.slider input'))"
        )
        assert "60%" in browser.find("getComputedStyle(document.querySelector('.over')).clipPath")
        browser.find("document.getElementById('save').click()")
        browser.until("document.getElementById('where').textContent.startsWith('saved out-')")
        browser.find("document.getElementById('stop').click()")
        browser.until("document.getElementById('where').textContent.startsWith('stopped')")
        run.stderr.read()
        assert run.wait(60) == 130
        assert (tmp_path / "out.png").exists()
        assert len(list(tmp_path.glob("out-*.png"))) == 1
        assert browser.find("document.querySelector('.canvas').naturalWidth") == 48  # is kept
        assert browser.errors == []
    finally:
        run.kill()
        run.communicate()


SAID = "document.getElementById('where').textContent"
COLOR = """(() => {
    const image = document.querySelector('.stage .canvas');
    const draw = document.createElement('canvas').getContext('2d');
    draw.drawImage(image, 0, 0);
    return [...draw.getImageData(4, 4, 1, 1).data].slice(0, 3).map((each) => Math.round(each / 10));
})().join(' ')"""
"""The color of the picture that is shown, in tens: JPEG files are not exact."""


def states(browser: Browser) -> list[str]:
    """Returns how the results are, as the page lists them."""
    labels = "[...document.querySelectorAll('#sheet button')].map((each) => each.ariaLabel)"
    return [label.rpartition(", ")[2] for label in browser.find(labels)]


def test_the_studio(browser: Browser, monkeypatch, tmp_path: Path) -> None:
    """Files are chosen, one is refused, a run is watched to its end, another one is stopped."""
    stand_in(monkeypatch, tmp_path / "fake.py", PAINTS_WHEN_TOLD)
    root = tmp_path / "studio"
    address, queue = serve_studio(StudioFolder(root), bound("127.0.0.1", 0))
    (tmp_path / "photo.png").write_bytes(png(200))
    (tmp_path / "painting.png").write_bytes(png(60))
    (tmp_path / "wrong.png").write_text("no picture")
    browser.look(390, 844)
    browser.open(address)
    paint = "document.querySelector('#order .main').click()"
    browser.find(paint)
    assert browser.find(SAID) == "choose a photo and a painting first"
    browser.choose("[data-kind=content] input", tmp_path / "wrong.png")
    browser.until(f"{SAID}.includes('wrong.png') && !{SAID}.startsWith('reading')")
    assert browser.find("document.getElementById('where').className") == "alarm"
    browser.choose("[data-kind=content] input", tmp_path / "photo.png")
    browser.until(f"{SAID} === 'choose a painting'")
    assert browser.find("document.getElementById('where').className") == ""
    browser.choose("[data-kind=style] input", tmp_path / "painting.png")
    browser.until(f"{SAID} === 'ready to paint'")
    browser.find(paint)
    browser.until(f"{COLOR} === '9 0 0'")
    assert states(browser) == ["painting"]
    assert browser.find(SAID) == "0001-photo-painting: painting"
    points = "document.querySelector('[data-term=total]').points.length"
    browser.until(f"{points} === 10")
    assert "step 10 of 20 at 30x40" in browser.find("document.getElementById('told').textContent")
    (root / "0001-1").touch()
    browser.until(f"{COLOR} === '18 0 0' && {points} === 20")
    browser.find(paint)  # waits for the first
    browser.until("document.querySelectorAll('#sheet li').length === 2")
    (root / "0001-2").touch()
    browser.until(f"{SAID} === '0001-photo-painting: finished'")
    browser.until(f"{COLOR} === '9 0 0'")  # the second is painted
    browser.find("document.getElementById('stop').click()")
    browser.until(f"{SAID} === '0002-photo-painting: stopped'")
    assert states(browser) == ["stopped", "finished"]
    browser.until(f"{COLOR} === '0 0 20'")
    assert browser.find("document.documentElement.scrollWidth") <= 390
    browser.open(address)  # another day
    browser.until("document.querySelectorAll('#sheet li').length === 2")
    browser.find("document.querySelectorAll('#sheet button')[1].click()")
    browser.until(f"{COLOR} === '0 20 0'")
    given = browser.find("fetch(document.getElementById('download').href).then((x) => x.status)")
    assert given == 200
    assert browser.errors == []
    queue.close()
