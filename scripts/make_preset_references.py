"""Record the losses of three published programs, for the presets of their names to be held to.

Usage: `python scripts/make_preset_references.py`. Needs PyTorch and numpy. Written from the
formulas of neural-style, style-transfer-pytorch and "Scaling Painting Style Transfer" (Galerne,
Raad, Lezama & Morel), each in its own units, in double precision. It shares no code with the
package. The network and the pictures, of which CROPS are taken, are those of
tests/references/vgg19-slim-book.npz. Of the gradients, by normalized values and channel-last, (H,
W, C), every second row and column is kept.
"""

import json
from collections.abc import Callable, Mapping

import make_references as references
import numpy as np
import reference_program as reference
import torch
from reference_program import Array
from torch import Tensor
from torch.nn import functional

FOLDER = references.PROJECT / "tests" / "references"
SOURCE, OUTPUT = FOLDER / "vgg19-slim-book.npz", FOLDER / "presets.npz"
CROPS = {"content": (41, 55), "style": (58, 47), "second": (41, 55)}
STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_TAP = "relu4_2"
CAFFE_SCALES = {
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
}
"""How many times as large the features of Oxford's VGG-19 are as those of jaxstyle's copy of it."""

Weights = dict[str, tuple[Tensor, Tensor]]
Terms = dict[str, Tensor]


def features(weights: Weights, x: Tensor, *, replicate: bool = False) -> dict[str, Tensor]:
    """Return every ReLU's output (C, H, W), of an input (3, H, W) as the network takes it."""
    found = {}
    x = x[None]
    for name, (kernel, bias) in weights.items():
        if name.endswith("_1") and name != "conv1_1":
            x = functional.max_pool2d(x, 2)
        border = "replicate" if replicate and name == "conv1_1" else "constant"
        x = functional.relu(
            functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode=border), kernel, bias)
        )
        found[name.replace("conv", "relu")] = x[0]
    return found


def caffe_weights(weights: Weights) -> Weights:
    """Return the same network as Caffe would have it: BGR from 0 to 255 less a mean, large."""
    scales = torch.tensor(reference.CHANNEL_DEVIATION, dtype=torch.float64) * 255
    found, before = {}, 1.0
    for name, (kernel, bias) in weights.items():
        times = CAFFE_SCALES[name]
        taken = (kernel / scales[:, None, None]).flip(1) if name == "conv1_1" else kernel
        found[name] = (taken * (times / before), bias * times)
        before = times
    return found


def caffe_input(canvas: Tensor) -> Tensor:
    """Return a normalized canvas (3, H, W) as BGR from 0 to 255 less the mean."""
    scales = torch.tensor(reference.CHANNEL_DEVIATION, dtype=torch.float64) * 255
    return (canvas * scales[:, None, None]).flip(0)


def flat(feature: Tensor) -> Tensor:
    """Return (C, N)."""
    return feature.reshape(feature.shape[0], -1)


def gatys(weights: Weights, content: Tensor, style: Tensor, canvas: Tensor) -> Terms:
    """Return neural-style's terms with its default weights: 5, 100, 0.001."""
    caffe = caffe_weights(weights)
    image = caffe_input(canvas)
    found, photo, painting = (
        features(caffe, each) for each in (image, caffe_input(content), caffe_input(style))
    )

    def gram(feature: Tensor) -> Tensor:
        matrix = flat(feature)
        return matrix @ matrix.T / matrix.numel()

    down = image[:, :-1, :-1] - image[:, 1:, :-1]
    right = image[:, :-1, :-1] - image[:, :-1, 1:]
    return {
        "content": 5 * functional.mse_loss(found[CONTENT_TAP], photo[CONTENT_TAP]),
        "style": sum_of(
            lambda tap: 100 * functional.mse_loss(gram(found[tap]), gram(painting[tap])), STYLE_TAPS
        ),
        "tv": 1e-3 * 0.5 * (down.square().sum() + right.square().sum()),
    }


def sum_of(loss: Callable[[str], Tensor], taps: tuple[str, ...]) -> Tensor:
    """Return the sum of a loss over taps."""
    return torch.stack([loss(tap) for tap in taps]).sum()


