"""Style losses: by what numbers a canvas's features are compared with those of the style picture.

Each is a function of the moments of a layer alone, so that strips, several devices and sweeps carry
every one of them unchanged. Throughout, for C channels, S is the second moment (C, C), m the mean
(C,) and K = S - m m^T the covariance, all divided by positions; S_A, m_A and K_A are the style's.

Every part of a loss comes with its energy, the same number of the style against nothing: divided by
it, a weight means the same for every pair of pictures, network and layer.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.losses import Moments, gram, style_loss
from jaxstyle.roots import root_trace, square_root

TINY = 1e-15
"""No energy or floor is less: it keeps a style without any features from dividing by zero, and the
squares of gradients within float32."""


class Part(NamedTuple):
    """One comparison of a canvas with a style."""

    difference: jax.Array
    """Scalar, in the loss's own unit, see `STYLE_LOSSES`."""
    energy: jax.Array
    """Scalar above 0, a constant of the style: the difference of the style and nothing."""


class StyleLoss(NamedTuple):
    """How styles are compared at one layer."""

    target_of: Callable[[Moments], Any]
    """From the style's moments all that is ever needed of them, a pytree of arrays."""
    parts: Callable[[Moments, Any], tuple[Part, ...]]
    """From the canvas's moments and a target."""


class GramTarget(NamedTuple):
    """What "gram" keeps of a style: the Gram matrix (C, C) of `losses.gram`, and its energy."""

    gram: jax.Array
    energy: jax.Array


class CovarianceTarget(NamedTuple):
    """What "covariance" keeps of a style."""

    mean: jax.Array
    covariance: jax.Array
    mean_energy: jax.Array
    covariance_energy: jax.Array


class WassersteinTarget(NamedTuple):
    """What "wasserstein" keeps of a style."""

    mean: jax.Array
    root: jax.Array
    """(C, C): the square root of the regularised covariance."""
    trace: jax.Array
    """Of the regularised covariance."""
    floor: jax.Array
    """What is added to the diagonals of both covariances."""
    energy: jax.Array


class MeanStdTarget(NamedTuple):
    """What "mean-std" keeps of a style; `floor` is added to variances, the canvas's too."""

    mean: jax.Array
    std: jax.Array
    floor: jax.Array
    energy: jax.Array


def style_distance(m: Moments, target: Any, *, style_loss: str, balance: str) -> jax.Array:
    """Returns how far a layer of a canvas is from the style, a scalar.

    Args:
      m: the canvas's moments.
      target: the style's, `STYLE_LOSSES[style_loss].target_of(its moments)`.
      style_loss: a name from `STYLE_LOSSES`.
      balance: "book", the differences are added as they are; "relative", each is divided by its
        energy, and features that are a hundred times larger in both pictures change nothing.

    Raises:
      KeyError: there is no such loss.
    """
    parts = STYLE_LOSSES[style_loss].parts(m, target)
    if balance == "book":
        return sum((part.difference for part in parts[1:]), start=parts[0].difference)
    return jnp.sum(jnp.stack([part.difference / part.energy for part in parts]))


def _gram_target(m: Moments) -> GramTarget:
    return GramTarget(gram(m), jnp.maximum(style_loss(gram(m), jnp.zeros_like(gram(m))), TINY))


def _gram_parts(m: Moments, target: GramTarget) -> tuple[Part, ...]:
    return (Part(style_loss(gram(m), target.gram), target.energy),)


def _covariance_target(m: Moments) -> CovarianceTarget:
    """Returns a target; energies of flat or centred features are at least 1e-4 of those of S."""
    mean, covariance, power = _statistics(m)
    least = jnp.maximum(1e-4 * _mean_square(gram(m)), TINY)
    return CovarianceTarget(
        mean,
        covariance,
        jnp.maximum(jnp.maximum(_mean_square(mean), 1e-4 * power) / mean.size, TINY),
        jnp.maximum(_mean_square(covariance / mean.size), least),
    )


def _covariance_parts(m: Moments, target: CovarianceTarget) -> tuple[Part, ...]:
    mean, covariance, _ = _statistics(m)
    of_covariance = _mean_square((covariance - target.covariance) / mean.size)
    of_mean = _mean_square(mean - target.mean) / mean.size
    return Part(of_covariance, target.covariance_energy), Part(of_mean, target.mean_energy)


def _mean_std_target(m: Moments) -> MeanStdTarget:
    mean, covariance, power = _statistics(m)
    floor = jnp.maximum(1e-5 * power, TINY)
    return MeanStdTarget(mean, _std(covariance, floor), floor, jnp.maximum(power, TINY))


def _mean_std_parts(m: Moments, target: MeanStdTarget) -> tuple[Part, ...]:
    mean, covariance, _ = _statistics(m)
    of_std = _mean_square(_std(covariance, target.floor) - target.std)
    return (Part(_mean_square(mean - target.mean) + of_std, target.energy),)


def _std(covariance: jax.Array, floor: jax.Array) -> jax.Array:
    """Returns (C,), where the floor keeps the gradient of a dead channel finite."""
    return jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 0) + floor)


def _both_targets(m: Moments) -> tuple[GramTarget, MeanStdTarget]:
    return _gram_target(m), _mean_std_target(m)


def _both_parts(m: Moments, target: tuple[GramTarget, MeanStdTarget]) -> tuple[Part, ...]:
    (second,) = _mean_std_parts(m, target[1])
    return (*_gram_parts(m, target[0]), Part(10 * second.difference, 10 * second.energy))


def _wasserstein_target(m: Moments) -> WassersteinTarget:
    mean, covariance, power = _statistics(m)
    floor = 1e-4 * jnp.trace(covariance) / mean.size
    floor = jnp.maximum(jnp.maximum(floor, 1e-6 * power), TINY)
    covariance = _regularised(covariance, floor, power)
    root = square_root(covariance)
    return WassersteinTarget(mean, root, jnp.trace(covariance), floor, jnp.maximum(power, TINY))


def _wasserstein_parts(m: Moments, target: WassersteinTarget) -> tuple[Part, ...]:
    mean, covariance, power = _statistics(m)
    covariance = _regularised(covariance, target.floor, power)
    shared = root_trace(covariance, target.root)
    spread = (jnp.trace(covariance) + target.trace - 2 * shared) / mean.size
    return (Part(_mean_square(mean - target.mean) + spread, target.energy),)


def _regularised(covariance: jax.Array, floor: jax.Array, power: jax.Array) -> jax.Array:
    """Returns the covariance with the floor, and with what its rounding may have taken from it."""
    channels = covariance.shape[0]
    rounding = 4 * float(np.finfo(covariance.dtype).eps) * channels * power
    return covariance + (floor + rounding) * jnp.eye(channels, dtype=covariance.dtype)


def _statistics(m: Moments) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the mean (C,), the covariance (C, C) and the power, the mean of S's diagonal."""
    second, mean = m.outer_sum / m.positions, m.sum / m.positions
    return mean, second - jnp.outer(mean, mean), jnp.trace(second) / mean.size


def _mean_square(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(x))


STYLE_LOSSES: Mapping[str, StyleLoss] = MappingProxyType(
    {
        "gram": StyleLoss(_gram_target, _gram_parts),
        "covariance": StyleLoss(_covariance_target, _covariance_parts),
        "wasserstein": StyleLoss(_wasserstein_target, _wasserstein_parts),
        "mean-std": StyleLoss(_mean_std_target, _mean_std_parts),
        "gram+mean-std": StyleLoss(_both_targets, _both_parts),
    }
)
