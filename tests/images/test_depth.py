"""Pictures of more than 8 bits a channel keep them where that matters."""

import importlib.util
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.images import bands, decoding, depth, file_bits, picture_file
from jaxstyle.images.bands import BandedPicture
from jaxstyle.images.canvas import as_picture, resize, resize_in_depth
from jaxstyle.images.color import with_chroma_of
from jaxstyle.images.stored import in_bands
from jaxstyle.painting.level import first_canvas, levels
from jaxstyle.runs.inputs import read_settings
from jaxstyle.runs.reader import Network, Reader, record
from jaxstyle.settings.presets import preset
from jaxstyle.weights.pretrained import WeightFile

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra print is not installed")
tifffile = pytest.importorskip("tifffile", reason="the extra print is not installed")

HEIGHT, WIDTH = 24, 40


def ramp(channels: int, *, kind: type = np.uint16) -> NDArray[np.generic]:
    """Returns a gradient (H, W, channels) most of whose values lie between two of 8 bits."""
    top = 65535 if kind is np.uint16 else 1
    values = np.linspace(0.1, 0.91, HEIGHT * WIDTH * channels).reshape(HEIGHT, WIDTH, channels)
    return (values * top).astype(kind)


def deep(path: Path) -> BandedPicture:
    found = in_bands(path, record.file_facts(path)["sha256"], deep=True)
    assert isinstance(found, BandedPicture)
    return found


def floats(path: Path) -> NDArray[np.float32]:
    picture = as_picture(deep(path), name="content")
    (found,) = resize_in_depth(picture, [picture.shape[:2]], resampling="lanczos")
    assert found.dtype == np.float32
    return found  # type: ignore[return-value]


def write_tiff(path: Path, samples: NDArray[np.generic], **given: object) -> None:
    tifffile.imwrite(path, samples, **{"photometric": "rgb", **given})


NAMES = ["a.png", "a.tif", "planes.tif", "tiles.tif", "big.tif", "f.tif"]


