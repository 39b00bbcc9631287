"""Which settings of a sweep share a program, and what settings share: levels and targets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxstyle.conv import Kernels
from jaxstyle.images import normalise
from jaxstyle.objective import Problem, _as_arrays, make_problem, resolve
from jaxstyle.painting import Level, levels
from jaxstyle.places import Setting
from jaxstyle.recipe import Hyperparams, Recipe


class Workshop(NamedTuple):
    """What the settings share."""

    levels_of: Callable[[Setting], list[Level]]
    problem_of: Callable[[Setting, int], Problem]
    """Of a setting and the number of a size; without kernels."""


def groups(
    kernels: Any, settings: Sequence[Setting], levels_of: Callable[[Setting], list[Level]]
) -> list[list[int]]:
    """Returns the settings' indices by program: same layers, pooling, schedule, content sizes.

    In a group those with fewer steps come first, so that the devices of a round end together.
    """
    found: dict[Any, list[int]] = {}
    known: dict[Any, Any] = {}
    for index, each in enumerate(settings):
        what = id(each.content), id(each.style), each.recipe
        if what not in known:
            sizes = tuple(level.content.shape for level in levels_of(each))
            known[what] = resolve(each.recipe, kernels), sizes
        found.setdefault(known[what], []).append(index)
    return [sorted(group, key=lambda i: settings[i].recipe.steps) for group in found.values()]


def workshop(kernels: Kernels, settings: Sequence[Setting], *, keep: int) -> Workshop:
    """Returns what makes levels and problems, each kept for a while, as settings share many."""
    pictures = {id(p): p for each in settings for p in (each.content, each.style)}

    @functools.lru_cache(maxsize=keep + 1)
    def plan(content: int, style: int, recipe: Recipe) -> list[Level]:
        return levels(pictures[content], pictures[style], recipe=recipe)

    @functools.lru_cache(maxsize=keep + 1)
    def problem(content: int, style: int, recipe: Recipe, number: int) -> Problem:
        level = plan(content, style, recipe)[number]
        made = make_problem(
            kernels,
            normalise(level.content),
            normalise(level.style),
            recipe=recipe,
            hyper=Hyperparams(),
            first_step=level.first_step,
            steps=level.steps,
        )
        counts: Any = {"first_step": level.first_step, "steps": level.steps}
        counts = jax.tree.map(np.int32, counts)  # arrays can be spread over devices
        return dataclasses.replace(made, kernels={}, **counts)

    def problem_of(setting: Setting, number: int) -> Problem:
        found = problem(id(setting.content), id(setting.style), setting.recipe, number)
        return dataclasses.replace(found, hyper=_as_arrays(setting.hyper, np.float32))

    return Workshop(lambda each: plan(id(each.content), id(each.style), each.recipe), problem_of)
