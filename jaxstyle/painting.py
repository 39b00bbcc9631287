"""The loop over sizes, from two pictures to a painted one.

`paint` is a generator: progress, logs, interruption and intermediate pictures are all callers of
it. `stylize` drains it.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxstyle import images
from jaxstyle.conv import Kernels, Params, prepare
from jaxstyle.errors import DivergedError, InputError
from jaxstyle.levels import Level, levels
from jaxstyle.objective import Problem, make_problem
from jaxstyle.presets import change, preset
from jaxstyle.recipe import INITS, Hyperparams, Recipe, for_several_devices, validate
from jaxstyle.room import give_back
from jaxstyle.shards import mesh_of, own_of
from jaxstyle.state import State, begin, enlarged
from jaxstyle.transfer import Chunk, steps
from jaxstyle.vgg import needed


def paint(
    params: Params,
    plan: Sequence[Level],
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    init: Any = "content",
    seed: int = 0,
    pause_every: int = 0,
    start: State | None = None,
    devices: Sequence[jax.Device] = (),
) -> Iterator[Chunk]:
    """Paints at every size in turn and yields what every few steps brought.

    The arrays of a chunk's state are used up when the next chunk is asked for: copy what you keep.

    Args:
      params: the network's weights, from `load_weights`.
      plan: from `levels`.
      recipe: as given to `levels`.
      hyper: the numbers.
      init: see `first_canvas`.
      seed: of the noise.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.
      start: the state of an earlier chunk, to go on from there, bit for bit; it is used up.
      devices: to share the rows of the picture; fewer than two are jax's default device. What a
        chunk's state shows are then `shards.SharedPicture`s: `np.array` gives the picture.

    Raises:
      InputError: the weights lack a layer, `init` cannot be used, or the recipe is not for several
        devices.
      DivergedError: after the chunk whose last step's loss or gradient is not finite.
    """
    params = needed(params, recipe.content_layers + recipe.style_layers)
    mesh = mesh_of(devices) if len(devices) > 1 else None
    if mesh is not None:
        recipe = for_several_devices(recipe)
        plan = [level._replace(memory=recipe.memory) for level in plan]
    state = start or begin(
        first_canvas(plan[0], init=init, seed=seed, resampling=recipe.resampling)
    )
    kernels, done = None, int(state.step)
    for level in (each for each in plan if each.first_step + each.steps > done):
        problem = problem_at(
            level,
            kernels := kernels_at(level, params, recipe=recipe, like=kernels),
            recipe=recipe,
            hyper=hyper,
            target_kernels=target_kernels_of(params),
            mesh=mesh,
        )
        if 0 < level.first_step == int(state.step):
            state = enlarged(state.canvas, level.content.shape, step=level.first_step)
        for chunk in steps(problem, state, pause_every=pause_every):
            if not len(chunk.learning_rate):  # it was compiled
                give_back()
            yield chunk
            state = chunk.state


def kernels_at(
    level: Level, params: Params, *, recipe: Recipe, like: Kernels | None = None
) -> Kernels:
    """Returns the kernels that canvases of this size are painted with, see `prepare`."""
    size = level.content.shape[0], level.content.shape[1]
    return prepare(params, conv=recipe.conv, size=size, like=like)


def target_kernels_of(params: Params) -> Kernels:
    """Returns the kernels for targets: plain, as these are computed once, and without gradients."""
    return prepare(params, conv="direct", gradients=False)


def problem_at(
    level: Level,
    kernels: Kernels,
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    target_kernels: Kernels,
    mesh: Mesh | None = None,
) -> Problem:
    """Returns the problem of one size, see `make_problem`."""
    return make_problem(
        kernels,
        images.normalise(level.content),
        images.normalise(level.style),
        recipe=dataclasses.replace(recipe, memory=level.memory),
        hyper=level.numbers(hyper),
        first_step=level.first_step,
        steps=level.steps,
        target_kernels=target_kernels,
        mesh=mesh,
    )


def first_canvas(level: Level, *, init: Any, seed: int, resampling: str) -> jax.Array:
    """Returns the canvas (H, W, 3) that a run begins with.

    Args:
      level: the first, smallest size.
      init: "content", "style", "noise" (uniform, each channel from black to white), or a picture
        (H, W, 3), uint8 or floating point in [0, 1]; what is not of the content's size is resized.
      seed: of the noise.
      resampling: how to resize.

    Raises:
      InputError: an unknown word or a picture of the wrong kind.
    """
    size = level.content.shape[:2]
    if isinstance(init, str) and init == "noise":
        noise = jax.random.uniform(jax.random.key(seed), (*size, 3), jnp.float32)
        return (noise - images.MEAN) / images.STD
    if isinstance(init, str):
        if init not in INITS:
            raise InputError(f"init {init!r} is none of {', '.join(INITS)}, nor a picture")
        picture = level.content if init == "content" else level.style
    else:
        picture = images.as_picture(init, name="init")
    return jnp.asarray(images.normalise(images.resize(picture, size, resampling=resampling)))


def stylize(
    params: Params,
    content: Any,
    style: Any,
    *,
    recipe: Recipe | None = None,
    hyper: Hyperparams | None = None,
    init: Any = "content",
    seed: int = 0,
    report: Callable[[Chunk], None] | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> NDArray[np.float32]:
    """Paints the content picture in the manner of the style picture.

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8, or floating point in [0, 1], which is rounded to 8 bits.
      style: likewise, of any size.
      recipe: the settings that decide the program; `preset("default")` if not given.
      hyper: the settings that decide the numbers; likewise.
      init: what the canvas is at first: "content", "style", "noise", or a picture like `content`.
      seed: of the noise.
      report: called after every few steps, and once before the first of each size. The arrays of
        a chunk's state are used up by the next steps: keep a copy, `np.array(chunk.state.canvas)`.
      devices: to share the rows of the picture, such as `jax.local_devices()`: each then needs a
        part of the memory, and all work on every step. By default one, jax's default device.

    Returns:
      The painted picture, (H, W, 3) float32 in [0, 1].

    Raises:
      InputError: parameters, a setting or a picture that cannot be used.
      DivergedError: a loss or gradient is not finite; its `picture` is the last good one.
    """
    default_recipe, default_hyper = preset("default")
    if hyper is None and recipe is not None:  # the default's numbers, for this recipe's layers
        layers = {"content_layers": recipe.content_layers, "style_layers": recipe.style_layers}
        recipe, hyper = change(recipe, default_hyper, **layers)
    recipe, hyper = recipe or default_recipe, hyper or default_hyper
    validate(recipe, hyper)
    _check_params(params)
    devices = devices or ()
    if len(devices) > 1:
        recipe = for_several_devices(recipe)
    plan = levels(content, style, recipe=recipe)
    given = {"recipe": recipe, "hyper": hyper, "init": init, "seed": seed, "devices": devices}
    try:
        with jax.default_device(own_of(devices)) if devices else contextlib.nullcontext():
            for chunk in paint(params, plan, **given):
                if report is not None:
                    report(chunk)
    except DivergedError as error:
        error.picture = images.denormalise(chunk.state.good)
        raise
    return images.denormalise(chunk.state.canvas)


def _check_params(params: Any) -> None:
    layers = params.values() if isinstance(params, Mapping) else [None]
    if not all(
        isinstance(layer, Mapping) and {"kernel", "bias"} <= layer.keys() for layer in layers
    ):
        raise InputError("params must be the layers by name that load_weights returns")
