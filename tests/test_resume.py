"""Checkpoints and --resume: from the command line, with a slim network."""

import shutil
import signal
from pathlib import Path

import pytest
from conftest import EXAMPLES

from jaxstyle import checkpoint, job, transfer
from jaxstyle.run import main

SMALL = ["--size", "48", "--steps", "9", "--checkpoint-every", "1e-9"]


@pytest.fixture
def paint(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "MOST_STEPS_A_CALL", 2)
    shutil.copy(EXAMPLES / "coffee.png", "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", "painting.png")
    shutil.copy(slim_file, "slim.h5")

    def run(*flags: str) -> tuple[int, str, str]:
        base = ["--content", "photo.png", "--style", "painting.png", "--weights", "slim.h5"]
        code = main([*base, *SMALL, *flags])
        return code, *capfd.readouterr()

    return run


class KilledError(BaseException):
    """As if the process were gone: no handler of the program sees it."""


@pytest.fixture
def killed(paint, monkeypatch: pytest.MonkeyPatch):
    """Runs the command line and ends it after so many chunks of steps, or at a signal there."""
    whole = job.paint

    def run(chunks: int, *flags: str, number: int | None = None):
        def cut(*given, **settings):
            for count, chunk in enumerate(whole(*given, **settings)):
                if count == chunks and number is not None:
                    signal.raise_signal(number)
                yield chunk
                if count == chunks and number is None:
                    raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(job, "paint", cut)
            if number is not None:
                return paint(*flags)
            with pytest.raises(KilledError):
                paint(*flags)
            return None

    return run


def names() -> list[str]:
    """Returns what is in the folder besides the inputs."""
    inputs = {"photo.png", "painting.png", "slim.h5"}
    return sorted(each.name for each in Path().iterdir() if each.name not in inputs)


def without_seconds(path: str) -> list[str]:
    return [line.rpartition(",")[0] for line in Path(path).read_text().splitlines()]


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
