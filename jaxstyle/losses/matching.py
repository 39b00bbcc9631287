"""Nearest neighbours: which of a style's columns is the nearest to each of a photo's, in blocks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

MOST_SIMILARITIES = 2**23
"""How many similarities are in memory at a time, unless there are more queries than a 16th."""

CANDIDATES = 16, 4096
"""Fewest and most candidates that are compared at a time."""


class Nearest(NamedTuple):
    """The best so far of every query."""

    similarity: jax.Array
    """(P,): the product of the query with the candidate; -inf if none was allowed."""
    candidate: jax.Array
    """(P,): which candidate it is."""


def block_of_candidates(queries: int) -> int:
    """Returns how many candidates to compare with so many queries at a time."""
    return min(max(MOST_SIMILARITIES // max(queries, 1), CANDIDATES[0]), CANDIDATES[1])


def directions(columns: jax.Array) -> jax.Array:
    """Returns columns (N, D) divided by their lengths; zeros stay."""
    squares = jnp.sum(jnp.square(columns), -1, keepdims=True)
    return jnp.where(squares > 0, columns / jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def nearest(
    queries: jax.Array, candidates: jax.Array, asked: jax.Array, allowed: jax.Array
) -> Nearest:
    """Returns by query the candidate with the greatest product; the first of equal ones.

    Candidates of length 1 make it the one with the greatest cosine.

    Args:
      queries: (P, D).
      candidates: (N, D).
      asked: (P, R), 1 for the region that a query is in, else 0.
      allowed: (N, R), 1 if a candidate may be taken in a region, else 0.
    """
    count, size = candidates.shape[0], block_of_candidates(queries.shape[0])
    size = min(size, count)
    blocks = -(-count // size)

    def in_blocks(x: jax.Array) -> jax.Array:
        return jnp.pad(x, ((0, blocks * size - count), (0, 0))).reshape(blocks, size, -1)

    def compare(best: Nearest, block: tuple[jax.Array, ...]) -> tuple[Nearest, None]:
        start, some, may = block
        similarity = jnp.matmul(queries, some.T, precision=lax.Precision.HIGHEST)
        similarity = jnp.where(asked @ may.T > 0.5, similarity, -jnp.inf)
        index = jnp.argmax(similarity, axis=1)
        value = jnp.max(similarity, axis=1)
        better = value > best.similarity
        return Nearest(
            jnp.where(better, value, best.similarity),
            jnp.where(better, index.astype(jnp.int32) + start, best.candidate),
        ), None

    none = Nearest(
        jnp.full(queries.shape[0], -jnp.inf, queries.dtype), jnp.zeros(queries.shape[0], jnp.int32)
    )
    starts = jnp.arange(blocks, dtype=jnp.int32) * size
    found, _ = lax.scan(compare, none, (starts, in_blocks(candidates), in_blocks(allowed)))
    return found
