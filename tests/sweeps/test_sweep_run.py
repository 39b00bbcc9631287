"""Sweeps on the command line from end to end, in this process, with a slim network."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, FAST, slim_params
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.judging import network
from jaxstyle.judging.verdict import judge_of
from jaxstyle.machine import devices
from jaxstyle.optimization import stepping
from jaxstyle.runs import record
from jaxstyle.runs.plot import write_curves
from jaxstyle.sweeps import job as sweep_job
from jaxstyle.sweeps.folder import check_curves
from jaxstyle.weights import weight_file

GRID = ["--sweep", "style-weight", "1e3", "1e4", "--sweep", "tv-weight", "1", "10", "100"]


@pytest.fixture
def run(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "coffee.png", "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", "painting.png")

    def run(*flags: str, style: bool = True) -> tuple[int, str, str]:
        base = ["--content", "photo.png", "--weights", str(slim_file)]
        base += ["--style", "painting.png"] if style else []
        code = main([*base, *FAST, *flags])
        return code, *capfd.readouterr()

    return run


def rows_of(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def times(folder: str = "out") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("*=*.png")}


def names(folder: str = "out") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


def test_a_grid_leaves_pictures_records_and_summaries(run) -> None:
    code, out, err = run(*GRID, "-o", "new/out")
    assert (code, out) == (0, "new/out/sweep.csv\nnew/out/sheet.png\nnew/out/index.html\n")
    assert "Traceback" not in err
    stems = [f"style-weight={a},tv-weight={b}" for a in (1000, 10000) for b in (1, 10, 100)]
    expected = [f"{stem}.png" for stem in stems]
    expected += [f"records/{stem}.json" for stem in stems]
    expected += ["index.html", "records", "records/samples", "sheet.png", "sweep.csv"]
    found = names("new/out")
    assert [name for name in found if "samples/" not in name] == sorted(expected)
    assert len([name for name in found if "samples/" in name]) == 2
    assert not [name for name in found if name.endswith(".part")]


def test_a_plot_of_all_runs_is_in_the_folder(run, capfd) -> None:
    pytest.importorskip("matplotlib")
    sweep = ("--sweep", "seed", "1", "2", "-o", "out")
    code, _, err = run(*sweep, "--plot", "seed=1.png")
    assert code == 2
    assert "--plot seed=1.png: the sweep has a file of that name; choose another" in err
    Path("out").mkdir()
    Path("out/mine.png").write_text("not a plot")
    refused = "out/mine.png exists and is no plot: choose another name, or --force to overwrite it"
    assert refused in run(*sweep, "--plot", "mine.png")[2]
    code, _, err = run("--sweep", "seed", "1", "-o", ".", "--plot", "photo.png", "--force")
    assert code == 2
    assert "photo.png would be both read and written: choose another folder" in err
    assert run(*sweep, "--plot", "losses.png")[0] == 0
    with Image.open("out/losses.png") as picture:
        assert picture.size == (1200, 840)
    before = Path("out/losses.png").read_bytes()
    assert main(["--collect", "out", "--plot", "losses.png"]) == 0
    assert Path("out/losses.png").read_bytes() == before
    for kind in ("pdf", "svg"):
        write_curves(Path("out", f"losses.{kind}"), {"a": {"total": [1.0, 0.5]}})
        check_curves(Path("out"), Path(f"losses.{kind}"), ["a"], force=False)
    assert main(["--collect", "out", "--plot", "mine.png"]) == 2
    assert Path("out/mine.png").read_text() == "not a plot"
    capfd.readouterr()


def test_the_table_has_all_settings_losses_and_files(run) -> None:
    run(*GRID, "-o", "out", "--seed", "5")
    rows = rows_of()
    assert [(row["style_weight"], row["tv_weight"]) for row in rows] == [
        (a, b) for a in ("1000", "10000") for b in ("1", "10", "100")
    ]
    for row in rows:
        facts = record.read(Path("out", row["file"]))
        for term in ("content", "style", "tv", "total"):
            assert float(row[f"{term}_loss"]) == pytest.approx(facts["losses"][term], rel=1e-8)
        assert (row["status"], row["steps_done"], row["seed"]) == ("ok", "4", "5")
        assert (row["content"], row["style"]) == ("photo.png", "painting.png")
        assert row["style_layers"] == "relu1_1,relu2_1"
        assert row["style_loss_kind"] == "covariance"
        assert row["device"] == "cpu:0"
        assert float(row["seconds"]) > 0


def test_pictures_are_those_of_single_runs_byte_for_byte(run) -> None:
    """Records are in them, so these are equal too."""
    run(*GRID, "-o", "out")
    run("--style-weight", "1e4", "--tv-weight", "10", "-o", "alone.png")
    swept = Path("out/style-weight=10000,tv-weight=10.png")
    assert swept.read_bytes() == Path("alone.png").read_bytes()
    run("--sweep", "seed", "7", "--sweep", "init", "noise", "-o", "out2")
    run("--seed", "7", "--init", "noise", "-o", "alone2.png")
    swept = Path("out2/seed=7,init=noise.png")
    assert swept.read_bytes() == Path("alone2.png").read_bytes()


def test_what_is_there_is_not_painted_again(run, monkeypatch) -> None:
    run(*GRID[:4], "-o", "out")
    before = times()
    Path("out/style-weight=1000.png").unlink()
    pages = []

    def serve(live, at, *, thumb) -> str:
        at.close()
        pages.append((live, [each["state"] for each in live.runs], thumb))
        return "http://127.0.0.1/"

    monkeypatch.setattr("jaxstyle.view.server.serve", serve)
    code, _, err = run("--sweep", "style-weight", "1e3", "1e4", "1e5", "-o", "out", "--view")
    assert code == 0
    assert "3 variants, 1 are there already" in err
    live, states, thumb = pages[0]
    assert states == ["waiting", "finished", "waiting"]  # a page shows those of before, too
    assert [each["name"] for each in live.runs] == [f"style-weight=1000{a}" for a in ("", 0, "00")]
    assert [each["state"] for each in live.runs] == ["finished"] * 3
    assert live.facts()["run"] == 2
    assert all(thumb(i, False) for i in range(3))
    after = times()
    assert after["style-weight=10000.png"] == before["style-weight=10000.png"]
    assert len(after) == len(rows_of()) == 3
    code, _, err = run(*GRID[:4], "-o", "out")
    assert "2 variants, 2 are there already" in err
    assert times() == after
    run(*GRID[:4], "-o", "out", "--force")
    assert times()["style-weight=10000.png"] > before["style-weight=10000.png"]


def test_pictures_are_written_for_print_as_those_of_single_runs(run) -> None:
    flags = ("--sweep", "content-weight", "0.5", "2", "-o", "out")
    assert run(*flags)[0] == 0
    before = times()
    how = ("--bits", "16", "--dpi", "300")
    code, _, err = run(*flags, *how)
    assert code == 0, err
    assert not set(before.items()) & set(times().items())  # they were of 8 bits
    run("--content-weight", "2", *how, "-o", "alone.png")
    assert Path("out/content-weight=2.png").read_bytes() == Path("alone.png").read_bytes()
    with Image.open("out/content-weight=2.png") as image:
        assert round(image.info["dpi"][0]) == 300
    assert Path("alone.png").read_bytes()[24] == 16  # IHDR's depth, PNG 11.2.2
    now = times()
    assert run(*flags, *how)[0] == 0
    assert times() == now


def test_a_picture_whose_record_was_not_written_yet_is_painted_again(run) -> None:
    run(*GRID[:4], "-o", "out")
    before = times()
    Path("out/records/style-weight=1000.json").unlink()
    code, _, _ = run(*GRID[:4], "-o", "out")
    assert code == 0
    after = times()
    assert [name for name in after if after[name] != before[name]] == ["style-weight=1000.png"]
    assert Path("out/records/style-weight=1000.json").exists()


@pytest.mark.parametrize("what", ["other settings", "another picture", "changed", "no picture"])
def test_pictures_of_something_else_are_not_replaced(run, what: str) -> None:
    run(*GRID[:4], "-o", "out")
    flags = ["--steps", "5"] if what == "other settings" else []
    if what == "another picture":
        Image.open("painting.png").rotate(180).save("painting.png")
    elif what == "changed":
        Image.new("RGB", (9, 9)).save("out/style-weight=1000.png")
    elif what == "no picture":
        Path("out/records/style-weight=1000.json").unlink()
        Path("out/style-weight=1000.png").write_text("my notes")
    before = times()
    code, out, err = run(*GRID[:4], "-o", "out", *flags)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "style-weight=1000.png was changed, or made with other settings" in err
    assert times() == before
    assert run(*GRID[:4], "-o", "out", *flags, "--force")[0] == 0


def test_shards_share_a_folder_and_collect_gathers(run) -> None:
    for shard in ("2/3", "3/3"):
        code, _, err = run(*GRID, "-o", "out", "--shard", shard)
        assert code == 0
        assert "2 variants" in err
    assert [row["number"] for row in rows_of()] == ["2", "3", "5", "6"]
    for name in ("sweep.csv", "sheet.png", "index.html"):
        Path("out", name).unlink()
    run(*GRID, "-o", "out", "--shard", "1/3", "--quiet")
    whole = Path("out/sweep.csv").read_bytes()
    assert len(rows_of()) == 6
    Path("out/sweep.csv").unlink()
    assert main(["--collect", "out"]) == 0
    assert Path("out/sweep.csv").read_bytes() == whole


def test_a_share_without_a_setting_is_no_failure(run) -> None:
    code, out, err = run(*GRID[:4], "-o", "out", "--shard", "3/3")
    assert (code, out) == (0, "")
    assert "nothing of this sweep was to be done here" in err


def test_a_failure_is_flagged_and_kept(run) -> None:
    flags = ["--sweep", "learning-rate", "0.3", "1e30", "0.1", "-o", "out"]
    code, _, err = run(*flags)
    assert code == 1
    assert "1 of 3 failed: learning-rate=1e+30" in err.splitlines()[-1]
    statuses = [row["status"] for row in rows_of()]
    assert [status == "ok" for status in statuses] == [True, False, True]
    assert "became NaN or infinite at step 2" in statuses[1]
    assert record.read(Path("out/learning-rate=1e+30.png"))["steps_done"] == 0
    page = Path("out/index.html").read_text()
    assert page.count("NaN at step 2") == 1
    before = times()
    assert run(*flags)[0] == 1  # known, and not tried again
    assert times() == before
    for rate, name in (("0.1", "0.1"), ("1e30", "1e+30")):
        run("--learning-rate", rate, "-o", "alone.png", "--force")
        alone = Path("alone.png").read_bytes()
        assert alone == Path(f"out/learning-rate={name}.png").read_bytes()


def test_an_interrupted_sweep_keeps_what_was_finished_and_goes_on(run, monkeypatch) -> None:
    original = sweep_job._save

    def save_and_interrupt(job, planned, result) -> None:
        original(job, planned, result)
        if planned.run.number == 2:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_job, "_save", save_and_interrupt)
        code, _, err = run(*GRID, "-o", "out")
    assert code == 130
    assert "stopped" in err.splitlines()[-1]
    assert len(rows_of()) == 2
    before = times()
    code, _, err = run(*GRID, "-o", "out")
    assert code == 0
    assert "6 variants, 2 are there already" in err
    after = times()
    assert len(after) == 6
    assert {name: after[name] for name in before} == before


def test_interrupted_before_anything_is_finished(run, monkeypatch) -> None:
    original = stepping._run_steps

    def interrupt(*arguments):
        os.kill(os.getpid(), 15)
        return original(*arguments)

    monkeypatch.setattr(stepping, "_run_steps", interrupt)
    code, out, err = run(*GRID, "-o", "out")
    assert (code, out) == (143, "")
    assert "Traceback" not in err
    assert "stopped before" in err.splitlines()[-1]


def test_json_says_all(run) -> None:
    code, out, _ = run(*GRID[:4], "-o", "out", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["output"] == "out"
    assert [each["file"] for each in found["results"]] == [
        "style-weight=1000.png",
        "style-weight=10000.png",
    ]
    assert found["results"][0]["losses"] == record.read(Path("out/style-weight=1000.png"))["losses"]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a slim network into the judge's place in the cache."""
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    params = slim_params("vgg16", seed=1)
    network.cached_path().parent.mkdir()
    data = weight_file.weight_bytes(params, source="", source_sha256="", licence="")
    network.cached_path().write_bytes(data)
    return judge_of(params)


