"""The sizes of a run, from coarse to fine, and the two pictures at each."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxstyle import images
from jaxstyle.layers import smallest_side
from jaxstyle.plan import way_of
from jaxstyle.recipe import Recipe
from jaxstyle.room import Room, memory_left


class Level(NamedTuple):
    """One size of a run: both pictures, uint8, and its share of the steps."""

    content: images.Picture
    style: images.Picture
    first_step: int
    steps: int
    memory: str = "plain"
    """Or "strips": how the features of this size are computed."""


def levels(content: Any, style: Any, *, recipe: Recipe, room: Room | None = None) -> list[Level]:
    """Returns the sizes of a run, from coarse to fine; both pictures resized from the originals.

    Sizes too small for the deepest layer are left out, and so are sizes without a step.

    Args:
      content: (H, W, 3), uint8 or floating point in [0, 1].
      style: likewise, of any size.
      recipe: its size, scales, steps, layers and memory decide.
      room: what may be used, on which "auto" memory depends; by default all that is free.

    Raises:
      InputError: a picture of the wrong kind, or too small even at full size.
    """
    pictures = (images.as_picture(content, name="content"), images.as_picture(style, name="style"))
    least = smallest_side(recipe.content_layers + recipe.style_layers)
    sizes = [
        [images.fitted_size(picture, recipe.size, scale) for picture in pictures]
        for scale in recipe.scales
    ]
    for name, full_size in zip(("content", "style"), sizes[-1], strict=True):
        images.check_large_enough(name, full_size, least)
    sizes = [pair for pair in sizes if min(map(min, pair)) >= least]
    sizes = sizes[-recipe.steps :]
    bounds = [recipe.steps * i // len(sizes) for i in range(len(sizes) + 1)]
    room = memory_left() if room is None else room
    ways = [way_of(recipe, content_size, style_size, room) for content_size, style_size in sizes]
    return [
        Level(*_resized(pictures, pair, recipe.resampling), start, stop - start, way)
        for pair, (start, stop), way in zip(sizes, itertools.pairwise(bounds), ways, strict=True)
    ]


def _resized(
    pictures: tuple[images.Picture, images.Picture],
    sizes: Sequence[tuple[int, int]],
    resampling: str,
) -> tuple[images.Picture, images.Picture]:
    content, style = (
        images.resize(picture, size, resampling=resampling)
        for picture, size in zip(pictures, sizes, strict=True)
    )
    return content, style
