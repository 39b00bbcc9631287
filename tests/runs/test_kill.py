"""SIGKILL, sent to real processes: at random moments, and while a checkpoint is written."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PICTURES, SHALLOW_FLAGS

from jaxstyle.cli.main import main
from jaxstyle.runs import checkpoint

DYING = """
import os, signal, sys
from jaxstyle.cli.main import main
from jaxstyle.optimization import stepping
stepping.MOST_STEPS_A_CALL = 2
place, number = sys.argv[1], int(sys.argv[2])
do, calls = getattr(os, place), []
def dying(*given):
    name = os.readlink(f"/proc/self/fd/{given[0]}") if place == "fsync" else str(given[0])
    calls.extend([name] * ("checkpoint" in name))
    if len(calls) == number:
        if place == "fsync":
            os.truncate(name, 3000)
        os.kill(os.getpid(), signal.SIGKILL)
    return do(*given)
setattr(os, place, dying)
sys.exit(main(sys.argv[3:]))
"""
"""Ends itself when os.fsync or os.replace is called for a checkpoint for the n-th time."""

NAMES = ("out.png.checkpoint", "out.png.checkpoint.previous")


@pytest.fixture
def command(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns what makes a command line of so many steps, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def flags(steps: int) -> list[str]:
        given = [*PICTURES, "--weights", str(slim_file), *SHALLOW_FLAGS]
        given += ["--size", "48", "--scales", "0.7,1"]
        return [*given, "--checkpoint-every", "1e-9", "-o", "out.png", "--steps", str(steps)]

    return flags


def names() -> list[str]:
    return sorted(each.name for each in Path().iterdir())


def sha256(name: str) -> str:
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def uninterrupted(flags: list[str]) -> str:
    assert main([*flags, "--quiet"]) == 0
    Path("out.png").rename("whole.png")
    return sha256("whole.png")


@pytest.mark.parametrize(
    ("place", "number", "left"),
    [
        # the third checkpoint has no name yet, the second one is the one before
        pytest.param("replace", 5, [None, 1], marks=pytest.mark.slow),
        pytest.param("fsync", 1, [None, None], marks=pytest.mark.slow),
        pytest.param("fsync", 4, [3, 1], marks=pytest.mark.slow),
        pytest.param("replace", 1, [None, None], marks=pytest.mark.slow),
        pytest.param("replace", 4, [1, 0], marks=pytest.mark.slow),
        pytest.param("replace", 7, [None, 3], marks=pytest.mark.slow),
    ],
)
def test_killed_while_a_checkpoint_is_written(command, place, number, left, capfd) -> None:
    """`left` are the steps done in the checkpoint and in the one before."""
    flags = command(9)
    whole = uninterrupted(flags)
    program = [sys.executable, "-c", DYING, place, str(number), *flags]
    assert subprocess.run(program, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert Path(".out.png.checkpoint.part").exists()
    there = [
        checkpoint.read_header(Path(n)).steps_done if Path(n).exists() else None for n in NAMES
    ]
    assert there == left
    assert main([*flags, "--resume"]) == 0
    found = [step for step in left if step is not None]
    said = f"going on after step {found[0]} of 9" if found else "there is no checkpoint"
    assert said in capfd.readouterr().err
    assert sha256("out.png") == whole
    if found:
        assert names() == ["out.png", "whole.png"]


def rows_of(log: Path, since: int) -> int:
    """Returns how many rows a log has; none if nothing was written after a time in ns."""
    if not log.exists() or log.stat().st_mtime_ns == since:
        return 0
    return log.read_bytes().count(b"\n")


@pytest.mark.slow
def test_killed_at_ten_random_moments(command) -> None:
    """Two of them while it starts; the others so many steps after, on machines of any speed."""
    steps, moments, log = 3000, random.Random(0), Path("log.csv")
    flags = [*command(steps), "--log", "log.csv"]
    whole = uninterrupted(flags)
    shutil.move("log.csv", "whole.csv")
    done = []
    for number in range(10):
        starting = number in (3, 7)
        before = log.stat().st_mtime_ns if log.exists() else 0
        process = subprocess.Popen([sys.executable, "-m", "jaxstyle.run", *flags, "--resume"])
        goal = 0 if starting else (done[-1] if done else 0) + moments.randint(2, 250)
        while rows_of(log, before) < goal:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 1.0 if starting else 0.02))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        found = [checkpoint.read_header(Path(name)) for name in NAMES if Path(name).exists()]
        done.append(found[0].steps_done if found else 0)
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert 0 < done[-1] < steps
    result = subprocess.run([sys.executable, "-m", "jaxstyle.run", *flags, "--resume"], check=False)
    assert result.returncode == 0
    assert sha256("out.png") == whole
    logs = [Path(name).read_text().splitlines() for name in ("log.csv", "whole.csv")]
    rows = [[row.rpartition(",")[0] for row in log] for log in logs]
    assert rows[0] == rows[1]
    assert names() == ["log.csv", "out.png", "whole.csv", "whole.png"]
