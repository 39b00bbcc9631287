"""Columns: the features of a position at several layers together, and how well two agree.

Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, "Neural Neighbor Style Transfer": the
features of all layers are brought to a quarter of the picture's size, where each position has a
column of them. Two columns are compared by the cosine of their angle, whose products are sums over
layers: here each layer yields its own, so that no column is ever put together for a canvas.

Where we differ: larger maps are averaged over their windows where the paper takes single points,
which lets dots come through; smaller ones are doubled bilinearly, as often as is needed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

GRID_BLOCK = 3
"""VGG's block whose maps have a quarter of the picture's sides: those of the grid of columns."""

LEAST_SQUARE = 1e-8
"""Least square of a column, of the mean of the targets': less has no direction."""

LEAST_OF_ALL = 1e-15
"""No square or mean square is less: it keeps black pictures from dividing by zero."""


class Agreement(NamedTuple):
    """What the cosine needs of one layer of a picture: sums over its channels, (h, w)."""

    products: jax.Array
    """Of the features with those of the target."""
    squares: jax.Array
    """Of the features with themselves."""


class NearestTarget(NamedTuple):
    """What "nearest" keeps of the styles at one layer, for every position of the grid."""

    columns: jax.Array
    """(h, w, C): this layer's part of the nearest column of the styles."""
    squares: jax.Array
    """(h, w): the squares of these, summed over the channels."""
    scale: jax.Array
    """What products and squares of this layer are multiplied by."""


def grid_window(block: int) -> int:
    """Returns how many rows, and columns, of a block's map make one of the grid; at least 1."""
    return 1 << max(GRID_BLOCK - block, 0)


def at_grid(
    feature_map: jax.Array, block: int, grid: Sequence[int], *, rows: int | None = None
) -> jax.Array:
    """Returns a feature map at the grid's positions, (h, w, C), at least in float32.

    Args:
      feature_map: (h', w', C), or as many whole windows of its rows.
      block: VGG's, from 1.
      grid: the grid's height and width; of a larger map alone the width counts.
      rows: how many rows of the grid are the picture's, if there is padding below.
    """
    window = grid_window(block)
    feature_map = feature_map.astype(jnp.promote_types(feature_map.dtype, jnp.float32))
    if block < GRID_BLOCK:
        height, width, channels = feature_map.shape[0] // window, grid[1], feature_map.shape[-1]
        whole = feature_map[: height * window, : width * window]
        return whole.reshape(height, window, width, window, channels).mean((1, 3))
    for doubling in reversed(range(block - GRID_BLOCK)):
        height, width = (side >> doubling for side in grid)
        inside = (grid[0] if rows is None else rows) >> (doubling + 1)
        feature_map = _doubled(feature_map, height, inside)
        columns = feature_map.swapaxes(0, 1)
        feature_map = _doubled(columns, width, columns.shape[0]).swapaxes(0, 1)
    return feature_map


def _doubled(x: jax.Array, size: int, inside: int) -> jax.Array:
    """Returns (size, ...) of (size // 2, ...), of which `inside` are the picture's.

    Each value is between two of the smaller ones, 3/4 of the nearer; beyond the edge the last
    counts.
    """
    if inside < x.shape[0]:  # an odd row below those of the picture looks there
        last = jnp.arange(x.shape[0]) == inside
        x = jnp.where(last.reshape(-1, *(1,) * (x.ndim - 1)), _moved(x, down=True), x)
    even = 0.25 * _moved(x, down=True) + 0.75 * x
    odd = 0.75 * x + 0.25 * _moved(x, down=False)
    doubled = jnp.stack([even, odd], axis=1).reshape(-1, *x.shape[1:])
    return jnp.concatenate([doubled, x[-1:]]) if size % 2 else doubled


def _moved(x: jax.Array, *, down: bool) -> jax.Array:
    """Returns x one place further along its first axis, either way; the edge comes twice."""
    return jnp.concatenate([x[:1], x[:-1]] if down else [x[1:], x[-1:]])


def agreement(columns: jax.Array, target: jax.Array) -> Agreement:
    """Returns what the cosine needs of one layer's part of columns (h, w, C) and a target's."""
    return Agreement(jnp.sum(columns * target, -1), jnp.sum(jnp.square(columns), -1))


def cosine_distances(
    found: Mapping[str, Agreement],
    targets: Mapping[str, NearestTarget],
    weights: Mapping[str, jax.Array | float],
) -> jax.Array:
    """Returns 1 - cos of a canvas's columns and their targets, (h, w): 0 to 2.

    Args:
      found: by layer.
      targets: likewise.
      weights: how much each layer counts, beside the target's scale.

    Returns:
      1 where a column has no direction.
    """
    products, squares, own = (
        sum(weight * targets[tap].scale * one[tap] for tap, weight in weights.items())
        for one in (
            {tap: each.products for tap, each in found.items()},
            {tap: each.squares for tap, each in found.items()},
            {tap: each.squares for tap, each in targets.items()},
        )
    )
    least = jnp.maximum(LEAST_SQUARE * jnp.mean(own), LEAST_OF_ALL)
    return 1 - products / jnp.sqrt(jnp.maximum(squares, least) * jnp.maximum(own, least))
