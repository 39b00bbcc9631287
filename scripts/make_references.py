"""Record what the textbook's PyTorch program computes, for the tests to be held to.

Usage: `python scripts/make_references.py slim full resize`, any of the three. Needs PyTorch and
Pillow; `resize` also needs torchvision. On one machine a second run writes identical bytes.
Pictures, features, gradients and canvases are stored channel-last, (H, W, C); kernels are OIHW.
A key ending in `_float64` holds the same quantity computed in double precision from the same
float32 weights and canvas.
"""

import argparse
import json
import platform
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import reference_program as reference
import torch
from PIL import Image
from reference_program import CHANNEL_DEVIATION, CHANNEL_MEAN, Array, Network, Preset
from torch import Tensor

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
Arrays = dict[str, Array]

PROJECT = Path(__file__).resolve().parents[1]
PHOTO, PAINTING = "coffee.png", "strokes.png"
SLIM_SHRINK, FULL_SHRINK = 2, 3
SLIM_NOISE, FULL_NOISE = 14, 15
NOISE_LEVELS, NOISE_STEP = 8, 36
DECAY_EVERY = 20
RATES = (0.3, 0.01)
SLIM_STEPS, SLIM_CANVASES = 60, {0.3: (1, 4, 10), 0.01: (20, 40, 60)}
SLIM_SIZE, FULL_SIZE = (75, 101), (64, 96)
# Left and top of each crop in the file; its extent is the size times how far it is shrunk. The
# noise's seed and the full-width photo crop were chosen so that hardly an activation lies within
# rounding of a ReLU's or a pooling window's kink, where single precision may take either side.
SLIM_CORNERS = {PHOTO: (310, 180), PAINTING: (380, 10)}
FULL_CORNERS = {PHOTO: (149, 68), PAINTING: (230, 20)}

# A gain makes the style term matter: without one, random kernels let it vanish beside the others.
# The seeds and gains are those, of about a hundred tried, in which rounding is amplified least:
# four ways to run them in PyTorch (oneDNN, its own convolutions, channels last, double precision)
# agree. Elsewhere these part by percents within ten steps; comparing a fifth would say nothing.
SLIM_NETWORKS = (
    Network("vgg19-slim", (2, 2, 4, 4, 4), (8, 12, 16, 32, 32), 22, 1.3, 0.1),
    Network("vgg16-slim", (2, 2, 3, 3, 3), (8, 12, 16, 24, 24), 23, 1.26, 0.1),
)
FULL_NETWORK = Network("vgg19-full", (2, 2, 4, 4, 4), (64, 128, 256, 512, 512), 120, 1.5, 0.0)
BOOK, BOOK_MXNET = Preset("book", inplace=True), Preset("book-mxnet", inplace=False)

# Name, file, box (left, top, right, bottom) or None for the whole file, and target (H, W).
RESIZE_CASES: tuple[tuple[str, str, Box | None, tuple[int, int]], ...] = (
    ("photo_down", PHOTO, None, (75, 113)),
    ("painting_down", PAINTING, None, (61, 90)),
    ("crop_aspect", PHOTO, (330, 240, 378, 304), (37, 91)),
    ("crop_tall", PHOTO, (330, 240, 378, 304), (130, 40)),
    ("crop_up", PAINTING, (300, 200, 333, 221), (50, 80)),
    ("crop_same", PAINTING, (300, 200, 333, 221), (21, 33)),
)


def read_crop(path: Path, corner: tuple[int, int], size: tuple[int, int], shrink: int) -> Picture:
    """Cut a piece out of a picture and shrink it with Lanczos' filter."""
    left, top = corner
    box = (left, top, left + shrink * size[1], top + shrink * size[0])
    image = Image.open(path).convert("RGB").crop(box)
    return np.array(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))


def read_pictures(
    examples: Path,
    corners: dict[str, tuple[int, int]],
    size: tuple[int, int],
    shrink: int,
    noise_seed: int,
) -> dict[str, Picture]:
    """Read the content and the style crop and draw the second canvas.

    That one is coarse noise: an eighth of its neighbours are equal, which tries the total
    variation's kink, while no patch is flat enough for two values in a pooling window to tie.
    """
    generator = np.random.Generator(np.random.PCG64(noise_seed))
    noise = generator.integers(0, NOISE_LEVELS, (*size, 3)) * NOISE_STEP
    content, style = (
        read_crop(examples / name, corner, size, shrink) for name, corner in corners.items()
    )
    return {"content": content, "style": style, "second": noise.astype(np.uint8)}


