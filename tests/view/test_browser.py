"""The page of a run in a real browser: it shows, it grows, it stops the run."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from conftest import EXAMPLES, SHALLOW_FLAGS

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
