"""What `doctor` finds: versions, devices, caches, weights, memory, and what is wrong with them.

It must work where something is broken: nothing heavy is imported before its own check, each check
fails alone, and jax looks for devices in a process of its own, which may crash or hang.
"""

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxstyle import __version__, files
from jaxstyle.machine.memory import NO_LIMIT, memory_left

PROBE = (
    "import json, jax; print(json.dumps([[each.platform, each.device_kind,"
    " (each.memory_stats() or {}).get('bytes_limit')] for each in jax.devices()]))"
)
"""Lists the devices as [platform, kind, bytes of memory or null]."""

PROBE_COMPILED = (
    "import json; from jaxstyle.network.native import obstacle; print(json.dumps(obstacle()))"
)
"""Says why compiled convolutions cannot be used, or null."""

SECONDS_FOR_DEVICES = 120
"""Drivers of accelerators that take longer to answer hang."""

VARIABLES = (
    *("JAXSTYLE_CACHE", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"),
    *("JAX_ENABLE_COMPILATION_CACHE", "XLA_PYTHON_CLIENT_PREALLOCATE", "CUDA_VISIBLE_DEVICES"),
)
"""Variables of the environment that change what is computed where."""

FOR_DEVELOPERS = ("test", "reference")
"""Extras that nobody needs to paint."""

Report = dict[str, Any]
"""What was found, by section, fit for JSON; "wrong" has a line for all that does not work."""


def diagnose() -> Report:
    """Returns all that a bug report needs; never raises.

    Takes some seconds, most of them for the devices.
    """
    wrong: list[str] = []
    report: Report = {"jaxstyle": __version__}
    checks: dict[str, Callable[[list[str]], Any]] = {
        "system": _system,
        "packages": _packages,
        "extras": _extras,
        "devices": _devices,
        "compiled convolutions": _compiled,
        "memory": _memory,
        "cache": _cache,
        "weights": _weights,
        "environment": _environment,
    }
    for name, check in checks.items():
        try:
            report[name] = check(wrong)
        except Exception as error:  # whatever it is, the other checks matter the more
            report[name] = None
            wrong.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}")
    return report | {"wrong": wrong}


def report_lines(report: Report) -> list[str]:
    """Returns a report as lines of text, for a person to paste."""
    lines = [f"jaxstyle {report['jaxstyle']}"]
    for name, found in report.items():
        if name in ("jaxstyle", "wrong") or found is None:
            continue
        lines += [f"{name}:", *(f"  {line}" for line in _as_lines(found))]
    wrong = report["wrong"]
    return [*lines, "wrong:" if wrong else "nothing is wrong", *(f"  {line}" for line in wrong)]


