"""What several test files need: a slim VGG, small 8-bit pictures, and the network in numpy."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck

from jaxstyle.images import picture_file
from jaxstyle.images.canvas import Picture
from jaxstyle.network.layers import block_of, required_conv_names
from jaxstyle.weights import weight_file
from jaxstyle.weights.activations import LayerArrays

# before jax is imported: every process that tests start shares what was compiled
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxstyle-tests-"))

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Of `jax.jit`: compiles float64 convolutions in a thirtieth of the time."""

HASTE = " ".join(f"--{name}={value}".lower() for name, value in QUICK.items())
"""XLA's flags by which the default tests compile in half the time, see `pytest_configure`."""

CODEGEN = (
    *("test_references.py", "network/test_convolution.py", "network/test_precision.py"),
    *("network/test_vgg.py", "network/test_winograd.py", "optimization/test_stepping.py"),
    "runs/test_resume.py",
)
"""Files about rounding, equal bits and what is not finite: run once more, compiled as for users."""

EXAMPLES = Path(__file__).parents[1] / "examples"
SLIM_WIDTHS = (4, 6, 8, 10, 10)
FULL_WIDTHS = (64, 128, 256, 512, 512)
SHALLOW = {"content_layers": ("relu2_2",), "style_layers": ("relu1_1", "relu2_1")}
"""Few layers, where a test is not about the network: it compiles in a fraction of the time."""

OTHER_VALUES = {
    **{"content_layers": ("relu2_1",), "style_layers": ("relu1_1",), "pooling": "avg"},
    **{"style_loss": "covariance", "balance": "relative", "conv": "winograd", "memory": "strips"},
    **{"size": 64, "scales": (0.6, 1.0), "steps": 7, "steps_power": 0.5, "full_depth": 1},
    **{"schedule": "cosine", "tv_step": "proximal", "beta2": "increasing", "clip": True},
    **{"style_mix": "sum", "upscale": True, "style_scale": (2.0,), "style_size": 100},
    **{
        "propagation": "inside",
        "extrapolate": True,
        "optimizer": "another",
        "history": 3,
        "average": 0.5,
        "resampling": "lanczos",
    },
    **{"colors": "luminance", "color_match": "cholesky", "precision": "bf16"},
    **{"padding": "replicate", "units": "caffe", "tv_form": "squared", "level_steps": (4.0, 2.0)},
    **{"line_search": "zoom", "carry": True},
}
"""Another value than preset `book` has, for every field of a recipe."""

SHALLOW_FLAGS = ["--content-layers", "relu2_2", "--style-layers", "relu1_1,relu2_1"]

PICTURES = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]

FAST = ["--size", "48", "--scales", "1", "--steps", "4", "--clip", "no", *SHALLOW_FLAGS]
"""Flags of a run that takes no time to speak of."""


FUZZ = "JAXSTYLE_FUZZ"
"""Of the environment: how many cases the tests with random inputs try."""


def fuzzing(cases: int) -> dict[str, Any]:
    """Returns hypothesis' settings: so many cases, always the same, or as many as FUZZ says."""
    return {
        "max_examples": int(os.environ.get(FUZZ, cases)),
        "deadline": None,
        "derandomize": FUZZ not in os.environ,
        "suppress_health_check": list(HealthCheck),
    }


LONGEST = (
    *("runs/test_shared_run.py", "optimization/test_rows.py", "machine/test_memory_measured.py"),
    *("test_references.py", "painting/test_sweep_rounds.py", "optimization/test_strips.py"),
    *("sweeps/test_sweep_run.py", "runs/test_run.py", "sweeps/test_sweep_processes.py"),
    *("runs/test_fuzz.py", "runs/test_kill.py", "machine/test_compilation.py", "test_quality.py"),
)
"""The files that take longest. They come first, so that no process begins one at the very end."""


def pytest_configure(config: pytest.Config) -> None:
    """Has the default tests, and what they start, compile in haste; an own XLA_FLAGS wins.

    With `-m slow`, `-m codegen` or `-m ''` XLA compiles as it does for users.
    """
    if config.option.markexpr.startswith("not slow"):
        os.environ.setdefault("XLA_FLAGS", HASTE)


@pytest.hookimpl(tryfirst=True)  # before -m leaves any out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first; xdist hands out files in this order.

    And marks those of CODEGEN.
    """
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix() in CODEGEN:
            item.add_marker("codegen")
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def slim_params(
    architecture: str, seed: int = 0, *, widths: tuple[int, ...] = SLIM_WIDTHS
) -> LayerArrays:
    """Returns random parameters of a VGG, by default of four to ten channels, with biases."""
    random = np.random.default_rng(seed)
    params, channels = {}, 3
    for name in required_conv_names(architecture):
        width = widths[block_of(name) - 1]
        kernel = random.normal(size=(3, 3, channels, width)) * np.sqrt(2 / (9 * channels))
        params[name] = {
            "kernel": kernel.astype(np.float32),
            "bias": (random.normal(size=width) * 0.1).astype(np.float32),
        }
        channels = width
    return params


def relative_rms(value, reference) -> float:
    """Returns the root mean square of the difference, relative to that of the reference."""
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    return float(np.sqrt(np.mean((value - reference) ** 2) / np.mean(reference**2)))


def findings_of(worker: str, *arguments: str, flags: str) -> dict[str, Any]:
    """Returns what a script beside the tests finds with eight virtual devices, in a process."""
    tests = Path(__file__).parent
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8".strip(),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]),
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", str(tests / worker), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    findings: dict[str, Any] = json.loads(result.stdout)
    assert findings["devices"] == 8
    return findings


def two_places() -> list[str]:
    """Returns what `--distributed` is given in the first and in the second of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [f"127.0.0.1:{port},{number}/2" for number in (1, 2)]


def attributes(file: h5py.File) -> dict[str, object]:
    """Returns a weight file's attributes, its texts decoded."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in file.attrs.items()}


@pytest.fixture(scope="session")
def params() -> LayerArrays:
    return slim_params("vgg19")


@pytest.fixture(scope="session")
def slim_file(tmp_path_factory: pytest.TempPathFactory, params: LayerArrays) -> Path:
    """A weight file of a slim VGG-19."""
    path = tmp_path_factory.mktemp("weights") / "slim.h5"
    path.write_bytes(
        weight_file.weight_bytes(params, source="random", source_sha256="0" * 64, licence="none")
    )
    return path


@pytest.fixture(scope="session")
def content() -> Picture:
    """A piece of the example photo, of odd sides."""
    return picture_file.load_picture(EXAMPLES / "coffee.png")[100:167, 250:343]


@pytest.fixture(scope="session")
def style() -> Picture:
    """A piece of the example painting, of another size."""
    return picture_file.load_picture(EXAMPLES / "strokes.png")[40:109, 500:571]


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Has a test compute in float64, by the setting that every jax has."""
    import jax  # after the cache is named, above

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def paint(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in an empty folder; returns exit code, standard output and error."""
    from jaxstyle.cli.main import main

    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "coffee.png", "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", "painting.png")

    def run(*flags: str, fast: bool = True) -> tuple[int, str, str]:
        base = ["--content", "photo.png", "--style", "painting.png", "--weights", str(slim_file)]
        code = main([*base, *(FAST if fast else []), *flags])
        return code, *capfd.readouterr()

    run.weights = slim_file
    return run
