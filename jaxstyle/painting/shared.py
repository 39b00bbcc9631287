"""What the variants of a sweep share: levels and targets by picture, kernels by size."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxstyle.images.bands import BandedPicture
from jaxstyle.images.stored import StoredPicture
from jaxstyle.machine.memory import NO_LIMIT, Memory, memory_left
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.problem import Problem, as_arrays, resolve
from jaxstyle.painting.level import (
    Level,
    kernels_at,
    level_programs,
    problem_at,
    target_kernels_of,
)
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.painting.variants import Variant
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import SAMPLED_LOSS_NAMES, Recipe, convolution_of


class Shared:
    """Makes levels, problems and kernels, each kept for a while, as variants share many."""

    def __init__(
        self,
        params: Params,
        variants: Sequence[Variant],
        *,
        keep: int,
        memory: Memory | None = None,
    ) -> None:
        """Takes the weights, all variants, and for how many of them at a time to keep things.

        And the memory of each device, on which "auto" modes depend; None: they have a part each of
        the machine's.
        """
        recipes = {each.recipe for each in variants}
        taps = {tap for each in recipes for tap in each.content_layers + each.style_layers}
        self._params = params
        self._params_of_targets = params_up_to(params, sorted(taps))
        self._of_targets: dict[str, Kernels] = {}
        self._pictures = {id(p): p for each in variants for p in (each.content, *each.styles)}
        self._regions = {id(each.regions): each.regions for each in variants}
        # read once, so that all variants of a program, and all processes, choose the same mode
        if memory is None or jax.process_count() > 1:
            alone = jax.process_count() == 1
            memory = memory_left() if alone else Memory(NO_LIMIT, "no known limit")
            memory = memory._replace(bytes=memory.bytes // keep)
        self._memory = memory
        self._levels_for = functools.lru_cache(maxsize=keep + 1)(self._make_levels)
        self._problem_for = functools.lru_cache(maxsize=keep + 1)(self._make_problem)
        self._kernels: dict[Any, Kernels] = {}
        self._compiled: set[Any] = set()

    def _make_levels(
        self, content: int, styles: tuple[int, ...], regions: int, recipe: Recipe
    ) -> list[Level]:
        paintings = [self._pictures[each] for each in styles]
        given: Any = {"memory": self._memory, "regions": self._regions[regions]}
        return make_levels(self._pictures[content], paintings, recipe=recipe, **given)

    def levels_of(self, variant: Variant) -> list[Level]:
        """Returns the levels of a variant; of one that goes on, in the modes in which it began."""
        levels = self._levels_for(*pictures_of(variant), variant.recipe)
        if variant.unfinished is None:
            return levels
        modes = variant.unfinished.memory_modes
        return [each._replace(memory_mode=mode) for each, mode in zip(levels, modes, strict=True)]

    def opened(self, variant: Variant) -> Variant:
        """Returns a variant whose run needs nothing more of its files: its levels are made.

        Raises:
          InputError: a picture's file is gone or another.
        """
        self.levels_of(variant)
        if isinstance(variant.init, StoredPicture | BandedPicture):
            init = variant.init
            if isinstance(init, BandedPicture) and init.is_deep:
                return variant._replace(init=init.held())
            return variant._replace(init=np.asarray(init))
        return variant

    def program_of(self, variant: Variant) -> Any:
        """Returns what two variants of one program have alike; hashable."""
        recipe, unfinished = variant.recipe, variant.unfinished
        sizes = tuple(
            level_programs(variant.content, variant.styles, recipe=recipe, memory=self._memory)
        )
        if unfinished is not None:
            modes = unfinished.memory_modes
            sizes = tuple((a, mode, b) for (a, _, b), mode in zip(sizes, modes, strict=True))
        styles = 1
        if recipe.style_mix == "sum":
            styles = len(variant.styles) * len(recipe.style_scale)
        guides, _, keep = variant.regions
        regions = 0 if guides is None else guides.shape[-1], keep is None
        return resolve(recipe, self._params), recipe.conv, sizes, styles, regions

    def kernels_of(self, variant: Variant, number: int) -> Kernels:
        """Returns the kernels for a level, by its number, of all variants of this one's program."""
        program, level = self.program_of(variant), self.levels_of(variant)[number]
        if (program, number) not in self._kernels:
            recipe, like = variant.recipe, self._kernels_like(variant.recipe)
            if any(other != program for other, _ in self._kernels):
                self._kernels.clear()  # one program comes after another
            params = params_up_to(self._params, recipe.content_layers + recipe.style_layers)
            made = kernels_at(level, params, recipe=recipe, like=like)
            self._kernels[program, number] = made
        return self._kernels[program, number]

    def problem_of(self, variant: Variant, number: int) -> Problem:
        """Returns the problem of a variant at the level of a number, without kernels."""
        level = self.levels_of(variant)[number]
        blend, own = variant.hyper.style_weights, level.own_hyper(variant.hyper)
        recipe, pictures = variant.recipe, pictures_of(variant)
        seed = variant.seed if recipe.style_loss in SAMPLED_LOSS_NAMES else 0
        found = self._problem_for(*pictures, blend, recipe, number, level.memory_mode, seed)
        hyper = as_arrays(dataclasses.replace(own, style_weights=()), np.float32)
        hyper = dataclasses.replace(hyper, style_weights=found.hyper.style_weights)
        return dataclasses.replace(found, hyper=hyper)

    def _make_problem(
        self,
        content: int,
        styles: tuple[int, ...],
        regions: int,
        blend: tuple[float, ...],
        recipe: Recipe,
        number: int,
        mode: str,
        seed: int,
    ) -> Problem:
        level = self._levels_for(content, styles, regions, recipe)[number]._replace(
            memory_mode=mode
        )
        # as many weights as layers; all but those of the styles are replaced above
        layers = (1.0,) * len(recipe.content_layers), (1.0,) * len(recipe.style_layers)
        hyper = Hyperparams(
            content_layer_weights=layers[0], style_layer_weights=layers[1], style_weights=blend
        )
        kernels = self._target_kernels_for(recipe)
        given: Any = {"recipe": recipe, "hyper": hyper, "target_kernels": kernels, "seed": seed}
        made = problem_at(level, kernels, **given)
        return dataclasses.replace(made, kernels={})

    def _target_kernels_for(self, recipe: Recipe) -> Kernels:
        conv = convolution_of(recipe)
        if conv not in self._of_targets:
            given = self._params_of_targets, recipe
            self._of_targets[conv] = target_kernels_of(*given, like=self._kernels_like(recipe))
        return self._of_targets[conv]

    def _kernels_like(self, recipe: Recipe) -> Kernels | None:
        """Returns kernels of which others may be taken: the last made, or those for targets."""
        last = next(reversed(self._kernels.values()), None)
        return self._of_targets.get(convolution_of(recipe)) if last is None else last

    def whole_problem_of(self, variant: Variant, number: int) -> Problem:
        """Returns the problem of a variant at the level of a number, with the shared kernels."""
        problem = self.problem_of(variant, number)
        return dataclasses.replace(problem, kernels=self.kernels_of(variant, number))

    def is_known(self, variant: Variant) -> bool:
        """Whether all levels of this variant's program were compiled for one before it."""
        return self.program_of(variant) in self._compiled

    def is_new(self, variant: Variant) -> bool:
        """Whether `is_known` was false before this call, which makes it true.

        A variant that goes on from a checkpoint leaves it as it was, since it may skip levels.
        """
        new = not self.is_known(variant)
        if variant.unfinished is None:
            self._compiled.add(self.program_of(variant))
        return new


def pictures_of(variant: Variant) -> tuple[int, tuple[int, ...], int]:
    """Returns the identities of a variant's photo, of its styles, and of its regions."""
    return id(variant.content), tuple(map(id, variant.styles)), id(variant.regions)


def groups(variants: Sequence[Variant], shared: Shared) -> list[list[int]]:
    """Returns the variants' indices by program: same layers, pooling, schedule, convolution, sizes.

    In a group those with fewer steps come first, so that the devices of a round end together.
    """
    found: dict[Any, list[int]] = {}
    known: dict[Any, Any] = {}
    for index, each in enumerate(variants):
        modes = None if each.unfinished is None else each.unfinished.memory_modes
        what = *pictures_of(each), each.recipe, modes
        if what not in known:
            known[what] = shared.program_of(each)
        found.setdefault(known[what], []).append(index)
    return [sorted(group, key=lambda i: variants[i].recipe.steps) for group in found.values()]
