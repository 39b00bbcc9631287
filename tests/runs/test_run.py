"""The command line from end to end, in this process, with a slim network."""

import contextlib
import csv
import dataclasses
import json
import os
import resource
import shutil
import stat
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import HASTE, SHALLOW_FLAGS
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import resize
from jaxstyle.machine import devices
from jaxstyle.painting import painter
from jaxstyle.runs import job, log, outputs, record


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_fresh_name_every_time(paint) -> None:
    for name in ("photo-painting.png", "photo-painting-2.png", "photo-painting-3.png"):
        code, out, err = paint()
        assert (code, out) == (0, f"{name}\n")
        assert "Traceback" not in err
        assert picture_file.load_picture(Path(name)).shape == (32, 48, 3)
    equal = {Path(name).read_bytes() for name in ("photo-painting.png", "photo-painting-2.png")}
    assert len(equal) == 1


def test_first_line_and_progress_go_to_standard_error(paint, slim_file) -> None:
    _, _, err = paint()
    lines = err.splitlines()
    assert lines[0] == f"jaxstyle: on cpu, weights {slim_file.name}, size 32x48"
    assert lines[-1].startswith("step 4/4 at 32x48: content ")
    assert " s/step, 0:00 left" in lines[-1]
    assert paint("--quiet")[2] == ""


@pytest.mark.codegen
def test_log(paint) -> None:
    code, _, _ = paint(
        "--log", "log.csv", "--scales", "0.75,1", "--steps", "5", "--steps-power", "1"
    )
    assert code == 0
    header = Path("log.csv").read_text().splitlines()[0]
    assert header == "step,size,content,style,tv,total,learning_rate,seconds"
    rows = rows_of("log.csv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [row["size"] for row in rows] == ["24x36"] * 2 + ["32x48"] * 3
    for row in rows:
        terms = [float(row[name]) for name in ("content", "style", "tv")]
        assert float(row["total"]) == pytest.approx(sum(terms), rel=1e-5)
    in_haste = HASTE in os.environ.get("XLA_FLAGS", "")  # where two programs round otherwise
    assert float(rows[0]["content"]) <= (1e-12 * float(rows[0]["total"]) if in_haste else 0)
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.1)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_record_and_from(paint, slim_file) -> None:
    paint("-o", "one.png", "--style-weight", "5e3", "--init", "noise", "--seed", "7")
    facts = record.read(Path("one.png"))
    assert facts["settings"]["style_weight"] == 5000
    assert facts["settings"]["seed"] == 7
    assert facts["weights"]["name"] == slim_file.name
    assert facts["content"]["name"] == "photo.png"
    assert facts["device"] == "cpu"
    assert set(facts["losses"]) == {"content", "style", "tv", "total"}
    assert str(Path.cwd()) not in json.dumps(facts)
    code, _, _ = paint("--from", "one.png", "-o", "two.png", fast=False)
    assert code == 0
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()
    paint("--from", "one.png", "-o", "three.png", "--seed", "8", fast=False)
    assert Path("one.png").read_bytes() != Path("three.png").read_bytes()
    assert record.read(Path("three.png"))["settings"]["style_weight"] == 5000


def test_losses_in_the_record_are_those_of_the_saved_canvas(paint) -> None:
    """The run's next step would have logged them: one more step, and the last row is equal."""
    constant = ["--schedule", "step", "-o"]
    paint(*constant, "four.png")
    paint(*constant, "five.png", "--steps", "5", "--log", "log.csv")
    last = rows_of("log.csv")[-1]
    for name, value in record.read(Path("four.png"))["losses"].items():
        assert float(last[name]) == pytest.approx(value, rel=1e-6)


def test_the_losses_of_the_saved_picture_are_recorded(paint) -> None:
    """They are those of the file in 8 bits: a run from it begins with them."""
    again = ["--tv-step", "gradient", "--steps", "1", "--log", "log.csv", "--init", "out.png"]
    for clip, ratio in (("no", 0.0), ("yes", 0.02)):
        flags = ["--learning-rate", "2", "--clip", clip, "--force"]
        paint("-o", "out.png", *flags)
        facts = record.read(Path("out.png"))
        paint(*again, "-o", "next.png", *flags)
        first = rows_of("log.csv")[0]
        for name, value in facts["saved_losses"].items():
            assert float(first[name]) == pytest.approx(value, rel=1e-4)
        total, saved = facts["losses"]["total"], facts["saved_losses"]["total"]
        assert abs(saved / total - 1) < ratio or not ratio


