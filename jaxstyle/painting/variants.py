"""The variants of a sweep: each on one device, with its result; which share a program, and what."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError
from jaxstyle.images.canvas import Picture, denormalize
from jaxstyle.losses.terms import Losses
from jaxstyle.machine.memory import NO_LIMIT, Memory, memory_left
from jaxstyle.network.convolution import Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.optimizer import State, next_level_state, shown
from jaxstyle.optimization.problem import Problem, as_arrays, resolve
from jaxstyle.optimization.stepping import diverged_term
from jaxstyle.painting.level import Level, problem_at, target_kernels_of
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.settings.recipe import Hyperparams, Recipe


class Variant(NamedTuple):
    """All that decides one result of a sweep."""

    content: Picture
    style: Picture
    recipe: Recipe
    hyper: Hyperparams
    init: Any = "content"
    seed: int = 0


class Result(NamedTuple):
    """One variant's result."""

    number: int
    """Index of the variant, from 0."""
    picture: NDArray[np.float32]
    """(H, W, 3) in [0, 1]; the last good one if the variant failed."""
    losses: Losses
    """The weighted losses of this picture."""
    history: Losses
    """The losses before every step, by term, over all levels."""
    steps_done: int
    failure: DivergedError | None
    """Why it stopped before its last step, if it did."""
    device: jax.Device
    seconds: float
    """How long its steps took, without compilation."""


@dataclass
class Lane:
    """One device's variant in a round, and what is known of it so far."""

    number: int
    variant: Variant
    levels: list[Level]
    device: jax.Device
    idle: bool
    """Whether this lane is padding: it repeats another lane's variant and is ignored."""
    canvas: Any
    """The last good canvas, once a level has ended; before that, the first canvas."""
    losses: Losses | None = None
    """Losses of this canvas; None of the first canvas."""
    history: Losses | None = None
    """Losses before every step so far; None before the first call."""
    level_began: int = 0
    """How many steps were done when this level began."""
    steps_done: int = 0
    seconds: float = 0.0
    failure: DivergedError | None = None
    reported: bool = False
    """Whether the result was handed out."""

    @property
    def over(self) -> bool:
        """Whether nothing is to be noted any more."""
        return self.idle or self.failure is not None

    def begin_level(self, number: int) -> State:
        """Returns the state before the first step of a level, by its number, from 0."""
        self.level_began = self.steps_done
        level = self.levels[number]
        shape, clip = level.content.shape, self.variant.recipe.clip
        return next_level_state(self.canvas, shape, step=level.first_step, clip=clip)

    def take(self, losses: Losses, seconds: float) -> None:
        """Takes note of a call's good steps: of the losses before each, and of their time."""
        before = [] if self.history is None else [self.history]
        self.history = jax.tree.map(lambda *parts: np.concatenate(parts), *before, losses)
        self.steps_done += len(losses.total)
        self.seconds += seconds

    def latest(self) -> Losses:
        """Returns the losses before the last step so far; NaN if there was none."""
        assert self.history is not None, "no call was noted"
        if len(self.history.total):
            return self.history[-1]
        unknown: Losses = jax.tree.map(lambda _: np.nan, self.history)
        return unknown

    def end_level(self, state: State, closing: Losses) -> None:
        """Takes note of the state after a level's last step, and of its canvas's losses."""
        if np.isfinite(closing.total):
            self.canvas, self.losses = shown(state), closing
        else:
            self.fail(state.good, closing)

    def fail(self, good: Any, bad: Losses) -> None:
        """Takes note of a canvas with bad losses, and of the good one before.

        If no step of this level succeeded, the canvas of the level before is kept.
        """
        self.failure = DivergedError(self.steps_done + 1, diverged_term(bad))
        if self.steps_done > self.level_began:
            self.canvas, self.losses = good, self.latest()
            self.steps_done -= 1

    def result(self) -> Result:
        """Returns the result at the end."""
        assert self.history is not None, "no call was noted"
        return Result(
            number=self.number,
            picture=denormalize(self.canvas),
            losses=self.latest() if self.losses is None else self.losses,
            history=self.history,
            steps_done=self.steps_done,
            failure=self.failure,
            device=self.device,
            seconds=self.seconds,
        )


class Shared(NamedTuple):
    """What the variants share."""

    levels_of: Callable[[Variant], list[Level]]
    problem_of: Callable[[Variant, int], Problem]
    """The problem of a variant at the level of a number, without kernels."""


def groups(
    params: Params, variants: Sequence[Variant], levels_of: Callable[[Variant], list[Level]]
) -> list[list[int]]:
    """Returns the variants' indices by program: same layers, pooling, schedule, convolution, sizes.

    In a group those with fewer steps come first, so that the devices of a round end together.
    """
    found: dict[Any, list[int]] = {}
    known: dict[Any, Any] = {}
    for index, each in enumerate(variants):
        what = id(each.content), id(each.style), each.recipe
        if what not in known:
            sizes = tuple(
                (level.content.shape, level.memory_mode, level.left_out)
                for level in levels_of(each)
            )
            known[what] = resolve(each.recipe, params), each.recipe.conv, sizes
        found.setdefault(known[what], []).append(index)
    return [sorted(group, key=lambda i: variants[i].recipe.steps) for group in found.values()]


def make_shared(params: Params, variants: Sequence[Variant], *, keep: int) -> Shared:
    """Returns what makes levels and problems, each kept for a while, as variants share many."""
    recipes = {each.recipe for each in variants}
    taps = {tap for each in recipes for tap in each.content_layers + each.style_layers}
    plain = target_kernels_of(params_up_to(params, sorted(taps)))
    pictures = {id(p): p for each in variants for p in (each.content, each.style)}

    # read once, so that all variants of a program, and all processes, choose the same memory mode
    memory = memory_left() if jax.process_count() == 1 else Memory(NO_LIMIT, "no known limit")
    memory = memory._replace(bytes=memory.bytes // keep)

    @functools.lru_cache(maxsize=keep + 1)
    def levels_for(content: int, style: int, recipe: Recipe) -> list[Level]:
        return make_levels(pictures[content], pictures[style], recipe=recipe, memory=memory)

    def levels_of(variant: Variant) -> list[Level]:
        return levels_for(id(variant.content), id(variant.style), variant.recipe)

    @functools.lru_cache(maxsize=keep + 1)
    def problem(content: int, style: int, recipe: Recipe, number: int) -> Problem:
        level = levels_for(content, style, recipe)[number]
        # as many weights as layers; they are replaced below
        layers = (1.0,) * len(recipe.content_layers), (1.0,) * len(recipe.style_layers)
        hyper = Hyperparams(content_layer_weights=layers[0], style_layer_weights=layers[1])
        made = problem_at(level, plain, recipe=recipe, hyper=hyper, target_kernels=plain)
        return dataclasses.replace(made, kernels={})

    def problem_of(variant: Variant, number: int) -> Problem:
        found = problem(id(variant.content), id(variant.style), variant.recipe, number)
        hyper = levels_of(variant)[number].own_hyper(variant.hyper)
        return dataclasses.replace(found, hyper=as_arrays(hyper, np.float32))

    return Shared(levels_of, problem_of)
