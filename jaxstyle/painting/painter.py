"""The loop over levels, from two pictures to a painted one.

`paint` is a generator: progress, logs, interruption and intermediate pictures are all callers of
it. `stylize` drains it. A thread compiles the next level while one is painted.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError, InputError
from jaxstyle.images.canvas import MEAN, STD, as_picture, denormalize, normalize, resize
from jaxstyle.machine.placement import own_of, rows_mesh
from jaxstyle.machine.process import THREADS_AHEAD, give_back
from jaxstyle.network.convolution import Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.optimizer import State, initial_state, next_level_state, shown
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.stepping import Chunk, compile_steps, steps
from jaxstyle.painting.level import Level, whole_problem
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.settings.presets import preset, with_default_hyper
from jaxstyle.settings.recipe import INITS, Hyperparams, Recipe, for_several_devices, validate

TIMES_THE_PIXELS = 3
"""How many times as many pixels the next level must have to be prepared while one is painted."""

_T = TypeVar("_T")


def paint(
    params: Params,
    levels: Sequence[Level],
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    init: Any = "content",
    seed: int = 0,
    pause_every: int = 0,
    start: State | None = None,
    devices: Sequence[jax.Device] = (),
) -> Iterator[Chunk]:
    """Paints every level in turn and yields what every few steps brought.

    The arrays of a chunk's state are used up when the next chunk is asked for: copy what you keep.

    Args:
      params: the network's weights, from `load_weights`.
      levels: from `levels`.
      recipe: as given to `levels`.
      hyper: the hyperparameters.
      init: see `first_canvas`.
      seed: of the noise.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.
      start: the state of an earlier chunk, to go on from there, bit for bit; it is used up.
      devices: to share the rows of the picture; fewer than two are jax's default device. What a
        chunk's state shows are then `placement.SharedPicture`s: `np.array` gives the picture.

    Raises:
      InputError: the weights lack a layer, `init` cannot be used, or the recipe is not for several
        devices.
      DivergedError: after the chunk whose last step's loss or gradient is not finite.
    """
    params = params_up_to(params, recipe.content_layers + recipe.style_layers)
    mesh = rows_mesh(devices) if len(devices) > 1 else None
    if mesh is not None:
        recipe = for_several_devices(recipe)
        levels = [level._replace(memory_mode=recipe.memory) for level in levels]
    state = start or initial_state(
        first_canvas(levels[0], init=init, seed=seed, resampling=recipe.resampling)
    )
    todo = [each for each in levels if each.first_step + each.steps > int(state.step)]
    made = partial(whole_problem, params, recipe=recipe, hyper=hyper, mesh=mesh)
    for level, problem in zip(todo, _problems(todo, made, ahead=mesh is None), strict=True):
        if 0 < level.first_step == int(state.step):
            left, shape = shown(state), level.content.shape
            state = next_level_state(left, shape, step=level.first_step, clip=recipe.clip)
        for chunk in steps(problem, state, pause_every=pause_every):
            if not len(chunk.learning_rate):  # it was compiled
                give_back()
            yield chunk
            state = chunk.state


def _problems(
    todo: Sequence[Level], made: Callable[..., Problem], *, ahead: bool
) -> Iterator[Problem]:
    """Yields the problem of every level in turn.

    If `ahead`, threads make and compile the later ones from the start, one after another, as long
    as each level is small beside the next: the second is compiled while the first one is, the
    third while these are painted.
    """
    if not todo:
        return
    first = made(todo[0])
    waiting: list[Callable[[], Problem]] = [lambda: first]
    for level, after in itertools.pairwise(todo):
        if not (ahead and _is_small_beside(level, after)):
            break
        waiting.append(in_background(partial(_compiled, waiting[-1], made, after)))
    rest = todo[len(waiting) :]
    while waiting:  # a problem that was painted is not kept
        problem = waiting.pop(0)()
        yield problem
    for level in rest:
        problem = made(level, like=problem.kernels if ahead else None)
        yield problem


def _compiled(before: Callable[[], Problem], made: Callable[..., Problem], level: Level) -> Problem:
    """Returns the problem of a level, once the one before is made, and has its steps compiled."""
    problem = made(level, like=before().kernels)
    compile_steps(problem, level.content.shape)
    return problem


def _is_small_beside(level: Level, after: Level) -> bool:
    """Whether both levels together need no more memory than the next will by itself."""
    return TIMES_THE_PIXELS * level.content.size <= after.content.size


def first_canvas(level: Level, *, init: Any, seed: int, resampling: str) -> jax.Array:
    """Returns the canvas (H, W, 3) that a run begins with.

    Args:
      level: the first, smallest level.
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
        return (noise - MEAN) / STD
    if isinstance(init, str):
        if init not in INITS:
            raise InputError(f"init {init!r} is none of {', '.join(INITS)}, nor a picture")
        picture = level.content if init == "content" else level.style
    else:
        picture = as_picture(init, name="init")
    return jnp.asarray(normalize(resize(picture, size, resampling=resampling)))


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
      recipe: what a run does; `preset("default")` if not given.
      hyper: the hyperparameters; likewise.
      init: what the canvas is at first: "content", "style", "noise", or a picture like `content`,
        with which the default's recipe paints at full size alone.
      seed: of the noise.
      report: called after every few steps, and once before the first of each level. The arrays of
        a chunk's state are used up by the next steps: keep a copy, `np.array(shown(chunk.state))`.
      devices: to share the rows of the picture, such as `jax.local_devices()`: each then needs a
        part of the memory, and all work on every step. By default one, jax's default device.

    Returns:
      The painted picture, (H, W, 3) float32 in [0, 1].

    Raises:
      InputError: parameters, a setting or a picture that cannot be used.
      DivergedError: a loss or gradient is not finite; its `picture` is the last good one.
    """
    default_recipe, default_hyper = preset("default")
    if hyper is None and recipe is not None:
        recipe, hyper = with_default_hyper(recipe)
    if recipe is None and not isinstance(init, str):  # it goes on, in full
        default_recipe = dataclasses.replace(default_recipe, scales=(1.0,))
    recipe, hyper = recipe or default_recipe, hyper or default_hyper
    validate(recipe, hyper)
    check_params(params)
    devices = devices or ()
    if len(devices) > 1:
        recipe = for_several_devices(recipe)
    levels = make_levels(content, style, recipe=recipe)
    given = {"recipe": recipe, "hyper": hyper, "init": init, "seed": seed, "devices": devices}
    try:
        with jax.default_device(own_of(devices)) if devices else contextlib.nullcontext():
            for chunk in paint(params, levels, **given):
                if report is not None:
                    report(chunk)
    except DivergedError as error:
        error.picture = denormalize(chunk.state.good)
        raise
    return denormalize(shown(chunk.state))


def check_params(params: Any) -> None:
    """Raises InputError unless these are parameters by layer, as `load_weights` returns them."""
    layers = params.values() if isinstance(params, Mapping) else [None]
    if not all(
        isinstance(layer, Mapping) and {"kernel", "bias"} <= layer.keys() for layer in layers
    ):
        raise InputError("params must be the layers by name that load_weights returns")


def in_background(call: Callable[[], _T]) -> Callable[[], _T]:
    """Has a thread do a call, and returns a function that waits for its result or raises its error.

    jax's default device is that of the caller. At exit Python waits for this thread, since an XLA
    compilation cannot be cancelled; the command line exits without waiting.
    """
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # a thread begins without

    def work() -> _T:
        with jax.default_device(device):
            return call()

    threads = ThreadPoolExecutor(1, THREADS_AHEAD)
    future = threads.submit(work)
    threads.shutdown(wait=False)
    return future.result
