"""Devices: choosing them, their errors, several processes at work together, programs kept."""

import contextlib
import hashlib
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxstyle import files
from jaxstyle.errors import ExhaustedError, InputError, Say, silent
from jaxstyle.machine.gpu import FRACTIONS, PLATFORMS, card_of, fraction, held_by_others
from jaxstyle.machine.memory import NO_LIMIT, Memory, gigabytes, memory_left
from jaxstyle.settings.text import read_shard

NVIDIA_SIGNS = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"), Path("/dev/dxg"))
"""Files that are there if the driver of an NVIDIA GPU is loaded (the last: in WSL)."""

CUDA_INSTALL = "pip install -U 'jax[cuda13]'"

HEARTBEAT_SECONDS = 30
"""After so long without a sign of life a process counts as lost; jax's own default is 100."""

_T = TypeVar("_T")

MOST_BYTES = 2**30
"""Size of the cache of executables; those not used for longest are deleted first."""

SECONDS_TO_WRITE = 60
"""Longer than writing a program takes: until then another process may be about to finish it."""


def choose_device(name: str | None, *, say: Say) -> jax.Device:
    """Returns the device to paint on; mentions a GPU that lies idle.

    Raises:
      InputError: jax has no such device.
    """
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)  # we say it ourselves
    if name == "cpu":
        # leaves a GPU's memory alone
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    platforms = os.environ.get("JAX_PLATFORMS", "")
    try:
        device = jax.devices(name)[0]
    except (RuntimeError, AssertionError) as error:  # the latter for a plugin that is not there
        hint = f"; for an NVIDIA GPU: {CUDA_INSTALL}" if name == "gpu" else ""
        reason = " ".join(str(error).split()) or f"JAX_PLATFORMS is {platforms!r}"
        raise InputError(f"jax finds no device {name or 'at all'}: {reason}{hint}") from None
    chosen = name or platforms
    if device.platform == "cpu" and not chosen and _nvidia_gpu_present():
        say(f"an NVIDIA GPU is present, but this jax cannot use it; to use it: {CUDA_INSTALL}")
    return device


def set_up_devices(
    name: str | None, *, most: int | None, distributed: str | None, say: Say
) -> list[jax.Device]:
    """Prepares this process for computing, before anything else does, and returns the devices.

    Finds the other processes, if any, and has executables kept.

    Args:
      name: of the kind, see `choose_device`.
      most: how many to use, of each process; None is all.
      distributed: see `join`.
      say: is given warnings.

    Returns:
      The devices, those of other processes too.

    Raises:
      InputError: jax has no such device, or the other processes cannot be found.
    """
    join(distributed)
    if distributed is None and (most == 1 or (most is None and not cpu_is_divided())):
        call_in_this_thread()
    device = choose_device(name, say=say)
    keep_executables(say=say)
    return devices_for(device.platform, most)


def call_in_this_thread() -> None:
    """Has the thread that calls a CPU do the call, where `process.keep_freed_memory` is of use.

    Before jax looks for devices. One CPU alone: several would wait for each other.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]


def cpu_is_divided() -> bool:
    """Whether jax was told to make several devices of the CPU."""
    several: bool = jax.config.jax_num_cpu_devices > 1  # type: ignore[attr-defined]
    return several or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")


def kind_of(devices: Sequence[jax.Device]) -> str:
    """Returns the kind of devices, and how many if there are several: "4 x cpu"."""
    count = f"{len(devices)} x " if len(devices) > 1 else ""
    return f"{count}{devices[0].device_kind}"


def memories(devices: Sequence[jax.Device]) -> int:
    """Returns how many memories there are: a process's CPU devices have one in common."""
    if devices[0].platform == "cpu":
        return len({each.process_index for each in devices})
    return len(devices)


def _nvidia_gpu_present() -> bool:
    return any(path.exists() for path in NVIDIA_SIGNS)


def device_memory(device: jax.Device) -> Memory:
    """Returns how much memory may be used on a device; CPUs and some others only have limits.

    Of a GPU it is the part that jax takes, less what other processes hold of it already.
    """
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        left = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        if device.platform in PLATFORMS:
            return _gpu_memory(device, stats, left)
        return Memory(left, f"the memory of {device.device_kind}")
    return memory_left() if device.platform == "cpu" else Memory(NO_LIMIT, "no known limit")


