"""Bad input through the front door: exit 2, one line on stderr, nothing written, jax not asked."""

import io
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.images import picture_file
from jaxstyle.runs import record
from jaxstyle.settings.presets import preset

Refuse = Callable[..., str]


def picture_bytes(height: int, width: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def listing(folder: Path) -> dict[str, bytes | None]:
    """Returns all that is in a folder, by name: contents of files, None for what is none."""
    return {
        os.fsdecode(os.path.relpath(each, folder)): each.read_bytes() if each.is_file() else None
        for each in sorted(folder.rglob("*"))
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a content and a style that are good."""
    (tmp_path / "c.png").write_bytes(picture_bytes(40, 50))
    (tmp_path / "s.jpg").write_bytes(picture_bytes(60, 30, "JPEG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refuse(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refuse:
    """Returns what runs the program with flags that must be refused, and gives the line said."""
    for module in ("jaxstyle.runs.job", "jaxstyle.painting.painter"):  # what imports jax
        monkeypatch.setitem(sys.modules, module, None)

    def run(*flags: str, content: str = "c.png", style: str = "s.jpg") -> str:
        before = listing(folder)
        code = main(["--content", content, "--style", style, *flags])
        said = capsys.readouterr()
        assert code == 2
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        assert said.err.endswith("\n")
        assert said.err.startswith("jaxstyle: error: ")
        assert listing(folder) == before
        return said.err

    return run


def bomb() -> bytes:
    """A PNG file of 300 bytes that claims to be 30000 pixels square."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))
    return start + b"\0\0\1\0IDAT" + zlib.compress(bytes(1000))


BAD_PICTURES = {
    "empty.jpg": (b"", "is not a picture"),
    "text.jpg": (b"Dear diary,\n", "is not a picture"),
    "cut.jpg": (picture_bytes(80, 80, "JPEG")[:-3000], "cut off or damaged"),
    "cut.png": (picture_bytes(80, 80)[:9000], "cut off or damaged"),
    "bomb.png": (bomb(), "more than 178,956,970 pixels"),
    "one.png": (picture_bytes(1, 1), "1x1 at this size, is too small: layers as deep"),
    "small.png": (picture_bytes(15, 400), "at this size, is too small"),
}


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_picture_that_cannot_be_used(folder: Path, refuse: Refuse, role: str, name: str) -> None:
    data, message = BAD_PICTURES[name]
    (folder / name).write_bytes(data)
    said = refuse("-o", "r.png", **{role: name})
    assert message in said
    assert name in said or f"the {role} picture" in said


def test_an_initial_picture_that_cannot_be_used(folder: Path, refuse: Refuse) -> None:
    (folder / "cut.png").write_bytes(BAD_PICTURES["cut.png"][0])
    assert "cut.png cannot be read, it is cut off or damaged" in refuse("--init", "cut.png")
    assert "gone.png does not exist" in refuse("--init", "gone.png")


def test_a_picture_large_enough_for_shallower_layers_is_not_too_small(
    folder: Path, refuse: Refuse
) -> None:
    (folder / "small.png").write_bytes(picture_bytes(8, 9))
    shallow = ("--content-layers", "relu2_1", "--style-layers", "relu1_1,relu4_1")
    shallow += ("--scales", "1")
    # refused for the weights, which are looked for after the sizes are known to be good
    (folder / "w.h5").write_bytes(b"none")
    assert "w.h5" in refuse(*shallow, "--weights", "w.h5", content="small.png")
    assert "need 16 pixels" in refuse("--weights", "w.h5", content="small.png")


def test_small_pictures_are_refused_before_weights_are_downloaded(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were looked for")

    monkeypatch.setattr("jaxstyle.runs.inputs.find_weights", never)
    assert "too small" in refuse("--weights", "vgg19", "--size", "12")
    assert "too small" in refuse("--weights", "vgg19", "--size", "15x300")
    assert "at most 16383 pixels" in refuse("--size", "16x16384", "-o", "r.webp")
    assert "at most 65500 pixels" in refuse("--size", "65501x16", "-o", "r.JPG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "0"], "must be a number of pixels"),
        (["--size", "100000x100000"], "too large"),
        (["--steps", "-1"], "must be a whole number"),
        (["--learning-rate", "nan"], "must be a finite number"),
        (["--style-weight", "-1"], "must be 0 or more"),
        (["--preset", "boook"], "did you mean book?"),
        (["--pooling", "maxx"], "did you mean max?"),
        (["--content-layers", "relu4_"], "did you mean relu4_"),
        (["--device", "npu"], "none of cpu, gpu, tpu"),
        (["--weights", "vgg91"], "did you mean vgg19?"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["-o", "gone/r.png"], "gone does not exist"),
        (["-o", "c.png/r.png"], "is a file, not a folder"),
        (["-o", "s.jpg", "--force"], "is also an input"),
        (["-o", "r.bmp"], "must end in"),
        (["-o", "r.png", "--log", "r.png"], "the same file"),
        (["-o", "r.png", "--checkpoint", "r.png"], "the checkpoint and the output are the same"),
        (["--checkpoint", "c.png", "--force"], "is also an input"),
        (["--checkpoint", "gone/x"], "gone does not exist"),
        (["--checkpoint", "."], "is a folder"),
        (["--checkpoint-every", "0"], "must be a number of seconds above 0"),
        (["--checkpoint-every", "nan"], "must be a number of seconds above 0"),
        (["--log", "gone/l.csv"], "gone does not exist"),
        (["--log", "c.png", "--force"], "is also an input"),
        (["-o", "x" * 300 + ".png"], "too long"),
        (["--from", "s.jpg"], "carries no settings"),
        (["--from", "c.png"], "carries no settings"),
        (["--from", "gone.png"], "does not exist"),
    ],
)
def test_a_flag_that_cannot_be_used(refuse: Refuse, flags: list[str], message: str) -> None:
    assert message in refuse(*flags)


def test_weights_with_a_nan(folder: Path, refuse: Refuse, slim_file: Path) -> None:
    data = bytearray(slim_file.read_bytes())
    with h5py.File(slim_file) as file:
        place = file["conv3_1/kernel"].id.get_offset()
    data[place : place + 4] = np.float32(np.nan).tobytes()
    (folder / "nan.h5").write_bytes(data)
    assert "conv3_1/kernel has NaN or infinite values" in refuse("--weights", "nan.h5")


def test_existing_outputs(folder: Path, refuse: Refuse) -> None:
    (folder / "r.png").write_bytes(b"precious")
    (folder / "r-0004.png").write_bytes(b"precious")
    assert "r.png exists" in refuse("-o", "r.png")
    assert "r.png exists" in refuse("--log", "r.png")
    Path("r.png").unlink()
    assert "r-0004.png exists" in refuse("-o", "r.png", "--save-every", "2", "--steps", "4")
    os.link("c.png", "hard.png")
    (folder / "soft.png").symlink_to("c.png")
    (folder / "x").write_bytes(b"precious")
    (folder / "y.png.checkpoint.previous").write_bytes(b"precious")
    assert "x exists, from an interrupted run: --resume" in refuse("--checkpoint", "x")
    assert "y.png.checkpoint.previous exists, from" in refuse("-o", "y.png")
    for name in ("hard.png", "soft.png"):
        assert "is also an input" in refuse("-o", name, "--force")


def test_no_pictures_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == (
        "jaxstyle: error: --content and --style must be given: a picture file (see --help)\n"
    )


MANIPULATIONS = [
    {"steps": "300"},
    {"steps": True},
    {"steps": 10**400},
    {"learning_rate": float("nan")},
    {"size": [[1, 2], [3, 4]]},
    {"size": [100000, 100000]},
    {"style_layers": "relu1_1"},
    {"style_layer_weights": [1, 2]},
    {"pooling": {"max": 1}},
    {"seed": True},
    {"seed": -1},
    {"preset": 3},
    {"init": ["noise"]},
    {"init": "portrait\n.png"},
]


@pytest.mark.parametrize("changes", MANIPULATIONS)
def test_a_manipulated_record(folder: Path, refuse: Refuse, changes: dict[str, Any]) -> None:
    facts = {"weights": {}, "versions": {}, "settings": record.settings(*preset()) | changes}
    text = {record.KEYWORD: json.dumps(facts)}
    (folder / "r.png").write_bytes(
        picture_file.encode(np.zeros((2, 2, 3), np.float32), ".png", text)
    )
    said = refuse("--from", "r.png")
    name = next(iter(changes)).removesuffix("_layer_weights")
    assert name in said or "begun from the picture" in said


@pytest.mark.parametrize(
    "name", ["two\nlines.png", "caf\udce9.png", "bell\a\x1b[31m.png", "\u2028.png"]
)
def test_file_names_of_any_kind_stay_in_one_line(folder: Path, refuse: Refuse, name: str) -> None:
    said = refuse(content=name)
    assert said.removesuffix("\n").isprintable()
    refuse(style=name)
    refuse("-o", name + "x")
    refuse("--init", name)
    refuse("--weights", name)
    refuse("--from", name)
    refuse(name)
    Path(name).write_bytes(b"text")
    refuse(content=name)
    refuse("-o", name)
