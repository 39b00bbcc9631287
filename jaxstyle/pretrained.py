"""Which pretrained weights: finding them on this machine, downloading and converting them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxstyle import files
from jaxstyle.download import download
from jaxstyle.errors import InputError
from jaxstyle.weights import (
    Arrays,
    check_named_hash,
    check_weight_path,
    hash_in_name,
    read_weights,
    weight_bytes,
)

EMBEDDED = "vgg16-hed"
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG19_MEGABYTES = 575
VGG19_LICENCE = "BSD-3-Clause (torchvision)"
HOW_TO_GET_VGG19 = f"--weights vgg19 downloads the book's VGG-19 ({VGG19_MEGABYTES} MB, once)"


class WeightFile(NamedTuple):
    """A weight file that was found, and what to say of it."""

    path: Path
    name: str
    """"vgg16-hed", "vgg19", or the file's own name."""
    note: str = ""
    """Why this one, and how to get a better one; may be empty."""


def load_weights(weights: str | Path = "auto") -> Arrays:
    """Returns the parameters of a pretrained VGG, float32, by layer.

    Args:
      weights: "embedded" (the VGG-16 that comes along), "vgg19" (torchvision's, downloaded the
        first time), "auto" (VGG-19 if it is on this machine already, else embedded), or the path
        of an .h5 or .pth file.

    Raises:
      InputError: no such file, or not a usable weight file.
      OSError: the download failed.
    """
    return read_weights(find_weights(weights).path)


def find_weights(
    weights: str | Path = "auto", *, say: Callable[[str], None] = lambda line: None
) -> WeightFile:
    """Returns the weight file that `load_weights` would read; see there.

    Args:
      weights: as for `load_weights`.
      say: is given a line before anything that takes long.
    """
    if weights == "embedded":
        return WeightFile(_embedded_path(), EMBEDDED)
    if weights == "auto":
        return _vgg19_on_this_machine(say) or WeightFile(
            _embedded_path(), EMBEDDED, HOW_TO_GET_VGG19
        )
    if weights == "vgg19":
        return _vgg19_on_this_machine(say) or _downloaded_vgg19(say)
    path = Path(weights)
    check_weight_path(path)
    return WeightFile(path, path.name)


def _embedded_path() -> Path:
    """Returns where the embedded weights are: in the installed package, or in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "weights"):
        if (folder / f"{EMBEDDED}.h5").is_file():
            return folder / f"{EMBEDDED}.h5"
    raise InputError(f"{EMBEDDED}.h5 is missing from this installation: install jaxstyle again")


def _vgg19_on_this_machine(say: Callable[[str], None]) -> WeightFile | None:
    cached = files.cache_folder() / "vgg19.h5"
    if cached.is_file():
        return WeightFile(cached, "vgg19")
    hub = _torch_hub_folder() / Path(VGG19_URL).name
    if not hub.is_file():
        return None
    try:
        say(f"converting {hub}, once")
        check_named_hash(hub)
        return WeightFile(_cache_converted(hub), "vgg19")
    except InputError as error:
        say(f"left aside: {error}")
    except OSError:  # the cache cannot be written
        return WeightFile(hub, "vgg19")
    return None


def _torch_hub_folder() -> Path:
    """Returns where torch.hub keeps checkpoints, by torch's own rules."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("TORCH_HOME") or Path(cache) / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _downloaded_vgg19(say: Callable[[str], None]) -> WeightFile:
    url = os.environ.get("JAXSTYLE_VGG19_URL", VGG19_URL)
    path = files.cache_folder() / Path(url).name
    say(f"downloading {url} ({VGG19_MEGABYTES} MB) to {path.parent}")
    download(url, path, sha256_start=hash_in_name(path) or "")
    say(f"converting {path.name}")
    converted = _cache_converted(path)
    path.unlink()  # the conversion is a seventh of its size and all that is needed
    return WeightFile(converted, "vgg19")


def _cache_converted(path: Path) -> Path:
    folder = files.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    converted = folder / "vgg19.h5"
    convert(path, converted, overwrite=True)
    return converted


def convert(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Converts torchvision's .pth file of a VGG-16 or VGG-19 into a weight file.

    Raises:
      InputError: the source is not such a file.
      FileExistsError: the target is there and `overwrite` is false.
      OSError: the target cannot be written.
    """
    params = read_weights(source)
    data = weight_bytes(
        params,
        source=source.name,
        source_sha256=files.sha256(source),
        licence=VGG19_LICENCE,
    )
    files.write_whole(target, data, overwrite=overwrite)
