"""The levels of a run, from coarse to fine: pictures, steps, hyperparameters, problem of each."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import (
    LARGEST,
    MEAN,
    STD,
    Picture,
    as_picture,
    as_styles,
    check_all_sizes,
    largest_style,
    normalize,
    parted_steps,
    resize_in_depth,
    resize_to_each,
    scales_of,
    shortest_side,
    sizes_of,
    step_shares,
    total_steps,
)
from jaxstyle.images.color import as_grey, pictures_to_paint
from jaxstyle.images.regions import WHOLE, Regions, check_regions
from jaxstyle.machine.memory import Memory, memory_left, memory_mode_of
from jaxstyle.network.convolution import Kernels, Params, prepare, prepared_shapes
from jaxstyle.network.layers import block_of, smallest_side
from jaxstyle.network.native import is_available
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.problem import Problem, make_problem
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import INITS, Recipe, Sides, convolution_of

GREY_NOISE = 0.001 / 58
"""Deviation of the noise in a grey canvas: a thousandth of a level of 255, normalized. What
neural-style calls random."""


class Level(NamedTuple):
    """One of the sizes of a run: its pictures, uint8, and its share of the steps.

    The photo is float32 in [0, 1] where its file has more than 8 bits a channel.
    """

    content: Picture
    styles: tuple[Picture, ...]
    """Every style picture of the run at every `style_scale`."""
    first_step: int
    steps: int
    memory_mode: str = "plain"
    """How the features of this level are computed: "plain" or "strips"."""
    last: bool = True
    """Whether this is the level of full size."""
    beyond: int = 0
    """How many "auto" scales the run has beyond the LARGEST ones; the last level alone uses it."""
    regions: Regions = WHOLE
    """Of these very pictures."""
    left_out: tuple[int, ...] = ()
    """Positions, in the recipe, of the style layers that do not count at this level."""
    number: int = 0
    """How many levels come before."""

    @property
    def sides(self) -> tuple[Sides, Sides]:
        """(H, W) of the canvas, and of the style that has most pixels."""
        canvas, *styles = ((p.shape[0], p.shape[1]) for p in (self.content, *self.styles))
        return canvas, largest_style(styles)

    def own_recipe(self, recipe: Recipe) -> Recipe:
        """Returns the recipe of this level: its memory mode, the style layers that count."""
        layers = self._that_count(recipe.style_layers)
        return dataclasses.replace(recipe, memory=self.memory_mode, style_layers=layers)

    def own_hyper(self, hyper: Hyperparams) -> Hyperparams:
        """Returns the hyperparameters of this level.

        Below full size, content_weight is multiplied by coarse_content. At full size of a picture
        with n "auto" scales beyond the LARGEST ones it is multiplied by the n-th root of
        min(coarse_content, 1). A large picture has its strokes from the levels before, and holding
        to the photo as firmly at the finest level would undo them; the larger the picture, the
        less of that level is seen from afar. It is also multiplied by content_decay, once for
        each level before.
        """
        if self.last:
            coarse = min(hyper.coarse_content, 1.0)
            factor = coarse ** (1 / self.beyond) if self.beyond else 1.0
        else:
            factor = hyper.coarse_content
        factor *= hyper.content_decay**self.number
        return dataclasses.replace(
            hyper,
            content_weight=hyper.content_weight * factor,
            style_layer_weights=self._that_count(hyper.style_layer_weights),
            style_weights=self._for_every_scale(hyper.style_weights),
        )

    def _for_every_scale(self, weights: tuple[float, ...]) -> tuple[float, ...]:
        """Returns a weight for each of `styles`, from one for each style picture of the run."""
        scales, rest = divmod(len(self.styles), len(weights) or 1)
        if rest or not scales:
            raise InputError(f"style_weights are {len(weights)} numbers: give one for each style")
        return tuple(weight for weight in weights for _ in range(scales))

    def _that_count(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(each for i, each in enumerate(values) if i not in self.left_out)


def levels(
    content: Any,
    style: Any,
    *,
    recipe: Recipe,
    memory: Memory | None = None,
    regions: Regions = WHOLE,
) -> list[Level]:
    """Returns the levels of a run, from coarse to fine; pictures are resized from the originals.

    These have their colours changed first, where the recipe says so, see `pictures_to_paint`.
    Levels too small for the deepest layer are left out, and so are levels without a step.

    Args:
      content: (H, W, 3), uint8 or floating point in [0, 1].
      style: likewise, of any size; or a list or tuple of several.
      recipe: its size, scales, steps, layers, colours and memory decide.
      memory: what may be used, on which "auto" memory depends; by default all that is free.
      regions: of the photo and of every style, at any size.

    Raises:
      InputError: a picture of the wrong kind, or too small even at full size; unfit regions.
    """
    check_regions(regions, recipe)
    photo, styles, beyond = as_picture(content, name="content"), as_styles(style), 0
    if recipe.scales == "auto":
        beyond = max(0, len(scales_of(recipe, photo)) - LARGEST)
    memory = memory_left() if memory is None else memory
    found = _sizes_and_steps(photo, styles, recipe)
    programs = [_program_at(each, recipe, memory) for each in found]
    photo, styles = pictures_to_paint(photo, styles, recipe, regions)
    canvases = [each.canvas for each in found]
    photos = resize_in_depth(photo, canvases, resampling=recipe.resampling)
    paintings = _resized(styles, [each.styles for each in found], recipe)
    return [
        Level(
            photos[number],
            paintings[number],
            each.first_step,
            each.steps,
            mode,
            last=each.scale == 1,
            beyond=beyond,
            regions=regions.resized(each.canvas, each.styles),
            left_out=left_out,
            number=number,
        )
        for number, (each, (_, mode, left_out)) in enumerate(zip(found, programs, strict=True))
    ]


def level_programs(
    content: Picture, styles: Sequence[Picture], *, recipe: Recipe, memory: Memory
) -> list[tuple[Sides, str, tuple[int, ...]]]:
    """Returns what decides the programs of a run's levels, by the shapes of its pictures alone.

    Of each level the canvas's (H, W), the memory mode, and the style layers that are left out.
    """
    sizes_and_steps = _sizes_and_steps(content, styles, recipe)
    return [_program_at(each, recipe, memory) for each in sizes_and_steps]


class _LevelSize(NamedTuple):
    """The sizes of a level's pictures, and its share of the steps."""

    scale: float
    canvas: Sides
    styles: tuple[Sides, ...]
    first_step: int
    steps: int


