"""VGG parameters and their files: read, written, and checked for all that can be wrong.

This module alone knows h5py. A weight file has one group per layer, `conv1_1/kernel` (3, 3, in,
out) and `conv1_1/bias` (out,), in half or single precision, and the attributes `format_version`,
`architecture` ("vgg16" or "vgg19"), `source`, `source_sha256` and `licence`. In version 2 a kernel
may be of single bytes, each the place of its value in `conv1_1/table` (256,). In memory all is
float32.
"""

import io
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError, quote
from jaxstyle.network.layers import (
    CONVOLUTIONS,
    architecture_of,
    conv_names,
    keras_places,
    required_conv_names,
    torchvision_places,
)
from jaxstyle.weights import conventions
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.torch_file import read_torch_file

FORMAT_VERSIONS = (1, 2)
"""The second has kernels of single bytes; without such a kernel the first is written."""

CAFFE_FILES = ("vgg16-00b39a1b.pth", "vgg19-d01eb7cb.pth")
"""Oxford's VGGs, converted from Caffe for PyTorch; their names carry hashes, which are checked."""

Stored = dict[str, dict[str, NDArray[Any]]]

ARRAY_KEYS = ("kernel", "bias")
TABLE = "table"
"""What a kernel of single bytes points into: an array of `TABLE_SIZE` numbers."""

TABLE_SIZE = 256
LARGEST_ARRAY = 3 * 3 * 1024 * 1024
"""More values than this in one array are refused unread: VGG's largest has a quarter of it."""

UNKNOWN_NAMED = 20
"""How many unknown names a message lists; another network's file may hold hundreds."""

Found = Mapping[str, Mapping[str, NDArray[Any] | None] | None]
"""What a file holds: None for a layer that is no group, or an array that is none of a VGG."""


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
      params: by layer "kernel" and "bias"; a kernel of uint8 comes with a "table" and stays so.
      source: the name of the file they come from.
      source_sha256: of that file.
      licence: of that file.
      dtype: "float32" or "float16", of the kernels; biases stay float32.

    Raises:
      InputError: `read_weights` would refuse the file.
    """
    architecture = architecture_of(params)
    with np.errstate(over="ignore"):  # what half precision cannot hold becomes a fault
        arrays = {name: _stored(layer, dtype) for name, layer in sorted(params.items())}
    tables = any(TABLE in layer for layer in arrays.values())
    faults = param_faults(architecture, arrays, tables=tables)
    if faults:
        raise InputError(f"these parameters cannot be saved as {dtype}: {'; '.join(faults)}")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSIONS[tables]
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


def _stored(layer: Mapping[str, NDArray[Any]], dtype: str) -> dict[str, NDArray[Any]]:
    """Returns a layer's arrays as they are stored; a kernel of bytes that has a table stays so."""
    dtypes = {"kernel": "uint8" if TABLE in layer else dtype, TABLE: "float32", "bias": "float32"}
    return {key: np.asarray(layer[key], kind) for key, kind in dtypes.items() if key in layer}


