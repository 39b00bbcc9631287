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
    init: str = "content"
    """What the canvas is at first, unless that is said."""


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

_GATYS_TAPS: dict[str, Any] = {
    "content_layers": ("relu4_2",),
    "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
}
_GATYS = Recipe(
    **_GATYS_TAPS,
    units="caffe",
    size=512,
    steps=1000,
    tv_form="squared",
    optimizer="lbfgs",
    history=100,
    resampling="bilinear",
)
_CROWSON = Recipe(
    **_GATYS_TAPS,
    padding="replicate",
    style_loss="wasserstein",
    size=512,
    scales="auto:1.41421356:128",
    steps=3000,
    level_steps=(1000.0, 500.0),
    tv_form="nine-point",
    beta2="0.99",
    carry=True,
    clip=True,
    average=0.99,
    resampling="bicubic",
)
_SPST = Recipe(
    **_GATYS_TAPS,
    style_loss="gram+mean-std",
    units="caffe",
    size=1024,
    scales="auto:2:512:short",
    steps=600,
    level_steps=(600.0, 200.0, 66.0, 30.0),
    optimizer="lbfgs",
    resampling="bicubic",
)

_NEAREST_LAYERS = (
    *("relu1_1", "relu1_2", "relu2_1", "relu2_2"),
    *("relu3_1", "relu3_2", "relu4_1"),
)

_STROTSS_LAYERS = (
    *("relu1_1", "relu1_2", "relu2_1", "relu2_2"),
    *("relu3_1", "relu3_2", "relu3_3", "relu4_3", "relu5_3"),
)

_STROTSS_WEIGHTS = (
    *(0.0018, 0.034, 0.027, 0.041),
    *(0.048, 0.057, 0.166, 0.125, 0.0005),
)
"""A weight is the square of what features are multiplied by. Beside each other the layers are so as
strong as in Oxford's VGG-19 (`weights.activations.CAFFE_SCALE`), whose last block is weak, as it is
in networks trained alike; the embedded network's are all about as strong, and with equal weights
its last block leads, which puts things of the painting where the photo's were. How strong they are
together, and so what moments count beside angles, is by eye and judge on the reference pairs."""

_WEIGHTS: Mapping[str, dict[str, Any]] = {
    balance: {
        name: getattr(hyper, name) for name in ("content_weight", "style_weight", "tv_weight")
    }
    | {"units": "torchvision", "tv_form": "absolute"}
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
        "gatys": Preset(
            "neural-style (J. Johnson), which everybody's pictures are from: Gatys' Gram matrices,"
            " 1000 evaluations of L-BFGS from grey; its own weights 5, 100 and 0.001, in the units"
            " of Caffe's VGG-19 and of colours from 0 to 255, to which the embedded network's"
            " features are brought (torchvision's about); strong, whirling strokes, little sky"
            " left plain",
            _GATYS,
            Hyperparams(
                content_weight=5.0,
                style_weight=100.0,
                tv_weight=1e-3,
                learning_rate=1.0,
                decay_rate=1.0,
            ),
            init="grey",
        ),
        "crowson": Preset(
            "style-transfer-pytorch (K. Crowson): Wasserstein distances, sizes by the root of 2"
            " from 128 pixels, 1000 steps and then 500 each, averaged; weights in torchvision's"
            " units, its step of 0.02 in colours from 0 to 1 being 0.0885 normalized; smooth, the"
            " painting's colours and large forms, the photo soft",
            _CROWSON,
            Hyperparams(
                content_weight=0.015,
                style_weight=1.0,
                tv_weight=2.0,
                learning_rate=0.0885,
                style_layer_weights=tuple(weight / 341 for weight in (256, 64, 16, 4, 1)),
                decay_rate=1.0,
            ),
        ),
        "spst": Preset(
            "Scaling Painting Style Transfer (Galerne, Raad, Lezama, Morel), its fast schedule:"
            " Gram matrices, means and deviations, 600 evaluations of L-BFGS from the photo, then"
            " 200, 66 and 30 at sizes twice as large each; weights 1, 1000 and 10000 in Caffe's"
            " units, as for gatys; it remembers 10 steps, where theirs does 100 at the first size;"
            " for --size full: the painting's texture and contrast on the photo's own forms",
            _SPST,
            Hyperparams(
                content_weight=1.0,
                style_weight=1000.0,
                tv_weight=0.0,
                learning_rate=1.0,
                decay_rate=1.0,
            ),
        ),
        "nnst": Preset(
            "after Neural Neighbor Style Transfer (Kolkin et al. 2022), its main phase, with the"
            " default's pyramid, L2 pools and steps: the photo's things stay what they are, each in"
            " the colours and strokes of what is most like it in the painting; calmer, few swirls",
            dataclasses.replace(
                _PAINTER,
                style_loss="nearest",
                style_layers=_NEAREST_LAYERS,
                steps=160,
                full_depth=5,
            ),
            dataclasses.replace(
                _PAINTER_NUMBERS,
                content_weight=0.0,
                tv_weight=0.02,
                learning_rate=0.03,
                style_layer_weights=(1.0,) * len(_NEAREST_LAYERS),
            ),
        ),
        "strotss": Preset(
            "after STROTSS (Kolkin, Salavon & Shakhnarovich 2019), its layers as strong beside each"
            " other as in Oxford's VGG: the content weighs 16 at the first size, from 64 pixels,"
            " and half as much at each next one; Adam on pixels where theirs is RMSprop on a"
            " pyramid, so total variation and an average of the canvases take the noise of the"
            " samples out",
            dataclasses.replace(
                _PAINTER,
                style_loss="strotss",
                style_layers=_STROTSS_LAYERS,
                balance="book",
                size=512,
                scales="auto:2:64",
                level_steps=(200.0,),
                steps=200,
                full_depth=5,
                average=0.95,
            ),
            Hyperparams(
                content_weight=16.0,
                content_decay=0.5,
                style_weight=1.0,
                tv_weight=0.4,
                learning_rate=0.03,
                content_layer_weights=(1.0, 1.0),
                style_layer_weights=_STROTSS_WEIGHTS,
            ),
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
        `book` or `default` unless they are given, in torchvision's units. Another optimizer
        likewise brings a learning rate, and "lbfgs" the gradient's total variation, as forms other
        than "absolute" do. `steps` are those of all levels, unless `level_steps` are given too.

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
    if changes.get("line_search") == "zoom":
        changes = {"optimizer": "lbfgs", "clip": False, "average": 0.0, **changes}
    if "steps" in changes:
        changes = {"level_steps": "auto", **changes}
    if changes.get("tv_form", "absolute") != "absolute":
        changes = {"tv_step": "gradient", **changes}
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
    if kind in (float, tuple[float, ...], tuple[float, ...] | str):
        with contextlib.suppress(OverflowError):  # an int beyond all floats; `validate` refuses it
            return float(value)
    return int(value) if isinstance(value, numbers.Integral) else value
