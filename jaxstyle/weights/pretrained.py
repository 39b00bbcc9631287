"""Which pretrained weights: finding them on this machine, downloading and converting them."""

import os
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import urlsplit

from jaxstyle import files
from jaxstyle.errors import InputError, Say, silent
from jaxstyle.network.layers import architecture_of
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.conventions import is_oxfords
from jaxstyle.weights.weight_file import check_weight_path, read_weights, weight_bytes

EMBEDDED = "vgg19-oxford"
VGG19 = "vgg19"
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG19_MEGABYTES = 575
TORCHVISION_LICENCE = "BSD-3-Clause (torchvision)"
OXFORD_LICENCE = "CC BY 4.0 (Oxford VGG)"
HOW_TO_GET_VGG19 = (
    f"--weights vgg19 downloads torchvision's, as in the book ({VGG19_MEGABYTES} MB, once)"
)


class WeightFile(NamedTuple):
    """A weight file that was found, and what to say of it."""

    path: Path
    name: str
    """"vgg19-oxford", "vgg19", or the file's own name."""
    note: str = ""
    """Why this one, and how to get a better one; may be empty."""

    @property
    def described(self) -> str:
        """The name, and the note if there is one, for the first line of a run."""
        return f"{self.name} ({self.note})" if self.note else self.name


def load_weights(weights: str | Path = "auto") -> LayerArrays:
    """Returns the parameters of a pretrained VGG, float32, by layer.

    Args:
      weights: "embedded" (Oxford's VGG-19, which comes along), "vgg19" (torchvision's, downloaded
        the first time), "auto" (that one if it is on this machine already, else embedded), or the
        path of an .h5 or .pth file.

    Raises:
      InputError: no such file, or not a usable weight file.
      OSError: the download failed.
    """
    return read_weights(find_weights(weights).path)


def find_weights(
    weights: str | Path = "auto",
    *,
    say: Say = silent,
    stream: TextIO | None = None,
) -> WeightFile:
    """Returns the weight file that `load_weights` would read; see there.

    Args:
      weights: as for `load_weights`.
      say: is given a line before anything that takes long, and for every file left aside.
      stream: where a download's progress bar goes; None shows none.
    """
    if weights == "embedded":
        return WeightFile(_embedded_path(), EMBEDDED)
    if weights == "auto":
        found = _cached_vgg19(say) or _hub_vgg19(say)
        return found or WeightFile(_embedded_path(), EMBEDDED, HOW_TO_GET_VGG19)
    if weights == "vgg19":
        return _cached_vgg19(say) or _hub_vgg19(say) or _downloaded_vgg19(say, stream)
    path = Path(weights)
    check_weight_path(path)
    return WeightFile(path, path.name)


def _embedded_path() -> Path:
    """Returns where the embedded weights are: in the installed package, or in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "data", package.parent / "weights"):
        if (folder / f"{EMBEDDED}.h5").is_file():
            return folder / f"{EMBEDDED}.h5"
    raise InputError(f"{EMBEDDED}.h5 is missing from this installation: install jaxstyle again")


def _cached_vgg19(say: Say) -> WeightFile | None:
    """Returns the conversion in the user's cache, read once to see that it is whole."""
    path = files.cache_folder() / f"{VGG19}.h5"
    if not _is_file(path):
        return None
    try:
        _check_is_vgg19(path, architecture_of(read_weights(path)))
    except InputError as error:
        say(f"left aside: {error}")
        return None
    return WeightFile(path, VGG19)


def _hub_vgg19(say: Say) -> WeightFile | None:
    """Returns torch.hub's copy, converted into the user's cache if that can be written."""
    hub = _torch_hub_folder() / Path(VGG19_URL).name
    if not _is_file(hub):
        return None
    say(f"converting {hub}, once")
    try:
        return WeightFile(convert(hub, overwrite=True), VGG19)
    except InputError as error:
        say(f"left aside: {error}")
        return None
    except OSError as error:
        say(f"the conversion is not kept: {error}")
        return WeightFile(hub, VGG19)


