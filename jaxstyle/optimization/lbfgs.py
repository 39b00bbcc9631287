"""L-BFGS without line search: a direction from the last moves and changes of the gradient.

The formulas are those of torch.optim.LBFGS (Nocedal & Wright, "Numerical Optimization", algorithm
7.4), as neural-style uses it: one evaluation of the loss and its gradient a step.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

LEAST_PRODUCT = 1e-10
"""A pair whose product y.s is not above this tells nothing of curvature, and is left out."""


LARGEST_MOVE = 4.5
"""So far a colour goes in one step at most, normalized: from black to white. A flat canvas, such as
a grey one, tells so little of the curvature that a step may else end the run."""


class LbfgsState(NamedTuple):
    """What L-BFGS remembers; the newest pair comes first, and pairs that are not there yet are 0.

    Where a canvas's rows are on several devices, so are those of all four pictures.
    """

    place: jax.Array
    """(H, W, 3), the canvas of which the last gradient was."""
    gradient: jax.Array
    """(H, W, 3), the last one."""
    moves: jax.Array
    """(n, H, W, 3): s, how the canvas moved."""
    changes: jax.Array
    """(n, H, W, 3): y, how the gradient changed by it."""
    products: jax.Array
    """(n,): y.s, the inner product of each pair; 0 of those that are not there yet."""
    scale: jax.Array
    """y.s / y.y of the newest pair, the first guess of the inverse Hessian; 1 before there is
    one, NaN where y.y overflows."""
    evaluations: jax.Array
    """How many gradients were seen at this level."""


def lbfgs_state(canvas: jax.Array, history: int) -> LbfgsState:
    """Returns the state before a level's first step, with room for so many pairs."""

    def zeros(*several: int) -> jax.Array:  # each in memory of its own, as a state is donated
        return jnp.zeros((*several, *canvas.shape), canvas.dtype)

    products, one = jnp.zeros(history, canvas.dtype), jnp.ones((), canvas.dtype)
    pairs = zeros(history), zeros(history)
    return LbfgsState(zeros(), zeros(), *pairs, products, one, jnp.int32(0))


def lbfgs(
    gradient: jax.Array, state: LbfgsState, canvas: jax.Array
) -> tuple[jax.Array, LbfgsState]:
    """Returns the direction, against which the canvas moves by the learning rate, and the state.

    The first direction is the gradient g times min(1, 1 / |g|_1). From then on it is that of the
    two-loop recursion, shortened where it goes farther than `LARGEST_MOVE`, which torch's does not
    mind. As s we take how the canvas really moved, where torch takes the step that was meant: the
    same, unless colors are clipped to displayable ones or parts of the photo stay.

    Args:
      gradient: (H, W, 3), at the canvas.
      state: from `lbfgs_state`, or of the step before.
      canvas: (H, W, 3).
    """
    first = state.evaluations == 0
    remembered = with_pair(state, canvas - state.place, gradient - state.gradient)
    kept = jax.tree.map(lambda old, new: jnp.where(first, old, new), state, remembered)
    direction = jnp.where(first, first_direction(gradient), two_loops(gradient, kept))
    direction = direction * jnp.minimum(1, LARGEST_MOVE / jnp.max(jnp.abs(direction)))
    done = state.evaluations + 1
    return direction, kept._replace(place=canvas, gradient=gradient, evaluations=done)


def first_direction(gradient: jax.Array) -> jax.Array:
    """Returns the gradient g times min(1, 1 / |g|_1), (H, W, 3)."""
    least = jnp.minimum(1, 1 / jnp.sum(jnp.abs(gradient)))
    return least * gradient


def with_pair(state: LbfgsState, move: jax.Array, change: jax.Array) -> LbfgsState:
    """Returns the state with a pair more, the oldest forgotten; or as it is if y.s is too small."""
    product, square = inner(change, move), inner(change, change)
    scale = jnp.where(jnp.isfinite(square), product / square, math.nan)
    new = state._replace(
        moves=_pushed(move, state.moves),
        changes=_pushed(change, state.changes),
        products=_pushed(product, state.products),
        scale=scale,
    )
    told = product > LEAST_PRODUCT
    kept: LbfgsState = jax.tree.map(partial(jnp.where, told), new, state)
    return kept


def two_loops(gradient: jax.Array, state: LbfgsState) -> jax.Array:
    """Returns the inverse Hessian, as the pairs have it, times the gradient."""
    pairs = state.moves, state.changes, state.products

    def newest_first(q: jax.Array, pair: Any) -> tuple[jax.Array, jax.Array]:
        move, change, product = pair
        share = _over(inner(move, q), product)
        return q - share * change, share

    def oldest_first(r: jax.Array, pair: Any) -> tuple[jax.Array, None]:
        (move, change, product), share = pair
        return r + move * (share - _over(inner(change, r), product)), None

    q, shares = lax.scan(newest_first, gradient, pairs)
    direction, _ = lax.scan(oldest_first, q * state.scale, (pairs, shares), reverse=True)
    return direction


def _over(value: jax.Array, product: jax.Array) -> jax.Array:
    """Returns a value divided by the product of a pair; 0 if the pair is not there."""
    there = product > 0
    return jnp.where(there, value / jnp.where(there, product, 1), 0)


def _pushed(newest: jax.Array, rest: jax.Array) -> jax.Array:
    return jnp.concatenate([newest[None], rest[:-1]])


def inner(one: jax.Array, other: jax.Array) -> jax.Array:
    """Returns the inner product over a whole canvas: not a dot, which GPUs would round to TF32."""
    return jnp.sum(one * other)