def with_tables_read(params: Mapping[str, Mapping[str, NDArray[Any]]]) -> LayerArrays:
    """Returns parameters in float32, each kernel of bytes as the values in its table."""

    def kernel(layer: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        values = layer[TABLE][layer["kernel"]] if TABLE in layer else layer["kernel"]
        return np.asarray(values, np.float32)

    return {
        name: {"kernel": kernel(layer), "bias": np.asarray(layer["bias"], np.float32)}
        for name, layer in params.items()
    }


def read_weights(path: Path) -> LayerArrays:
    """Returns the parameters in an .h5 weight file, torchvision's, Caffe's .pth or Keras' .h5 file.

    Those of Caffe and Keras are made to take what torchvision's take, see `conventions.made_ours`.

    Raises:
      InputError: not such a file; or layers missing, unknown, misshapen or not finite: all named;
        or weights of another convention or scale.
    """
    check_weight_path(path)
    if path.suffix.lower() in files.TORCH_SUFFIXES:
        files.check_named_hash(path)
        contents = _found_in_torch(read_torch_file(path))
    else:
        contents = _found_in_h5(path)
    faults = param_faults(contents.architecture, contents.found, tables=contents.tables)
    if not faults:
        params = with_tables_read(cast(Stored, contents.found))
        oxford = contents.keras or path.name in CAFFE_FILES
        try:
            return conventions.made_ours(params, oxford=oxford)
        except InputError as error:
            faults = [str(error)]
    raise InputError(f"{path} is not a usable VGG weight file: {'; '.join(faults)}")


class _Contents(NamedTuple):
    """What a weight file holds, not checked yet."""

    architecture: str
    found: Found
    tables: bool = False
    """Whether kernels may be of bytes."""
    keras: bool = False
    """Whether it was named by Keras."""


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


def _found_in_h5(path: Path) -> _Contents:
    try:
        # Where a file system has no locks, reading needs none.
        with h5py.File(path, "r", locking="best-effort") as file:
            keras = _found_in_keras(path, file)
            if keras:
                return keras
            version = file.attrs.get("format_version", "none")
            if str(version) not in map(str, FORMAT_VERSIONS):
                raise InputError(
                    f"{path} has weight format {quote(str(version))}, not"
                    f" {' or '.join(map(str, FORMAT_VERSIONS))}: scripts/convert_weights.py makes"
                    " such files"
                )
            stored = file.attrs.get("architecture", architecture_of(file))
            architecture = stored.decode() if isinstance(stored, bytes) else str(stored)
            tables = str(version) == str(FORMAT_VERSIONS[1])
            found = {name: _layer(file, name) for name in file}
            return _Contents(architecture, found, tables)
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever a broken file makes it
        raise InputError(
            f"{path} is damaged or no HDF5 file: {' '.join(str(error).split())}"
        ) from None


def _found_in_keras(path: Path, file: h5py.File) -> _Contents | None:
    """Returns what Keras stored, under our names; None if this is no file of Keras'.

    Raises:
      InputError: it is one of Keras 3, in which layers have numbers, not names.
    """
    if "format_version" in file.attrs:
        return None
    if "layers" in file:
        raise InputError(
            f"{path} is a Keras 3 file (.weights.h5), whose layers have no names of their own: save"
            " the network with model.save('vgg19.h5') instead"
        )
    group = file.get("model_weights", file)
    found: dict[str, dict[str, NDArray[Any] | None]] = {}
    for place, (conv, key) in keras_places().items():
        if place in group:
            layer, _, name = place.rpartition("/")
            found.setdefault(conv, {})[key] = _array(group[layer], name)
    return _Contents(architecture_of(found), found, keras=True) if found else None


def _layer(file: h5py.File, name: str) -> dict[str, NDArray[Any] | None] | None:
    known = any(name in conv_names(architecture) for architecture in CONVOLUTIONS)
    layer = file.get(name) if known else None  # what no VGG has is only named, so not read
    if not isinstance(layer, h5py.Group):
        return None
    # what no layer has is only named as well
    return {key: _array(layer, key) if key in (*ARRAY_KEYS, TABLE) else None for key in layer}


def _array(layer: h5py.Group, key: str) -> NDArray[Any] | None:
    """Reads an array; None if it cannot be one of a VGG, so that no file fills the memory."""
    dataset = layer.get(key)
    if not isinstance(dataset, h5py.Dataset):
        return None
    elsewhere = dataset.external or dataset.is_virtual
    fits = dataset.size is not None and dataset.size <= LARGEST_ARRAY
    return _in_float32(np.asarray(dataset)) if fits and not elsewhere else None


def _found_in_torch(tensors: Mapping[str, NDArray[Any]]) -> _Contents:
    """Names torchvision's tensors; kernels from (out, in, 3, 3) to (3, 3, in, out)."""
    places = {architecture: torchvision_places(architecture) for architecture in CONVOLUTIONS}
    architecture = max(places, key=lambda each: len(places[each].keys() & tensors.keys()))
    found: dict[str, dict[str, NDArray[Any] | None]] = {}
    for name, value in tensors.items():
        conv, key = places[architecture].get(name, (name, ""))
        array = value.transpose(2, 3, 1, 0) if key == "kernel" and value.ndim == 4 else value
        found.setdefault(conv, {})[key] = _in_float32(array)
    return _Contents(architecture, found)


def check_weight_path(path: Path) -> None:
    """Raises InputError if this cannot be a weight file, without reading it."""
    if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        what = "is a folder" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        raise InputError(
            f"the weight file {path} {what}; --weights takes auto, embedded, vgg19 or a path"
        )
    files.check_suffix("the weight file", path, files.HDF5_SUFFIXES + files.TORCH_SUFFIXES)


def param_faults(architecture: str, params: Found, *, tables: bool = False) -> list[str]:
    """Returns all that is wrong with the parameters of a VGG, a phrase each.

    Args:
      architecture: "vgg16" or "vgg19"; another is a fault.
      params: by layer "kernel" (3, 3, in, out) and "bias" (out,); the layers after conv5_1 may be
        left out from the end.
      tables: whether a kernel may be uint8, with a "table" (256,) of what its bytes stand for.
    """
    if architecture not in CONVOLUTIONS:
        return [f"its architecture is {quote(architecture)}, not {' or '.join(CONVOLUTIONS)}"]
    known = conv_names(architecture)
    deepest = max(params.keys() & set(known), default="")
    needed = set(required_conv_names(architecture)) | {n for n in known if n <= deepest}
    faults = [f"{name} is missing" for name in known if name in needed - params.keys()]
    faults += _unknown_faults(params.keys() - set(known))
    channels: int | None = 3
    for name in known:
        layer = params.get(name)
        if layer is not None:
            layer_faults, channels = _layer_faults(name, layer, channels, tables)
            faults += layer_faults
        else:
            channels = None
            faults += [f"{name} is no group of arrays"] if name in params else []
    return faults


def _unknown_faults(names: Collection[str]) -> list[str]:
    faults = [f"{quote(name)} is unknown" for name in sorted(names)[:UNKNOWN_NAMED]]
    more = len(names) - len(faults)
    return [*faults, f"{more} more are unknown"] if more else faults


def _layer_faults(
    name: str, layer: Mapping[str, NDArray[Any] | None], channels: int | None, tables: bool
) -> tuple[list[str], int | None]:
    """Returns the faults of a layer that is given `channels`, and how many it returns.

    Where a number of channels is None, nobody knows it.
    """
    faults = [f"{name}/{key} is missing" for key in ARRAY_KEYS if key not in layer]
    known = (*ARRAY_KEYS, TABLE) if tables else ARRAY_KEYS
    faults += _unknown_faults([f"{name}/{key}" for key in layer if key not in known])
    in_bytes = tables and _in_bytes(layer.get("kernel"))
    for key in ARRAY_KEYS:
        if key in layer and not (key == "kernel" and in_bytes):
            faults += _array_faults(f"{name}/{key}", layer[key])
    faults += _table_faults(name, layer, in_bytes) if tables else []
    kernel, bias = layer.get("kernel"), layer.get("bias")
    returned = bias.size if bias is not None and bias.ndim == 1 else None
    if kernel is not None:
        shape = kernel.shape
        if len(shape) != 4 or shape[:2] != (3, 3) or shape[2] != (channels or shape[2]):
            faults.append(f"{name}/kernel has shape {shape}, not (3, 3, {channels or 'in'}, out)")
        else:
            returned = shape[3]
    if bias is not None and bias.shape != (returned,):
        faults.append(f"{name}/bias has shape {bias.shape}, not ({returned or 'out'},)")
    return faults, returned


def _in_bytes(kernel: NDArray[Any] | None) -> bool:
    return kernel is not None and kernel.dtype == np.uint8 and kernel.size > 0


def _table_faults(name: str, layer: Mapping[str, NDArray[Any] | None], in_bytes: bool) -> list[str]:
    """Returns the faults of a layer's table, which there is if its kernel is in bytes."""
    if TABLE not in layer:
        return [f"{name}/{TABLE} is missing, and the kernel is uint8"] if in_bytes else []
    table = layer[TABLE]
    faults = _array_faults(f"{name}/{TABLE}", table)
    if table is not None and table.shape != (TABLE_SIZE,):
        faults.append(f"{name}/{TABLE} has shape {table.shape}, not ({TABLE_SIZE},)")
    if not in_bytes:
        faults.append(f"{name}/{TABLE} is of no use: the kernel is not uint8")
    return faults


def _array_faults(name: str, array: NDArray[Any] | None) -> list[str]:
    if array is None:
        return [f"{name} is not an array of at most {LARGEST_ARRAY} numbers"]
    if array.dtype.kind != "f":
        return [f"{name} is {array.dtype}, not floating point"]
    if array.size == 0:
        return [f"{name} is empty"]
    return [] if np.isfinite(array).all() else [f"{name} has NaN or infinite values"]
