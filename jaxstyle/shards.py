"""One picture on several devices: its rows are shared out, each device has a part of every map.

The picture is padded with rows of zeros until the rows of every block's maps divide. What the
network makes of the padding is set to zero after every convolution and pool, which is just the
padding of the real picture, and is left out of all that counts positions. So the sums and their
gradients are the plain ones. XLA's partitioner does the rest: it sends the rows at the edges to the
neighbour before every convolution, and adds up the sums over the devices.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxstyle.conv import Kernels, convolve
from jaxstyle.layers import block_of
from jaxstyle.losses import Moments, SquaredError, Sums, moments, squared_error
from jaxstyle.vgg import POOLS, relu, up_to_deepest

AXIS = "rows"
SHARED: Any = P(AXIS)  # type: ignore[no-untyped-call]
"""Each device has some of the rows."""

SAME: Any = P()  # type: ignore[no-untyped-call]
"""Each has all."""

DIVISOR = 16
"""A device's rows are a multiple of this, so that four pools leave whole rows."""

_T = TypeVar("_T")


class Rows(NamedTuple):
    """How the rows of a picture are shared out; hashable, static under jit."""

    mesh: Mesh
    height: int
    """Of the picture; the rows below it are padding."""


class SharedPicture:
    """A picture (H, W, C) whose rows are on several devices, padded.

    To whoever looks at it, it is an array without padding, which is fetched when it is asked for.
    Where the devices are several processes', all of these must ask, at the same point.
    """

    def __init__(self, padded: jax.Array, height: int) -> None:
        self._padded, self._height = padded, height

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return (self._height, *self._padded.shape[1:])

    @property
    def dtype(self) -> Any:
        """Of its values."""
        return self._padded.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Returns a copy of the whole picture, on the host."""
        if self._padded.is_fully_addressable:
            whole = np.asarray(self._padded)
        else:
            whole = np.asarray(multihost_utils.process_allgather(self._padded, tiled=True))
        return np.array(whole[: self._height], dtype)


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Returns the mesh of these devices along the rows."""
    return Mesh(np.array(devices), (AXIS,))


def own_of(devices: Sequence[jax.Device]) -> jax.Device:
    """Returns the first of these devices that is this process's."""
    return next(each for each in devices if each.process_index == jax.process_index())


def of_several_processes(rows: Rows | None) -> bool:
    """Whether the devices are more than one process's."""
    return rows is not None and len({each.process_index for each in rows.mesh.devices.flat}) > 1


def copy_to_all(tree: _T, mesh: Mesh) -> _T:
    """Puts a copy of the tree on every one of this process's devices."""
    if mesh.size == 1:
        return put_on_one(tree, mesh)
    sharding = NamedSharding(mesh, SAME)

    def copy(leaf: Any) -> jax.Array:
        parts = [jax.device_put(leaf, device) for device in mesh.local_devices]
        return jax.make_array_from_single_device_arrays(np.shape(leaf), sharding, parts)

    copied: _T = jax.tree.map(copy, tree)
    return copied


def put_on_one(tree: _T, mesh: Mesh) -> _T:
    """Puts a tree on the only device of a mesh.

    What is there anyway is left alone: told where to be, it would make another program.
    """
    device = mesh.local_devices[0]
    if jnp.zeros(()).devices() == {device}:
        return tree
    put: _T = jax.device_put(tree, device)
    return put


def share_out(picture: ArrayLike, mesh: Mesh) -> jax.Array:
    """Pads a picture (H, W, C) and puts its rows on the devices, in order."""
    whole = np.asarray(picture)
    multiple = DIVISOR * mesh.size
    height = math.ceil(whole.shape[0] / multiple) * multiple

    def part(index: Any) -> NDArray[Any]:
        rows = whole[index]  # of those that are not there, none
        start, stop, _ = index[0].indices(height)
        return np.pad(rows, ((0, stop - start - len(rows)), (0, 0), (0, 0)))

    shape = (height, *whole.shape[1:])
    return jax.make_array_from_callback(shape, NamedSharding(mesh, SHARED), part)


def share_out_all(tree: _T, rows: Rows | None) -> _T:
    """Shares out every picture of a tree, and gives each device a copy of all numbers."""
    if rows is None:
        return tree
    mesh = rows.mesh

    def put(leaf: Any) -> jax.Array:
        return share_out(leaf, mesh) if np.ndim(leaf) == 3 else copy_to_all(leaf, mesh)

    shared: _T = jax.tree.map(put, tree)
    return shared


def as_seen(tree: _T, rows: Rows | None) -> _T:
    """Returns a tree that was shared out as it is to be seen: each a `SharedPicture`."""
    if rows is None:
        return tree
    height = rows.height
    seen: _T = jax.tree.map(
        lambda leaf: SharedPicture(leaf, height) if np.ndim(leaf) == 3 else leaf, tree
    )
    return seen


def shared_sums(
    kernels: Kernels,
    image: jax.Array,
    content: Mapping[str, jax.Array],
    *,
    style_layers: Sequence[str],
    pooling: str,
    height: int,
) -> Sums:
    """Returns the sums over the whole picture; they and their gradients are the plain ones.

    Args:
      kernels: from `conv.prepare`, for the plain convolution.
      image: (H, W, 3), normalised, padded.
      content: by content layer, the content's features (h, w, C), from `shared_features`.
      style_layers: plain names, as are the keys of `content`.
      pooling: "max", "avg" or "l2".
      height: how many of the rows are the picture's.
    """
    taps = tuple(dict.fromkeys([*content, *style_layers]))
    maps = shared_features(kernels, image, taps=taps, pooling=pooling, height=height)

    def positions(tap: str) -> int:
        return (height >> (block_of(tap) - 1)) * maps[tap].shape[1]

    return Sums(
        {
            tap: SquaredError(
                squared_error(maps[tap], target).sum, positions(tap) * target.shape[-1]
            )
            for tap, target in content.items()
        },
        {tap: Moments(*moments(maps[tap])[:2], positions(tap)) for tap in style_layers},
    )


def shared_features(
    kernels: Kernels, image: jax.Array, *, taps: Sequence[str], pooling: str, height: int
) -> dict[str, jax.Array]:
    """Returns what `vgg.features` does for plain names; rows that are padding are zero."""
    x = _without_padding(jnp.asarray(image, kernels["conv1_1"].bias.dtype)[None], height)
    found, block = {}, 1
    for conv in up_to_deepest(kernels, taps):
        if block_of(conv) != block:
            block, height = block_of(conv), height // 2
            x = _without_padding(POOLS[pooling](x), height)
        x = _without_padding(convolve(x, kernels[conv]), height)
        found[conv] = x[0]
        x = relu(x)
        found[conv.replace("conv", "relu")] = x[0]
    return {tap: found[tap] for tap in taps}


def _without_padding(x: jax.Array, height: int) -> jax.Array:
    """Returns (N, H, W, C) with zeros below the first `height` rows."""
    inside = jnp.arange(x.shape[1]) < height
    return jnp.where(inside[:, None, None], x, 0)
