"""Colours on the command line, from end to end, with a slim network."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW

import jaxstyle
from jaxstyle.errors import DivergedError
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import Picture, resize
from jaxstyle.images.color import with_chroma_of
from jaxstyle.settings.presets import preset


def picture(path: str | Path) -> Picture:
    return picture_file.load_picture(Path(path))


def test_sweeps_numbered_pictures_and_single_runs_have_the_same_colours(paint) -> None:
    choices = ("style", "photo", "luminance", "match")
    assert paint("--sweep", "colors", *choices, "--save-every", "2", "-o", "out")[0] == 0
    for colors in choices:
        last = picture(f"out/runs/colors={colors}/picture-0004.png")
        np.testing.assert_array_equal(last, picture(f"out/colors={colors}.png"))
    for colors in ("luminance", "match"):
        assert paint("--colors", colors, "-o", f"{colors}.png")[0] == 0
        swept = Path(f"out/colors={colors}.png").read_bytes()
        assert swept == Path(f"{colors}.png").read_bytes()
    with Path("out/sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["colors"] for row in rows] == list(choices)
    assert {row["color_match"] for row in rows} == {preset()[0].color_match}
    assert rows[0]["total_loss"] == rows[1]["total_loss"] != rows[2]["total_loss"]
    # the photo's colours beside the luma that was painted, but for its rounding
    painted = picture("out/colors=style.png").astype(np.float32) / 255
    photo = resize(picture("photo.png"), painted.shape[:2], resampling="lanczos")
    wanted = with_chroma_of(painted, photo) * 255
    np.testing.assert_allclose(picture("out/colors=photo.png"), wanted, atol=1.6)
    assert paint("--from", "match.png", "-o", "again.png")[0] == 0
    assert Path("again.png").read_bytes() == Path("match.png").read_bytes()


@pytest.mark.parametrize("learning_rate", [0.1, 1e30])
def test_stylize_returns_and_raises_pictures_with_the_photos_colours(learning_rate, params) -> None:
    changes = {"size": 48, "steps": 3, "scales": (1.0,), "clip": False, **SHALLOW}
    content, style = (picture(EXAMPLES / name) for name in ("coffee.png", "strokes.png"))
    pictures = []
    for colors in ("style", "photo"):
        recipe, hyper = preset(colors=colors, learning_rate=learning_rate, **changes)
        try:
            found = jaxstyle.stylize(params, content, style / 255, recipe=recipe, hyper=hyper)
        except DivergedError as error:
            found = error.picture
        pictures.append(found)
    photo = resize(content, pictures[0].shape[:2], resampling="lanczos")
    np.testing.assert_array_equal(pictures[1], with_chroma_of(pictures[0], photo))


@pytest.mark.parametrize(
    ("flag", "value", "near"), [("colors", "fotos", "photo"), ("color-match", "pac", "pca")]
)
def test_other_words_are_refused_in_one_line(paint, flag, value, near) -> None:
    code, out, err = paint(f"--{flag}", value, "-o", "out.png")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert f"did you mean {near}" in err
    assert not Path("out.png").exists()
