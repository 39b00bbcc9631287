"""Pictures of every kind, in and out; expected pixels by hand or by numpy."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from jaxstyle.errors import InputError
from jaxstyle.images import decoding, picture_file
from jaxstyle.images.canvas import Picture, as_picture, denormalize, fitted_size, normalize, resize
from jaxstyle.runs import output_name
from jaxstyle.settings.checks import MOST_PIXELS

# by EXIF orientation: what turns the stored pixels upright (EXIF 2.3, tag 0x0112)
UPRIGHT = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p.swapaxes(0, 1), 2),
    8: np.rot90,
}
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""The primaries' XYZ, adapted to D50 (Adobe RGB (1998), section 4.3.5.3)."""


def pixels(height: int = 6, width: int = 9) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Picture:
    image.save(path, **options)
    return picture_file.load_picture(path)


def fixed(*values: float) -> bytes:
    """Numbers as in ICC profiles: 16 bits before and 16 behind the point."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(kind: bytes, colors: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Returns an ICC profile, version 2.1 (ICC.1:2001-04, section 6)."""
    header = b"none" + struct.pack(">I", 0x02100000) + kind + colors + pcs + bytes(12) + b"acsp"
    header += bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(data)
        table += name + struct.pack(">II", offset, len(value))
        data += value + bytes(-len(value) % 4)
    return struct.pack(">I", 4 + len(header) + len(table + data)) + header + table + data


def rgb_profile(primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {bytes([c]) + b"TRC": curve for c in b"rgb"}
    for letter, primary in zip(b"rgb", primaries, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*primary)
    return icc_profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile() -> bytes:
    """Linear light."""
    tags = {b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0)}
    return icc_profile(b"mntr", b"GRAY", b"XYZ ", tags)


def black_only_profile() -> bytes:
    """Of a printer with four inks of which only the black one can be seen."""
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    ramp = bytes(range(256))
    table += ramp * 4 + bytes([255, 128, 128, 0, 128, 128]) * 8 + ramp * 3
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


# reading


def test_rgb_png_is_read_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(saved(tmp_path / "a.png", Image.fromarray(pixels())), pixels())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = saved(tmp_path / f"a{suffix}", Image.fromarray(pixels()), exif=exif)
    assert np.array_equal(loaded, UPRIGHT[orientation](pixels()))


@pytest.mark.parametrize("junk", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_broken_exif_is_no_reason_to_refuse(tmp_path: Path, junk: bytes, suffix: str) -> None:
    image = Image.new("RGB", (5, 3), (0, 128, 255))
    loaded = saved(tmp_path / f"a{suffix}", image, exif=junk)
    assert loaded.shape == (3, 5, 3)
    assert np.abs(loaded.astype(int) - (0, 128, 255)).max() <= 2


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = pixels()[..., 0]
    loaded = saved(tmp_path / "a.png", Image.fromarray(grey))
    assert np.array_equal(loaded, np.dstack([grey] * 3))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = pixels()[..., 0] > 100
    loaded = saved(tmp_path / "a.png", Image.fromarray(bits))
    assert np.array_equal(loaded[..., 1], np.where(bits, 255, 0))


@pytest.mark.parametrize(("mode", "order"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "=i4")])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, mode: str, order: str) -> None:
    grey = np.array([[0, 128, 129, 257], [25700, 32768, 65406, 65535]])
    image = Image.frombytes(mode, (4, 2), grey.astype(order).tobytes())
    loaded = saved(tmp_path / "a.tif", image)
    # 128 / 257 is just below a half, 129 / 257 just above; 32768 / 257 is 127.5019
    assert loaded[..., 2].tolist() == [[0, 0, 1, 1], [100, 128, 254, 255]]