def _as_lines(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [f"{name}: {value}" for name, value in found.items()] or ["none"]
    return list(found)


def _system(wrong: list[str]) -> dict[str, str]:
    return {
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
        "package": _shown(Path(__file__).parents[1]),
    }


def _shown(path: Path) -> str:
    """Returns a path for a public page: the home folder, which has a person's name, as ~."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where a user has none
    text = str(path)
    return f"~{text[len(home) :]}" if text.startswith(f"{home}{os.sep}") else text


def _requirements() -> list[tuple[str, str, str]]:
    """Returns name, lowest version and extra ("" for the core) of all that jaxstyle requires."""
    found: list[tuple[str, str, str]] = []
    try:
        texts = metadata.requires("jaxstyle") or []
    except metadata.PackageNotFoundError:  # run from a checkout
        return found
    for text in texts:
        need, _, marker = text.partition(";")
        match = re.match(r"([\w.-]+)(?:\[(\w+)\])?", need)
        floor, extra = re.search(r">=\s*([\w.]+)", need), re.search(r"extra == ['\"](\w+)", marker)
        if match:
            # jax[cuda13] is jax with a plugin that is a package of its own
            name = f"{match[1]}-{match[2]}-plugin" if match[2] else match[1]
            found.append((name, floor[1] if floor else "", extra[1] if extra else ""))
    return found


def _problem_of(name: str, floor: str) -> str:
    """Returns what is wrong with an installed package; "" if nothing."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
    return f"{version}, too old: at least {floor}" if _key(version) < _key(floor) else ""


def _key(version: str) -> tuple[int, ...]:
    """Returns the numbers that a version begins with, to compare them."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _packages(wrong: list[str]) -> dict[str, str]:
    found, requirements = {}, _requirements()
    if not requirements:
        wrong.append("jaxstyle itself is not installed, so what it requires is not known")
    for name, floor, extra in requirements:
        if not extra:
            problem = _problem_of(name, floor)
            found[name] = problem or metadata.version(name)
            if problem:
                need = f"{name}>={floor}" if floor else name
                wrong.append(f"{name} is {problem}: pip install -U '{need}'")
    return found


def _extras(wrong: list[str]) -> dict[str, str]:
    lacks: dict[str, list[str]] = {}
    for name, floor, extra in _requirements():
        if extra and extra not in FOR_DEVELOPERS:
            problem = _problem_of(name, floor)
            lacks.setdefault(extra, []).extend([f"{name} {problem}"] if problem else [])
    return {
        extra: f"{', '.join(each)}; pip install 'jaxstyle[{extra}]'" if each else "installed"
        for extra, each in sorted(lacks.items())
    }


def _devices(wrong: list[str]) -> list[str]:
    try:
        found, reason = _answer_of(PROBE)
    except subprocess.TimeoutExpired:
        wrong.append(f"jax has not found its devices in {SECONDS_FOR_DEVICES} s")
        return []
    if reason:
        wrong.append(f"jax finds no devices: {reason}")
        return []
    _check_gpu_is_used({each for each, _, _ in found}, wrong)
    return [
        f"{kind} ({of}{'' if size is None else f', {size / 1e9:.1f} GB'})"
        for of, kind, size in found
    ]


def _answer_of(code: str, **variables: str) -> tuple[Any, str]:
    """Returns the JSON that a process of its own prints last, and why there is none, else ""."""
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **variables}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_FOR_DEVICES,
        check=False,
    )
    if result.returncode:
        return None, (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    return json.loads(result.stdout.strip().splitlines()[-1]), ""


def _compiled(wrong: list[str]) -> list[str]:
    if importlib.util.find_spec("jaxstyle_cpu") is None:
        return ["not installed; a third less time on CPUs, see docs/start.md"]
    code = f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); {PROBE_COMPILED}"
    obstacle, reason = _answer_of(code, JAX_PLATFORMS="cpu")
    if obstacle is None and not reason:
        return ["by jaxstyle-cpu"]
    why = f"it {obstacle}" if obstacle else reason
    wrong.append(f"jaxstyle-cpu is not used, {why}: see packaging/cpu/README.md")
    return ["not used"]


def _check_gpu_is_used(platforms: set[str], wrong: list[str]) -> None:
    from jaxstyle.machine.devices import CUDA_INSTALL, NVIDIA_SIGNS  # imports jax, which works

    if platforms == {"cpu"} and any(path.exists() for path in NVIDIA_SIGNS):
        wrong.append(f"an NVIDIA GPU is present, but jax does not use it: {CUDA_INSTALL}")


def _memory(wrong: list[str]) -> dict[str, str]:
    left = memory_left()
    return {"free": "no limit" if left.bytes == NO_LIMIT else f"{left.bytes / 1e9:.1f} GB"} | {
        "limited by": left.limit
    }


def _cache(wrong: list[str]) -> dict[str, str]:
    folder = files.cache_folder()
    found = {"folder": _shown(folder)}
    if not folder.exists():
        return found | {"state": "not made yet"}
    try:
        files.check_writable(folder)
    except ValueError as error:
        wrong.append(str(error))
    if not files.takes_locks(folder):
        wrong.append(f"{folder} has no locks, so every run compiles: JAXSTYLE_CACHE=FOLDER")
    for name, pattern in (("compiled programs", "compiled-*/*"), ("other files", "*")):
        sizes = [each.stat().st_size for each in folder.glob(pattern) if each.is_file()]
        found[name] = f"{len(sizes)}, {sum(sizes) / 1e6:.1f} MB"
    return found


def _weights(wrong: list[str]) -> dict[str, str]:
    from jaxstyle.weights.pretrained import EMBEDDED, VGG19, find_weights  # imports h5py
    from jaxstyle.weights.weight_file import read_weights

    found: dict[str, str] = {}
    cached = files.cache_folder() / f"{VGG19}.h5"
    for name in (EMBEDDED, VGG19):
        if name == VGG19 and not cached.exists():
            found[name] = "not here; --weights vgg19 downloads it"
            continue
        try:
            path = find_weights("embedded").path if name == EMBEDDED else cached
            read_weights(path)
            found[name] = _shown(path)
        except (OSError, ValueError) as error:
            found[name] = "cannot be used"
            wrong.append(str(error))
    return found


def _environment(wrong: list[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
