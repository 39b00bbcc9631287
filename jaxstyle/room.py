"""How much memory this process may still use, and what limits it; standard library only."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LEAN_FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
"""Switched off, XLA orders a CPU program's work to need less memory: about half in strips."""

TESTED_JAXLIBS = ("0.10.2",)
"""A flag that a jaxlib does not know aborts the process."""

NO_LIMIT = 2**62
"""cgroups write their absence as a number about as large."""


class Room(NamedTuple):
    """How much may be used, and by what it is limited."""

    bytes: int
    limit: str
    is_address_space: bool = False
    """Whether what counts is memory asked for, not used."""
    parts: int = 1
    """How many memories like this share a picture."""


def memory_left() -> Room:
    """Returns the tightest of the limits on the machine's memory."""
    rooms = [*_free_memory(), *_cgroups(), *_address_space()]
    return min(rooms, default=Room(NO_LIMIT, "no known limit"))


def on_cpu_surely(device: str | None) -> bool:
    """Whether a run on this `--device` can only be on the CPU, as far as is known before jax."""
    if device is not None or os.environ.get("JAX_PLATFORMS"):
        return "cpu" in (device, os.environ.get("JAX_PLATFORMS"))
    from importlib import util  # not needed by --help

    return not any(util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def compile_leanly() -> None:
    """Sets `LEAN_FLAG` for this process, before jax is imported; an own XLA_FLAGS wins."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "jax" in sys.modules or LEAN_FLAG in flags:
        return
    from importlib import metadata  # 20 ms that --help need not wait for

    with contextlib.suppress(metadata.PackageNotFoundError):
        if metadata.version("jaxlib") in TESTED_JAXLIBS:
            os.environ["XLA_FLAGS"] = f"{flags} {LEAN_FLAG}=false".strip()


def compiles_leanly() -> bool:
    """Whether `LEAN_FLAG` is set for this process."""
    return f"{LEAN_FLAG}=false" in os.environ.get("XLA_FLAGS", "")


def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next call, until `give_back`.

    A call on the device frees its working memory at its end, and takes as much for the next one.
    From the system it would come as pages of zeros, one by one: a quarter of a step at 300x450.
    Of use where the main thread itself does the call, see `device.call_in_this_thread`.
    """
    mmap_max, trim_threshold, never = -4, -1, -1  # glibc's malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, never)


def give_back() -> None:
    """Has the C library give freed memory back: a compiler leaves half a gigabyte of it."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has this
        ctypes.CDLL(None).malloc_trim(0)


def _free_memory() -> Iterator[Room]:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(each for each in lines if each.startswith("MemAvailable:"))
        yield Room(int(line.split()[1]) * 1024, "free memory")
        return
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not Linux: all there is
        yield Room(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "memory in all")


def _cgroups() -> Iterator[Room]:
    """Yields the limits of this process's cgroup and those around it, of version 2 and 1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                root = Path("/sys/fs/cgroup") / ("memory" if controllers else "")
                inner = root / path.lstrip("/")
                for folder in (inner, *inner.parents):
                    if folder.is_relative_to(root):
                        yield from cgroup_room(folder)


def cgroup_room(folder: Path) -> Iterator[Room]:
    """Yields what a cgroup's folder says, if it sets a limit; its file cache can be given back."""
    names = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for limit_name, usage_name in names:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            limit = int((folder / limit_name).read_text())
            used = int((folder / usage_name).read_text())
            statistics = (folder / "memory.stat").read_text().split()
            cache = dict(zip(statistics[::2], statistics[1::2], strict=False))
            if limit < NO_LIMIT:
                room = max(0, limit - used + int(cache.get("inactive_file", 0)))
                yield Room(room, f"the limit {limit / 1e9:.1f} GB of its cgroup")


def _address_space() -> Iterator[Room]:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            left = max(0, limit - pages * resource.getpagesize())
            yield Room(left, f"the limit {limit / 1e9:.1f} GB of its address space", True)