def test_sixteen_bit_png_from_its_bytes(tmp_path: Path) -> None:
    """Grey and RGB, written here byte by byte, as Pillow writes no 16-bit RGB."""

    def png(color_type: int, samples: NDArray[np.uint16]) -> bytes:
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        chunks = {
            b"IHDR": struct.pack(
                ">IIBBBBB", samples.shape[1], len(samples), 16, color_type, 0, 0, 0
            ),
            b"IDAT": zlib.compress(rows),
            b"IEND": b"",
        }
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks.items()
        )

    values = np.array([[0, 32896], [51400, 65535]], np.uint16)  # 257 times 0, 128, 200, 255
    (tmp_path / "grey.png").write_bytes(png(0, values))
    colors = np.stack([values, values[::-1], values[:, ::-1]], axis=-1)
    (tmp_path / "rgb.png").write_bytes(png(2, colors))
    grey = np.array([[0, 128], [200, 255]])
    assert np.array_equal(picture_file.load_picture(tmp_path / "grey.png")[..., 0], grey)
    assert np.array_equal(picture_file.load_picture(tmp_path / "rgb.png"), colors // 257)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e6])
def test_floating_point_tiff_is_scaled_by_its_likely_range(tmp_path: Path, top: float) -> None:
    values = np.array([[0, 0.25, 1.0, np.nan]], np.float32) * np.float32(top)
    loaded = saved(tmp_path / "a.tif", Image.fromarray(values))
    assert loaded[0, :, 0].tolist() == [0, 64, 255, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(51, 51, 51, 255), (51, 51, 51, 128), (51, 51, 51, 0)])
    loaded = saved(tmp_path / "a.tif", image.convert(mode))
    # 51 * 128 / 255 + 255 * 127 / 255 = 152.6
    assert np.abs(loaded[0, :, 0].astype(int) - [51, 153, 255]).max() <= 1
    assert loaded.shape == (1, 3, 3)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    opaque = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert saved(tmp_path / "a.png", image)[0].tolist() == opaque
    by_index = saved(tmp_path / "b.png", image, transparency=1)
    assert by_index[0].tolist() == [opaque[0], [255, 255, 255], opaque[2]]
    by_bytes = saved(tmp_path / "c.png", image, transparency=bytes([255, 255, 51]))
    # 70 / 5 + 255 * 4 / 5 = 218, and so on
    assert by_bytes[0].tolist() == [opaque[0], opaque[1], [218, 220, 222]]


@pytest.mark.parametrize(("mode", "color"), [("L", 51), ("RGB", (51, 60, 70))])
def test_a_transparent_color_becomes_white(tmp_path: Path, mode: str, color: object) -> None:
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), 9 if mode == "L" else (9, 9, 9))
    loaded = saved(tmp_path / "a.png", image, transparency=color)
    assert loaded[0].tolist() == [[255, 255, 255], [9, 9, 9]]


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    loaded = saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)
    assert np.abs(loaded.astype(int) - (255, 0, 0)).max() <= 3


def test_cmyk_jpeg_is_read_by_its_profile(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 255, 0))  # without the profile: green
    loaded = saved(tmp_path / "a.jpg", image, quality=95, icc_profile=black_only_profile())
    assert loaded.min() >= 252


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = saved(tmp_path / "a.png", Image.fromarray(pixels(40, 40)), icc_profile=profile)
    assert np.array_equal(loaded, pixels(40, 40))


def test_adobe_rgb_is_converted(tmp_path: Path) -> None:
    """Those of sRGB in Adobe RGB: (219, 0, 0), (144, 255, 60), (0, 0, 250)."""
    image = Image.new("RGB", (4, 1))
    image.putdata([(219, 0, 0), (144, 255, 60), (0, 0, 250), (127, 127, 127)])
    profile = rgb_profile(ADOBE_RGB, 563 / 256)
    loaded = saved(tmp_path / "a.png", image, icc_profile=profile).astype(int)
    # near black a level of Adobe RGB is worth several of sRGB, hence the tolerance
    wanted = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]
    assert np.abs(loaded[0] - wanted).max() <= 9
    assert np.abs(loaded[0, 3] - 128).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_with_red_and_blue_swapped_swaps_them(tmp_path: Path, mode: str) -> None:
    profile = rgb_profile(ADOBE_RGB[::-1], 563 / 256)
    image = Image.new("RGB", (1, 1), (219, 0, 0))
    image = image.convert(mode, palette=Image.Palette.ADAPTIVE)
    loaded = saved(tmp_path / "a.png", image, icc_profile=profile)
    assert loaded[0, 0, 2] >= 215
    assert loaded[0, 0, 0] <= 9


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_profile_is_applied(tmp_path: Path, mode: str) -> None:
    """Linear 55 / 255 is 0.2157, in sRGB 1.055 * 0.2157 ** (1 / 2.4) - 0.055 = 0.5019: 128."""
    image = Image.new(mode, (1, 1), {"L": 55, "LA": (55, 255), "I;16": 55 * 257}[mode])
    loaded = saved(tmp_path / "a.png", image, icc_profile=grey_profile())
    assert np.abs(loaded.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("profile", [b"broken", b"\0" * 200, grey_profile()])
def test_a_profile_that_cannot_be_used_is_ignored(tmp_path: Path, profile: bytes) -> None:
    loaded = saved(tmp_path / "a.png", Image.fromarray(pixels()), icc_profile=profile)
    assert np.array_equal(loaded, pixels())


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (7, 5), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == ".webp" else {}
    loaded = saved(
        tmp_path / f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **options
    )
    assert np.array_equal(loaded, np.full((5, 7, 3), (255, 0, 0)))


CUT_OFF = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="Pillow before 13 writes such a file cut off"
)


