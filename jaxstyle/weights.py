"""VGG parameters and HDF5: reading, writing, checking, finding; the only module that knows h5py.

A weight file has one group per layer, `conv1_1/kernel` (3, 3, in, out) and `conv1_1/bias` (out,),
in half or single precision, and the attributes `format_version`, `architecture` ("vgg16" or
"vgg19"), `source`, `source_sha256` and `licence`. In memory all is float32.
"""

import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.download import download
from jaxstyle.errors import InputError
from jaxstyle.layers import (
    architecture_of,
    conv_names,
    required_conv_names,
    torchvision_indices,
)
from jaxstyle.torchfile import read_torch_file

FORMAT_VERSION = 1
EMBEDDED = "vgg16-hed"
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG19_MEGABYTES = 575
VGG19_LICENCE = "BSD-3-Clause (torchvision)"
LARGEST_LAYER = 3 * 3 * 2048 * 2048
"""More values than this in one array are refused unread: no VGG comes near."""

HOW_TO_GET_VGG19 = f"--weights vgg19 downloads the book's VGG-19 ({VGG19_MEGABYTES} MB, once)"

Arrays = dict[str, dict[str, NDArray[np.float32]]]


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


def check_weight_path(path: Path) -> None:
    """Raises InputError if this cannot be a weight file, without reading it."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(
            f"the weight file {path} {what}; --weights takes auto, embedded, vgg19 or a path"
        )
    if path.suffix not in (".h5", ".hdf5", ".pth", ".pt"):
        raise InputError(f"the weight file {path} must end in .h5 or .pth")


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
    download(url, path, sha256_start=_hash_in_name(path) or "")
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


def weight_bytes(
    params: Mapping[str, Mapping[str, NDArray[Any]]],
    *,
    source: str,
    source_sha256: str,
    licence: str,
    dtype: str = "float32",
) -> bytes:
    """Returns a weight file as bytes; the same arguments give the same bytes.

    Args:
      params: by layer "kernel" and "bias".
      source: the name of the file they come from.
      source_sha256: of that file.
      licence: of that file.
      dtype: "float32" or "float16", of the kernels; biases stay float32.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["architecture"] = architecture_of(params)
        file.attrs["source"] = source
        file.attrs["source_sha256"] = source_sha256
        file.attrs["licence"] = licence
        for name, layer in params.items():
            file[f"{name}/kernel"] = np.asarray(layer["kernel"], dtype)
            file[f"{name}/bias"] = np.asarray(layer["bias"], np.float32)
    return buffer.getvalue()


def read_weights(path: Path) -> Arrays:
    """Returns the parameters in an .h5 weight file or in torchvision's .pth file.

    Raises:
      InputError: not such a file, or layers missing, unknown, misshapen or not finite: all named.
    """
    check_weight_path(path)
    if path.suffix in (".pth", ".pt"):
        check_named_hash(path)
        architecture, params = _params_of_torch(read_torch_file(path))
    else:
        architecture, params = _read_h5(path)
    faults = param_faults(architecture, params)
    if faults:
        raise InputError(f"{path} is not a usable VGG weight file: {'; '.join(faults)}")
    return {
        name: {key: np.asarray(value, np.float32) for key, value in layer.items()}
        for name, layer in params.items()
    }


def _read_h5(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    try:
        with h5py.File(path, "r") as file:
            version = file.attrs.get("format_version")
            names = sorted(file)
            architecture = str(file.attrs.get("architecture", architecture_of(names)))
            params = {name: {key: _array(file[name][key]) for key in file[name]} for name in names}
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever a broken file makes it
        raise InputError(
            f"{path} is not a usable VGG weight file: {' '.join(str(error).split())}"
        ) from None
    if version is not None and version != FORMAT_VERSION:
        raise InputError(f"{path} has weight format {version}; this version reads 1")
    return architecture, params


def _array(dataset: Any) -> NDArray[Any]:
    if dataset.size is None or dataset.size > LARGEST_LAYER:
        raise ValueError(f"{dataset.name} is no layer of a VGG: shape {dataset.shape}")
    return np.asarray(dataset)


def _params_of_torch(
    tensors: Mapping[str, NDArray[Any]],
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Names torchvision's tensors; kernels from (out, in, 3, 3) to (3, 3, in, out)."""
    last = max(
        (int(key.split(".")[1]) for key in tensors if re.match(r"features\.\d", key)), default=0
    )
    architecture = "vgg19" if last > 28 or "features.16.weight" in tensors else "vgg16"
    params: dict[str, dict[str, Any]] = {}
    known = set()
    for conv, index in torchvision_indices(architecture).items():
        for kind, key in (("kernel", "weight"), ("bias", "bias")):
            name = f"features.{index}.{key}"
            if name in tensors:
                value = tensors[name]
                kernel = kind == "kernel" and value.ndim == 4
                params.setdefault(conv, {})[kind] = value.transpose(2, 3, 1, 0) if kernel else value
                known.add(name)
    for name in sorted(tensors.keys() - known):
        params[name] = {}
    return architecture, params


def param_faults(architecture: str, params: Mapping[str, Mapping[str, NDArray[Any]]]) -> list[str]:
    """Returns all that is wrong with the parameters of a VGG, a phrase each."""
    if architecture not in ("vgg16", "vgg19"):
        return [f"unknown architecture {architecture!r}"]
    known = conv_names(architecture)
    deepest = max([name for name in params if name in known], default="")
    needed = set(required_conv_names(architecture)) | {n for n in known if n <= deepest}
    faults = [f"{name} is missing" for name in known if name in needed - params.keys()]
    faults += [f"{name} is unknown" for name in sorted(params.keys() - set(known))]
    channels = 3
    for name in known:
        if name in params:
            layer_faults, channels = _layer_faults(name, params[name], channels)
            faults += layer_faults
    return faults


def _layer_faults(
    name: str, layer: Mapping[str, NDArray[Any]], channels: int | None
) -> tuple[list[str], Any]:
    """Returns the faults of a layer that is given `channels`, and how many it returns."""
    faults = [f"{name}/{key} is missing" for key in ("kernel", "bias") if key not in layer]
    faults += [f"{name}/{key} is unknown" for key in layer if key not in ("kernel", "bias")]
    for key, value in layer.items():
        if value.dtype.kind != "f":
            faults.append(f"{name}/{key} is {value.dtype}, not floating point")
        elif not np.isfinite(value).all():
            faults.append(f"{name}/{key} has NaN or infinite values")
    if "kernel" not in layer:
        return faults, layer["bias"].size if "bias" in layer else None
    shape = layer["kernel"].shape
    if len(shape) != 4 or shape[:2] != (3, 3) or (channels and shape[2] != channels):
        faults.append(f"{name}/kernel has shape {shape}, not (3, 3, {channels or 'in'}, out)")
    if "bias" in layer and layer["bias"].shape != shape[-1:]:
        faults.append(f"{name}/bias has shape {layer['bias'].shape}, not {shape[-1:]}")
    return faults, shape[-1] if shape else None


def check_named_hash(path: Path) -> None:
    """Checks a file's sha256 against the start of it in its name, as torch.hub does.

    Raises:
      InputError: the name carries one, as in vgg19-dcbb9e9d.pth, and the file has another.
    """
    start = _hash_in_name(path)
    if start and not files.sha256(path).startswith(start):
        raise InputError(
            f"{path} is damaged: its sha256 does not begin with {start}; delete it and get it again"
        )


def _hash_in_name(path: Path) -> str | None:
    match = re.fullmatch(r".*-([0-9a-f]{8,64})\.pth", path.name)
    return match[1] if match else None
