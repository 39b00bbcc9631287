"""Tests of scripts/quality.py, with a slim network in the judge's place in the cache."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS, slim_params
from PIL import Image

from jaxstyle.images import picture_file
from jaxstyle.judging import network
from jaxstyle.judging.verdict import judge_of
from jaxstyle.weights.weight_file import weight_bytes

SCRIPT = Path(__file__).parents[1] / "scripts" / "quality.py"
ONE = ["--content", "photo.png", "--style", "painting.png"]


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("quality", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "quality", script)
    spec.loader.exec_module(script)
    return script


@pytest.fixture
def run(tmp_path: Path, quality: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the script in a folder with small pictures; returns exit code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    network.cached_path().parent.mkdir()
    data = weight_bytes(slim_params("vgg16"), source="", source_sha256="", licence="")
    network.cached_path().write_bytes(data)
    for name, source in (("photo", "coffee"), ("painting", "strokes")):
        Image.open(EXAMPLES / f"{source}.png").resize((60, 40)).save(f"{name}.png")
    Image.open("photo.png").rotate(180).save("turned.png")

    def run(*flags: str) -> tuple[int, str, str]:
        code = quality.main(list(flags))
        return code, *capfd.readouterr()

    return run


def test_a_row_for_every_result(run) -> None:
    code, out, err = run(*ONE, "--size", "64", "turned.png", "photo.png", "painting.png")
    head, *rows = out.splitlines()
    assert (code, err, len(rows)) == (0, "", 3)
    assert head.split() == ["style", "content", "self", "ssim", "E", "seconds", "picture"]
    assert [row.split()[-1] for row in rows] == ["turned.png", "photo.png", "painting.png"]
    numbers = [[float(each) for each in row.split()[:4]] for row in rows]
    assert numbers[1][1:] == [0, 0, 1]
    assert numbers[2][0] == 0
    assert numbers[0][0] > 0
    assert numbers[0][1] > 0.1


def test_json_is_a_line_for_every_result(run) -> None:
    code, out, _ = run(*ONE, "turned.png", "--json")
    (row,) = map(json.loads, out.splitlines())
    assert code == 0
    assert (row["file"], row["label"], row["seconds"]) == ("turned.png", "turned.png", None)
    pictures = [
        picture_file.load_picture(Path(f"{n}.png")) for n in ("turned", "photo", "painting")
    ]
    result, photo, painting = pictures
    for name, value in judge_of(slim_params("vgg16"))(result, photo, [painting]).items():
        assert row[name] == pytest.approx(value, rel=1e-6)


def test_the_sheet_has_every_picture(run) -> None:
    """Enlarged to 480 pixels, four side by side, below each its name and numbers."""
    flags = [*ONE, "--size", "64", "turned.png", "photo.png", "painting.png"]
    assert run(*flags, "--sheet", "sheet.png")[0] == 0
    sheet = picture_file.load_picture(Path("sheet.png"))
    assert sheet.shape[1] == 4 * 490 + 10
    for i, name in enumerate(("photo", "painting", "turned", "photo")):
        large = Image.open(f"{name}.png").resize((480, 320), Image.Resampling.LANCZOS)
        left = 10 + 490 * i
        assert (sheet[10:330, left : left + 480] == large).all()
        assert (sheet[340:400, left : left + 480] < 128).any()


@pytest.mark.slow
def test_pairs_are_painted_with_each_flags_and_compared(run, slim_file: Path) -> None:
    Path("in").mkdir()
    for name in ("photo", "painting", "turned"):
        shutil.move(f"{name}.png", f"in/{name}.png")
    Path("in/pairs.csv").write_text(
        "content,style,result,name\nphoto.png,painting.png,turned.png,first\n"
        "turned.png,painting.png,,second\n"
    )
    base = f"--weights {slim_file} --size 48 --scales 1 --steps 1 {' '.join(SHALLOW_FLAGS)}"
    given = ["--pairs", "in/pairs.csv", "-o", "out", "--size", "64", "--json"]
    given += ["--flags", base, "--label", "a", "--flags", f"{base} --init style", "--label", "b"]
    code, out, err = run(*given)
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    told = [(row["pair"], row["label"], row["file"]) for row in rows[:5]]
    assert told == [
        ("first", "turned", "in/turned.png"),
        ("first", "a", "out/first-1.png"),
        ("first", "b", "out/first-2.png"),
        ("second", "a", "out/second-1.png"),
        ("second", "b", "out/second-2.png"),
    ]
    assert rows[0]["seconds"] is None
    assert all(row["seconds"] > 0 for row in rows[1:5])
    assert picture_file.load_picture(Path("out/second-2.png")).shape == (32, 48, 3)
    for row, label, mine in zip(rows[5:], "ab", rows[1:3], strict=True):
        assert (row["label"], row["pairs"], row["references"]) == (label, 2, 1)
        for name in ("style_distance", "content_distance"):
            assert row[f"{name}_ratio"] == pytest.approx(mine[name] / rows[0][name], rel=1e-9)
    code, _, err = run(*given)
    assert code == 2
    assert "out/first-1.png exists: choose another folder, or --force" in err


def test_medians_and_ratios_by_hand(quality) -> None:
    first, second, third = (
        quality.Pair(name, Path(name), Path("s"), None) for name in ("a", "b", "c")
    )
    facts = [
        (first, "other", (0.2, 1.0), None),
        (second, "other", (0.4, 2.0), None),
        (first, "x", (0.1, 1.5), 4.0),
        (second, "x", (0.1, 2.0), 6.0),
        (third, "x", (9.0, 9.0), 20.0),
        (third, "y", (9.0, 9.0), 7.0),
    ]
    rows = [
        quality.Row(pair, label, Path("p"), quality.judge.Verdict(*both, 0, 0, 0), seconds)
        for pair, label, both, seconds in facts
    ]
    x, y = quality.summary(rows)
    assert x == {
        "label": "x",
        "pairs": 3,
        "median_seconds": 6.0,
        "references": 2,
        "style_distance_ratio": pytest.approx(0.375),
        "content_distance_ratio": pytest.approx(1.25),
    }
    assert y == {"label": "y", "pairs": 1, "median_seconds": 7.0, "references": 0}
    assert quality.told_summary(x).endswith("by the median: style 0.375, content 1.250")
    assert quality.told_summary(y) == "y: 1 pairs, median 7.0 s"


def test_bad_input_is_one_line_and_exit_code_2(run) -> None:
    Path("no.csv").write_text("content,painting\na,b\n")
    Path("missing.csv").write_text("content,style\nphoto.png,nowhere.png\n")
    Path("good.csv").write_text("content,style\nphoto.png,painting.png\n")
    Path("empty.csv").write_text("content,style\nphoto.png,\n")
    Path("notes.png").write_text("my notes")
    Image.new("RGB", (900, 20)).save("narrow.png")
    paint = ["--flags", "--steps 1", "-o", "out"]
    cases = {
        ("--content", "photo.png", "turned.png"): "give --content, --style and pictures",
        (*ONE, "none.png"): "none.png does not exist",
        (*ONE, "notes.png"): "notes.png is not a picture",
        (*ONE[:3], "narrow.png", "turned.png"): "narrow.png picture, 7x320 at this size, is too",
        (*ONE, "turned.png", "--pairs", "good.csv"): "--pairs names all pictures",
        (*ONE, "turned.png", "--flags", "x"): "are for --pairs",
        (*ONE, "turned.png", "--size", "9"): "--size 9 is too small",
        (*ONE, "turned.png", "--sheet", "a.jpg"): "must end in .png",
        (*ONE, "turned.png", "--sise", "9"): "unrecognized arguments",
        ("--pairs", "no.csv", *paint): "columns must be content, style",
        ("--pairs", "missing.csv", *paint): "nowhere.png does not exist",
        ("--pairs", "empty.csv", *paint): "line 2",
        ("--pairs", "good.csv"): "names no result",
        ("--pairs", "good.csv", "--flags", "--steps 1"): "give -o DIR",
        ("--pairs", "good.csv", *paint, "--label", "a", "--label", "b"): "--label for every",
        ("--pairs", "good.csv", "--flags", "'", "-o", "out"): "No closing quotation",
        ("--pairs", "good.csv", "--flags", "--stpes 1", "-o", "out"): "did you mean --steps?",
    }
    for flags, reason in cases.items():
        code, _, err = run(*flags)
        assert (code, err.count("\n")) == (2, 1), (flags, err)
        assert err.startswith("quality: error: "), flags
        assert reason in err, flags
