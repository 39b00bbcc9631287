"""Checkpoints and --resume: from the command line, with a slim network."""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS, slim_params
from interruption import KilledError, without_seconds
from own_optimizer import add_history

from jaxstyle.cli.main import main
from jaxstyle.optimization import stepping
from jaxstyle.painting.events import StepsDone
from jaxstyle.runs import checkpoint, checkpointer, job, record
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.checkpointer import restored_state
from jaxstyle.weights import weight_file

SMALL = ["--size", "48", "--steps", "9", "--checkpoint-every", "1e-9"]


FLAGS = ["--scales", "0.7,1", "-o", "out.png"]
BASE = ["--content", "photo.png", "--style", "painting.png", "--weights", "slim.h5", *SHALLOW_FLAGS]


def copy_inputs(folder: Path, slim_file: Path) -> None:
    shutil.copy(EXAMPLES / "coffee.png", folder / "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", folder / "painting.png")
    shutil.copy(slim_file, folder / "slim.h5")


@pytest.fixture
def paint(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stepping, "MOST_STEPS_A_CALL", 2)
    copy_inputs(tmp_path, slim_file)

    def run(*flags: str) -> tuple[int, str, str]:
        code = main([*BASE, *SMALL, *flags])
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory, slim_file: Path) -> bytes:
    """The picture of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    copy_inputs(folder, slim_file)
    with contextlib.chdir(folder):
        assert main([*BASE, *SMALL, *FLAGS]) == 0
        return Path("out.png").read_bytes()


@pytest.fixture
def killed(paint, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line and ends it after so many chunks of steps, or at a signal there."""
    whole = job.paint_run

    def run(chunks: int, *flags: str, number: int | None = None):
        def cut(*given, **settings):
            count = -1
            for event in whole(*given, **settings):
                count += isinstance(event, StepsDone)
                if count == chunks and isinstance(event, StepsDone) and number is not None:
                    signal.raise_signal(number)
                yield event
                if count == chunks and number is None:
                    raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(job, "paint_run", cut)
            if number is not None:
                return paint(*flags)
            with pytest.raises(KilledError):
                paint(*flags)
            capfd.readouterr()
            return None

    return run


def names() -> list[str]:
    """Returns what is in the folder besides the inputs."""
    inputs = {"photo.png", "painting.png", "slim.h5"}
    return sorted(each.name for each in Path().iterdir() if each.name not in inputs)


def test_a_killed_run_goes_on_bit_for_bit(paint, killed) -> None:
    """Again and again, over the edge between two sizes; and the log goes on."""
    flags = ["--scales", "0.7,1", "--init", "noise", "--log", "log.csv", "-o", "out.png"]
    assert paint(*flags)[0] == 0
    assert names() == ["log.csv", "out.png"]  # a finished run removes its checkpoints
    whole, log = Path("out.png").read_bytes(), without_seconds("log.csv")
    Path("out.png").unlink()
    Path("log.csv").unlink()
    killed(2, *flags)
    assert names() == ["log.csv", "out.png.checkpoint", "out.png.checkpoint.previous"]
    header = checkpoint.read_header(Path("out.png.checkpoint"))
    assert (header.steps_done, header.size) == (3, "22x34")
    for chunks, steps_done in ((0, 3), (1, 4), (1, 5), (0, 5), (2, 8)):
        killed(chunks, "--resume", *flags)
        later = checkpoint.read_header(Path("out.png.checkpoint"))
        assert later.steps_done == steps_done
        assert (later.seconds > header.seconds) == (steps_done > header.steps_done)
        header = later
    code, out, err = paint("--resume", *flags)
    assert (code, out) == (0, "out.png\n")
    assert "going on after step" in err
    assert Path("out.png").read_bytes() == whole
    assert without_seconds("log.csv") == log
    seconds = [float(line.rpartition(",")[2]) for line in Path("log.csv").read_text().split()[1:]]
    assert seconds == sorted(seconds)
    assert names() == ["log.csv", "out.png"]


