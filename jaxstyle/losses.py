"""The loss, term by term: content, style (Gram matrices), total variation, and their sum.

Feature maps enter once, as sums over their positions (`moments`, `squared_error`): sums of parts
of a picture add up to those of the whole. Everything after works on these sums. Nothing here
knows the network. Formulas: Gatys, Ecker & Bethge 2016 with the normalisation of Dive into Deep
Learning, "Neural Style Transfer"; where we differ from the paper it is said.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Moments(NamedTuple):
    """Sums over the positions of a feature map with C channels."""

    outer_sum: jax.Array
    """(C, C): of each position's outer product with itself."""
    sum: jax.Array
    """(C,): of the features."""
    positions: jax.Array | int
    """How many positions."""


class SquaredError(NamedTuple):
    """The squared differences of two feature maps, summed, and how many values there are."""

    sum: jax.Array
    values: jax.Array | int


class Sums(NamedTuple):
    """All that the losses need to know of a picture's features; parts of a picture add up."""

    content: dict[str, SquaredError]
    """By content layer."""
    style: dict[str, Moments]
    """By style layer."""


class Losses(NamedTuple):
    """The weighted terms, as in the book, and their sum; scalars, or arrays over steps."""

    content: jax.Array
    style: jax.Array
    tv: jax.Array
    total: jax.Array


def moments(feature_map: jax.Array) -> Moments:
    """Returns the moments of a feature map (h, w, C)."""
    flat = feature_map.reshape(-1, feature_map.shape[-1])
    return Moments(_outer_sum(flat), flat.sum(0), flat.shape[0])


@jax.custom_vjp
def _outer_sum(flat: jax.Array) -> jax.Array:
    """Returns (C, C), the sum of the outer products of the rows of (positions, C).

    Its gradient is one product, F (G + G^T), where autodiff would make two.
    """
    return jnp.matmul(flat.T, flat, precision=lax.Precision.HIGHEST)


def _outer_sum_forward(flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _outer_sum(flat), flat


def _outer_sum_backward(flat: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    symmetric = gradient + gradient.T
    return (jnp.matmul(flat, symmetric, precision=lax.Precision.HIGHEST),)


_outer_sum.defvjp(_outer_sum_forward, _outer_sum_backward)


def squared_error(feature_map: jax.Array, target: jax.Array) -> SquaredError:
    """Returns the summed squared difference of two feature maps.

    Raises:
      ValueError: they are not of one shape.
    """
    if feature_map.shape != target.shape:
        raise ValueError(f"feature maps of shapes {feature_map.shape} and {target.shape}")
    return SquaredError(jnp.sum(jnp.square(feature_map - target)), target.size)


def gram(m: Moments) -> jax.Array:
    """Returns the Gram matrix (C, C), divided by positions times channels, as the book does.

    The paper divides the loss instead, by 4 C^2 N^2; with F the C x N features the matrix here is
    F F^T / (C N).
    """
    return m.outer_sum / (m.positions * m.outer_sum.shape[0])


def energy(m: Moments) -> jax.Array:
    """Returns the mean square of the features, a scalar."""
    return jnp.trace(m.outer_sum) / (m.positions * m.outer_sum.shape[0])


def content_loss(error: SquaredError) -> jax.Array:
    """Returns the mean squared difference of the content features (the paper: half the sum)."""
    return error.sum / error.values


def style_loss(canvas_gram: jax.Array, style_gram: jax.Array) -> jax.Array:
    """Returns the mean squared difference of two Gram matrices (C, C)."""
    return jnp.mean(jnp.square(canvas_gram - style_gram))


def total_variation(canvas: jax.Array, *, height: int | None = None) -> jax.Array:
    """Returns half the sum of the mean absolute differences of vertical and horizontal neighbours.

    Args:
      canvas: (H, W, 3) in the network's input space; a side of length 1 has no neighbours and
        adds nothing.
      height: how many of the rows are the picture's; those below, if any, must be zero.
    """
    vertical, horizontal = canvas[1:] - canvas[:-1], canvas[:, 1:] - canvas[:, :-1]
    if height is None:
        return 0.5 * (_mean_abs(vertical) + _mean_abs(horizontal))
    inside = jnp.arange(vertical.shape[0]) < height - 1
    vertical = jnp.where(inside[:, None, None], vertical, 0)
    width = canvas.shape[1]
    return 0.5 * (
        _sum_abs(vertical) / max((height - 1) * width * 3, 1)
        + _sum_abs(horizontal) / max(height * (width - 1) * 3, 1)
    )


def _mean_abs(x: jax.Array) -> jax.Array:
    return _sum_abs(x) / max(x.size, 1)


def _sum_abs(x: jax.Array) -> jax.Array:
    """Returns the sum of |x| with subgradient 0 at 0, as in PyTorch.

    `jnp.abs` has 1 there. In a photo of 8 bits one neighbour in twelve is equal, and the
    gradient would be wrong by a third.
    """
    return jnp.sum(x * lax.stop_gradient(jnp.sign(x)))


def weighted_losses(
    content: Mapping[str, jax.Array],
    style: Mapping[str, jax.Array],
    canvas: jax.Array,
    *,
    content_weights: Mapping[str, jax.Array | float],
    style_weights: Mapping[str, jax.Array | float],
    tv_weight: jax.Array | float,
    height: int | None = None,
) -> Losses:
    """Returns every weighted term and the total; layers are summed, as in the book.

    Args:
      content: by content layer, its loss.
      style: by style layer, likewise.
      canvas: (H, W, 3), for the total variation.
      content_weights: by content layer, its weight times the content weight.
      style_weights: by style layer, likewise.
      tv_weight: of the total variation.
      height: how many rows of the canvas are the picture's, see `total_variation`.
    """
    content_terms = [weight * content[tap] for tap, weight in content_weights.items()]
    style_terms = [weight * style[tap] for tap, weight in style_weights.items()]
    content_sum = jnp.sum(jnp.stack(content_terms))
    style_sum = jnp.sum(jnp.stack(style_terms))
    # its differences are found anew on the way back: kept, they took 24 bytes a pixel meanwhile
    tv = tv_weight * jax.checkpoint(partial(total_variation, height=height))(canvas)
    return Losses(content_sum, style_sum, tv, style_sum + content_sum + tv)
