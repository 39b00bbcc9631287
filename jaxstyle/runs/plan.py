"""What `--plan` shows: a run's memory from the compiler, its time from steps really done."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.errors import Say
from jaxstyle.images.canvas import Picture, normalise, resize
from jaxstyle.machine.devices import choose_device, device_room, keep_programs
from jaxstyle.machine.memory import (
    WAYS,
    Room,
    Sides,
    fits,
    gigabytes,
    largest_size,
    memory_of,
    memory_with,
)
from jaxstyle.network.convolution import Kernels
from jaxstyle.network.vgg import needed
from jaxstyle.optimization.optimizer import State, begin, ready
from jaxstyle.optimization.problem import Problem, make_problem
from jaxstyle.optimization.stepping import MOST_STEPS_A_CALL, SECONDS_A_CALL, compile_steps
from jaxstyle.painting.level import Level, kernels_at
from jaxstyle.runs.inputs import Inputs, Settings
from jaxstyle.runs.job import fitting_levels
from jaxstyle.runs.progress import size_text
from jaxstyle.settings.recipe import Recipe

CALLS_TIMED = 3
"""The quickest counts: what else the machine does can only add to it."""

MOST_PIXELS_TIMED = 250_000
"""A step of a larger size takes as much longer as it has more pixels."""


class Call(NamedTuple):
    """A program and what it is called with."""

    program: Any
    state: State
    problem: Problem


def compile_level(
    way: str, level: Level, kernels: Kernels, settings: Settings
) -> tuple[Any, Problem]:
    """Returns the program of a size, compiled, and its problem with shapes for arrays.

    It is the very program of the run, which finds it where programs are kept.
    """
    level = level._replace(memory=way)
    recipe, hyper = level.own_recipe(settings.recipe), level.numbers(settings.hyper)
    struct: Any = jax.ShapeDtypeStruct  # which has no types
    canvas = struct(level.content.shape, np.float32)
    problem = jax.eval_shape(
        lambda *given: make_problem(*given, recipe=recipe, hyper=hyper),
        *(kernels, canvas, canvas),
    )
    problem = dataclasses.replace(problem, first_step=level.first_step, steps=level.steps)
    return compile_steps(problem, level.content.shape), problem


def memory_beside_kernels(program: Any, kernels: Kernels) -> int:
    """Returns the bytes that a step needs, besides kernels."""
    memory = program.memory_analysis()
    data = memory.argument_size_in_bytes - sum(each.nbytes for each in jax.tree.leaves(kernels))
    return int(memory.temp_size_in_bytes + data)


def call_of(
    program: Any, problem: Problem, kernels: Kernels, level: Level, settings: Settings
) -> Call:
    """Returns what is needed to do steps of `program`, from `compile_level`, at a size.

    Its targets are 1, which takes as long as any others.
    """
    targets = jax.tree.map(lambda each: jnp.ones(each.shape, each.dtype), problem.targets)
    numbers = jax.tree.map(
        lambda number, like: jnp.asarray(number, like.dtype),
        level.numbers(settings.hyper),
        problem.hyper,
    )
    problem = dataclasses.replace(problem, kernels=kernels, targets=targets, hyper=numbers)
    state = begin(jnp.asarray(normalise(level.content)))
    return Call(program, ready(state, problem.program), problem)


def seconds_a_step(calls: Mapping[str, Call]) -> dict[str, float]:
    """Returns how long a step takes in calls of about a second, as a run makes them.

    They take turns, so that whatever else the machine does meets all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    states = {name: call.state for name, call in calls.items()}
    for _ in range(1 + CALLS_TIMED):
        for name, (program, _, problem) in calls.items():
            # the first only says how many steps a call shall do
            count = steps_of_a_second(seconds[name][0]) if seconds[name] else 1
            began = time.perf_counter()
            states[name], table = program(states[name], count, problem)
            np.asarray(table)  # calls return before they are done
            seconds[name].append((time.perf_counter() - began) / count)
    return {name: min(found[1:]) for name, found in seconds.items()}


def steps_of_a_second(seconds_a_step: float) -> int:
    """Returns how many steps a call does in a run."""
    return max(1, min(round(SECONDS_A_CALL / seconds_a_step), MOST_STEPS_A_CALL))


class Way(NamedTuple):
    """What a run takes, all its sizes in one way."""

    name: str
    peak_bytes: int
    """Of the process."""
    is_compiled: bool
    """Whether that is from the compiler, else by the formula of `memory`."""
    fits: bool
    seconds_a_step: float | None
    """At the largest size; None where not even the size to be timed fits."""
    seconds: float | None
    """Of all steps, without start and compiling."""
    largest_size: int
    """The largest `--size` that fits, if the pictures have as many pixels."""


class Trial(NamedTuple):
    """What was found."""

    size: str
    steps: int
    """At all sizes."""
    room_bytes: int
    limit: str
    """What limits that."""
    chosen: str
    """The way in which the largest size would be painted."""
    seconds: float | None
    """Of all steps, each size in the way in which it would be painted."""
    timed_size: str
    """Where steps were timed."""
    is_unenlarged: bool
    """Whether `--size` asks for more than the photo has, which it does not give."""
    ways: list[Way]


def trial(inputs: Inputs, device_name: str | None, *, say: Say, note: Say) -> Trial:
    """Compiles the largest size of a run, does steps of it or of a smaller one, and reckons.

    Args:
      inputs: of the run.
      device_name: see `choose_device`.
      say: is given warnings.
      note: is given a line before what takes long.

    Raises:
      InputError: no such device, layers that the weights lack, or a size that does not fit.
    """
    device = choose_device(device_name, say=say)
    keep_programs()
    room = device_room(device)
    plan = fitting_levels(inputs, room)
    with jax.default_device(device):
        return _tried(inputs, plan, room, note)