def test_json(paint) -> None:
    code, out, _ = paint("--json", "-o", "out.png")
    found = json.loads(out)
    assert (code, found["output"]) == (0, "out.png")
    assert found["seconds"] > 0
    facts = record.read(Path("out.png"))
    assert found["losses"] == facts["losses"]
    assert found["saved_losses"] == facts["saved_losses"]


def test_numbered_pictures(paint) -> None:
    code, _, _ = paint("-o", "out.png", "--save-every", "2")
    assert code == 0
    assert sorted(path.name for path in Path().glob("out*")) == [
        "out-0002.png",
        "out-0004.png",
        "out.png",
    ]
    last, whole = (
        picture_file.load_picture(Path("out-0004.png")),
        picture_file.load_picture(Path("out.png")),
    )
    np.testing.assert_array_equal(last, whole)
    assert not np.array_equal(picture_file.load_picture(Path("out-0002.png")), whole)
    assert record.read(Path("out-0002.png"))["steps_done"] == 2


def test_numbered_pictures_are_all_of_the_size_of_the_result(paint) -> None:
    code, _, _ = paint("-o", "out.png", "--save-every", "2", "--scales", "0.5,1")
    assert code == 0
    coarse = record.read(Path("out-0002.png"))
    assert coarse["painted_size"] == "16x24"
    assert {picture_file.load_picture(path).shape for path in Path().glob("out*")} == {(32, 48, 3)}


@pytest.mark.parametrize(("flags", "size"), [([], "64x96"), (["--scales", "0.5,1"], "32x48")])
def test_from_a_picture_a_run_goes_on_in_full_unless_scales_are_given(
    paint, capfd, flags, size
) -> None:
    given = ["--weights", "slim.h5", "--content", "photo.png", "--style", "painting.png"]
    paint("-o", "first.png")
    shutil.copy(paint.weights, "slim.h5")
    given += ["--init", "first.png", "--size", "96", "--steps", "3", "-o", "out.png"]
    assert main([*given, "--log", "log.csv", *SHALLOW_FLAGS, *flags]) == 0
    assert rows_of("log.csv")[0]["size"] == size


def test_a_log_and_numbered_pictures_do_not_change_the_result(paint) -> None:
    paint("-o", "plain.png")
    paint("-o", "watched.png", "--log", "log.csv", "--save-every", "3")
    assert Path("plain.png").read_bytes() == Path("watched.png").read_bytes()


@pytest.mark.parametrize(("suffix", "worst"), [(".jpg", 8), (".webp", 20)])
def test_other_kinds_of_file(paint, suffix: str, worst: float) -> None:
    """WebP halves the colours' resolution; in a picture as small and wild as this it shows."""
    paint("-o", "out.png")
    code, out, _ = paint("-o", f"out{suffix}")
    assert (code, out) == (0, f"out{suffix}\n")
    difference = picture_file.load_picture(Path("out.png")) - picture_file.load_picture(
        Path(f"out{suffix}")
    ).astype(float)
    assert np.abs(difference).mean() < worst


@pytest.mark.parametrize("kind", ["grey", "palette", "alpha", "portrait", "cmyk", "sixteen"])
def test_kinds_of_photo(paint, kind: str) -> None:
    photo = Image.open("photo.png")
    {
        "grey": lambda: photo.convert("L").save("x.png"),
        "palette": lambda: photo.convert("P").save("x.png"),
        "alpha": lambda: photo.convert("RGBA").save("x.png"),
        "portrait": lambda: photo.rotate(90, expand=True).save("x.png"),
        "cmyk": lambda: photo.convert("CMYK").save("x.tif"),
        "sixteen": lambda: Image.fromarray(
            np.asarray(photo.convert("L"), np.uint16) * np.uint16(257)
        ).save("x.png"),
    }[kind]()
    name = "x.tif" if kind == "cmyk" else "x.png"
    code, _, err = paint("--content", name, "-o", "out.png")
    assert code == 0, err
    assert picture_file.load_picture(Path("out.png")).shape[:2] == (
        (48, 32) if kind == "portrait" else (32, 48)
    )