@pytest.mark.parametrize(
    ("mode", "color", "wanted"),
    [
        pytest.param("YCbCr", (255, 128, 128), 255, marks=CUT_OFF),
        ("LAB", (0, 128, 128), 0),
    ],
)
def test_other_color_spaces(tmp_path: Path, mode: str, color: object, wanted: int) -> None:
    loaded = saved(tmp_path / "a.tif", Image.new(mode, (2, 2), color))
    assert loaded.shape == (2, 2, 3)
    assert np.abs(loaded.astype(int) - wanted).max() <= 1


def png_with(*chunks: tuple[bytes, bytes], damaged: bool = False) -> bytes:
    """Returns a PNG of `pixels` with chunks behind its header, their checksums right or not."""
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, "PNG")
    more = b""
    for name, data in chunks:
        checksum = zlib.crc32(name + data) ^ damaged
        more += struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
    whole, header = file.getvalue(), 8 + 12 + 13
    return whole[:header] + more + whole[header:]


LONG = zlib.compress(bytes(2_000_000))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"zTXt", b"workflow\0\0" + LONG)],
        [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG)],
        [(b"zTXt", b"workflow\0\7" + LONG)],
        [(b"iCCP", b"profile\0\0" + LONG)],
        *([(name, b"")] for name in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"acTL")),
    ],
)
def test_what_a_png_has_beside_its_pixels_is_no_reason_to_refuse(
    tmp_path: Path, chunks: list[tuple[bytes, bytes]]
) -> None:
    (tmp_path / "a.png").write_bytes(png_with(*chunks))
    assert np.array_equal(picture_file.load_picture(tmp_path / "a.png"), pixels())
    assert picture_file.read_text(tmp_path / "a.png").keys() <= {"workflow"}


def test_a_checksum_of_a_png_counts_where_the_pixels_are_decided(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_with((b"tEXt", b"a\0b"), damaged=True))
    assert np.array_equal(picture_file.load_picture(tmp_path / "a.png"), pixels())
    (tmp_path / "a.png").write_bytes(png_with((b"PLTE", b"abc"), damaged=True))
    with pytest.raises(InputError):
        picture_file.load_picture(tmp_path / "a.png")


def test_a_record_is_found_beside_a_long_text(tmp_path: Path) -> None:
    record = b"jaxstyle\0\0\0\0\0{}"
    (tmp_path / "a.png").write_bytes(png_with((b"zTXt", b"x\0\0" + LONG), (b"iTXt", record)))
    assert picture_file.read_text(tmp_path / "a.png") == {"jaxstyle": "{}"}


def test_a_large_profile_of_a_png_is_used(tmp_path: Path) -> None:
    profile = rgb_profile(ADOBE_RGB, 563 / 256)
    large = struct.pack(">I", len(profile) + 2_000_000) + profile[4:] + bytes(2_000_000)
    loaded = []
    for each in (profile, large):
        (tmp_path / "a.png").write_bytes(png_with((b"iCCP", b"x\0\0" + zlib.compress(each))))
        loaded.append(picture_file.load_picture(tmp_path / "a.png"))
    assert np.array_equal(*loaded)
    assert not np.array_equal(loaded[0], pixels())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pictures_are_converted_alike_in_blocks_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    if mode in ("I;16", "I", "F"):
        kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        image = Image.fromarray((np.arange(54).reshape(6, 9) * 1200).astype(kinds[mode]))
    else:
        image = Image.fromarray(pixels()).convert(mode)
    image.save(tmp_path / "a.tif")
    whole = picture_file.load_picture(tmp_path / "a.tif")
    monkeypatch.setattr(picture_file, "PIXELS_AT_ONCE", 20)  # two rows
    monkeypatch.setattr(decoding, "PIXELS_AT_ONCE", 20)
    assert np.array_equal(picture_file.load_picture(tmp_path / "a.tif"), whole)


# what cannot be read


