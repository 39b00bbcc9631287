"""Many variants of a run, on all devices, in one program.

Variants whose network, layers and sizes agree form a group. A group is painted in *rounds*: as
many variants as there are devices, one on each, from their first step to their last. A round is one
program, `jit(shard_map(...))` over the mesh axis "sweep", which is the modern form of `pmap`.

Why rounds, and not all variants of a device in one call (`lax.map` over N / devices of them): both
let a device walk through its variants one after another and need the memory of one, but with
rounds a result is there as soon as its variant ends, no other variant's state has to stay in
memory, and the program does not depend on how many variants there are: each level compiles once for
any grid. Nothing crosses from one device to another, so a variant's result is, bit for bit, what it
would be alone, and one that becomes NaN harms no other. How many steps a device does in a call is
data and its own: lanes without a variant, in the last round, do none.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import Picture, as_picture
from jaxstyle.losses.terms import Losses
from jaxstyle.machine.placement import (
    EACH,
    SAME,
    copy_to_all,
    local_parts,
    local_trees,
    one_on_each,
    sweep_mesh,
)
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.optimizer import State, finish_level, with_program_state
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import losses_in, run_steps, steps_a_call
from jaxstyle.painting.level import kernels_at
from jaxstyle.painting.painter import check_params, first_canvas
from jaxstyle.painting.variants import Lane, Result, Shared, Variant, groups, make_shared
from jaxstyle.settings.presets import preset, with_default_hyper
from jaxstyle.settings.recipe import Hyperparams, Recipe, validate

STEPS_A_CALL_TOGETHER = 10
"""With several processes, which must all make the same calls, however fast each of them is."""


class Tick(NamedTuple):
    """What one call on the devices brought."""

    running: tuple[tuple[int, int, float], ...]
    """Index, steps so far and latest total loss of every variant on this process's devices."""
    pixel_steps: int
    """Steps done in this call times the canvas's pixels, summed over this process's variants."""
    seconds: float
    finished: tuple[Result, ...]


class _Round(NamedTuple):
    """A round: a variant for every device of the mesh."""

    mesh: Mesh
    kernels_of: Callable[[int], Kernels]
    """Returns the kernels of a level, by its number, on every device."""
    variants: list[Variant]
    """One for each lane of the mesh, those of other processes too."""
    used: int
    """How many of them are not just repetitions that fill the round."""
    here: list[int]
    """Indices of this process's lanes in the mesh."""
    lanes: list[Lane]
    """This process's."""


def paint_variants(
    params: Params, variants: Sequence[Variant], *, devices: Sequence[jax.Device]
) -> Iterator[Tick]:
    """Paints all variants, those of one program and size after another, and yields as it goes.

    With several processes each must be given the same variants and all processes' devices; each
    yields what its own devices did.

    Args:
      params: the network's weights, from `load_weights`.
      variants: in any order.
      devices: to use; a group of fewer variants uses only as many.

    Raises:
      InputError: pictures too small or layers that the weights lack; before the first step.
    """
    shared = make_shared(params, variants, keep=len(devices))
    for group in groups(params, variants, shared.levels_of):
        few = len(group) if jax.process_count() == 1 else len(devices)
        mesh = sweep_mesh(devices[:few])
        kernels_of = _kernels_by_level(params, variants[group[0]], shared, mesh)
        for start in range(0, len(group), mesh.size):
            batch = [(index, variants[index]) for index in group[start : start + mesh.size]]
            yield from _paint_round(_begin_round(batch, shared, mesh, kernels_of), shared)


def _kernels_by_level(
    params: Params, variant: Variant, shared: Shared, mesh: Mesh
) -> Callable[[int], Kernels]:
    """Returns what gives the kernels for a level of a group, prepared once for all its variants."""
    recipe, levels = variant.recipe, shared.levels_of(variant)
    params = params_up_to(params, recipe.content_layers + recipe.style_layers)

    @functools.cache
    def kernels_of(number: int) -> Kernels:
        with jax.default_device(mesh.local_devices[0]):  # what is fastest depends on it
            kernels = kernels_at(levels[number], params, recipe=recipe)
        return copy_to_all(kernels, mesh)

    return kernels_of


def _begin_round(
    batch: list[tuple[int, Variant]],
    shared: Shared,
    mesh: Mesh,
    kernels_of: Callable[[int], Kernels],
) -> _Round:
    """Gives every device a variant, the last one again where there are too few."""
    filled = batch + batch[-1:] * (mesh.size - len(batch))
    here = [
        i for i, each in enumerate(mesh.devices.flat) if each.process_index == jax.process_index()
    ]
    lanes = [
        _begin_lane(*filled[i], shared, device, idle=i >= len(batch))
        for i, device in zip(here, mesh.local_devices, strict=True)
    ]
    return _Round(mesh, kernels_of, [variant for _, variant in filled], len(batch), here, lanes)


