"""`sweep`: many settings from Python, on every device there is; `rounds` does the work."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from jaxstyle import images
from jaxstyle.conv import Params
from jaxstyle.errors import InputError
from jaxstyle.painting import _check_params
from jaxstyle.places import Result, Setting
from jaxstyle.presets import change, preset
from jaxstyle.recipe import Hyperparams, Recipe, validate
from jaxstyle.rounds import Tick, paint_settings


def sweep(
    params: Params,
    content: Any,
    styles: Any,
    *,
    recipe: Recipe | Sequence[Recipe] | None = None,
    hypers: Hyperparams | Sequence[Hyperparams] | None = None,
    init: Any = "content",
    seeds: int | Sequence[int] = 0,
    devices: Sequence[jax.Device] | None = None,
    report: Callable[[Tick], None] | None = None,
) -> Iterator[Result]:
    """Paints many settings and yields each result as soon as it is there.

    Every argument up to `seeds` is one value for all settings, or a list with one for each; lists
    are of equal length, so for a grid use `itertools.product`. Settings that differ in pictures of
    equal size, style pictures of any size, hyperparameters, steps or seed share one compilation.

        hypers = [jaxstyle.preset(style_weight=w)[1] for w in (1e3, 1e4, 1e5)]
        for result in jaxstyle.sweep(params, content, style, hypers=hypers):
            print(hypers[result.number].style_weight, result.losses.total)

    Args:
      params: the network's weights, from `load_weights`.
      content: (H, W, 3), uint8 or floating point in [0, 1].
      styles: likewise, of any size.
      recipe: the settings that decide the program; `preset("default")` if not given.
      hypers: the settings that decide the numbers; likewise.
      init: what the canvas is at first, see `stylize`.
      seeds: of the noise.
      devices: to use; by default all local devices.
      report: called after every few steps.

    Yields:
      Results, in the order in which they end. A setting whose loss becomes NaN has a `failure`
      and its last good picture; it does not disturb the others.

    Raises:
      InputError: parameters, a setting or a picture that cannot be used; before the first step.
    """
    _check_params(params)
    settings = _settings(content, styles, recipe, hypers, init, seeds)
    for tick in paint_settings(params, settings, devices=devices or jax.local_devices()):
        if report is not None:
            report(tick)
        yield from tick.finished


def _settings(
    content: Any, styles: Any, recipe: Any, hypers: Any, init: Any, seeds: Any
) -> list[Setting]:
    """Returns one setting per entry of the lists among the arguments."""
    given = {
        "content": content,
        "styles": styles,
        "recipe": preset()[0] if recipe is None else recipe,
        "hypers": [None] if hypers is None else hypers,
        "init": init,
        "seeds": seeds,
    }
    lists = {name: value for name, value in given.items() if isinstance(value, list | tuple)}
    lengths = {name: len(value) for name, value in lists.items() if len(value) != 1}
    count = next(iter(lengths.values()), 1)
    if count == 0 or set(lengths.values()) - {count}:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"the lists of a sweep must be of one length, not empty; got {told}")
    rows = [
        [value[i if len(value) > 1 else 0] if name in lists else value for i in range(count)]
        for name, value in given.items()
    ]
    pictures: dict[int, images.Picture] = {}  # one conversion, and one identity, per picture

    def as_picture(array: Any, name: str) -> images.Picture:
        return pictures.setdefault(id(array), images.as_picture(array, name=name))

    settings = []
    for one_content, one_style, one_recipe, one_hyper, one_init, seed in zip(*rows, strict=True):
        if one_hyper is None:
            one_recipe, one_hyper = _default_numbers(one_recipe)
        validate(one_recipe, one_hyper)
        pair = as_picture(one_content, "content"), as_picture(one_style, "style")
        settings.append(Setting(*pair, one_recipe, one_hyper, one_init, seed))
    return settings


def _default_numbers(recipe: Recipe) -> tuple[Recipe, Hyperparams]:
    layers = {name: getattr(recipe, name) for name in ("content_layers", "style_layers")}
    return change(recipe, preset()[1], **layers)