def test_divergence_saves_the_last_good_canvas(paint) -> None:
    code, out, err = paint("--learning-rate", "1e30", "-o", "out.png", "--log", "log.csv")
    assert (code, out) == (1, "out.png\n")
    assert "became NaN or infinite at step 2" in err
    assert "Traceback" not in err
    size = (32, 48)
    expected = resize(picture_file.load_picture(Path("photo.png")), size, resampling="lanczos")
    np.testing.assert_array_equal(picture_file.load_picture(Path("out.png")), expected)
    assert record.read(Path("out.png"))["steps_done"] == 0
    assert len(rows_of("log.csv")) == 2


SIX = ["--steps", "6", "--steps-power", "1"]


def test_divergence_at_a_later_size_saves_the_end_of_the_one_before(paint, monkeypatch) -> None:
    paint("-o", "coarse.png", "--size", "24", "--steps", "2", "--content-weight", "0.11")
    whole_problem = painter.whole_problem

    def spoiled(*given, **settings):
        problem = whole_problem(*given, **settings)
        hyper = dataclasses.replace(problem.hyper, tv_weight=jnp.float32(np.inf))
        return dataclasses.replace(problem, hyper=hyper) if problem.first_step else problem

    monkeypatch.setattr(painter, "whole_problem", spoiled)
    code, out, err = paint("-o", "out.png", "--scales", "0.5,1", *SIX, "--json")
    assert code == 1
    assert "the tv loss became NaN or infinite at step 3" in err
    assert "after step 2 of 6, 16x24" in err
    assert json.loads(out)["painted_size"] == "16x24"
    np.testing.assert_array_equal(
        picture_file.load_picture(Path("out.png")), picture_file.load_picture(Path("coarse.png"))
    )


def test_a_full_disk_under_the_log_does_not_lose_the_picture(paint, monkeypatch) -> None:
    begin = log.LogFile.__init__

    def filling(self, *given, **settings) -> None:
        begin(self, *given, **settings)
        with Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), self._file.fileno())

    monkeypatch.setattr(log.LogFile, "__init__", filling)
    code, out, err = paint("-o", "out.png", "--log", "log.csv")
    assert (code, out) == (1, "out.png\n")
    assert "the log could not be written to its end: No space left on device" in err
    assert picture_file.load_picture(Path("out.png")).shape == (32, 48, 3)


def test_divergence_at_the_first_step_saves_nothing(paint) -> None:
    infinite = ["--balance", "book", "--style-weight", "3e38", "--style-layers", "relu1_1:3e38"]
    code, out, err = paint(*infinite, "-o", "out.png")
    assert (code, out) == (1, "")
    assert "the style loss became NaN or infinite at step 1" in err
    assert not Path("out.png").exists()


def test_a_folder_that_vanishes_does_not_lose_the_picture(paint, monkeypatch) -> None:
    Path("gone").mkdir()
    encode = picture_file.encode

    def vanish(*given, **named):
        if Path("gone").exists():
            shutil.rmtree("gone")
        return encode(*given, **named)

    monkeypatch.setattr(picture_file, "encode", vanish)
    code, out, err = paint("-o", "gone/out.png")
    assert (code, out) == (1, "out.png\n")
    assert "gone/out.png cannot be written: No such file" in err
    assert f"saved instead as {Path.cwd() / 'out.png'}" in err
    assert picture_file.load_picture(Path("out.png")).shape == (32, 48, 3)


def test_if_the_working_directory_vanishes_too_the_temporary_folder_has_it(
    paint, tmp_path, monkeypatch
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    encode = picture_file.encode

    def vanish(*given, **named):
        shutil.rmtree(tmp_path / "away")
        return encode(*given, **named)

    monkeypatch.setattr(picture_file, "encode", vanish)
    inputs = ["--content", str(tmp_path / "photo.png"), "--style", str(tmp_path / "painting.png")]
    with contextlib.chdir(tmp_path):
        os.chdir("away")
        code, out, err = paint(*inputs, "-o", "out.png", "--checkpoint-every", "1e-9")
    saved = tmp_path / "temporary" / "out.png"
    assert (code, out) == (1, f"{saved}\n")
    assert f"saved instead as {saved}" in err
    assert picture_file.load_picture(saved).shape == (32, 48, 3)


def test_a_disk_that_is_full_at_the_end_keeps_the_old_file(paint) -> None:
    Path("out.png").write_bytes(b"old")
    assert paint("-o", "other.png")[0] == 0  # so that nothing else is to be written
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        code, out, err = paint("-o", "out.png", "--force", "--quiet", "--checkpoint-every", "1e-9")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out) == (1, "")
    assert "error: the picture could not be saved anywhere: File too large" in err
    assert err.count("warning: the checkpoint out.png.checkpoint cannot be written") == 1
    assert Path("out.png").read_bytes() == b"old"
    assert not list(Path().glob(".*"))