def _program_at(
    level: _LevelSize, recipe: Recipe, memory: Memory
) -> tuple[Sides, str, tuple[int, ...]]:
    """Returns what decides a level's program, see `level_programs`."""
    mode = memory_mode_of(recipe, level.canvas, largest_style(level.styles), memory)
    after_others = level.scale == 1 and level.first_step
    return level.canvas, mode, _too_deep_in_full(recipe) if after_others else ()


def _sizes_and_steps(
    content: Picture, styles: Sequence[Picture], recipe: Recipe
) -> list[_LevelSize]:
    """Returns the sizes and steps of all levels that are painted."""
    least = smallest_side(recipe.content_layers + recipe.style_layers)
    scales = scales_of(recipe, content)
    sizes = {scale: sizes_of(content, styles, recipe, scale) for scale in scales}
    check_all_sizes(*sizes[1], least)
    painted = [scale for scale in scales if shortest_side(*sizes[scale]) >= least]
    parts = parted_steps(painted, step_shares(recipe, painted), total_steps(recipe, content))
    return [
        _LevelSize(scale, *sizes[scale], first_step=first, steps=steps)
        for scale, first, steps in parts
        if steps
    ]


def pixel_steps(
    content: Picture, styles: Sequence[Picture], *, recipe: Recipe, done: int = 0
) -> int:
    """Returns the steps of a run after the first `done`, each times the pixels of its canvas."""
    parts = _sizes_and_steps(content, styles, recipe)
    return pixel_steps_after(done, [(each.first_step, each.steps, each.canvas) for each in parts])


def pixel_steps_after(done: int, parts: Iterable[tuple[int, int, Sequence[int]]]) -> int:
    """Returns the same of levels by their first steps, steps, and canvas sizes (H, W)."""
    return sum(
        max(first_step + steps - max(done, first_step), 0) * math.prod(size)
        for first_step, steps, size in parts
    )


def first_canvas(
    level: Level, *, init: Any, seed: int, resampling: str, colors: str = "style"
) -> jax.Array:
    """Returns the canvas (H, W, 3) that a run begins with.

    Args:
      level: the first, smallest level.
      init: "content", "style" (the first), "noise" (uniform, each channel from black to white),
        "grey" (the grey of ImageNet's mean, but for GREY_NOISE), or a picture (H, W, 3), uint8 or
        floating point in [0, 1]; what is not of the content's size is resized.
      seed: of the noise.
      resampling: how to resize.
      colors: of the recipe; with "luminance" a picture becomes grey.

    Raises:
      InputError: an unknown word or a picture of the wrong kind.
    """
    size = level.content.shape[:2]
    if isinstance(init, str) and init == "noise":
        noise = jax.random.uniform(jax.random.key(seed), (*size, 3), jnp.float32)
        return (noise - MEAN) / STD
    if isinstance(init, str) and init == "grey":
        return GREY_NOISE * jax.random.normal(jax.random.key(seed), (*size, 3), jnp.float32)
    if isinstance(init, str):
        if init not in INITS:
            raise InputError(f"init {init!r} is none of {', '.join(INITS)}, nor a picture")
        picture = level.content if init == "content" else level.styles[0]
    else:
        picture = as_picture(init, name="init")
    if colors == "luminance":
        picture = as_grey(np.asarray(picture))
    (canvas,) = resize_in_depth(picture, [size], resampling=resampling)
    return jnp.asarray(normalize(canvas))


