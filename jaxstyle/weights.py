"""VGG parameters and their files: reading, writing, checking; the only module that knows h5py.

A weight file has one group per layer, `conv1_1/kernel` (3, 3, in, out) and `conv1_1/bias` (out,),
in half or single precision, and the attributes `format_version`, `architecture` ("vgg16" or
"vgg19"), `source`, `source_sha256` and `licence`. In memory all is float32.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.layers import (
    architecture_of,
    conv_names,
    required_conv_names,
    torchvision_indices,
)
from jaxstyle.torchfile import read_torch_file

FORMAT_VERSION = 1
LARGEST_LAYER = 3 * 3 * 2048 * 2048
"""More values than this in one array are refused unread: no VGG comes near."""

Arrays = dict[str, dict[str, NDArray[np.float32]]]


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


def check_weight_path(path: Path) -> None:
    """Raises InputError if this cannot be a weight file, without reading it."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(
            f"the weight file {path} {what}; --weights takes auto, embedded, vgg19 or a path"
        )
    if path.suffix not in (".h5", ".hdf5", ".pth", ".pt"):
        raise InputError(f"the weight file {path} must end in .h5 or .pth")


def check_named_hash(path: Path) -> None:
    """Checks a file's sha256 against the start of it in its name, as torch.hub does.

    Raises:
      InputError: the name carries one, as in vgg19-dcbb9e9d.pth, and the file has another.
    """
    start = hash_in_name(path)
    if start and not files.sha256(path).startswith(start):
        raise InputError(
            f"{path} is damaged: its sha256 does not begin with {start}; delete it and get it again"
        )


def hash_in_name(path: Path) -> str | None:
    """Returns the start of a sha256 that a file's name carries, as torch.hub's files do."""
    match = re.fullmatch(r".*-([0-9a-f]{8,64})\.pth", path.name)
    return match[1] if match else None
