"""The steps of one size without a picture to be painted: compiled, weighed and timed."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle import images
from jaxstyle.conv import Kernels
from jaxstyle.inputs import Settings
from jaxstyle.levels import Level
from jaxstyle.objective import Problem, make_problem
from jaxstyle.state import State, begin, ready
from jaxstyle.transfer import MOST_STEPS_A_CALL, SECONDS_A_CALL, compile_steps

CALLS_TIMED = 3
"""The quickest counts: what else the machine does can only add to it."""


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
    state = begin(jnp.asarray(images.normalise(level.content)))
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
