"""Sums over the positions of feature maps: all that the losses know of a picture's features.

Feature maps enter once, as sums over their positions (`moments`, `squared_error`): sums of parts
of a picture add up to those of the whole. All losses are functions of these sums, and nothing in
this wing knows the network. Formulas: Gatys, Ecker & Bethge 2016 with the normalization of Dive
into Deep Learning, "Neural Style Transfer"; where we differ from the paper it is said.
"""

import operator
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


class Moments(NamedTuple):
    """Sums over the positions of a feature map with C channels, each times its weight, if any."""

    outer_sum: jax.Array
    """(C, C): the sum of each position's outer product with itself."""
    sum: jax.Array
    """(C,): the sum of the features."""
    positions: jax.Array | int
    """How many positions, or the sum of their weights."""


class SquaredError(NamedTuple):
    """The squared differences of two feature maps, summed, and how many values there are."""

    sum: jax.Array
    values: jax.Array | int


class Sums(NamedTuple):
    """All that the losses need to know of a picture's features; parts of a picture add up."""

    content: dict[str, SquaredError]
    """Squared errors by content layer; or, of losses by samples, the photo's columns."""
    style: dict[str, Any]
    """`Moments` by style layer; or, of losses by columns, an `columns.Agreement`; or, of those by
    samples, the canvas's columns."""


def moments(
    feature_map: jax.Array,
    weights: ArrayLike | None = None,
    *,
    allowed: lax.Precision = lax.Precision.HIGHEST,
) -> Moments:
    """Returns the moments of a feature map (h, w, C).

    Args:
      feature_map: of a picture or a part of it.
      weights: (h, w), how much each position counts, 0 or more; by default all count 1. Or (h, w,
        R): the moments of R regions, as arrays with a first axis R.
      allowed: what may become of float32 where it is multiplied: HIGHEST, nothing; HIGH, a GPU
        rounds it to 10 bits, which puts a Gram matrix of noise off by 6e-6 (relative RMS; one of
        features is off by far more, as they are themselves). Sums are float32 in any case.

    Raises:
      ValueError: the weights have not the map's height and width.
    """
    flat = feature_map.reshape(-1, feature_map.shape[-1])
    if weights is None:
        return Moments(_outer_sum(flat, allowed), _wide(flat).sum(0), flat.shape[0])
    weights = jnp.asarray(weights, _wide_type(flat))
    if weights.shape[:2] != feature_map.shape[:-1] or weights.ndim > 3:
        raise ValueError(f"weights of shape {weights.shape} for features {feature_map.shape}")
    if weights.ndim == 3:
        of_regions = weights.reshape(-1, weights.shape[-1])
        sums = jnp.matmul(of_regions.T, _wide(flat), precision=lax.Precision.HIGHEST)
        return Moments(_regional_outer_sums(flat, of_regions, allowed), sums, of_regions.sum(0))
    weight = weights.reshape(-1, 1)
    return Moments(_weighted_outer_sum(flat, weight, allowed), (weight * flat).sum(0), weight.sum())