def expected_of(judge, path: Path) -> dict[str, float]:
    """What the judge finds of a picture file, as the table has it."""
    names = (path, "photo.png", "painting.png")
    result, photo, painting = (picture_file.load_picture(each) for each in names)
    found = judge(result, photo, [painting])
    return {name: float(f"{value:.9g}") for name, value in found.items()}


def judged_rows() -> dict[str, dict[str, float]]:
    names = ("style_distance", "content_distance")
    return {row["file"]: {name: float(row[name]) for name in names} for row in rows_of()}


def test_judged_in_the_table_and_kept(run, judge) -> None:
    """Two settings without the judge; then three with it, of which one is painted; collected."""
    two = ["--sweep", "style-weight", "1e3", "1e5", "-o", "out"]
    run(*two)
    header = Path("out/sweep.csv").read_text().splitlines()[0]
    page = Path("out/index.html").read_bytes()
    assert "distance" not in header
    before = times()
    three = ["--sweep", "style-weight", "1e3", "1e5", "1e6", "-o", "out", "--judge"]
    code, out, _ = run(*three, "--json")
    assert code == 0
    assert {name: times()[name] for name in before} == before
    columns = Path("out/sweep.csv").read_text().splitlines()[0]
    assert columns == header.replace("total_loss,", "total_loss,style_distance,content_distance,")
    found = judged_rows()
    assert len(found) == 3
    for name, values in found.items():
        assert values == pytest.approx(expected_of(judge, Path("out", name)), rel=1e-6)
        assert values["content_distance"] > 0
    shown = {each["file"]: each["judged"] for each in json.loads(out)["results"]}
    assert all(shown[name] == pytest.approx(found[name], rel=1e-8) for name in found)
    network.cached_path().unlink()
    Path("out/sweep.csv").unlink()
    assert main(["--collect", "out"]) == 0
    assert judged_rows() == found
    run(*two)  # without the judge, what it found is still there
    assert judged_rows() == {name: found[name] for name in before}
    for path in Path("out/records").glob("*.json"):
        entry = json.loads(path.read_text())
        del entry["judged"]
        path.write_text(json.dumps(entry, sort_keys=True))
    run(*two)
    assert Path("out/index.html").read_bytes() == page


