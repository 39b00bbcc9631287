"""Values on several devices: the rows of one picture, or one value of each kind on every device.

A picture whose rows are shared out is padded with rows of zeros until the rows of every block's
maps divide; each device has a part of every map. XLA's partitioner does the rest: it sends the rows
at the edges to the neighbour before every convolution, and adds up the sums over the devices.

In a sweep on several devices each process puts and takes what is on its own ones; nothing here
communicates.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike
from numpy.typing import NDArray

ROWS_AXIS = "rows"
SHARED: Any = P(ROWS_AXIS)  # type: ignore[no-untyped-call]
"""Each device has some of the rows."""

SAME: Any = P()  # type: ignore[no-untyped-call]
"""Each has all."""

DIVISOR = 16
"""A device's rows are a multiple of this, so that four pools leave whole rows."""

SWEEP_AXIS = "sweep"
EACH: Any = P(SWEEP_AXIS)  # type: ignore[no-untyped-call]
"""Another value on every device."""

_T = TypeVar("_T")


class Rows(NamedTuple):
    """How the rows of a picture are shared out; hashable, static under jit."""

    mesh: Mesh
    height: int
    """Rows of the picture; the rows below are padding."""


class SharedPicture:
    """A picture (H, W, C), or several (..., H, W, C), whose rows are on several devices, padded.

    To whoever looks at it, it is an array without padding, which is fetched when it is asked for.
    Where the devices are several processes', all of these must ask, at the same point.
    """

    def __init__(self, padded: jax.Array, height: int) -> None:
        self._padded, self._height = padded, height

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., H, W, C)."""
        *several, _, width, channels = self._padded.shape
        return (*several, self._height, width, channels)

    @property
    def dtype(self) -> Any:
        """The type of its values."""
        return self._padded.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Returns a copy of the whole picture, on the host."""
        if self._padded.is_fully_addressable:
            whole = np.asarray(self._padded)
        else:
            whole = np.asarray(multihost_utils.process_allgather(self._padded, tiled=True))
        return np.array(whole[..., : self._height, :, :], dtype)


def rows_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Returns the mesh of these devices along the rows."""
    return Mesh(np.array(devices), (ROWS_AXIS,))


def own_of(devices: Sequence[jax.Device]) -> jax.Device:
    """Returns the first of these devices that is this process's."""
    return next(each for each in devices if each.process_index == jax.process_index())


def of_several_processes(rows: Rows | None) -> bool:
    """Whether the devices are more than one process's."""
    return rows is not None and len({each.process_index for each in rows.mesh.devices.flat}) > 1


def copy_to_all(tree: _T, mesh: Mesh) -> _T:
    """Puts a copy of the tree on every one of this process's devices."""
    sharding = NamedSharding(mesh, SAME)

    def copy(leaf: Any) -> jax.Array:
        parts = [jax.device_put(leaf, device) for device in mesh.local_devices]
        return jax.make_array_from_single_device_arrays(np.shape(leaf), sharding, parts)

    copied: _T = jax.tree.map(copy, tree)
    return copied


def share_out(picture: ArrayLike, mesh: Mesh) -> jax.Array:
    """Pads a picture (H, W, C), or several (..., H, W, C); puts rows on devices in order."""
    whole = np.asarray(picture)
    *several, given, width, channels = whole.shape
    multiple = DIVISOR * mesh.size
    height = math.ceil(given / multiple) * multiple

    def part(index: Any) -> NDArray[Any]:
        rows = whole[index]  # fewer at the end of the picture
        start, stop, _ = index[-3].indices(height)
        below = stop - start - rows.shape[-3]
        return np.pad(rows, (*((0, 0),) * len(several), (0, below), (0, 0), (0, 0)))

    spec: Any = P(*(None,) * len(several), *SHARED)  # type: ignore[no-untyped-call]
    shape = (*several, height, width, channels)
    return jax.make_array_from_callback(shape, NamedSharding(mesh, spec), part)


def share_out_all(tree: _T, rows: Rows | None, canvas: ArrayLike | SharedPicture) -> _T:
    """Shares out a tree's pictures of the canvas's shape; gives each device a copy of all else.

    Args:
      tree: of arrays; (..., H, W, C) are several pictures, whatever else has three axes is none.
      rows: how; by default the tree is left as it is.
      canvas: (H, W, C), not shared out yet.
    """
    if rows is None:
        return tree
    mesh, shape = rows.mesh, np.shape(canvas)

    def put(leaf: Any) -> jax.Array:
        return share_out(leaf, mesh) if np.shape(leaf)[-3:] == shape else copy_to_all(leaf, mesh)

    shared: _T = jax.tree.map(put, tree)
    return shared


def as_seen(tree: _T, rows: Rows | None, canvas: jax.Array) -> _T:
    """Returns a tree that was shared out, like its `canvas`, with `SharedPicture`s for pictures."""
    if rows is None:
        return tree
    height, shape = rows.height, canvas.shape
    seen: _T = jax.tree.map(
        lambda leaf: SharedPicture(leaf, height) if leaf.shape[-3:] == shape else leaf, tree
    )
    return seen


def sweep_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Returns the mesh of these devices along one axis."""
    return Mesh(np.array(devices), (SWEEP_AXIS,))


def some_on_each(trees: Sequence[_T], mesh: Mesh) -> _T:
    """Puts as many trees on each of this process's devices, the first ones on the first.

    Returns:
      One tree of arrays with a new leading axis, as long as there are trees, in all processes.
    """
    sharding = NamedSharding(mesh, EACH)
    devices = mesh.local_devices
    count = len(trees) // len(devices)
    parts = [
        jax.device_put(_stacked(*trees[number * count : (number + 1) * count]), device)
        for number, device in enumerate(devices)
    ]

    def join(*leaves: jax.Array) -> jax.Array:
        shape = (mesh.size * count, *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(leaves))

    joined: _T = jax.tree.map(join, *parts)
    return joined


@jax.jit
def _stacked(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def local_parts(array: jax.Array, numbers: Sequence[int] | None = None) -> list[NDArray[Any]]:
    """Returns what `some_on_each` put, now from the devices, in the same order, as copies.

    On CPUs a view would alias a donated buffer, which the next call overwrites.

    Args:
      array: on all devices.
      numbers: which of this process's parts are meant, from 0; by default all.
    """
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    each = shards[0].data.shape[0]
    wanted = range(each * len(shards)) if numbers is None else numbers
    return [np.array(np.asarray(shards[i // each].data)[i % each]) for i in wanted]


class PictureOnDevice:
    """A part of what `some_on_each` put, an array: fetched when it is asked for."""

    def __init__(self, array: jax.Array, number: int) -> None:
        """Takes what is on all devices, and which of this process's parts is meant, from 0."""
        self._array, self._number = array, number

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the axis of the parts."""
        return self._array.shape[1:]

    @property
    def dtype(self) -> Any:
        """The type of its values."""
        return self._array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Returns a copy, on the host."""
        return np.array(local_parts(self._array, [self._number])[0], dtype)


def part_on_device(tree: _T, number: int) -> _T:
    """Returns one of the trees that `some_on_each` put, as it is now on its device.

    Single values are fetched, arrays are `PictureOnDevice`s, which the next call uses up.
    """

    def part(leaf: jax.Array) -> Any:
        if leaf.ndim == 1:
            return local_parts(leaf, [number])[0]
        return PictureOnDevice(leaf, number)

    parted: _T = jax.tree.map(part, tree)
    return parted
