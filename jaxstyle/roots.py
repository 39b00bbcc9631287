"""Square roots of covariance matrices, as the Wasserstein distance of two Gaussians needs them.

Covariances of a network's features have eigenvalues over six decades and more, and many are nothing
but rounding. All here is for float32.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def square_root(matrix: jax.Array) -> jax.Array:
    """Returns the square root of a positive semidefinite matrix (C, C), by its eigenvectors."""
    values, vectors = jnp.linalg.eigh(matrix)
    return _product(vectors * jnp.sqrt(jnp.maximum(values, 0)), vectors.T)


@jax.custom_vjp
def root_trace(covariance: jax.Array, root: jax.Array) -> jax.Array:
    """Returns tr (A K A)^1/2 for a positive definite K (C, C) and a symmetric A (C, C).

    With K = L L^T and the polar factor U of A L it is tr U^T A L, and its gradient with respect to
    K is A (A K A)^-1/2 A / 2 = A U L^-1 / 2. A has no gradient. The square root of A K A itself
    would need twice the digits: a direction a thousandth as strong as the strongest, not rare in a
    network, is a millionth there, and lost in float32 beside the rounding of the largest.
    """
    return _root_trace(covariance, root)[0]


def _root_trace(covariance: jax.Array, root: jax.Array) -> tuple[jax.Array, jax.Array]:
    factor = _cholesky(covariance)
    product = _product(root, factor)
    polar = _polar(product)
    turned = lax.linalg.triangular_solve(factor, _product(root, polar), lower=True)
    return jnp.sum(polar * product), (turned + turned.T) / 4


def _root_trace_backward(gradient: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
    return cotangent * gradient, None


root_trace.defvjp(_root_trace, _root_trace_backward)


def _cholesky(covariance: jax.Array) -> jax.Array:
    """Returns L (C, C); where rounding left none, that of a matrix with more on its diagonal."""
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
    """Returns the orthogonal polar factor of (C, C), by products alone."""
    scales = jnp.asarray(SCALES, matrix.dtype)

    def step(i: int, x: jax.Array) -> jax.Array:
        x = scales[i] * x
        return 1.5 * x - 0.5 * _product(x, _product(x.T, x))

    norm = jnp.sqrt(jnp.sum(jnp.square(matrix)))
    polar: jax.Array = lax.fori_loop(0, len(SCALES), step, matrix / norm)
    return polar


def _scales(least: float) -> tuple[float, ...]:
    """Returns the scale before each Newton-Schulz step for singular values from `least` to 1.

    Chen & Chow 2014, "A stable scaling of Newton-Schulz": with it both ends of the interval come
    to the same value, and the least grows by 2.6 a step instead of 1.5.
    """
    scales = []
    while least < 0.999:
        scales.append((3 / (1 + least + least**2)) ** 0.5)
        least = scales[-1] * least * (3 - (scales[-1] * least) ** 2) / 2
    return tuple(scales)


SCALES = _scales(1e-4)
