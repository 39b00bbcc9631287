"""Decoding: how much memory a file takes, smaller copies of it, and its rows upright."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jaxstyle.images.bands import PIXELS_AT_ONCE
from jaxstyle.settings.recipe import Sides

_Kind = TypeVar("_Kind", bound=np.generic)

LARGE = 2**25
"""Pixels from which on a picture is read in bands, each time that it is looked at."""

DRAFT_GAP = 4
"""A smaller copy has this many times the sides that are wanted, or more: resizing it differs from
resizing the whole by less than 1/255 in the mean."""

_ORIENTATION = 0x112
"""EXIF's tag of how the picture lies in the file."""

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes a pixel in Pillow's memory; of all other modes 4."""

_WHOLE_BUFFERS = {"WEBP": 9, "AVIF": 13, "HEIF": 13, "JPEG2000": 17, "GIF": 5}
"""Bytes a pixel at the peak for formats whose decoders hold the whole picture themselves."""

_STRIP_ROWS, _TILE_WIDTH = 278, 322
"""TIFF's tags of the rows in a strip, and of a tile's width."""


def decoding_bytes(image: Image.Image) -> int:
    """Returns how many bytes it takes to decode an opened image in bands, before that is done.

    Those of Pillow's image, and of what the decoder keeps of its own: a progressive JPEG has all
    its coefficients, two bytes each; a TIFF a strip; some formats the whole picture.
    """
    pixels, each = image.width * image.height, _BYTES.get(image.mode, 4)
    if _is_progressive(image):
        smaller = 1 if pixels >= LARGE else each  # see `draft`: half the sides or less
        return math.ceil(pixels * (2 * _samples(image) + smaller))
    more = _tiff_buffers(image) if image.format == "TIFF" else 0
    return pixels * max(each, _WHOLE_BUFFERS.get(image.format or "", 0)) + more


def _tiff_buffers(image: Image.Image) -> int:
    """Returns the bytes of a compressed TIFF: the file, and a strip of it unpacked."""
    if image.info.get("compression") == "raw":
        return 0
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    rows = 0 if _TILE_WIDTH in tags else min(int(tags.get(_STRIP_ROWS, 2**31)), image.height)
    name = image.filename  # type: ignore[attr-defined]
    return 4 * image.width * rows + (Path(name).stat().st_size if name else 0)


def _is_progressive(image: Image.Image) -> bool:
    return image.format == "JPEG" and bool(image.info.get("progressive"))


def _samples(image: Image.Image) -> float:
    """Returns how many numbers a JPEG has for a pixel: 1.5 where chroma has half the sides."""
    sampling = [(across, down) for _, across, down, _ in image.layer]  # type: ignore[attr-defined]
    most = max(across for across, _ in sampling) * max(down for _, down in sampling)
    return float(sum(across * down for across, down in sampling) / most)


def draft(image: Image.Image, least: Sides) -> None:
    """Makes a large progressive JPEG that is not decoded yet a smaller copy, if that is enough.

    All its coefficients are in memory beside its pixels. Other files are read as they are.

    Args:
      image: just opened.
      least: (H, W), upright, to which it will be resized.
    """
    if not _is_progressive(image) or image.width * image.height < LARGE:
        return
    height, width = least[::-1] if orientation_of(image) >= 5 else least
    times = min(image.height / height, image.width / width) / DRAFT_GAP
    for factor in (8, 4, 2):
        if times >= factor:
            image.draft(None, (image.width // factor, image.height // factor))
            return


def orientation_of(image: Image.Image) -> int:
    """Returns EXIF's orientation, 1 to 8; 1, upright, where there is none or it is broken."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # broken EXIF raises many kinds; the pixels are good
        return 1
    return found if found in range(1, 9) else 1


def upright_sides(image: Image.Image) -> Sides:
    """Returns (H, W) of an image once it is turned as its EXIF orientation says."""
    sides = image.height, image.width
    if image.format == "TIFF":  # Pillow turns these itself, and says so before they are decoded
        return sides
    return sides[::-1] if orientation_of(image) >= 5 else sides


def upright_blocks(
    image: Image.Image, convert: Callable[[Image.Image], NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """Yields a decoded image from top to bottom as it is upright, without a turned copy.

    Args:
      image: decoded.
      convert: makes an array (h, w, ...) of a part of it, pixel by pixel.
    """
    orientation = orientation_of(image)
    height, width = upright_sides(image)
    rows = max(1, PIXELS_AT_ONCE // width)
    for start in range(0, height, rows):
        end = min(start + rows, height)
        # the first rows are the file's last ones, or its last columns
        near, far = (height - end, height - start) if orientation in (3, 4, 7, 8) else (start, end)
        box = (0, near, width, far) if orientation < 5 else (near, 0, far, width)
        yield turned(convert(image.crop(box)), orientation)


def turned(part: NDArray[_Kind], orientation: int) -> NDArray[_Kind]:
    """Turns an array (h, w, ...) as an EXIF orientation says."""
    if orientation >= 5:
        part = part.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        part = part[::-1]
    return part[:, ::-1] if orientation in (2, 3, 6, 7) else part
