"""The optimizer's steps: the jitted loop, and the generator that hands out its progress.

Results do not depend on how many steps are done in one call, bit for bit.
"""

import operator
import time
from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError
from jaxstyle.losses.terms import VARIATION, Losses, added
from jaxstyle.losses.variation import proximal_step
from jaxstyle.machine.devices import from_first
from jaxstyle.machine.placement import as_seen, of_several_processes, share_out_all
from jaxstyle.optimization.optimizer import (
    State,
    averaged,
    displayable,
    finish_level,
    initial_state,
    learning_rate,
    optimizer_of,
    with_program_state,
)
from jaxstyle.optimization.problem import Problem, canvas_losses

MOST_STEPS_A_CALL = 64
SECONDS_A_CALL = 1.0
"""Target duration of one call on the device: short enough to notice Ctrl-C soon. Shorter calls
would be slower: unless freed memory is kept (`process.keep_freed_memory`), the system has to
provide it again for every call, which takes a quarter of a step's time at 300x450."""


class Chunk(NamedTuple):
    """What a few steps yielded."""

    state: State
    problem: Problem
    first_step: int
    """The number, from 1, of the first of these steps."""
    losses: Losses
    """By term, one value per step: the loss of the canvas before that step's update."""
    learning_rate: NDArray[np.float32]
    """One value per step."""
    seconds: float
    """How long these steps took."""
    closing: Losses | None
    """Losses of the canvas after the last step of this level; None before."""


