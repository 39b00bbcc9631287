"""How large a network's activations are, over a small picture; how to scale them by layer.

In numpy: weights are read before jax is imported.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import MEAN, STD

NumpyParams = Mapping[str, Mapping[str, NDArray[np.float32]]]
LayerArrays = dict[str, dict[str, NDArray[np.float32]]]
"""Arrays by layer, then "kernel" and "bias" (and "table", where a kernel is of bytes)."""

SMALLEST_RMS, LARGEST_RMS = 1e-4, 1e4
"""Limits of a layer's root mean square over the probe; trained networks have about 1."""

PROBE_SIDE = 32
EMBEDDED_RMS = {
    "conv1_1": 2.696,
    "conv1_2": 2.483,
    "conv2_1": 4.058,
    "conv2_2": 4.232,
    "conv3_1": 4.537,
    "conv3_2": 5.28,
    "conv3_3": 5.736,
    "conv3_4": 5.612,
    "conv4_1": 5.086,
    "conv4_2": 4.994,
    "conv4_3": 5.841,
    "conv4_4": 2.445,
    "conv5_1": 6.444,
    "conv5_2": 6.568,
    "conv5_3": 7.58,
    "conv5_4": 6.177,
}
"""Root mean square over the probe of the embedded network's layers; a test holds it to the file."""

CAFFE_SCALE = {
    "conv1_1": 17.63406,
    "conv1_2": 76.87833,
    "conv2_1": 68.39057,
    "conv2_2": 84.20933,
    "conv3_1": 91.59971,
    "conv3_2": 100.20974,
    "conv3_3": 170.61895,
    "conv3_4": 295.59257,
    "conv4_1": 312.09783,
    "conv4_2": 251.07625,
    "conv4_3": 147.91195,
    "conv4_4": 143.17247,
    "conv5_1": 43.93033,
    "conv5_2": 20.72756,
    "conv5_3": 9.32335,
    "conv5_4": 2.34528,
}
"""How many times as large as the embedded network's the features of Oxford's VGG-19 are, as Caffe
has it: the ratio of their biases, by layer, since the embedded one is that network with its layers
divided (weights/README.md). Of torchvision's network it is about that."""


def check_scale(measured: Mapping[str, float]) -> None:
    """Raises InputError if a layer's root mean square shows that activations vanish or explode."""
    for name, rms in measured.items():
        if not SMALLEST_RMS <= rms <= LARGEST_RMS:  # NaN is neither
            raise InputError(
                f"its activations {'vanish' if rms < 1 else 'explode'}: {name} returns {rms:.2g}"
                " (root mean square) where trained networks return about 1, so the file is damaged"
                " or its layers were scaled"
            )


def divided(
    params: Mapping[str, Mapping[str, NDArray[np.float32]]], divisors: Mapping[str, float]
) -> LayerArrays:
    """Returns layers whose outputs are the given ones' divided by these numbers, in float32.

    A ReLU network allows it: a layer takes what the one before has divided, so its kernel, or the
    table of it, is multiplied by that number and divided by its own; its bias is divided.
    """
    before = 1.0
    result: LayerArrays = {}
    for name in sorted(params):
        layer, divisor = params[name], np.float64(divisors[name])
        values = "table" if "table" in layer else "kernel"
        scaled = {
            "bias": np.asarray(layer["bias"] / divisor, np.float32),
            values: np.asarray(layer[values] * (before / divisor), np.float32),
        }
        result[name] = {**layer, **scaled}
        before = divisor
    return result


def probe() -> NDArray[np.float32]:
    """Returns a small canvas with soft waves, edges and colors: (32, 32, 3), normalized."""
    y, x = np.mgrid[:PROBE_SIDE, :PROBE_SIDE] / PROBE_SIDE
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 0.5), (2, -3), (-5, 4))]
    light = 0.45 + 0.2 * waves[0] + 0.1 * waves[1] + 0.05 * waves[2] + 0.25 * (x + y > 1.1)
    tint = np.stack([0.1 * waves[1], 0 * x, -0.1 * waves[0]], axis=-1)
    picture = (light[..., None] + tint).clip(0, 1)
    return np.asarray((picture - MEAN) / STD, np.float32)


def rms_of_probe(params: NumpyParams) -> dict[str, float]:
    """Returns by layer the root mean square of its output for the probe, after the ReLU."""
    maps, measured = probe(), {}
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is told by what it gives
        for name in sorted(params):
            if name.endswith("_1") and name != "conv1_1":
                height, width, channels = maps.shape
                halves = maps.reshape(height // 2, 2, width // 2, 2, channels)
                maps = halves.max(axis=(1, 3))
            maps = np.maximum(_convolved(maps, params[name]["kernel"]) + params[name]["bias"], 0)
            measured[name] = float(np.sqrt(np.square(maps, dtype=np.float64).mean()))
    return measured


def _convolved(maps: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (H, W, in) convolved with (3, 3, in, out), padded with zeros, in numpy."""
    height, width, channels = maps.shape
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    windows = np.stack(
        [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=2
    )
    flat = windows.reshape(height * width, 9 * channels) @ kernel.reshape(9 * channels, -1)
    return flat.reshape(height, width, -1)
