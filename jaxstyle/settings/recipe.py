"""What a run is: the two kinds of settings, and what values they may have.

`Recipe` says what a run does; its fields that are marked decide the *program*: changing one
compiles another. `Hyperparams` holds the *hyperparameters*: changing one never does. Each field
carries its own help text, from which the command line's flags are made. So a setting is declared
here alone; its range is checked in `validation`, and one that decides the program has a field in
`targets.Program`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from jaxstyle.errors import InputError
from jaxstyle.network.layers import CONVS, POOLINGS

MEMORIES = ("auto", "plain", "strips")
INITS = ("content", "style", "noise")
"""Named starting points of the canvas; a picture may be given instead."""

SCHEDULES = ("step", "cosine", "hold-cosine")
TV_STEPS = ("gradient", "proximal")
STYLE_LOSS_NAMES = ("gram", "covariance", "wasserstein", "mean-std", "gram+mean-std")
BALANCES = ("book", "relative")
BETA2S = ("constant", "increasing")
RESAMPLINGS = ("lanczos", "bilinear")
COLORS = ("style", "photo", "luminance", "match")
COLOR_MATCHES = ("cholesky", "pca", "optimal-transport", "histogram")

HISTORY = 10
"""How many pairs L-BFGS remembers by default."""
OPTIMIZER_BYTES: Mapping[str, int] = MappingProxyType({"adam": 2 * 12, "lbfgs": 22 * 12})
"""The optimizers, and how many bytes of state each keeps for a pixel, which has to be known before
jax is imported; all else is in `optimizer.OPTIMIZERS`. Of lbfgs with HISTORY pairs."""

Sides = tuple[int, int]
"""Height and width, in pixels."""

STYLE_MIXES = ("blend", "sum")
PROPAGATIONS = ("simple", "inside", "all")

Size = int | tuple[int, int] | str
"""N: the content's long side in pixels, aspect kept. (H, W): exactly that, aspect ignored. "full":
the content's own size."""


def _about(text: str, **more: Any) -> dict[str, Any]:
    return {"help": text, **more}


