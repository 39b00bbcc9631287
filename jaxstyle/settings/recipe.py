"""What a run does: `Recipe`, the settings of which some decide the program that is compiled.

The other kind, whose values are data, is in `hyperparams`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jaxstyle.errors import InputError
from jaxstyle.network.layers import CONVS, PADDINGS, POOLINGS, PRECISIONS
from jaxstyle.settings.fields import about, program

MEMORIES = ("auto", "plain", "strips")
INITS = ("content", "style", "noise", "grey")
"""Named starting points of the canvas; a picture may be given instead."""

SCHEDULES = ("step", "cosine", "hold-cosine")
LINE_SEARCHES = ("none", "zoom")
TV_STEPS = ("gradient", "proximal")
STYLE_LOSS_NAMES = ("gram", "covariance", "wasserstein", "mean-std", "gram+mean-std")
"""Those of moments, sums over all positions."""

COLUMN_LOSS_NAMES = ("nearest",)
"""Those of columns, the features of single positions at all style layers."""

SAMPLED_LOSS_NAMES = ("strotss",)
"""Those of the columns of some points, which are others at every step."""

BALANCES = ("book", "relative")
BETA2S = ("constant", "0.99", "increasing")
TV_FORMS = ("absolute", "squared", "nine-point")
UNITS = ("torchvision", "caffe")
RESAMPLINGS = ("lanczos", "bilinear", "bicubic")
COLORS = ("style", "auto", "photo", "luminance", "match")
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does; hashable.

    A field whose metadata has the mark "program" is in `Program`, which is static under jit. Of the
    others, `full_depth` decides which layers are in the last level's program, `conv` the kind of
    the kernels, `size` and `scales` the shapes of arrays: with another value of these, too, another
    program is compiled. `steps`, `steps_power`, `level_steps`, `resampling` and the colours
    compile nothing.
    """

    content_layers: tuple[str, ...] = field(
        metadata=program(
            "layers that hold the content, each with an optional weight: relu4_2,relu3_1:0.5",
            metavar="LAYERS",
        )
    )
    style_layers: tuple[str, ...] = field(
        metadata=program("layers that hold the style, with weights or not", metavar="LAYERS")
    )
    pooling: str = field(
        default="max",
        metadata=program(
            "how the network halves its maps: max; avg and l2, smoother, scaled so that the maps"
            " stay as strong",
            choices=POOLINGS,
        ),
    )
    padding: str = field(
        default="zeros",
        metadata=program(
            "what the network sees beyond a picture's border: zeros, grey; replicate, the outermost"
            " pixels once more, so that a border is no edge",
            choices=PADDINGS,
            later=True,
        ),
    )
    style_loss: str = field(
        default="gram",
        metadata=program(
            "what of the style's features is compared: gram, second moments; covariance, these"
            " about the mean, and the mean; wasserstein, the distance between the normal"
            " distributions that have both; mean-std, each channel's mean and deviation;"
            " gram+mean-std; nearest, each position is led to those of the style's features that"
            " are most like the photo's there; strotss, optimal transport of some points, whose"
            " likeness to each other, the photo's, is then the content",
            choices=STYLE_LOSS_NAMES + COLUMN_LOSS_NAMES + SAMPLED_LOSS_NAMES,
        ),
    )
    balance: str = field(
        default="book",
        metadata=program(
            "book: the textbook's units, a layer's loss depends on how strong its features are;"
            " relative: every layer's loss is a part of its target's own energy, and a weight means"
            " the same for all pictures, networks and numbers of layers",
            choices=BALANCES,
        ),
    )
    units: str = field(
        default="torchvision",
        metadata=program(
            "in book balance, how large features are: torchvision, as its networks have them;"
            " caffe, as Oxford's VGG-19 has them, a hundred times as large, in which neural-style's"
            " weights are stated",
            choices=UNITS,
            later=True,
        ),
    )
    conv: str = field(
        default="auto",
        metadata=about(
            "how the network convolves: direct; winograd, a quarter of the multiplications, other"
            " rounding; auto, winograd on a CPU, compiled where jaxstyle-cpu is installed, and"
            " direct elsewhere",
            choices=CONVS,
        ),
    )
    precision: str = field(
        default="auto",
        metadata=program(
            "of the network's convolutions: highest, float32; tf32, operands of 10 bits, which an"
            " NVIDIA GPU multiplies several times as fast and a CPU emulates; bf16, of 7 bits, and"
            " feature maps too: half their memory; losses and canvas are float32 in all; auto,"
            " tf32 on NVIDIA GPUs where the balance is relative, else highest",
            choices=("auto", *PRECISIONS),
            later=True,
        ),
    )
    memory: str = field(
        default="auto",
        metadata=program(
            "plain; strips, the same row by row: less memory, more time; auto, plain if it fits",
            choices=MEMORIES,
        ),
    )
    size: Size = field(
        metadata=about(
            "N: the content's long side becomes N pixels, aspect kept, never enlarged (see"
            " --upscale), and the style's likewise (with --scales auto as long as the content's);"
            " HxW: exactly that, the style's too unless --scales is auto; full: the photo's own",
            metavar="N|HxW|full",
        )
    )
    upscale: bool = field(
        default=False,
        metadata=about(
            "whether a photo of fewer pixels than --size is enlarged and painted at that size",
            metavar="yes|no",
            later=True,
        ),
    )
    style_scale: tuple[float, ...] = field(
        default=(1.0,),
        metadata=about(
            "strokes so many times as large as usual: the style is painted from at so many times"
            " its usual size; several, such as 0.7,1,1.4, are averaged",
            metavar="X[,X...]",
            later=True,
        ),
    )
    style_size: int | str = field(
        default="auto",
        metadata=about(
            "long side in pixels of the style at full size, whatever --size is; auto: see --size",
            metavar="N|auto",
            later=True,
        ),
    )
    style_mix: str = field(
        default="blend",
        metadata=program(
            "of several style pictures: blend, one style that has the weighted mean of their"
            " statistics; sum, the weighted sum of the distances to each",
            choices=STYLE_MIXES,
            later=True,
        ),
    )
    propagation: str = field(
        default="simple",
        metadata=about(
            "which positions of a layer belong to a region: simple, by their own pixels; inside,"
            " only those that see nothing else; all, those that see any of it",
            choices=PROPAGATIONS,
            later=True,
        ),
    )
    extrapolate: bool = field(
        default=False,
        metadata=about(
            "whether --style-weights may be below 0: away from that picture's style",
            metavar="yes|no",
            later=True,
        ),
    )
    scales: tuple[float, ...] | str = field(
        default=(1.0,),
        metadata=about(
            "sizes to paint at one after another, as fractions of --size, the last being 1;"
            " those too small for the layers are left out; auto: each half of the next, the first"
            " with a long side of 64 to 127 pixels; auto:F:N, each the F-th part of the next, down"
            " to a long side of N pixels (auto:F:N:short: a short side)",
            metavar="FRACTIONS|auto[:F:N[:short]]",
        ),
    )
    steps: int = field(
        metadata=about(
            "optimiser steps in all, shared among the --scales that are painted, see --steps-power;"
            " of auto scales, those of the three largest: each coarser one adds as many as the"
            " third has",
            metavar="N",
        )
    )
    steps_power: float = field(
        default=1.0,
        metadata=about(
            "a size's share of the --steps is its scale to this power: of 300 steps at 0.5,1 the"
            " first has 100 with 1, half with 0, 200 with -1, where steps are cheap",
            metavar="X",
        ),
    )
    level_steps: tuple[float, ...] | str = field(
        default="auto",
        metadata=about(
            "steps at each of the --scales, the coarsest first; the last number is also that of all"
            " finer ones: 1000,500; --steps then says nothing; auto: from --steps",
            metavar="N[,N...]|auto",
            later=True,
        ),
    )
    full_depth: int = field(
        default=5,
        metadata=about(
            "the deepest of VGG's blocks, 1 to 5, whose style layers count at full size where"
            " coarser --scales come before, unless all are deeper; 4 saves a quarter of a step, and"
            " what block 5 sees has been painted by then",
            metavar="N",
        ),
    )
    schedule: str = field(
        default="step",
        metadata=program(
            "how the learning rate falls: step (see --decay-every); cosine, from --learning-rate to"
            " 0 at each of the --scales; hold-cosine, the same after two thirds of the steps at"
            " --learning-rate",
            choices=SCHEDULES,
        ),
    )
    tv_form: str = field(
        default="absolute",
        metadata=program(
            "which total variation: absolute, mean differences of normalized colours; squared,"
            " neural-style's, half the sum of their squares, of 0 to 255; nine-point,"
            " style-transfer-pytorch's, mean squares to all eight neighbours, of 0 to 1; the last"
            " two bring --tv-step gradient",
            choices=TV_FORMS,
            later=True,
        ),
    )
    tv_step: str = field(
        default="gradient",
        metadata=program(
            "how a step takes the total variation: gradient, with the other terms; proximal, solved"
            " as it is after them, which needs fewer steps",
            choices=TV_STEPS,
        ),
    )
    optimizer: str = field(
        default="adam",
        metadata=program(
            "adam; lbfgs: brings --tv-step gradient and --learning-rate 1, see --line-search",
            choices=tuple(OPTIMIZER_BYTES),
            later=True,
        ),
    )
    history: int = field(
        default=HISTORY,
        metadata=program("how many steps lbfgs remembers", metavar="N", later=True),
    )
    line_search: str = field(
        default="none",
        metadata=program(
            "how far lbfgs goes: none, as far as it guesses; zoom, as far as the strong Wolfe"
            " conditions ask, each of the --steps being one evaluation of the loss; brings"
            " --optimizer lbfgs, --clip no and --average 0",
            choices=LINE_SEARCHES,
            later=True,
        ),
    )
    carry: bool = field(
        default=False,
        metadata=program(
            "whether Adam's moments are carried, enlarged, to the next of the --scales",
            metavar="yes|no",
            later=True,
        ),
    )
    beta2: str = field(
        default="constant",
        metadata=program(
            "how long Adam remembers squared gradients: constant, beta2 = 0.999; 0.99; increasing,"
            " 1 - n^-0.8 at step n of a size, so that the first ones, far too large, are forgotten",
            choices=BETA2S,
        ),
    )
    clip: bool = field(
        default=False,
        metadata=program(
            "whether every step ends in colours that a file can hold, from black to white",
            metavar="yes|no",
        ),
    )
    average: float = field(
        default=0.0,
        metadata=program(
            "show, save and take to the next size an average of a size's canvases instead of the"
            " last: how much of it each step keeps, such as 0.9; 0 is the last canvas alone",
            metavar="X",
        ),
    )
    resampling: str = field(
        default="lanczos", metadata=about("how the pictures are resized", choices=RESAMPLINGS)
    )
    colors: str = field(
        default="style",
        metadata=about(
            "whose colours the result has: style, the painting's; auto, likewise, and none where"
            " photo and painting are grey; photo, the painted luma with the photo's chroma;"
            " luminance, the same, and both pictures are painted in grey; match, those of a"
            " painting whose colours are matched to the photo's before",
            choices=COLORS,
            later=True,
        ),
    )
    color_match: str = field(
        default="optimal-transport",
        metadata=about(
            "what --colors match does: gives the painting the photo's mean and covariance of"
            " colours, in one of three ways; or, histogram, its distribution in each channel;"
            " giving it chooses --colors match",
            choices=COLOR_MATCHES,
            later=True,
        ),
    )


WINOGRAD_PRECISIONS = ("auto", "highest")
"""Those that leave a choice of float32, which Winograd's sums need."""


def convolution_of(recipe: Recipe) -> str:
    """Returns what `conv` means in the recipe's precision: Winograd's sums need float32."""
    if recipe.conv == "auto" and recipe.precision not in WINOGRAD_PRECISIONS:
        return "direct"
    return recipe.conv


def uses_seed(recipe: Recipe, init: str) -> bool:
    """Whether a run with this first canvas, one of INITS or a path, draws anything at random."""
    return init in ("noise", "grey") or recipe.style_loss in SAMPLED_LOSS_NAMES


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


def program_names() -> tuple[str, ...]:
    """Returns the names of the recipe's fields that are marked as deciding the program."""
    return tuple(each.name for each in dataclasses.fields(Recipe) if each.metadata.get("program"))
