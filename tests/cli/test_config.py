"""--config and --print-config: a file and the flags that it stands for are the same request."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from jaxstyle.cli.flags import parse
from jaxstyle.cli.main import main
from jaxstyle.runs.request import Request

PICTURES = ("--content", "c.png", "--style", "a.png", "b.png")


def parsed(*flags: str) -> Request:
    found = parse(flags)
    assert found is not None
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.toml"


def test_a_file_is_the_flags_that_it_names(file: Path) -> None:
    file.write_text(
        """
        content = "c.png"
        style = ["a.png", "b.png"]
        size = "300x450"
        scales = [0.25, 1]
        steps-power = -0.5
        content_weight = 1e-2
        style-layers = ["relu1_1", "relu2_1:0.5"]
        clip = false
        force = true
        quiet = false
        checkpoint-every = inf
        [sweep]
        tv-weight = [0.1, 0.2]
        style = "a.png"
        """
    )
    flags = [*PICTURES, "--size", "300x450", "--scales", "0.25,1", "--steps-power", "-0.5"]
    flags += ["--content-weight", "0.01", "--style-layers", "relu1_1,relu2_1:0.5", "--clip", "no"]
    flags += ["--force", "--checkpoint-every", "inf"]
    flags += ["--sweep", "tv-weight", "0.1", "0.2", "--sweep", "style", "a.png"]
    assert parsed("--config", str(file)) == parsed(*flags)


def test_flags_win_over_the_file(file: Path) -> None:
    file.write_text('content = "c.png"\nstyle = ["d.png"]\nsteps = 7\n[sweep]\nseed = [1, 2]\n')
    found = parsed(
        "--config", str(file), "--steps", "9", "--style", "a.png", "--sweep", "size", "8"
    )
    assert found.settings == {"steps": 9}
    assert (found.content, found.styles) == (Path("c.png"), (Path("a.png"),))
    assert found.sweep is not None
    assert found.sweep.axes == (("size", "8"),)


@pytest.mark.parametrize(
    "flags",
    [
        (*PICTURES,),
        (*PICTURES, "--learning-rate", "0.1234567891", "--steps", "007", "--seed", "3", "--json"),
        (*PICTURES, "--style-layers", "relu1_1:0.5,relu2_1", "--clip", "--scales", "0.5,1"),
        (*PICTURES, "-o", 'a "b"\\\x7f\u00e9.png', "--distributed", "--checkpoint-every", "inf"),
        (*PICTURES, "--preset", "book", "--sweep", "content-weight", "log:0.1:1:3", "1e-3"),
        ("--content", "c.png", "--style=--odd.png", "--steps-power=-1", "--from", "r.png"),
    ],
)
def test_what_is_printed_asks_for_the_same(
    flags: tuple[str, ...], file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, "--print-config"]) == 0
    text = capfd.readouterr().out
    file.write_text(text)
    assert parsed("--config", str(file)) == parsed(*flags)
    # and with its comments, every setting is there
    whole = tomllib.loads(text.replace("# ", ""))
    assert {"size", "tv-weight"} <= set(whole) or "--from" in flags
    assert main(["--config", str(file), "--print-config"]) == 0
    assert capfd.readouterr().out.replace("./--odd", "--odd") == text


def test_a_template_needs_no_pictures(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--preset", "book", "--size", "64", "--print-config"]) == 0
    text = capfd.readouterr().out
    assert tomllib.loads(text) == {"preset": "book", "size": 64}
    assert tomllib.loads(text.replace("# ", ""))["learning-rate"] == 0.3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("szie = 3", "there is no flag --szie; did you mean size?"),
        ('size = "x"', "argument --size: must be a number of pixels"),
        ("size =", "is not TOML"),
        ("size = 1\nsize = 2", "is not TOML"),
        ("size = {a = 1}", "size must be a text, a number"),
        ("size = 2026-01-01", "size must be a text, a number"),
        ('force = "yes"', "force must be true or false"),
        ("style = []", "argument --style: expected at least one argument"),
        ("sweep = 3", "sweep must be a table"),
        ("[sweep]\nsize = {}", "sweep.size must be a text, a number"),
        ('config = "x"', "there is no flag --config"),
        ("version = true", "there is no flag --version"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(
    text: str, message: str, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert main([*PICTURES, "--config", str(file)]) == 2
    said = capfd.readouterr().err
    assert f"{file}" in said
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("data", [None, b"\xff\xfe", b"[" * 100_000])
def test_no_such_file_and_files_that_are_no_text(
    data: bytes | None, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if data is not None:
        file.write_bytes(data)
    assert main([*PICTURES, "--config", str(file)]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_bad_command_line_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*PICTURES, "--size", "0", "--print-config"]) == 2
    assert main([*PICTURES, "-o", "\udce9.png", "--print-config"]) == 2
    assert main([*PICTURES, *("--sweep", "size", "8") * 2, "--print-config"]) == 2
    assert capfd.readouterr().out == ""


def test_every_field_of_a_request_is_as_without_a_file(file: Path) -> None:
    file.write_text("")
    with_file, without = parsed(*PICTURES, "--config", str(file)), parsed(*PICTURES)
    assert dataclasses.asdict(with_file) == dataclasses.asdict(without)
