"""Ctrl-C, SIGTERM and SIGHUP, sent to a real process in the middle of a real run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS

from jaxstyle.images import picture_file
from jaxstyle.machine.process import SAME_STOP, Interruption, unbreakable
from jaxstyle.runs import record


@pytest.fixture
def start(tmp_path: Path, slim_file: Path):
    """Starts a run that would take minutes; returns the process once steps are being logged."""
    processes = []

    def begin(*flags: str) -> subprocess.Popen:
        log = tmp_path / "log.csv"
        command = [sys.executable, "-m", "jaxstyle.run", "--weights", str(slim_file)]
        command += ["--content", str(EXAMPLES / "coffee.png")]
        command += ["--style", str(EXAMPLES / "strokes.png"), "--size", "96", "--scales", "1"]
        command += ["--steps", "1000000", "--log", str(log), "-o", str(tmp_path / "out.png")]
        command += SHALLOW_FLAGS
        process = subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        processes.append(process)
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") > 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_once_saves_the_picture_so_far(start, tmp_path: Path, number: int, code: int) -> None:
    process = start()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out.strip() == str(tmp_path / "out.png")
    assert "stopped after step" in err
    assert f"--resume goes on from {tmp_path / 'out.png.checkpoint'}" in err  # it is a long run
    assert "Traceback" not in err
    assert picture_file.load_picture(tmp_path / "out.png").shape == (64, 96, 3)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert record.read(tmp_path / "out.png")["steps_done"] == len(rows) - 1


def test_twice_ends_at_once_and_leaves_no_part_of_a_file(start, tmp_path: Path) -> None:
    process = start()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (143, 130)  # ended, or just quick enough to save
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"log.csv", "out.png", "out.png.checkpoint", "out.png.checkpoint.previous"}
    if "out.png" in left:
        picture_file.load_picture(tmp_path / "out.png")


def test_before_the_first_step_there_is_nothing_to_save(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from jaxstyle.cli import main\n"
        "main.check_files = lambda arguments: os.kill(os.getpid(), signal.SIGTERM)\n"
        "raise SystemExit(main.main(['--content', 'a.png', '--style', 'b.png']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 143
    assert "stopped before the first step" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nobody_waits_for_a_thread_that_works_ahead() -> None:
    code = (
        "import time\n"
        "from jaxstyle.cli import main\n"
        "from jaxstyle.painting import engine\n"
        "engine.in_background(lambda: time.sleep(300))\n"
        "print('done')\n"
        "main.main = lambda: 7\n"
        "main.command()"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (7, "done\n", "")


def test_one_signal_while_a_file_is_written_is_noted() -> None:
    with Interruption(os._exit) as interruption, interruption.noted_only():
        with unbreakable():
            signal.raise_signal(signal.SIGTERM)
        assert interruption.received == signal.SIGTERM
    assert interruption.exit_code == 143


def test_two_signals_end_a_computation_but_not_a_file() -> None:
    """The main thread is busy, as in a long step; the second signal waits for the writing."""
    left: list[int] = []
    with Interruption(left.append) as interruption, interruption.noted_only():
        with unbreakable():
            signal.raise_signal(signal.SIGINT)
            time.sleep(4 * SAME_STOP)
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert left == []
        deadline = time.monotonic() + 5
        while not left and time.monotonic() < deadline:
            time.sleep(0.01)
    assert left == [143]


def test_a_stop_that_comes_as_several_signals_is_one() -> None:
    """As from `timeout`, and from a terminal and a wrapper which hands on what it gets."""
    left: list[int] = []
    with Interruption(left.append) as interruption, interruption.noted_only():
        signal.raise_signal(signal.SIGTERM)
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        time.sleep(4 * SAME_STOP)
        assert (interruption.received, left) == (signal.SIGTERM, [])


def test_a_warning_of_a_batch_system_stops_as_often_as_it_comes() -> None:
    """SIGXCPU comes every second; SIGUSR1 is a stop like any other, unless a program has it."""
    left: list[int] = []
    with Interruption(left.append) as interruption, interruption.noted_only():
        signal.raise_signal(signal.SIGXCPU)
        time.sleep(2 * SAME_STOP)
        signal.raise_signal(signal.SIGXCPU)
        time.sleep(SAME_STOP)
        assert (interruption.exit_code, left) == (128 + signal.SIGXCPU, [])
    with Interruption(left.append) as interruption, interruption.noted_only():
        signal.raise_signal(signal.SIGUSR1)
        assert interruption.received == signal.SIGUSR1
    taken: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: taken.append(number))
    with Interruption(left.append) as interruption, interruption.noted_only():
        signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert (interruption.received, taken) == (0, [signal.SIGUSR1])


@pytest.mark.parametrize("flag", ["--help", "--list-presets", "--version"])
def test_nobody_reading_what_is_printed_is_no_error(flag: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "jaxstyle.run", flag]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert result.stderr == ""
    assert result.returncode in (0, 1)


def test_a_stop_before_the_first_step_interrupts_once() -> None:
    """The second signal of one stop does not interrupt what is done about the first."""
    with Interruption(os._exit):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(number: int) -> None:
    """As under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption(os._exit) as interruption:
            signal.raise_signal(number)
        assert interruption.received == 0
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
