"""Compiled programs are kept in the user's cache folder, so that a second run compiles nothing."""

import hashlib
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import jax

from jaxstyle import files

MOST_BYTES = 2**30
"""Of all programs kept; those not used for longest are deleted first."""


def keep_programs() -> None:
    """Has jax keep every compiled program, and take it from there, from now on in this process.

    Where the environment or the caller has chosen a folder (JAX_COMPILATION_CACHE_DIR) or has
    switched jax's cache off (JAX_ENABLE_COMPILATION_CACHE), that is respected. A folder that
    cannot be written means no cache; a file in it that cannot be read is compiled anew, and jax
    warns.
    """
    # in an application that makes errors of warnings, a damaged cache is still none
    warnings.filterwarnings("default", message=".*persistent compilation cache.*")
    config: Any = jax.config  # which has no types
    if config.jax_compilation_cache_dir is None:
        folder = files.cache_folder() / f"compiled-{_processor()}"
        if not _writable(folder):
            return
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


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
