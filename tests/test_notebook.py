"""Live progress in a notebook, and the notebook among the examples."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW
from PIL import Image

import jaxstyle
from jaxstyle import notebook
from jaxstyle.errors import InputError
from jaxstyle.settings.presets import preset


def picture_in(page: str) -> np.ndarray:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_canvas_is_shown_as_it_is_painted(params, content, style) -> None:
    """The last page has the result, the ones before have other pictures, all with their losses."""
    recipe, hyper = preset(size=48, steps=6, scales=(0.5, 1.0), **SHALLOW)
    pages: list[str] = []
    painted = jaxstyle.stylize(
        *(params, content, style),
        recipe=recipe,
        hyper=hyper,
        observers=[notebook.watch(seconds=0, side=40, show=pages.append)],
    )
    assert len(pages) > 2
    assert "step 6 of 6 at 35x48: content " in pages[-1]
    assert re.search(r"style [\d.e-]+, tv [\d.e-]+, total [\d.e-]+<", pages[-1])
    last = picture_in(pages[-1])
    assert last.shape == (29, 40, 3)  # 35x48, made smaller
    assert (picture_in(pages[0]).shape, "step 0 of 6 at 17x24<" in pages[0]) == ((17, 24, 3), True)
    wanted = np.asarray(Image.fromarray(np.rint(255 * painted).astype(np.uint8)).resize((40, 29)))
    assert np.abs(last.astype(float) - wanted).mean() < 6
    assert 'alt="the picture: step 6 of 6' in pages[-1]


def test_pages_are_not_shown_more_often_than_asked(params, content, style) -> None:
    recipe, hyper = preset(size=48, steps=2, scales=(1.0,), **SHALLOW)
    pages: list[str] = []
    observers = [notebook.watch(seconds=1e9, show=pages.append)]
    jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper, observers=observers)
    assert len(pages) == 2  # the first and the result


def test_what_cannot_be_is_refused(monkeypatch) -> None:
    for given in ({"seconds": -1.0}, {"seconds": float("nan")}, {"side": 0}):
        with pytest.raises(InputError, match="seconds must be at least 0, side at least 1"):
            notebook.watch(**given, show=print)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install ipython"):
        notebook.watch()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """With smaller pictures and convolutions that compile sooner; its last cell shows pictures."""
    nbformat = pytest.importorskip("nbformat", reason="the extra notebook is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra notebook is not installed")
    for path in EXAMPLES.glob("*.png"):
        shutil.copy(path, tmp_path)
    book = nbformat.read(EXAMPLES / "neural_style.ipynb", as_version=4)
    for cell in book.cells:
        smaller = re.sub(r"\bsize=(224|128)\b", 'size=72, conv="direct"', cell.source)
        cell.source = smaller.replace("prepare(params)", 'prepare(params, conv="direct")')
    nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [each for each in outputs if each.output_type == "error"]
    assert any("image/jpeg" in each.get("data", {}) for each in book.cells[-1].outputs)
