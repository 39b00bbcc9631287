"""Compiles the library into the wheel.

With the machine's own C++ compiler (c++, or what the variable CXX says) if it is new enough, or
else, and on Windows, with Zig's, which pip installs for it.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OPTIONS = (
    *("-std=c++17", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden"),
)

SETS = {"narrow": "v3", "wide": "v4"}
"""By the name of what is compiled once for each: the level of x86-64's instructions."""

ZIG = "ziglang>=0.17"

ZIG_FOR_ANY = ("-mcpu=baseline",)
"""Zig compiles for the very processor that it runs on unless told otherwise."""


class BuildLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the library before the wheel is packed, and has it packed."""

    def dependencies(self) -> list[str]:
        """Returns what pip is to install beside what pyproject.toml names."""
        return [] if _works(_own_compiler()) else [ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Is what hatchling calls; `version` is "standard" or "editable"."""
        root = Path(self.root)
        to = root / "jaxstyle_cpu" / f"library{'.dll' if os.name == 'nt' else '.so'}"
        with tempfile.TemporaryDirectory() as scratch:
            _compile(root / "source", to, Path(scratch))
        build_data["artifacts"].append(f"jaxstyle_cpu/{to.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{re.sub('[-.]', '_', sysconfig.get_platform())}"


def _compile(source: Path, to: Path, scratch: Path) -> None:
    """Compiles what is in a folder to a shared library."""
    import jaxlib

    own = _own_compiler()
    zig = not _works(own)
    compiler = [sys.executable, "-m", "ziglang", "c++"] if zig else own
    for_any = ZIG_FOR_ANY if zig else ()
    headers = str(Path(jaxlib.__file__).parent / "include")
    files = [[*for_any, "-isystem", headers, "-w", "bindings.cc"]]
    for name, level in SETS.items() if _is_x86() else [("narrow", "")]:
        instructions = _instructions(level, zig=zig) if level else for_any
        files.append([*instructions, f"-DSET={name}", "convolve.cc"])
    objects = [str(scratch / f"{number}.o") for number, _ in enumerate(files)]
    for options, made in zip(files, objects, strict=True):
        subprocess.run([*compiler, *OPTIONS, "-c", *options, "-o", made], check=True, cwd=source)
    # Of functions that several files have the linker takes the first file's: that one asks for no
    # special instructions, so a processor without them meets none.
    subprocess.run(
        [*compiler, *for_any, "-shared", *objects, "-o", str(to)], check=True, cwd=source
    )


def _own_compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "" if os.name == "nt" else "c++"))


def _works(compiler: list[str]) -> bool:
    """Whether there is such a compiler, and it knows what the source needs: GCC 12, Clang 12."""
    options = [*OPTIONS, *(_instructions("v4", zig=False) if _is_x86() else [])]
    program = "#include <functional>\nint b[__has_builtin(__builtin_shufflevector) ? 1 : -1];"
    call = [*compiler, *options, "-fsyntax-only", "-x", "c++", "-"]
    try:
        return not subprocess.run(call, input=program, text=True, capture_output=True).returncode
    except (IndexError, OSError):
        return False


def _instructions(level: str, *, zig: bool) -> list[str]:
    """Returns the options that allow a level of x86-64's instructions."""
    return [f"-march={'x86_64_' if zig else 'x86-64-'}{level}", "-mprefer-vector-width=512"]


def _is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")
