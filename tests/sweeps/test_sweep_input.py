"""Sweeps that cannot be: exit 2, one line on stderr, nothing written, jax not asked."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.cli.flags import parse
from jaxstyle.cli.main import main
from jaxstyle.sweeps.inputs import read_sweep


@pytest.fixture
def folder(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    for name, side in (("c.png", 50), ("s.png", 40), ("tiny.png", 9)):
        Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "none.h5").write_bytes(b"no weights")
    (tmp_path / "slim.h5").write_bytes(slim_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refuse(folder, capsys, monkeypatch):
    """Returns what runs a sweep that must be refused, and gives the line said."""
    for module in ("sweeps.job", "painting.painter", "optimization.problem"):  # they import jax
        monkeypatch.setitem(sys.modules, f"jaxstyle.{module}", None)

    def run(*flags: str, base: str = "--content c.png --style s.png --weights slim.h5") -> str:
        before = sorted(folder.rglob("*"))
        code = main([*base.split(), *flags])
        said = capsys.readouterr()
        assert code == 2, said.err
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        assert said.err.startswith("jaxstyle: error: ")
        assert sorted(folder.rglob("*")) == before
        return said.err

    return run


SEEDS = ("--sweep", "seed", "1", "2")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--sweep style-wieght 1 -o out", "did you mean style-weight?"),
        ("--sweep seed -o out", "has no values"),
        ("--sweep seed 1 -1 -o out", "--sweep seed, value 2 of 2"),
        ("--sweep seed lin:1:20000:20000 -o out", "add --yes"),
        ("--sweep seed 1 2", "a sweep needs a folder for its pictures: give -o DIR"),
        ("--sweep seed 1 2 -o c.png", "the output c.png is a file: a sweep needs a folder"),
        ("--sweep seed 1 2 -o c.png/out", "the output c.png/out cannot be made"),
        ("--sweep size 40 --size 30 -o out", "contradict each other"),
        ("--sweep size 10 40 -o out", "combination 1 of 2 (size 10): the content picture"),
        ("--sweep size 40 --sweep content-layers relu4_4 conv5_4 -o out", "(size 40, content-"),
        ("--sweep seed 1 --weights no.h5 -o out", "no.h5 does not exist"),
        ("--sweep seed 1 --init no.png -o out", "no.png does not exist"),
        ("--sweep seed 1 --from no.png -o out", "no.png does not exist"),
        ("--sweep seed 1 --from c.png -o out", "c.png carries no settings"),
        ("--sweep-file no.csv -o out", "no.csv does not exist"),
        (  # before the weights, which are none
            "--sweep style-loss gram strotss --keep c.png --weights none.h5 -o out",
            "combination 2 of 2 (style-loss strotss): style_loss 'strotss' compares points",
        ),
        ("--sweep seed 1 -o out --resume", "--resume is for single runs"),
        ("--sweep seed 1 2 -o out --format tiff", "again, with --from DIR/NAME.png and --format"),
        ("--sweep seed 1 2 -o out --profile p.icc", "p.icc does not exist"),
        (
            "--sweep seed 1 -o out --checkpoint x",
            "--checkpoint is for single runs; a sweep goes on",
        ),
        ("--collect no", "no is not the folder of a sweep: it has no folder records"),
        ("--collect c.png", "c.png is not the folder of a sweep"),
    ],
)
def test_one_line_and_nothing_written(refuse, flags: str, message: str) -> None:
    assert message in refuse(*flags.split())


@pytest.mark.parametrize(
    ("flags", "warnings"),
    [
        ("--sweep seed 1 2", ["the seed changes nothing without --init noise"]),
        ("--sweep seed 1 2 --init noise", []),
        ("--sweep decay-rate 0.5 0.6", []),  # which chooses the step schedule
        ("--sweep decay-rate 1 --schedule cosine", ["decay-rate changes nothing with --schedule"]),
        ("--sweep decay-every 1 2 --schedule hold-cosine", ["decay-every changes nothing with"]),
        ("--sweep decay-rate 1 --sweep schedule step cosine", []),
        ("--sweep decay-rate 1 --sweep schedule hold-cosine cosine", ["cosine or hold-cosine"]),
    ],
)
def test_what_is_swept_without_a_consequence_is_said(folder, flags: str, warnings) -> None:
    base = "--content c.png --style s.png --weights slim.h5 -o out"
    arguments, said = parse([*base.split(), *flags.split()]), []
    assert arguments is not None
    read_sweep(arguments, say=said.append, stream=None)
    assert len(said) == len(warnings)
    for line, warning in zip(said, warnings, strict=True):
        assert line.startswith("warning: ")
        assert warning in line


def test_pictures_too_small_are_named_with_their_place(refuse) -> None:
    said = refuse("--sweep", "style", "s.png", "tiny.png", "-o", "out", base="--content c.png")
    assert "combination 2 of 2 (style tiny): the style picture, 9x9 at this size" in said


def test_broken_pictures_and_tables(refuse, folder) -> None:
    (folder / "bad.png").write_text("none")
    said = refuse("--sweep", "style", "s.png", "bad.png", "-o", "out", base="--content c.png")
    assert "bad.png is not a picture" in said
    (folder / "t.csv").write_text("seed,weight\n1,2\n")
    assert "line 1: 'weight' cannot be swept" in refuse("--sweep-file", "t.csv", "-o", "out")


def test_folders_that_are_something_else(refuse, folder) -> None:
    (folder / "site").mkdir()
    (folder / "site/index.html").write_text("mine")
    said = refuse(*SEEDS, "-o", "site")
    assert "site/index.html exists and is not of a sweep" in said
    (folder / "gone").symlink_to("nowhere")
    assert "the output gone is a file" in refuse(*SEEDS, "-o", "gone")
    (folder / "out").mkdir()
    (folder / "out/seed=1.png").write_text("mine")
    assert "out/seed=1.png was changed, or made with other settings" in refuse(*SEEDS, "-o", "out")


def test_inputs_are_never_written(refuse, folder) -> None:
    (folder / "out/records").mkdir(parents=True)
    (folder / "out/sheet.png").write_bytes((folder / "c.png").read_bytes())
    base = "--content out/sheet.png --style s.png --weights slim.h5"
    assert "would be both read and written" in refuse(*SEEDS, "-o", "out", base=base)
    assert "would be both read" in refuse(*SEEDS, "-o", "out", "--force", base=base)


def test_an_empty_sweep_folder_has_nothing_to_gather(refuse, folder) -> None:
    (folder / "out/records").mkdir(parents=True)
    (folder / "out/records/a.json").write_text("[1")
    assert "no result is in out yet" in refuse("--collect", "out")