def kept_photo(level: Level) -> tuple[NDArray[np.bool_], NDArray[np.float32]] | None:
    """Returns where the photo is kept, (H, W), and its canvas; None if that is nowhere."""
    keep = level.regions.keep
    return None if keep is None else (keep, normalize(level.content))


def _too_deep_in_full(recipe: Recipe) -> tuple[int, ...]:
    """Returns the positions of style layers deeper than `full_depth`; none if all are deeper."""
    blocks = [block_of(layer) for layer in recipe.style_layers]
    deep = tuple(i for i, block in enumerate(blocks) if block > recipe.full_depth)
    return deep if len(deep) < len(blocks) else ()


def _resized(
    styles: Sequence[Picture], sizes: Sequence[Sequence[Sides]], recipe: Recipe
) -> list[tuple[Picture, ...]]:
    """Returns by level every style at its sizes, as many of each as there are style scales."""
    scales, found = len(recipe.style_scale), []
    for number, style in enumerate(styles):
        own = [each[number * scales : (number + 1) * scales] for each in sizes]
        flat = list(itertools.chain(*own))
        made = resize_to_each(style, flat, resampling=recipe.resampling)
        found.append([made[i : i + scales] for i in range(0, len(made), scales)])
    return [tuple(itertools.chain(*level)) for level in zip(*found, strict=True)]


def whole_problem(
    params: Params,
    level: Level,
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    mesh: Mesh | None,
    like: Kernels | None = None,
    seed: int = 0,
) -> Problem:
    """Returns the problem of one level, which shares what it can of another's kernels."""
    kernels = kernels_at(level, params, recipe=recipe, like=like)
    of_targets = target_kernels_of(params, recipe, like=kernels)
    given: Any = {"recipe": recipe, "hyper": hyper, "target_kernels": of_targets, "mesh": mesh}
    given["seed"] = seed
    return problem_at(level, kernels, **given)


def kernels_at(
    level: Level, params: Params, *, recipe: Recipe, like: Kernels | None = None
) -> Kernels:
    """Returns the kernels that canvases of this level are painted with, see `prepare`."""
    return prepare(**_to_prepare(level, params, recipe), like=like)


def _to_prepare(level: Level, params: Params, recipe: Recipe) -> dict[str, Any]:
    """Returns what `prepare` and `prepared_shapes` take, for the canvases of a level."""
    own = level.own_recipe(recipe)
    needed = params_up_to(params, own.content_layers + own.style_layers)
    return {"params": needed, "conv": convolution_of(own), "size": level.content.shape[:2]}


def target_kernels_of(params: Params, recipe: Recipe, *, like: Kernels | None = None) -> Kernels:
    """Returns the kernels for targets: those that compile at once, as targets are computed once.

    Of `like` it takes what it would prepare.
    """
    native = convolution_of(recipe) == "auto" and is_available()
    return prepare(params, conv="auto" if native else "direct", gradients=False, like=like)


def problem_at(
    level: Level,
    kernels: Kernels,
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    target_kernels: Kernels,
    mesh: Mesh | None = None,
    seed: int = 0,
) -> Problem:
    """Returns the problem of one level, see `make_problem`."""
    return make_problem(
        kernels,
        normalize(level.content),
        [normalize(style) for style in level.styles],
        recipe=level.own_recipe(recipe),
        hyper=level.own_hyper(hyper),
        first_step=level.first_step,
        steps=level.steps,
        target_kernels=target_kernels,
        regions=level.regions,
        seed=seed,
        mesh=mesh,
    )


def problem_shapes(
    params: Params,
    level: Level,
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    kernels: Kernels | None = None,
) -> Problem:
    """Returns what `whole_problem` does on one device, with shapes for arrays, at once.

    `compile_steps` of it is the very executable of the run.

    Args:
      params: the network's weights.
      level: one of a run's.
      recipe: of the run.
      hyper: of the run.
      kernels: to paint with, if not those of the level; or shapes for them.
    """
    if kernels is None:
        kernels = prepared_shapes(**_to_prepare(level, params, recipe))
    struct: Any = jax.ShapeDtypeStruct  # which has no types
    content, *styles = (struct(p.shape, np.float32) for p in (level.content, *level.styles))
    plain = prepared_shapes(params, conv="direct", gradients=False)

    def made(kernels: Kernels, plain: Kernels, content: Any, styles: Any) -> Problem:
        own: Any = {"recipe": level.own_recipe(recipe), "hyper": level.own_hyper(hyper)}
        own["regions"] = level.regions
        return make_problem(kernels, content, styles, **own, target_kernels=plain)

    problem: Problem = jax.eval_shape(made, kernels, plain, content, styles)
    return dataclasses.replace(problem, first_step=level.first_step, steps=level.steps)