def test_a_full_disk_keeps_the_old_file(paint, monkeypatch) -> None:
    Path("out.png").write_bytes(b"old")

    def full(path, data, *, overwrite):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.files, "write_whole", full)
    code, out, err = paint("-o", "out.png", "--force")
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert "could not be saved anywhere" in err
    assert Path("out.png").read_bytes() == b"old"


def test_a_file_that_appears_meanwhile_is_kept(paint, monkeypatch) -> None:
    encode = picture_file.encode

    def appear(*given, **named):
        Path("out.png").write_bytes(b"somebody's")
        return encode(*given, **named)

    monkeypatch.setattr(picture_file, "encode", appear)
    code, out, _ = paint("-o", "out.png")
    assert (code, out) == (0, "out-2.png\n")
    assert Path("out.png").read_bytes() == b"somebody's"


def test_force_overwrites(paint) -> None:
    Path("out.png").write_bytes(b"old")
    assert paint("-o", "out.png")[0] == 2
    assert Path("out.png").read_bytes() == b"old"
    assert paint("-o", "out.png", "--force")[0] == 0
    assert picture_file.load_picture(Path("out.png")).shape == (32, 48, 3)
    assert stat.S_IMODE(Path("out.png").stat().st_mode) == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_out_of_memory_is_one_line(paint, monkeypatch) -> None:
    def exhausted(*given, **settings):
        raise job.jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmany\nlines")

    monkeypatch.setattr(job, "paint_run", exhausted)
    code, _, err = paint("--quiet")
    assert code == 1
    assert err == "jaxstyle: error: not enough memory: choose a smaller --size\n"


def test_a_device_that_is_not_there(paint) -> None:
    code, _, err = paint("--device", "tpu")
    assert code == 2
    assert err.count("\n") == 1
    assert "jax finds no device tpu" in err


def test_a_gpu_that_jax_cannot_use_is_mentioned(paint, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(devices, "NVIDIA_SIGNS", (tmp_path,))
    _, _, err = paint()
    assert "an NVIDIA GPU is present" in err
    assert "pip install" in err
    assert "GPU" not in paint("--device", "cpu")[2]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "GPU" not in paint()[2]


def test_list_presets(capfd) -> None:
    assert main(["--list-presets"]) == 0
    out = capfd.readouterr().out
    assert "book-mxnet: " in out
    assert "--learning-rate 0.9" in out
    assert "--size 300x450" in out


def test_averages_and_other_layers(paint) -> None:
    changes = ["--pooling", "avg", "--style-layers", "relu1_1,conv3_1:0.5", "--content-layers"]
    code, _, _ = paint(*changes, "relu2_2", "-o", "out.png")
    settings = record.read(Path("out.png"))["settings"]
    assert code == 0
    assert settings["style_layers"] == ["relu1_1", "conv3_1"]
    assert settings["style_layer_weights"] == [1, 0.5]
    assert settings["pooling"] == "avg"


def test_a_refused_run_leaves_the_log_alone(paint) -> None:
    Path("log.csv").write_text("of another day")
    code, _, err = paint("--style-layers", "relu5_2", "--log", "log.csv", "--force")
    assert code == 2
    assert err.count("\n") == 1
    assert "have no layer relu5_2" in err
    assert Path("log.csv").read_text() == "of another day"


def test_nobody_reading_the_progress_does_not_lose_the_picture(paint, monkeypatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr("sys.stderr", full)
    code, out, _ = paint("-o", "out.png")
    assert (code, out) == (0, "out.png\n")
    assert picture_file.load_picture(Path("out.png")).shape == (32, 48, 3)
    with contextlib.suppress(OSError):
        full.close()


def test_numbered_pictures_of_a_run_that_diverges(paint) -> None:
    code, _, err = paint("-o", "out.png", "--save-every", "1", "--learning-rate", "1e30")
    assert code == 1
    assert "could not be saved" not in err
    assert Path("out-0001.png").exists()


def test_a_gradient_whose_square_overflows_is_said(paint) -> None:
    code, _, err = paint("--style-weight", "1e30", "--learning-rate", "1e10", "-o", "out.png")
    assert code == 1
    assert "became NaN or infinite" in err