def _wide_type(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def _wide(x: jax.Array) -> jax.Array:
    """Returns values in float32, in which all sums are, if they are in half precision."""
    return x.astype(_wide_type(x))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _outer_sum(flat: jax.Array, allowed: lax.Precision) -> jax.Array:
    """Returns (C, C), the sum of the outer products of the rows of (positions, C).

    Its gradient is one product, F (G + G^T), where autodiff would make two. Rows in half precision
    are multiplied as such: their products are exact in float32, in which they are added up.
    """
    wide = _wide_type(flat)
    return jnp.matmul(flat.T, flat, precision=allowed, preferred_element_type=wide)


def _outer_sum_forward(flat: jax.Array, allowed: lax.Precision) -> tuple[jax.Array, jax.Array]:
    return _outer_sum(flat, allowed), flat


def _outer_sum_backward(
    allowed: lax.Precision, flat: jax.Array, gradient: jax.Array
) -> tuple[jax.Array]:
    symmetric = (gradient + gradient.T).astype(flat.dtype)
    return (jnp.matmul(flat, symmetric, precision=allowed),)


_outer_sum.defvjp(_outer_sum_forward, _outer_sum_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weighted_outer_sum(flat: jax.Array, weight: jax.Array, allowed: lax.Precision) -> jax.Array:
    """Returns (C, C), the same with a weight for every row, (positions, 1).

    Its gradient is one product, too: P = F (G + G^T) gives w P for F, and half of F P, summed over
    the channels, for w.
    """
    flat = _wide(flat)
    return jnp.matmul(flat.T, weight * flat, precision=allowed)


def _weighted_outer_sum_forward(
    flat: jax.Array, weight: jax.Array, allowed: lax.Precision
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _weighted_outer_sum(flat, weight, allowed), (flat, weight)


def _weighted_outer_sum_backward(
    allowed: lax.Precision, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    flat, weight = kept
    wide = _wide(flat)
    both = jnp.matmul(wide, gradient + gradient.T, precision=allowed)
    return (weight * both).astype(flat.dtype), 0.5 * (wide * both).sum(1, keepdims=True)


_weighted_outer_sum.defvjp(_weighted_outer_sum_forward, _weighted_outer_sum_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _regional_outer_sums(flat: jax.Array, weights: jax.Array, allowed: lax.Precision) -> jax.Array:
    """Returns (R, C, C), the weighted outer sums for each of R columns of weights, (positions, R).

    One region after another, also in the gradient: no more than a map is needed beside F.
    """
    found: jax.Array = lax.map(
        lambda each: _weighted_outer_sum(flat, each[:, None], allowed), weights.T
    )
    return found


def _regional_forward(
    flat: jax.Array, weights: jax.Array, allowed: lax.Precision
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _regional_outer_sums(flat, weights, allowed), (flat, weights)


def _regional_backward(
    allowed: lax.Precision, kept: tuple[jax.Array, jax.Array], gradients: jax.Array
) -> tuple[jax.Array, jax.Array]:
    flat, weights = kept

    def add(total: jax.Array, region: Any) -> tuple[jax.Array, jax.Array]:
        kept = flat, region[0][:, None]
        of_flat, of_weight = _weighted_outer_sum_backward(allowed, kept, region[1])
        return total + of_flat, of_weight[:, 0]

    found, of_weights = lax.scan(add, jnp.zeros_like(flat), (weights.T, gradients))
    return found, of_weights.T


_regional_outer_sums.defvjp(_regional_forward, _regional_backward)


def blended_moments(several: Sequence[Moments], shares: Sequence[ArrayLike]) -> Moments:
    """Returns the moments of positions of which each picture has its share.

    They are linear in the shares: S = sum of share * S_i / positions_i, and the mean likewise. The
    covariance that follows has also how far the pictures' means are apart.

    Args:
      several: of one layer of the pictures.
      shares: one for each, in sum 1; one below 0 leads away from that picture.
    """
    factors = [
        jnp.asarray(share) / as_divisor(each.positions)
        for each, share in zip(several, shares, strict=True)
    ]
    pairs = list(zip(factors, several, strict=True))
    outer = reduce(operator.add, [factor * each.outer_sum for factor, each in pairs])
    mean = reduce(operator.add, [factor * each.sum for factor, each in pairs])
    return Moments(outer, mean, jnp.ones((), mean.dtype))


def of_region(several: Moments, region: int) -> Moments:
    """Returns the moments of one of several regions, by its index."""
    one: Moments = jax.tree.map(lambda each: each[region], several)
    return one


def squared_error(feature_map: jax.Array, target: jax.Array) -> SquaredError:
    """Returns the summed squared difference of two feature maps.

    Raises:
      ValueError: they are not of one shape.
    """
    if feature_map.shape != target.shape:
        raise ValueError(f"feature maps of shapes {feature_map.shape} and {target.shape}")
    return SquaredError(jnp.sum(jnp.square(_wide(feature_map) - _wide(target))), target.size)


def energy(m: Moments) -> jax.Array:
    """Returns the mean square of the features, a scalar."""
    return jnp.trace(m.outer_sum) / as_divisor(m.positions * m.outer_sum.shape[0])


def as_divisor(count: jax.Array | int) -> jax.Array | float:
    """Returns a number of values as what an array can be divided by.

    jax takes an int for an int32, and a picture of 33.6 megapixels has 2^31 values in 64 channels.
    """
    return float(count) if isinstance(count, int) else count
