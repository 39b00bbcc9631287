"""Pictures of more than 8 bits a channel: their files as floating point, upright, in sRGB.

Grey ones are read by Pillow; PNG, JPEG 2000 and AVIF files in colors by imagecodecs, TIFF files by
tifffile, which are the extra that writes such files; HEIF files by pillow-heif. Without these, 8
bits of them are read, as they are of all other kinds.
"""

import importlib.util
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from jaxstyle.images import png_chunks
from jaxstyle.images.bands import PIXELS_AT_ONCE, Bands
from jaxstyle.images.decoding import orientation_of, turned
from jaxstyle.images.file_bits import bits_of, is_plain_jpeg2000
from jaxstyle.images.print_file import srgb_profile
from jaxstyle.settings.checks import MOST_PIXELS

_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANES = 258, 262, 274, 277, 284
"""TIFF's tags of how many bits each sample has, what samples mean, how a picture lies in the file,
how many samples a pixel has, and whether each has a plane of its own."""

_GREY_OR_RGB = (0, 1, 2)

NEEDS = {
    **dict.fromkeys(("png", "jpeg2000", "avif"), "imagecodecs"),
    **{"tiff": "tifffile", "heif": "pillow_heif"},
}
"""What reads the kinds of deep files that Pillow reads as 8 bits."""

_KINDS = {"JPEG2000": "jpeg2000", "AVIF": "avif", "HEIF": "heif"}
"""Kinds by Pillow's names, of those that `file_bits` knows."""

WHITES = (1.0, 255.0, 65535.0)
"""What white may be in floating point, which has no agreed range."""

BRIGHTER = 2.0
"""Floating-point pictures reach beyond a white of 1 by so much: resizing overshoots."""


def kind_of_depth(image: Image.Image) -> str | None:
    """Returns who can read all bits of an opened image; None if nobody can, or it has but 8.

    "grey": Pillow; "ppm": numpy; all others: see NEEDS.
    """
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return "grey"
    if "deep" in image.info:
        return str(image.info["deep"])
    if image.format == "PNG":
        return "png" if any(";16" in str(tile[3]) for tile in image.tile) else None  # type: ignore[attr-defined]
    if image.format in ("PPM", *_KINDS):
        return _kind_by_header(image)
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) not in _GREY_OR_RGB:
        return None
    return "tiff" if _tiff_bits(tags) > 8 else None


def _tiff_bits(tags: Any) -> int:
    """Returns the most bits that a channel has by a TIFF file's tags; 8 without any."""
    bits = tags.get(_BITS, 8)
    return int(max(bits if isinstance(bits, tuple) else (bits,)))


def _kind_by_header(image: Image.Image) -> str | None:
    modes = ("RGB", "RGBA", *(["L"] if image.format == "AVIF" else []))
    if image.mode not in modes or bits_of(image) == 8:
        return None
    if image.format == "PPM":
        return "ppm" if image.tile[0][0] == "ppm" else None  # type: ignore[attr-defined]
    if image.format == "JPEG2000" and not is_plain_jpeg2000(image):
        return None
    return _KINDS[str(image.format)]


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image has more than 8 bits a channel in its file, read or not."""
    most = max(_tiff_bits(getattr(image, "tag_v2", {})), bits_of(image))
    return kind_of_depth(image) is not None or most > 8


def is_misread(image: Image.Image) -> bool:
    """Whether an opened TIFF has a plane of more than 8 bits for each channel.

    Pillow takes such planes for others, without a word.
    """
    tags: Any = getattr(image, "tag_v2", {})
    in_planes = tags.get(_PLANES, 1) == 2 and int(tags.get(_SAMPLES, 1)) > 1
    return in_planes and kind_of_depth(image) == "tiff"


def is_missing(kind: str) -> bool:
    """Whether what reads a kind of deep file is not installed."""
    return kind in NEEDS and any(
        importlib.util.find_spec(each) is None for each in ("imagecodecs", NEEDS[kind])
    )


def deep_bytes(image: Image.Image, kind: str) -> int:
    """Returns how many bytes it takes to decode a deep file, which is decoded as one array."""
    if kind == "grey":
        return 0  # Pillow's image is all
    bits: Any = getattr(image, "tag_v2", {}).get(_BITS, (16,) * len(image.getbands()))
    several = bits if isinstance(bits, tuple) else (bits,)
    name = getattr(image, "filename", "")
    size = Path(name).stat().st_size if name else 0
    return image.width * image.height * sum(-(-int(each) // 8) for each in several) + size


def white_of(values: NDArray[Any]) -> float:
    """Returns the value of white in an array of whole numbers, or guesses it in another's range."""
    if values.dtype.kind in "iu":
        return float(np.iinfo(values.dtype).max)
    top = float(np.nan_to_num(values, posinf=0.0, neginf=0.0).max(initial=0))
    return white_below(top)


