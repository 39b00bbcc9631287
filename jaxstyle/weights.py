"""VGG parameters and their files: reading, writing, checking; the only module that knows h5py.

A weight file has one group per layer, `conv1_1/kernel` (3, 3, in, out) and `conv1_1/bias` (out,),
in half or single precision, and the attributes `format_version`, `architecture` ("vgg16" or
"vgg19"), `source`, `source_sha256` and `licence`. In memory all is float32.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.faults import KEYS, LARGEST_ARRAY, Found, param_faults
from jaxstyle.layers import CONVOLUTIONS, architecture_of, conv_names, torchvision_indices
from jaxstyle.torchfile import read_torch_file
from jaxstyle.torchpickle import quote

FORMAT_VERSION = 1

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

    Raises:
      InputError: `read_weights` would refuse the file.
    """
    architecture = architecture_of(params)
    dtypes = dict(zip(KEYS, (dtype, "float32"), strict=True))
    with np.errstate(over="ignore"):  # what half precision cannot hold becomes a fault
        arrays = {
            name: {key: np.asarray(layer[key], dtypes[key]) for key in KEYS if key in layer}
            for name, layer in sorted(params.items())
        }
    faults = param_faults(architecture, arrays)
    if faults:
        raise InputError(f"these parameters cannot be saved as {dtype}: {'; '.join(faults)}")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        texts = {
            "architecture": architecture,
            "source": source,
            "source_sha256": source_sha256,
            "licence": licence,
        }
        for name, text in texts.items():
            file.attrs[name] = np.bytes_(text.encode())  # of fixed length: nothing to go astray
        for name, layer in arrays.items():
            for key, value in layer.items():
                file[f"{name}/{key}"] = value
    return buffer.getvalue()


def read_weights(path: Path) -> Arrays:
    """Returns the parameters in an .h5 weight file or in torchvision's .pth file.

    Raises:
      InputError: not such a file, or layers missing, unknown, misshapen or not finite: all named.
    """
    check_weight_path(path)
    if path.suffix.lower() in files.TORCH_SUFFIXES:
        check_named_hash(path)
        architecture, found = _found_in_torch(read_torch_file(path))
    else:
        architecture, found = _found_in_h5(path)
    faults = param_faults(architecture, found)
    if faults:
        raise InputError(f"{path} is not a usable VGG weight file: {'; '.join(faults)}")
    return cast(Arrays, found)


def arrays_in_h5(data: bytes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Returns arrays of an HDF5 file of any layout, by their names in it.

    Raises:
      KeyError: one is not there.
      OSError: it is no HDF5 file.
    """
    with h5py.File(io.BytesIO(data), "r") as file:
        return {name: np.asarray(file[name]) for name in names}


def _in_float32(array: NDArray[Any]) -> NDArray[Any]:
    """Returns numbers in float32, those beyond its range as infinite, and all else as it is."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def _found_in_h5(path: Path) -> tuple[str, Found]:
    try:
        # Where a file system has no locks, reading needs none.
        with h5py.File(path, "r", locking="best-effort") as file:
            version = file.attrs.get("format_version", "none")
            if str(version) != str(FORMAT_VERSION):
                raise InputError(
                    f"{path} has weight format {quote(str(version))}, not {FORMAT_VERSION}:"
                    " scripts/convert_weights.py makes such files"
                )
            stored = file.attrs.get("architecture", architecture_of(file))
            architecture = stored.decode() if isinstance(stored, bytes) else str(stored)
            return architecture, {name: _layer(file, name) for name in file}
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever a broken file makes it
        raise InputError(
            f"{path} is damaged or no HDF5 file: {' '.join(str(error).split())}"
        ) from None


def _layer(file: h5py.File, name: str) -> dict[str, NDArray[Any] | None] | None:
    known = any(name in conv_names(architecture) for architecture in CONVOLUTIONS)
    layer = file.get(name) if known else None  # what no VGG has is only named, so not read
    return {key: _array(layer, key) for key in layer} if isinstance(layer, h5py.Group) else None


def _array(layer: h5py.Group, key: str) -> NDArray[Any] | None:
    """Reads an array; None if it cannot be one of a VGG, so that no file fills the memory."""
    dataset = layer.get(key)
    if key not in KEYS or not isinstance(dataset, h5py.Dataset):
        return None
    elsewhere = dataset.external or dataset.is_virtual
    fits = dataset.size is not None and dataset.size <= LARGEST_ARRAY
    return _in_float32(np.asarray(dataset)) if fits and not elsewhere else None


def _found_in_torch(tensors: Mapping[str, NDArray[Any]]) -> tuple[str, Found]:
    """Names torchvision's tensors; kernels from (out, in, 3, 3) to (3, 3, in, out)."""
    places = {architecture: _torch_names(architecture) for architecture in CONVOLUTIONS}
    architecture = max(places, key=lambda each: len(places[each].keys() & tensors.keys()))
    found: dict[str, dict[str, NDArray[Any] | None]] = {}
    for name, value in tensors.items():
        conv, key = places[architecture].get(name, (name, ""))
        array = value.transpose(2, 3, 1, 0) if key == "kernel" and value.ndim == 4 else value
        found.setdefault(conv, {})[key] = _in_float32(array)
    return architecture, found


def _torch_names(architecture: str) -> dict[str, tuple[str, str]]:
    """Returns torchvision's name of every array with ours: layer and key."""
    return {
        f"features.{index}.{theirs}": (conv, ours)
        for conv, index in torchvision_indices(architecture).items()
        for ours, theirs in (("kernel", "weight"), ("bias", "bias"))
    }


def check_weight_path(path: Path) -> None:
    """Raises InputError if this cannot be a weight file, without reading it."""
    if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        what = "is a folder" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        raise InputError(
            f"the weight file {path} {what}; --weights takes auto, embedded, vgg19 or a path"
        )
    files.check_suffix("the weight file", path, files.HDF5_SUFFIXES + files.TORCH_SUFFIXES)


def check_named_hash(path: Path) -> None:
    """Checks a file's sha256 against the start of it in its name, as torch.hub does.

    Raises:
      InputError: the name carries one, as in vgg19-dcbb9e9d.pth, and the file has another.
    """
    start = hash_in_name(path)
    try:
        damaged = start and not files.sha256(path).startswith(start)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if damaged:
        raise InputError(
            f"{path} is damaged: its sha256 does not begin with {start}; delete it and get it again"
        )


def hash_in_name(path: Path) -> str | None:
    """Returns the start of a sha256 that a file's name carries, as torch.hub's files do."""
    match = re.fullmatch(r".*-([0-9a-f]{8,64})\.pth", path.name)
    return match[1] if match else None