@pytest.mark.parametrize("name", NAMES)
def test_every_bit_of_a_deep_file_is_read(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(depth, "PIXELS_AT_ONCE", 7 * WIDTH)
    path, samples = tmp_path / name, ramp(3, kind=np.float32 if name == "f.tif" else np.uint16)
    if name == "a.png":
        path.write_bytes(imagecodecs.png_encode(samples))
    elif name == "planes.tif":
        write_tiff(path, np.moveaxis(samples, 2, 0), planarconfig="separate")
    else:
        extra = {
            "tiles.tif": {"tile": (16, 16), "compression": "zlib"},
            "big.tif": {"bigtiff": True},
        }
        write_tiff(path, samples, **extra.get(name, {}))
    expected = samples.astype(np.float64) / (65535 if samples.dtype == np.uint16 else 1)
    np.testing.assert_allclose(floats(path), expected, rtol=0, atol=1e-7)
    eight = np.rint(expected * 255)
    np.testing.assert_array_equal(np.asarray(deep(path)), eight)
    assert np.abs(picture_file.load_picture(path) - eight).max() <= 1  # which Pillow rounds down


def test_planes_that_pillow_misreads_are_refused_without_the_extra(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, np.moveaxis(ramp(3), 2, 0), planarconfig="separate")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'jaxstyle\[print\]'"):
        picture_file.load_picture(path)


@pytest.mark.parametrize("kind", ["png", "tiff", "float"])
def test_deep_grey_needs_no_extra(kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path, samples = tmp_path / "a", ramp(1)[..., 0]
    expected = samples / 65535
    if kind == "float":
        Image.fromarray(expected.astype(np.float32)).save(path, "TIFF")
    else:
        Image.fromarray(samples).save(path, kind.upper())
    found = floats(path)
    np.testing.assert_allclose(found, np.repeat(expected[..., None], 3, 2), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(np.asarray(deep(path)), picture_file.load_picture(path))


def test_without_the_extra_eight_bits_are_read_and_that_is_known(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(ramp(3)))
    assert picture_file.lost_bits(path) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert picture_file.lost_bits(path) == "extra"
    assert Reader().picture(path).dtype == np.uint8
    assert not isinstance(Reader().picture(path), BandedPicture)


def ppm(samples: NDArray[np.generic], white: int) -> bytes:
    return (
        f"P6\n# a comment\n{WIDTH} {HEIGHT}\n{white}\n".encode() + samples.astype(">u2").tobytes()
    )


def encoded(name: str, samples: NDArray[np.generic], bits: int) -> bytes:
    """Returns a file without loss whose samples have so many bits."""
    if name.endswith(".ppm"):
        return ppm(samples, 2**bits - 1)
    if name.endswith(".avif"):
        return imagecodecs.avif_encode(samples, level=100, bitspersample=bits)
    given = {"codecformat": name[-3:], "bitspersample": bits}
    return imagecodecs.jpeg2k_encode(samples, reversible=True, **given)


@pytest.mark.parametrize(
    ("name", "bits", "channels"),
    [
        ("a.ppm", 16, 3),
        ("b.ppm", 10, 3),
        ("a.jp2", 16, 3),
        ("b.jp2", 12, 4),
        ("a.j2k", 10, 3),
        ("a.avif", 12, 3),
        ("b.avif", 10, 1),
    ],
)
def test_other_kinds_of_deep_files_keep_their_bits(
    name: str, bits: int, channels: int, tmp_path: Path
) -> None:
    """Each with a white of its own; to 8 bits it is what Pillow reads, within its rounding."""
    if name.endswith(".avif") and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path, samples = tmp_path / name, ramp(channels) >> (16 - bits)
    path.write_bytes(encoded(name, samples[..., 0] if channels == 1 else samples, bits))
    values = samples / (2**bits - 1)
    if channels == 4:
        values = values[..., :3] * values[..., 3:] + 1 - values[..., 3:]
    values = np.broadcast_to(values, (HEIGHT, WIDTH, 3))
    step = 1.01 / (2**bits - 1) if name.endswith(".avif") else 1e-7  # by way of YCbCr
    np.testing.assert_allclose(floats(path), values, rtol=0, atol=step)
    eight = picture_file.load_picture(path).astype(int)
    assert np.abs(eight - np.rint(values * 255)).max() <= 2
    assert picture_file.lost_bits(path) is None
    assert Reader().picture(path).is_deep  # type: ignore[attr-defined]


def test_an_avif_file_is_turned_as_it_says(tmp_path: Path) -> None:
    """Its samples lie as they were coded; Pillow tells how they are turned."""
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path, samples = tmp_path / "a.avif", ramp(3)
    Image.fromarray((samples >> 8).astype(np.uint8)).save(path, exif=turned_exif(6), quality=100)
    with Image.open(path) as image:
        found, white = depth.color_samples(path, image, "avif")
    np.testing.assert_allclose(found / white, np.rot90(samples / 65535, -1), rtol=0, atol=0.02)


def turned_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def test_all_bits_of_a_heif_file_are_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    path, samples = tmp_path / "a.heic", ramp(3) >> 6 << 6
    heif = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=samples.tobytes())
    heif.save(path, quality=-1, chroma=444)
    found = floats(path)
    np.testing.assert_allclose(found, samples / (1023 << 6), rtol=0, atol=3 / 1023)
    assert np.abs(found * 255 - np.rint(found * 255)).max() > 0.3
    assert picture_file.lost_bits(path) is None


@pytest.mark.parametrize("kind", ["cmyk", "plain ppm", "sycc", "sizes", "sgi"])
def test_bits_that_nobody_reads_are_missed(kind: str, tmp_path: Path) -> None:
    path, samples = tmp_path / "a", ramp(4)
    if kind == "cmyk":
        write_tiff(path, samples, photometric="separated")
    elif kind == "plain ppm":
        words = " ".join(map(str, samples[..., :3].ravel()))
        path.write_text(f"P3 {WIDTH} {HEIGHT} 65535 {words}", "ascii")
    elif kind == "sgi":
        head = struct.pack(">hBBHHHH", 474, 0, 2, 3, WIDTH, HEIGHT, 3)
        planes = np.moveaxis(samples[..., :3], 2, 0).astype(">u2")
        path.write_bytes(head.ljust(512, b"\0") + planes.tobytes())
    else:
        file = bytearray(encoded("a.jp2", samples[..., :3], 16))
        at = file.find(b"colr\x01") + 10 if kind == "sycc" else file.find(b"\xff\x4f\xff\x51") + 45
        file[at] = 18 if kind == "sycc" else 14  # a component of 15 bits
        path.write_bytes(bytes(file))
    assert picture_file.lost_bits(path) == "kind"
    assert Reader().picture(path).dtype == np.uint8
    assert not isinstance(Reader().picture(path), BandedPicture)


def test_files_of_eight_bits_miss_none(tmp_path: Path) -> None:
    eight = Image.new("RGB", (WIDTH, HEIGHT), "red")
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "SGI"):
        eight.save(tmp_path / "a", kind)
        assert picture_file.lost_bits(tmp_path / "a") is None, kind
    for end in (7, 12, 20, 41, 44):  # of a header that is cut off
        data = encoded("a.j2k", ramp(3), 16)[:end]
        assert file_bits.jpeg2000_bits(io.BytesIO(data)) in ([], [16], [16, 16, 16])
    assert file_bits.avif_bits(io.BytesIO(b"av1C\x81")) == []


def test_a_decoder_that_fails_is_told(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(ramp(3)))

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(imagecodecs, "png_decode", fail)
    reader = Reader()
    assert reader.picture(path).dtype == np.uint8
    assert not isinstance(reader.picture(path), BandedPicture)
    request = parse(["--content", str(path), "--style", str(path)])
    assert request is not None
    settings = read_settings(request, say=print)
    network = Network(WeightFile(path, "", ""), {}, {})
    (told,) = (
        each for each in reader.inputs(request, settings, network).notices if "8 bits" in each
    )
    assert told.endswith("8 are read: as PNG or TIFF of 16 bits, grey or RGB, it keeps them")


def test_transparency_orientation_and_profiles_of_deep_files(tmp_path: Path) -> None:
    samples, path = ramp(4), tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(samples))
    values = samples / 65535
    over_white = values[..., :3] * values[..., 3:] + 1 - values[..., 3:]
    np.testing.assert_allclose(floats(path), over_white, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(picture_file.load_alpha(path), samples[..., 3])
    path = tmp_path / "b.tif"
    write_tiff(path, samples[..., :3], extratags=[(274, "H", 1, 6, True)])
    expected = np.rot90(samples[..., :3] / 65535, -1)
    assert picture_file.sides_and_bytes(path)[0] == (WIDTH, HEIGHT)
    np.testing.assert_allclose(floats(path), expected, rtol=0, atol=1e-7)
    path = tmp_path / "c.tif"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    write_tiff(path, samples[..., :3], iccprofile=swapped)
    np.testing.assert_allclose(floats(path), values[..., [1, 0, 2]], rtol=0, atol=1e-3)
    write_tiff(path, samples[..., :3], iccprofile=srgb)
    np.testing.assert_allclose(floats(path), values[..., :3], rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("top", "white"), [(0.0, 1.0), (1.0, 1.0), (1.03, 1.0), (200.0, 255.0), (7e4, 7e4)]
)
def test_white_in_floating_point_is_guessed(top: float, white: float) -> None:
    """A picture that was resized reaches a little beyond white."""
    assert depth.white_below(top) == white


def test_a_deep_photo_is_resized_as_floating_point(tmp_path: Path, monkeypatch) -> None:
    """In bands as whole, within the range; the styles are of 8 bits as ever."""
    path, samples = tmp_path / "a.tif", ramp(3)
    samples[:, :8], samples[:, 8:12] = 0, 65535
    write_tiff(path, samples)
    (whole,) = resize_in_depth(deep(path), [(12, 20)], resampling="lanczos")  # type: ignore[arg-type]
    monkeypatch.setattr(depth, "PIXELS_AT_ONCE", 5 * WIDTH)
    (parts,) = resize_in_depth(deep(path), [(12, 20)], resampling="lanczos")  # type: ignore[arg-type]
    np.testing.assert_array_equal(whole, parts)
    assert whole.min() >= 0
    assert whole.max() <= 1
    eight = resize(as_picture(deep(path), name=""), (12, 20), resampling="lanczos")
    assert eight.dtype == np.uint8
    assert 0.01 < np.abs(whole * 255 - eight).max() < 1.5


def test_levels_and_first_canvases_have_all_bits(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.png", ramp(3)
    path.write_bytes(imagecodecs.png_encode(samples))
    picture, expected = Reader().picture(path), samples / 65535
    recipe, _ = preset("book", size=(HEIGHT, WIDTH))
    (level,) = levels(picture, picture, recipe=recipe)
    np.testing.assert_allclose(level.content, expected, rtol=0, atol=1e-7)
    assert level.styles[0].dtype == np.uint8
    for init in ("content", picture):
        canvas = first_canvas(level, init=init, seed=0, resampling="lanczos")
        shown = np.asarray(canvas) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
        np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-6)


def test_arrays_of_sixteen_bits_keep_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bands, "PIXELS_AT_ONCE", 7 * WIDTH)
    path, samples = tmp_path / "a.png", ramp(3)
    path.write_bytes(imagecodecs.png_encode(samples))
    found = picture_file.load_picture(path, deep=True)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, samples)
    recipe, _ = preset("book", size=(HEIGHT, WIDTH))
    (level,) = levels(found, found, recipe=recipe)
    (from_file,) = levels(Reader().picture(path), found, recipe=recipe)
    np.testing.assert_array_equal(level.content, from_file.content)
    np.testing.assert_array_equal(level.content, (samples / 65535).astype(np.float32))
    np.testing.assert_array_equal(level.styles[0], np.rint(samples / 257))
    Image.new("RGB", (4, 4)).save(path)
    assert picture_file.load_picture(path, deep=True).dtype == np.uint8
    with pytest.raises(InputError, match="photo must be uint8, uint16 or floating point"):
        as_picture(samples.astype(np.int32), name="photo")


