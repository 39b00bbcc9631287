"""One picture on several devices, from the command line: alone, and in two processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import EXAMPLES, PICTURES, SHALLOW_FLAGS, relative_rms, two_places

from jaxstyle.cli.flags import parse
from jaxstyle.cli.main import main
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.machine import memory
from jaxstyle.machine.devices import all_equal, all_or_none, from_first, is_first, kind_of, memories
from jaxstyle.machine.memory import Memory
from jaxstyle.runs.request import DeviceRequest
from jaxstyle.settings.presets import preset

LOCAL = [*PICTURES, "--size", "50", "--quiet", *SHALLOW_FLAGS]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--collect . --devices 2", "--collect only gathers what is there: leave --devices out"),
        ("--collect . --distributed", "leave --distributed out"),
        ("--plan --devices 2", "--plan is for one device: leave --devices out; of N"),
        ("--devices 0", "argument --devices: must be a whole number"),
    ],
)
def test_flags_that_contradict_each_other(flags: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse([*PICTURES, *flags.split()])


@pytest.mark.parametrize("flags", ["--memory strips", "--conv winograd"])
def test_what_only_one_device_does_is_refused(flags, slim_file, tmp_path, capfd) -> None:
    output = tmp_path / "out.png"
    given = ["--weights", str(slim_file), "--devices", "4", *flags.split(), "-o", str(output)]
    assert main([*LOCAL, *given]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "is for one device: several that share a picture take" in line
    assert list(tmp_path.iterdir()) == []


def test_more_devices_than_there_are_is_all_there_are(slim_file, tmp_path, capfd) -> None:
    output = tmp_path / "out.png"
    given = ["--weights", str(slim_file), "--devices", "3", "--steps", "2", "-o", str(output)]
    assert main([*LOCAL, *given]) == 0
    out, err = capfd.readouterr()
    assert out == f"{output}\n"
    assert err == "jaxstyle: warning: 3 devices were asked for; of cpu there is 1\n"
    assert json.loads(picture_file.read_text(output)["jaxstyle"])["device"] == "cpu"


def test_how_many_processes_the_flags_tell_of() -> None:
    assert DeviceRequest().processes == 1
    assert not DeviceRequest(most=1).several
    assert DeviceRequest(most=2).several
    assert DeviceRequest(distributed="auto").processes is None
    assert DeviceRequest(distributed="[::1]:80,2/3").processes == 3


def test_of_several_memories_each_needs_its_part() -> None:
    """All that grows with the pictures is divided, what a process needs anyway is not."""
    recipe, _ = preset(memory="plain")
    sides = (3000, 3000), (2000, 2000)
    alone, shared = (
        memory.bytes_needed(
            *sides, recipe=recipe, mode="plain", memory=Memory(0, "a test", parts=parts)
        )
        for parts in (1, 4)
    )
    fixed = memory.STARTED + memory.KERNELS
    assert shared - fixed == (alone - fixed) // 4
    memory.check_fits(*sides, recipe=recipe, memory=Memory(shared, "a test", parts=4))
    with pytest.raises(InputError, match=r"GB \(plain\) of memory in each of 4 parts, but"):
        memory.check_fits(*sides, recipe=recipe, memory=Memory(shared - 1, "a test", parts=4))


def test_a_process_has_one_memory_for_its_cpu_devices() -> None:
    (cpu,) = jax.devices("cpu")
    assert memories([cpu] * 4) == 1
    assert kind_of([cpu] * 4) == "4 x cpu"
    assert kind_of([cpu]) == "cpu"


def test_one_process_is_of_its_own_opinion() -> None:
    def refuse() -> None:
        raise InputError("no")

    assert is_first()
    assert from_first(0.1) == 0.1
    assert all_equal("anything")
    assert all_or_none(lambda: 3) == 3
    with pytest.raises(InputError, match=r"^no$"):
        all_or_none(refuse)


@pytest.fixture
def start(slim_file, tmp_path):
    """Starts the command with a slim network in a process of so many devices."""
    started = []

    def run(devices: int, *flags: str) -> subprocess.Popen[str]:
        given = [*PICTURES, "--weights", str(slim_file), "--size", "67", *SHALLOW_FLAGS, *flags]
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxstyle.run", *given],
            env={
                **os.environ,
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": str(EXAMPLES.parent),
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def start_two(start):
    """Starts two processes of two devices each, which paint one picture; flags may differ."""

    def run(*flags: str, second: tuple[str, ...] = ()) -> list[subprocess.Popen[str]]:
        return [
            start(2, "--distributed", where, *flags, *own)
            for where, own in zip(two_places(), ((), second), strict=True)
        ]

    return run


def ended(both: list[subprocess.Popen[str]]) -> tuple[list[int], list[list[str]], list[str]]:
    """Returns the exit codes, the lines of standard outputs, and standard errors."""
    said = [each.communicate(timeout=400) for each in both]
    lines = [out.splitlines() for out, _ in said]
    return [each.returncode for each in both], lines, [err for _, err in said]


def wait_for(path: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_paint_what_one_device_does(start, start_two, tmp_path) -> None:
    flags = ["--steps", "5", "--learning-rate", "0.01", "--log", "log.csv", "--save-every", "2"]
    alone = start(1, *flags, "--conv", "direct", "-o", "alone.png")
    assert ended([alone])[0] == [0]
    log = (tmp_path / "log.csv").read_text()
    codes, out, err = ended(start_two(*flags, "--force", "-o", "both.png"))
    assert codes == [0, 0], err
    assert out == [["both.png"], []]
    assert "on 4 x cpu" in err[0]
    assert err[1] == ""
    expected, picture = (
        picture_file.load_picture(tmp_path / f"{n}.png") for n in ("alone", "both")
    )
    assert np.abs(picture.astype(int) - expected).max() <= 1
    names = {path.name for path in tmp_path.glob("both*")}
    assert names == {"both.png", "both-0002.png", "both-0004.png"}
    rows, shared = (
        np.array([row.split(",")[2:7] for row in text.splitlines()[1:]], float)
        for text in (log, (tmp_path / "log.csv").read_text())
    )
    assert relative_rms(shared, rows) < 1e-5


@pytest.mark.slow
def test_four_devices_go_on_bit_for_bit_after_sigkill(start, tmp_path) -> None:
    flags = ["--devices", "4", "--steps", "300", "--checkpoint-every", "1e-9"]
    whole = start(4, *flags, "-o", "whole.png")
    assert ended([whole])[0] == [0]
    killed = start(4, *flags, "-o", "killed.png")
    wait_for(tmp_path / "killed.png.checkpoint.previous")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    codes, _, err = ended([start(4, *flags, "-o", "killed.png", "--resume")])
    assert codes == [0], err
    assert "going on after step" in err[0]
    assert "warning" not in err[0]
    assert (tmp_path / "killed.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not list(tmp_path.glob("*.checkpoint*"))


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_both_go_on(start_two, tmp_path) -> None:
    """To the second, which neither writes nor shows anything."""
    flags = ["--steps", "150", "--checkpoint-every", "1e-9"]
    assert ended(start_two(*flags, "-o", "whole.png"))[0] == [0, 0]
    both = start_two(*flags, "-o", "out.png")
    wait_for(tmp_path / "out.png.checkpoint.previous")
    both[1].send_signal(signal.SIGTERM)
    codes, out, err = ended(both)
    assert codes == [130, 143], err
    assert out == [["out.png"], []]
    assert "--resume goes on from" in err[0]
    codes, _, err = ended(start_two(*flags, "-o", "out.png", "--resume"))
    assert codes == [0, 0], err
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "messages"),
    [
        (["--tv-weight", "2"], ["the processes differ in pictures, settings"] * 2),
        (["--init", "no.png"], ["another of the processes cannot begin", "no.png does not exist"]),
    ],
)
def test_processes_that_cannot_begin_together_say_so(start_two, tmp_path, second, messages) -> None:
    began = time.monotonic()
    codes, _, err = ended(start_two("--steps", "5", "-o", "out.png", second=tuple(second)))
    assert codes == [2, 2], err
    for text, message in zip(err, messages, strict=True):
        (line,) = text.splitlines()
        assert message in line
    assert time.monotonic() - began < 250  # jax would wait for 300 seconds
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other_and_both_go_on(start_two, tmp_path, lost) -> None:
    flags = ["--steps", "400", "--checkpoint-every", "1e-9", "-o", "out.png"]
    both = start_two(*flags)
    wait_for(tmp_path / "out.png.checkpoint.previous")
    both[lost].send_signal(signal.SIGKILL)
    codes, _, err = ended(both)
    assert codes[1 - lost] != 0, err
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / ".out.png.checkpoint.part").unlink()
    codes, _, err = ended(start_two(*flags, "--resume"))
    assert codes == [0, 0], err
    assert "going on after step" in err[0]
