"""Regions of pictures: what of the photo takes its style from where, and what of it is kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import Picture, resize_guides
from jaxstyle.settings.recipe import SAMPLED_LOSS_NAMES, Recipe, Sides

Guides = NDArray[np.float32]
"""(H, W, R): for each of R regions how much a pixel belongs to it, 0 to 1."""

LEAST_SHARE = 0.002
"""A color with less of a mask's pixels is no region: it belongs to the nearest color that is."""

MOST_REGIONS = 12


class Regions(NamedTuple):
    """Which parts of photo and styles belong together, and what of the photo is kept."""

    content: Guides | None = None
    """The photo's; None: it is one region."""
    styles: tuple[Guides, ...] = ()
    """Each style's; none at all: every region takes the style from everywhere."""
    keep: NDArray[np.bool_] | None = None
    """(H, W): where the photo is left as it is."""

    def resized(self, canvas: Sides, styles: Sequence[Sides]) -> "Regions":
        """Returns them for a canvas and styles of these sizes, as many of each style as scales."""
        times = len(styles) // max(len(self.styles), 1)
        each_style = [guides for guides in self.styles for _ in range(times)]
        sides = zip(each_style, styles if self.styles else (), strict=True)
        return Regions(
            None if self.content is None else resize_guides(self.content, canvas),
            tuple(resize_guides(guides, size) for guides, size in sides),
            None if self.keep is None else resize_keep(self.keep, canvas),
        )


WHOLE = Regions()
"""All of the photo takes its style from all of the painting, and nothing is kept."""


def check_regions(regions: Regions, recipe: Recipe) -> None:
    """Raises InputError where regions do not go with a recipe."""
    if regions.styles and recipe.style_mix == "sum":
        raise InputError("regions are for --style-mix blend: each has a style of its own")
    if recipe.style_loss in SAMPLED_LOSS_NAMES and any(each is not None for each in regions[::2]):
        raise InputError(
            f"style_loss {recipe.style_loss!r} compares points of the whole photo, without regions"
            " or a part that is kept: leave these out, or give style_loss 'nearest' or 'covariance'"
        )


def resize_keep(keep: NDArray[np.bool_], size: Sides) -> NDArray[np.bool_]:
    """Returns where at least half of a pixel is kept."""
    return resize_guides(np.asarray(keep, np.float32)[..., None], size)[..., 0] >= 0.5


def regions_of_colors(
    content: Picture, styles: Sequence[Picture], *, names: Sequence[str]
) -> tuple[Regions, list[str]]:
    """Returns regions from masks in which the same color means the same region.

    Args:
      content: the photo's mask, (H, W, 3) uint8, of any size and the photo's aspect.
      styles: a mask for each style.
      names: what to call the masks in errors, the photo's first.

    Returns:
      The regions, in the order of the photo's colors, and a line for each color that is in no
      photo's mask and thus not used.

    Raises:
      InputError: a color of the photo's mask is in no style's, or there are too many.
    """
    colors = main_colors(content)
    if len(colors) > MOST_REGIONS:
        raise InputError(
            f"{names[0]} has {len(colors)} colors: a mask has at most {MOST_REGIONS}, each"
            f" of at least {LEAST_SHARE:.1%} of its pixels; save it as PNG, without smoothing"
        )
    others = [main_colors(each) for each in styles]
    for color in colors:
        if not any(color in each for each in others):
            raise InputError(
                f"the region {_hex(color)} of {names[0]} is not in {' or '.join(names[1:])}: paint"
                " there, in the same color, what it is to resemble"
            )
    unused = [
        f"warning: the region {_hex(color)} of {name} is not in {names[0]}: it is not used"
        for name, each in zip(names[1:], others, strict=True)
        for color in each
        if color not in colors
    ]
    guides = [
        _guides_of(mask, its, colors)
        for mask, its in zip((content, *styles), (colors, *others), strict=True)
    ]
    return Regions(guides[0], tuple(guides[1:])), unused


def main_colors(mask: Picture) -> list[tuple[int, int, int]]:
    """Returns the colors that have at least LEAST_SHARE of a mask's pixels, most pixels first."""
    colors, counts = np.unique(mask.reshape(-1, 3), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    enough = [i for i in order if counts[i] >= LEAST_SHARE * counts.sum()]
    return [(int(r), int(g), int(b)) for r, g, b in colors[enough]]


def _guides_of(mask: Picture, there: Sequence[Any], colors: Sequence[Any]) -> Guides:
    """Returns the guides of `colors` from a mask whose main colors are those `there`."""
    known = np.asarray(there or [(0, 0, 0)], np.int32)
    distances = [np.square(mask.astype(np.int32) - each).sum(-1) for each in known]
    nearest = np.argmin(np.stack(distances), axis=0)
    places = {color: i for i, color in enumerate(there)}
    each = [nearest == places.get(color, -1) for color in colors]
    return np.stack(each, axis=-1).astype(np.float32)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def regions_of_masks(masks: Sequence[Picture], styles: Sequence[Picture]) -> Regions:
    """Returns one region for each style, from a grey mask of the photo each; white is all of it.

    Args:
      masks: (H, W, 3) uint8, all of one size.
      styles: the style pictures, of which each is used whole.

    Raises:
      InputError: the masks are of several sizes, not as many as the styles, or one is black.
    """
    if len(masks) != len(styles):
        raise InputError(f"{len(masks)} masks for {len(styles)} styles: give one for each style")
    sizes = sorted({each.shape[:2] for each in masks})
    if len(sizes) > 1:
        told = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise InputError(f"the masks are of several sizes: {told}; each is the photo's")
    guides = np.stack([grey(mask) for mask in masks], axis=-1)
    own = np.eye(len(styles), dtype=np.float32)
    pairs = zip(styles, own, strict=True)
    _check_painted(guides)
    return Regions(
        guides, tuple(np.broadcast_to(row, (*s.shape[:2], len(own))).copy() for s, row in pairs)
    )


def grey(mask: Picture) -> NDArray[np.float32]:
    """Returns (H, W), how white a mask is, 0 to 1: the mean of its channels."""
    found: NDArray[np.float32] = mask.mean(-1, dtype=np.float32) / np.float32(255)
    return found


def with_keep(regions: Regions | None, keep: NDArray[np.bool_]) -> Regions:
    """Returns regions that leave out of every region what is kept of the photo, (H, W).

    Raises:
      InputError: all of the photo would be kept, all of a region, or nothing.
    """
    check_keep(keep)
    painted = (~keep).astype(np.float32)[..., None]
    if regions is None or regions.content is None:
        return Regions(painted, (), keep)
    guides = resize_guides(regions.content, keep.shape)
    guides = guides * painted
    _check_painted(guides)
    return regions._replace(content=guides, keep=keep)


def check_keep(keep: NDArray[np.bool_]) -> None:
    """Raises InputError if all of the photo would be kept, (H, W), or nothing."""
    if keep.all() or not keep.any():
        what = "all" if keep.all() else "nothing"
        raise InputError(f"the mask keeps {what} of the photo: white is kept, black is painted")


def _check_painted(guides: Guides) -> None:
    """Raises InputError for a region that has not a pixel of the photo."""
    for number, there in enumerate(np.atleast_1d(guides.any((0, 1))), 1):
        if not there:
            raise InputError(f"region {number} of the photo has no pixel to paint: leave it out")
