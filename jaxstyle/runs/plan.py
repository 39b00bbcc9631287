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
from jaxstyle.images.canvas import Picture, normalize, resize_in_depth
from jaxstyle.machine.devices import device_memory, set_up_devices
from jaxstyle.machine.memory import (
    MEMORY_MODES,
    STARTED,
    Memory,
    fits,
    gigabytes,
    largest_size,
    memory_of,
    memory_with,
)
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.optimizer import State, initial_state, with_program_state
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import MOST_STEPS_A_CALL, SECONDS_A_CALL, compile_steps
from jaxstyle.painting.level import Level, kernels_at, problem_shapes
from jaxstyle.runs.inputs import steps_of
from jaxstyle.runs.job import fitting_levels
from jaxstyle.runs.progress import size_text
from jaxstyle.runs.reader import Inputs, Settings
from jaxstyle.settings.recipe import Recipe, Sides

CALLS_TIMED = 3
"""The quickest call counts: other load can only slow a call."""

MOST_PIXELS_TIMED = 250_000
"""A step of a larger size takes as much longer as it has more pixels."""


class Call(NamedTuple):
    """An executable and what it is called with."""

    executable: Any
    state: State
    problem: Problem


def compile_level(
    mode: str, level: Level, kernels: Kernels, params: Params, settings: Settings
) -> tuple[Any, Problem]:
    """Returns the executable of a level, and its problem with shapes for arrays.

    It is the very executable of the run, which finds it in the cache.
    """
    level = level._replace(memory_mode=mode)
    problem = problem_shapes(
        params, level, recipe=settings.recipe, hyper=settings.hyper, kernels=kernels
    )
    return compile_steps(problem, level.content.shape), problem


def memory_beside_kernels(executable: Any, kernels: Kernels) -> int:
    """Returns the bytes that a step needs, without the kernels."""
    memory = executable.memory_analysis()
    data = memory.argument_size_in_bytes - sum(each.nbytes for each in jax.tree.leaves(kernels))
    return int(memory.temp_size_in_bytes + data)


def call_of(
    executable: Any, problem: Problem, kernels: Kernels, level: Level, settings: Settings
) -> Call:
    """Returns what is needed to do steps of `executable`, from `compile_level`, at a level.

    Its targets are 1, which takes as long as any others.
    """
    targets = jax.tree.map(lambda each: jnp.ones(each.shape, each.dtype), problem.targets)
    hyper = jax.tree.map(
        lambda number, like: jnp.asarray(number, like.dtype),
        level.own_hyper(settings.hyper),
        problem.hyper,
    )
    problem = dataclasses.replace(problem, kernels=kernels, targets=targets, hyper=hyper)
    state = initial_state(jnp.asarray(normalize(level.content)))
    return Call(executable, with_program_state(state, problem.program), problem)


def seconds_a_step(calls: Mapping[str, Call]) -> dict[str, float]:
    """Returns how long a step takes in calls of about a second, as a run makes them.

    They take turns, so that whatever else the machine does meets all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    states = {name: call.state for name, call in calls.items()}
    for _ in range(1 + CALLS_TIMED):
        for name, (executable, _, problem) in calls.items():
            # the first call only shows how many steps take about a second
            count = steps_of_a_second(seconds[name][0]) if seconds[name] else 1
            began = time.perf_counter()
            states[name], table = executable(states[name], count, problem)
            np.asarray(table)  # calls return before they are done
            seconds[name].append((time.perf_counter() - began) / count)
    return {name: min(found[1:]) for name, found in seconds.items()}


def steps_of_a_second(seconds_a_step: float) -> int:
    """Returns how many steps a call does in a run."""
    return max(1, min(round(SECONDS_A_CALL / seconds_a_step), MOST_STEPS_A_CALL))


class ModeEstimate(NamedTuple):
    """What a run takes with all its levels in one memory mode; the names are `--json`'s."""

    name: str
    peak_bytes: int
    """Peak memory of the process."""
    is_compiled: bool
    """Whether that is from the compiler, else by the formula of `memory`."""
    fits: bool
    seconds_a_step: float | None
    """Seconds of a step at the largest level; None where not even the timed size fits."""
    seconds: float | None
    """Duration of all steps, without start and compilation."""
    largest_size: int
    """The largest `--size` that fits, if the pictures have as many pixels."""


class Trial(NamedTuple):
    """What was found; the names are those that `--json` prints."""

    size: str
    steps: int
    """Steps at all levels."""
    room_bytes: int
    limit: str
    """What limits that."""
    chosen: str
    """The memory mode in which the largest level would be painted."""
    seconds: float | None
    """All steps take so long, each level in the memory mode in which it would be painted."""
    timed_size: str
    """The size at which steps were timed."""
    is_unenlarged: bool
    """Whether `--size` asks for more than the photo has, which it does not give."""
    ways: list[ModeEstimate]


def trial(inputs: Inputs, device_name: str | None, *, say: Say, note: Say) -> Trial:
    """Compiles the largest level of a run, times steps of it or of a smaller one, and calculates.

    Args:
      inputs: of the run.
      device_name: see `choose_device`.
      say: is given warnings.
      note: is given a line before what takes long.

    Raises:
      InputError: no such device, layers that the weights lack, or a size that does not fit.
    """
    (device,) = set_up_devices(device_name, most=1, distributed=None, say=say)
    memory = device_memory(device)
    levels = fitting_levels(inputs, memory)
    with jax.default_device(device):
        return _tried(inputs, levels, memory, note)


