"""Random picture files and folders that refuse things: a picture or one line, a file or an error.

HOW says how many of each; JAXSTYLE_FUZZ in the environment sets another number.
"""

import contextlib
import errno
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fuzzing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images import decoding, picture_file

HOW = fuzzing(40)

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
KINDS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "TGA", "JPEG2000")


@st.composite
def picture_files(draw: Any) -> tuple[bytes, tuple[int, int], bool]:
    """Returns a picture file's bytes, its upright (H, W), and whether it is whole."""
    kind, mode = draw(st.sampled_from(KINDS)), draw(st.sampled_from(MODES))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    image = Image.fromarray(random.integers(0, 256, (*size[::-1], 3), np.uint8))
    image = image.convert("I").convert(mode) if mode == "I;16" else _as_mode(image, mode)
    options: dict[str, Any] = {}
    orientation = draw(st.sampled_from([None, *range(10)]))
    if kind in ("PNG", "JPEG", "TIFF", "WEBP") and orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x112] = orientation
    if kind == "PNG" and draw(st.booleans()):
        text = PngImagePlugin.PngInfo()
        text.add_text("workflow", "x" * draw(st.sampled_from([10, 2_000_000])), zip=True)
        options["pnginfo"] = text
    if draw(st.booleans()):
        options["icc_profile"] = draw(st.sampled_from([b"", b"junk", bytes(500)]))
    if kind == "JPEG":
        options["progressive"] = draw(st.booleans())
    if kind == "TIFF":
        options["compression"] = draw(st.sampled_from([None, "tiff_lzw", "tiff_deflate"]))
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # it does not take this
        file = io.BytesIO()
        image.convert("RGB").save(file, kind)
        options = {}
    turned = "exif" in options and orientation in (5, 6, 7, 8)
    data, upright = file.getvalue(), size if turned else size[::-1]
    # a part, as encoders need not write as many bytes every time
    cut = draw(st.one_of(st.none(), st.integers(0, 999)))
    if cut is None:
        return data, upright, True
    return data[: len(data) * cut // 1000], upright, False


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    return image.convert("L").convert(mode) if mode in ("LA", "I", "F") else image.convert(mode)


@settings(**HOW)
@given(picture_files(), st.integers(1, 200))
def test_any_picture_file_is_a_picture_or_one_line(
    file: tuple[bytes, tuple[int, int], bool], pixels_a_band: int
) -> None:
    data, sides, is_whole = file
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "a.png"  # whatever it is
        path.write_bytes(data)
        patch.setattr(decoding, "PIXELS_AT_ONCE", pixels_a_band)
        patch.setattr(picture_file, "PIXELS_AT_ONCE", pixels_a_band)
        picture, refusal = _loaded(path)
        deep, _ = _loaded(path, deep=True)
        if picture is None:
            assert "\n" not in refusal
            assert not is_whole, refusal
            return
        assert picture.dtype == np.uint8
        if is_whole:
            assert picture.shape == (*sides, 3)
        found_sides, needed = picture_file.sides_and_bytes(path)
        assert found_sides == picture.shape[:2]
        assert needed >= picture.shape[0] * picture.shape[1]
        picture_file.lost_bits(path)
        if is_whole:
            assert deep.shape == picture.shape


def _loaded(path: Path, *, deep: bool = False) -> tuple[Any, str]:
    """Returns the picture in a file, or None and why there is none."""
    try:
        return picture_file.load_picture(path, deep=deep), ""
    except InputError as error:
        return None, str(error)


CALLS = ("chmod", "fsync", "link", "replace", "unlink")
NUMBERS = ("EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EINVAL", "EXDEV", "ENOSPC", "EDQUOT", "EROFS")
REFUSED = st.dictionaries(st.sampled_from(CALLS), st.sampled_from(NUMBERS))
LIMITS = {"ENOSPC", "EDQUOT", "EROFS"}


@settings(**HOW)
@given(REFUSED, st.booleans(), st.booleans(), st.sampled_from(["a.png", "ä" * 120 + ".png"]))
@example({"link": "EXDEV", "replace": "EPERM"}, True, False, "a.png")
def test_a_folder_takes_what_it_can_take_and_old_files_stay(
    refused: dict[str, str], is_there: bool, overwrite: bool, name: str
) -> None:
    """Where bytes can be written they are; else an error, and what was there is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path, old = Path(folder) / name, os.unlink
        if is_there:
            path.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            for call, number in refused.items():
                patch.setattr(os, call, _refuse(number))
            if "chmod" in refused:
                patch.setattr(Path, "chmod", _refuse(refused["chmod"]))
            if "unlink" in refused:
                patch.setattr(Path, "unlink", _refuse(refused["unlink"]))
            may = not (is_there and not overwrite)
            failure = _written(path, overwrite=overwrite)
            if failure is None:
                assert may
                assert path.read_bytes() == b"new"
                return
        if isinstance(failure, FileExistsError):
            assert not may
        else:
            assert {refused.get(call) for call in ("fsync", "link", "replace")} & LIMITS
            assert errno.errorcode[failure.errno or 0] in LIMITS
        assert path.exists() == is_there
        assert not is_there or path.read_bytes() == b"old"
        if "unlink" not in refused:
            assert [each.name for each in Path(folder).iterdir()] == [name] * is_there
        with contextlib.suppress(OSError):
            old(path)


def _written(path: Path, *, overwrite: bool) -> OSError | None:
    """Writes a file; returns what was in the way."""
    try:
        files.write_whole(path, b"new", overwrite=overwrite)
    except OSError as error:
        return error
    return None


def _refuse(number: str) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code))

    return refuse
