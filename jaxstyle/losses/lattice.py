"""Features at the crossings of a picture's chosen rows and columns, as sums over its positions.

A value between the positions of a smaller map is interpolated bilinearly, which is a product with
a matrix on either side. Such products are sums: those of parts of a picture add up to those of the
whole, so that strips and several devices yield the very same features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Points(NamedTuple):
    """The pixels at the crossings of some rows and columns of a picture."""

    rows: jax.Array
    """(n,) int32, in order."""
    columns: jax.Array
    """(m,) likewise."""


class Lattice(NamedTuple):
    """How much each row and column of a feature map counts for each of the points."""

    rows: jax.Array
    """(h, n)."""
    columns: jax.Array
    """(w, m)."""


def lattices(
    points: Points, blocks: Mapping[str, int], sides: Sequence[int], *, height: int | None = None
) -> dict[str, Lattice]:
    """Returns by tap how its map is read at the points.

    Args:
      points: pixels of the picture.
      blocks: by tap VGG's block, from 1.
      sides: height and width of the picture, with padding.
      height: how many of the rows are the picture's; by default all.
    """
    inside = sides[0] if height is None else height
    found = {}
    for tap, block in blocks.items():
        by = block - 1
        found[tap] = Lattice(
            _interpolation(points.rows, sides[0] >> by, inside >> by, by),
            _interpolation(points.columns, sides[1] >> by, sides[1] >> by, by),
        )
    return found


def _interpolation(pixels: jax.Array, size: int, inside: int, halvings: int) -> jax.Array:
    """Returns (size, n): linear between the middles of a map's positions, to the edge's.

    Its values have at most five binary digits: they are exact in half precision, too.
    """
    places = (pixels + 0.5) / 2**halvings - 0.5
    places = jnp.clip(places, 0, inside - 1)
    return jnp.maximum(0, 1 - jnp.abs(jnp.arange(size)[:, None] - places))


def at_points(feature_map: jax.Array, lattice: Lattice) -> jax.Array:
    """Returns the features (n, m, C) of a map (h, w, C) at a lattice's points.

    They are in float32 at least. Of a map's rows there may be a part, with as many of the lattice.
    """
    wide = jnp.promote_types(feature_map.dtype, jnp.float32)
    given: Any = {"precision": lax.Precision.HIGHEST, "preferred_element_type": wide}
    rows, columns = lattice.rows.astype(wide), lattice.columns.astype(feature_map.dtype)
    across = jnp.einsum("hwc,wm->hmc", feature_map, columns, **given)
    return jnp.einsum("hmc,hn->nmc", across, rows, **given)
