"""Matches: for every position of the canvas the styles' column that is most like the photo's.

Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, "Neural Neighbor Style Transfer", the
main phase: once for every level the photo's columns (`losses.columns`) look for the nearest ones of
the style, by the cosine after each picture's mean is taken away; the canvas is then led to these.

Where we differ: the photo alone asks, not the canvas so far; means are those of all positions, not
of chunks; in relative balance every layer has the same share in the styles' columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxstyle.losses.columns import GRID_BLOCK, LEAST_OF_ALL, NearestTarget, at_grid
from jaxstyle.losses.matching import Nearest, directions, nearest
from jaxstyle.machine.placement import Rows
from jaxstyle.network.convolution import Kernels
from jaxstyle.network.layers import block_of
from jaxstyle.network.vgg import features
from jaxstyle.optimization.rows import shared_features
from jaxstyle.optimization.strips import strip_features

Columns = dict[str, jax.Array]
"""By layer its part of the columns of a grid, (h, w, C)."""

GRID = "grid"
"""The key of `Targets.guides` under which the weights of the grid's positions are."""


def columns_of(
    kernels: Kernels,
    picture: jax.Array,
    taps: Sequence[str],
    *,
    pooling: str,
    padding: str,
    precision: str,
    memory: str,
    rows: Rows | None,
) -> Columns:
    """Returns the columns of a picture (H, W, 3), normalized; on several devices padded with it.

    Args:
      kernels: from `convolution.prepare`.
      picture: on several devices shared out as `rows` says.
      taps: plain names.
      pooling: "max", "avg" or "l2".
      padding: of the first convolution, see `convolution.first_layer`.
      precision: of the convolutions, see `network.precision`.
      memory: "plain" or "strips".
      rows: None on one device.
    """
    grid: Any = tuple(side >> (GRID_BLOCK - 1) for side in picture.shape[:2])
    given: Any = {"taps": taps, "pooling": pooling, "padding": padding, "precision": precision}
    inside = None
    if rows is not None:
        maps = shared_features(kernels, picture, height=rows.height, **given)
        inside = rows.height >> (GRID_BLOCK - 1)
    elif memory == "strips":
        maps = strip_features(kernels, picture, grid=True, **given)
    else:
        maps = features(kernels, picture, **given)
    return {
        tap: each if each.shape[:2] == grid else at_grid(each, block_of(tap), grid, rows=inside)
        for tap, each in maps.items()
    }


def nearest_targets(
    content: Columns,
    styles: Sequence[jax.Array],
    style_columns: Callable[[int, jax.Array], Columns],
    *,
    inside: int,
    balance: str,
    asked: jax.Array,
    allowed: Callable[[int], jax.Array] | None,
) -> dict[str, NearestTarget]:
    """Returns by layer the nearest of all styles' columns for each of the content's.

    The columns of several styles are made twice, one after another: for the means of all, and to
    compare.

    Args:
      content: columns, with padding below on several devices.
      styles: the pictures.
      style_columns: returns those of a style, by its index and picture, without padding.
      inside: how many rows of the content's columns are the picture's.
      balance: "book", a layer's features are divided by its number of channels, as in the paper;
        "relative", by the root of their mean square.
      asked: (h, w, R), 1 for the region that a position is in.
      allowed: returns (h', w', R) of a style by its index, 1 where a column may be taken for a
        region; by default they may everywhere.
    """
    means, scales = _means_and_scales(styles, style_columns, balance)
    own_means = {tap: each[:inside].mean((0, 1)) for tap, each in content.items()}
    queries = _side_by_side(content, own_means, scales)
    regions = asked.reshape(-1, asked.shape[-1])
    chosen = {tap: jnp.zeros_like(each) for tap, each in content.items()}
    best = jnp.full(queries.shape[0], -jnp.inf, queries.dtype)
    for i, style in enumerate(styles):
        if len(styles) > 1:  # one after another: all columns together would take more memory
            style, best = lax.optimization_barrier((style, best))  # type: ignore[no-untyped-call]
        columns = style_columns(i, style)
        candidates = directions(_side_by_side(columns, means, scales))
        may = jnp.ones((len(candidates), regions.shape[-1]), queries.dtype)
        if allowed is not None:
            may = allowed(i).reshape(may.shape)
        found = nearest(queries, candidates, regions, may)
        chosen = _better(found, best, columns, chosen)
        best = jnp.maximum(best, found.similarity)
    return {
        tap: NearestTarget(each, jnp.sum(jnp.square(each[:inside]), -1), scales[tap])
        for tap, each in chosen.items()
    }