def test_an_interrupted_sweep_keeps_what_was_judged(run, judge, monkeypatch) -> None:
    original = sweep_job._save

    def save_and_interrupt(job, planned, result) -> None:
        original(job, planned, result)
        os.kill(os.getpid(), 2)

    flags = [*GRID[:4], "-o", "out", "--judge"]
    with monkeypatch.context() as patch:
        patch.setattr(sweep_job, "_save", save_and_interrupt)
        assert run(*flags)[0] == 130
    (first,) = judged_rows().items()
    monkeypatch.setattr(sweep_job, "_judge_those_there", lambda *given: None)
    assert run(*flags)[0] == 0
    assert judged_rows()[first[0]] == first[1]
    assert len(judged_rows()) == 2


def test_a_single_run_is_judged_too(run, judge) -> None:
    code, out, err = run("-o", "alone.png", "--judge", "--json", "--quiet")
    assert code == 0
    found = json.loads(out)["judged"]
    assert found == pytest.approx(expected_of(judge, Path("alone.png")), rel=1e-6)
    style, content = found.values()
    assert f"style distance {style:.3f}, content distance {content:.3f}" in err
    plain = run("-o", "plain.png", "--json")[1]
    assert "judged" not in json.loads(plain)
    assert Path("plain.png").read_bytes() == Path("alone.png").read_bytes()


