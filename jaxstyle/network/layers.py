"""VGG-16 and VGG-19 as tables: which convolutions there are, what they are called, where they lie.

A *tap* is a place where the network can be read: `conv4_2` is what the second convolution of
block 4 returns, `relu4_2` the same after its ReLU. `conv4_last` and `relu4_last` name the last
convolution of a block: 4_3 in VGG-16 and 4_4 in VGG-19.

Tables after Simonyan & Zisserman 2014 (configurations D and E); the numbering of the weights is
that of torchvision's `vgg16().features` and `vgg19().features`.
"""

import re
from collections.abc import Iterable, Sequence

from jaxstyle.errors import InputError, did_you_mean

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""How many 3x3 convolutions each of the five blocks has; a 2x2 pool lies between blocks."""

KERAS_ENDINGS = {
    "kernel": ("_W_1:0", "_W:0", "/kernel:0", "/kernel"),
    "bias": ("_b_1:0", "_b:0", "/bias:0", "/bias"),
}
"""How Keras' versions have named a layer's arrays, after the layer's name."""

DEEPEST_NEEDED = "conv5_1"
"""A weight file may end here: the deepest layer that any preset reads."""

POOLINGS = ("max", "avg", "l2")
PADDINGS = ("zeros", "replicate")
CONVS = ("auto", "direct", "winograd")
PRECISIONS = ("highest", "tf32", "bf16")
"""In which the network convolves, see `network.precision`."""


def conv_names(architecture: str) -> list[str]:
    """Returns the names of an architecture's convolutions in the order they are computed."""
    counts = CONVOLUTIONS[architecture]
    return [f"conv{b}_{i}" for b, n in enumerate(counts, 1) for i in range(1, n + 1)]


def required_conv_names(architecture: str) -> list[str]:
    """Returns the convolutions that a weight file must hold: all up to `DEEPEST_NEEDED`."""
    return [name for name in conv_names(architecture) if name <= DEEPEST_NEEDED]


def architecture_of(names: Iterable[str]) -> str:
    """Returns "vgg19" if its fourth convolution of block 3 or 4 is among `names`, else "vgg16"."""
    return "vgg19" if {"conv3_4", "conv4_4"} & set(names) else "vgg16"


def torchvision_indices(architecture: str) -> dict[str, int]:
    """Returns each convolution's index in torchvision's `features`, counting ReLUs and pools."""
    names = conv_names(architecture)
    return {name: 2 * i + block_of(name) - 1 for i, name in enumerate(names)}


def torchvision_places(architecture: str) -> dict[str, tuple[str, str]]:
    """Returns torchvision's name of every array with ours: layer and key."""
    return {
        f"features.{index}.{theirs}": (conv, ours)
        for conv, index in torchvision_indices(architecture).items()
        for ours, theirs in (("kernel", "weight"), ("bias", "bias"))
    }


def keras_places() -> dict[str, tuple[str, str]]:
    """Returns where Keras' files have the arrays of any VGG, with our names: layer and key.

    Old files have them at block1_conv1/block1_conv1_W_1:0, later ones at
    block1_conv1/block1_conv1/kernel:0.
    """
    names = sorted({name for each in CONVOLUTIONS for name in conv_names(each)})
    return {
        f"{theirs}/{theirs}{ending}": (name, key)
        for name in names
        for theirs in [name.replace("conv", "block").replace("_", "_conv")]
        for key, endings in KERAS_ENDINGS.items()
        for ending in endings
    }


def tap_names() -> list[str]:
    """Returns every name by which a tap may be asked for, in either architecture."""
    convs = sorted({name for each in CONVOLUTIONS for name in conv_names(each)})
    convs += [f"conv{block}_last" for block in range(1, 6)]
    return [name.replace("conv", kind) for kind in ("conv", "relu") for name in convs]


def check_tap(name: str) -> None:
    """Raises InputError, with the nearest name, if no VGG has a tap of this name."""
    if name not in tap_names():
        raise InputError(
            f"unknown layer {name!r}: layers are conv1_1 ... conv5_4, relu1_1 ... relu5_4 and"
            f" conv1_last ... relu5_last{did_you_mean(name, tap_names())}"
        )


def resolve_tap(name: str, convs: Sequence[str]) -> str:
    """Returns the tap's plain name in the network whose convolutions are `convs`.

    Args:
      name: any of `tap_names()`.
      convs: names of the convolutions that the weights hold, such as ["conv1_1", ...].

    Raises:
      InputError: the name is unknown, or these weights have no such layer.
    """
    check_tap(name)
    architecture = architecture_of(convs)
    last = CONVOLUTIONS[architecture][block_of(name) - 1]
    plain = name.replace("last", str(last))
    if conv_of(plain) not in convs:
        raise InputError(f"these weights ({architecture} up to {max(convs)}) have no layer {plain}")
    return plain


def resolve_taps(names: Sequence[str], convs: Sequence[str]) -> tuple[str, ...]:
    """Returns plain names of several taps; see `resolve_tap`.

    Raises:
      InputError: also where two of the names mean the same tap.
    """
    plain = tuple(resolve_tap(name, convs) for name in names)
    for tap in plain:
        if plain.count(tap) > 1:
            raise InputError(f"{' and '.join(names)} name {tap} twice in these weights")
    return plain


def block_of(name: str) -> int:
    """Returns the block, 1 to 5, of a convolution or tap such as "relu4_2" or "conv4_last"."""
    match = re.fullmatch(r"(?:conv|relu)([1-5])_(?:[1-4]|last)", name)
    if match is None:
        raise InputError(f"{name!r} is not the name of a layer")
    return int(match[1])


def conv_of(name: str) -> str:
    """Returns the name of the convolution that a tap reads: "conv4_2" for "relu4_2"."""
    return name.replace("relu", "conv")


def smallest_side(taps: Iterable[str]) -> int:
    """Returns the least height and width in pixels that leave one position at every tap.

    Every pool halves the side, rounding down, so a tap of block b needs 2 ** (b - 1).
    """
    deepest: int = max(block_of(name) for name in taps)
    return 1 << (deepest - 1)
