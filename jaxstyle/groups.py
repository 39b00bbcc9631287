"""Which settings of a sweep share a program, and what settings share: levels and targets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxstyle.conv import Params
from jaxstyle.levels import Level, levels, problem_at, target_kernels_of
from jaxstyle.objective import Problem, _as_arrays, resolve
from jaxstyle.places import Setting
from jaxstyle.recipe import Hyperparams, Recipe
from jaxstyle.room import NO_LIMIT, Room, memory_left
from jaxstyle.vgg import needed


class Workshop(NamedTuple):
    """What the settings share."""

    levels_of: Callable[[Setting], list[Level]]
    problem_of: Callable[[Setting, int], Problem]
    """Of a setting and the number of a size; without kernels."""


def groups(
    params: Params, settings: Sequence[Setting], levels_of: Callable[[Setting], list[Level]]
) -> list[list[int]]:
    """Returns the settings' indices by program: same layers, pooling, schedule, convolution, sizes.

    In a group those with fewer steps come first, so that the devices of a round end together.
    """
    found: dict[Any, list[int]] = {}
    known: dict[Any, Any] = {}
    for index, each in enumerate(settings):
        what = id(each.content), id(each.style), each.recipe
        if what not in known:
            sizes = tuple(
                (level.content.shape, level.memory, level.left_out) for level in levels_of(each)
            )
            known[what] = resolve(each.recipe, params), each.recipe.conv, sizes
        found.setdefault(known[what], []).append(index)
    return [sorted(group, key=lambda i: settings[i].recipe.steps) for group in found.values()]


def workshop(params: Params, settings: Sequence[Setting], *, keep: int) -> Workshop:
    """Returns what makes levels and problems, each kept for a while, as settings share many."""
    recipes = {each.recipe for each in settings}
    taps = {tap for each in recipes for tap in each.content_layers + each.style_layers}
    plain = target_kernels_of(needed(params, sorted(taps)))
    pictures = {id(p): p for each in settings for p in (each.content, each.style)}

    # asked once: all settings of a program must decide alike, and all processes
    room = memory_left() if jax.process_count() == 1 else Room(NO_LIMIT, "no known limit")
    room = room._replace(bytes=room.bytes // keep)

    @functools.lru_cache(maxsize=keep + 1)
    def plan(content: int, style: int, recipe: Recipe) -> list[Level]:
        return levels(pictures[content], pictures[style], recipe=recipe, room=room)

    def levels_of(setting: Setting) -> list[Level]:
        return plan(id(setting.content), id(setting.style), setting.recipe)

    @functools.lru_cache(maxsize=keep + 1)
    def problem(content: int, style: int, recipe: Recipe, number: int) -> Problem:
        level = plan(content, style, recipe)[number]
        # as many weights as layers; they are replaced below
        layers = (1.0,) * len(recipe.content_layers), (1.0,) * len(recipe.style_layers)
        numbers = Hyperparams(content_layer_weights=layers[0], style_layer_weights=layers[1])
        made = problem_at(level, plain, recipe=recipe, hyper=numbers, target_kernels=plain)
        return dataclasses.replace(made, kernels={})

    def problem_of(setting: Setting, number: int) -> Problem:
        found = problem(id(setting.content), id(setting.style), setting.recipe, number)
        numbers = levels_of(setting)[number].numbers(setting.hyper)
        return dataclasses.replace(found, hyper=_as_arrays(numbers, np.float32))

    return Workshop(levels_of, problem_of)