def _gpu_memory(device: jax.Device, stats: Mapping[str, int], left: int) -> Memory:
    """Returns what is left of a GPU's memory, of which jax may take `left` more bytes."""
    part = f"the part {fraction()} of the memory of {device.device_kind}, {FRACTIONS[0]}"
    card = card_of(device.local_hardware_id or 0)
    others = held_by_others(card, stats)
    if card is not None and others and card.total - card.used < left:
        free = max(0, card.total - card.used + stats.get("pool_bytes", 0))
        free -= stats.get("bytes_in_use", 0)
        held = f"{device.device_kind}, of which another process holds {gigabytes(others)}"
        return min(Memory(left, part), Memory(max(0, free), held))
    return Memory(left, part)


def of_the_system(
    error: jax.errors.JaxRuntimeError,
    device: jax.Device | None = None,
    advice: Callable[[], str] = lambda: "choose a smaller --size",
) -> Exception:
    """Returns XLA's error as one of the system's, with the first line of what it says.

    Args:
      error: of jax.
      device: on which it came, if that is known: other processes may hold its memory.
      advice: returns what to do if it is memory that lacks.
    """
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        others = 0
        if device is not None and device.platform in PLATFORMS:
            card = card_of(device.local_hardware_id or 0)
            others = held_by_others(card, device.memory_stats() or {})
        if others:
            return ExhaustedError(
                f"not enough memory: another process holds {gigabytes(others)} of this GPU's: wait"
                f" for it, or {advice()}"
            )
        return ExhaustedError(f"not enough memory: {advice()}")
    return OSError(f"the device failed: {text.splitlines()[0] if text else 'no reason given'}")


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
        # it would take SIGTERM away from `Interruption`
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


def from_first(number: float) -> float:
    """Returns the first process's number, on which all can act alike."""
    if jax.process_count() == 1:
        return number
    exact = np.frombuffer(np.float64(number).tobytes(), np.uint8)  # a float would be rounded
    everyone = multihost_utils.broadcast_one_to_all(exact)
    return float(np.asarray(everyone, np.uint8).view(np.float64)[0])


def all_equal(text: str) -> bool:
    """Whether every process has given this very text."""
    if jax.process_count() == 1:
        return True
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(digest))
    return bool((everyone.reshape(-1, digest.size) == digest).all())


def all_or_none(check: Callable[[], _T]) -> _T:
    """Returns the result of a check, unless it fails in any process.

    Raises:
      InputError: the check's own error, or that another process refused.
    """
    try:
        result = check()
    except InputError:
        any_process([True])
        raise
    if any(any_process([False])):
        raise InputError("another of the processes cannot begin; it says why")
    return result


def any_process(flags: Sequence[bool]) -> list[bool]:
    """Returns the flags, each true if it is set in any process; all processes get the same."""
    if jax.process_count() == 1 or not flags:
        return list(flags)
    everyone = np.asarray(multihost_utils.process_allgather(np.array(flags)))
    return list(map(bool, everyone.reshape(-1, len(flags)).max(axis=0)))


def keep_executables(*, say: Say = silent) -> None:
    """Has jax keep every executable in the cache folder, and look there before it compiles.

    Where the environment or the caller has chosen a folder (JAX_COMPILATION_CACHE_DIR) or has
    switched jax's cache off (JAX_ENABLE_COMPILATION_CACHE), that is respected. A folder that
    cannot be written means no cache, and so does one without locks, of which is told; a file in
    it that cannot be read is compiled again, and jax warns.
    """
    # in an application that makes errors of warnings, a damaged cache is still none
    warnings.filterwarnings("default", message=".*persistent compilation cache.*")
    config: Any = jax.config  # which has no types
    if config.jax_compilation_cache_dir is None:
        folder = files.cache_folder() / f"compiled-{_processor()}"
        if not _writable(folder):
            return
        if not files.takes_locks(folder):
            say(f"warning: {folder} has no locks, so every run compiles: JAXSTYLE_CACHE=FOLDER")
            return
        _delete_unfinished(folder)
        config.update("jax_compilation_cache_dir", str(folder))
        config.update("jax_compilation_cache_max_size", MOST_BYTES)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        config.update("jax_persistent_cache_min_compile_time_secs", 0)  # by default 1


def _processor() -> str:
    """Returns a short name of this kind of processor: a home folder may serve many machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kind = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        kind = f"{platform.machine()} {platform.processor()}"
    return hashlib.sha256(kind.encode()).hexdigest()[:12]


def _delete_unfinished(folder: Path) -> None:
    """Deletes programs that a killed process had not finished writing.

    jax writes a program's time of use last. Without it, jax keeps no further program in the folder
    once it has to look at the sizes there, and never writes this one again.
    """
    for program in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process was quicker
            used = program.with_name(f"{program.name.removesuffix('-cache')}-atime")
            if used.exists():
                continue
            if time.time() - program.stat().st_mtime >= SECONDS_TO_WRITE:
                program.unlink()


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
