"""Files that the program wrote before its modules were put into wings are read as they were.

`written_before/` has a picture with its record, a checkpoint of a run that was killed at its first
step, and the folder of a sweep without its summaries.
"""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES

from jaxstyle.cli.main import main
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.images.picture_file import load_picture
from jaxstyle.runs import checkpoint, record
from jaxstyle.runs.checkpointer import restored_state

BEFORE = Path(__file__).parent / "written_before"


def test_a_record_restores_its_settings() -> None:
    recipe, hyper, others, unknown = record.restore(record.read(BEFORE / "result.png"))
    assert (recipe.size, recipe.steps, recipe.scales) == (32, 6, "auto")
    assert (recipe.content_layers, recipe.style_layers) == (("relu2_2",), ("relu1_1", "relu2_1"))
    assert (hyper.content_weight, hyper.tv_weight) == (0.2, 0.1)
    assert others["seed"] == 0
    assert unknown == []


def test_a_run_starts_from_a_record(tmp_path: Path, slim_file: Path) -> None:
    flags = ["--from", str(BEFORE / "result.png"), "--weights", str(slim_file), "--quiet"]
    flags += ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]
    assert main([*flags, "--steps", "1", "-o", str(tmp_path / "out.png")]) == 0
    assert load_picture(tmp_path / "out.png").shape == (21, 32, 3)


def test_a_checkpoint_has_its_header_and_arrays() -> None:
    header = checkpoint.read_header(BEFORE / "cut.checkpoint")
    assert (header.steps_done, header.size) == (0, "24x32")
    assert header.run["settings"]["steps"] == 60
    canvas = checkpoint.read_arrays(BEFORE / "cut.checkpoint")["canvas"]
    photo = load_picture(EXAMPLES / "coffee.png")
    np.testing.assert_allclose(
        canvas, normalize(resize(photo, (24, 32), resampling="bilinear")), atol=1e-6
    )


def test_a_checkpoints_state_is_restored() -> None:
    """It is of a run before its first step: Adam has seen nothing."""
    path = BEFORE / "cut.checkpoint"
    header, arrays = checkpoint.read_header(path), checkpoint.read_arrays(path)
    state, finished = restored_state(checkpoint.Resumption(path, header, is_previous=False))
    assert finished is None
    np.testing.assert_array_equal(state.canvas, arrays["canvas"])
    np.testing.assert_array_equal(state.good, arrays["good"])
    assert (int(state.step), int(state.optimizer.count), bool(state.failed)) == (0, 0, False)
    assert state.optimizer.mu.shape == state.optimizer.nu.shape == (24, 32, 3)
    assert (state.duals, state.average) == ((), ())


def test_a_sweeps_folder_gets_its_summaries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(BEFORE / "sweep", folder)
    assert main(["--collect", str(folder)]) == 0
    capsys.readouterr()
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["content_weight"] for row in rows] == ["0.1", "0.4"]
    assert {path.name for path in folder.iterdir()} >= {"sheet.png", "index.html"}
