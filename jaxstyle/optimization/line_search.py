"""A line search for L-BFGS by the strong Wolfe conditions, in which every step is one evaluation.

Nocedal & Wright, "Numerical Optimization", algorithms 3.5 (bracketing) and 3.6 (zoom) and formula
3.59 (the cubic between two points). They are told there as loops around the loss; here each step
gets the loss and the gradient at the canvas that the step before chose, and chooses the next. So
steps, budgets, progress and logs count evaluations, and a search that is interrupted goes on.

Along a search the canvas is place + t * direction, the place being the last accepted canvas, and
phi(t) is the loss there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxstyle.optimization.lbfgs import (
    LbfgsState,
    first_direction,
    inner,
    lbfgs_state,
    two_loops,
    with_pair,
)

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""c1 and c2 of the strong Wolfe conditions, as the book has them for quasi-Newton methods."""

LONGER = 10.0
"""How many times longer the next try is, while the loss falls and no bracket is found."""

MOST_TRIES = 20
"""Tries of one search. After the last one it takes what is better than the place, or else begins
from there along the gradient, with no pairs: in float32 a loss may fall by less than it is
rounded."""

EDGE = 0.1
"""No try is nearer to an end of its bracket than this part of it."""


class SearchPoint(NamedTuple):
    """A point of a search: t, phi(t) and its slope, scalars."""

    t: jax.Array
    value: jax.Array
    slope: jax.Array


class SearchState(NamedTuple):
    """L-BFGS with what a search knows so far."""

    memory: LbfgsState
    """Its place is the last accepted canvas, its gradient the one there."""
    direction: jax.Array
    """(H, W, 3), along which is searched."""
    start: SearchPoint
    """At the place: t is 0."""
    low: SearchPoint
    """The best point so far; before a bracket is found, the one before."""
    high: SearchPoint
    """The other end of the bracket."""
    t: jax.Array
    """Of the canvas that is to be evaluated."""
    bracketed: jax.Array
    tries: jax.Array
    """Evaluations of this search so far."""
    slope: jax.Array
    """phi'(t) at the last evaluation: not finite where the gradient is not."""


def search_state(canvas: jax.Array, history: int) -> SearchState:
    """Returns the state before a level's first step, with room for so many pairs."""

    def zero() -> jax.Array:  # each in memory of its own, as a state is donated
        return jnp.zeros((), canvas.dtype)

    memory = lbfgs_state(canvas, history)._replace(place=canvas.copy())
    first, low, high = (SearchPoint(zero(), zero(), zero()) for _ in range(3))
    rest = (zero(), jnp.array(False), jnp.int32(0), zero())
    return SearchState(memory, jnp.zeros_like(canvas), first, low, high, *rest)


def search(
    value: jax.Array, gradient: jax.Array, state: SearchState, canvas: jax.Array, rate: jax.Array
) -> tuple[jax.Array, SearchState]:
    """Returns the canvas to evaluate next, and the state.

    Args:
      value: the loss of the canvas.
      gradient: (H, W, 3), at the canvas.
      state: from `search_state`, or of the step before.
      canvas: (H, W, 3), the first one or the one that was returned last.
      rate: t of the first try of a search.
    """
    first = state.memory.evaluations == 0
    point = SearchPoint(state.t, value, inner(gradient, state.direction))
    narrowed, good = _narrowed(point, state)
    last = state.tries + 1 >= MOST_TRIES
    accepted = first | good | (last & (value < state.start.value))
    anew = last & ~accepted
    searching = narrowed._replace(tries=state.tries + 1, t=_next_t(narrowed))
    begun = _begun(value, gradient, state, canvas, rate, anew=anew, accepted=accepted)
    found: SearchState = jax.tree.map(
        lambda one, other: jnp.where(accepted | anew, one, other), begun, searching
    )
    done = state.memory.evaluations + 1
    memory = found.memory._replace(evaluations=done)
    found = found._replace(memory=memory, slope=jnp.where(first, _total(gradient), point.slope))
    return memory.place + found.t * found.direction, found


def _total(gradient: jax.Array) -> jax.Array:
    """Returns a number that is finite if the gradient is, and not too large."""
    return inner(gradient, gradient)


def _narrowed(point: SearchPoint, state: SearchState) -> tuple[SearchState, jax.Array]:
    """Returns the state with the bracket that a point leaves, and whether the point is good."""
    start, low, high = state.start, state.low, state.high
    enough = point.value <= start.value + SUFFICIENT * point.t * start.slope
    worse = ~enough | ((point.value >= low.value) & (state.bracketed | (state.tries > 0)))
    good = ~worse & (jnp.abs(point.slope) <= -CURVATURE * start.slope)
    turns = point.slope * jnp.where(state.bracketed, high.t - low.t, 1) >= 0
    new_low = _chosen(worse, low, point)
    new_high = _chosen(worse, point, _chosen(turns | ~state.bracketed, low, high))
    bracketed = state.bracketed | worse | turns
    return state._replace(low=new_low, high=new_high, bracketed=bracketed), good


def _chosen(which: jax.Array, one: SearchPoint, other: SearchPoint) -> SearchPoint:
    return SearchPoint(*(jnp.where(which, a, b) for a, b in zip(one, other, strict=True)))


def _next_t(state: SearchState) -> jax.Array:
    """Returns the next try: in the bracket where the cubic is least, or beyond the last one."""
    low, high = state.low, state.high
    width = high.t - low.t
    safe = jnp.where(width == 0, 1, width)
    d1 = low.slope + high.slope - 3 * (low.value - high.value) / -safe
    root = jnp.square(d1) - low.slope * high.slope
    d2 = jnp.sign(safe) * jnp.sqrt(jnp.maximum(root, 0))
    bottom = high.slope - low.slope + 2 * d2
    cubic = high.t - safe * (high.slope + d2 - d1) / jnp.where(bottom == 0, 1, bottom)
    part = (cubic - low.t) / safe
    known = (root >= 0) & (bottom != 0) & (part > EDGE) & (part < 1 - EDGE)
    inside = low.t + width * jnp.where(known, part, 0.5)
    return jnp.where(state.bracketed, inside, LONGER * low.t)


def _begun(
    value: jax.Array,
    gradient: jax.Array,
    state: SearchState,
    canvas: jax.Array,
    rate: jax.Array,
    *,
    anew: jax.Array,
    accepted: jax.Array,
) -> SearchState:
    """Returns the state in which a search begins: from this canvas, or anew from the place."""
    before = state.memory
    first = before.evaluations == 0
    paired = with_pair(before, canvas - before.place, gradient - before.gradient)
    memory: LbfgsState = jax.tree.map(lambda a, b: jnp.where(first, a, b), before, paired)
    memory = memory._replace(place=canvas, gradient=gradient)
    memory = jax.tree.map(lambda a, b: jnp.where(accepted, a, b), memory, before)
    products = jnp.where(anew, 0, memory.products)
    memory = memory._replace(products=products, scale=jnp.where(anew, 1, memory.scale))
    direction = -two_loops(memory.gradient, memory)
    slope = inner(memory.gradient, direction)
    plain = first | anew | ~(products > 0).any() | ~(slope < 0)
    direction = jnp.where(plain, -first_direction(memory.gradient), direction)
    start = SearchPoint(
        jnp.zeros_like(rate),
        jnp.where(accepted, value, state.start.value),
        inner(memory.gradient, direction),
    )
    none = jnp.int32(0)
    return state._replace(
        memory=memory,
        direction=direction,
        start=start,
        low=start,
        high=start,
        t=rate,
        bracketed=jnp.array(False),
        tries=none,
    )