class Recorder:
    """The program for one network, preset and pair of pictures, in both precisions."""

    def __init__(self, network: Network, preset: Preset, pictures: dict[str, Picture]) -> None:
        """Draw the weights and compute the targets."""
        self.weights = reference.draw_weights(network)
        self.images = {name: reference.normalize(picture) for name, picture in pictures.items()}
        self.doubles = {name: image.double() for name, image in self.images.items()}
        self.taps = preset.taps(network)
        self.programs = [
            reference.Program(
                reference.build(network, self.weights, preset, dtype),
                self.taps,
                self.images["content"].to(dtype),
                self.images["style"].to(dtype),
            )
            for dtype in (torch.float32, torch.float64)
        ]
        self.check_taps()

    def check_taps(self) -> None:
        """Fail unless exactly the taps named after a ReLU are free of negative values."""
        for name, feature in self.programs[0].features(self.images["content"]).items():
            if (feature.min().item() >= 0) != name.startswith("relu"):
                raise AssertionError(f"{name} has the wrong sign")

    def check_gradient(self, canvas: str, step: float = 1e-6) -> float:
        """Hold five gradient entries against central differences.

        Returns:
            The worst error, relative to the largest entry of the gradient.
        """
        program, start = self.programs[1], self.doubles[canvas]
        gradient = program.differentiate(start)[1]
        worst = 0.0
        for row, column, channel in ((0, 0, 0), (3, 5, 1), (9, 20, 2), (22, 31, 0), (40, 57, 1)):
            nudge = torch.zeros_like(start)
            nudge[0, channel, row, column] = step
            ahead, behind = (program.losses(start + s * nudge)["total"].item() for s in (1, -1))
            slope = (ahead - behind) / (2 * step)
            worst = max(worst, abs(slope - float(gradient[row, column, channel])))
        worst /= float(np.abs(gradient).max())
        if worst > 1e-5:
            raise AssertionError(f"the gradient is off by {worst} at {canvas}")
        return worst

    def features(self) -> dict[str, Tensor]:
        """Compute every tapped feature of both pictures, `<picture>_features/<tap>`."""
        return {
            f"{picture}_features/{name}": feature
            for picture in ("content", "style")
            for name, feature in self.programs[0].features(self.images[picture]).items()
        }

    def grams(self) -> Arrays:
        """Compute the Grams of the style picture and of the initial canvas."""
        features = self.features()
        return {
            f"{prefix}_grams/{name}": reference.gram(features[f"{picture}_features/{name}"]).numpy()
            for prefix, picture in (("style", "style"), ("canvas", "content"))
            for name in self.programs[0].style_taps
        }

    def gradients(self) -> Arrays:
        """Compute terms and gradient at the initial (content) and the second canvas."""
        arrays: Arrays = {}
        for label, picture in (("initial", "content"), ("second", "second")):
            for suffix, program, images in (
                ("", self.programs[0], self.images),
                ("_float64", self.programs[1], self.doubles),
            ):
                terms, gradient = program.differentiate(images[picture])
                arrays |= {f"{label}_losses/{name}{suffix}": term for name, term in terms.items()}
                arrays[f"{label}_gradient{suffix}"] = gradient.astype(np.float32)
        return arrays

    def trajectory(self, rate: float, steps: int, keep: tuple[int, ...]) -> Arrays:
        """Train from the content picture, in both precisions.

        Of the double-precision canvases only the largest and the root-mean-square distance to
        the single-precision ones is kept.
        """
        single, double = (
            reference.train(program, images["content"], rate, DECAY_EVERY, steps, keep)
            for program, images in zip(self.programs, (self.images, self.doubles), strict=True)
        )
        arrays: Arrays = {
            "losses": np.array(single.losses, np.float32),
            "losses_float64": np.array(double.losses),
            "learning_rates": np.array(single.rates),
        }
        if keep:
            apart = [single.canvases[k] - double.canvases[k] for k in keep]
            arrays["canvas_steps"] = np.array(keep)
            arrays["canvases"] = np.stack([single.canvases[k] for k in keep])
            arrays["canvas_distances_float64"] = np.array(
                [[np.abs(a).max(), np.sqrt(np.square(a).mean())] for a in apart]
            )
        return {f"trajectory_lr_{rate}/{name}": array for name, array in arrays.items()}


def describe(part: str, **more: object) -> Array:
    """Write the versions, settings and units of one file as a JSON string."""
    packages = ["torch", "numpy", "pillow"] + (["torchvision"] if part == "resize" else [])
    meta = {
        "command": f"python scripts/make_references.py {part}",
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "threads": torch.get_num_threads(),
        "layout": "pictures, features, gradients, canvases (H, W, C); kernels OIHW",
        "units": "pictures 8-bit; canvases and gradients in normalised values",
        "channel_mean": CHANNEL_MEAN,
        "channel_deviation": CHANNEL_DEVIATION,
    }
    return np.array(json.dumps(meta | more, indent=1))