def test_chroma_of_a_deep_photo_has_all_bits() -> None:
    photo = (ramp(3) / 65535).astype(np.float32)
    luma = photo @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = np.repeat(luma[..., None], 3, -1)
    np.testing.assert_allclose(with_chroma_of(grey, photo), photo, rtol=0, atol=1e-6)  # type: ignore[arg-type]


def test_what_decoding_takes_is_known_before(tmp_path: Path) -> None:
    """The array of samples and the file come on top of Pillow's image."""
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(ramp(4)))
    kind, needed = picture_file.depth_of(path)
    with Image.open(path) as image:
        least = decoding.decoding_bytes(image)
    assert (kind, needed) == ("png", least + HEIGHT * WIDTH * 8 + path.stat().st_size)
    Image.new("RGB", (4, 4)).save(path)
    assert picture_file.depth_of(path) == (None, 0)


def test_a_damaged_deep_file_is_one_line(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, ramp(3, kind=np.float32), photometric="rgb", compression="zlib")
    path = tmp_path / "a.tif"
    for end in (100, 300, 900):
        path.write_bytes(file.getvalue()[:end])
        with pytest.raises(InputError) as refused:
            Reader().picture(path)
        assert "\n" not in str(refused.value)


def test_samples_that_are_no_colors_do_not_count(tmp_path: Path) -> None:
    """A fourth channel is transparency only where the file says so."""
    samples, path = ramp(3), tmp_path / "a.tif"
    alpha = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
    alpha[:, :9] = 13107  # a fifth
    expected = samples / 65535
    write_tiff(path, np.dstack([samples, 0 * alpha]), extrasamples=["unspecified"])
    np.testing.assert_allclose(floats(path), expected, rtol=0, atol=1e-7)
    assert picture_file.load_alpha(path) is None
    multiplied = np.rint(samples * (alpha / 65535)).astype(np.uint16)
    write_tiff(path, np.dstack([multiplied, alpha]), extrasamples=["assocalpha"])
    over_white = expected * alpha / 65535 + 1 - alpha / 65535
    np.testing.assert_allclose(floats(path), over_white, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(picture_file.load_alpha(path), alpha[..., 0])


def test_other_colors_are_read_as_eight_bits_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, ramp(4), photometric="separated")
    assert not isinstance(Reader().picture(path), BandedPicture)
    write_tiff(path, ramp(3), photometric="cielab")
    with pytest.raises(InputError, match="a TIFF file of a kind that cannot be read"):
        Reader().picture(path)


def test_twelve_bits_are_read_whole(tmp_path: Path) -> None:
    path, twelve = tmp_path / "a.tif", ramp(1)[..., 0] >> 4
    try:
        tifffile.imwrite(path, twelve, photometric="minisblack", bitspersample=12)
    except NotImplementedError:
        pytest.skip("this imagecodecs cannot write 12 bits")
    np.testing.assert_allclose(floats(path)[..., 0], twelve / 4095, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(np.asarray(deep(path)), picture_file.load_picture(path))
