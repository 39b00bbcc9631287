"""Several processes as one program, by jax.distributed; and which devices are used."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxstyle.errors import InputError
from jaxstyle.texts import read_shard

HEARTBEAT_SECONDS = 30
"""After so long without a sign of life a process counts as lost; jax's own default is 100."""

_T = TypeVar("_T")


def join(where: str | None) -> None:
    """Finds the other processes; must come before anything that uses a device.

    Args:
      where: None for a process on its own; "auto" where jax finds the others by itself (TPU pods,
        Slurm, Open MPI); else "HOST:PORT,I/N", the address of the first process and which one
        this is, counted from 1.

    Raises:
      InputError: the others cannot be found.
    """
    if where is None:
        return
    with contextlib.suppress(AttributeError):  # not every jax has this switch
        # it would take SIGTERM away from `interrupt`
        jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        if where == "auto":
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
        else:
            address, _, place = where.rpartition(",")
            number, count = read_shard(place)
            jax.distributed.initialize(
                coordinator_address=address,
                num_processes=count,
                process_id=number - 1,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            )
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the other processes cannot be found (--distributed): {reason}") from None


def devices_for(platform: str, most: int | None) -> list[jax.Device]:
    """Returns the devices of a kind, of each process at most so many."""
    found: list[jax.Device] = []
    for process in range(jax.process_count()):
        own = [each for each in jax.devices(platform) if each.process_index == process]
        found += own[:most]
    return found


def is_first() -> bool:
    """Whether this is the process that writes what all have made together."""
    return jax.process_index() == 0


def same(number: float) -> float:
    """Returns the first process's number, on which all can act alike."""
    if jax.process_count() == 1:
        return number
    exact = np.frombuffer(np.float64(number).tobytes(), np.uint8)  # a float would be rounded
    everyone = multihost_utils.broadcast_one_to_all(exact)
    return float(np.asarray(everyone, np.uint8).view(np.float64)[0])


def all_have(text: str) -> bool:
    """Whether every process has given this very text."""
    if jax.process_count() == 1:
        return True
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(digest))
    return bool((everyone.reshape(-1, digest.size) == digest).all())


def together(check: Callable[[], _T]) -> _T:
    """Returns what a check does, unless any process's check refuses to go on.

    Raises:
      InputError: this one's, or that another one refused.
    """
    try:
        result = check()
    except InputError:
        agree([True])
        raise
    if any(agree([False])):
        raise InputError("another of the processes cannot begin; it says why")
    return result


def agree(flags: Sequence[bool]) -> list[bool]:
    """Returns for each flag whether any process has it set: all see the same, whatever they see."""
    if jax.process_count() == 1 or not flags:
        return list(flags)
    everyone = np.asarray(multihost_utils.process_allgather(np.array(flags)))
    return list(map(bool, everyone.reshape(-1, len(flags)).max(axis=0)))
