"""The optimizer's steps: the jitted loop, and the generator that hands out its progress.

Results do not depend on how many steps are done in one call, bit for bit.
"""

import operator
import threading
from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, Protocol

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
from jaxstyle.machine.process import give_back
from jaxstyle.machine.worked_time import CLOCK
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

STEPS_A_CALL_IN_STEP = 10
"""With several processes, which must all make the same calls, however fast each of them is."""


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

    @property
    def failure(self) -> DivergedError | None:
        """Why the run cannot go on, if a loss or the gradient is not finite."""
        if self.state.failed:
            bad = self.losses[-1]
        elif self.closing is not None and not np.isfinite(self.closing.total):
            bad = self.closing
        else:
            return None
        return DivergedError(int(self.state.step) + 1, diverged_term(bad))


def _step(state: State, problem: Problem) -> tuple[State, Losses, jax.Array]:
    """One update, or none if the loss or its gradient is not finite; and the losses before it."""
    program, rows = problem.program, problem.program.rows

    def objective(canvas: jax.Array) -> tuple[jax.Array, Losses]:
        losses = canvas_losses(canvas, problem, state.step)
        return added(losses.terms, without={VARIATION}) if state.duals else losses.total, losses

    (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(state.canvas)
    if not (state.duals or isinstance(problem.targets.keep, tuple)):
        gradient = jnp.where(problem.targets.keep > 0, 0, gradient)  # no curvature is met there
    rate = learning_rate(state.step, problem).astype(gradient.dtype)
    method = optimizer_of(program)
    if method.search is None:
        direction, optimizer = method.update(gradient, state.optimizer, state.canvas, program)
        canvas, duals = state.canvas - rate * direction, state.duals
    else:
        loss, before = losses.total, (state.optimizer, state.canvas)
        (canvas, optimizer), duals = method.search(loss, gradient, *before, rate), state.duals
    if duals:
        height, weight = None if rows is None else rows.height, problem.hyper.tv_weight
        widths = jnp.broadcast_to(rate / method.metric(optimizer, program), canvas.shape)
        canvas, duals = proximal_step(canvas, widths, duals, weight, height=height)
    if program.clip:
        canvas = displayable(canvas)
    if not isinstance(problem.targets.keep, tuple):
        canvas = jnp.where(problem.targets.keep > 0, state.canvas, canvas)
    average, done = state.average, state.step + 1
    ends = done == problem.first_step + problem.steps
    if not isinstance(average, tuple):
        average = averaged(average, canvas, done - problem.first_step, decay=program.average)
        canvas = jnp.where(ends, average, canvas)  # a size leaves what it shows
    if method.best is not None:
        canvas = jnp.where(ends, method.best(optimizer), canvas)
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


class Team(Protocol):
    """Runs that do the steps of a level in the same calls, each with a state of its own."""

    spans: Sequence[tuple[int, int]]
    """By run, those of other processes too: how many steps are done before, and after the level."""
    taking_part: Sequence[bool]
    """Likewise: whether the run has steps at this level."""
    own: Sequence[int]
    """Which of these runs are this process's."""
    in_step: bool
    """Whether other processes have to make the same calls, without knowing of failures here."""

    def call(self, counts: Sequence[int]) -> tuple[list[NDArray[Any]], float]:
        """Does by run so many steps; returns every own run's rows of losses, and the seconds."""

    def look(self, number: int) -> tuple[State, Problem]:
        """Returns what an own run has come to, by its place in `own`; used up by the next call."""

    def finish(self, number: int, *, step: int) -> State:
        """Returns the state that ends the level of an own run, after the extra step."""


class Alone:
    """A run by itself, a `Team` of one: on one device, or with its rows on several."""

    in_step = False

    def __init__(self, problem: Problem, state: State) -> None:
        """Takes a problem and the state to begin with, which is used up."""
        self._problem, self._rows = problem, problem.program.rows
        self.own: Sequence[int] = (0,)
        self.taking_part: Sequence[bool] = (True,)
        self.spans: Sequence[tuple[int, int]] = [
            (int(state.step), problem.first_step + problem.steps)
        ]
        state = with_program_state(state, problem.program)
        self._state = share_out_all(state, self._rows, state.canvas)

    def call(self, counts: Sequence[int]) -> tuple[list[NDArray[Any]], float]:
        """Does so many steps; all processes that share the rows get the first one's seconds."""
        started = CLOCK.seconds()
        self._state, table = _run_steps(self._state, int(counts[0]), self._problem)
        rows = np.asarray(table)
        _give_back_in_strips(self._problem)  # the next call need not fit into this one's gaps
        seconds = CLOCK.seconds() - started
        return [rows], from_first(seconds) if of_several_processes(self._rows) else seconds

    def look(self, number: int) -> tuple[State, Problem]:
        """Returns the state as it is seen, and the problem."""
        return as_seen(self._state, self._rows, self._state.canvas), self._problem

    def finish(self, number: int, *, step: int) -> State:
        """Returns the state that ends the level."""
        carry = self._problem.program.carry
        self._state = finish_level(self._state, step=step, carry=carry)
        return as_seen(self._state, self._rows, self._state.canvas)


def advance(team: Team, *, pause_every: int = 0) -> Iterator[list[Chunk | None]]:
    """Does the steps of one level and yields after every call what it brought, by own run.

    The host's part of every run: it calls, looks at the clock and the losses, has a further step
    tell the losses after the last one, and decides how many steps come next. The first call has no
    steps: it compiles. A run that has ended the level, or failed, brings no more chunks.

    Args:
      team: the runs.
      pause_every: if not 0, a run's chunk ends at every multiple of this many steps.
    """
    done, last = (np.array(each) for each in zip(*team.spans, strict=True))
    running = np.array(team.taking_part)
    failed, count = np.zeros_like(running), 0
    while running.any():
        counts = np.where(running, np.minimum(count, last - done), 0)
        if pause_every:
            counts = np.minimum(counts, pause_every - done % pause_every)
        tables, seconds = team.call(counts.tolist())
        chunks: list[Chunk | None] = [None] * len(tables)
        for number, (i, table) in enumerate(zip(team.own, tables, strict=True)):
            if running[i] and not failed[i]:
                chunks[number] = chunk = _chunk_of(*team.look(number), table, int(done[i]), seconds)
                failed[i] = bool(chunk.state.failed)
        done = done + counts
        if not team.in_step:
            running &= ~failed
        ending = running & (done >= last)
        if ending.any():
            chunks = _closed(team, chunks, ending & ~failed, done)
        yield chunks
        running &= ~ending
        most = int(counts.max())
        count = STEPS_A_CALL_IN_STEP if team.in_step else steps_a_call(most, seconds)


def _chunk_of(
    state: State, problem: Problem, table: NDArray[Any], before: int, seconds: float
) -> Chunk:
    """Returns what a call brought to a run with so many steps before."""
    rows = table[: int(state.step) - before + bool(state.failed)]
    losses = losses_in(rows, problem.program.terms)
    return Chunk(state, problem, before + 1, losses, rows[:, -1], seconds, None)


def _closed(
    team: Team,
    chunks: list[Chunk | None],
    ending: NDArray[np.bool_],
    done: NDArray[np.int64],
) -> list[Chunk | None]:
    """Returns the chunks, those of runs that end the level with its closing losses and state."""
    tables, _ = team.call(ending.astype(int).tolist())
    closed = list(chunks)
    for number, (i, chunk) in enumerate(zip(team.own, chunks, strict=True)):
        if chunk is None:
            continue
        if not ending[i]:  # what was seen of it was used up by this call, without a step
            closed[number] = chunk._replace(state=team.look(number)[0])
            continue
        losses = losses_in(tables[number][0], chunk.problem.program.terms)
        state = team.finish(number, step=int(done[i]))
        closed[number] = chunk._replace(state=state, closing=losses)
    return closed


def steps(problem: Problem, state: State, *, pause_every: int = 0) -> Iterator[Chunk]:
    """Runs the steps of one level and yields what every few of them brought.

    The first chunk has no steps: it says that the program is compiled. The state in a chunk is
    used up as soon as the next one is asked for. The last chunk's state has no optimizer state
    (unless it is carried), duals or average any more, see `finish_level`.

    Args:
      problem: from `make_problem`; it says how many steps there are.
      state: from `initial_state`, or from a chunk, to go on from there.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.

    Raises:
      DivergedError: after the chunk that ends with a step whose loss or gradient is not finite, or
        whose canvas has such a loss. The last good canvas is then `chunk.state.good`.
    """
    for (chunk,) in advance(Alone(problem, state), pause_every=pause_every):
        if chunk is not None:
            failure = chunk.failure
            yield chunk
            if failure is not None:
                raise failure


def compile_steps(problem: Problem, shape: tuple[int, ...]) -> Any:
    """Returns the executable that `steps` calls for canvases of a shape (H, W, 3).

    On one device. jax keeps it with the jitted function, so that later calls find it, from whatever
    thread. Instead of arrays the problem may have their shapes.
    """
    state = jax.eval_shape(
        lambda: with_program_state(initial_state(jnp.zeros(shape)), problem.program)
    )
    with _TRACING:
        lowered = _run_steps.lower(state, 0, problem)
    return lowered.compile()


_TRACING = threading.Lock()
"""Held while a thread traces: two that do so at once, in one interpreter, both end late."""


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
    del canvas
    _give_back_in_strips(problem)  # what making the canvas took
    _, table = _run_steps(state, 1, problem)
    losses = losses_in(np.asarray(table)[0], problem.program.terms)
    _give_back_in_strips(problem)  # before the picture is encoded
    return losses


def _give_back_in_strips(problem: Problem) -> None:
    """Gives freed memory back where memory counts more than the time to have it again."""
    if problem.program.memory == "strips":
        give_back()
