"""Files for print are read back: depth, values, profiles, dots per inch, texts, and refusals."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.images.print_file import Print, check_kind, read_profile

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra print is not installed")
tifffile = pytest.importorskip("tifffile", reason="the extra print is not installed")

GRADIENT = np.arange(65536, dtype=np.uint16)[: 256 * 255].reshape(256, 85, 3)
PICTURE = (GRADIENT / 65535).astype(np.float32)
TEXT = {"Software": "x", "jaxstyle": '{"name": "K\\u00e4se"}'}


def made_profile(space: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]


def swapped_profile() -> bytes:
    """Returns sRGB's profile with the colorants of red and green under each other's names."""
    data = made_profile("sRGB")
    return data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_exact(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    data = picture_file.encode(PICTURE, suffix, TEXT, how=Print(bits=16, dpi=300))
    path.write_bytes(data)
    read = imagecodecs.png_decode(data) if suffix == ".png" else tifffile.imread(path)
    assert read.dtype == np.uint16
    assert np.array_equal(read, GRADIENT)
    assert picture_file.read_text(path)["jaxstyle"] == TEXT["jaxstyle"]
    assert picture_file.encode(PICTURE, suffix, TEXT, how=Print(bits=16, dpi=300)) == data
    with Image.open(path) as image:
        assert [round(float(each), 1) for each in image.info["dpi"]] == [300, 300]
        assert "srgb" in image.info or "icc_profile" in image.info


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_keep_what_is_transparent(suffix: str, tmp_path: Path) -> None:
    alpha = np.arange(256, dtype=np.uint8)[:, None].repeat(85, 1)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(picture_file.encode(PICTURE, suffix, {}, alpha=alpha, how=Print(bits=16)))
    read = imagecodecs.png_decode(path.read_bytes()) if suffix == ".png" else tifffile.imread(path)
    assert np.array_equal(read[..., :3], GRADIENT)
    assert np.array_equal(read[..., 3], alpha.astype(np.uint16) * 257)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_eight_bits_have_profile_and_dots_per_inch(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    dpi = None if suffix == ".webp" else 240
    profile = swapped_profile()
    how = Print(profile=profile, dpi=dpi)
    path.write_bytes(picture_file.encode(PICTURE, suffix, TEXT, how=how))
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile
        if dpi is not None:
            assert round(float(image.info["dpi"][0])) == dpi
    if suffix in (".png", ".tif"):
        assert picture_file.read_text(path)["jaxstyle"] == TEXT["jaxstyle"]


@pytest.mark.parametrize("bits", [8, 16])
def test_colors_are_converted_to_the_profile(bits: int, tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.float32) + np.array([0.75, 0.25, 0.5], np.float32)
    path = tmp_path / "a.tif"
    profile = swapped_profile()
    data = picture_file.encode(picture, ".tif", {}, how=Print(bits=bits, profile=profile))
    path.write_bytes(data)
    top = 2**bits - 1
    # red is called green in that profile, and green red
    expected = np.array([0.25, 0.75, 0.5]) * top
    assert np.abs(tifffile.imread(path)[0, 0] - expected).max() <= top * 0.006
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == profile


def test_what_cannot_be_written_so_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="8 bits, not 16"):
        check_kind(".jpg", bits=16, dpi=None)
    with pytest.raises(InputError, match="takes no --dpi"):
        check_kind(".webp", bits=8, dpi=300.0)
    bad, lab = tmp_path / "bad.icc", tmp_path / "lab.icc"
    bad.write_bytes(b"no profile")
    lab.write_bytes(made_profile("LAB"))
    with pytest.raises(InputError, match="not an ICC profile"):
        read_profile(bad)
    with pytest.raises(InputError, match="profile of Lab"):
        read_profile(lab)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"imagecodecs: pip install 'jaxstyle\[print\]'"):
        check_kind(".png", bits=16, dpi=None)
    heic = tmp_path / "a.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(InputError, match=r"pip install 'jaxstyle\[heif\]'"):
        picture_file.load_picture(heic)