@pytest.mark.parametrize("flags", [[], GRID[:4]])
def test_a_judge_that_cannot_be_had_is_known_before_painting(
    run, judge, monkeypatch, tmp_path: Path, flags
) -> None:
    network.cached_path().unlink()
    nothing = tmp_path / "python"
    nothing.write_text("#!/bin/sh\necho 'python: No module named pip' >&2; exit 1\n")
    nothing.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(nothing))
    code, out, err = run(*flags, "-o", "out" if flags else "out.png", "--judge")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("jaxstyle: error: the judge's network cannot be")
    assert not Path("out").exists()
    assert not Path("out.png").exists()


def test_a_picture_too_narrow_for_the_judge_is_refused(run, judge) -> None:
    """At 320 pixels of its long side it would be 11 high."""
    Image.new("RGB", (600, 20)).save("painting.png")
    code, _, err = run("-o", "out.png", "--judge", "--size", "600")
    assert code == 2
    assert "the judge's style picture, 11x320 at this size, is too small" in err


def test_collect_does_not_judge(capfd) -> None:
    assert main(["--collect", "out", "--judge"]) == 2
    assert "what was judged is in the records" in capfd.readouterr().err


def test_a_table_with_styles_of_any_size(run) -> None:
    Image.open("painting.png").resize((70, 50)).save("small.png")
    Path("t.csv").write_text("style,seed\npainting.png,1\nsmall.png,2\n")
    code, _, _ = run("--sweep-file", "t.csv", "-o", "out", "--init", "noise", style=False)
    assert code == 0
    rows = rows_of()
    assert [(row["style"], row["seed"]) for row in rows] == [
        ("painting.png", "1"),
        ("small.png", "2"),
    ]
    run("--init", "noise", "--seed", "2", "--style", "small.png", "-o", "alone.png", style=False)
    assert Path("out", rows[1]["file"]).read_bytes() == Path("alone.png").read_bytes()


