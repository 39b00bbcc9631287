"""Style losses: by which statistics the features of a canvas are compared with those of the style.

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

from jaxstyle.losses.roots import product, root_trace, strongest
from jaxstyle.losses.statistics import Moments, as_divisor

TINY = 1e-15
"""No energy or floor is less: it keeps a style without any features from dividing by zero, and the
squares of gradients within float32."""


def gram(m: Moments) -> jax.Array:
    """Returns the Gram matrix (C, C), divided by positions times channels, as the book does.

    The paper divides the loss instead, by 4 C^2 N^2; with F the C x N features the matrix here is
    F F^T / (C N).
    """
    return m.outer_sum / as_divisor(m.positions * m.outer_sum.shape[0])


def style_loss(canvas_gram: jax.Array, style_gram: jax.Array) -> jax.Array:
    """Returns the mean squared difference of two Gram matrices (C, C)."""
    return jnp.mean(jnp.square(canvas_gram - style_gram))


class Part(NamedTuple):
    """One comparison of a canvas with a style."""

    difference: jax.Array
    """Scalar, in the loss's own unit, see `STYLE_LOSSES`."""
    energy: jax.Array
    """Scalar above 0, a constant of the style: the difference of the style and nothing."""


class StyleLoss(NamedTuple):
    """How styles are compared at one layer: all that there is of a loss, see `STYLE_LOSSES`."""

    target_of: Callable[[Moments], Any]
    """Returns, from the style's moments, all that is needed of them: a pytree of arrays."""
    parts: Callable[[Moments, Any], tuple[Part, ...]]
    """Returns the parts of the loss, from the canvas's moments and a target."""


class GramTarget(NamedTuple):
    """What "gram" keeps of a style: the Gram matrix (C, C) of `style.gram`, and its energy."""

    gram: jax.Array
    energy: jax.Array


class CovarianceTarget(NamedTuple):
    """What "covariance" keeps of a style."""

    mean: jax.Array
    covariance: jax.Array
    mean_energy: jax.Array
    covariance_energy: jax.Array


class WassersteinTarget(NamedTuple):
    """What "wasserstein" keeps of a style: its covariance along the R directions that it has."""

    mean: jax.Array
    directions: jax.Array
    """(C, R): eigenvectors of the covariance."""
    stds: jax.Array
    """(R,): the square roots of its eigenvalues, regularized."""
    floor: jax.Array
    """What regularizes: it is added to the variance along each direction, the canvas's too."""
    energy: jax.Array


class MeanStdTarget(NamedTuple):
    """What "mean-std" keeps of a style; `floor` is added to variances, the canvas's too."""

    mean: jax.Array
    std: jax.Array
    floor: jax.Array
    energy: jax.Array


def layer_style_target(m: Moments, *, style_loss: str) -> Any:
    """Returns what a style loss keeps of a style's moments at one layer: a pytree of arrays.

    Args:
      m: the style's moments.
      style_loss: a name from `STYLE_LOSSES`.

    Raises:
      KeyError: there is no such loss.
    """
    return STYLE_LOSSES[style_loss].target_of(m)


def layer_style_distance(m: Moments, target: Any, *, style_loss: str, balance: str) -> jax.Array:
    """Returns how far a layer of a canvas is from the style, a scalar.

    Args:
      m: the canvas's moments.
      target: the style's, from `layer_style_target`.
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
    """Returns a target, with as many directions as so many positions can have."""
    mean, covariance, power = _statistics(m)
    channels = mean.size
    rank = min(channels, max(m.positions - 1, 1)) if isinstance(m.positions, int) else channels
    floor = 1e-4 * jnp.trace(covariance) / channels
    floor = jnp.maximum(jnp.maximum(floor, 1e-6 * power), TINY)
    values, directions = strongest(covariance, rank)
    stds = jnp.sqrt(jnp.maximum(values, 0) + floor + _rounding(m))
    return WassersteinTarget(mean, directions, stds, floor, jnp.maximum(power, TINY))


def _wasserstein_parts(m: Moments, target: WassersteinTarget) -> tuple[Part, ...]:
    """Compares Gaussians, see `STYLE_LOSSES`.

    Where the style has no variance, nothing but the canvas's own counts: the formula needs no root
    there, and the matrices of a small style picture are small.
    """
    mean, covariance, _ = _statistics(m)
    directions, rank = target.directions, target.stds.size
    along = product(directions.T, product(covariance, directions))
    floor = target.floor + _rounding(m)
    shared = root_trace(along + floor * jnp.eye(rank, dtype=along.dtype), target.stds)
    variances = jnp.trace(covariance) + rank * floor + jnp.sum(jnp.square(target.stds))
    spread = (variances - 2 * shared) / mean.size
    return (Part(_mean_square(mean - target.mean) + spread, target.energy),)


def _rounding(m: Moments) -> jax.Array:
    """Returns how much of a variance rounding may have taken: next to nothing in float64."""
    return 2 * float(np.finfo(m.sum.dtype).eps) * jnp.trace(m.outer_sum) / as_divisor(m.positions)


def _statistics(m: Moments) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the mean (C,), the covariance (C, C) and the power, the mean of S's diagonal."""
    positions = as_divisor(m.positions)
    second, mean = m.outer_sum / positions, m.sum / positions
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
"""By name; a new one needs its name in `recipe.STYLE_LOSS_NAMES` too, at the same place, and a
few words in the setting's help.

In the book's balance they are, all in units of features f, |.|^2 a sum of squares:

- "gram": |S - S_A|^2 / C^4, in f^4; `style.style_loss` of `style.gram`, to the bit.
- "covariance": |K - K_A|^2 / C^4, in f^4, and |m - m_A|^2 / C^2, in f^2. The energies of a flat or
  of a centred style are at least 1e-4 of what they would be of S.
- "wasserstein": (|m - m_A|^2 + tr K + tr K_A - 2 tr (K_A^1/2 K K_A^1/2)^1/2) / C, in f^2: per
  channel, the squared distance of two Gaussians (Dowson & Landau 1982). Along the directions that
  the style has, 1e-4 of the mean of K_A's diagonal (at least 1e-6 of that of S_A) is added to both
  variances. Energy tr S_A / C.
- "mean-std": (|m - m_A|^2 + |s - s_A|^2) / C, in f^2, s^2 = diag K + 1e-5 of the mean of S_A's
  diagonal: the batch normalization statistics of Li, Wang, Liu & Hou 2017. Energy tr S_A / C.
- "gram+mean-std": gram + 10 mean-std, as Galerne, Raad, Lezama & Morel have it (1e3 / C^2 to 1e4),
  there with Caffe's weights, whose features are larger. In the relative balance one to one.
"""
