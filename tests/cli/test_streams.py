"""Pictures on standard input and output."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.runs import record


class Terminal(io.StringIO):
    """As a terminal is."""

    def isatty(self) -> bool:
        return True


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Has a program find these bytes on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


class Taker(io.BytesIO):
    """A pipe, whose reader may have left."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self._broken = broken

    def write(self, data) -> int:
        if self._broken:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(data)


def painted_to(monkeypatch: pytest.MonkeyPatch, paint, *flags: str, broken: bool = False):
    """Returns exit code, standard output's bytes and standard error of a run."""
    taker = Taker(broken=broken)
    text = io.TextIOWrapper(taker, write_through=True)  # which closes what it wraps in its end
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", text)
        code, _, err = paint("-o", "-", *flags)
    return code, taker.getvalue(), err


def test_a_picture_in_and_a_picture_out(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, Path("photo.png").read_bytes())
    code, data, err = painted_to(monkeypatch, paint, "--content", "-", "--format", "webp")
    assert (code, sys.stdin.buffer.read()) == (0, b"")
    assert Image.open(io.BytesIO(data)).format == "WEBP"
    assert "Traceback" not in err
    assert sorted(each.name for each in Path().iterdir()) == ["painting.png", "photo.png"]
    given(monkeypatch, Path("painting.png").read_bytes())
    assert paint("--style", "-")[:2] == (0, "photo-stdin.png\n")
    assert record.read(Path("photo-stdin.png"))["style"]["name"] == "stdin"


def test_a_picture_that_nobody_takes_is_saved(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = painted_to(monkeypatch, paint, broken=True)
    assert code == 1
    assert "standard output cannot be written: Broken pipe" in err
    assert "saved instead as photo-painting.png" in err
    assert record.read(Path("photo-painting.png"))["steps_done"] == 4


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--content", "-"], "standard input, which is empty"),
        (["--content", "-", "--style", "-"], "give it once"),
        (["-o", "-", "--json"], "--json and -o - contradict each other"),
        (["-o", "-", "--judge"], "--judge and -o - contradict each other"),
        (["-o", "-", "--sweep", "steps", "1"], "a sweep needs a folder"),
    ],
)
def test_what_is_refused(flags: list[str], told: str, monkeypatch, capfd) -> None:
    given(monkeypatch, b"")
    assert main(["--content", "c.png", "--style", "s.png", *flags]) == 2
    said = capfd.readouterr()
    assert told in said.err
    assert said.out == ""


def test_terminals_neither_give_nor_take_a_picture(monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["--content", "-", "--style", "s.png"]) == 2
    assert "pipe a picture into it" in capfd.readouterr().err
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["--content", "c.png", "--style", "s.png", "-o", "-"]) == 2
    assert "pipe it into a program" in capfd.readouterr().err


def test_a_refusal_of_standard_input_calls_it_so(paint, monkeypatch) -> None:
    given(monkeypatch, b"\0\0\0\x18ftypheic" + bytes(40))
    code, _, err = paint("--content", "-")
    assert code == 2
    assert err.startswith("jaxstyle: error: standard input is a HEIC picture")


STOPPED = """
import os, signal, sys, threading, time
from jaxstyle.machine import process
from jaxstyle.runs import inputs
process.SAME_STOP = 0.01
def read_inputs(arguments, *_, **__):
    print(arguments.content, flush=True)
    with arguments.content.open("rb"):
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
        threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGINT]).start()
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass
inputs.read_inputs = read_inputs
from jaxstyle.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""Is stopped twice while it works on a copy of standard input."""


def test_a_second_stop_leaves_no_copy_of_standard_input(paint, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOPPED, "--content", "-", "--style", "painting.png"]
    found = subprocess.run(
        command, input=Path("photo.png").read_bytes(), capture_output=True, check=False, timeout=60
    )
    assert found.returncode == 130, found.stderr
    copy = Path(found.stdout.decode().strip())
    assert copy.name == "stdin"
    assert not copy.parent.exists()
