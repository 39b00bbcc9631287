"""The sizes of pictures, how they are resized, and pictures as canvases.

A *picture* is an array (H, W, 3), RGB in sRGB: uint8 on the way in, float32 in [0, 1] on the way
out. A *canvas* is the same in the network's input space: (picture - MEAN) / STD per channel, in
float32, roughly -2.1 to 2.6.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jaxstyle.errors import InputError
from jaxstyle.images.bands import (
    FILTERS,
    Alpha,
    BandedPicture,
    of_sixteen_bits,
    resize_bands,
    resize_deep,
    whole_floats,
)
from jaxstyle.settings.checks import COARSEST, MOST_PIXELS, pyramid_of
from jaxstyle.settings.recipe import Recipe, Sides, Size

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""Mean and deviation of ImageNet's pictures, per channel, on which torchvision trained."""

LARGEST = 3
"""How many of the "auto" scales, the largest ones, have the steps that the recipe says."""

LEAST_ENLARGED = 16
"""Pixels of the short side of a style picture that is enlarged: a smaller one has no style."""


Picture = NDArray[np.uint8]


def as_picture(array: Any, *, name: str) -> Picture:
    """Returns an array given through the API as (H, W, 3) uint8.

    Args:
      array: (H, W, 3), uint8, or floating point in [0, 1], which is rounded to 8 bits, or uint16,
        of which all bits are kept. A picture that is read in bands is returned as it is.
      name: what to call it in an error.

    Raises:
      InputError: another shape, type or range.
    """
    if isinstance(array, BandedPicture):
        return cast("Picture", array)
    try:
        picture = np.asarray(array)
    except InputError:  # its file is another now
        raise
    except ValueError:  # lists of unequal lengths
        raise InputError(f"{name} must be an array (H, W, 3), got {type(array)}") from None
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.size == 0:
        raise InputError(f"{name} must be an array (H, W, 3), got shape {picture.shape}")
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return cast("Picture", of_sixteen_bits(picture))
    if not np.issubdtype(picture.dtype, np.floating):
        raise InputError(f"{name} must be uint8, uint16 or floating point, got {picture.dtype}")
    if not (picture.min() >= 0 and picture.max() <= 1):  # NaN is refused as well
        raise InputError(f"{name}: floating-point pictures must lie in [0, 1]")
    return np.rint(picture * 255).astype(np.uint8)  # type: ignore[no-any-return]


def as_styles(style: Any, *, name: str = "style") -> tuple[Picture, ...]:
    """Returns one style picture, or a list or tuple of several, as a tuple; see `as_picture`.

    Raises:
      InputError: an empty list, or a picture that cannot be used.
    """
    several = list(style) if isinstance(style, list | tuple) else [style]
    if not several:
        raise InputError(f"{name} is an empty list: give at least one picture")
    return tuple(as_picture(each, name=name) for each in several)


def fitted_size(
    picture: Picture, size: Size | float, scale: float, *, upscale: bool = False
) -> Sides:
    """Returns (H, W) of a picture painted at `scale` times `size`; see `recipe.Size`."""
    height, width = picture.shape[:2]
    if isinstance(size, tuple):
        return _scaled(size[0], scale), _scaled(size[1], scale)
    ratio = 1.0 if isinstance(size, str) else size / max(height, width)
    factor = scale * (ratio if upscale else min(ratio, 1))
    return _scaled(height, factor), _scaled(width, factor)


def canvas_size(content: Picture, recipe: Recipe, scale: float = 1.0) -> Sides:
    """Returns (H, W) of the canvas at `scale` times a recipe's size."""
    return fitted_size(content, recipe.size, scale, upscale=recipe.upscale)


def sizes_of(
    content: Picture, styles: Sequence[Picture], recipe: Recipe, scale: float = 1.0
) -> tuple[Sides, tuple[Sides, ...]]:
    """Returns (H, W) of the canvas and of the styles at `scale` times a recipe's size.

    Every style comes once with each `style_scale`, in this order. With "auto" scales its long side
    is the canvas's, be it that the style is enlarged: strokes then are as large beside the photo at
    every size, and a large picture is like its preview. With given scales a style is never enlarged
    (but by an exact size), and if the photo has fewer pixels than `size`, no style has more; but
    COARSEST pixels of its long side are left to it.
    """
    sides = [
        _style_size(style, content, recipe, scale, times)
        for style in styles
        for times in recipe.style_scale
    ]
    return canvas_size(content, recipe, scale), tuple(sides)