def _step(state: State, problem: Problem) -> tuple[State, Losses, jax.Array]:
    """One update, or none if the loss or its gradient is not finite; and the losses before it."""
    program, rows = problem.program, problem.program.rows

    def objective(canvas: jax.Array) -> tuple[jax.Array, Losses]:
        losses = canvas_losses(canvas, problem)
        return added(losses.terms, without={VARIATION}) if state.duals else losses.total, losses

    (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(state.canvas)
    rate = learning_rate(state.step, problem).astype(gradient.dtype)
    method = optimizer_of(program)
    direction, optimizer = method.update(gradient, state.optimizer, state.canvas, program)
    canvas, duals = state.canvas - rate * direction, state.duals
    if duals:
        height, weight = None if rows is None else rows.height, problem.hyper.tv_weight
        widths = jnp.broadcast_to(rate / method.metric(optimizer, program), canvas.shape)
        canvas, duals = proximal_step(canvas, widths, duals, weight, height=height)
    if program.clip:
        canvas = displayable(canvas)
    average, done = state.average, state.step + 1
    if not isinstance(average, tuple):
        average = averaged(average, canvas, done - problem.first_step, decay=program.average)
        ends = done == problem.first_step + problem.steps
        canvas = jnp.where(ends, average, canvas)  # a size leaves what it shows
    # a gradient whose square overflows would stop Adam's canvas for good, without a word
    tested = [losses.total, *jax.tree.leaves(method.tested(optimizer))]
    finite = reduce(operator.and_, [jnp.isfinite(each).all() for each in tested]) & ~state.failed
    moved = State(canvas, optimizer, done, state.canvas, state.failed, duals, average)
    stopped = state._replace(failed=jnp.array(True))
    return jax.tree.map(partial(jnp.where, finite), moved, stopped), losses, rate


@partial(jax.jit, donate_argnames="state")
def _run_steps(state: State, count: jax.Array | int, problem: Problem) -> tuple[State, jax.Array]:
    """Does `count` steps in one call; `count` is data, so that one program serves every number.

    Returns:
      The state, and a row for each step, see `run_steps`; the rest is 0.
    """

    def body(i: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, table = carry
        state, losses, rate = _step(state, problem)
        row = jnp.stack([*jax.tree.leaves(losses), rate])
        return state, table.at[i].set(row)

    columns = len(problem.program.terms) + 2
    table = jnp.zeros((MOST_STEPS_A_CALL, columns), state.canvas.dtype)
    result: tuple[State, jax.Array] = jax.lax.fori_loop(0, count, body, (state, table))
    return result


def run_steps(state: State, count: jax.Array | int, problem: Problem) -> tuple[State, jax.Array]:
    """Does `count` steps in one call, by the executable that `steps` calls.

    The jitted function keeps its private name, under which executables lie in the cache.

    Args:
      state: with all that the program's steps hand on; it is donated.
      count: at most MOST_STEPS_A_CALL; 0 only compiles.
      problem: from `make_problem`.

    Returns:
      The state, and a table (MOST_STEPS_A_CALL, terms + 2): by step the weighted losses before it,
      in the order of the program's terms, their total, and its learning rate; the rest is 0.
    """
    result: tuple[State, jax.Array] = _run_steps(state, count, problem)
    return result


def losses_in(table: NDArray[np.float32], terms: Sequence[str]) -> Losses:
    """Returns the losses in a table of `run_steps`, in some of its rows, or in one of them.

    Args:
      table: (..., terms + 2).
      terms: the program's.
    """
    *values, total = (table[..., i] for i in range(len(terms) + 1))
    return Losses(dict(zip(terms, values, strict=True)), total)


def steps(problem: Problem, state: State, *, pause_every: int = 0) -> Iterator[Chunk]:
    """Runs the steps of one level and yields what every few of them brought.

    The first chunk has no steps: it says that the program is compiled. The state in a chunk is
    used up as soon as the next one is asked for. In the last chunk's state, all that the program's
    steps handed on is dropped.

    Args:
      problem: from `make_problem`; it says how many steps there are.
      state: from `initial_state`, or from a chunk, to go on from there.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.

    Raises:
      DivergedError: after the chunk that ends with a step whose loss or gradient is not finite, or
        whose canvas has such a loss. The last good canvas is then `chunk.state.good`.
    """
    done, last = int(state.step), problem.first_step + problem.steps
    count, shared, terms = 0, problem.program.rows, problem.program.terms
    state = with_program_state(state, problem.program)
    state = share_out_all(state, shared, state.canvas)
    while True:
        started = time.perf_counter()
        state, table = _run_steps(state, count, problem)
        rows = np.asarray(table)
        seconds = time.perf_counter() - started
        if of_several_processes(shared):
            seconds = from_first(seconds)
        failed = bool(state.failed)
        before, done = done, int(state.step)
        rows = rows[: done - before + failed]
        finished = done >= last
        closing = None
        if finished:
            state, table = _run_steps(state, 1, problem)
            state, closing = finish_level(state, step=done), losses_in(np.asarray(table)[0], terms)
        seen, losses = as_seen(state, shared, state.canvas), losses_in(rows, terms)
        yield Chunk(seen, problem, before + 1, losses, rows[:, -1], seconds, closing)
        if failed:
            raise DivergedError(done + 1, diverged_term(losses[-1]))
        if closing is not None:
            if not np.isfinite(closing.total):
                raise DivergedError(done + 1, diverged_term(closing))
            return
        count = min(steps_a_call(count, seconds), last - done)
        if pause_every:
            count = min(count, pause_every - done % pause_every)


def compile_steps(problem: Problem, shape: tuple[int, ...]) -> Any:
    """Returns the executable that `steps` calls for canvases of a shape (H, W, 3).

    On one device. jax keeps it with the jitted function, so that later calls find it, from whatever
    thread. Instead of arrays the problem may have their shapes.
    """
    state = jax.eval_shape(
        lambda: with_program_state(initial_state(jnp.zeros(shape)), problem.program)
    )
    return _run_steps.lower(state, 0, problem).compile()


def steps_a_call(count: int, seconds: float) -> int:
    """Returns how many steps to do next, after `count` steps took so long."""
    if count == 0:  # that was the compilation
        return 1
    return max(1, min(round(SECONDS_A_CALL * count / seconds), MOST_STEPS_A_CALL))


def diverged_term(losses: Losses) -> str:
    """Returns the name of the first term of a step that is not finite, else "gradient"."""
    named = losses.terms.items()
    return next((name for name, value in named if not np.isfinite(value)), "gradient")


def losses_of(canvas: ArrayLike, problem: Problem) -> Losses:
    """Returns the losses of a canvas as a step from it would report them, bit for bit.

    Runs the program that is compiled already, with a state of its own.
    """
    state = with_program_state(initial_state(canvas, step=problem.first_step), problem.program)
    state = share_out_all(state, problem.program.rows, state.canvas)
    _, table = _run_steps(state, 1, problem)
    return losses_in(np.asarray(table)[0], problem.program.terms)