def describe_run(part: str, network: Network, preset: Preset, recorder: Recorder) -> Array:
    """Write the `meta` entry of one network and preset."""
    kernels, biases = zip(*recorder.weights.values(), strict=True)
    unscaled = reference.draw_weights(replace(network, gain=1.0)).values()
    return describe(
        part,
        network=asdict(network),
        preset=asdict(preset),
        taps=recorder.taps,
        content_tap=recorder.programs[0].content_tap,
        loss_weights=reference.LOSS_WEIGHTS,
        adam={"betas": [0.9, 0.999], "epsilon": 1e-8},
        schedule={"step_size": DECAY_EVERY, "gamma": reference.DECAY_FACTOR},
        loss_columns=reference.LOSS_COLUMNS,
        kernels_sha256=reference.digest(kernels),
        kernels_before_gain_sha256=reference.digest([kernel for kernel, _ in unscaled]),
        biases_sha256=reference.digest(biases),
        noise={"seeds": [SLIM_NOISE, FULL_NOISE], "levels": NOISE_LEVELS, "step": NOISE_STEP},
        generator="numpy.random.PCG64",
        crops={
            "slim": {"shrink": SLIM_SHRINK, **SLIM_CORNERS},
            "full": {"shrink": FULL_SHRINK, **FULL_CORNERS},
        },
        gradient_error={name: recorder.check_gradient(name) for name in ("content", "second")},
    )


def record_slim(network: Network, preset: Preset, examples: Path) -> Arrays:
    """Record a slim network completely."""
    pictures = read_pictures(examples, SLIM_CORNERS, SLIM_SIZE, SLIM_SHRINK, SLIM_NOISE)
    recorder = Recorder(network, preset, pictures)
    arrays: Arrays = {"meta": describe_run("slim", network, preset, recorder)}
    arrays |= {f"pictures/{name}": picture for name, picture in pictures.items()}
    for name, (kernel, bias) in recorder.weights.items():
        arrays |= {f"weights/{name}/kernel": kernel, f"weights/{name}/bias": bias}
    arrays |= {
        name: reference.channels_last(feature) for name, feature in recorder.features().items()
    }
    arrays |= recorder.grams() | recorder.gradients()
    for rate in RATES:
        arrays |= recorder.trajectory(rate, SLIM_STEPS, SLIM_CANVASES[rate])
    return arrays


def record_full(examples: Path) -> Arrays:
    """Record samples and norms of the full-width network, whose weights are too large to keep."""
    pictures = read_pictures(examples, FULL_CORNERS, FULL_SIZE, FULL_SHRINK, FULL_NOISE)
    recorder = Recorder(FULL_NETWORK, BOOK, pictures)
    arrays: Arrays = {"meta": describe_run("full", FULL_NETWORK, BOOK, recorder)}
    arrays |= {f"pictures/{name}": picture for name, picture in pictures.items()}
    for name, feature in recorder.features().items():
        arrays[f"{name}/rms"] = feature.double().square().mean().sqrt().numpy()
        arrays[f"{name}/slice"] = reference.channels_last(feature)[::4, ::4, :8]
    for name, matrix in recorder.grams().items():
        arrays[f"{name}/norm"] = np.array(np.linalg.norm(matrix.astype(np.float64)))
        arrays[f"{name}/corner"] = matrix[:16, :16]
    arrays |= recorder.gradients()
    return arrays | recorder.trajectory(0.3, 4, ()) | recorder.trajectory(0.01, 20, (20,))


def record_resize(examples: Path) -> Arrays:
    """Record torchvision's Resize, and its ToTensor and Normalize for every 8-bit value."""
    from torchvision import transforms  # only this part needs it

    arrays: Arrays = {}
    listing = []
    for name, file, box, size in RESIZE_CASES:
        image = Image.open(examples / file).convert("RGB")
        if box:
            image = image.crop(box)
            arrays[f"{name}/picture"] = np.array(image)
        arrays[f"{name}/resized"] = np.array(transforms.Resize(size)(image))
        pixels = reference.digest([np.array(image)])
        listing.append({"name": name, "file": file, "box": box, "size": size, "sha256": pixels})
    arrays["meta"] = describe("resize", cases=listing, filter="bilinear, antialias")
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = np.stack([levels, levels.T, levels[::-1]], axis=-1)
    steps = [transforms.ToTensor(), transforms.Normalize(CHANNEL_MEAN, CHANNEL_DEVIATION)]
    arrays["normalised/picture"] = picture
    arrays["normalised/image"] = reference.channels_last(transforms.Compose(steps)(picture)[None])
    return arrays


def main() -> None:
    """Write the files of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=("slim", "full", "resize"))
    parser.add_argument("--examples", type=Path, default=PROJECT / "examples")
    parser.add_argument("--output", type=Path, default=PROJECT / "tests" / "references")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    files: dict[str, Arrays] = {}
    if "slim" in options.parts:
        for network in SLIM_NETWORKS:
            for preset in (BOOK, BOOK_MXNET):
                run = record_slim(network, preset, options.examples)
                files[f"{network.name}-{preset.name}"] = run
    if "full" in options.parts:
        files[FULL_NETWORK.name] = record_full(options.examples)
    if "resize" in options.parts:
        files["resize"] = record_resize(options.examples)
    for name, arrays in files.items():
        np.savez_compressed(options.output / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
