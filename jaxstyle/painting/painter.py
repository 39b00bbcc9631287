"""From two pictures to a painted one: `paint`, a generator of chunks, and `stylize`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import as_picture, as_styles
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.machine.placement import own_of, rows_mesh
from jaxstyle.network.convolution import Params
from jaxstyle.network.vgg import params_up_to
from jaxstyle.optimization.optimizer import State, shown
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.engine import never, paint_alone
from jaxstyle.painting.events import Event, Observer, StepsDone, watched
from jaxstyle.painting.level import Level, problem_shapes, whole_problem
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.painting.variants import Lane, Variant
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import preset, with_default_hyper
from jaxstyle.settings.recipe import Recipe, for_several_devices
from jaxstyle.settings.validation import validate


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
      seed: of the noise, and of the points that style loss "strotss" compares.
      pause_every: if not 0, a chunk ends at every multiple of this many steps.
      start: the state of an earlier chunk, to go on from there, bit for bit; it is used up.
      devices: to share the rows of the picture; fewer than two are jax's default device. What a
        chunk's state shows are then `placement.SharedPicture`s: `np.array` gives the picture.

    Raises:
      InputError: the weights lack a layer, `init` cannot be used, or the recipe is not for several
        devices.
      DivergedError: after the chunk whose last step's loss or gradient is not finite.
    """
    variant = Variant(levels[-1].content, levels[-1].styles, recipe, hyper, init, seed)
    lane = lane_of(variant, levels, devices, start=start)
    for event in paint_run(params, lane, devices=devices, pause_every=pause_every):
        if isinstance(event, StepsDone):
            failure = event.chunk.failure
            yield event.chunk
            if failure is not None:
                raise failure


def lane_of(
    variant: Variant,
    levels: Sequence[Level],
    devices: Sequence[jax.Device] = (),
    *,
    start: State | None = None,
) -> Lane:
    """Returns the lane of a run by itself, on jax's default device or on those that share it.

    `start` is the state of an earlier chunk, to go on from.
    """
    all_levels = list(levels)
    if len(devices) > 1:
        recipe = for_several_devices(variant.recipe)
        variant = variant._replace(recipe=recipe)
        all_levels = [level._replace(memory_mode=recipe.memory) for level in levels]
    device = own_of(devices) if devices else next(iter(jnp.zeros(()).devices()))
    return Lane(number=0, variant=variant, levels=all_levels, device=device, start=start)


def paint_run(
    params: Params,
    lane: Lane,
    *,
    devices: Sequence[jax.Device] = (),
    pause_every: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Paints a run by itself, from `lane_of`, and yields what happens.

    Args:
      params: the network's weights.
      lane: from `lane_of`, for the same devices.
      devices: see `paint`.
      pause_every: likewise.
      stop: asked after every call; if true, the run ends there.

    Raises:
      InputError: see `paint`.
    """
    recipe, mesh = lane.variant.recipe, rows_mesh(devices) if len(devices) > 1 else None
    params = params_up_to(params, recipe.content_layers + recipe.style_layers)
    own: Any = {"recipe": recipe, "hyper": lane.variant.hyper}
    make = partial(whole_problem, params, **own, mesh=mesh, seed=lane.variant.seed)
    shapes = None if mesh is not None else partial(problem_shapes, params, **own)
    return paint_alone(
        lane, make, ahead=mesh is None, shapes=shapes, pause_every=pause_every, stop=stop
    )


def stylize(
    params: Params,
    content: Any,
    style: Any = None,
    *,
    styles: Sequence[Any] = (),
    regions: Regions = WHOLE,
    recipe: Recipe | None = None,
    hyper: Hyperparams | None = None,
    init: Any = "content",
    seed: int = 0,
    report: Callable[[Chunk], None] | None = None,
    observers: Sequence[Observer] = (),
    devices: Sequence[jax.Device] | None = None,
) -> NDArray[np.float32]:
    """Paints the content picture in the manner of the style picture, or of several.

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8, or floating point in [0, 1], which is rounded to 8 bits.
      style: likewise, of any size.
      styles: several of them instead; `hyper.style_weights` says how much each counts.
      regions: which parts belong together, and what of the content is kept, see `Regions`.
      recipe: what a run does; `preset("default")` if not given.
      hyper: the hyperparameters; likewise.
      init: what the canvas is at first: "content", "style", "noise", "grey", or a picture like
        `content`, with which the default's recipe paints at full size alone.
      seed: of the noise, and of the points that style loss "strotss" compares.
      report: called after every few steps, and before the first of each level; see `paint`.
      observers: see everything that happens, as events, see `painting.events`.
      devices: to share the rows of the picture, such as `jax.local_devices()`; see `paint`.

    Returns:
      The painted picture, (H, W, 3) float32 in [0, 1].

    Raises:
      InputError: parameters, a setting or a picture that cannot be used.
      DivergedError: a loss or gradient is not finite; its `picture` is the last good one.
    """
    recipe, hyper = _settings_of(recipe, hyper, init)
    check_params(params)
    pictures = as_picture(content, name="content"), as_styles(_either(style, styles))
    levels = make_levels(*pictures, recipe=recipe, regions=regions)
    with jax.default_device(own_of(devices)) if devices else contextlib.nullcontext():
        variant = Variant(*pictures, recipe, hyper, init, seed, regions=regions)
        lane = lane_of(variant, levels, devices or ())
        for event in watched(paint_run(params, lane, devices=devices or ()), observers):
            if report is not None and isinstance(event, StepsDone):
                report(event.chunk)
        return _picture_of(lane)


def _either(style: Any, styles: Sequence[Any]) -> list[Any]:
    if (style is None) == (not len(styles)):
        raise InputError("give either style, a picture, or styles, a list of pictures")
    return list(styles) if style is None else [style]


def _settings_of(
    recipe: Recipe | None, hyper: Hyperparams | None, init: Any
) -> tuple[Recipe, Hyperparams]:
    """Returns the settings of `stylize`, with those that were not given."""
    default_recipe, default_hyper = preset("default")
    if hyper is None and recipe is not None:
        recipe, hyper = with_default_hyper(recipe)
    if recipe is None and not isinstance(init, str):  # it goes on, in full
        default_recipe = dataclasses.replace(default_recipe, scales=(1.0,))
    recipe, hyper = recipe or default_recipe, hyper or default_hyper
    validate(recipe, hyper)
    return recipe, hyper


def _picture_of(lane: Lane) -> NDArray[np.float32]:
    """Returns the picture of a run that has ended; raises its error, with the last good one."""
    chunk: Any = lane.chunk  # there is one, as a run has at least one step
    state, failure = chunk.state, lane.failure
    if failure is not None:
        failure.picture = lane.picture_of(state.good)
        raise failure
    return lane.picture_of(shown(state))


def check_params(params: Any) -> None:
    """Raises InputError unless these are parameters by layer, as `load_weights` returns them."""
    layers = params.values() if isinstance(params, Mapping) else [None]
    if not all(
        isinstance(layer, Mapping) and {"kernel", "bias"} <= layer.keys() for layer in layers
    ):
        raise InputError("params must be the layers by name that load_weights returns")
