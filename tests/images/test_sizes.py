"""The sizes of canvas and styles: by size, scales, style scale and style size."""

import numpy as np
import pytest

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import beside, check_all_sizes, sizes_of
from jaxstyle.settings.presets import preset


def picture(height: int, width: int):
    return np.zeros((height, width, 3), np.uint8)


PHOTO, PAINTING = picture(300, 400), picture(500, 1000)
SIZES = [
    ({}, (300, 400), [(200, 400)]),
    ({"size": 200}, (150, 200), [(100, 200)]),
    ({"size": 1000}, (300, 400), [(200, 400)]),
    ({"size": 1000, "upscale": True}, (750, 1000), [(500, 1000)]),
    ({"size": "full"}, (300, 400), [(200, 400)]),
    ({"size": (100, 120)}, (100, 120), [(60, 120)]),
    (
        {"size": 200, "style_scale": (0.5, 1.0, 2.0)},
        (150, 200),
        [(50, 100), (100, 200), (200, 400)],
    ),
    ({"size": 200, "style_size": 300}, (150, 200), [(150, 300)]),
    ({"size": 200, "style_size": 300, "style_scale": (2.0,)}, (150, 200), [(300, 600)]),
    # with given scales a style is not enlarged, and keeps its relation to a photo that is small
    ({"size": 200, "scales": (1.0,)}, (150, 200), [(100, 200)]),
    ({"size": 2000, "scales": (1.0,)}, (300, 400), [(200, 400)]),
    ({"size": 200, "scales": (1.0,), "style_scale": (2.0,)}, (150, 200), [(200, 400)]),
    ({"size": 200, "scales": (1.0,), "style_scale": (9.0,)}, (150, 200), [(500, 1000)]),
    ({"size": (100, 120), "scales": (1.0,)}, (100, 120), [(100, 120)]),
    ({"size": (100, 120), "scales": (1.0,), "style_scale": (2.0,)}, (100, 120), [(200, 240)]),
]


@pytest.mark.parametrize(("changes", "canvas", "styles"), SIZES)
def test_canvas_and_styles_have_these_sizes(changes, canvas, styles) -> None:
    recipe, _ = preset(**changes)
    assert sizes_of(PHOTO, [PAINTING], recipe) == (canvas, tuple(styles))
    both = sizes_of(PHOTO, [PAINTING, PAINTING], recipe)
    assert both == (canvas, (*styles, *styles))


def test_at_half_size_all_are_half() -> None:
    recipe, _ = preset(size=200, style_size=300, style_scale=(1.0, 2.0))
    assert sizes_of(PHOTO, [PAINTING], recipe, 0.5) == ((75, 100), ((75, 150), (150, 300)))


def test_a_style_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="the style picture would be 20000x20000: at most 178,956"):
        check_all_sizes((16, 16), [(20, 20), (20_000, 20_000)], 16)
    with pytest.raises(InputError, match="the style picture, 9x20 at this size, is too small"):
        check_all_sizes((16, 16), [(20, 20), (9, 20)], 16)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"style_scale": ()}, "one number or several different ones"),
        ({"style_scale": (1.0, 1.0)}, "one number or several different ones"),
        ({"style_scale": (0.0,)}, "style_scale must be above 0 and at most 16"),
        ({"style_size": 0}, "style_size must be a whole number from 1"),
        ({"size": "whole"}, "size must be a whole number"),
    ],
)
def test_values_that_mean_no_size_are_refused(changes, told) -> None:
    with pytest.raises(InputError, match=told):
        preset(**changes)


def test_several_pictures_stand_side_by_side() -> None:
    one, other = np.full((4, 6, 3), 10, np.uint8), np.full((8, 2, 3), 200, np.uint8)
    joined = beside([one, other])
    assert joined.shape == (4, 7, 3)
    assert (joined[:, :6] == 10).all()
    assert (joined[:, 6:] == 200).all()
    assert beside([one]) is one
