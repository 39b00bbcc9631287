"""Tests of scripts/accelerator.py, in small and on the CPU: what it prints, and that it can end."""

import argparse
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.append(str(SCRIPTS))
SCRIPT = runpy.run_path(str(SCRIPTS / "accelerator.py"))


def step(program: str, precision: str, seconds: float, total: float) -> dict[str, Any]:
    row = {"what": "step", "program": program, "size": "8x8", "mode": "plain"}
    return {**row, "precision": precision, "seconds": seconds, "first_total": total} | {
        "part": "step-8x8-plain",
        "megapixels": 1.0,
    }


def test_a_ratio_is_to_the_quickest_torch_program_of_the_same_loss() -> None:
    ours = [step("jaxstyle", "highest", 2.0, 100.0), step("jaxstyle", "bf16", 1.0, 100.0)]
    theirs = [step("torch", "f32", 5.0, 100.005), step("torch-compiled", "f32", 3.0, 100.02)]
    equal, differing = SCRIPT["ratios"]([*ours, *theirs, step("torch", "bf16", 1.0, 90.0)])
    assert (equal["of"], equal["ratio"]) == ("torch", 2.5)  # the other's loss is 2e-4 off
    assert "refused" in differing
    assert "ratio" not in differing


def test_the_table_says_what_did_not_end_well() -> None:
    rows = [step("jaxstyle", "highest", 0.004, 1.0), {"what": "matmul", "precision": "highest"}]
    rows[0]["tflops"], rows[1]["tflops"] = 20.0, 50.0
    rows.append({"part": "two", "what": "end", "how": "stopped at its limit", "said": "a line"})
    lines = SCRIPT["table"](rows)
    assert any("4.00 ms" in line and " 40.0% of matmul" in line for line in lines)
    assert lines[-1] == "two: stopped at its limit a line"


def test_all_parts_fit_into_nine_minutes_with_the_table() -> None:
    """Whatever the limits add up to: the last parts get what is left."""
    assert SCRIPT["SECONDS"] <= 540 - 10
    limits = SCRIPT["parts_of"](SCRIPT["SIZES"], 2)
    assert max(limits.values()) <= 150
    steps = [limit for part, limit in limits.items() if part.startswith("step-")]
    assert sum(steps) <= SCRIPT["SECONDS"] + 75


@pytest.mark.slow
def test_a_part_is_stopped_at_its_limit_and_the_next_begins(tmp_path: Path) -> None:
    (tmp_path / "platformdirs.py").write_text("raise ImportError")  # as on many images
    environment = {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPTS / "accelerator.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--parts", "device", "roofline"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["what"] for row in rows] == ["device", "end", *["matmul"] * 3, "copy", "end"]
    assert rows[0]["platform"] == "cpu"
    assert done.stdout.splitlines()[-1].startswith("what=copy")
    options = argparse.Namespace(tiny=True)
    (end,) = SCRIPT["run_part"]("correct", 0.1, options, str(tmp_path))
    assert end["how"] == "stopped at its limit"


@pytest.mark.slow
def test_the_parts_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import accelerator_parts as parts  # with jax
    import accelerator_runs as runs

    how = parts.How(tiny=True, scratch=tmp_path)
    found = {(row["precision"], row["mode"]): row for row in parts.correct(how)}
    assert max(found["highest", "strips"]["features"].values()) < 1e-6
    assert found["highest", "strips"]["gradient"] < 1e-4
    for precision, close in (("tf32", 1e-3), ("bf16", 1e-2)):
        assert close / 100 < found[precision, "strips"]["features"]["relu2_1"] < close
    steps = list(parts.step(how, "32x40", "plain"))
    assert [row["what"] for row in steps] == ["step"] * 2
    assert np.ptp([row["first_total"] for row in steps]) < 0.05 * steps[0]["first_total"]
    assert all(row["seconds"] > 0 and row["tflops"] > 0 for row in steps)
    (two,) = parts.sweep(how)
    assert two["at_once"] == 2
    assert two["seconds_a_step_and_variant"] > 0
    runs.repeated(how, 0, 20)
    runs.repeated(how, 10, 20)  # from the state that the first has kept
    whole, resumed = map(json.loads, capsys.readouterr().out.splitlines())
    assert whole["canvas"] == resumed["canvas"]
