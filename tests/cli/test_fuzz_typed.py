"""Random command lines as people type them: each can begin, or is refused in one line.

HOW says how many; JAXSTYLE_FUZZ in the environment sets another number.
"""

import contextlib
import io
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from conftest import fuzzing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxstyle.cli.flags import build_parser
from jaxstyle.cli.main import main
from jaxstyle.errors import InputError
from jaxstyle.runs import inputs
from jaxstyle.sweeps import inputs as sweep_inputs

HOW = fuzzing(30)

BEGINS = "it can begin"
"""What is said in place of reading the inputs."""

NOT_HERE = {"--view", "--distributed"}
"""Flags that take a port or other processes."""

FLAGS = [flag for action in build_parser()._actions for flag in action.option_strings]
FLAGS = [flag for flag in FLAGS if flag not in NOT_HERE]
NAMES = ("a.png", "b c.jpg", "café.png", unicodedata.normalize("NFD", "né.png"), "d", "s.h5")
PATHS = st.sampled_from(
    (
        *NAMES,
        *("~/a.png", "~", "~nobody/a.png", "~/", "$HOME/a.png", "${HOME}", "$NOTHING/a.png"),
        *("file:///a.png", "file://a.png", "file:a.png", "https://x/a.png", "http:", "s3://b/a"),
        *("*.png", "**", "[", "d/*", "a?.png", "{a,b}.png", "\\", "C:\\a.png", "\\\\srv\\a.png"),
        *(
            "c:/a.png",
            "d\\a.png",
            ".",
            "..",
            "./",
            "/",
            "//",
            "",
            " ",
            "-",
            "--",
            "-a.png",
            "\u2014a",
        ),
        *("'a.png'", '"a.png"', "'", "a.png ", " a.png", "a.png,", "a.PNG", "a.pngg", "a\tb.png"),
        *("\ud800.png", "a\0.png", "a\n.png", "x" * 300, "x/" * 2100, "d/new/x.png", "out.tif"),
        *("out.PNG", ".png", "out", "out.jpeg", "out.csv", "café/x.png", "\u202ea.png", "out/"),
    )
)
NUMBERS = st.sampled_from(
    (
        *("1", "0", "-1", "0,5", "1,5,2", "1.000,5", "1_000", "1e3", "1e400", "50%", "½", "1/2"),
        *(
            "\u0663",
            "\uff11\uff12",
            "²",
            "0x10",
            "1 000",
            "1\u00a0000",
            "512px",
            "2k",
            "1080p",
            "512\u00d7512",
        ),
        *("512x", "x512", "512X300", "512*300", "512 x 300", "512,300", "nan", "inf", "-inf"),
        *(
            ".5",
            "5.",
            "+5",
            "--5",
            "\u22125",
            "1" * 5000,
            "9" * 400,
            "0.1,1",
            "1,0.1",
            "auto:2",
            ":",
        ),
        *("auto:0:0", "auto:1.0001:16", "log:1:10:3", "lin:1", "full", "FULL", "Auto", "none"),
    )
)
WORDS = st.sampled_from(
    (
        *("yes", "true", "True", "no", "on", "off", "Adam", "L-BFGS", "lbfgs", "cuda", "GPU"),
        *("relu1_1", "relu1_1,", "relu1_1:x", "conv9_9", "relu1_1;relu2_1", "relu4_last:0.5"),
        *("gram", "Gram", "default", "defualt", "book", "content", "noise", "png", ".png", "PNG"),
        *("seed", "size", "content-weight", "content_weight", "--size", "-o", "=", "a=b", "{}"),
    )
)
TYPED = PATHS | NUMBERS | WORDS | st.text(max_size=6)
MISTYPED = st.sampled_from(
    (
        *(
            "-content",
            "\u2014content",
            "--Content",
            "--content_weight",
            "--stylee",
            "content",
            "-c",
        ),
        *("--size=", "--size:300", "-size", "--o", "--", "-", "-h=", "--=", "/size", "--steps 5"),
    )
)
PARTS = st.tuples(st.sampled_from(FLAGS) | MISTYPED, st.lists(TYPED, max_size=3), st.booleans())


def words_of(parts: list[tuple[str, list[str], bool]]) -> list[str]:
    """Returns flags and texts as words; the first text is joined by = where that is said."""
    found = []
    for flag, texts, is_joined in parts:
        if is_joined and texts:
            flag, *texts = f"{flag}={texts[0]}", *texts[1:]
        found += [flag, *texts]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, which is also somebody's home, with a few pictures."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "d").mkdir()
    for name in ("d/a.png", *NAMES[:4]):
        Image.new("RGB", (16, 16)).save(folder / name)
    (folder / "s.h5").touch()
    return folder


@settings(**HOW)
@given(st.lists(PARTS, max_size=5), st.booleans())
@example([], True)
@example([("--content", ["--"], True)], True)
@example([("--size", ["--"], True)], True)
@example([("-o--", [], False)], True)
@example([("--film", ["\ud800.png"], False)], True)
@example([("--film", ["a\0.png"], False)], True)
@example([("--level-steps", ["9" * 400], False)], True)
@example([("--collect", ["9" * 400], False)], True)
def test_what_is_typed_can_begin_or_is_refused_in_a_line(
    folder: Path, parts: list[tuple[str, list[str], bool]], is_whole: bool
) -> None:
    base = ["--content", "a.png", "--style", "café.png"] if is_whole else []
    code, out, err = started([*base, *words_of(parts)], folder)
    lines = err.splitlines()
    assert "Traceback" not in err
    if code == 0:  # --help and its like
        assert out
        return
    assert code == 2, err
    assert len([each for each in lines if each.startswith("jaxstyle: error: ")]) == 1, err
    assert len(lines) == 1, err


def started(words: list[str], folder: Path) -> tuple[int, str, str]:
    """Runs a command line up to where inputs are read; nothing in its folder may change."""

    def begin(*_: Any, **__: Any) -> None:
        raise InputError(BEGINS)

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before = sorted(folder.rglob("*"))
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("HOME", str(folder))
        patch.setattr(inputs, "read_inputs", begin)
        patch.setattr(sweep_inputs, "read_sweep", begin)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as leaving:  # after --help
                code = int(leaving.code or 0)
    out.flush()
    assert sorted(folder.rglob("*")) == before
    return code, out.buffer.getvalue().decode("utf-8"), err.getvalue()  # type: ignore[attr-defined]
