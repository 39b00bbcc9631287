"""What `--plan` shows: a run's memory from the compiler, its time from steps really done."""

import dataclasses
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle import compilation, images
from jaxstyle.conv import Params
from jaxstyle.device import choose_device, device_room
from jaxstyle.inputs import Inputs, Say
from jaxstyle.levels import Level, levels
from jaxstyle.objective import make_problem
from jaxstyle.painting import kernels_at, problem_at, target_kernels_of
from jaxstyle.plan import KERNELS, STARTED, STRIPS_OVER_PLAIN, gigabytes, largest_size, memory_of
from jaxstyle.progress import size_text
from jaxstyle.room import Room
from jaxstyle.starting import fitting_levels
from jaxstyle.transfer import _run_steps, begin
from jaxstyle.vgg import needed

MOST_PIXELS_TIMED = 500_000
"""A step of a larger size is taken to need as much longer as it has more pixels."""


class Way(NamedTuple):
    """What a run takes, all its sizes in one way."""

    name: str
    peak_bytes: int
    is_compiled: bool
    """Whether that is from the compiler, else by the formula of `plan`."""
    seconds_a_step: float
    """At the largest size."""
    seconds: float
    """Of all steps, without compiling."""
    largest_size: int
    """The largest `--size` that fits."""


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
    timed_size: tuple[int, int]
    """Where a step was timed, in the chosen way."""
    ways: list[Way]


def trial(inputs: Inputs, device_name: str | None, *, say: Say) -> Trial:
    """Compiles the largest size of a run, does steps of it or of a smaller one, and reckons.

    Raises:
      InputError: no such device, layers that the weights lack, or a size that does not fit.
    """
    device = choose_device(device_name, say=say)
    compilation.keep_programs()
    room = device_room(device)
    plan = fitting_levels(inputs, room)
    with jax.default_device(device):
        return _tried(inputs, plan, room)


def _tried(inputs: Inputs, plan: list[Level], room: Room) -> Trial:
    recipe, chosen = inputs.settings.recipe, plan[-1].memory
    params = needed(inputs.params, recipe.content_layers + recipe.style_layers)
    peak = _compiled_peak(inputs, plan[-1], params)
    timed, seconds = _timed_step(inputs, plan[-1], params)
    sides = plan[-1].content.shape[:2], plan[-1].style.shape[:2]
    ways = []
    for name in ("plain", "strips"):
        slower = {"plain": 1.0, "strips": STRIPS_OVER_PLAIN}
        per_pixel = seconds / math.prod(timed) * slower[name] / slower[chosen]
        pixel_steps = sum(math.prod(level.content.shape[:2]) * level.steps for level in plan)
        formula = memory_of(*sides, recipe=recipe, way=name)
        largest = largest_size(*sides, recipe=recipe, way=name, room=room.bytes, started=True)
        ways.append(
            Way(
                name,
                peak if name == chosen else formula,
                name == chosen,
                per_pixel * math.prod(sides[0]),
                per_pixel * pixel_steps,
                largest,
            )
        )
    size = size_text(plan[-1].content.shape)
    return Trial(size, recipe.steps, room.bytes, room.limit, chosen, timed, ways)


def explained(found: Trial) -> list[str]:
    """Returns what was found as lines for a person."""
    there = f"{gigabytes(found.room_bytes)} ({found.limit})"
    lines = [f"{found.size}, {found.steps} steps; memory that can be used: {there}"]
    for way in found.ways:
        source = "compiled" if way.is_compiled else "formula"
        mark = " (chosen)" if way.name == found.chosen else ""
        lines.append(
            f"{way.name}{mark}: peak {gigabytes(way.peak_bytes)} ({source}),"
            f" {way.seconds_a_step:.2f} s/step, {way.seconds:.0f} s in all;"
            f" largest --size that fits: {way.largest_size}"
        )
    timed = size_text(found.timed_size)
    how = f"timed: steps of {timed}, {found.chosen}; other sizes by their pixels"
    return [*lines, f"{how}, strips as {STRIPS_OVER_PLAIN} times plain"]


def _compiled_peak(inputs: Inputs, level: Level, params: Params) -> int:
    """Returns the bytes of a process that runs the program of this size, which is compiled."""
    settings = inputs.settings
    recipe = dataclasses.replace(settings.recipe, memory=level.memory)
    kernels = kernels_at(level, params, recipe=recipe)
    struct: Any = jax.ShapeDtypeStruct  # which has no types
    canvas, style = (struct(each.shape, np.float32) for each in (level.content, level.style))
    problem = jax.eval_shape(
        lambda *given: make_problem(*given, recipe=recipe, hyper=settings.hyper),
        *(kernels, canvas, style),
    )
    # the very program of the run, which will find it compiled
    problem = dataclasses.replace(problem, first_step=level.first_step, steps=level.steps)
    program = _run_steps.lower(jax.eval_shape(begin, canvas), 1, problem).compile()
    memory: Any = program.memory_analysis()
    data = memory.argument_size_in_bytes - sum(each.nbytes for each in jax.tree.leaves(kernels))
    return int(memory.temp_size_in_bytes + data) + KERNELS + STARTED


def _timed_step(inputs: Inputs, level: Level, params: Params) -> tuple[tuple[int, int], float]:
    """Returns the size of a step that was done, the level's or a smaller one, and its seconds."""
    height, width = level.content.shape[:2]
    factor = min(1.0, math.sqrt(MOST_PIXELS_TIMED / (height * width)))
    size = max(16, round(height * factor)), max(16, round(width * factor))
    settings = inputs.settings
    recipe = dataclasses.replace(
        settings.recipe, memory=level.memory, size=size, scales=(1.0,), steps=2
    )
    (small,) = levels(level.content, level.style, recipe=recipe)
    problem = problem_at(
        small,
        kernels_at(small, params, recipe=recipe),
        recipe=recipe,
        hyper=settings.hyper,
        target_kernels=target_kernels_of(params),
    )
    state, _ = _run_steps(begin(jnp.asarray(images.normalise(small.content))), 1, problem)
    began = time.perf_counter()
    _, table = _run_steps(state, 2, problem)
    np.asarray(table)
    return size, (time.perf_counter() - began) / 2