def spst(weights: Weights, content: Tensor, style: Tensor, canvas: Tensor) -> Terms:
    """Return the terms of Scaling Painting Style Transfer; it has no total variation."""
    caffe = caffe_weights(weights)
    found, photo, painting = (
        features(caffe, caffe_input(each)) for each in (canvas, content, style)
    )

    def statistics(feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        matrix = flat(feature)
        second = matrix @ matrix.T / matrix.shape[1]
        mean = matrix.mean(1)
        return second, mean, (second.diagonal() - mean.square()).clamp(min=1e-12).sqrt()

    def loss(tap: str) -> Tensor:
        (g, m, s), (g_a, m_a, s_a) = statistics(found[tap]), statistics(painting[tap])
        of_gram = 1e3 / len(m) ** 2 * functional.mse_loss(g, g_a)
        return of_gram + 1e4 * (functional.mse_loss(m, m_a) + functional.mse_loss(s, s_a))

    error = functional.mse_loss(found[CONTENT_TAP], photo[CONTENT_TAP])
    return {"content": error, "style": sum_of(loss, STYLE_TAPS), "tv": canvas.sum() * 0}


def crowson(weights: Weights, content: Tensor, style: Tensor, canvas: Tensor) -> Terms:
    """Return style-transfer-pytorch's terms with its default weights."""
    found, photo, painting = (
        features(weights, each, replicate=True) for each in (canvas, content, style)
    )

    def root(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T

    def gaussian(feature: Tensor) -> tuple[Tensor, Tensor]:
        matrix = flat(feature)
        mean = matrix.mean(1)
        second = matrix @ matrix.T / matrix.shape[1]
        return mean, second - torch.outer(mean, mean) + 1e-4 * torch.eye(len(mean)).double()

    def distance(tap: str) -> Tensor:
        (mean, spread), (mean_a, spread_a) = gaussian(found[tap]), gaussian(painting[tap])
        half = root(spread_a)
        both = spread + spread_a - 2 * root(half @ spread @ half)
        return functional.mse_loss(mean, mean_a) + both.diagonal().mean()

    weight = dict(zip(STYLE_TAPS, (256, 64, 16, 4, 1), strict=True))
    deviation = torch.tensor(reference.CHANNEL_DEVIATION, dtype=torch.float64)
    x = functional.pad((canvas * deviation[:, None, None])[None], (1, 1, 1, 1), mode="replicate")[0]
    inner = x[:, 1:-1, 1:-1]
    straight = [x[:, 1:-1, 2:] - inner, x[:, 2:, 1:-1] - inner]
    oblique = [x[:, 1:, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, 1:]]
    variation = 2 * (
        sum(each.square().mean() / 3 for each in straight)
        + sum(each.square().mean() / 12 for each in oblique)
    )
    return {
        "content": 0.015 * functional.mse_loss(found[CONTENT_TAP], photo[CONTENT_TAP]),
        "style": sum_of(lambda tap: weight[tap] / 341 * distance(tap), STYLE_TAPS),
        "tv": 2 * variation,
    }


PROGRAMS: Mapping[str, Callable[[Weights, Tensor, Tensor, Tensor], Terms]] = {
    "gatys": gatys,
    "crowson": crowson,
    "spst": spst,
}


def record(name: str, weights: Weights, pictures: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return the terms of the canvas "second", and the gradient of their sum."""
    canvas = pictures["second"].clone().requires_grad_(True)
    terms = PROGRAMS[name](weights, pictures["content"], pictures["style"], canvas)
    (gradient,) = torch.autograd.grad(sum(terms.values()), canvas)
    found = {f"{name}/{term}": value.detach().numpy() for term, value in terms.items()}
    part = gradient.permute(1, 2, 0)[::2, ::2].numpy().copy()
    return {**found, f"{name}/gradient": part}


def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    with np.load(SOURCE) as arrays:
        pictures = {
            name: reference.normalize(arrays[f"pictures/{name}"][:height, :width])[0].double()
            for name, (height, width) in CROPS.items()
        }
    drawn = reference.draw_weights(references.SLIM_NETWORKS[0])
    weights = {
        name: tuple(torch.from_numpy(each).double() for each in layer)
        for name, layer in drawn.items()
    }
    meta = {
        "command": "python scripts/make_preset_references.py",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    arrays = {}
    for name in PROGRAMS:
        arrays |= record(name, weights, pictures)
    np.savez_compressed(OUTPUT, meta=np.array(json.dumps(meta)), **arrays)


if __name__ == "__main__":
    main()
