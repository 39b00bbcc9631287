"""`--plan` in this process, with a slim network: what it says, does, and leaves undone."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS

from jaxstyle.cli.main import main
from jaxstyle.machine import memory
from jaxstyle.network.convolution import prepare
from jaxstyle.runs import plan
from jaxstyle.runs.plan import Call


@pytest.fixture
def ask(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Asks for a plan in an empty folder, where nothing may appear; returns code and texts."""
    monkeypatch.chdir(tmp_path)
    pictures = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]

    def run(*flags: str) -> tuple[int, str, str]:
        fixed = ["--weights", str(slim_file), "--device", "cpu", "--plan", *SHALLOW_FLAGS]
        code = main([*pictures, *fixed, *flags])
        assert list(tmp_path.iterdir()) == []
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compiles nothing, and has a step take 2 seconds, in strips 3.

    The list holds the memory modes of which steps would have been done.
    """
    asked: list[str] = []

    def seconds(calls: dict[str, Call]) -> dict[str, float]:
        asked.extend(calls)
        return {name: {"plain": 2.0, "strips": 3.0}[name] for name in calls}

    monkeypatch.setattr(plan, "compile_level", lambda *_: (None, None))
    monkeypatch.setattr(plan, "memory_beside_kernels", lambda *_: 10**9)
    monkeypatch.setattr(plan, "call_of", lambda *_: None)
    monkeypatch.setattr(plan, "seconds_a_step", seconds)
    return asked


def test_both_memory_modes_are_compiled_and_run_with_kernels_prepared_once(
    ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    monkeypatch.setattr(
        "jaxstyle.painting.level.prepare",
        lambda *args, **more: prepared.append(1) or prepare(*args, **more),
    )
    code, out, err = ask("--size", "48")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("32x48, 120 steps; memory that can be used: ")
    for line, mode in zip(lines[2:], memory.MEMORY_MODES, strict=False):
        assert line.startswith(mode)
        assert "(compiler)" in line
    assert lines[4].startswith("plain would be taken")
    assert "compiling 32x48, strips" in err
    assert prepared == [1]


def test_all_steps_of_all_sizes_are_reckoned_by_pixels(ask, timed: list[str]) -> None:
    """Of 16x24 and 32x48, a quarter of the pixels, 2 and 4 steps, each and one for the losses."""
    code, out, err = ask(
        *("--size", "48", "--scales", "0.5,1", "--steps", "6", "--json", "--quiet"),
        *("--steps-power", "1"),
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["seconds"] == pytest.approx(2 * (3 / 4 + 5))
    for mode, step in zip(found["ways"], (2.0, 3.0), strict=True):
        assert mode["seconds_a_step"] == pytest.approx(step)
        assert mode["seconds"] == pytest.approx(step * (3 / 4 + 5))


def test_a_large_size_is_timed_small(ask, timed: list[str], monkeypatch) -> None:
    """32x48 by steps of 16x24; the other mode is not compiled at 32x48."""
    monkeypatch.setattr(plan, "MOST_PIXELS_TIMED", 16 * 24)
    code, out, err = ask("--size", "48", "--memory", "strips", "--json")
    found = json.loads(out)
    assert (code, found["timed_size"], timed) == (0, "16x24", ["plain", "strips"])
    assert [mode["seconds_a_step"] for mode in found["ways"]] == pytest.approx([8.0, 12.0])
    assert [mode["is_compiled"] for mode in found["ways"]] == [False, True]
    assert "32x48, plain" not in err


def test_what_does_not_fit_is_not_run(ask, timed: list[str], monkeypatch) -> None:
    monkeypatch.setattr(plan, "fits", lambda *_, mode, **__: mode == "strips")
    code, out, _ = ask("--size", "48", "--memory", "strips")
    assert (code, timed) == (0, ["strips"])
    (plain,) = [line for line in out.splitlines() if line.startswith("plain")]
    assert " ? " in plain
    assert plain.endswith("(so this does not fit)")


def test_a_photo_that_would_have_to_grow_is_mentioned(ask, timed: list[str]) -> None:
    small = ("--memory", "strips", "--size")
    assert "--upscale enlarges it" in ask(*small, "601")[1]
    assert "enlarges" not in ask(*small, "48x64")[1]


def test_a_step_lasts_until_its_result_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call returns at once; what it computes is there 0.25 s a step later, at first 1 s."""
    now, counts = [0.0], []
    monkeypatch.setattr(plan.time, "perf_counter", lambda: now[0])

    class Table:
        def __array__(self, *_, **__):
            now[0] += 1.0 if len(counts) == 1 else 0.25 * counts[-1]
            return np.zeros(1)

    def program(state, count, problem):
        counts.append(count)
        return state, Table()

    monkeypatch.setattr(plan, "SECONDS_A_CALL", 3.0)
    assert plan.seconds_a_step({"plain": Call(program, None, None)}) == {"plain": 0.25}
    assert counts == [1, 3, 3, 3]


def test_durations_are_for_people() -> None:
    texts = [plan._duration(seconds) for seconds in (None, 0.4, 119, 120, 7199, 7200)]
    assert texts == ["?", "0 s", "119 s", "2.0 min", "120.0 min", "2.0 h"]


def test_the_plan_counts_the_decoding_of_large_pictures() -> None:
    mode = plan.ModeEstimate("plain", 10**9, False, True, None, None, 100)
    for reading, peak in ((0, 10**9), (3 * 10**9, 3 * 10**9 + memory.STARTED)):
        inputs: Any = SimpleNamespace(reading_bytes=reading)
        assert plan.with_reading(mode, inputs).peak_bytes == peak