def _better(found: Nearest, best: jax.Array, columns: Columns, chosen: Columns) -> Columns:
    """Returns what was chosen so far, or where it is nearer the column that was found."""
    nearer, taken = found.similarity > best, {}
    for tap, each in chosen.items():
        there = columns[tap].reshape(-1, each.shape[-1])[found.candidate].reshape(each.shape)
        taken[tap] = jnp.where(nearer.reshape(*each.shape[:2], 1), there, each)
    return taken


def _means_and_scales(
    styles: Sequence[jax.Array], style_columns: Callable[[int, jax.Array], Columns], balance: str
) -> tuple[Columns, Columns]:
    """Returns by layer the mean (C,) of all styles' columns, and what their squares are times."""
    count = 0
    sums: dict[str, Any] = {}
    squares: dict[str, Any] = {}
    for i, style in enumerate(styles):
        if i:
            style, sums = lax.optimization_barrier((style, sums))  # type: ignore[no-untyped-call]
        columns = style_columns(i, style)
        count += next(iter(columns.values()))[..., 0].size
        for tap, each in columns.items():
            sums[tap] = sums.get(tap, 0) + each.sum((0, 1))
            squares[tap] = squares.get(tap, 0) + jnp.sum(jnp.square(each))
    means = {tap: each / count for tap, each in sums.items()}
    if balance == "book":
        scales = {tap: jnp.asarray(1 / each.size**2, each.dtype) for tap, each in means.items()}
        return means, scales
    return means, {
        tap: 1 / jnp.maximum(each / count, LEAST_OF_ALL) for tap, each in squares.items()
    }


def _side_by_side(columns: Columns, means: Columns, scales: Columns) -> jax.Array:
    """Returns (positions, D): the layers' centred, scaled features beside one another."""
    parts = [
        (jnp.sqrt(scales[tap]) * (each - means[tap])).reshape(-1, each.shape[-1])
        for tap, each in columns.items()
    ]
    return jnp.concatenate(parts, axis=1)


def regions_at_grid(
    guides: tuple[jax.Array | None, Sequence[jax.Array]], grid: tuple[int, int], height: int
) -> tuple[jax.Array, Callable[[int], jax.Array] | None, Mapping[str, jax.Array]]:
    """Returns what `nearest_targets` takes as `asked` and `allowed`, and the positions' weights.

    Args:
      guides: the content's, (H, W, R), and each style's or none, see `regions.Regions`.
      grid: height and width of the grid of the canvas, with padding.
      height: of the canvas, without padding.
    """
    own, of_styles = guides
    if own is None:
        return jnp.ones((*grid, 1)), None, {}
    there = at_grid(own, 1, grid)
    regions = there.shape[-1]
    asked = jax.nn.one_hot(jnp.argmax(there, -1), regions, dtype=there.dtype)
    below = grid[0] - (height >> (GRID_BLOCK - 1))
    asked = jnp.pad(asked, ((0, below), (0, 0), (0, 0)))
    weights = {GRID: jnp.clip(there.sum(-1), 0, 1)}
    if not of_styles:
        return asked, None, weights

    def allowed(i: int) -> jax.Array:
        sides: Any = tuple(side >> (GRID_BLOCK - 1) for side in of_styles[i].shape[:2])
        found = at_grid(of_styles[i], 1, sides)
        most = found.max((0, 1))
        return ((found >= most / 2) & (found > 0)).astype(found.dtype)

    return asked, allowed, weights
