"""Named sets of settings, and how single settings are changed."""

import contextlib
import dataclasses
import numbers
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.validation import validate


class Preset(NamedTuple):
    """A named set of settings; `about` says whose it is and what picture to expect."""

    about: str
    recipe: Recipe
    hyper: Hyperparams


_BOOK = Recipe(
    content_layers=("relu4_last",),
    style_layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1"),
    size=(300, 450),
    steps=500,
    resampling="bilinear",
)
_PAINTER = Recipe(
    content_layers=("relu3_1", "relu4_1"),
    style_layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    pooling="l2",
    style_loss="covariance",
    balance="relative",
    size=448,
    scales="auto",
    steps=120,
    steps_power=-0.75,
    full_depth=4,
    schedule="hold-cosine",
    tv_step="proximal",
    beta2="increasing",
    clip=True,
    colors="auto",
)
_PAINTER_NUMBERS = Hyperparams(
    content_weight=0.22,
    style_weight=1.0,
    tv_weight=0.1,
    learning_rate=0.1,
    coarse_content=0.5,
    content_power=1.5,
    content_layer_weights=(1.0, 1.0),
    style_layer_weights=(1.0, 1.0, 1.0, 1.0, 0.5),
)
_CONV_TAPS: dict[str, Any] = {
    "content_layers": ("conv4_last",),
    "style_layers": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
}

_WEIGHTS: Mapping[str, dict[str, float]] = {
    balance: {
        name: getattr(hyper, name) for name in ("content_weight", "style_weight", "tv_weight")
    }
    for balance, hyper in (("book", Hyperparams()), ("relative", _PAINTER_NUMBERS))
}

_STEPS: Mapping[str, dict[str, Any]] = {
    "adam": {"learning_rate": _PAINTER_NUMBERS.learning_rate},
    "lbfgs": {"learning_rate": 1.0, "tv_step": "gradient"},
}
"""What another optimizer brings, since its steps have other units."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(
            "ours: covariances and means of the style, relative to its own; coarse to fine, most"
            " steps where they are cheap; the photo's shapes in the painting's strokes",
            _PAINTER,
            _PAINTER_NUMBERS,
        ),
        "draft": Preset(
            "the default's picture, rougher, in about half of its time: to try settings with",
            dataclasses.replace(_PAINTER, steps=60),
            _PAINTER_NUMBERS,
        ),
        "fine": Preset(
            "the default's picture, closer to the style, in about four times its time: to keep",
            dataclasses.replace(_PAINTER, steps=480),
            _PAINTER_NUMBERS,
        ),
        "book": Preset(
            "Dive into Deep Learning, Neural Style Transfer, the PyTorch listing: 300x450 whatever"
            " the aspect, 500 steps of Adam; as its ReLUs work in place, all taps but conv5_1 are"
            " read after the ReLU",
            _BOOK,
            Hyperparams(),
        ),
        "book-fast": Preset(
            "ours: the book's objective and balance at the photo's own aspect ratio; first at half"
            " size, then in full, by proximal steps: about `book`'s loss in half of its time",
            dataclasses.replace(
                _BOOK,
                size=450,
                scales=(0.5, 1.0),
                steps=255,
                schedule="hold-cosine",
                tv_step="proximal",
                beta2="increasing",
                resampling="lanczos",
            ),
            Hyperparams(learning_rate=0.2, coarse_content=4.0),
        ),
        "book-mxnet": Preset(
            "the same chapter's MXNet listing: the same objective before the ReLUs, learning rate"
            " 0.9; a stronger, rougher picture",
            dataclasses.replace(_BOOK, **_CONV_TAPS),
            Hyperparams(learning_rate=0.9),
        ),
    }
)


def preset(name: str = "default", **changes: Any) -> tuple[Recipe, Hyperparams]:
    """Returns a preset's settings with some of them changed.

    Args:
      name: a key of `PRESETS`.
      **changes: new values for fields of `Recipe` or `Hyperparams`. New layers weigh 1 each
        unless their weights are given too; a decay setting chooses the step schedule unless
        `schedule` is given, and a color match chooses `colors="match"` unless `colors` is; another
        balance, in which weights have other units, brings the content, style and tv weight of
        `book` or `default` unless they are given. Another optimizer likewise brings a learning
        rate, and "lbfgs" the gradient's total variation.

    Raises:
      InputError: no such preset or field, or a value out of its range.
    """
    if name not in PRESETS:
        near = did_you_mean(name, PRESETS)
        raise InputError(f"unknown preset {name!r}: there are {', '.join(PRESETS)}{near}")
    return change(PRESETS[name].recipe, PRESETS[name].hyper, **changes)


def change(recipe: Recipe, hyper: Hyperparams, **changes: Any) -> tuple[Recipe, Hyperparams]:
    """Returns the settings with `changes` routed to the dataclass that has the field.

    See `preset` for the arguments and errors.
    """
    known = {each.name: each for kind in (Recipe, Hyperparams) for each in dataclasses.fields(kind)}
    for name in changes:
        if name not in known:
            raise InputError(f"unknown setting {name!r}{did_you_mean(name, known)}")
    changes = {name: _plain(value, known[name].type) for name, value in changes.items()}
    for kind in ("content", "style"):
        layers = changes.get(f"{kind}_layers")
        if isinstance(layers, tuple):
            changes = {f"{kind}_layer_weights": (1.0,) * len(layers), **changes}
    if {"decay_every", "decay_rate"} & changes.keys():
        changes = {"schedule": "step", **changes}
    if "color_match" in changes:
        changes = {"colors": "match", **changes}
    balance = changes.get("balance", recipe.balance)
    if isinstance(balance, str) and balance != recipe.balance:
        changes = {**_WEIGHTS.get(balance, {}), **changes}
    optimizer = changes.get("optimizer", recipe.optimizer)
    if isinstance(optimizer, str) and optimizer != recipe.optimizer:
        changes = {**_STEPS.get(optimizer, {}), **changes}
    recipe = dataclasses.replace(recipe, **_of(Recipe, changes))
    hyper = dataclasses.replace(hyper, **_of(Hyperparams, changes))
    validate(recipe, hyper)
    return recipe, hyper


def with_default_hyper(recipe: Recipe) -> tuple[Recipe, Hyperparams]:
    """Returns a recipe with the hyperparameters of preset "default", for the recipe's layers.

    See `preset` for the errors.
    """
    layers = {"content_layers": recipe.content_layers, "style_layers": recipe.style_layers}
    return change(recipe, PRESETS["default"].hyper, **layers)


def _of(settings: type[Recipe] | type[Hyperparams], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: changes[name] for name in field_names(settings) if name in changes}


def _plain(value: Any, kind: Any) -> Any:
    """Returns lists as tuples, and numbers of any make as Python's own.

    An int where a float belongs would be another type to jax, and overflow beyond 2**31.
    """
    if isinstance(value, list | tuple):
        return tuple(_plain_number(each, kind) for each in value)
    return _plain_number(value, kind)


def _plain_number(value: Any, kind: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    if kind in (float, tuple[float, ...]):
        with contextlib.suppress(OverflowError):  # an int beyond all floats; `validate` refuses it
            return float(value)
    return int(value) if isinstance(value, numbers.Integral) else value
