"""Style by relaxed optimal transport: how far two sets of columns are apart, of a few points each.

Kolkin, Salavon & Shakhnarovich 2019, "Style Transfer by Relaxed Optimal Transport and
Self-Similarity". A column has the features of all layers at one point. With n columns X of the
canvas, m columns Y of the style, and D_ij the distance of X_i and Y_j, 1 - cos:

- relaxed earth mover's distance: max(mean_i min_j D_ij, mean_j min_i D_ij).
- moments: mean |mu_X - mu_Y| + mean |Sigma_X - Sigma_Y|, means over the entries.
- palette: the relaxed distance of the points' colours, D_ij = |X_i - Y_j|. The paper turns the
  colours so that their mean is a channel, which changes no distance.
- self-similarity, with the D of the columns of one picture, each column of D divided by its sum:
  |D_X - D_content| summed over a column, the mean over all columns.

Where we differ from the paper: its self-similarity is divided by n^2, and in the published program,
whose weights we have, by n; covariances are divided by one less than the points.
"""

import functools
import operator
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxstyle.losses.matching import directions
from jaxstyle.losses.statistics import moments

LEAST_DISTANCE = 1e-5
"""Least mean distance of a column from all others by which these are divided: in a flat picture
there is nothing but rounding."""

LEAST_MEAN_SQUARE = 1e-15
"""No mean square of features is less: it keeps black pictures from dividing by zero."""


class StyleColumns(NamedTuple):
    """What "strotss" keeps of the styles."""

    columns: dict[str, jax.Array]
    """By layer (m, C), the features at the styles' points."""
    scales: dict[str, jax.Array]
    """By layer what its features are multiplied by."""
    mean: jax.Array
    """(D,), of all layers' columns side by side, as they are."""
    covariance: jax.Array
    """(D, D), likewise."""
    colors: jax.Array
    """(m, 3), from 0 to 1."""


def style_columns(
    columns: dict[str, jax.Array], colors: jax.Array, *, balance: str
) -> StyleColumns:
    """Returns what is kept of the styles' columns, (m, C) by layer, and colours (m, 3).

    In balance "book" features are taken as they are, as in the paper; in "relative" every layer's
    are divided by the root of their mean square.
    """
    scales = {tap: jnp.ones((), each.dtype) for tap, each in columns.items()}
    if balance == "relative":
        scales = {
            tap: 1 / jnp.sqrt(jnp.maximum(jnp.mean(jnp.square(each)), LEAST_MEAN_SQUARE))
            for tap, each in columns.items()
        }
    mean, covariance = mean_and_covariance(side_by_side(columns, {}))
    return StyleColumns(columns, scales, mean, covariance, colors)


def side_by_side(
    columns: Mapping[str, jax.Array], factors: Mapping[str, jax.Array | float]
) -> jax.Array:
    """Returns (n, D): the layers' columns (n, C), times their factors, beside one another."""
    parts = [factors.get(tap, 1) * each for tap, each in columns.items()]
    return jnp.concatenate(parts, axis=-1)


def mean_and_covariance(columns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean (D,) and the covariance (D, D) of columns (n, D)."""
    mean = columns.mean(0)
    outer = moments((columns - mean)[None]).outer_sum
    return mean, outer / max(columns.shape[0] - 1, 1)


def cosine_distances_of_all(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns (n, m): 1 - cos of every one of (n, D) with every one of (m, D)."""
    similar = jnp.matmul(directions(x), directions(y).T, precision=lax.Precision.HIGHEST)
    return 1 - similar


def color_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns (n, m): how far every color of (n, 3) is from every one of (m, 3)."""
    each_channel = [jnp.square(x[:, None, i] - y[None, :, i]) for i in range(x.shape[-1])]
    square: jax.Array = functools.reduce(operator.add, each_channel)
    there = square > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 1)), 0)


def relaxed_distance(distances: jax.Array) -> jax.Array:
    """Returns the relaxed earth mover's distance of two sets, from all distances (n, m)."""
    return jnp.maximum(distances.min(1).mean(), distances.min(0).mean())


def moment_distance(
    columns: jax.Array, style: StyleColumns, factors: Mapping[str, jax.Array | float]
) -> jax.Array:
    """Returns how far the moments of columns (n, D) are from the style's.

    The columns are those of `side_by_side` with these factors.
    """
    ones = {tap: jnp.ones(each.shape[-1], each.dtype) for tap, each in style.columns.items()}
    factor = side_by_side(ones, factors)
    mean, covariance = mean_and_covariance(columns)
    of_mean = jnp.mean(_absolute(mean - factor * style.mean))
    aim = factor[:, None] * style.covariance * factor
    return of_mean + jnp.mean(_absolute(covariance - aim))


def transport_distance(
    columns: Mapping[str, jax.Array],
    colors: jax.Array,
    style: StyleColumns,
    *,
    factors: Mapping[str, jax.Array | float],
    color_weight: jax.Array | float,
) -> jax.Array:
    """Returns the sum of relaxed distance, moments and palette.

    Args:
      columns: the canvas's, (n, C) by layer.
      colors: the canvas's at these points, (n, 3), from 0 to 1.
      style: the style's.
      factors: by layer, how much its features are multiplied by beside the style's scale.
      color_weight: of the palette.
    """
    factors = {tap: factor * style.scales[tap] for tap, factor in factors.items()}
    own, aim = side_by_side(columns, factors), side_by_side(style.columns, factors)
    transport = relaxed_distance(cosine_distances_of_all(own, aim))
    palette = relaxed_distance(color_distances(colors, style.colors))
    return transport + moment_distance(own, style, factors) + color_weight * palette


def self_similarity_loss(canvas: jax.Array, content: jax.Array) -> jax.Array:
    """Returns how far the columns (n, D) of a canvas are from the photo's, relative to each other.

    0 if the distances between them are the same, but for a factor of each; at most 2.
    """
    found, aim = (_relative_distances(each) for each in (canvas, content))
    return jnp.sum(_absolute(found - aim)) / canvas.shape[0]


def _relative_distances(columns: jax.Array) -> jax.Array:
    """Returns (n, n): distances whose columns are divided by their sums."""
    distances = cosine_distances_of_all(columns, columns)
    least = LEAST_DISTANCE * len(columns)
    return distances / jnp.maximum(distances.sum(0), least)


def _absolute(x: jax.Array) -> jax.Array:
    """Returns |x|, whose gradient is 0 where x is."""
    return x * lax.stop_gradient(jnp.sign(x))