def _is_file(path: Path) -> bool:
    # Unlike Path.is_file this is False, not an error, where a folder cannot be searched.
    return os.path.isfile(path)  # noqa: PTH113


def _torch_hub_folder() -> Path:
    """Returns where torch.hub keeps checkpoints, by torch's own rules."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    # As torch does it; Path.expanduser raises where a user has no home.
    return Path(os.path.expanduser(home), "hub", "checkpoints")  # noqa: PTH111


def _downloaded_vgg19(say: Say, stream: TextIO | None) -> WeightFile:
    """Downloads, converts and caches VGG-19; of several processes one does, the others wait."""
    from jaxstyle.weights.download import (
        taking_turns,  # requests takes a while, and most runs need none
    )

    url = os.environ.get("JAXSTYLE_VGG19_URL") or VGG19_URL
    name = Path(urlsplit(url).path).name
    if not name.endswith(".pth"):
        raise InputError(f"JAXSTYLE_VGG19_URL must be the address of a .pth file, not {url!r}")
    folder = files.cache_folder()
    with taking_turns(folder / f"{VGG19}.h5", say=say):
        return _cached_vgg19(silent) or _fetched_vgg19(url, folder / name, say, stream)


def _fetched_vgg19(url: str, path: Path, say: Say, stream: TextIO | None) -> WeightFile:
    from jaxstyle.weights.download import download

    say(f"downloading {url} ({VGG19_MEGABYTES} MB) to {path.parent}")
    download(url, path, sha256_start=files.hash_in_name(path) or "", stream=stream)
    say(f"converting {path.name}")
    try:
        converted = convert(path, overwrite=True)
        _check_is_vgg19(path, converted.stem)
    except InputError:
        path.unlink()  # or it would be taken for the download next time
        raise
    path.unlink()  # the conversion is a seventh of its size and all that is needed
    return WeightFile(converted, VGG19)


def _check_is_vgg19(path: Path, architecture: str) -> None:
    if architecture != VGG19:
        raise InputError(f"{path} holds a {architecture}, not a {VGG19}")


def convert(source: Path, target: Path | None = None, *, overwrite: bool = False) -> Path:
    """Converts torchvision's .pth file of a VGG-16 or VGG-19 into a weight file.

    Args:
      source: the .pth file; one of Caffe's networks is folded, see `conventions.made_ours`.
      target: the weight file; by default vgg16.h5 or vgg19.h5 in the user's cache, which are
        torchvision's, so that Caffe's networks need a target.
      overwrite: whether a file that is there may be replaced.

    Returns:
      The weight file's path.

    Raises:
      InputError: the source is not such a file, the target's name or folder cannot be, or Caffe's
        network has none.
      FileExistsError: the target is there and `overwrite` is false.
      OSError: the target cannot be written.
    """
    files.check_suffix("the weight file", source, files.TORCH_SUFFIXES)
    if target is not None:
        files.check_suffix("the weight file", target, files.HDF5_SUFFIXES)
        files.check_writable(target.parent)
    params = read_weights(source)
    oxford = is_oxfords(params["conv1_1"]["kernel"])
    if oxford and target is None:
        raise InputError(f"{source} is Oxford's VGG, not torchvision's: name the result with -o")
    target = target or files.cache_folder() / f"{architecture_of(params)}.h5"
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists")
    data = weight_bytes(
        params,
        source=source.name,
        source_sha256=files.sha256(source),
        licence=OXFORD_LICENCE if oxford else TORCHVISION_LICENCE,
    )
    _write(target, data, overwrite=overwrite)
    return target


def _write(target: Path, data: bytes, *, overwrite: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(target, data, overwrite=overwrite)
    except OSError as error:
        raise OSError(f"cannot write {target}: {error.strerror or error}") from None
