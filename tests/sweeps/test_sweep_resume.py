"""What the runs of a sweep write beside their results: logs, numbered pictures, checkpoints."""

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS
from interruption import KilledError, without_seconds

from jaxstyle.cli.main import main
from jaxstyle.optimization import stepping
from jaxstyle.painting.events import StepsDone
from jaxstyle.runs import checkpoint
from jaxstyle.sweeps import job as sweep_job

FAST = ["--size", "48", "--scales", "0.7,1", "--steps", "9", *SHALLOW_FLAGS]
TWO = ["--sweep", "tv-weight", "1", "10", "-o", "out"]
WATCHED = ["--log", "log.csv", "--save-every", "2", "--checkpoint-every", "1e-9"]
FIRST, SECOND = "tv-weight=1", "tv-weight=10"


@pytest.fixture
def run(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stepping, "MOST_STEPS_A_CALL", 2)
    shutil.copy(EXAMPLES / "coffee.png", "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", "painting.png")
    base = ["--content", "photo.png", "--style", "painting.png", "--weights", str(slim_file)]

    def run(*flags: str) -> tuple[int, str, str]:
        code = main([*base, *FAST, *flags])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def cut(run, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs a sweep and ends it after so many steps of its run of a number, or at a signal there."""
    whole = sweep_job.paint_variants

    def cut(number: int, steps: int, *flags: str, signal: int | None = None):
        def events(*given, **settings):
            for event in whole(*given, **settings):
                yield event
                here = isinstance(event, StepsDone) and event.run == number
                if here and event.lane.steps_done >= steps:
                    if signal is None:
                        raise KilledError
                    os.kill(os.getpid(), signal)

        with monkeypatch.context() as patch:
            patch.setattr(sweep_job, "paint_variants", events)
            if signal is not None:
                return run(*flags)
            with pytest.raises(KilledError):
                run(*flags)
            return capfd.readouterr()

    return cut


def names(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


def files(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def results(folder: str) -> dict[str, tuple[bytes, dict]]:
    """Returns by run its picture and its record, but for the time that it took."""
    found = {}
    for path in Path(folder, "records").glob("*.json"):
        entry = json.loads(path.read_text())
        assert entry.pop("seconds") > 0
        found[path.stem] = Path(folder, f"{path.stem}.png").read_bytes(), entry
    return found


def test_logs_and_numbered_pictures_are_those_of_single_runs(run) -> None:
    assert run(*TWO, *WATCHED)[0] == 0
    alone = [*WATCHED, "--tv-weight", "10", "-o", "alone.png", "--log", "alone.csv"]
    assert run(*alone)[0] == 0
    assert Path(f"out/{SECOND}.png").read_bytes() == Path("alone.png").read_bytes()
    assert without_seconds(f"out/runs/{SECOND}/log.csv") == without_seconds("alone.csv")
    own = ["log.csv", *(f"picture-000{number}.png" for number in (2, 4, 6, 8))]
    assert names("out/runs") == sorted(
        [FIRST, SECOND] + [f"{name}/{each}" for name in (FIRST, SECOND) for each in own]
    )
    for number in (2, 8):
        numbered = Path(f"out/runs/{SECOND}/picture-000{number}.png").read_bytes()
        assert numbered == Path(f"alone-000{number}.png").read_bytes()


def test_a_killed_sweep_goes_on_inside_the_run_it_was_at(run, cut) -> None:
    """Twice, the second time at the larger size; bit for bit, and the log goes on."""
    assert run(*TWO, *WATCHED)[0] == 0
    whole, log = results("out"), without_seconds(f"out/runs/{SECOND}/log.csv")
    Path("out").rename("whole")
    cut(1, 3, *TWO, *WATCHED)
    path = Path(f"out/runs/{SECOND}/picture.png.checkpoint")
    assert checkpoint.read_header(path).steps_done in (3, 4)
    assert not Path(f"out/runs/{FIRST}/picture.png.checkpoint").exists()
    first = Path(f"out/{FIRST}.png").stat().st_mtime_ns
    cut(0, 7, *TWO, *WATCHED)  # of those that are left
    assert checkpoint.read_header(path).steps_done in (7, 8)
    code, _, err = run(*TWO, *WATCHED)
    assert code == 0
    assert "2 variants, 1 are there already, 1 go on where they were interrupted" in err
    assert Path(f"out/{FIRST}.png").stat().st_mtime_ns == first
    assert results("out") == whole
    assert without_seconds(f"out/runs/{SECOND}/log.csv") == log
    assert names("out") == names("whole")


def test_ctrl_c_keeps_a_checkpoint_that_was_asked_for(run, cut) -> None:
    asked = ["--checkpoint-every", "inf"]
    assert run(*TWO)[0] == 0
    whole = results("out")
    assert not Path("out/runs").exists()  # short runs need no checkpoints
    Path("out").rename("whole")
    assert cut(0, 5, *TWO, *asked, signal=2)[0] == 130
    path = Path(f"out/runs/{FIRST}/picture.png.checkpoint")
    assert checkpoint.read_header(path).steps_done >= 5
    assert run(*TWO)[0] == 0
    assert results("out") == whole
    assert names("out") == names("whole")


def test_a_checkpoint_of_other_settings_is_refused(run, cut) -> None:
    cut(0, 3, *TWO, *WATCHED)
    before = files("out")
    code, out, err = run(*TWO, *WATCHED, "--seed", "3")
    assert (code, out) == (2, "")
    assert f"out/runs/{FIRST}/picture.png.checkpoint is of another run: seed 0 then, 3 now" in err
    assert "to begin this run anew, remove it; to begin all of them anew, add --force" in err
    assert files("out") == before
    assert run(*TWO, *WATCHED, "--seed", "3", "--force")[0] == 0
    assert len(results("out")) == 2


def test_a_log_in_a_sweep_is_a_name_alone(run) -> None:
    code, _, err = run(*TWO, "--log", "logs/log.csv")
    assert code == 2
    assert "--log logs/log.csv: in a sweep it is in each run's folder; give a name alone" in err
    code, _, err = run(*TWO, "--log", "log.txt")
    assert code == 2
    assert not Path("out").exists()


def test_what_is_in_the_place_of_the_runs_is_kept(run) -> None:
    Path("out/runs").mkdir(parents=True)
    code, _, err = run(*TWO)
    assert code == 2
    assert "out/runs exists and is not of a sweep" in err
