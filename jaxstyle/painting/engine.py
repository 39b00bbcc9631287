"""The loop over levels: runs, one or several at a time, from their first step to their last.

What happens is yielded as events. Threads compile later levels while earlier ones are compiled and
painted.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import jax
import numpy as np

from jaxstyle.machine.process import THREADS_AHEAD, give_back
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import Alone, Chunk, Team, advance, compile_steps
from jaxstyle.painting.events import (
    CallDone,
    Event,
    LevelBegun,
    LevelEnded,
    RunEnded,
    StepsDone,
)
from jaxstyle.painting.level import Level
from jaxstyle.painting.variants import Lane

TIMES_THE_PIXELS = 3
"""How many times as many pixels the next level must have to be prepared while one is painted."""

_T = TypeVar("_T")


def never() -> bool:
    """Says that nobody wants the run to stop."""
    return False


def paint_lanes(
    lanes: Sequence[Lane],
    team_at: Callable[[int], Team | None],
    *,
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints runs of equally many levels, level by level, and yields what happens.

    Args:
      lanes: this process's.
      team_at: returns what does the steps of a level, by its number from 0, for these lanes; None
        if none has steps there.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.
      stop: asked after every call, once its events were seen; if true, all runs end there.
    """
    for number, _ in enumerate(lanes[0].levels):
        team = team_at(number)
        if team is None:
            continue
        mine = [lane for lane, i in zip(lanes, team.own, strict=True) if team.taking_part[i]]
        for lane in mine:
            yield LevelBegun(lane.number, lane.levels[number], lane)
        for chunks in advance(team, pause_every=pause_every):
            told = [
                (lane, each) for lane, each in zip(lanes, chunks, strict=True) if each is not None
            ]
            for lane, chunk in told:
                yield from _brought(lane, chunk, number)
            yield _call_done(lanes, [chunk for _, chunk in told])
            if stop():
                yield from _interrupted(lanes, number)
                return


def _brought(lane: Lane, chunk: Chunk, number: int) -> Iterator[Event]:
    """Yields what a chunk of a lane means."""
    if not len(chunk.learning_rate):  # it was compiled
        give_back()
    lane.take(chunk)
    yield StepsDone(lane.number, chunk, lane)
    if lane.failure is not None:
        yield RunEnded(lane.number, "diverged", lane)
    elif chunk.closing is not None and lane.finished is not None:
        yield LevelEnded(lane.number, lane.levels[number], lane.finished)
        if number == len(lane.levels) - 1:
            yield RunEnded(lane.number, "finished", lane)


def _interrupted(lanes: Sequence[Lane], number: int) -> Iterator[Event]:
    """Yields the end of all lanes that have not ended, in the midst of a level."""
    for lane in lanes:
        at_end = lane.chunk is not None and lane.chunk.closing is not None
        ended = lane.failure is not None or (at_end and number == len(lane.levels) - 1)
        if not (lane.idle or ended):
            yield RunEnded(lane.number, "interrupted", lane)


def _call_done(lanes: Sequence[Lane], chunks: Sequence[Chunk]) -> CallDone:
    running = tuple(
        (lane.number, lane.steps_done, lane.latest_total) for lane in lanes if not lane.idle
    )
    good = [
        (int(each.state.step) - each.first_step + 1) * int(np.prod(each.state.canvas.shape[:2]))
        for each in chunks
    ]
    return CallDone(running, sum(good), max((each.seconds for each in chunks), default=0.0))


def paint_alone(
    lane: Lane,
    make: Callable[..., Problem],
    *,
    ahead: bool,
    first: Callable[[], Problem] | None = None,
    shapes: Callable[[Level], Problem] | None = None,
    at_last: Callable[[Problem], None] = lambda _: None,
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints a run by itself.

    Args:
      lane: the run.
      make: returns the problem of a level; `like` are kernels of which it may take some.
      ahead: whether threads may make and compile levels that come later.
      first: returns the problem of the first level that is painted, if it is made already.
      shapes: returns the problem of a level with shapes for arrays: a thread then compiles the
        first level while it is made, if it is small beside the next.
      at_last: is called with the problem of the last level before its steps.
      pause_every: see `paint_lanes`.
      stop: likewise.
    """
    todo = [each for i, each in enumerate(lane.levels) if not lane.is_behind(i)]
    problems = _problems(todo, make, ahead=ahead, first=first, shapes=shapes, at_last=at_last)

    def team_at(number: int) -> Team | None:
        if lane.failure is not None or lane.is_behind(number):
            return None
        problem = next(problems)
        give_back()  # what its targets took need not lie beside what the compiler takes
        return Alone(problem, lane.begin_level(number))

    return paint_lanes([lane], team_at, pause_every=pause_every, stop=stop)


def _problems(
    todo: Sequence[Level],
    make: Callable[..., Problem],
    *,
    ahead: bool,
    first: Callable[[], Problem] | None,
    shapes: Callable[[Level], Problem] | None,
    at_last: Callable[[Problem], None],
) -> Iterator[Problem]:
    """Yields the problem of every level in turn.

    If `ahead`, threads make and compile the later ones from the start, one after another, as long
    as each level is small beside the next: the second is compiled while the first one is, the
    third while these are painted.
    """
    if not todo:
        return
    wait = None
    if shapes is not None and len(todo) > 1 and is_small_beside(*todo[:2]):
        wait = in_background(partial(_compiled, shapes, todo[0]))
    waiting = [_given(make(todo[0]) if first is None else first())]
    for level, after in itertools.pairwise(todo):
        if not (ahead and is_small_beside(level, after)):
            break
        waiting.append(in_background(partial(made_and_compiled, waiting[-1], make, after)))
    rest = todo[len(waiting) :]
    if wait is not None:
        wait()
    while waiting:  # a problem that was painted is not kept
        problem = waiting.pop(0)()
        if not (waiting or rest):
            at_last(problem)
        yield problem
    for level in rest:
        problem = make(level, like=problem.kernels if ahead else None)
        if level is rest[-1]:
            at_last(problem)
        yield problem


def _compiled(shapes: Callable[[Level], Problem], level: Level) -> None:
    compile_steps(shapes(level), level.content.shape)


def _given(value: _T) -> Callable[[], _T]:
    return lambda: value


def made_and_compiled(
    before: Callable[[], Problem], make: Callable[..., Problem], level: Level
) -> Problem:
    """Returns the problem of a level, once the one before is made, and has its steps compiled."""
    problem = make(level, like=before().kernels)
    compile_steps(problem, level.content.shape)
    return problem


def is_small_beside(level: Level, other: Level) -> bool:
    """Whether both levels together need no more memory than the other will by itself."""
    return TIMES_THE_PIXELS * level.content.size <= other.content.size


def in_background(call: Callable[[], _T]) -> Callable[[], _T]:
    """Has a thread do a call, and returns a function that waits for its result or raises its error.

    jax's default device is that of the caller. At exit Python waits for this thread, since an XLA
    compilation cannot be cancelled; the command line exits without waiting.
    """
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # a thread begins without

    def work() -> _T:
        with jax.default_device(device):
            return call()

    threads = ThreadPoolExecutor(1, THREADS_AHEAD)
    future = threads.submit(work)
    threads.shutdown(wait=False)
    return future.result