def test_too_little_memory_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    Image.fromarray(pixels()).save(tmp_path / "a.png")
    for owner, name in ((Image, "open"), (decoding, "orientation_of")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(InputError, match=r"too little memory to read .*a\.png"):
                picture_file.load_picture(tmp_path / "a.png")


def test_reading_takes_few_bytes_a_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What numpy and Python take beside Pillow's own image: 3 bytes a pixel, and one block's."""
    import tracemalloc

    Image.fromarray(np.zeros((1000, 500), np.uint16)).save(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "PIXELS_AT_ONCE", 5_000)
    tracemalloc.start()
    try:
        picture_file.load_picture(tmp_path / "a.png")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 3 * 500_000 <= peak < 4 * 500_000


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".gif", ".bmp", ".png"])
def test_a_picture_cut_off_in_the_middle_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels(60, 60)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut off or damaged|not a picture") as caught:
        picture_file.load_picture(path)
    assert "\n" not in str(caught.value)


def test_a_jpeg_without_its_last_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels(60, 60)).save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cut off"):
        picture_file.load_picture(path)


@pytest.mark.parametrize("data", [b"", b"just words\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.jpg"):
        picture_file.load_picture(tmp_path / "a.jpg")


def bomb(side: int) -> bytes:
    """The start of a PNG file that claims to be `side` pixels square."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))
    return start + b"\0\0\1\0IDAT" + zlib.compress(bytes(1000))


def test_a_decompression_bomb_is_refused_and_the_limit_said(tmp_path: Path) -> None:
    assert int(Image.MAX_IMAGE_PIXELS or 0) * 2 == MOST_PIXELS
    (tmp_path / "a.png").write_bytes(bomb(13378))  # 13377 ** 2 < MOST_PIXELS < 13378 ** 2
    with pytest.raises(InputError, match="more than 178,956,970 pixels"):
        picture_file.load_picture(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(bomb(13377))
    with pytest.raises(InputError, match="cut off"):  # not too large, and no warning of Pillow's
        picture_file.load_picture(tmp_path / "a.png")


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        picture_file.load_picture(str(tmp_path / "none.png"))
    with pytest.raises(InputError, match="is a folder"):
        picture_file.load_picture(tmp_path)


# arrays


def test_as_picture_rounds_floats_and_keeps_bytes() -> None:
    assert as_picture(pixels(), name="content") is not None
    assert np.array_equal(as_picture(pixels(), name="content"), pixels())
    for kind in (np.float16, np.float32, np.float64):
        back = as_picture((pixels() / 255).astype(kind), name="content")
        assert back.dtype == np.uint8
        assert np.array_equal(back, pixels())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        ("photo.jpg", "shape"),
        (None, "shape"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.full((4, 4, 3), 1.01), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.01), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.inf), r"\[0, 1\]"),
        ([[[1, 2, 3]], [[4, 5]]], "array"),
    ],
)
def test_as_picture_refuses(array: object, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s)the photo.*{message}"):
        as_picture(array, name="the photo")


@pytest.mark.parametrize(
    ("shape", "size", "scale", "wanted"),
    [
        ((600, 900), 450, 1.0, (300, 450)),
        ((900, 600), 450, 1.0, (450, 300)),
        ((600, 900), 450, 0.5, (150, 225)),
        ((300, 400), 450, 1.0, (300, 400)),  # never enlarged
        ((300, 400), 450, 0.5, (150, 200)),
        ((5, 1000), 100, 1.0, (1, 100)),  # 0.5 is rounded up
        ((2, 1000), 100, 1.0, (1, 100)),  # 0.2, but one row is the least
        ((25, 100), 50, 1.0, (13, 50)),  # 12.5 is rounded up
        ((35, 100), 30, 1.0, (11, 30)),  # 10.5 is rounded up
        ((67, 93), (300, 450), 1.0, (300, 450)),  # HxW enlarges and ignores the aspect
        ((67, 93), (300, 451), 0.5, (150, 226)),
    ],
)
def test_fitted_size(shape: tuple[int, int], size: object, scale: float, wanted: object) -> None:
    assert fitted_size(np.zeros((*shape, 3), np.uint8), size, scale) == wanted


def triangle_resize(row: list[int], width: int) -> list[int]:
    """Antialiased bilinear, exactly: triangles as wide as two output pixels, at least two input."""
    scale = Fraction(len(row), width)
    support = max(scale, Fraction(1))
    result = []
    for i in range(width):
        centre = (i + Fraction(1, 2)) * scale
        weights = [max(1 - abs(j + Fraction(1, 2) - centre) / support, 0) for j in range(len(row))]
        value = sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights)
        result.append(int(value + Fraction(1, 2)))
    return result


@pytest.mark.parametrize("width", [3, 5, 7, 16])
def test_bilinear_is_antialiased(width: int) -> None:
    row = [0, 255, 30, 200, 90, 10, 250, 128, 64, 1]
    picture = np.repeat(np.array(row, np.uint8)[None, :, None], 3, axis=2)
    resized = resize(picture, (1, width), resampling="bilinear")
    assert np.abs(resized[0, :, 0].astype(int) - triangle_resize(row, width)).max() <= 1