def _begin_lane(
    index: int, variant: Variant, shared: Shared, device: jax.Device, *, idle: bool
) -> Lane:
    levels = shared.levels_of(variant)
    resampling = variant.recipe.resampling
    canvas = first_canvas(levels[0], init=variant.init, seed=variant.seed, resampling=resampling)
    return Lane(index, variant, levels, device, idle, canvas)


def _paint_round(work: _Round, shared: Shared) -> Iterator[Tick]:
    all_levels = [shared.levels_of(variant) for variant in work.variants]
    for number, _ in enumerate(all_levels[0]):
        steps = [levels[number].steps for levels in all_levels]
        remaining = np.where(np.arange(work.mesh.size) < work.used, steps, 0)
        yield from _paint_level(work, shared, number, remaining)


def _paint_level(
    work: _Round, shared: Shared, number: int, remaining: NDArray[np.int64]
) -> Iterator[Tick]:
    """Paints one level of a round; `remaining` has each lane's number of steps."""
    together = jax.process_count() > 1
    problems = [shared.problem_of(lane.variant, number) for lane in work.lanes]
    problem = dataclasses.replace(one_on_each(problems, work.mesh), kernels=work.kernels_of(number))
    states = [with_program_state(lane.begin_level(number), problem.program) for lane in work.lanes]
    state = one_on_each(states, work.mesh)
    unclosed = remaining > 0
    if not together:
        remaining = remaining * [not lane.over for lane in work.lanes]
    call = 0  # the first call only compiles
    while True:
        counts = np.minimum(call, remaining)
        started = time.perf_counter()
        state, table = run_steps_on_each(state, _counts_on_each(counts, work), problem, work.mesh)
        losses = _losses_of_each(table, problem)
        seconds = time.perf_counter() - started
        remaining = remaining - counts
        pixel_steps = _note(work, unclosed, state, losses, seconds if call else 0.0)
        if not together:
            remaining = remaining * [not lane.over for lane in work.lanes]
        ending = unclosed & (remaining == 0)
        if ending.any():
            state = _close(work, state, problem, ending)
        unclosed &= ~ending
        last = number == len(work.lanes[0].levels) - 1
        yield _tick(work, pixel_steps, seconds, unclosed | (not last))
        if not remaining.any():
            return
        call = STEPS_A_CALL_TOGETHER if together else steps_a_call(call, seconds)
        call = min(call, int(remaining.max()))


def _counts_on_each(counts: NDArray[np.int64], work: _Round) -> jax.Array:
    return one_on_each([np.int32(counts[i]) for i in work.here], work.mesh)  # type: ignore[return-value]


def _note(
    work: _Round,
    unclosed: NDArray[np.bool_],
    state: State,
    losses: list[Losses],
    seconds: float,
) -> int:
    """Notes a call's steps in the lanes still at this level; returns how many pixels changed."""
    steps, failures = local_parts(state.step), local_parts(state.failed)
    pixels = 0
    for i, lane in enumerate(work.lanes):
        if lane.over or not unclosed[work.here[i]]:
            continue
        good_rows = int(steps[i]) - lane.steps_done
        pixels += good_rows * int(np.prod(state.canvas.shape[-3:-1]))
        lane.take(losses[i][:good_rows], seconds)
        if failures[i]:
            lane.fail(local_parts(state.good)[i], losses[i][good_rows])
    return pixels


def _losses_of_each(table: jax.Array, problem: Problem) -> list[Losses]:
    """Returns what each of this process's devices found in a call."""
    return [losses_in(each, problem.program.terms) for each in local_parts(table)]


def _close(work: _Round, state: State, problem: Problem, ending: NDArray[np.bool_]) -> State:
    """Finds the losses after the last step of the lanes that end this level, by a further one."""
    counts = _counts_on_each(ending.astype(np.int64), work)
    state, table = run_steps_on_each(state, counts, problem, work.mesh)
    found = _losses_of_each(table, problem)
    lanes = zip(work.here, work.lanes, local_trees(state), found, strict=True)
    for i, lane, after, losses in lanes:
        if ending[i] and not lane.over:
            lane.end_level(finish_level(after, step=lane.steps_done), losses[0])
    return state


def _tick(work: _Round, pixel_steps: int, seconds: float, unfinished: NDArray[np.bool_]) -> Tick:
    """Returns what a call brought; lanes that have just ended give their results."""
    own = [(i, lane) for i, lane in zip(work.here, work.lanes, strict=True) if not lane.idle]
    running = tuple((lane.number, lane.steps_done, float(lane.latest().total)) for _, lane in own)
    ended = [p for i, p in own if not p.reported and (p.failure is not None or not unfinished[i])]
    for lane in ended:
        lane.reported = True
    return Tick(running, pixel_steps, seconds, tuple(lane.result() for lane in ended))


