"""The sums of a picture whose rows are on several devices; they are the plain ones.

The rows are padded and placed by `placement`. What the network makes of the padding is set to zero
after every convolution and pool, which is just the padding of the real picture, and is left out of
all that counts positions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxstyle.losses.columns import GRID_BLOCK, Agreement, agreement, at_grid
from jaxstyle.losses.lattice import Lattice, at_points
from jaxstyle.losses.statistics import Moments, SquaredError, Sums, moments, squared_error
from jaxstyle.network.convolution import Kernels
from jaxstyle.network.layers import block_of
from jaxstyle.network.precision import allowed, network_input
from jaxstyle.network.vgg import POOLS, convolved, relu, up_to_deepest


def shared_sums(
    kernels: Kernels,
    image: jax.Array,
    content: Mapping[str, jax.Array],
    *,
    style_layers: Sequence[str],
    pooling: str,
    height: int,
    weights: Mapping[str, jax.Array] | None = None,
    precision: str = "highest",
    padding: str = "zeros",
    matched: Mapping[str, jax.Array] | None = None,
    lattices: Mapping[str, Lattice] | None = None,
) -> Sums:
    """Returns the sums over the whole picture, which with their gradients are the plain ones.

    Args:
      kernels: from `convolution.prepare`, for the plain convolution.
      image: (H, W, 3), normalized, padded.
      content: by content layer, the content's features (h, w, C), from `shared_features`.
      style_layers: plain names, as are the keys of `content`.
      pooling: "max", "avg" or "l2".
      height: how many of the rows are the picture's.
      weights: by style layer, how much each position counts, (h, w) or (h, w, R), see `moments`.
      precision: of the convolutions, see `network.precision`.
      padding: of the first convolution, see `convolution.first_layer`.
      matched: by style layer, the columns at the grid, padded like the picture, that those of the
        picture are compared with; the style's sums are then an `Agreement`, without padding.
      lattices: by style layer, where its features are read; they are then the style's sums.
    """
    how: Any = {"pooling": pooling, "padding": padding, "precision": precision, "height": height}
    maps = shared_features(kernels, image, taps=[*content, *style_layers], **how)

    def rows(tap: str) -> int:
        return height >> (block_of(tap) - 1)

    style: dict[str, Any] = {
        tap: _moments_inside(maps[tap], (weights or {}).get(tap), rows(tap), precision)
        for tap in style_layers
        if matched is None and lattices is None
    }
    style |= {tap: at_points(maps[tap], each) for tap, each in (lattices or {}).items()}
    for tap, columns in (matched or {}).items():
        style[tap] = _agreement_inside(maps[tap], tap, columns, height >> (GRID_BLOCK - 1))
    sizes = {tap: rows(tap) * math.prod(each.shape[1:]) for tap, each in content.items()}
    errors = {tap: squared_error(maps[tap], each).sum for tap, each in content.items()}
    return Sums({tap: SquaredError(errors[tap], size) for tap, size in sizes.items()}, style)


def _moments_inside(
    feature_map: jax.Array, weight: jax.Array | None, rows: int, precision: str
) -> Moments:
    """Returns the moments of a padded map, of which the first rows are the picture's."""
    how = allowed(precision)
    if weight is None:
        return Moments(*moments(feature_map, allowed=how)[:2], rows * feature_map.shape[1])
    padding = (0, feature_map.shape[0] - rows), *((0, 0),) * (weight.ndim - 1)
    return moments(feature_map, jnp.pad(weight, padding), allowed=how)


def _agreement_inside(feature_map: jax.Array, tap: str, target: jax.Array, rows: int) -> Agreement:
    """Returns the agreement of a padded map with a target, of the picture's own rows alone."""
    columns = at_grid(feature_map, block_of(tap), target.shape[:2], rows=rows)
    found = agreement(columns, target)
    return Agreement(found.products[:rows], found.squares[:rows])


def shared_features(
    kernels: Kernels,
    image: jax.Array,
    *,
    taps: Sequence[str],
    pooling: str,
    height: int,
    precision: str = "highest",
    padding: str = "zeros",
) -> dict[str, jax.Array]:
    """Returns what `vgg.features` does for plain names; rows that are padding are zero."""
    x = network_input(image, kernels["conv1_1"].bias.dtype, precision)
    x = _without_padding(x[None], height)
    rows = jnp.clip(jnp.arange(-1, x.shape[1] + 1), 0, height - 1)
    given: Any = {"padding": padding, "rows": rows, "precision": precision}
    found, block = {}, 1
    for conv in up_to_deepest(kernels, taps):
        if block_of(conv) != block:
            block, height = block_of(conv), height // 2
            x = _without_padding(POOLS[pooling](x), height)
        x = _without_padding(convolved(x, conv, kernels, **given), height)
        found[conv] = x[0]
        x = relu(x)
        found[conv.replace("conv", "relu")] = x[0]
    return {tap: found[tap] for tap in taps}


def _without_padding(x: jax.Array, height: int) -> jax.Array:
    """Returns (N, H, W, C) with zeros below the first `height` rows."""
    inside = jnp.arange(x.shape[1]) < height
    return jnp.where(inside[:, None, None], x, 0)
