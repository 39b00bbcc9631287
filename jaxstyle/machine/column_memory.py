"""How much memory style losses by columns need beside the network: their targets, the matching."""

import math

from jaxstyle.network.layers import block_of
from jaxstyle.settings.recipe import COLUMN_LOSS_NAMES, SAMPLED_LOSS_NAMES, Recipe, Sides

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of VGG's blocks."""

PIXELS_A_COLUMN = 16
"""Pixels of a picture for each position of the grid of columns, see `losses.columns`."""

DEEPEST_LARGE = 3
"""The deepest block whose maps are not smaller than the grid."""

COMPARING = 3 * 4 * 2**23
"""Bytes of the similarities that are in memory at a time, and of what is made of them."""

CANVAS_POINTS, STYLE_POINTS = 1024, 5000
"""How many points of the canvas, and of all styles, are compared in a step at most: as many as in
the program of Kolkin, Salavon & Shakhnarovich 2019, see `optimization.samples`."""

POOL_SIDE = 128
"""From so many rows and columns of a size, at most, every step chooses its own."""

FEWEST_CANDIDATES = 16
"""How many columns of the style are compared at a time in a picture of any size."""


def sample_bytes(content: Sides, *, recipe: Recipe) -> int:
    """Returns the bytes that a step needs for points, of whatever size: columns and what is made.

    The photo's at the pool, a few copies of the style's and the canvas's; products of channels with
    channels and of points with points.
    """
    if recipe.style_loss not in SAMPLED_LOSS_NAMES:
        return 0
    channels = sum(CHANNELS[block_of(layer) - 1] for layer in recipe.style_layers)
    pool = min(POOL_SIDE**2, math.prod(content))
    columns = channels * (pool + 4 * STYLE_POINTS + 6 * CANVAS_POINTS + 6 * channels)
    return 4 * (columns + 6 * CANVAS_POINTS * STYLE_POINTS)


def column_bytes(recipe: Recipe, *, above: int = 0) -> int:
    """Returns the bytes of columns by pixel of their picture, of layers of blocks above one."""
    if recipe.style_loss not in COLUMN_LOSS_NAMES:
        return 0
    blocks = [block_of(layer) for layer in recipe.style_layers]
    channels = sum(CHANNELS[block - 1] for block in blocks if block > above)
    return 4 * channels // PIXELS_A_COLUMN


def step_column_bytes(recipe: Recipe) -> int:
    """Returns the bytes by pixel that a step needs more.

    The targets, the canvas's maps at the grid of one layer after another, and their gradients:
    small maps are made larger, and so are their gradients.
    """
    return 2 * column_bytes(recipe) + 2 * column_bytes(recipe, above=DEEPEST_LARGE)


def matching_bytes(content: Sides, style: Sides, *, recipe: Recipe) -> int:
    """Returns the bytes that the search for the nearest columns needs, once columns are there.

    Of the canvas its columns, centred ones and what is chosen; of one style at a time its columns
    and their directions. Measured, with five layers: four fifths of it.
    """
    each = column_bytes(recipe)
    if not each:
        return 0
    queries = math.prod(content) // PIXELS_A_COLUMN
    comparing = max(COMPARING, 3 * 4 * FEWEST_CANDIDATES * queries)
    return each * (3 * math.prod(content) + 2 * math.prod(style)) + comparing


def copied_bytes(content: Sides, style: Sides, *, recipe: Recipe) -> int:
    """Returns the bytes that every one of several devices needs whole: all columns of the style.

    Or all that is known of points.
    """
    return sample_bytes(content, recipe=recipe) + 2 * column_bytes(recipe) * math.prod(style)