def sweep(
    params: Params,
    content: Any,
    styles: Any,
    *,
    recipe: Recipe | Sequence[Recipe] | None = None,
    hypers: Hyperparams | Sequence[Hyperparams] | None = None,
    init: Any = "content",
    seeds: int | Sequence[int] = 0,
    devices: Sequence[jax.Device] | None = None,
    report: Callable[[Tick], None] | None = None,
) -> Iterator[Result]:
    """Paints many variants of a run and yields each result as soon as it is there.

    Every argument up to `seeds` is one value for all variants, or a list with one for each; lists
    are of equal length, so for a grid use `itertools.product`. Variants that differ in pictures of
    equal size, style pictures of any size, hyperparameters, steps or seed share one compilation.

        hypers = [jaxstyle.preset(style_weight=w)[1] for w in (1e3, 1e4, 1e5)]
        for result in jaxstyle.sweep(params, content, style, hypers=hypers):
            print(hypers[result.number].style_weight, result.losses.total)

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8 or floating point in [0, 1].
      styles: likewise, of any size.
      recipe: what a run does; `preset("default")` if not given.
      hypers: the hyperparameters; likewise.
      init: what the canvas is at first, see `stylize`.
      seeds: of the noise.
      devices: to use; by default all local devices.
      report: called after every few steps.

    Yields:
      Results, in the order in which they end. A variant whose loss becomes NaN has a `failure`
      and its last good picture; it does not disturb the others.

    Raises:
      InputError: parameters, a setting or a picture that cannot be used; before the first step.
    """
    check_params(params)
    variants = _variants(content, styles, recipe, hypers, init, seeds)
    for tick in paint_variants(params, variants, devices=devices or jax.local_devices()):
        if report is not None:
            report(tick)
        yield from tick.finished


def _variants(
    content: Any, styles: Any, recipe: Any, hypers: Any, init: Any, seeds: Any
) -> list[Variant]:
    """Returns one variant per entry of the lists among the arguments."""
    given = {
        "content": content,
        "styles": styles,
        "recipe": preset()[0] if recipe is None else recipe,
        "hypers": [None] if hypers is None else hypers,
        "init": init,
        "seeds": seeds,
    }
    lists = {name: value for name, value in given.items() if isinstance(value, list | tuple)}
    lengths = {name: len(value) for name, value in lists.items() if len(value) != 1}
    count = next(iter(lengths.values()), 1)
    if count == 0 or set(lengths.values()) - {count}:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"the lists of a sweep must be of one length, not empty; got {told}")
    rows = [
        [value[i if len(value) > 1 else 0] if name in lists else value for i in range(count)]
        for name, value in given.items()
    ]
    pictures: dict[int, Picture] = {}  # one conversion, and one identity, per picture

    def converted(array: Any, name: str) -> Picture:
        return pictures.setdefault(id(array), as_picture(array, name=name))

    variants = []
    for one_content, one_style, one_recipe, one_hyper, one_init, seed in zip(*rows, strict=True):
        if one_hyper is None:
            one_recipe, one_hyper = with_default_hyper(one_recipe)
        validate(one_recipe, one_hyper)
        pair = converted(one_content, "content"), converted(one_style, "style")
        variants.append(Variant(*pair, one_recipe, one_hyper, one_init, seed))
    return variants


def run_steps_on_each(
    state: State, counts: jax.Array, problem: Problem, mesh: Mesh
) -> tuple[State, jax.Array]:
    """Does on every device its own count of steps of its own problem, see `stepping`.

    Args:
      state: one on each device; donated.
      counts: (devices,), or () for one device.
      problem: one on each device, except for its kernels, of which each has a copy.
      mesh: the devices.

    Returns:
      The states, and each device's table of losses.
    """
    if mesh.size == 1:
        alone: tuple[State, jax.Array] = run_steps(state, int(counts), problem)
        return alone
    rest = dataclasses.replace(problem, kernels={})
    result: tuple[State, jax.Array] = steps_on_each(mesh)(state, counts, problem.kernels, rest)
    return result


@functools.cache
def steps_on_each(mesh: Mesh) -> Any:
    """Returns what `run_steps_on_each` calls: (state, counts, kernels, rest of the problem).

    It is jitted, and compiles once for each program and size.
    """

    def one(state: State, counts: jax.Array, kernels: Kernels, rest: Problem) -> Any:
        state, count, rest = jax.tree.map(lambda leaf: leaf[0], (state, counts, rest))
        problem = dataclasses.replace(rest, kernels=kernels)
        return jax.tree.map(lambda leaf: leaf[None], run_steps(state, count, problem))

    inputs = (EACH, EACH, SAME, EACH)
    # what does not vary over the devices is not tracked: no value is ever combined across them
    mapped = jax.shard_map(one, mesh=mesh, in_specs=inputs, out_specs=EACH, check_vma=False)
    each, same = NamedSharding(mesh, EACH), NamedSharding(mesh, SAME)
    # fixed explicitly: on one device the states that come back would otherwise compile it again
    given = (each, each, same, each)
    return jax.jit(mapped, donate_argnums=0, in_shardings=given, out_shardings=each)
