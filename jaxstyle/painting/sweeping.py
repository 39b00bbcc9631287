"""Sweeps: many variants of a run, on one device one after another, on several in rounds.

Variants of one program (`Shared.program_of`) form a group. On one device a group is painted by the
program of single runs; the next level, and the first one of the next group, are compiled while one
is painted.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import Picture, as_picture, canvas_size
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.machine.devices import device_memory
from jaxstyle.machine.placement import own_of
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.optimization.problem import Problem
from jaxstyle.painting.engine import (
    in_background,
    is_small_beside,
    made_and_compiled,
    never,
    paint_alone,
)
from jaxstyle.painting.events import CallDone, Event, Observer, RunEnded, RunRefused, watched
from jaxstyle.painting.level import Level
from jaxstyle.painting.painter import check_params
from jaxstyle.painting.shared import Shared, groups
from jaxstyle.painting.sweep_rounds import paint_in_rounds
from jaxstyle.painting.variants import Lane, Result, Variant
from jaxstyle.settings.checks import check_whole
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import preset, with_default_hyper
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.validation import validate

BUSY_PIXELS, MOST_AT_ONCE = 2**20, 16
"""So many pixels keep a GPU busy: on an H200 steps at 300x450 make 95 megapixels a second, those at
1024x1024 158 (TF32). And the most pictures that are painted at once by themselves."""


class Tick(NamedTuple):
    """What one call on the devices brought."""

    running: tuple[tuple[int, int, float], ...]
    """Index, steps so far and latest total loss of every variant on this process's devices."""
    pixel_steps: int
    """Steps done in this call times the canvas's pixels, summed over this process's variants."""
    seconds: float
    finished: tuple[Result, ...]


