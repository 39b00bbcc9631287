"""Pictures in bands of rows: resized to the same bits, upright, and never whole in memory."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxstyle.errors import InputError
from jaxstyle.images import bands, canvas, decoding, picture_file, stored
from jaxstyle.runs import reader


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(7, 9), (40, 9), (7, 60), (90, 80), (61, 53), (61, 20)])
@pytest.mark.parametrize("resampling", ["lanczos", "bilinear"])
def test_resizing_in_bands_is_pillows(size: tuple[int, int], resampling: str) -> None:
    """In the mean to 1/255; to the bit where one side stays, as then there is one order."""
    picture = noise(61, 53)
    how = {"lanczos": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}[resampling]
    expected = np.asarray(Image.fromarray(picture).resize(size[::-1], how))
    rows = [picture[start : start + 7] for start in range(0, 61, 7)]
    (found,) = bands.resize_bands(bands.Bands(picture.shape, rows), [size], resampling)
    difference = np.abs(found.astype(float) - expected)
    assert difference.mean() < (0.7 if size[0] != 61 else 1e-9)


def test_a_picture_in_bands_is_read_once_for_all_sizes() -> None:
    picture, reads = noise(61, 53), []

    def read(use: Any, least: Any) -> Any:
        reads.append(least)
        return use(bands.Bands(picture.shape, [picture[:30], picture[30:]]))

    in_file, sizes = bands.BandedPicture(picture.shape, read), [(30, 20), (5, 26)]
    found = canvas.resize_to_each(in_file, sizes, resampling="lanczos")
    assert [each.shape[:2] for each in found] == sizes
    assert reads == [(30, 26)]
    whole = in_file.changed(lambda part: 255 - part)
    np.testing.assert_array_equal(np.asarray(whole), 255 - picture)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_are_upright_as_pillow_turns_a_whole_image(
    orientation: int, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exif, path = Image.Exif(), tmp_path / f"p.{kind}"
    exif[0x112] = orientation
    Image.fromarray(noise(13, 7)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    monkeypatch.setattr(decoding, "PIXELS_AT_ONCE", 15)  # bands of one or two rows
    np.testing.assert_array_equal(picture_file.load_picture(path), expected)
    assert picture_file.sides_and_bytes(path)[0] == expected.shape[:2]


def jpeg(path: Path, size: tuple[int, int], **options: Any) -> Path:
    """Writes a photo with smooth and noisy parts as a JPEG of (H, W)."""
    coarse = Image.fromarray(noise(size[0] // 16, size[1] // 16))
    photo = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC)).astype(np.int16)
    photo[:, : size[1] // 2] += noise(size[0], size[1] // 2, 1) // 4
    image = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
    image.save(path, quality=92, **options)
    return path


def test_smaller_copies_of_progressive_jpegs_differ_by_less_than_a_level_in_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jpeg(tmp_path / "p.jpg", (640, 960), progressive=True)
    monkeypatch.setattr(decoding, "LARGE", 0)
    drafted: list[Any] = []
    monkeypatch.setattr(
        Image.Image,
        "load",
        lambda self, load=Image.Image.load: drafted.append(self.size) or load(self),
    )
    picture = stored.in_bands(path, picture_file_sha256(path))
    for size in [(20, 30), (40, 60), (80, 120), (300, 450)]:
        expected = canvas.resize(picture_file.load_picture(path), size, resampling="lanczos")
        found = canvas.resize(picture, size, resampling="lanczos")
        assert np.abs(found.astype(float) - expected).mean() < 1
    assert picture.shape == (640, 960, 3)


def picture_file_sha256(path: Path) -> str:
    from jaxstyle import files

    return files.sha256(path)


def test_a_drafted_copy_has_four_times_the_wanted_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "LARGE", 0)
    path = jpeg(tmp_path / "p.jpg", (640, 960), progressive=True)
    seen = []
    for least in [(20, 30), (30, 30), (80, 120), (81, 120)]:
        picture_file.read_bands(path, lambda found: seen.append(found.shape[:2]), least)
    assert seen == [(80, 120), (160, 240), (320, 480), (640, 960)]
    plain = jpeg(tmp_path / "b.jpg", (640, 960))
    picture_file.read_bands(plain, lambda found: seen.append(found.shape[:2]), (20, 30))
    assert seen[-1] == (640, 960)  # not progressive: to the bit


@pytest.mark.parametrize(
    ("mode", "kind", "options", "bytes_a_pixel"),
    [
        ("RGB", "png", {}, 4),
        ("RGBA", "png", {}, 4),
        ("P", "png", {}, 1),
        ("L", "png", {}, 1),
        ("I;16", "png", {}, 2),
        ("RGB", "jpeg", {}, 4),
        ("RGB", "jpeg", {"progressive": True, "subsampling": 2}, 4 + 3),
        ("RGB", "jpeg", {"progressive": True, "subsampling": 0}, 4 + 6),
        ("RGB", "webp", {}, 9),
        ("RGB", "tiff", {}, 4),
    ],
)
def test_decoding_is_counted_by_mode_and_kind(
    mode: str, kind: str, options: dict[str, Any], bytes_a_pixel: int, tmp_path: Path
) -> None:
    path = tmp_path / f"p.{kind}"
    Image.new(mode, (64, 32)).save(path, **options)
    assert picture_file.sides_and_bytes(path) == ((32, 64), 64 * 32 * bytes_a_pixel)


def test_a_compressed_tiff_counts_its_file_and_a_strip(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    Image.fromarray(noise(32, 64)).save(path, compression="tiff_lzw")
    with Image.open(path) as image:
        rows = image.tag_v2[278]
    expected = 4 * 64 * 32 + 4 * 64 * rows + path.stat().st_size
    assert picture_file.sides_and_bytes(path) == ((32, 64), expected)


def test_too_little_memory_to_decode_is_refused_with_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxstyle.machine.memory import Memory

    path = tmp_path / "p.png"
    Image.new("RGB", (64, 32)).save(path)
    monkeypatch.setattr(reader, "LARGE", 64 * 32)
    monkeypatch.setattr(reader, "memory_left", lambda: Memory(64 * 32 * 4 - 1, "free memory"))
    with pytest.raises(InputError, match=r"reading .*p.png, 32x64, needs about 0.1 GB .* smaller"):
        reader.Reader().picture(path)
    monkeypatch.setattr(reader, "memory_left", lambda: Memory(64 * 32 * 4, "free memory"))
    picture = reader.Reader().picture(path)
    assert isinstance(picture, bands.BandedPicture)


def test_a_large_picture_is_refused_when_it_was_changed_or_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LARGE", 0)
    path, file = tmp_path / "p.png", io.BytesIO()
    Image.fromarray(noise(32, 64)).save(file, "png")
    path.write_bytes(file.getvalue()[:3000])
    with pytest.raises(InputError, match="cut off or damaged"):
        reader.Reader().picture(path)
    path.write_bytes(file.getvalue())
    picture = reader.Reader().picture(path)
    np.testing.assert_array_equal(np.asarray(picture), noise(32, 64))
    path.write_bytes(file.getvalue() + b" ")
    with pytest.raises(InputError, match="was changed"):
        np.asarray(picture)
