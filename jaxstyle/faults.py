"""What can be wrong with the parameters of a VGG: all of it is found at once, in phrases."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxstyle.layers import CONVOLUTIONS, conv_names, required_conv_names
from jaxstyle.torchpickle import quote

KEYS = ("kernel", "bias")
TABLE = "table"
"""What a kernel of single bytes points into: an array of `TABLE_SIZE` numbers."""

TABLE_SIZE = 256
LARGEST_ARRAY = 3 * 3 * 1024 * 1024
"""More values than this in one array are refused unread: VGG's largest has a quarter of it."""

UNKNOWN_NAMED = 20
"""How many unknown names a message lists; another network's file may hold hundreds."""

Found = Mapping[str, Mapping[str, NDArray[Any] | None] | None]
"""What a file holds: None for a layer that is no group, or an array that is none of a VGG."""


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
    faults = [f"{name}/{key} is missing" for key in KEYS if key not in layer]
    known = (*KEYS, TABLE) if tables else KEYS
    faults += _unknown_faults([f"{name}/{key}" for key in layer if key not in known])
    in_bytes = tables and _in_bytes(layer.get("kernel"))
    for key in KEYS:
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