def white_below(top: float) -> float:
    """Returns what white probably is in floating point whose largest value is `top`."""
    if top <= BRIGHTER:
        return 1.0
    return next((each for each in WHITES if top <= each), top)


def white_in_file(image: Image.Image) -> float:
    """Returns white of an opened grey image of whole numbers: 65535, or TIFF's own of 12 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))
    each = int(bits[0] if isinstance(bits, tuple) else bits)
    return float(2**each - 1) if 8 < each < 16 else 65535.0


def color_samples(path: Path, image: Image.Image, kind: str) -> tuple[NDArray[Any], float]:
    """Returns the upright samples (H, W, 1 to 4) of a deep file in colors, and their white.

    Raises:
      Exception: whatever its decoder raises.
    """
    if kind == "tiff":
        return tiff_samples(path)
    samples, white = _DECODERS.get(kind, _by_imagecodecs)(path, image)
    return turned(samples.reshape(image.height, image.width, -1), orientation_of(image)), white


def _by_imagecodecs(path: Path, image: Image.Image) -> tuple[NDArray[Any], float]:
    """Returns the samples of a JPEG 2000 or AVIF file, and their white."""
    import imagecodecs

    file = path.read_bytes()
    if image.format == "AVIF":
        found = imagecodecs.avif_decode(file, index=0)
    else:
        found = imagecodecs.jpeg2k_decode(file)
    return found, 255.0 if found.dtype == np.uint8 else float(2 ** bits_of(image) - 1)


def _png(path: Path, image: Image.Image) -> tuple[NDArray[Any], float]:
    import imagecodecs

    found = np.asarray(imagecodecs.png_decode(png_chunks.only_deciding(path.read_bytes())))
    return found, white_of(found)


def _ppm(path: Path, image: Image.Image) -> tuple[NDArray[Any], float]:
    """Returns the samples of a binary PPM file, two bytes each, the higher one first."""
    _, _, start, (_, white) = image.tile[0]  # type: ignore[attr-defined]
    count = image.width * image.height * 3
    return np.fromfile(path, ">u2", count=count, offset=start), float(white)


def _heif(path: Path, image: Image.Image) -> tuple[NDArray[Any], float]:
    """Returns the samples of a HEIF file, whose bits are the upper ones of 16."""
    import pillow_heif

    found = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
    bits = bits_of(image)
    return found, float((2**bits - 1) << (16 - bits))


_DECODERS = {"png": _png, "ppm": _ppm, "heif": _heif}


def tiff_samples(path: Path) -> tuple[NDArray[Any], float]:
    """Returns the upright samples (H, W, 1 to 4) of a TIFF file's first page, and their white.

    Raises:
      UnidentifiedImageError: samples that are neither grey nor RGB.
      Exception: whatever tifffile raises.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are raised as well
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        if page.imagewidth * page.imagelength > MOST_PIXELS:
            raise Image.DecompressionBombError
        kinds = tifffile.PHOTOMETRIC
        if page.photometric not in (kinds.RGB, kinds.MINISBLACK, kinds.MINISWHITE):
            raise UnidentifiedImageError
        ends = map(int.__add__, page.dataoffsets, page.databytecounts)
        if max(ends, default=0) > path.stat().st_size:
            raise ValueError("the file ends before its pixels do")
        found = np.asarray(page.asarray())
        if page.axes == "SYX":
            found = np.moveaxis(found, 0, 2)
        found = found.reshape(*found.shape[:2], -1)
        white = white_of(found)
        if found.dtype.kind == "u":
            white = float(2**page.bitspersample - 1)
        if page.photometric == kinds.MINISWHITE:
            found = (white - found).astype(np.float32)
        found = _with_alpha(found, white, 3 if page.photometric == kinds.RGB else 1, page)
        tag = page.tags.get(_ORIENTATION)
    return turned(found, tag.value if tag else 1), white


