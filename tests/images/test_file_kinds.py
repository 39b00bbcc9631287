"""Files that are not read are named by their first bytes, whatever their names say."""

import importlib.util
import io
from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from jaxstyle.errors import InputError
from jaxstyle.images import file_kinds
from jaxstyle.images.picture_file import load_picture

RED = Image.new("RGB", (24, 16), "red")


def boxed(*brands: bytes) -> bytes:
    """Returns how a file of ISO/IEC 14496-12 with these brands begins."""
    size = (16 + 4 * (len(brands) - 1)).to_bytes(4, "big")
    return size + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(99)


def tiff(**tags: object) -> bytes:
    own, file = ImageFileDirectory_v2(), io.BytesIO()
    for name, value in tags.items():
        own[int(name[1:])] = value
    RED.save(file, "TIFF", tiffinfo=own)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jpg", boxed(b"heic", b"mif1"), "HEIC picture, which needs pillow-heif"),
        ("stdin", boxed(b"mif1", b"heic"), "HEIC picture, which needs pillow-heif"),
        ("a.heic", boxed(b"mif1", b"avif"), "AVIF"),
        ("a.jpg", boxed(b"qt  "), "a film: save one of its frames"),
        ("a.cr3", boxed(b"crx "), "raw file: develop it"),
        ("a.tif", tiff(t50706=b"\1\4\0\0"), "raw file: develop it"),  # as DNG has it
        ("a.tif", tiff(t254=1, t330=8), "raw file: develop it"),  # a preview comes first
        ("a.NEF", tiff(), "raw file: develop it"),
        ("a.dng", b"II*\0" + bytes(200), "raw file: develop it"),  # of which Pillow sees nothing
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "raw file: develop it"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw file: develop it"),
        ("a.png", b"\xff\x0a" + bytes(9), "JPEG XL"),
        ("a.svg", b"\xef\xbb\xbf\n<?xml version='1.0'?><!-- a --><svg/>", "an SVG drawing"),
        ("a.jpg", b"<!DOCTYPE HTML><p>", "a web page"),
        ("a.jpg", b"%PDF-1.7\n", "a PDF document"),
        ("a.psd", b"8BPS\0\1" + bytes(99), "a Photoshop document"),
        ("a.eps", b"%!PS-Adobe-3.0\n", "a PostScript drawing"),
        ("a.png", b"", "an empty file"),
        ("a.png", bytes(700), "a file of zeros"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("._a.jpg", b"\0\5\x16\7" + bytes(99), "a Mac keeps beside a file"),
        ("a.png", b"none of these", "is not a picture of a kind that can be read"),
    ],
)
def test_a_file_that_is_not_read_is_named(
    name: str, data: bytes, told: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # as without any extra
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=told) as refused:
        load_picture(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_names_and_previews_alone_do_not_make_a_raw_file(tmp_path: Path) -> None:
    RED.save(tmp_path / "a.dng", "PNG")  # whatever it is called
    RED.save(tmp_path / "a.heic", "JPEG")
    (tmp_path / "small.tif").write_bytes(tiff(t254=1))
    for name in ("a.dng", "a.heic", "small.tif"):
        assert load_picture(tmp_path / name).shape == (16, 24, 3)


def test_short_starts_are_of_no_kind() -> None:
    for start in (b"\0\0", b"II", b"\0\0\0\1fty", b"<", b"ab"):
        kind = file_kinds.file_kind(start)
        assert kind is None or kind.name.endswith("a file of zeros")
    assert file_kinds.file_kind(b"\xff\xff\xff\xffftypabcd") == file_kinds.VIDEO