def paint_variants(
    params: Params,
    variants: Sequence[Variant],
    *,
    devices: Sequence[jax.Device],
    batch: int | None = 1,
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints all variants, those of one program and size after another, and yields what happens.

    With several processes each must be given the same variants and all processes' devices; each
    yields what its own devices did.

    Args:
      params: the network's weights, from `load_weights`.
      variants: in any order.
      devices: to use; a group of fewer variants uses only as many.
      batch: how many variants of one program each device paints at once, for GPUs, which small
        pictures leave idle; they round otherwise than single runs do. None: as it suits both.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.
      stop: asked after every call; if true, all variants end there. It must then stay true.

    Raises:
      InputError: pictures too small or layers that the weights lack; before the first step.
    """
    own = None if devices[0].platform == "cpu" else device_memory(own_of(devices))
    most = most_at_once(batch, variants, devices[0])
    own = own and own._replace(bytes=own.bytes // most)
    shared = Shared(params, variants, keep=len(devices) * most, memory=own)
    given: dict[str, Any] = {"pause_every": pause_every, "stop": stop}
    for group, few in _by_devices(groups(variants, shared), devices, most):
        at_once = min(most, -(-len(group) // len(few)))
        if len(few) == at_once == 1:
            yield from _on_device(few[0], paint_in_turn(group, variants, shared, few[0], **given))
        else:
            yield from paint_in_rounds(group, variants, shared, few, at_once=at_once, **given)
        if stop():
            return


def most_at_once(batch: int | None, variants: Sequence[Variant], device: jax.Device) -> int:
    """Returns how many variants a device paints at once; None chooses by the largest picture."""
    if batch is not None:
        check_whole("batch", batch)
        return batch
    if device.platform == "cpu":
        return 1
    pixels = max(math.prod(canvas_size(each.content, each.recipe)) for each in variants)
    return max(1, min(MOST_AT_ONCE, BUSY_PIXELS // pixels))


def _by_devices(
    grouped: Sequence[list[int]], devices: Sequence[jax.Device], most: int
) -> Iterator[tuple[list[int], Sequence[jax.Device]]]:
    """Yields variants with the devices that paint them; those painted in turn all in a row."""
    if len(devices) == most == 1:
        yield [index for group in grouped for index in group], devices
        return
    for group in grouped:
        yield group, devices[: len(group)] if jax.process_count() == 1 else devices


def _on_device(device: jax.Device, events: Iterator[Event]) -> Iterator[Event]:
    """Yields events; what they need, and nothing else, is computed on a device."""
    if jnp.zeros(()).devices() == {device}:  # to say so would be another program to jax
        yield from events
        return
    while True:
        with jax.default_device(device):
            event = next(events, None)
        if event is None:
            return
        yield event


def paint_in_turn(
    order: Sequence[int],
    variants: Sequence[Variant],
    shared: Shared,
    device: jax.Device,
    *,
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints variants one after another, as runs by themselves are, and yields what happens.

    Args:
      order: indices of the variants.
      variants: all of the sweep.
      shared: what they share.
      device: jax's default device while this works.
      pause_every: see `engine.paint_lanes`.
      stop: asked after every call; if true, all variants end there. It must then stay true.
    """
    first = None
    for index, following in itertools.zip_longest(order, order[1:]):
        try:
            variant = shared.opened(variants[index])
        except InputError as error:
            yield RunRefused(index, error)
            first = None
            continue
        levels = shared.levels_of(variant)
        lane = Lane(number=index, variant=variant, levels=levels, device=device)
        ready: list[Callable[[], Problem]] = []
        after = None if following is None else variants[following]
        yield from paint_alone(
            lane,
            partial(_problem_at, shared, variant, levels),
            ahead=shared.is_new(variant),
            first=first,
            at_last=partial(_begin_next, ready, levels[-1], after, shared),
            pause_every=pause_every,
            stop=stop,
        )
        if stop():
            return
        first = ready[0] if ready else None


def _problem_at(
    shared: Shared,
    variant: Variant,
    levels: Sequence[Level],
    level: Level,
    like: Kernels | None = None,
) -> Problem:
    """Returns the problem of a variant at one of these levels."""
    number = next(i for i, each in enumerate(levels) if each is level)
    return shared.whole_problem_of(variant, number)


def _begin_next(
    ready: list[Callable[[], Problem]],
    level: Level,
    variant: Variant | None,
    shared: Shared,
    problem: Problem,
) -> None:
    """Has the first level of the variant that comes next compiled while a level is painted.

    If it is of a new program, and small beside this level. What waits for it goes into `ready`.
    """
    if variant is None or variant.unfinished is not None or shared.is_known(variant):
        return
    try:
        levels = shared.levels_of(variant)
    except InputError:
        return  # which is told when it is this one's turn
    if is_small_beside(levels[0], level):
        make = partial(_problem_at, shared, variant, levels)
        ready.append(in_background(partial(made_and_compiled, lambda: problem, make, levels[0])))


def sweep(
    params: Params,
    content: Any,
    styles: Any,
    *,
    recipe: Recipe | Sequence[Recipe] | None = None,
    hypers: Hyperparams | Sequence[Hyperparams] | None = None,
    init: Any = "content",
    seeds: int | Sequence[int] = 0,
    regions: Regions | Sequence[Regions] = WHOLE,
    devices: Sequence[jax.Device] | None = None,
    batch: int | None = 1,
    report: Callable[[Tick], None] | None = None,
    observers: Sequence[Observer] = (),
) -> Iterator[Result]:
    """Paints many variants of a run and yields each result as soon as it is there.

    Every argument from `content` to `regions` is one value for all, or a list with one for each.
    Contents of equal size, styles of any, hyperparameters, steps and seeds share a compilation.

        hypers = [jaxstyle.preset(style_weight=w)[1] for w in (1e3, 1e4, 1e5)]
        results = list(jaxstyle.sweep(params, content, style, hypers=hypers))

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8 or floating point in [0, 1].
      styles: likewise, of any size; an entry of a list may be a tuple, the styles of one variant.
      recipe: what a run does; `preset("default")` if not given.
      hypers: the hyperparameters; likewise.
      init: what the canvas is at first, see `stylize`.
      seeds: of the noise, and of the points that style loss "strotss" compares.
      regions: which parts belong together, and what of the content is kept, see `stylize`.
      devices: to use; by default all local devices.
      batch: how many each device paints at once, see `paint_variants`.
      report: called after every few steps.
      observers: see all that happens, see `painting.events`.

    Yields:
      Results, as they end. One whose loss becomes NaN has a `failure` and its last good picture.

    Raises:
      InputError: something that cannot be used; an `init` when its variant begins, else before.
    """
    check_params(params)
    variants = _variants(content, styles, recipe, hypers, init, seeds, regions)
    events = paint_variants(params, variants, devices=devices or jax.local_devices(), batch=batch)
    for tick in ticks(watched(events, observers)):
        if report is not None:
            report(tick)
        yield from tick.finished


def ticks(events: Iterable[Event]) -> Iterator[Tick]:
    """Yields what every call of a sweep brought, with the results of runs that ended in it."""
    finished: list[Result] = []
    for event in events:
        if isinstance(event, RunRefused):
            raise event.error
        if isinstance(event, RunEnded) and event.how != "interrupted":
            finished.append(event.lane.result())
        if isinstance(event, CallDone):
            yield Tick(*event, tuple(finished))
            finished = []


def _variants(
    content: Any, styles: Any, recipe: Any, hypers: Any, init: Any, seeds: Any, regions: Any
) -> list[Variant]:
    """Returns one variant per entry of the lists among the arguments."""
    given = {
        "content": content,
        "styles": styles,
        "recipe": preset()[0] if recipe is None else recipe,
        "hypers": [None] if hypers is None else hypers,
        "init": init,
        "seeds": seeds,
        "regions": [regions] if isinstance(regions, Regions) else regions,
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
    for photo, style, one_recipe, one_hyper, one_init, seed, own in zip(*rows, strict=True):
        if one_hyper is None:
            one_recipe, one_hyper = with_default_hyper(one_recipe)
        validate(one_recipe, one_hyper)
        several = style if isinstance(style, tuple) else (style,)
        pair = converted(photo, "content"), tuple(converted(each, "style") for each in several)
        variants.append(Variant(*pair, one_recipe, one_hyper, one_init, seed, own))
    return variants
