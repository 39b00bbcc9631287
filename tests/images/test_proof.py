"""Soft proofs of a press that has black ink alone, whose profile is made here."""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.images import color
from jaxstyle.images.bands import whole_floats
from jaxstyle.images.picture_file import load_picture
from jaxstyle.images.print_file import srgb_profile
from jaxstyle.images.proof import read_proof
from jaxstyle.runs import reader, record
from jaxstyle.runs.inputs import read_settings
from jaxstyle.runs.reader import Network, Reader
from jaxstyle.weights.pretrained import WeightFile


def black_press() -> bytes:
    """Returns an ICC profile of CMYK, version 2: L* is 100 - K percent, colors become grey."""
    whole = range(256)

    def table(inputs: int, outputs: int, corners: list[int]) -> bytes:
        identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
        head = b"mft1" + bytes(4) + bytes([inputs, outputs, 2, 0]) + identity
        return head + bytes([*whole] * inputs) + bytes(corners) + bytes([*whole] * outputs)

    to_lab = [value for i in range(16) for value in (0 if i % 2 else 255, 128, 128)]
    to_ink = [value for i in range(8) for value in (0, 0, 0, 0 if i >= 4 else 255)]
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"x\0", b"wtpt": white}
    tags |= {b"A2B0": table(4, 3, to_lab), b"B2A0": table(3, 4, to_ink)}
    index, data, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        index += name + struct.pack(">II", start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    head = bytes(4) + struct.pack(">I", 0x02100000) + b"prtrCMYKLab " + bytes(12) + b"acsp"
    head = (head.ljust(64, b"\0") + white[8:]).ljust(124, b"\0")  # all but its first number
    body = head + struct.pack(">I", len(tags)) + index + data
    return struct.pack(">I", 4 + len(body)) + body


@pytest.fixture
def press(tmp_path: Path) -> Path:
    path = tmp_path / "press.icc"
    path.write_bytes(black_press())
    return path


@pytest.mark.parametrize("at_once", [1, 1 << 18])
def test_colors_become_those_of_the_press(press, monkeypatch, at_once) -> None:
    """By hand: red's L* is 53.2, that of grey 127; greys stay, and paper is white."""
    monkeypatch.setattr(color, "PIXELS_A_BAND", at_once)
    picture = np.array([[[0] * 3, [255] * 3], [[128] * 3, [255, 0, 0]]], np.uint8)
    found = read_proof(press)(picture)
    np.testing.assert_allclose(found[..., 0], [[0, 255], [128, 127]], atol=2)
    assert np.ptp(found, axis=-1).max() <= 1
    np.testing.assert_allclose(read_proof(press)(found), found, atol=2)
    assert picture[1, 1].tolist() == [255, 0, 0]


def test_a_run_is_painted_from_proofs_and_its_record_says_so(paint, press) -> None:
    assert paint("--proof", str(press), "-o", "out.png")[0] == 0
    facts = record.read(Path("out.png"))["proof"]
    assert facts == record.file_facts(press)
    assert np.ptp(load_picture(Path("out.png")), axis=-1).max() == 0
    code, _, err = paint("--from", "out.png", "-o", "again.png")
    assert (code, "was painted with --proof: give it again" in err) == (2, True)
    assert paint("--from", "out.png", "--proof", str(press), "-o", "again.png")[0] == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()
    weight = ("0.1", "0.2")  # the first is the default's
    assert paint("--proof", str(press), "--sweep", "tv-weight", *weight, "-o", "swept")[0] == 0
    assert Path("swept/tv-weight=0.1.png").read_bytes() == Path("out.png").read_bytes()


def test_what_is_no_profile_of_a_press_is_refused(tmp_path, paint) -> None:
    path = tmp_path / "x.icc"
    for data in (b"", b"nonsense", black_press()[:400]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not an ICC profile of a press"):
            read_proof(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_proof(tmp_path)
    code, out, err = paint("--proof", str(path), "-o", "out.png")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert not Path("out.png").exists()


def test_a_deep_picture_keeps_its_depth(press, tmp_path, monkeypatch) -> None:
    """It lies between two of 8 bits, and is painted so; without the extra it is rounded first."""
    pytest.importorskip("imagecodecs", reason="the extra print is not installed")
    grey = np.linspace(0.3, 0.32, 32 * 48).reshape(32, 48)  # five values of 8 bits
    deep = np.repeat(grey[..., None], 3, -1)
    proof = read_proof(press)
    found = proof(deep.astype(np.float32))  # type: ignore[arg-type]
    eight = proof(np.rint(deep * 255).astype(np.uint8)) / 255
    np.testing.assert_allclose(found, eight, atol=2 / 255)
    assert len(np.unique(found)) > 50 > len(np.unique(eight))
    path = tmp_path / "deep.png"
    Image.fromarray(np.rint(grey * 65535).astype(np.uint16)).save(path)
    shown: Any = Reader().source(path, press)
    assert shown.is_deep
    np.testing.assert_allclose(shown.read(whole_floats), found, atol=1e-4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    shown = Reader().source(path, press)
    assert not shown.is_deep
    assert len(np.unique(np.asarray(shown))) < 12


@pytest.mark.parametrize("extra", [True, False])
def test_a_line_says_where_a_proof_takes_bits(extra, press, tmp_path, monkeypatch) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((32, 48), 12345, np.uint16)).save(path)
    monkeypatch.setattr(reader, "keeps_depth", lambda: extra)
    request = parse(["--content", str(path), "--style", str(path), "--proof", str(press)])
    assert request is not None
    settings, network = read_settings(request, say=print), Network(WeightFile(path, "x"), {}, {})
    notices = Reader().inputs(request, settings, network).notices
    assert any("of which 8 are read" in each for each in notices) is not extra


@pytest.mark.parametrize("space", ["gray", "rgb"])
def test_deep_pictures_in_the_colors_of_other_devices(space, tmp_path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra print is not installed")
    path = tmp_path / "device.icc"
    gray = imagecodecs.cms_profile("gray", gamma=2.2)
    path.write_bytes(gray if space == "gray" else srgb_profile())
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found = read_proof(path)((picture / 255).astype(np.float32))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, read_proof(path)(picture) / 255, atol=1.5 / 255)
    assert np.ptp(found, axis=-1).max() < 1e-4 or space == "rgb"
