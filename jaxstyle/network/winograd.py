"""Winograd's 3x3 convolution F(m x m, 3 x 3): a quarter or a fifth of the multiplications.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks". A tile of n x n values,
n = m + 2, gives m x m results; tiles overlap by two. In one dimension, of a kernel g and values d:

    results = A^T [(G g) * (B^T d)]

G and A evaluate polynomials of 3 and m coefficients at n points, B^T is the transposed inverse of
the evaluation of n coefficients. A point is a pair (a, b) and means a / b; (1, 0) is infinity. A
kernel turned round and evaluated at (b, a) is the kernel evaluated at (a, b): so the gradient's
convolution, whose kernels are turned, works with the same transformed kernels.

Arrays are NHWC, kernels HWIO; padding is one row and column of zeros, stride 1.
"""

from collections.abc import Sequence
from functools import cache, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from numpy.typing import DTypeLike, NDArray

Matrix = NDArray[np.float64]
Point = tuple[int, int]

POINTS: dict[int, tuple[Point, ...]] = {
    4: ((0, 1), (1, 1), (-1, 1), (1, 2), (-1, 2), (1, 0)),
    6: ((0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2), (1, 0)),
}
"""Points by m: zero, infinity and small numbers of both signs. Others amplify rounding more."""


COLUMNS_AT_ONCE = 2**14
"""How many pairs of channels are transformed at once."""


class Matrices(NamedTuple):
    """What turns tiles into values and products into results."""

    values: Matrix
    """B^T, (n, n), of whole numbers."""
    results: Matrix
    """A^T, (m, n), of whole numbers."""


@cache
def kernel_matrix(m: int) -> Matrix:
    """Returns G, (n, 3)."""
    return _evaluation(POINTS[m], 3) / _scales(m)


@cache
def matrices(m: int, *, turned: bool) -> Matrices:
    """Returns B^T and A^T for kernels as they are, or turned by 180 degrees."""
    points = tuple((b, a) for a, b in POINTS[m]) if turned else POINTS[m]
    inverse = np.linalg.inv(_evaluation(points, m + 2))
    return Matrices(np.rint(inverse.T * _scales(m)), _evaluation(points, m).T)


def _evaluation(points: Sequence[Point], coefficients: int) -> Matrix:
    """Returns what evaluates homogeneous polynomials, (points, coefficients)."""
    powers = range(coefficients)
    return np.array([[a**k * b ** (coefficients - 1 - k) for k in powers] for a, b in points], "f8")


def _scales(m: int) -> Matrix:
    """Returns by point, (n, 1), the factor that makes B^T whole and by which G is divided."""
    pairs = [[a * d - c * b for c, d in POINTS[m] if (c, d) != (a, b)] for a, b in POINTS[m]]
    scales: Matrix = np.prod(np.array(pairs, "f8"), axis=1, keepdims=True)
    return scales


