"""Several processes as one program: what one process does, and nothing lost with a peer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS, two_places

from jaxstyle.errors import InputError
from jaxstyle.images.picture_file import load_picture
from jaxstyle.machine.devices import HEARTBEAT_SECONDS, any_process, devices_for, join
from jaxstyle.runs import record

FLAGS = ["--size", "48", "--memory", "plain", "--sweep", "style-weight", "1e3", "1e4", "1e5"]
FLAGS += ["--sweep", "seed", "1", "2", "--init", "noise", *SHALLOW_FLAGS]


def command(slim_file: Path, folder: Path, *more: str) -> list[str]:
    base = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]
    base += ["--weights", str(slim_file), *FLAGS, "-o", str(folder), *more]
    return [sys.executable, "-m", "jaxstyle.run", *base]


@pytest.fixture
def start_two(slim_file):
    """Starts two processes of two devices each, as one program."""
    flags = "--xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    processes = []

    def start(folder: Path, steps: int) -> list[subprocess.Popen[str]]:
        both = [
            subprocess.Popen(
                command(slim_file, folder, "--steps", str(steps), "--distributed", where),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for where in two_places()
        ]
        processes.extend(both)
        return both

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("style-weight*.png")}


@pytest.mark.slow
def test_two_processes_of_two_devices_give_what_one_gives(start_two, slim_file, tmp_path) -> None:
    both = start_two(tmp_path / "both", 5)
    said = [each.communicate(timeout=300)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert all("on 4 x cpu" in each for each in said)
    alone = subprocess.run(command(slim_file, tmp_path / "alone", "--steps", "5"), check=False)
    assert alone.returncode == 0
    assert len(pictures(tmp_path / "both")) == 6
    for path in (tmp_path / "both").glob("style-weight*.png"):
        both_files = [path, tmp_path / "alone" / path.name]
        np.testing.assert_array_equal(*map(load_picture, both_files))
        found, whole = map(record.read, both_files)
        assert whole.pop("saved_losses")["total"] > 0  # which several processes do not compute
        assert found == whole
    rows = (tmp_path / "both/sweep.csv").read_text().splitlines()[1:]
    assert len(rows) == 6
    assert len({row.rpartition(",")[2] for row in rows}) == 4  # all devices had a share


@pytest.mark.slow
def test_a_lost_peer_loses_only_what_was_running(start_two, tmp_path) -> None:
    """The first of two is killed after a round: the other one ends, and both again finish it.

    That the second is lost the first notices later, by its missing heartbeat.
    """
    folder = tmp_path / "out"
    first, second = start_two(folder, 1500)
    deadline = time.monotonic() + 300
    while len(list((folder / "records").glob("*.json"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second.communicate(timeout=200)
    assert second.returncode != 0
    finished = [folder / f"{path.stem}.png" for path in (folder / "records").glob("*.json")]
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert len(before) >= 4
    both = start_two(folder, 1500)
    said = [each.communicate(timeout=300)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert all("are there already" in each for each in said)
    assert len(pictures(folder)) == 6
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


@pytest.mark.parametrize(
    ("where", "given"),
    [
        ("auto", {}),
        (
            "node1:1234,2/3",
            {"coordinator_address": "node1:1234", "num_processes": 3, "process_id": 1},
        ),
    ],
)
def test_how_the_others_are_found_and_what_is_said_if_not(monkeypatch, where, given) -> None:
    seen = []

    def initialize(**arguments) -> None:
        seen.append(arguments)
        raise RuntimeError("no\npeer")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(InputError, match=r"the other processes cannot be found .*: no peer$"):
        join(where)
    assert seen == [given | {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS}]
    join(None)
    assert len(seen) == 1


def test_one_process_agrees_with_itself_and_limits_its_devices() -> None:
    assert any_process([True, False]) == [True, False]
    assert any_process([]) == []
    assert len(devices_for("cpu", 1)) == 1
    assert devices_for("cpu", 99) == devices_for("cpu", None)
