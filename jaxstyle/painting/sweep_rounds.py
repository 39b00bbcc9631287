"""Many settings, on every device there is, in one program.

Settings whose network, layers and sizes agree form a group. A group is painted in *rounds*: as
many settings as there are devices, one on each, from their first step to their last. A round is one
program, `jit(shard_map(...))` over the mesh axis "sweep", which is the modern form of `pmap`.

Why rounds, and not all settings of a device in one call (`lax.map` over N / devices of them): both
let a device walk through its settings one after another and need the memory of one, but with
rounds a result is there as soon as its setting ends, the states of all others need not lie about,
and the program does not depend on how many settings there are: each size compiles once for any
grid. Nothing crosses from one device to another, so a setting's result is, bit for bit, what it
would be alone, and one that becomes NaN harms no other. How many steps a device does in a call is
data and its own: places without a setting, in the last round, do none.
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
from jaxstyle.machine.placement import (
    EACH,
    SAME,
    copy_to_all,
    local_parts,
    local_trees,
    spread,
    sweep_mesh,
)
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.vgg import needed
from jaxstyle.optimization import stepping
from jaxstyle.optimization.optimizer import State, closed, ready
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import _steps_a_call
from jaxstyle.painting.level import kernels_at
from jaxstyle.painting.painter import _check_params, first_canvas
from jaxstyle.painting.variants import Place, Result, Setting, Workshop, groups, workshop
from jaxstyle.settings.presets import change, preset
from jaxstyle.settings.recipe import Hyperparams, Recipe, validate

STEPS_A_CALL_TOGETHER = 10
"""With several processes, which must all make the same calls, however fast each of them is."""


class Tick(NamedTuple):
    """What one call on the devices brought."""

    running: tuple[tuple[int, int, float], ...]
    """By setting on this process's devices: its index, its steps so far, its latest total loss."""
    pixel_steps: int
    """Steps done in this call times the canvas's pixels, over this process's settings."""
    seconds: float
    finished: tuple[Result, ...]


class _Round(NamedTuple):
    """A round: a setting for every device of the mesh."""

    mesh: Mesh
    kernels_of: Callable[[int], Kernels]
    """The kernels of the size of a number, on every device."""
    settings: list[Setting]
    """One for each place of the mesh, those of other processes too."""
    used: int
    """How many of them are not just repetitions that fill the round."""
    here: list[int]
    """The numbers of the places that are this process's."""
    places: list[Place]
    """This process's."""


def paint_settings(
    params: Params, settings: Sequence[Setting], *, devices: Sequence[jax.Device]
) -> Iterator[Tick]:
    """Paints all settings, those of one program and size after another, and yields as it goes.

    With several processes each must be given the same settings and all processes' devices; each
    yields what its own devices did.

    Args:
      params: the network's weights, from `load_weights`.
      settings: in any order.
      devices: to use; a group of fewer settings uses only as many.

    Raises:
      InputError: pictures too small or layers that the weights lack; before the first step.
    """
    shop = workshop(params, settings, keep=len(devices))
    for group in groups(params, settings, shop.levels_of):
        few = len(group) if jax.process_count() == 1 else len(devices)
        mesh = sweep_mesh(devices[:few])
        kernels_of = _kernels_by_size(params, settings[group[0]], shop, mesh)
        for start in range(0, len(group), mesh.size):
            batch = [(index, settings[index]) for index in group[start : start + mesh.size]]
            yield from _paint_round(_begin_round(batch, shop, mesh, kernels_of), shop)


def _kernels_by_size(
    params: Params, setting: Setting, shop: Workshop, mesh: Mesh
) -> Callable[[int], Kernels]:
    """Returns what gives the kernels for a size of a group, prepared once for all its settings."""
    recipe, plan = setting.recipe, shop.levels_of(setting)
    params = needed(params, recipe.content_layers + recipe.style_layers)

    @functools.cache
    def kernels_of(number: int) -> Kernels:
        with jax.default_device(mesh.local_devices[0]):  # what is fastest depends on it
            kernels = kernels_at(plan[number], params, recipe=recipe)
        return copy_to_all(kernels, mesh)

    return kernels_of


