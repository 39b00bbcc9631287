"""The whole program in unusual surroundings, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS


def run(folder: Path, weights: Path, *python: str, **environment: str):
    command = [sys.executable, *python, "-m", "jaxstyle.run", "--weights", str(weights)]
    command += ["--content", str(EXAMPLES / "coffee.png"), "-o", "out.png", "--steps", "2"]
    command += ["--style", str(EXAMPLES / "strokes.png"), "--size", "48", *SHALLOW_FLAGS]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_ENABLE_X64": "1"},
        {"JAX_PLATFORMS": "cpu"},
        # where nobody can make a folder, not even root
        {"HOME": "/proc/nonexistent", "XDG_CACHE_HOME": "/proc/nonexistent/cache"},
    ],
    ids=lambda environment: "-".join(environment),
)
def test_it_works_and_warns_of_nothing(tmp_path, slim_file, environment) -> None:
    result = run(tmp_path, slim_file, "-W", "error", **environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "out.png\n"


@pytest.mark.parametrize("platform", ["nonsense", "cuda"])
def test_a_platform_that_is_not_there(tmp_path, slim_file, platform: str) -> None:
    result = run(tmp_path, slim_file, JAX_PLATFORMS=platform)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "jaxstyle: error: jax finds no device" in result.stderr.splitlines()[-1]
    assert platform in result.stderr
    assert not (tmp_path / "out.png").exists()
