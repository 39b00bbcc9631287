"""Paths as people type them, and what is said of those that cannot be meant."""

import unicodedata
from pathlib import Path

import pytest

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.runs.paths import (
    STANDARD,
    read_path,
    read_paths,
    read_word_or_path,
    why_missing,
)
from jaxstyle.runs.request import check_inputs
from jaxstyle.sweeps.grid import expand

DECOMPOSED = unicodedata.normalize("NFD", "café")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, which is also somebody's home, with a few files."""
    for name in ("p.png", "-p.png", "a[1].png", "*.txt", "d/b.jpg", "d/a.jpg", "d/.c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / DECOMPOSED).mkdir()
    (tmp_path / DECOMPOSED / "né.png").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_what_a_path_means(folder: Path) -> None:
    for text, path in {
        "~/p.png": folder / "p.png",
        "~new.png": Path("~new.png"),
        "'p.png'": Path("p.png"),
        '"~/p.png"': folder / "p.png",
        f"file://{folder}/a%5B1%5D.png": folder / "a[1].png",
        f"file://localhost{folder}/p.png": folder / "p.png",
        r"d\a.jpg": Path("d/a.jpg"),
        r"d\new.jpg": Path("d/new.jpg"),
        r"x\new.jpg": Path(r"x\new.jpg"),
        "-": STANDARD,
        "./-": folder / "-",
        "two\nlines": Path("two\nlines"),
        "nul\0": Path("nul\0"),
        f"café/{unicodedata.normalize('NFD', 'né.png')}": Path(DECOMPOSED, "né.png"),
        "café/new.png": Path(DECOMPOSED, "new.png"),
    }.items():
        assert read_path(text) == path, text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://example.org/p.png", "is an address: download it first, or give -"),
        ("HTTP://example.org/p.png", "is an address"),
        ("file://server/p.png", "is a file of another machine"),
        ("~nobody-of-this-name/p.png", "there is no user nobody-of-this-name"),
        (r"C:\pictures\p.png", "is a path of Windows"),
        ("C:/pictures/p.png", "is a path of Windows"),
        ("file:///C:/pictures/p.png", "is a path of Windows"),
        (r"\\server\p.png", "is a path of Windows"),
    ],
)
def test_what_cannot_be_meant_is_told(folder: Path, text: str, told: str) -> None:
    for flag in ("--content", "--style", "-o", "--init"):
        with pytest.raises(InputError) as caught:
            parse(["--content", "p.png", "--style", "p.png", flag, text])
        assert told in str(caught.value)


def test_patterns_that_the_shell_left(folder: Path) -> None:
    assert read_paths("d/*.jpg") == (Path("d/a.jpg"), Path("d/b.jpg"))
    assert read_paths(f"{folder}/d/?.jpg") == (folder / "d/a.jpg", folder / "d/b.jpg")
    assert read_paths("*.txt") == (Path("*.txt"),)  # a file is of this very name
    assert read_paths("a[1].png") == (Path("a[1].png"),)
    assert read_paths("*.gif") == (Path("*.gif"),)
    assert why_missing(Path("d/*.jpg")).startswith("; 2 files match: name one")
    assert why_missing(Path("*.gif")) == ", nor does anything match it"
    assert why_missing(Path("p.gif")) == "; did you mean p.png?"
    assert why_missing(Path("nothing-like-it.gif")) == ""
    found = parse(["--content", "p.png", "--style", "p.png", "d/*.jpg"])
    assert found is not None
    assert found.styles == (Path("p.png"), Path("d/a.jpg"), Path("d/b.jpg"))
    found = parse(["--style", "p.png", "--sweep", "content", "d/*.jpg", "-p.png", "-o", "out"])
    assert found is not None
    assert found.sweep is not None
    names = [run.name for run in expand(found, found.sweep)]
    assert names == ["content=a", "content=b", "content=-p"]


def test_names_that_begin_with_a_dash(folder: Path) -> None:
    found = parse(["--content", "-p.png", "--style", "p.png", "-p.png", "-o", "-out.png"])
    assert found is not None
    assert found.styles == (Path("p.png"), Path("-p.png"))
    assert (found.content, found.output) == (Path("-p.png"), Path("-out.png"))
    found = parse(["--content", "-gone.png", "--style", "p.png", "--steps", "3"])
    assert found is not None
    with pytest.raises(InputError, match=r"-gone\.png does not exist"):
        check_inputs(found)


def test_words_stay_words(folder: Path) -> None:
    (folder / "noise").touch()
    assert [read_word_or_path(text) for text in ("noise", "./noise")] == ["noise", "./noise"]
    assert read_word_or_path("~/noise") == str(folder / "noise")


def test_pictures_without_a_flag_are_told_where_they_belong(folder: Path) -> None:
    with pytest.raises(InputError, match="pictures come after --content and --style"):
        parse(["p.png", "--style", "p.png"])


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("Photo.PNG", "; did you mean photo.png?"),
        ("photo.png ", "; did you mean photo.png?"),
        ("photo", "; did you mean photo.png?"),
        ("photo.jpg", "; did you mean photo.png?"),
        ("phtoo.png", "did you mean photo.png?"),
        ("link.png", "; it is a link to nowhere.png, which is not there"),
        ("\N{EM DASH}size", "; it begins with another dash than -"),
        ("other.xyz", ""),
    ],
)
def test_what_may_have_been_meant_is_told(typed: str, told: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.png").touch()
    Path("link.png").symlink_to("nowhere.png")
    found = why_missing(read_path(typed))
    assert told in found
    assert bool(told) == bool(found)


def test_what_a_shell_left_is_what_it_means(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICTURES", str(tmp_path))
    Path("a b.png").touch()
    assert read_path("a\\ b.png") == Path("a b.png")
    assert read_path("$PICTURES/a b.png") == tmp_path / "a b.png"
    with pytest.raises(InputError, match="has no name"):
        read_path("")
