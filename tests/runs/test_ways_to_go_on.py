"""What happens around a real run and must not matter to it: stopped, unread, left by its parent."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PICTURES, SHALLOW_FLAGS

STEPS = 2000
STOPPED = 3.0
"""Seconds for which a run is suspended: more than `worked_time.LEAST_STOP`."""

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns what makes the command of a run with a name, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def made(name: str) -> list[str]:
        size = ["--size", "48", "--scales", "1", "--steps", str(STEPS), *SHALLOW_FLAGS]
        given = [*PICTURES, *size, "--weights", str(slim_file), "--log", f"{name}.csv", "--json"]
        return [sys.executable, "-m", "jaxstyle", *given, "-o", f"{name}.png"]

    return made


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def has_steps(name: str) -> bool:
    path = Path(f"{name}.csv")
    return path.exists() and path.read_bytes().count(b"\n") > 3


def pixels(name: str) -> str:
    """Returns a hash of a result, whose record tells the same of all."""
    return hashlib.sha256(Path(f"{name}.png").read_bytes()).hexdigest()


def test_a_run_does_not_mind_what_happens_around_it(command) -> None:
    """Each of them paints the picture of the one that was left alone."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    began = time.monotonic()
    stopped = subprocess.Popen(command("stopped"), **quiet)
    unread = subprocess.Popen(command("unread"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shell = subprocess.Popen(
        ["sh", "-c", '"$@" 2>/dev/null >left.json & wait', "sh", *command("left")],
        start_new_session=True,
    )
    until(lambda: has_steps("stopped"))
    stopped.send_signal(signal.SIGTSTP)
    time.sleep(0.3)
    if state_of(stopped.pid) != "T":  # the system leaves out groups that no shell looks after
        stopped.send_signal(signal.SIGSTOP)
    until(lambda: state_of(stopped.pid) == "T", 5)
    until(lambda: has_steps("unread") and has_steps("left"))
    unread.stderr.close()
    os.kill(shell.pid, signal.SIGKILL)
    shell.wait()
    time.sleep(STOPPED)
    stopped.send_signal(signal.SIGCONT)
    out, _ = stopped.communicate(timeout=60)
    lasted = time.monotonic() - began
    assert stopped.returncode == 0
    assert json.loads(out)["seconds"] < lasted - STOPPED  # so the time left is right, too
    with unread.stdout as told:
        assert json.loads(told.read())["output"] == "unread.png"
    assert unread.wait(60) == 0
    until(lambda: Path("left.json").read_bytes().endswith(b"}\n"))
    assert pixels("stopped") == pixels("unread") == pixels("left")


def state_of(pid: int) -> str:
    """Returns what the system says that a process does: T if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