def test_resize_to_its_own_size_and_of_flat_pictures() -> None:
    assert resize(pixels(), (6, 9), resampling="lanczos") is not None
    assert np.array_equal(resize(pixels(), (6, 9), resampling="lanczos"), pixels())
    flat = np.full((50, 40, 3), 77, np.uint8)
    for resampling in ("lanczos", "bilinear"):
        resized = resize(flat, (13, 64), resampling=resampling)
        assert np.array_equal(resized, np.full((13, 64, 3), 77))


def all_levels() -> Picture:
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def test_normalize_is_the_formula() -> None:
    levels = all_levels()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (levels / 255 - mean) / std
    canvas = normalize(levels)
    assert canvas.dtype == np.float32
    # of the terms of the difference, up to 1 / 0.224: where they cancel, more is not to be had
    assert np.abs(canvas - wanted).max() <= np.spacing(np.float32(4))


def test_denormalize_gives_every_level_back() -> None:
    back = denormalize(normalize(all_levels()))
    assert back.dtype == np.float32
    assert np.array_equal(np.rint(back * 255), all_levels())
    assert np.abs(back * 255 - all_levels()).max() < 1e-4
    assert denormalize(np.full((1, 1, 3), 99)).tolist() == [[[1, 1, 1]]]
    assert denormalize(np.full((1, 1, 3), -99)).tolist() == [[[0, 0, 0]]]


# writing


def test_encode_rounds_half_to_even() -> None:
    values = np.array([0.5, 1.5, 2.5, 253.5, 254.5, 254.4], np.float64) / 255
    picture = np.repeat(values[None, :, None], 3, axis=2)
    image = Image.open(io.BytesIO(picture_file.encode(picture, ".png", {})))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 2, 2, 254, 254, 254]


def test_the_float32_picture_of_every_level_is_saved_as_that_level() -> None:
    picture = denormalize(normalize(all_levels()))
    image = Image.open(io.BytesIO(picture_file.encode(picture, ".png", {})))
    assert np.array_equal(np.asarray(image), all_levels())


@pytest.mark.parametrize("suffix", list(output_name.LONGEST_SIDES))
def test_encode_is_deterministic_and_tagged_as_srgb(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = (pixels(40, 50) / 255).astype(np.float32)
    data = picture_file.encode(picture, suffix, {"Software": "x"})
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert picture_file.encode(picture, suffix, {"Software": "x"}) == data
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    with Image.open(path) as image:
        kinds = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
        assert image.format == kinds.get(suffix, "JPEG")
        if suffix == ".png":
            assert image.info["srgb"] == 0
        else:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
            assert image.info["icc_profile"][24:36] == bytes(12)  # no time of making
    assert picture_file.load_picture(path).shape == (40, 50, 3)


def test_jpeg_is_of_quality_95_without_subsampling() -> None:
    data = picture_file.encode((pixels(16, 16) / 255).astype(np.float32), ".jpg", {})
    with Image.open(io.BytesIO(data)) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        # the standard's first value, 16, at quality 95: (16 * 10 + 50) // 100
        assert image.quantization[0][0] == 2


def test_png_text_comes_back_also_from_behind_the_pixels(tmp_path: Path) -> None:
    text = {"Software": "jaxstyle 1", "jaxstyle": '{"name": "Käse 🧀"}'}
    data = picture_file.encode(np.zeros((2, 2, 3), np.float32), ".png", text)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert picture_file.read_text(path) == text
    chunk = b"tEXtjaxstyle\0late"
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:-12] + late + data[-12:])
    assert picture_file.read_text(path)["jaxstyle"] == "late"


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif"])
def test_pictures_of_other_kinds_carry_no_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels()).save(path, comment=b"jaxstyle")
    assert picture_file.read_text(path) == {}


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16383), (".jpg", 65500)])
def test_the_longest_side_can_be_written_and_one_more_cannot(suffix: str, side: int) -> None:
    picture_file.encode(np.zeros((1, side, 3), np.float32), suffix, {})
    output_name.check_encodable((1, side), Path(f"a{suffix}"))
    with pytest.raises((OSError, ValueError)):
        picture_file.encode(np.zeros((1, side + 1, 3), np.float32), suffix, {})
    with pytest.raises(InputError, match=f"at most {side}"):
        output_name.check_encodable((1, side + 1), Path(f"a{suffix}"))
