"""Rows cut into strips, and a loop over them whose gradient takes the place of its input.

jax would keep the input of a loop until its whole gradient is there, and add the parts of the halos
in yet another array. Of 64 channels at half of a picture's size each takes 64 bytes a pixel of the
picture.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Cut(NamedTuple):
    """How the rows of a block's maps are cut."""

    height: int
    """How many there are."""
    halo: int
    """How many of its neighbours' rows a strip needs on either side."""
    strips: int
    rows: int
    """Rows of a strip, an even number; the last strip may reach below the picture."""


def cut_rows(height: int, halo: int, rows: int, *, multiple: int = 2) -> Cut:
    """Returns how to cut a height into strips of about so many rows, as equal as can be.

    They are a multiple of two, or of another even number.
    """
    strips = -(-height // rows)
    even = multiple * -(-height // (multiple * strips))
    even = max(even, multiple * -(-halo // multiple))  # a halo comes from one neighbour
    return Cut(height, halo, -(-height // even), even)


def cut_into(x: jax.Array, cut: Cut) -> jax.Array:
    """Cuts (H, W, ...) into (strips, rows, W, ...), with zeros below the last row."""
    below = cut.strips * cut.rows - cut.height
    padded = jnp.pad(x, ((0, below), *((0, 0),) * (x.ndim - 1)))
    return padded.reshape(cut.strips, cut.rows, *x.shape[1:])


def joined(strips: jax.Array, height: int) -> jax.Array:
    """The inverse of `cut_into`."""
    return strips.reshape(-1, *strips.shape[2:])[:height]


One = Callable[[Any, tuple[jax.Array, ...], Any], tuple[Any, Any]]
"""Takes the constants; of one strip the rows above it, its own, and those below; and the rest of
it. Returns what is added up, and what is not."""


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def over_strips(
    one: One, halo: int, constants: Any, strips: jax.Array, rest: Any
) -> tuple[Any, Any]:
    """Returns what is found in all strips, added up, and what each one brings, (strips, ...).

    The gradient is that by the strips alone. On the way back each strip is computed once more.

    Args:
      one: what is done to each strip.
      halo: how many rows above and below a strip it takes; zeros outside.
      constants: arrays that are the same for all strips.
      strips: from `cut_into`.
      rest: what else `one` takes of each strip, (strips, ...).
    """
    above, below = _halos(strips, halo)
    every = (above, strips, below), rest
    like, _ = jax.eval_shape(one, constants, *jax.tree.map(lambda each: each[0], every))
    nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), like)

    def body(total: Any, strip: Any) -> tuple[Any, Any]:
        found, brought = one(constants, *strip)
        return jax.tree.map(jnp.add, total, found), brought

    found: tuple[Any, Any] = lax.scan(body, nothing, every)
    return found


def _forward(
    one: One, halo: int, constants: Any, strips: jax.Array, rest: Any
) -> tuple[tuple[Any, Any], Any]:
    return over_strips(one, halo, constants, strips, rest), (constants, strips, rest)


def _backward(
    one: One, halo: int, given: Any, gradients: tuple[Any, Any]
) -> tuple[None, jax.Array, None]:
    constants, strips, rest = given
    of_sums, of_brought = gradients

    def body(carry: tuple[jax.Array, jax.Array], strip: Any) -> tuple[Any, None]:
        strips, from_before = carry
        number, above, below, rest, of_strip = strip
        pieces = above, lax.dynamic_index_in_dim(strips, number, keepdims=False), below
        _, pull_back = jax.vjp(lambda pieces: one(constants, pieces, rest), pieces)
        ((to_before, own, to_next),) = pull_back((of_sums, of_strip))
        before = jnp.maximum(number - 1, 0)  # the first strip's own, which is written next
        strips = strips.at[before, -halo:].add(to_before)
        own = own.at[:halo].add(from_before)
        return (lax.dynamic_update_index_in_dim(strips, own, number, 0), to_next), None

    above, below = _halos(strips, halo)
    each = jnp.arange(len(strips)), above, below, rest, of_brought
    (strips, _), _ = lax.scan(body, (strips, jnp.zeros_like(above[0])), each)
    return None, strips, None


over_strips.defvjp(_forward, _backward)


def _halos(strips: jax.Array, halo: int) -> tuple[jax.Array, jax.Array]:
    """Returns by strip the rows above it and those below, (strips, halo, W, C)."""
    none = jnp.zeros_like(strips[:1, :halo])
    above = jnp.concatenate([none, strips[:-1, -halo:]])
    return above, jnp.concatenate([strips[1:, :halo], none])