def _begin_round(
    batch: list[tuple[int, Setting]],
    shop: Workshop,
    mesh: Mesh,
    kernels_of: Callable[[int], Kernels],
) -> _Round:
    """Gives every device a setting, the last one again where there are too few."""
    filled = batch + batch[-1:] * (mesh.size - len(batch))
    here = [
        i for i, each in enumerate(mesh.devices.flat) if each.process_index == jax.process_index()
    ]
    places = [
        _begin_place(*filled[i], shop, device, idle=i >= len(batch))
        for i, device in zip(here, mesh.local_devices, strict=True)
    ]
    return _Round(mesh, kernels_of, [setting for _, setting in filled], len(batch), here, places)


def _begin_place(
    index: int, setting: Setting, shop: Workshop, device: jax.Device, *, idle: bool
) -> Place:
    plan = shop.levels_of(setting)
    resampling = setting.recipe.resampling
    canvas = first_canvas(plan[0], init=setting.init, seed=setting.seed, resampling=resampling)
    return Place(index, setting, plan, device, idle, canvas)


def _paint_round(work: _Round, shop: Workshop) -> Iterator[Tick]:
    plans = [shop.levels_of(setting) for setting in work.settings]
    for number, _ in enumerate(plans[0]):
        steps = [plan[number].steps for plan in plans]
        remaining = np.where(np.arange(work.mesh.size) < work.used, steps, 0)
        yield from _paint_size(work, shop, number, remaining)


def _paint_size(
    work: _Round, shop: Workshop, number: int, remaining: NDArray[np.int64]
) -> Iterator[Tick]:
    """Paints one size of a round; `remaining` has each place's number of steps."""
    together = jax.process_count() > 1
    problems = [shop.problem_of(place.setting, number) for place in work.places]
    problem = dataclasses.replace(spread(problems, work.mesh), kernels=work.kernels_of(number))
    states = [ready(place.begin(number), problem.program) for place in work.places]
    state = spread(states, work.mesh)
    unclosed = remaining > 0
    if not together:
        remaining = remaining * [not place.over for place in work.places]
    call = 0  # the first call only compiles
    while True:
        counts = np.minimum(call, remaining)
        started = time.perf_counter()
        state, table = run_steps(state, _spread_counts(counts, work), problem, work.mesh)
        tables = local_parts(table)
        seconds = time.perf_counter() - started
        remaining = remaining - counts
        pixel_steps = _note(work, unclosed, state, tables, seconds if call else 0.0)
        if not together:
            remaining = remaining * [not place.over for place in work.places]
        ending = unclosed & (remaining == 0)
        if ending.any():
            state = _close(work, state, problem, ending)
        unclosed &= ~ending
        last = number == len(work.places[0].plan) - 1
        yield _tick(work, pixel_steps, seconds, unclosed | (not last))
        if not remaining.any():
            return
        call = STEPS_A_CALL_TOGETHER if together else _steps_a_call(call, seconds)
        call = min(call, int(remaining.max()))


def _spread_counts(counts: NDArray[np.int64], work: _Round) -> jax.Array:
    return spread([np.int32(counts[i]) for i in work.here], work.mesh)  # type: ignore[return-value]


def _note(
    work: _Round,
    unclosed: NDArray[np.bool_],
    state: State,
    tables: list[NDArray[Any]],
    seconds: float,
) -> int:
    """Notes a call's steps in the places still at this size; returns how many pixels changed."""
    steps, failures = local_parts(state.step), local_parts(state.failed)
    pixels = 0
    for i, place in enumerate(work.places):
        if place.over or not unclosed[work.here[i]]:
            continue
        good_rows = int(steps[i]) - place.steps_done
        pixels += good_rows * int(np.prod(state.canvas.shape[-3:-1]))
        place.take(tables[i][:good_rows], seconds)
        if failures[i]:
            place.fail(local_parts(state.good)[i], tables[i][good_rows])
    return pixels


def _close(work: _Round, state: State, problem: Problem, ending: NDArray[np.bool_]) -> State:
    """Finds the losses after the last step of the places that end this size, by a further one."""
    counts = _spread_counts(ending.astype(np.int64), work)
    state, table = run_steps(state, counts, problem, work.mesh)
    places = zip(work.here, work.places, local_trees(state), local_parts(table), strict=True)
    for i, place, after, closing in places:
        if ending[i] and not place.over:
            place.close(closed(after, step=place.steps_done), closing[0, :4])
    return state