def test_an_optimizer_of_the_tests_own_goes_on_bit_for_bit(paint, killed, monkeypatch) -> None:
    """Its state, five gradients in one array, is kept as it is, by its place in the tree."""
    add_history(monkeypatch)
    flags = ["--preset", "book", "--size", "24x32", "-o", "out.png"]
    flags += ["--optimizer", "history", "--learning-rate", "0.1"]
    assert paint(*flags)[0] == 0
    whole = Path("out.png").read_bytes()
    Path("out.png").unlink()
    killed(3, *flags)
    arrays = checkpoint.read_arrays(Path("out.png.checkpoint"))
    gradients = arrays["optimizer.gradients"]
    assert gradients.shape == (5, *arrays["canvas"].shape)
    assert gradients[:3].any(axis=(1, 2, 3)).all()
    assert paint("--resume", *flags)[0] == 0
    assert Path("out.png").read_bytes() == whole
    found, *_ = record.restore(record.read(Path("out.png")))
    assert found.optimizer == "history"


def test_a_checkpoint_with_the_names_before_goes_on_bit_for_bit(paint, killed, whole) -> None:
    """Adam's arrays and the duals had names of their own, and nothing was said of failure."""
    killed(2, *FLAGS)
    path = Path("out.png.checkpoint")
    header, arrays = checkpoint.read_header(path), checkpoint.read_arrays(path)
    before = {"optimizer.count": "count", "optimizer.mu": "mu", "optimizer.nu": "nu"}
    before |= {"duals.0": "vertical_duals", "duals.1": "horizontal_duals"}
    assert set(before) < set(arrays)
    assert arrays["optimizer.mu"].any()
    del arrays["failed"]
    old = {before.get(name, name): each for name, each in arrays.items()}
    checkpoint.write(path, header, old)
    assert paint("--resume", *FLAGS)[0] == 0
    assert Path("out.png").read_bytes() == whole


