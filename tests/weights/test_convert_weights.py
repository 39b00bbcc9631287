"""Tests of scripts/convert_weights.py."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxstyle.weights.weight_file import read_weights

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "convert_weights.py"
REFERENCES = Path(__file__).parents[1] / "references"
VGG16, VGG19 = REFERENCES / "slim_vgg16_zip.pth", REFERENCES / "slim_vgg19_legacy.pth"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Returns the script's exit code and what it printed."""
    spec = importlib.util.spec_from_file_location("convert_weights", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    exit_code = script.main([str(argument) for argument in arguments])
    return exit_code, *capsys.readouterr()


def test_as_a_command_it_writes_the_file_and_prints_its_path(tmp_path: Path) -> None:
    target = tmp_path / "mine.h5"
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, VGG19, "-o", target],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}\n", "")
    kernel = read_weights(target)["conv1_1"]["kernel"] * 2**21
    assert kernel[2, 1, 0, 1] == 1021  # 1000 o + 10 y + x


@pytest.mark.parametrize(("source", "name"), [(VGG19, "vgg19.h5"), (VGG16, "vgg16.h5")])
def test_without_output_it_goes_into_the_cache(
    source: Path, name: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, source) == (0, f"{cache / name}\n", "")
    assert [each.name for each in cache.iterdir()] == [name]


def test_only_force_replaces_a_file(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.mkdir()
    (cache / "vgg19.h5").write_bytes(b"old")
    message = f"error: {cache / 'vgg19.h5'} exists: --force replaces it\n"
    assert run(capsys, VGG19) == (2, "", message)
    assert (cache / "vgg19.h5").read_bytes() == b"old"
    assert run(capsys, VGG19, "--force")[0] == 0
    assert "conv5_4" in read_weights(cache / "vgg19.h5")


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.pth").write_bytes(b"<html>")
    (tmp_path / "a.h5").write_bytes(b"")
    cases = {
        (tmp_path / "none.pth",): "does not exist",
        (tmp_path / "page.pth",): "looks like a web page",
        (tmp_path / "a.h5",): "must end in .pth or .pt",
        (REFERENCES / "tiny_zip.pth",): "is unknown",
        (VGG19, "-o", tmp_path / "a.npz"): "must end in .h5",
        (VGG19, "-o", tmp_path / "no" / "a.h5"): f"the folder {tmp_path / 'no'} does not exist",
    }
    for arguments, reason in cases.items():
        exit_code, out, error = run(capsys, *arguments)
        assert (exit_code, out, error.count("\n")) == (2, "", 1)
        assert error.startswith("error: ")
        assert reason in error


def test_a_cache_that_cannot_be_made_is_one_line_and_exit_code_1(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_bytes(b"")
    exit_code, out, error = run(capsys, VGG19)
    assert (exit_code, out) == (1, "")
    assert error == f"error: cannot write {cache / 'vgg19.h5'}: File exists\n"
