"""Square roots of covariance matrices, as the Wasserstein distance of two Gaussians needs them.

Covariances of a network's features have eigenvalues over six decades and more, and many are nothing
but rounding. All here is for float32.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
"""Multiplies matrices in full float32, on accelerators too."""


def strongest(matrix: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Returns the largest eigenvalues (count,) of a symmetric (C, C); their vectors (C, count)."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values[-count:], vectors[:, -count:]


@jax.custom_vjp
def root_trace(covariance: jax.Array, stds: jax.Array) -> jax.Array:
    """Returns tr (D K D)^1/2 for a positive definite K (R, R) and D = diag(stds), stds (R,) > 0.

    With K = L L^T and the polar factor U of D L it is tr U^T D L, and its gradient with respect to
    K is D (D K D)^-1/2 D / 2 = D U L^-1 / 2; `stds` have none. The square root of D K D itself
    would need twice the digits: what is a thousandth of the strongest direction, and that is not
    rare in a network, is a millionth there, and lost in float32 beside the rounding of the largest.
    """
    return _root_trace(covariance, stds)[0]


def _root_trace(covariance: jax.Array, stds: jax.Array) -> tuple[jax.Array, jax.Array]:
    factor = _cholesky(covariance)
    scaled = stds[:, None] * factor
    polar = _polar(scaled)
    turned = lax.linalg.triangular_solve(factor, stds[:, None] * polar, lower=True)
    return jnp.sum(polar * scaled), (turned + turned.T) / 4


def _root_trace_backward(gradient: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
    return cotangent * gradient, None


root_trace.defvjp(_root_trace, _root_trace_backward)


def _cholesky(covariance: jax.Array) -> jax.Array:
    """Returns L (R, R); where rounding left none, that of a matrix with more on its diagonal."""
    unit = jnp.trace(covariance) * jnp.eye(covariance.shape[0], dtype=covariance.dtype)

    def failed(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        more, factor = state
        return ~jnp.isfinite(factor[-1, -1]) & (more < 1)

    def again(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        more = 10 * state[0]
        return more, jnp.linalg.cholesky(covariance + more * unit)

    first = jnp.asarray(1e-7, covariance.dtype), jnp.linalg.cholesky(covariance)
    factor: jax.Array = lax.while_loop(failed, again, first)[1]
    return factor


def _polar(matrix: jax.Array) -> jax.Array:
    """Returns the orthogonal polar factor of (R, R), by products alone.

    Directions weaker than 1.5e-4 of all together come out shorter than 1: they are damped, never
    amplified, and a matrix of whatever condition does no harm.
    """
    scales = jnp.asarray(SCALES, matrix.dtype)

    def step(i: int, x: jax.Array) -> jax.Array:
        x = scales[i] * x
        return 1.5 * x - 0.5 * product(x, product(x.T, x))

    norm = jnp.sqrt(jnp.sum(jnp.square(matrix)))
    polar: jax.Array = lax.fori_loop(0, len(SCALES), step, matrix / norm)
    return polar


def _scales(least: float) -> tuple[float, ...]:
    """Returns the scale before each Newton-Schulz step for singular values from `least` to 1.

    Chen & Chow 2014, "A stable scaling of Newton-Schulz": with it both ends of the interval come
    to the same value, and the least grows by 2.6 a step instead of 1.5.
    """
    scales = []
    while least < 0.9999:
        scales.append((3 / (1 + least + least**2)) ** 0.5)
        least = scales[-1] * least * (3 - (scales[-1] * least) ** 2) / 2
    return tuple(scales)


# Twelve steps. Measured on the embedded VGG-16's covariances, photo and noise against a painting,
# 300 pixels, beside float64: value within 1e-4 of tr S_A, gradient in the features within 1.4 %;
# of a photo of 64 pixels 2e-3 and 2.4 %. From 1e-3 ten steps would do, with 3e-3 and 5 to 9 %.
# A value and gradient take 120 ms of one core for 512 directions, 19 for 256, 4 for 39. eigh alone
# takes 50 to 65 on two cores, and roots of D K D by it are rounding below 3e-4 of the largest. Only
# the blocks of the stronger and of the weaker half would cost a third, and be off by up to 17 %.
SCALES = _scales(1.5e-4)