def _tried(inputs: Inputs, plan: list[Level], room: Room, note: Say) -> Trial:
    settings, last = inputs.settings, plan[-1]
    recipe = settings.recipe
    params = needed(inputs.params, recipe.content_layers + recipe.style_layers)
    kernels = kernels_at(last, params, recipe=recipe)
    timed = _timed_size(_sides(last.content))
    programs: dict[str, int] = {}
    calls: dict[str, Call] = {}
    for name in WAYS:
        program = None
        if name == last.memory or timed == _sides(last.content):
            note(f"compiling {size_text(last.content.shape)}, {name}")
            program, problem = compile_level(name, last, kernels, settings)
            programs[name] = memory_beside_kernels(program, kernels)
        if not fits(timed, timed, recipe=recipe, way=name, room=room, started=True):
            continue
        small = _small(last, timed)
        if program is None or small is not last:
            note(f"compiling {size_text(timed)}, {name}, to time it")
            program, problem = compile_level(name, small, kernels, settings)
        calls[name] = call_of(program, problem, kernels, small, settings)
    note(f"timing steps of {size_text(timed)}")
    per_pixel = {
        name: seconds / math.prod(timed) for name, seconds in seconds_a_step(calls).items()
    }
    asked = recipe.size if isinstance(recipe.size, int) else 0
    return Trial(
        size=size_text(last.content.shape),
        steps=recipe.steps,
        room_bytes=room.bytes,
        limit=room.limit,
        chosen=last.memory,
        seconds=_seconds([per_pixel.get(level.memory) for level in plan], plan),
        timed_size=size_text(timed),
        is_unenlarged=asked > max(inputs.content.shape),
        ways=[
            _way(name, programs.get(name), per_pixel.get(name), plan, recipe, room) for name in WAYS
        ],
    )


def _timed_size(sides: Sides) -> Sides:
    factor = min(1.0, math.sqrt(MOST_PIXELS_TIMED / math.prod(sides)))
    return max(16, round(sides[0] * factor)), max(16, round(sides[1] * factor))


def _sides(picture: Picture) -> Sides:
    return picture.shape[0], picture.shape[1]


def _small(level: Level, sides: Sides) -> Level:
    """Returns a level at other sides; itself, if it has these."""
    if _sides(level.content) == sides:
        return level
    return level._replace(content=resize(level.content, sides, resampling="bilinear"))


def _seconds(per_pixel: Sequence[float | None], plan: Sequence[Level]) -> float | None:
    """Returns the seconds of all steps; the losses at the end of a size take a step more."""
    pixels = [math.prod(level.content.shape[:2]) * (level.steps + 1) for level in plan]
    times = [each * count for each, count in zip(per_pixel, pixels, strict=True) if each]
    return sum(times) if len(times) == len(plan) else None


def _way(
    name: str,
    program: int | None,
    per_pixel: float | None,
    plan: list[Level],
    recipe: Recipe,
    room: Room,
) -> Way:
    """Returns what one way takes.

    Args:
      name: the way.
      program: the bytes of a step of the largest size, if it was compiled.
      per_pixel: the seconds of a step, if any was timed.
      plan: the sizes of the run.
      recipe: of the run.
      room: what may be used.
    """
    sides = _sides(plan[-1].content), _sides(plan[-1].style)
    peak = memory_of(*sides, recipe=recipe, way=name)
    if program is not None:
        peak = memory_with(program, *sides, way=name)
    return Way(
        name=name,
        peak_bytes=peak,
        is_compiled=program is not None,
        fits=fits(*sides, recipe=recipe, way=name, room=room, started=True),
        seconds_a_step=None if per_pixel is None else per_pixel * math.prod(sides[0]),
        seconds=_seconds([per_pixel] * len(plan), plan),
        largest_size=largest_size(*sides, recipe=recipe, way=name, room=room, started=True),
    )


def explained(found: Trial) -> list[str]:
    """Returns what was found as lines for a person."""
    there = f"{gigabytes(found.room_bytes, up=False)} ({found.limit})"
    lines = [
        f"{found.size}, {found.steps} steps; memory that can be used: {there}",
        "way      peak memory         s/step   all steps  largest --size that fits",
        *map(_row, found.ways),
        f"{found.chosen} would be taken; start and compiling take their time besides",
        f"timed: steps of {found.timed_size}; other sizes by their pixels",
    ]
    if found.seconds not in [way.seconds for way in found.ways]:
        lines.append(f"smaller sizes in another way: {_duration(found.seconds)} in all")
    if found.is_unenlarged:
        lines.append(f"the photo has no more pixels than {found.size}: --size HxW enlarges it")
    return lines


def _row(way: Way) -> str:
    source = "compiler" if way.is_compiled else "formula"
    memory = f"{gigabytes(way.peak_bytes)} ({source})"
    step = "?" if way.seconds_a_step is None else f"{way.seconds_a_step:.2f}"
    last = f"{way.largest_size}" + ("" if way.fits else " (so this does not fit)")
    return f"{way.name:8} {memory:19} {step:>6} {_duration(way.seconds):>11}  {last}"


def _duration(seconds: float | None) -> str:
    """Returns seconds for a person who plans."""
    if seconds is None:
        return "?"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
