"""Whole commands of jaxstyle, timed from the start of Python; for the benchmarks."""

import os
import subprocess
import sys
import time
from pathlib import Path


def timed_run(
    pair: tuple[Path, Path], size: str | int, *flags: str, cache: str | Path
) -> tuple[float, bytes]:
    """Paints a pair of pictures with the embedded weights; raises if the run fails.

    Args:
      pair: photo and painting.
      size: as `--size` takes it.
      flags: more of the command line, with where the output goes.
      cache: the folder of compiled programs; an empty one has all compiled.

    Returns:
      Seconds from the start of Python to its end, and what stands on standard output.
    """
    clean = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-m", "jaxstyle.run", "--weights", "embedded", "--quiet"]
    command += ["--content", str(pair[0]), "--style", str(pair[1]), "--size", str(size)]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, *flags],
        env={**clean, "JAXSTYLE_CACHE": str(cache)},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - began, done.stdout