def _tick(work: _Round, pixel_steps: int, seconds: float, unfinished: NDArray[np.bool_]) -> Tick:
    """Returns what a call brought; places that have just ended give their results."""
    own = [(i, place) for i, place in zip(work.here, work.places, strict=True) if not place.idle]
    running = tuple(
        (place.number, place.steps_done, float(place.rows[-1][3]) if place.rows else np.nan)
        for _, place in own
    )
    ended = [p for i, p in own if not p.reported and (p.failure is not None or not unfinished[i])]
    for place in ended:
        place.reported = True
    return Tick(running, pixel_steps, seconds, tuple(place.result() for place in ended))


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
    """Paints many settings and yields each result as soon as it is there.

    Every argument up to `seeds` is one value for all settings, or a list with one for each; lists
    are of equal length, so for a grid use `itertools.product`. Settings that differ in pictures of
    equal size, style pictures of any size, hyperparameters, steps or seed share one compilation.

        hypers = [jaxstyle.preset(style_weight=w)[1] for w in (1e3, 1e4, 1e5)]
        for result in jaxstyle.sweep(params, content, style, hypers=hypers):
            print(hypers[result.number].style_weight, result.losses.total)

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8 or floating point in [0, 1].
      styles: likewise, of any size.
      recipe: the settings that decide the program; `preset("default")` if not given.
      hypers: the settings that decide the numbers; likewise.
      init: what the canvas is at first, see `stylize`.
      seeds: of the noise.
      devices: to use; by default all local devices.
      report: called after every few steps.

    Yields:
      Results, in the order in which they end. A setting whose loss becomes NaN has a `failure`
      and its last good picture; it does not disturb the others.

    Raises:
      InputError: parameters, a setting or a picture that cannot be used; before the first step.
    """
    _check_params(params)
    settings = _settings(content, styles, recipe, hypers, init, seeds)
    for tick in paint_settings(params, settings, devices=devices or jax.local_devices()):
        if report is not None:
            report(tick)
        yield from tick.finished


def _settings(
    content: Any, styles: Any, recipe: Any, hypers: Any, init: Any, seeds: Any
) -> list[Setting]:
    """Returns one setting per entry of the lists among the arguments."""
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

    settings = []
    for one_content, one_style, one_recipe, one_hyper, one_init, seed in zip(*rows, strict=True):
        if one_hyper is None:
            one_recipe, one_hyper = _default_numbers(one_recipe)
        validate(one_recipe, one_hyper)
        pair = converted(one_content, "content"), converted(one_style, "style")
        settings.append(Setting(*pair, one_recipe, one_hyper, one_init, seed))
    return settings


def _default_numbers(recipe: Recipe) -> tuple[Recipe, Hyperparams]:
    layers = {name: getattr(recipe, name) for name in ("content_layers", "style_layers")}
    return change(recipe, preset()[1], **layers)


def run_steps(
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
        alone: tuple[State, jax.Array] = stepping._run_steps(state, int(counts), problem)
        return alone
    rest = dataclasses.replace(problem, kernels={})
    result: tuple[State, jax.Array] = program(mesh)(state, counts, problem.kernels, rest)
    return result


@functools.cache
def program(mesh: Mesh) -> Any:
    """Returns the jitted function (state, counts, kernels, rest of the problem), see `run_steps`.

    It compiles once for each program and size.
    """

    def one(state: State, counts: jax.Array, kernels: Kernels, rest: Problem) -> Any:
        state, count, rest = jax.tree.map(lambda leaf: leaf[0], (state, counts, rest))
        problem = dataclasses.replace(rest, kernels=kernels)
        return jax.tree.map(lambda leaf: leaf[None], stepping._run_steps(state, count, problem))

    inputs = (EACH, EACH, SAME, EACH)
    # what does not vary over the devices is not tracked: no value is ever combined across them
    mapped = jax.shard_map(one, mesh=mesh, in_specs=inputs, out_specs=EACH, check_vma=False)
    each, same = NamedSharding(mesh, EACH), NamedSharding(mesh, SAME)
    # said explicitly, or on one device the states that come back would compile it anew
    given = (each, each, same, each)
    return jax.jit(mapped, donate_argnums=0, in_shardings=given, out_shardings=each)