def refusal(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    return err


def test_another_run_is_refused_with_what_differs(paint, killed, monkeypatch) -> None:
    killed(2, *FLAGS)
    before = {each: Path(each).read_bytes() for each in names()}
    shutil.copy(EXAMPLES / "strokes.png", "other.png")
    Path("other.h5").write_bytes(
        weight_file.weight_bytes(
            slim_params("vgg19", 1), source="random", source_sha256="0" * 64, licence="none"
        )
    )
    for flags, told in (
        (["--content", "other.png"], ": another content picture; to begin"),
        (["--style", "photo.png"], ": another style picture; to begin"),
        (["--weights", "other.h5"], ": other weights; to begin"),
        (["--style-weight", "5e3"], ": style-weight 1 then, 5000 now; to begin"),
        (["--steps", "10", "--seed", "2"], ": seed 0 then, 2 now; steps 9 then, 10 now; to"),
        (["--size", "40x50"], ": size 48 then, 40x50 now; to begin"),
        (["--init", "other.png"], "another init picture"),
        (
            ["--style-layers", "relu1_1"],
            ": style-layer-weights 1,1 then, 1 now; style-layers",
        ),
    ):
        said = refusal(paint("--resume", *FLAGS, *flags))
        assert "out.png.checkpoint is of another run" in said
        assert told in said
    monkeypatch.setitem(record.versions.__globals__, "__version__", "9.9")
    assert ": jaxstyle 0.1.0 then, 9.9 now; to begin" in refusal(paint("--resume", *FLAGS))
    for each, data in before.items():
        assert Path(each).read_bytes() == data


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(paint, killed, whole) -> None:
    killed(3, *FLAGS)
    last, before = Path("out.png.checkpoint"), Path("out.png.checkpoint.previous")
    last.write_bytes(last.read_bytes()[:-9])
    kept = before.read_bytes()
    assert checkpoint.read_header(before).steps_done == 3
    killed(1, "--resume", *FLAGS)  # writes another, and never lets the damaged one replace the good
    assert before.read_bytes() == kept
    assert checkpoint.read_header(last).steps_done == 4
    last.write_bytes(b"x" + last.read_bytes()[1:])
    code, _, err = paint("--resume", *FLAGS)
    assert code == 0
    assert "warning: out.png.checkpoint is not a checkpoint" in err
    assert "going on after step 3 of 9, 22x34: out.png.checkpoint.previous" in err
    assert Path("out.png").read_bytes() == whole
    assert names() == ["out.png"]


def test_where_no_checkpoint_is_whole_nothing_is_done(paint) -> None:
    Path("out.png.checkpoint").write_bytes(b"x")
    Path("out.png.checkpoint.previous").write_bytes(b"y")
    said = refusal(paint("--resume", *FLAGS))
    assert "out.png.checkpoint is not a checkpoint of this version of jaxstyle; out.png" in said
    assert "leave --resume out and add --force" in said
    assert Path("out.png.checkpoint").read_bytes() == b"x"


def test_without_a_checkpoint_it_begins_with_the_first_step(paint, whole) -> None:
    code, _, err = paint("--resume", *FLAGS)
    assert code == 0
    assert "there is no checkpoint out.png.checkpoint: beginning with the first step" in err
    assert Path("out.png").read_bytes() == whole
    assert "out.png exists" in refusal(paint("--resume", *FLAGS))  # nothing interrupted wrote it


def test_a_checkpoint_is_not_overwritten_by_another_run(paint, killed, whole) -> None:
    killed(1, *FLAGS)
    assert "--resume to go on with it, or --force" in refusal(paint(*FLAGS))
    assert paint(*FLAGS, "--force")[0] == 0
    assert Path("out.png").read_bytes() == whole


def test_new_names_go_around_checkpoints_and_resume_finds_them(paint, killed, whole) -> None:
    unnamed = FLAGS[:2]
    for _ in range(2):
        killed(1, *unnamed)
    found = [f"photo-painting{n}.png.checkpoint{m}" for n in ("-2", "") for m in ("", ".previous")]
    assert names() == found
    for each in found[:2]:
        os.utime(each, (0, 0))
    assert paint("--resume", *unnamed)[1] == "photo-painting.png\n"
    assert paint("--resume", *unnamed)[1] == "photo-painting-2.png\n"
    assert Path("photo-painting-2.png").read_bytes() == whole
    assert names() == ["photo-painting-2.png", "photo-painting.png"]


def test_ctrl_c_leaves_picture_and_checkpoint_and_resume_replaces_its_own(
    paint, killed, whole
) -> None:
    flags = [*FLAGS, "--log", "log.csv", "--save-every", "2", "--checkpoint", "kept"]
    for number, code, resume in ((signal.SIGINT, 130, []), (signal.SIGTERM, 143, ["--resume"])):
        found, out, err = killed(2, *resume, *flags, number=number)
        assert (found, out) == (code, "out.png\n")
        assert "; saved: out.png; --resume goes on from kept\n" in err
    assert Path("out.png").read_bytes() != whole
    numbered = {each: Path(each).read_bytes() for each in names() if each.startswith("out-")}
    assert len(numbered) == 2
    code, out, err = paint("--resume", *flags)
    assert (code, out) == (0, "out.png\n")
    assert "warning" not in err
    assert Path("out.png").read_bytes() == whole
    assert names() == ["log.csv", *(f"out-000{n}.png" for n in (2, 4, 6, 8)), "out.png"]
    assert {each: Path(each).read_bytes() for each in numbered} == numbered
    assert Path("log.csv").read_text().count("\n") == 10


def test_what_is_not_the_interrupted_runs_own_is_kept(paint, killed) -> None:
    flags = [*FLAGS, "--log", "log.csv"]
    killed(2, *flags)
    log = Path("log.csv").read_bytes()
    Path("log.csv").write_bytes(b"somebody's")
    assert "log.csv exists and is not the log" in refusal(paint("--resume", *flags))
    assert Path("log.csv").read_bytes() == b"somebody's"
    Path("log.csv").write_bytes(log[:100])  # as after a power cut
    Path("out.png").write_bytes(b"somebody's")
    assert paint("--resume", *flags)[:2] == (0, "out-2.png\n")
    assert Path("out.png").read_bytes() == b"somebody's"


def test_a_run_killed_before_its_first_step_goes_on_with_its_log(paint, killed, whole) -> None:
    flags = ["--resume", *FLAGS, "--log", "log.csv"]
    killed(0, *flags)
    assert names() == ["out.png.checkpoint"]
    Path("log.csv").write_text("step,size")  # the beginning of the header
    assert paint(*flags)[0] == 0
    assert Path("out.png").read_bytes() == whole
    assert names() == ["log.csv", "out.png"]
    code, _, err = killed(0, *FLAGS, "--force", number=signal.SIGINT)
    assert code == 130
    assert "nothing to save" in err
    assert names() == ["log.csv", "out.png"]


def test_a_failed_state_is_never_kept(paint, killed) -> None:
    """Step 1 leads to a canvas of 1e30, whose loss is known to be infinite in step 2."""
    flags = [*FLAGS, "--learning-rate", "1e30", "--clip", "no"]
    killed(2, *flags)
    assert checkpoint.read_header(Path("out.png.checkpoint")).steps_done == 1
    assert names() == ["out.png.checkpoint", "out.png.checkpoint.previous"]
    code, _, err = paint("--resume", *flags)
    assert code == 1
    assert "became NaN or infinite at step 2" in err
    assert "the last good picture, after step 0 of 9" in err
    assert names() == ["out.png"]


def test_a_checkpoint_that_cannot_be_written_is_said_once(paint, whole, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.files.os, "replace", full)
        code, _, err = paint(*FLAGS)
    assert code == 0
    assert err.count("warning: the checkpoint out.png.checkpoint cannot be written") == 1
    assert Path("out.png").read_bytes() == whole
    assert names() == ["out.png"]


def test_long_runs_keep_checkpoints_unasked(paint, killed, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SMALL", SMALL[:4])
    _, _, err = killed(2, *FLAGS, number=signal.SIGINT)
    assert "--resume" not in err
    assert names() == ["out.png"]
    monkeypatch.setattr(checkpointer, "SECONDS_BETWEEN", 1e-9)
    _, _, err = killed(2, *FLAGS, "--force", number=signal.SIGINT)
    assert "--resume goes on from out.png.checkpoint" in err
    monkeypatch.setattr(checkpointer, "SECONDS_BETWEEN", 60)
    _, _, err = killed(0, *FLAGS, "--resume", number=signal.SIGINT)  # one that is there is kept
    assert "--resume goes on from out.png.checkpoint" in err


def test_another_device_is_warned_of(paint, killed) -> None:
    killed(1, *FLAGS)
    path = Path("out.png.checkpoint")
    header = checkpoint.read_header(path)
    header.run["device"] = "TPU v9"
    checkpoint.write(path, header, checkpoint.read_arrays(path))
    code, _, err = paint("--resume", *FLAGS)
    assert code == 0
    assert "warning: begun on TPU v9, going on on cpu, which rounds otherwise" in err


def test_a_checkpoint_whose_losses_have_no_names_is_read(paint, killed) -> None:
    """As they were written before: content, style, tv and total of the level that was finished."""
    killed(5, *FLAGS)
    path = Path("out.png.checkpoint")
    header = checkpoint.read_header(path)
    named, steps_done = header.finished
    assert list(named) == ["content", "style", "tv", "total"]
    before = header._replace(finished=[list(named.values()), steps_done])
    for each in (header, before):
        _, snapshot = restored_state(Resumption(path, each, is_previous=False))
        assert snapshot.losses.by_name() == named
        assert snapshot.steps_done == steps_done


def test_memory_is_used_as_before(paint, killed, monkeypatch) -> None:
    """What "auto" chooses depends on how much is free, and the two memory modes round otherwise."""
    killed(1, *FLAGS)
    path, seen = Path("out.png.checkpoint"), []
    header = checkpoint.read_header(path)
    assert header.run["memory"] == ["plain", "plain"]
    header.run["memory"] = ["strips", "plain"]
    checkpoint.write(path, header, checkpoint.read_arrays(path))

    def look(params, lane, **settings):
        seen.extend(level.memory_mode for level in lane.levels)
        raise KilledError

    monkeypatch.setattr(job, "paint_run", look)
    with pytest.raises(KilledError):
        paint("--resume", *FLAGS)
    assert seen == ["strips", "plain"]
