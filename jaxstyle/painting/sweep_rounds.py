"""Rounds of a sweep: as many variants as there are devices, or some times as many, in one program.

A round is painted from its variants' first step to their last. It is one program,
`jit(shard_map(...))` over the mesh axis "sweep", which is the modern form of `pmap`.

Why rounds, and not all variants of a device in one call (`lax.map` over N / devices of them): both
let a device walk through its variants one after another and need the memory of one, but with
rounds a result is there as soon as its variant ends, no other variant's state has to stay in
memory, and the program does not depend on how many variants there are: each level compiles once for
any grid. Nothing crosses from one device to another, so a variant's result is, bit for bit, what it
would be alone, and one that becomes NaN harms no other. How many steps a device does in a call is
data and its own: lanes without a variant, in the last round, do none.

A device that small pictures leave idle can have several variants at once: they are a batch of its
program (`vmap`), which rounds otherwise than a single run's, and takes as long as its longest.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.machine.devices import any_process
from jaxstyle.machine.placement import (
    EACH,
    SAME,
    copy_to_all,
    local_parts,
    part_on_device,
    some_on_each,
    sweep_mesh,
)
from jaxstyle.machine.worked_time import CLOCK
from jaxstyle.network.convolution import Kernels
from jaxstyle.optimization.optimizer import (
    State,
    finish_level,
    initial_state,
    with_program_state,
)
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import Team, run_steps
from jaxstyle.painting.engine import never, paint_lanes
from jaxstyle.painting.events import Event, RunRefused
from jaxstyle.painting.shared import Shared
from jaxstyle.painting.variants import Lane, Variant


def paint_in_rounds(
    group: Sequence[int],
    variants: Sequence[Variant],
    shared: Shared,
    devices: Sequence[jax.Device],
    *,
    at_once: int = 1,
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints the variants of one program in rounds and yields what happens.

    With several processes each yields what its own devices do.

    Args:
      group: indices of the variants, in the order in which they are painted.
      variants: all of the sweep.
      shared: what they share.
      devices: those of other processes too.
      at_once: how many variants each device has in a round.
      pause_every: see `engine.paint_lanes`.
      stop: asked after every call; if true, all variants end there. It must then stay true.
    """
    mesh = sweep_mesh(devices)
    places = [each for each in devices for _ in range(at_once)]
    own = [i for i, each in enumerate(places) if each.process_index == jax.process_index()]

    @functools.cache
    def kernels_at(number: int) -> Kernels:
        with jax.default_device(places[own[0]]):  # what is fastest depends on it
            kernels = shared.kernels_of(variants[group[0]], number)
        return copy_to_all(kernels, mesh)

    for start in range(0, len(group), len(places)):
        batch = list(group[start : start + len(places)])
        opened, refused = _opened(batch, variants, shared)
        yield from refused
        batch = [index for index in batch if index in opened]
        if not batch:
            continue
        filled = batch + batch[-1:] * (len(places) - len(batch))
        of_round = [opened[index] for index in filled]
        lanes = [
            _lane(filled[i], of_round[i], shared, places[i], idle=i >= len(batch)) for i in own
        ]
        given = of_round, len(batch), own, lanes, shared, mesh, kernels_at
        team_at = functools.partial(_team_at, *given)
        yield from paint_lanes(lanes, team_at, pause_every=pause_every, stop=stop)
        if stop():
            return


def _lane(number: int, variant: Variant, shared: Shared, device: jax.Device, *, idle: bool) -> Lane:
    levels = shared.levels_of(variant)
    return Lane(number=number, variant=variant, levels=levels, device=device, idle=idle)


def _opened(
    batch: Sequence[int], variants: Sequence[Variant], shared: Shared
) -> tuple[dict[int, Variant], list[Event]]:
    """Returns by index the variants whose files every process can read, and what else there is."""
    opened, errors = {}, {}
    for index in batch:
        try:
            opened[index] = shared.opened(variants[index])
        except InputError as error:
            errors[index] = error
    refused = any_process([index in errors for index in batch])
    elsewhere = InputError("another process cannot read its pictures")
    told: list[Event] = []
    for index, is_refused in zip(batch, refused, strict=True):
        if is_refused:
            opened.pop(index, None)
            told.append(RunRefused(index, errors.get(index, elsewhere)))
    return opened, told


