"""Samples: at which points pictures are compared by style loss "strotss", and their columns.

Kolkin, Salavon & Shakhnarovich 2019 compare about a thousand points of the canvas, others at every
step, with some thousand of the style, the same at all steps of a size.

Where we differ: the points are crossings of rows and columns, one drawn at random from each of
equal bands, which strips and devices can read without ever having a map whole (`losses.lattice`).
Those of a step are chosen from a pool, so that the photo's columns are found once for a size. What
is drawn depends on the run's seed and on the number of the step alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.images.canvas import MEAN, STD
from jaxstyle.losses.lattice import Lattice, Points, at_points, lattices
from jaxstyle.losses.transport import StyleColumns, style_columns
from jaxstyle.machine.column_memory import CANVAS_POINTS, POOL_SIDE, STYLE_POINTS
from jaxstyle.network.layers import block_of

POINT_COLORS = "colors"
"""Where the colours of points are, beside the layers' columns."""

PointColumns = dict[str, jax.Array]
"""By layer (n, C), and POINT_COLORS (n, 3) from 0 to 1."""

ReadPoints = Callable[[jax.Array, Mapping[str, Lattice]], dict[str, jax.Array]]
"""Returns by layer the features (n, m, C) of a picture at a lattice's points."""


class Samples(NamedTuple):
    """What is drawn, and known of the photo there, for all steps of a level."""

    seed: jax.Array
    """uint32: of the run and the level."""
    pool: Points
    """From which every step chooses."""
    content: dict[str, jax.Array]
    """By layer the photo's features (rows, columns, C) at the pool's points."""


def one_of_each_band(bits: jax.Array, size: int) -> jax.Array:
    """Returns one of each of equal bands of 0 to size - 1 by random bits, (count,) uint32 to int32.

    There are as many bands, at most `size`.
    """
    edges = np.arange(len(bits) + 1) * size // len(bits)
    low, span = edges[:-1].astype(np.uint32), np.diff(edges).astype(np.uint32)
    return (jnp.asarray(low) + bits % span).astype(jnp.int32)


def block_by_tap(taps: Sequence[str]) -> dict[str, int]:
    """Returns VGG's block of each tap, from 1."""
    return {tap: block_of(tap) for tap in taps}


def grid_of(sides: Sequence[int], count: int) -> tuple[int, int]:
    """Returns how many rows and columns of a picture have about `count` crossings, at most.

    They are as far apart either way, and there are no more than the picture has.
    """
    height, width = sides
    rows = min(max(1, round(math.sqrt(count * height / width))), height, count)
    return rows, min(max(1, count // rows), width)


def points_in_bands(bits: jax.Array, sides: Sequence[int], counts: Sequence[int]) -> Points:
    """Returns points of a picture with these sides: crossings of so many rows and columns.

    `bits` are random, a uint32 for each of them.
    """
    return Points(
        one_of_each_band(bits[: counts[0]], sides[0]), one_of_each_band(bits[counts[0] :], sides[1])
    )


def points_of_step(samples: Samples, step: jax.Array | int, sides: Sequence[int]) -> Points:
    """Returns which rows and columns of the pool a step compares, by their numbers in it.

    Args:
      samples: of the level.
      step: counted over the whole run.
      sides: the canvas's, without padding.
    """
    key = jax.random.fold_in(jax.random.key(samples.seed), jnp.asarray(step, jnp.uint32))
    pool = samples.pool.rows.size, samples.pool.columns.size
    counts = [min(pair) for pair in zip(grid_of(sides, CANVAS_POINTS), pool, strict=True)]
    return points_in_bands(jax.random.bits(key, (sum(counts),), jnp.uint32), pool, counts)


def make_samples(
    seed: jax.Array,
    content: jax.Array,
    styles: Sequence[jax.Array],
    *,
    read: Sequence[ReadPoints],
    taps: Sequence[str],
    heights: Sequence[int],
    balance: str,
) -> tuple[Samples, StyleColumns]:
    """Returns the samples of a level and what is kept of the styles.

    Args:
      seed: uint32.
      content: (H, W, 3), normalized, like `styles`; on several devices with padding below.
      styles: of any sizes.
      read: what reads the features of the content and of each style.
      taps: plain names of the layers.
      heights: how many rows of the content and of each style are the picture's.
      balance: see `transport.style_columns`.
    """
    sides = [
        (height, each.shape[1]) for height, each in zip(heights, [content, *styles], strict=True)
    ]
    counts = [tuple(min(POOL_SIDE, side) for side in sides[0])]
    counts += [grid_of(each, STYLE_POINTS // len(styles)) for each in sides[1:]]
    bits = jax.random.bits(jax.random.key(seed), (sum(map(sum, counts)),), jnp.uint32)
    ends = np.cumsum([sum(each) for each in counts])
    parts = [bits[end - sum(each) : end] for end, each in zip(ends, counts, strict=True)]
    pool, *points = map(points_in_bands, parts, sides, counts)
    own = read[0](content, lattices(pool, block_by_tap(taps), content.shape[:2], height=heights[0]))
    found: list[PointColumns] = []
    for i, style in enumerate(styles):
        given: Any = {"taps": taps, "height": heights[i + 1], "read": read[i + 1]}
        found.append(columns_at(style, points[i], **given))
    joined = {tap: jnp.concatenate([each[tap] for each in found]) for tap in found[0]}
    colors = joined.pop(POINT_COLORS)
    return Samples(seed, pool, own), style_columns(joined, colors, balance=balance)


def columns_at(
    picture: jax.Array, points: Points, *, taps: Sequence[str], height: int, read: ReadPoints
) -> PointColumns:
    """Returns the columns of a picture (H, W, 3), normalized, at points (n in all) of it.

    Of its rows `height` are the picture's; `read` is what reads its features.
    """
    layers = lattices(points, block_by_tap(taps), picture.shape[:2], height=height)
    pixels = lattices(points, {POINT_COLORS: 1}, picture.shape[:2], height=height)[POINT_COLORS]
    found = {**read(picture, layers), POINT_COLORS: at_points(picture, pixels) * STD + MEAN}
    return {tap: each.reshape(-1, each.shape[-1]) for tap, each in found.items()}


def photo_at(samples: Samples, points: Points) -> PointColumns:
    """Returns the photo's columns (n, C), by layer, at points of the pool."""
    return {
        tap: each[points.rows][:, points.columns].reshape(-1, each.shape[-1])
        for tap, each in samples.content.items()
    }


def in_picture(samples: Samples, points: Points) -> Points:
    """Returns the pixels that points of the pool are."""
    return Points(samples.pool.rows[points.rows], samples.pool.columns[points.columns])