def _style_size(
    style: Picture, content: Picture, recipe: Recipe, scale: float, times: float
) -> Sides:
    """Returns (H, W) of a style picture for strokes `times` as large as usual."""
    height, width = style.shape[:2]
    if isinstance(recipe.scales, str) or not isinstance(recipe.style_size, str):
        long_side: float = max(canvas_size(content, recipe, scale))
        if not isinstance(recipe.style_size, str):
            long_side = recipe.style_size * scale
        factor = times * (long_side / max(height, width))
        if min(height, width) < LEAST_ENLARGED:
            factor = min(factor, 1)
        return _scaled(height, factor), _scaled(width, factor)
    if isinstance(recipe.size, tuple):
        return fitted_size(style, recipe.size, scale * times)
    size = COARSEST if isinstance(recipe.size, str) else min(recipe.size, COARSEST)
    return fitted_size(style, max(*canvas_size(content, recipe), size) * times, scale)


def scales_of(recipe: Recipe, content: Picture) -> tuple[float, ...]:
    """Returns a recipe's scales, rising to 1.

    "auto" is each half of the next, the first such that the canvas's long side is COARSEST pixels
    or more, but less than twice that; "auto:F:N" is the same by another factor, down to N pixels
    when rounded.
    """
    if not isinstance(recipe.scales, str):
        return recipe.scales
    pyramid, sides = pyramid_of(recipe.scales), canvas_size(content, recipe)
    side = min(sides) if pyramid.short else max(sides)
    if recipe.scales == "auto":
        coarser = max(0, (side // COARSEST).bit_length() - 1)
    else:
        ratio = side / max(pyramid.least - 0.499, 0.5)
        coarser = max(0, math.floor(math.log(ratio, pyramid.factor)))
    return tuple(pyramid.factor**-i for i in range(coarser, -1, -1))


def step_shares(recipe: Recipe, scales: Sequence[float]) -> list[float]:
    """Returns by scale its share of the steps, in any unit: the scale to the power `steps_power`.

    Of "auto" scales those coarser than the LARGEST ones have the share of the coarsest of these.
    Shares by `level_steps` are what these say.
    """
    if not isinstance(recipe.level_steps, str):
        last = len(recipe.level_steps) - 1
        return [recipe.level_steps[min(i, last)] for i in range(len(scales))]
    shares = [scale**recipe.steps_power for scale in scales]
    coarser = 0 if recipe.scales != "auto" else len(shares) - LARGEST
    return [shares[coarser] if i < coarser else share for i, share in enumerate(shares)]


def total_steps(recipe: Recipe, content: Picture) -> int:
    """Returns how many steps a run takes in all.

    Of "auto" scales the LARGEST ones have the recipe's steps, and coarser ones their shares beside
    that: in full a large picture takes as many steps as a small one. `level_steps` are added up.
    """
    if not isinstance(recipe.level_steps, str):
        return round(sum(step_shares(recipe, scales_of(recipe, content))))
    if recipe.scales != "auto":
        return recipe.steps
    shares = step_shares(recipe, scales_of(recipe, content))
    return round(recipe.steps * sum(shares) / sum(shares[-LARGEST:]))


def parted_steps(
    scales: Sequence[float], shares: Sequence[float], steps: int
) -> list[tuple[float, int, int]]:
    """Shares out the steps; the last scale has at least one.

    Returns:
      By scale: it, how many steps come before, and how many it has.
    """
    parts = itertools.accumulate(shares[:-1], initial=0.0)
    starts = [min(round(steps * part / sum(shares)), steps - 1) for part in parts]
    ends = [*starts[1:], steps]
    return [(each, a, b - a) for each, a, b in zip(scales, starts, ends, strict=True)]


def _scaled(side: int, factor: float) -> int:
    """Rounds half up, so that 1.5 is 2 and 2.5 is 3."""
    return max(1, int(side * factor + 0.5))


def shortest_side(canvas: Sides, styles: Sequence[Sides]) -> int:
    """Returns the shortest side of a canvas and its styles: a level needs enough of them all."""
    return min(map(min, (canvas, *styles)))


def largest_style(sides: Sequence[Sides]) -> Sides:
    """Returns the sides of the style that has most pixels."""
    return max(sides, key=math.prod)


def check_all_sizes(canvas: Sides, styles: Sequence[Sides], least: int) -> None:
    """Raises InputError for a canvas or style of fewer than `least` pixels, or of far too many."""
    check_large_enough("content", canvas, least)
    for size in styles:
        check_large_enough("style", size, least)
    for name, size in [("canvas", canvas), *(("style picture", size) for size in styles)]:
        if math.prod(size) > MOST_PIXELS:
            raise InputError(
                f"the {name} would be {size[0]}x{size[1]}: at most {MOST_PIXELS:,} pixels are"
                " painted"
            )


def check_large_enough(name: str, size: Sides, least: int) -> None:
    """Raises InputError if a picture of (H, W) has fewer than `least` pixels either way."""
    if min(size) < least:
        raise InputError(
            f"the {name} picture, {size[0]}x{size[1]} at this size, is too small: layers as deep"
            f" as these need {least} pixels each way; choose a larger picture or --size"
        )


def resize(picture: Picture, size: tuple[int, int], *, resampling: str) -> Picture:
    """Resizes to (H, W) with antialiasing, on 8 bits: equal neighbours stay equal.

    With "bilinear" this is what torchvision's Resize does to a Pillow image.
    """
    return resize_to_each(picture, [size], resampling=resampling)[0]


def resize_in_depth(picture: Picture, sizes: Sequence[Sides], *, resampling: str) -> list[Picture]:
    """Resizes a picture to every (H, W), see `resize`, with all its bits.

    Returns:
      For each size (h, w, 3), uint8; of a deep picture, be it in a file or an array, float32 in
      [0, 1], which is typed as if it were the same: `normalize` takes both.
    """
    if isinstance(picture, BandedPicture) and picture.is_deep:
        if picture.shape[:2] not in sizes:
            given: Any = {"resampling": resampling, "deep": True}
            return picture.read(lambda bands: resize_bands(bands, sizes, **given))
        picture = cast("Picture", picture.read(whole_floats))
    if picture.dtype != np.float32:
        return resize_to_each(picture, sizes, resampling=resampling)
    floats, whole = cast("NDArray[np.float32]", picture), picture.shape[:2]
    how = FILTERS[resampling]
    each = [floats if size == whole else resize_deep(floats, size, how) for size in sizes]
    return cast("list[Picture]", each)


def resize_to_each(picture: Picture, sizes: Sequence[Sides], *, resampling: str) -> list[Picture]:
    """Resizes a picture to every (H, W), see `resize`; one that is in a file is read once."""
    whole = picture.shape[:2]
    if isinstance(picture, BandedPicture) and whole not in sizes:
        least = max(height for height, _ in sizes), max(width for _, width in sizes)
        return picture.read(lambda bands: resize_bands(bands, sizes, resampling), least)
    picture = np.asarray(picture)  # it may be in a file still, see `images.stored`
    image = Image.fromarray(picture)
    return [
        picture if size == whole else np.asarray(image.resize(size[::-1], FILTERS[resampling]))
        for size in sizes
    ]


def resize_guides(guides: NDArray[np.float32], size: Sides) -> NDArray[np.float32]:
    """Returns guides (h, w, R) at (H, W), antialiased; they stay in [0, 1]."""
    guides = np.asarray(guides)  # they may be in a file still
    if guides.shape[:2] == size:
        return guides
    return resize_deep(guides, size, FILTERS["bilinear"])


def alpha_at(alpha: Alpha | None, size: Sides) -> Alpha | None:
    """Returns how opaque pixels are, (h, w), at (H, W), of as many bits; None if all are wholly."""
    if alpha is None:
        return None
    there: Any = np.asarray(alpha)  # it may be in a file still
    if there.shape == size:
        return cast("Alpha", there)
    top = np.iinfo(there.dtype).max
    scaled = resize_guides(there.astype(np.float32)[..., None] / np.float32(top), size)[..., 0]
    return cast("Alpha", np.rint(scaled * top).astype(there.dtype))


def beside(pictures: Sequence[Picture]) -> Picture:
    """Returns one picture itself, or several as one, side by side, as high as the lowest."""
    if len(pictures) == 1:
        return pictures[0]
    height = min(each.shape[0] for each in pictures)
    widths = [_scaled(each.shape[1], height / each.shape[0]) for each in pictures]
    parts = [
        resize(each, (height, width), resampling="lanczos")
        for each, width in zip(pictures, widths, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def resize_floats(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes a painted picture, float32 in [0, 1], to (H, W) by Lanczos, on 8 bits."""
    if picture.shape[:2] == size:
        return picture
    resized = resize(as_picture(picture, name="picture"), size, resampling="lanczos")
    return resized.astype(np.float32) / np.float32(255)


def floats_within(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Returns a picture (H, W, 3), made smaller where its long side is more than `side`."""
    size = fitted_size(cast("Picture", picture), side, 1.0)
    return picture if size == picture.shape[:2] else resize_floats(picture, size)


def normalize(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the canvas of a picture: (picture - MEAN) / STD, all in float32.

    Args:
      picture: (H, W, 3), uint8, which is divided by 255 first, or floating point in [0, 1].
    """
    scaled = picture.astype(np.float32)
    if picture.dtype == np.uint8:
        scaled = scaled / np.float32(255)
    return (scaled - MEAN) / STD


def denormalize(canvas: Any) -> NDArray[np.float32]:
    """Returns the picture of a canvas: float32, clipped to [0, 1]."""
    return (np.asarray(canvas, np.float32) * STD + MEAN).clip(0, 1)