def _team_at(
    variants: Sequence[Variant],
    used: int,
    own: Sequence[int],
    lanes: Sequence[Lane],
    shared: Shared,
    mesh: Mesh,
    kernels_at: Callable[[int], Kernels],
    number: int,
) -> Team | None:
    """Returns what does the steps of a level of a round, all of whose variants are given.

    Args:
      variants: by lane, those of other processes too.
      used: how many of them are not just repetitions that fill the round.
      own: this process's lanes.
      lanes: likewise.
      shared: what the variants share.
      mesh: the devices.
      kernels_at: returns a level's kernels, on all devices.
      number: of the level, from 0.
    """
    in_step = jax.process_count() > 1
    spans, taking_part = [], np.arange(len(variants)) < used
    for variant in variants:
        level = shared.levels_of(variant)[number]
        spans.append((level.first_step, level.first_step + level.steps))
    states = []
    for i, lane in zip(own, lanes, strict=True):
        has_steps = not (lane.idle or lane.failure is not None or lane.is_behind(number))
        states.append(lane.begin_level(number) if has_steps else _no_state(lane, number))
        spans[i] = (int(states[-1].step), spans[i][1])
        taking_part[i] &= has_steps or in_step
    if not taking_part.any():
        return None
    return OnEach(
        problems=[shared.problem_of(lane.variant, number) for lane in lanes],
        states=states,
        kernels=kernels_at(number),
        mesh=mesh,
        spans=spans,
        taking_part=taking_part.tolist(),
        own=own,
    )


def _no_state(lane: Lane, number: int) -> State:
    """Returns the state of a lane without steps at a level, for the program's sake."""
    level = lane.levels[number]
    return initial_state(jnp.zeros(level.content.shape), step=level.first_step)


class OnEach:
    """Runs of one program, as many on each device: a `Team` in a single program."""

    def __init__(
        self,
        *,
        problems: Sequence[Problem],
        states: Sequence[State],
        kernels: Kernels,
        mesh: Mesh,
        spans: Sequence[tuple[int, int]],
        taking_part: Sequence[bool],
        own: Sequence[int],
    ) -> None:
        """Takes this process's problems, without kernels, and states, and what a `Team` has.

        Of the kernels every device has a copy already.
        """
        self.spans, self.taking_part, self.own = spans, taking_part, own
        self.in_step = jax.process_count() > 1
        program = problems[0].program
        ready = [with_program_state(state, program) for state in states]
        self._problems, self._mesh = problems, mesh
        self._problem = dataclasses.replace(some_on_each(problems, mesh), kernels=kernels)
        self._state = some_on_each(ready, mesh)

    def call(self, counts: Sequence[int]) -> tuple[list[NDArray[Any]], float]:
        """Does of every run its own count of steps."""
        started = CLOCK.seconds()
        given: Any = some_on_each([np.int32(counts[i]) for i in self.own], self._mesh)
        self._state, table = run_steps_on_each(self._state, given, self._problem, self._mesh)
        return local_parts(table), CLOCK.seconds() - started

    def look(self, number: int) -> tuple[State, Problem]:
        """Returns a run's state, whose pictures are fetched when they are looked at."""
        return part_on_device(self._state, number), self._problems[number]

    def finish(self, number: int, *, step: int) -> State:
        """Returns the state that ends a run's level."""
        carry = self._problems[number].program.carry
        return finish_level(part_on_device(self._state, number), step=step, carry=carry)


def run_steps_on_each(
    state: State, counts: jax.Array, problem: Problem, mesh: Mesh
) -> tuple[State, jax.Array]:
    """Does of every run its own count of steps of its own problem, see `stepping`.

    Args:
      state: as many on each device; donated.
      counts: (runs,).
      problem: likewise, except for its kernels, of which each device has a copy.
      mesh: the devices.

    Returns:
      The states, and each run's table of losses.
    """
    rest = dataclasses.replace(problem, kernels={})
    result: tuple[State, jax.Array] = steps_on_each(mesh)(state, counts, problem.kernels, rest)
    return result


@functools.cache
def steps_on_each(mesh: Mesh) -> Any:
    """Returns what `run_steps_on_each` calls: (state, counts, kernels, rest of the problem).

    It is jitted, and compiles once for each program and size.
    """

    def own(state: State, counts: jax.Array, kernels: Kernels, rest: Problem) -> Any:
        def one(state: State, count: jax.Array, rest: Problem) -> Any:
            return run_steps(state, count, dataclasses.replace(rest, kernels=kernels))

        if len(counts) > 1:
            return jax.vmap(one)(state, counts, rest)
        alone = jax.tree.map(lambda leaf: leaf[0], (state, counts, rest))
        return jax.tree.map(lambda leaf: leaf[None], one(*alone))

    inputs = (EACH, EACH, SAME, EACH)
    # what does not vary over the devices is not tracked: no value is ever combined across them
    mapped = jax.shard_map(own, mesh=mesh, in_specs=inputs, out_specs=EACH, check_vma=False)
    each, same = NamedSharding(mesh, EACH), NamedSharding(mesh, SAME)
    # fixed, so that a state that comes back is no other kind of argument, which would compile again
    given = (each, each, same, each)
    return jax.jit(mapped, donate_argnums=0, in_shardings=given, out_shardings=each)
