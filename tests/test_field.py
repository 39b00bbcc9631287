"""Tests of scripts/field.py and scripts/measures.py: numbers by hand, paintings within bounds."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import EXAMPLES
from PIL import Image

import jaxstyle
from jaxstyle.cli.flags import parse
from jaxstyle.sweeps.grid import expand

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def script(name: str) -> ModuleType:
        for each in ("measures", "field_cases", "field"):
            monkeypatch.delitem(sys.modules, each, raising=False)
        return importlib.import_module(name)

    return script


def test_measures_of_pictures_made_by_hand(script) -> None:
    measures = script("measures")
    grey = np.full((64, 64, 3), 0.5)
    assert measures.saturation(grey) == 0
    assert measures.clipped(grey) == 0
    assert measures.haze(grey) == measures.dead_blocks(grey) == 1
    assert measures.psnr(grey, grey) == np.inf
    assert measures.psnr(grey, grey + 0.1) == pytest.approx(20)
    red = grey * [2, 0, 0]
    assert (measures.saturation(red), measures.clipped(red), measures.haze(red)) == (1, 1, 0)
    checkers = np.indices((64, 64)).sum(0)[..., None] % 2 * np.ones(3)
    luma, chroma = measures.checkers(checkers)
    assert (luma, chroma) == (pytest.approx(2), pytest.approx(0, abs=1e-12))
    assert measures.dead_blocks(checkers) == 0
    half = grey.copy()
    half[:, :32] = 0.25
    assert measures.blotches(half, grey) == pytest.approx(0.125)
    assert measures.haze(half) == 0.5
    noise = np.random.default_rng(0).random((64, 64, 3))
    assert measures.borders(noise) == pytest.approx([1, 1, 1, 1], abs=0.2)
    noise[:8] *= 0.1
    assert measures.borders(noise)[0] < 0.4
    assert set(measures.numbers(noise, grey)) > {"borders", "blotches"}


def test_every_row_of_the_field_has_a_case(script) -> None:
    ids = {each for case in script("field_cases").cases() for each in case.ids.split()}
    rows = {f"R{n:02}" for n in range(1, 30)} - {"R15", "R16", "R20", "R22", "R23"}
    assert rows <= ids  # no others are in the report


def test_the_flags_of_every_case_go_together(script, tmp_path: Path, monkeypatch) -> None:
    """But those of cases that are to be refused, each for its own reason."""
    field, cases = script("field"), script("field_cases").cases()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    for name in ("0.jpg", "1.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "frames" / name)
    for case in cases:
        if not case.check.__qualname__.startswith("refused"):
            request = parse(field.flags_of(case, tmp_path))
            assert request is not None, case.what
            assert request.sweep is None or len(expand(request, request.sweep)) == 2


def test_one_row_alone_is_run(script, tmp_path: Path, monkeypatch, capsys) -> None:
    field, cases = script("field"), script("field_cases")
    several = [cases.Case(ids, "a", "well", [], cases.well) for ids in ("R01 F2", "R02 F5", "R021")]
    monkeypatch.setattr(field, "cases", lambda: several)
    monkeypatch.setattr(field, "make_inputs", lambda folder: None)
    monkeypatch.setattr(field, "run_case", lambda case, *_: (True, ""))
    assert field.main(["--only", "R02", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["R02"]


def test_what_was_well_is_not_run_again(script, tmp_path: Path, monkeypatch, capsys) -> None:
    field, ran = script("field"), []
    cases = script("field_cases")
    two = [cases.Case("R01", name, "well", [], cases.well, True) for name in ("a", "b")]
    monkeypatch.setattr(field, "cases", lambda: two)
    monkeypatch.setattr(field, "make_inputs", lambda folder: None)

    def run_case(case, *_):
        ran.append(case.what)
        return case.what == "a" or ran.count("b") == 2, "seen"

    monkeypatch.setattr(field, "run_case", run_case)
    assert [field.main([str(tmp_path)]) for _ in range(3)] == [1, 0, 0]
    assert ran == ["a", "b", "b"]
    assert "BAD R01      b " in capsys.readouterr().out


SIX_PAIRS = (
    *(("coffee.png", "strokes.png"), ("coffee.png", "mosaic.png")),
    *(("astronaut.jpg", "mosaic.png"), ("astronaut.jpg", "woodcut.png")),
    *(("chelsea.png", "strokes.png"), ("chelsea.png", "woodcut.png")),
)


@pytest.mark.slow
def test_the_quick_part_of_the_field(script, tmp_path: Path) -> None:
    assert script("field").main(["--quick", str(tmp_path)]) == 0


@pytest.mark.slow
def test_small_paintings_have_no_faults_that_can_be_measured(script) -> None:
    """Six pairs, by numbers that a fault moves far and another processor little."""
    measures, params = script("measures"), jaxstyle.load_weights("embedded")
    recipe, hyper = jaxstyle.preset("default", size=(64, 72), scales=(1.0,), steps=25)

    def picture(name: str) -> np.ndarray:
        return np.asarray(Image.open(EXAMPLES / name).convert("RGB").resize((72, 64)))

    def painted(photo: np.ndarray, painting: np.ndarray) -> np.ndarray:
        found = jaxstyle.stylize(params, photo, painting, recipe=recipe, hyper=hyper)
        return np.asarray(found, np.float64)

    for photo, painting in SIX_PAIRS:
        found = measures.numbers(painted(picture(photo), picture(painting)), picture(photo) / 255)
        style = measures.numbers(picture(painting) / 255)
        assert found["clipped"] < 0.15
        assert found["haze"] < 0.1
        assert found["dead_blocks"] == 0
        assert found["blotches"] < 0.1
        for name in ("checkers_luma", "checkers_chroma"):
            assert found[name] < 1.5 * style[name] + 0.02
        assert 0.6 < found["saturation"] / style["saturation"] < 1.6
        assert max(found["borders"]) < 2
        assert min(found["borders"]) > 0.4
    grey = [np.repeat(picture(name)[..., :1], 3, -1) for name in SIX_PAIRS[0]]
    assert measures.saturation(painted(*grey)) == 0