def _program(text: str, **more: Any) -> dict[str, Any]:
    """Returns the metadata of a field that decides the program, see `program_names`."""
    return _about(text, program=True, **more)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does; hashable.

    A field whose metadata has the mark "program" is in `Program`, which is static under jit. Of the
    others, `full_depth` decides which layers are in the last level's program, `conv` the kind of
    the kernels, `size` and `scales` the shapes of arrays: with another value of these, too, another
    program is compiled. `steps`, `steps_power`, `resampling` and the colours
    compile nothing.
    """

    content_layers: tuple[str, ...] = field(
        metadata=_program(
            "layers that hold the content, each with an optional weight: relu4_2,relu3_1:0.5",
            metavar="LAYERS",
        )
    )
    style_layers: tuple[str, ...] = field(
        metadata=_program("layers that hold the style, with weights or not", metavar="LAYERS")
    )
    pooling: str = field(
        default="max",
        metadata=_program(
            "how the network halves its maps: max; avg and l2, smoother, scaled so that the maps"
            " stay as strong",
            choices=POOLINGS,
        ),
    )
    style_loss: str = field(
        default="gram",
        metadata=_program(
            "what of the style's features is compared: gram, second moments; covariance, these"
            " about the mean, and the mean; wasserstein, the distance between the normal"
            " distributions that have both; mean-std, each channel's mean and deviation;"
            " gram+mean-std",
            choices=STYLE_LOSS_NAMES,
        ),
    )
    balance: str = field(
        default="book",
        metadata=_program(
            "book: the textbook's units, a layer's loss depends on how strong its features are;"
            " relative: every layer's loss is a part of its target's own energy, and a weight means"
            " the same for all pictures, networks and numbers of layers",
            choices=BALANCES,
        ),
    )
    conv: str = field(
        default="auto",
        metadata=_about(
            "how the network convolves: direct; winograd, a quarter of the multiplications, other"
            " rounding; auto, winograd on a CPU and direct elsewhere",
            choices=CONVS,
        ),
    )
    memory: str = field(
        default="auto",
        metadata=_program(
            "plain; strips, the same row by row: less memory, more time; auto, plain if it fits",
            choices=MEMORIES,
        ),
    )
    size: Size = field(
        metadata=_about(
            "N: the content's long side becomes N pixels, aspect kept, never enlarged (see"
            " --upscale), and the style's likewise (with --scales auto as long as the content's);"
            " HxW: exactly that, the style's too unless --scales is auto; full: the photo's own",
            metavar="N|HxW|full",
        )
    )
    upscale: bool = field(
        default=False,
        metadata=_about(
            "whether a photo of fewer pixels than --size is enlarged and painted at that size",
            metavar="yes|no",
            later=True,
        ),
    )
    style_scale: tuple[float, ...] = field(
        default=(1.0,),
        metadata=_about(
            "strokes so many times as large as usual: the style is painted from at so many times"
            " its usual size; several, such as 0.7,1,1.4, are averaged",
            metavar="X[,X...]",
            later=True,
        ),
    )
    style_size: int | str = field(
        default="auto",
        metadata=_about(
            "long side in pixels of the style at full size, whatever --size is; auto: see --size",
            metavar="N|auto",
            later=True,
        ),
    )
    style_mix: str = field(
        default="blend",
        metadata=_program(
            "of several style pictures: blend, one style that has the weighted mean of their"
            " statistics; sum, the weighted sum of the distances to each",
            choices=STYLE_MIXES,
            later=True,
        ),
    )
    propagation: str = field(
        default="simple",
        metadata=_about(
            "which positions of a layer belong to a region: simple, by their own pixels; inside,"
            " only those that see nothing else; all, those that see any of it",
            choices=PROPAGATIONS,
            later=True,
        ),
    )
    extrapolate: bool = field(
        default=False,
        metadata=_about(
            "whether --style-weights may be below 0: away from that picture's style",
            metavar="yes|no",
            later=True,
        ),
    )
    scales: tuple[float, ...] | str = field(
        default=(1.0,),
        metadata=_about(
            "sizes to paint at one after another, as fractions of --size, the last being 1;"
            " those too small for the layers are left out; auto: each half of the next, the first"
            " with a long side of 64 to 127 pixels",
            metavar="FRACTIONS|auto",
        ),
    )
    steps: int = field(
        metadata=_about(
            "optimiser steps in all, shared among the --scales that are painted, see --steps-power;"
            " of auto scales, those of the three largest: each coarser one adds as many as the"
            " third has",
            metavar="N",
        )
    )
    steps_power: float = field(
        default=1.0,
        metadata=_about(
            "a size's share of the --steps is its scale to this power: of 300 steps at 0.5,1 the"
            " first has 100 with 1, half with 0, 200 with -1, where steps are cheap",
            metavar="X",
        ),
    )
    full_depth: int = field(
        default=5,
        metadata=_about(
            "the deepest of VGG's blocks, 1 to 5, whose style layers count at full size where"
            " coarser --scales come before, unless all are deeper; 4 saves a quarter of a step, and"
            " what block 5 sees has been painted by then",
            metavar="N",
        ),
    )
    schedule: str = field(
        default="step",
        metadata=_program(
            "how the learning rate falls: step (see --decay-every); cosine, from --learning-rate to"
            " 0 at each of the --scales; hold-cosine, the same after two thirds of the steps at"
            " --learning-rate",
            choices=SCHEDULES,
        ),
    )
    tv_step: str = field(
        default="gradient",
        metadata=_program(
            "how a step takes the total variation: gradient, with the other terms; proximal, solved"
            " as it is after them, which needs fewer steps",
            choices=TV_STEPS,
        ),
    )
    optimizer: str = field(
        default="adam",
        metadata=_program(
            "adam; lbfgs: without line search, brings --tv-step gradient and --learning-rate 1",
            choices=tuple(OPTIMIZER_BYTES),
            later=True,
        ),
    )
    history: int = field(
        default=HISTORY,
        metadata=_program("how many steps lbfgs remembers", metavar="N", later=True),
    )
    beta2: str = field(
        default="constant",
        metadata=_program(
            "how long Adam remembers squared gradients: constant, beta2 = 0.999; increasing,"
            " 1 - n^-0.8 at step n of a size, so that the first ones, far too large, are forgotten",
            choices=BETA2S,
        ),
    )
    clip: bool = field(
        default=False,
        metadata=_program(
            "whether every step ends in colours that a file can hold, from black to white",
            metavar="yes|no",
        ),
    )
    average: float = field(
        default=0.0,
        metadata=_program(
            "show, save and take to the next size an average of a size's canvases instead of the"
            " last: how much of it each step keeps, such as 0.9; 0 is the last canvas alone",
            metavar="X",
        ),
    )
    resampling: str = field(
        default="lanczos", metadata=_about("how the pictures are resized", choices=RESAMPLINGS)
    )
    colors: str = field(
        default="style",
        metadata=_about(
            "whose colours the result has: style, the painting's; photo, the painted luma with the"
            " photo's chroma; luminance, the same, and both pictures are painted in grey; match,"
            " those of a painting whose colours are matched to the photo's before",
            choices=COLORS,
            later=True,
        ),
    )
    color_match: str = field(
        default="optimal-transport",
        metadata=_about(
            "what --colors match does: gives the painting the photo's mean and covariance of"
            " colours, in one of three ways; or, histogram, its distribution in each channel;"
            " giving it chooses --colors match",
            choices=COLOR_MATCHES,
            later=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Hyperparams:
    """The hyperparameters, a pytree: they are data, so changing one compiles nothing.

    The loss is content_weight * content + style_weight * style + tv_weight * total variation.
    """

    content_weight: float = field(
        default=1.0, metadata=_about("weight of the content loss", metavar="X")
    )
    style_weight: float = field(
        default=1e4, metadata=_about("weight of the style loss", metavar="X")
    )
    style_weights: tuple[float, ...] = field(
        default=(),
        metadata=_about(
            "how much each of several style pictures counts, such as 2,1,1: parts of their sum;"
            " of a folder, all of its pictures together",
            metavar="X,X[,X...]|equal",
            later=True,
        ),
    )
    tv_weight: float = field(
        default=10.0,
        metadata=_about("weight of the total variation: more is smoother", metavar="X"),
    )
    learning_rate: float = field(
        default=0.3,
        metadata=_about(
            "Adam's step at the start, in normalised colour (1 is 0.22 to 0.23 of the range"
            " black to white); of lbfgs a factor of its step",
            metavar="X",
        ),
    )
    decay_every: int = field(
        default=50,
        metadata=_about(
            "steps between two drops of the learning rate, counted over the whole run; giving it"
            " chooses --schedule step",
            metavar="N",
        ),
    )
    decay_rate: float = field(
        default=0.8,
        metadata=_about(
            "factor of each drop, at most 1; giving it chooses --schedule step", metavar="X"
        ),
    )
    coarse_content: float = field(
        default=1.0,
        metadata=_about(
            "factor of --content-weight at all of the --scales but the last; at the last, if it is"
            " below 1, once for every one of auto scales beyond three",
            metavar="X",
        ),
    )
    content_power: float = field(
        default=0.0,
        metadata=_about(
            "in relative balance, how much a photo that is strong beside the painting weighs: a"
            " content layer's loss times the ratio of both pictures' energies there, at least 0.5,"
            " to this power; 0: not",
            metavar="X",
        ),
    )
    content_layer_weights: tuple[float, ...] = field(default=(1.0,), metadata={})
    style_layer_weights: tuple[float, ...] = field(default=(1.0,) * 5, metadata={})


def for_several_devices(recipe: Recipe) -> Recipe:
    """Returns the recipe for several devices that share the rows of one picture.

    Raises:
      InputError: it asks for what only one device does.
    """
    for name, only in (("memory", "plain"), ("conv", "direct")):
        given = getattr(recipe, name)
        if given not in ("auto", only):
            raise InputError(
                f"{name} {given!r} is for one device: several that share a picture take {only!r}"
            )
    return dataclasses.replace(recipe, memory="plain", conv="direct")


def field_names(settings: type[Recipe] | type[Hyperparams]) -> tuple[str, ...]:
    """Returns the names of the fields of one of the two kinds of settings, in order."""
    return tuple(each.name for each in dataclasses.fields(settings))


def has_flag(setting: dataclasses.Field[Any]) -> bool:
    """Whether a setting can be given on the command line: it then has a text that explains it."""
    return "help" in setting.metadata


def came_later(setting: dataclasses.Field[Any]) -> bool:
    """Whether a setting is younger than the records of results: its metadata then says "later".

    Its default must mean that all is done as before there was such a setting.
    """
    return bool(setting.metadata.get("later"))


def later_defaults() -> dict[str, Any]:
    """Returns by name the default of every setting that `came_later`."""
    fields = dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams)
    return {each.name: each.default for each in fields if came_later(each)}


def program_names() -> tuple[str, ...]:
    """Returns the names of the recipe's fields that are marked as deciding the program."""
    return tuple(each.name for each in dataclasses.fields(Recipe) if each.metadata.get("program"))