def _tried(inputs: Inputs, levels: list[Level], memory: Memory, note: Say) -> Trial:
    settings, last = inputs.settings, levels[-1]
    recipe = settings.recipe
    params = params_up_to(inputs.params, recipe.content_layers + recipe.style_layers)
    kernels = kernels_at(last, params, recipe=recipe)
    timed = _timed_size(_sides(last.content))
    step_bytes: dict[str, int] = {}
    calls: dict[str, Call] = {}
    for name in MEMORY_MODES:
        executable = None
        if name == last.memory_mode or timed == _sides(last.content):
            note(f"compiling {size_text(last.content.shape)}, {name}")
            executable, problem = compile_level(name, last, kernels, params, settings)
            step_bytes[name] = memory_beside_kernels(executable, kernels)
        if not fits(timed, timed, recipe=recipe, mode=name, memory=memory, started=True):
            continue
        small = _small(last, timed)
        if executable is None or small is not last:
            note(f"compiling {size_text(timed)}, {name}, to time it")
            executable, problem = compile_level(name, small, kernels, params, settings)
        calls[name] = call_of(executable, problem, kernels, small, settings)
    note(f"timing steps of {size_text(timed)}")
    per_pixel = {
        name: seconds / math.prod(timed) for name, seconds in seconds_a_step(calls).items()
    }
    asked = recipe.size if isinstance(recipe.size, int) else 0
    return Trial(
        size=size_text(last.content.shape),
        steps=steps_of(inputs),
        room_bytes=memory.bytes,
        limit=memory.limit,
        chosen=last.memory_mode,
        seconds=_seconds([per_pixel.get(level.memory_mode) for level in levels], levels),
        timed_size=size_text(timed),
        is_unenlarged=asked > max(inputs.content.shape),
        ways=[
            with_reading(
                _mode_estimate(
                    name, step_bytes.get(name), per_pixel.get(name), levels, recipe, memory
                ),
                inputs,
            )
            for name in MEMORY_MODES
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
    (content,) = resize_in_depth(level.content, [sides], resampling="bilinear")
    return level._replace(content=content)


def _seconds(per_pixel: Sequence[float | None], levels: Sequence[Level]) -> float | None:
    """Returns the seconds of all steps; the losses at the end of a level take a step more."""
    pixels = [math.prod(level.content.shape[:2]) * (level.steps + 1) for level in levels]
    times = [each * count for each, count in zip(per_pixel, pixels, strict=True) if each]
    return sum(times) if len(times) == len(levels) else None


def _mode_estimate(
    name: str,
    step_bytes: int | None,
    per_pixel: float | None,
    levels: list[Level],
    recipe: Recipe,
    memory: Memory,
) -> ModeEstimate:
    """Returns what a run takes in one memory mode.

    Args:
      name: the memory mode.
      step_bytes: the bytes of a step of the largest size, if it was compiled.
      per_pixel: the seconds of a step, if any was timed.
      levels: of the run.
      recipe: of the run.
      memory: what may be used.
    """
    sides = levels[-1].sides
    peak = memory_of(*sides, recipe=recipe, mode=name)
    if step_bytes is not None:
        peak = memory_with(step_bytes, *sides, recipe=recipe, mode=name)
    return ModeEstimate(
        name=name,
        peak_bytes=peak,
        is_compiled=step_bytes is not None,
        fits=fits(*sides, recipe=recipe, mode=name, memory=memory, started=True),
        seconds_a_step=None if per_pixel is None else per_pixel * math.prod(sides[0]),
        seconds=_seconds([per_pixel] * len(levels), levels),
        largest_size=largest_size(*sides, recipe=recipe, mode=name, memory=memory, started=True),
    )


def with_reading(mode: ModeEstimate, inputs: Inputs) -> ModeEstimate:
    """Returns an estimate whose peak is that of decoding the pictures, if that takes more."""
    return mode._replace(peak_bytes=max(mode.peak_bytes, STARTED + inputs.reading_bytes))


def explained(found: Trial) -> list[str]:
    """Returns what was found as lines for a person."""
    there = f"{gigabytes(found.room_bytes, up=False)} ({found.limit})"
    lines = [
        f"{found.size}, {found.steps} steps; memory that can be used: {there}",
        "mode     peak memory         s/step   all steps  largest --size that fits",
        *map(_row, found.ways),
        f"{found.chosen} would be taken; start and compilation take more time",
        f"timed: steps of {found.timed_size}; other sizes by their pixels",
    ]
    if found.seconds not in [mode.seconds for mode in found.ways]:
        lines.append(f"smaller sizes in another mode: {_duration(found.seconds)} in all")
    if found.is_unenlarged:
        lines.append(f"the photo has no more pixels than {found.size}: --upscale enlarges it")
    return lines


def _row(mode: ModeEstimate) -> str:
    source = "compiler" if mode.is_compiled else "formula"
    memory = f"{gigabytes(mode.peak_bytes)} ({source})"
    step = "?" if mode.seconds_a_step is None else f"{mode.seconds_a_step:.2f}"
    last = f"{mode.largest_size}" + ("" if mode.fits else " (so this does not fit)")
    return f"{mode.name:8} {memory:19} {step:>6} {_duration(mode.seconds):>11}  {last}"


def _duration(seconds: float | None) -> str:
    """Returns seconds for a person who plans."""
    if seconds is None:
        return "?"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