def products_per_channel(m: int, height: int, width: int) -> int:
    """Returns how many multiplications one pair of channels takes, for maps of this size."""
    return (m + 2) ** 2 * -(-height // m) * -(-width // m)


def transform(kernel: ArrayLike, m: int, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Returns G kernel G^T of a kernel (3, 3, in, out), computed in float64: (n, n, in, out).

    Both products are one, with G's outer product, in blocks that stay in a processor's cache: a
    twentieth of the time of one axis after another.
    """
    values = np.asarray(kernel).reshape(9, -1)
    both = np.kron(kernel_matrix(m), kernel_matrix(m))
    transformed = np.empty((len(both), values.shape[1]), dtype)
    for start in range(0, values.shape[1], COLUMNS_AT_ONCE):
        block = slice(start, start + COLUMNS_AT_ONCE)
        transformed[:, block] = both @ values[:, block].astype(np.float64)
    return transformed.reshape(m + 2, m + 2, *np.shape(kernel)[2:])


@partial(jax.jit, static_argnames="turned")
def convolve(
    image: jax.Array, transformed: tuple[jax.Array, ...], *, turned: bool = False
) -> jax.Array:
    """Convolves with transformed kernels: (N, H, W, in) to (N, H, W, out).

    Jitted, as is `_row`, so that what is alike in a network is traced once: there are thousands of
    sums, and XLA, which puts the calls' bodies in their places, gets the same program.

    Args:
      image: (N, H, W, in), or (N, H, W, out) if `turned`.
      transformed: from `transform`, each row of its first axis an array (n, in, out): taken from
        one array they would be copied at every use.
      turned: whether to use the kernels turned by 180 degrees with their channels swapped, as
        gradients need: (N, H, W, out) to (N, H, W, in).
    """
    n = len(transformed)
    m = n - 2
    matrix = matrices(m, turned=turned)
    count, height, width, _ = image.shape
    down, across = -(-height // m), -(-width // m)  # tiles
    margins = [(0, 0, 0), (1, down * m + 1 - height, 0), (1, across * m + 1 - width, 0), (0, 0, 0)]
    (padded,) = _barred([lax.pad(image, jnp.zeros((), image.dtype), margins)])
    rows = [_every(padded, m, axis=1, start=i, count=down) for i in range(n)]
    sums = [
        _row(row, kernel, across=across, turned=turned)
        for row, kernel in zip(_barred(_combined(matrix.values, rows)), transformed, strict=True)
    ]
    results = jnp.stack(_combined(matrix.results, _barred(sums)), 2)  # (N, down, m, ..., out)
    return results.reshape(count, down * m, across * m, -1)[:, :height, :width]


@partial(jax.jit, static_argnames=("across", "turned"))
def _row(row: jax.Array, kernel: jax.Array, *, across: int, turned: bool) -> jax.Array:
    """Returns what one row of all tiles adds: (N, down, ..., in) to (N, down, across * m, out)."""
    n = len(kernel)
    m = n - 2
    matrix = matrices(m, turned=turned)
    count, down = row.shape[:2]
    columns = [_every(row, m, axis=2, start=j, count=across) for j in range(n)]
    values = jnp.stack(_combined(matrix.values, columns))
    products = _matmul(values.reshape(n, count * down * across, -1), kernel, turned=turned)
    tiles = list(products.reshape(n, count, down, across, -1))
    part = jnp.stack(_combined(matrix.results, tiles), 3)  # (N, down, across, m, out)
    return part.reshape(count, down, across * m, -1)


def _matmul(values: jax.Array, kernel: jax.Array, *, turned: bool) -> jax.Array:
    """Multiplies n matrices at once: (n, tiles, in) and (n, in, out) to (n, tiles, out)."""
    (values,) = _barred([values])
    dimensions = (((2,), (2 if turned else 1,)), ((0,), (0,)))
    return lax.dot_general(values, kernel, dimensions, precision=lax.Precision.HIGHEST)


def _barred(arrays: list[jax.Array]) -> list[jax.Array]:
    """Has these computed once, not again in every fused loop that reads them."""
    barred: list[jax.Array] = lax.optimization_barrier(arrays)  # type: ignore[no-untyped-call]
    return barred


def _every(array: jax.Array, stride: int, *, axis: int, start: int, count: int) -> jax.Array:
    """Returns `count` slices along an axis, one in every `stride`, from `start`."""
    limit = start + (count - 1) * stride + 1
    return lax.slice_in_dim(array, start, limit, stride, axis)


def _combined(matrix: Matrix, arrays: list[jax.Array]) -> list[jax.Array]:
    """Returns the linear combinations of arrays that the rows of a matrix say.

    By lax's functions: there are thousands of sums, and jnp's operators take longer to trace.
    """

    def total(row: list[float]) -> jax.Array:
        pairs = [(c, x) for c, x in zip(row, arrays, strict=True) if c]
        terms = [x if c == 1 else lax.mul(c, x) for c, x in pairs]
        return reduce(lax.add, terms)

    return [total(row) for row in matrix.tolist()]
