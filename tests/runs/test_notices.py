"""Sizes that are not, to the letter, what was asked for, are told."""

import numpy as np
import pytest

from jaxstyle.runs.notices import size_notices
from jaxstyle.settings.presets import preset

PHOTO, PAINTING = np.zeros((150, 200, 3), np.uint8), np.zeros((90, 120, 3), np.uint8)
SMALL = (
    "the photo, 150x200, has fewer pixels than --size 1000: it is painted at its own size;"
    " --upscale enlarges it"
)
LARGER = "the style picture, 90x120, is enlarged 1.7 times: one with more pixels has finer strokes"
LEFT_OUT = "0.05 of --scales is left out: these layers need 16 pixels each way"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, [LARGER]),
        ({"size": 1000}, [SMALL, LARGER]),
        ({"size": 150}, []),
        ({"size": 200, "style_size": 60, "upscale": True}, []),
        ({"size": 180, "scales": (0.05, 0.5, 1.0)}, [LEFT_OUT]),
    ],
)
def test_a_line_says_what_is_otherwise(asked, told) -> None:
    recipe, _ = preset(**asked)
    assert size_notices(PHOTO, [PAINTING], recipe, asked=asked) == told
