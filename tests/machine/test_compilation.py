"""Compiled programs are kept between runs; a cache that cannot be used is no error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS

from jaxstyle.machine import devices

COUNT = """
import json, sys
from jax import monitoring
from jaxstyle.cli.main import main
counts = {"hits": 0, "misses": 0}
def count(event, **_):
    for name in counts:
        counts[name] += event == f"/jax/compilation_cache/cache_{name}"
monitoring.register_event_listener(count)
code = main(sys.argv[1:])
print(json.dumps(counts))
sys.exit(code)
"""


def run(folder: Path, weights: Path, *flags: str, out: str = "out.png", **environment: str):
    """Returns how many programs were found and not found in the cache, the picture, and stderr."""
    command = [sys.executable, "-W", "error", "-c", COUNT, "--weights", str(weights), "--force"]
    command += ["--content", str(EXAMPLES / "coffee.png"), "-o", out, "--steps", "2"]
    command += ["--style", str(EXAMPLES / "strokes.png"), "--size", "48", "--quiet", *SHALLOW_FLAGS]
    command += flags
    clean = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    result = subprocess.run(
        command,
        cwd=folder,
        env={**clean, "JAXSTYLE_CACHE": str(folder / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout.splitlines()[-1])
    picture = folder / out
    return counts, picture.read_bytes() if picture.is_file() else b"", result.stderr


@pytest.mark.slow
def test_a_second_run_compiles_nothing_and_paints_the_same(tmp_path, slim_file) -> None:
    first, picture, _ = run(tmp_path, slim_file)
    assert first["misses"] > 0  # not counted further: two threads may ask for one small program
    kept = set((tmp_path / "cache").glob("compiled-*/*-cache"))
    second, again, said = run(tmp_path, slim_file)
    assert second["misses"] == 0
    assert second["hits"] > 0
    assert set((tmp_path / "cache").glob("compiled-*/*-cache")) == kept
    assert again == picture
    assert said == ""
    (steps,) = (tmp_path / "cache").glob("compiled-*/jit__run_steps-*-cache")
    steps.write_bytes(b"nonsense")
    _, again, said = run(tmp_path, slim_file)
    assert again == picture
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_sweep_on_one_device_takes_the_program_of_single_runs(tmp_path, slim_file) -> None:
    def kept() -> set[Path]:
        return set((tmp_path / "cache").glob("compiled-*/jit__run_steps-*-cache"))

    run(tmp_path, slim_file)
    single = kept()
    assert single
    sweep = ("--sweep", "style-weight", "1e3", "1e5", "--devices", "1")
    run(tmp_path, slim_file, *sweep, out="swept")
    assert kept() == single
    assert len(list((tmp_path / "swept").glob("style-weight*.png"))) == 2


@pytest.mark.slow
def test_the_folder_that_jax_was_told_is_used(tmp_path, slim_file) -> None:
    run(tmp_path, slim_file, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))
    assert list((tmp_path / "mine").iterdir())
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, slim_file) -> None:
    (tmp_path / "file").write_text("in the way")
    counts, _, said = run(tmp_path, slim_file, JAXSTYLE_CACHE=str(tmp_path / "file"))
    assert counts["hits"] == 0
    assert said == ""


def test_what_a_killed_process_left_unfinished_is_deleted(tmp_path, monkeypatch) -> None:
    """Jax would keep no further program beside it; what may still be written is left."""
    import jax  # after conftest has named the tests' cache

    monkeypatch.setattr(devices.files, "cache_folder", lambda: tmp_path)
    folder = tmp_path / f"compiled-{devices._processor()}"
    folder.mkdir()
    for name in ("whole-cache", "whole-atime", "cut-cache", "young-cache"):
        (folder / name).write_bytes(b"12345678")
    os.utime(folder / "cut-cache", (0, 0))
    os.utime(folder / "whole-cache", (0, 0))
    names = ["jax_compilation_cache_dir", "jax_compilation_cache_max_size"]
    names += ["jax_persistent_cache_min_compile_time_secs"]
    kept = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        devices.keep_executables()
    finally:
        for name, value in kept.items():
            jax.config.update(name, value)
    left = {path.name for path in folder.iterdir()}
    assert left == {"whole-cache", "whole-atime", "young-cache"}


def test_where_nothing_can_be_locked_nothing_is_kept_and_one_line_says_so(
    tmp_path, monkeypatch
) -> None:
    import jax

    said: list[str] = []
    monkeypatch.setattr(devices.files, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(devices.files, "takes_locks", lambda folder: False)
    kept = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        devices.keep_executables(say=said.append)
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", kept)
    assert len(said) == 1
    assert "has no locks, so every run compiles" in said[0]
