"""The device that a run is on: choosing it, its memory, its errors."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxstyle.deviceflags import DeviceFlags
from jaxstyle.errors import InputError
from jaxstyle.inputs import Say
from jaxstyle.processes import devices_for, join
from jaxstyle.room import NO_LIMIT, Room, memory_left

NVIDIA_SIGNS = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"), Path("/dev/dxg"))
"""Files that are there if the driver of an NVIDIA GPU is loaded (the last: in WSL)."""

CUDA_INSTALL = "pip install -U 'jax[cuda13]'"


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


def choose_devices(name: str | None, flags: DeviceFlags, *, say: Say) -> list[jax.Device]:
    """Finds the other processes, if any, and returns the devices that share one picture.

    Raises:
      InputError: jax has no such device, or the other processes cannot be found.
    """
    join(flags.distributed)
    if not flags.several:
        call_in_this_thread()
        return [choose_device(name, say=say)]
    device = choose_device(name, say=say)
    devices = devices_for(device.platform, flags.most)
    there = len(jax.local_devices(backend=device.platform))
    if flags.most is not None and there < flags.most:
        say(
            f"warning: {flags.most} devices were asked for; of {device.device_kind} there"
            f" {'is' if there == 1 else 'are'} {there}"
        )
    return devices


def call_in_this_thread() -> None:
    """Has the thread that calls a CPU do the call, where `room.keep_freed_memory` is of use.

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


def device_room(device: jax.Device) -> Room:
    """Returns how much memory may be used on a device; CPUs and some others only have limits."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        left = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return Room(left, f"the memory of {device.device_kind}")
    return memory_left() if device.platform == "cpu" else Room(NO_LIMIT, "no known limit")


def of_the_system(error: jax.errors.JaxRuntimeError) -> Exception:
    """Returns XLA's error as one of the system's, with the first line of what it says."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return MemoryError(text)
    return OSError(f"the device failed: {text.splitlines()[0] if text else 'no reason given'}")
