"""Values on many devices: one of each kind on every device, and the program that works on them.

Each process puts and takes what is on its own devices; nothing here communicates. On a mesh of one
device all is as in a single run, to the program itself, which is then compiled only once for both.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from numpy.typing import NDArray

from jaxstyle import transfer
from jaxstyle.conv import Kernels
from jaxstyle.objective import Problem
from jaxstyle.shards import SAME, put_on_one
from jaxstyle.state import State

AXIS = "sweep"
EACH: Any = P(AXIS)  # type: ignore[no-untyped-call]
"""Another value on every device."""

_T = TypeVar("_T")


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Returns the mesh of these devices along one axis."""
    return Mesh(np.array(devices), (AXIS,))


def spread(trees: Sequence[_T], mesh: Mesh) -> _T:
    """Puts the i-th tree on the i-th of this process's devices.

    Returns:
      One tree of arrays with a new leading axis, as long as the mesh; without it if that is 1.
    """
    if mesh.size == 1:
        return put_on_one(trees[0], mesh)
    sharding = NamedSharding(mesh, EACH)
    devices = mesh.local_devices
    parts = [
        jax.device_put(_with_axis(tree), device)
        for tree, device in zip(trees, devices, strict=True)
    ]

    def join(*leaves: jax.Array) -> jax.Array:
        shape = (mesh.size, *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(leaves))

    joined: _T = jax.tree.map(join, *parts)
    return joined


@jax.jit
def _with_axis(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def local_parts(array: jax.Array) -> list[NDArray[Any]]:
    """Returns what `spread` put, now from the devices, in the same order, as copies.

    On CPUs what is no copy would look at memory that the next steps take over.
    """
    if isinstance(array.sharding, SingleDeviceSharding):
        return [np.array(array)]
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return [np.array(np.asarray(shard.data)[0]) for shard in shards]


def local_trees(tree: _T) -> list[_T]:
    """Returns the trees that `spread` put, as they are now, see `local_parts`."""
    leaves, structure = jax.tree.flatten(tree)
    parts = zip(*map(local_parts, leaves), strict=True)
    return [jax.tree.unflatten(structure, each) for each in parts]


def run_steps(
    state: State, counts: jax.Array, problem: Problem, mesh: Mesh
) -> tuple[State, jax.Array]:
    """Does on every device its own count of steps of its own problem, see `transfer`.

    Args:
      state: one on each device; donated.
      counts: (devices,), or () for one device.
      problem: one on each device, except for its kernels, of which each has a copy.
      mesh: the devices.

    Returns:
      The states, and each device's table of losses.
    """
    if mesh.size == 1:
        alone: tuple[State, jax.Array] = transfer._run_steps(state, int(counts), problem)
        return alone
    rest = dataclasses.replace(problem, kernels={})
    result: tuple[State, jax.Array] = program(mesh)(state, counts, problem.kernels, rest)
    return result


@functools.cache
def program(mesh: Mesh) -> Any:
    """Returns the jitted function (state, counts, kernels, rest of the problem), see `run_steps`.

    It compiles once for each program and size.
    """

    def one(state: State, counts: jax.Array, kernels: Kernels, rest: Problem) -> Any:
        state, count, rest = jax.tree.map(lambda leaf: leaf[0], (state, counts, rest))
        problem = dataclasses.replace(rest, kernels=kernels)
        return jax.tree.map(lambda leaf: leaf[None], transfer._run_steps(state, count, problem))

    inputs = (EACH, EACH, SAME, EACH)
    # what does not vary over the devices is not tracked: no value is ever combined across them
    mapped = jax.shard_map(one, mesh=mesh, in_specs=inputs, out_specs=EACH, check_vma=False)
    each, same = NamedSharding(mesh, EACH), NamedSharding(mesh, SAME)
    # said explicitly, or on one device the states that come back would compile it anew
    given = (each, each, same, each)
    return jax.jit(mapped, donate_argnums=0, in_shardings=given, out_shardings=each)