def test_the_sheet_shows_every_picture_where_it_belongs(run) -> None:
    """The first column is tv-weight 1: its cells are the pictures, made larger."""
    run(*GRID, "-o", "out")
    sheet = picture_file.load_picture(Path("out/sheet.png"))
    picture = picture_file.load_picture(Path("out/style-weight=1000,tv-weight=1.png"))
    large = np.asarray(Image.fromarray(picture).resize((300, 200), Image.Resampling.LANCZOS))
    corners = np.argwhere((sheet[:-199, :-299] == large[0, 0]).all(axis=-1))
    found = [(y, x) for y, x in corners if (sheet[y : y + 200, x : x + 300] == large).all()]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ([], "", [True]),
        (["--devices", "1"], "--xla_force_host_platform_device_count=8", [True]),
        ([], "--xla_force_host_platform_device_count=8", []),
        (["--devices", "2"], "", []),
    ],
)
def test_one_cpu_alone_is_called_in_this_thread(
    run, monkeypatch: pytest.MonkeyPatch, flags, environment, expected
) -> None:
    """Several devices of a CPU, each called by the one thread, would wait for each other."""
    called: list[bool] = []

    def refused(*_: object, **__: object) -> None:
        raise InputError("no device is looked for here")

    monkeypatch.setattr(devices, "call_in_this_thread", lambda: called.append(True))
    monkeypatch.setattr(devices, "choose_device", refused)
    monkeypatch.setenv("XLA_FLAGS", environment)
    code, _, _ = run(*GRID, *flags, "-o", "out")
    assert (code, called) == (2, expected)