def _with_alpha(found: NDArray[Any], white: float, colors: int, page: Any) -> NDArray[Any]:
    """Returns samples with those of colors and of transparency alone, not multiplied by it."""
    import tifffile

    kinds, also = tifffile.EXTRASAMPLE, page.extrasamples[:1]
    if also not in ((kinds.UNASSALPHA,), (kinds.ASSOCALPHA,)):
        return found[..., :colors]
    found = found[..., : colors + 1]
    if also == (kinds.UNASSALPHA,):
        return found
    values = found.astype(np.float32)
    values[..., :colors] *= white / np.maximum(values[..., colors:], np.float32(1e-6))
    return values.clip(0, white)


def deep_bands(path: Path, image: Image.Image, kind: str) -> Bands:
    """Returns a deep picture in bands (h, W, 3) of float32 in [0, 1], over white.

    Raises:
      Exception: whatever its decoder raises.
    """
    if kind == "grey":
        image.load()
        found = np.asarray(image)
        top = max(float(np.nan_to_num(rows).max(initial=0)) for rows in _rows(found))
        white = white_below(top) if image.mode == "F" else max(white_in_file(image), top)
        tiff = image.format == "TIFF"  # Pillow turns these itself
        samples = turned(found[..., None], 1 if tiff else orientation_of(image))
    else:
        samples, white = color_samples(path, image, kind)
    profile = None if kind == "grey" else _other_profile(image)
    parts = (_srgb_floats(rows, white, profile) for rows in _rows(samples))
    return Bands((*samples.shape[:2], 3), parts)


def deep_alpha(path: Path, image: Image.Image, kind: str) -> NDArray[np.uint16] | None:
    """Returns how opaque each pixel of a deep picture in colors is, (H, W), 0 to 65535.

    None if the file does not say.

    Raises:
      Exception: whatever its decoder raises.
    """
    samples, white = color_samples(path, image, kind)
    if samples.shape[2] not in (2, 4):
        return None
    found = np.empty(samples.shape[:2], np.uint16)
    start = 0
    for rows in _rows(samples[..., -1:]):
        found[start : start + len(rows)] = np.rint(floats_of(rows, white)[..., 0] * 65535)
        start += len(rows)
    return found


def _rows(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = max(1, PIXELS_AT_ONCE // samples.shape[1])
    for start in range(0, len(samples), rows):
        yield samples[start : start + rows]


def floats_of(samples: NDArray[Any], white: float) -> NDArray[np.float64]:
    """Returns samples as floating point in [0, 1]; those that are not finite are 0."""
    finite = np.nan_to_num(np.asarray(samples, np.float64), posinf=0.0, neginf=0.0)
    return (finite / white).clip(0, 1)


def _srgb_floats(samples: NDArray[Any], white: float, profile: bytes | None) -> NDArray[np.float32]:
    """Returns samples (h, w, 1 to 4) as sRGB over white, (h, w, 3) in [0, 1]."""
    values = floats_of(samples, white)
    colors = values[..., :3] if values.shape[2] > 2 else np.repeat(values[..., :1], 3, axis=2)
    if profile is not None and values.shape[2] > 2:
        colors = _converted(colors, profile)
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        colors = colors * alpha + (1 - alpha)
    return np.ascontiguousarray(colors, np.float32)


def _converted(colors: NDArray[np.float64], profile: bytes) -> NDArray[np.float64]:
    """Returns RGB of a profile in sRGB, in 16 bits, by Little CMS; as it is if that fails."""
    import imagecodecs

    given: Any = {"colorspace": "rgb", "outcolorspace": "rgb", "outdtype": "uint16", "intent": 0}
    deep = np.ascontiguousarray(np.rint(colors * 65535), np.uint16)
    try:
        found = imagecodecs.cms_transform(deep, profile, srgb_profile(), **given)
    except Exception:  # a broken profile, or one of other colors
        return colors
    return np.asarray(found, np.float64) / 65535


def _other_profile(image: Image.Image) -> bytes | None:
    """Returns an image's profile; None if sRGB's colors are the same in it, or it is broken."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    steps = np.arange(0, 256, 51)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3).astype(np.uint8)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(data))
        given = Image.fromarray(colors), source, ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(*given, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    moved = np.abs(np.asarray(converted, np.int16) - colors)
    return bytes(data) if moved.max() > 1 else None
