"""How many bits a channel has in files that Pillow reads as 8 bits, by what their headers say."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

CODESTREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000's codestream begins, and with it a file without boxes."""

_SRGB = 16
"""JPEG 2000's number for the colors of sRGB."""

_START = 2**20
"""Bytes of an AVIF file among which it is said how its pictures are coded."""

_NETPBM = ("ppm", "ppm_plain")
"""Pillow's decoders of PPM files, which are told the value of white."""


def bits_of(image: Image.Image) -> int:
    """Returns the most bits that a channel of an opened image has in its file, 8 or more.

    Of kinds that Pillow reads as 8 bits; of TIFF and grey see `depth`.
    """
    path = path_of(image)
    if image.format == "HEIF":
        return max(8, int(image.info.get("bit_depth", 8)))
    if path is not None and image.format in _FROM_HEADER:
        with path.open("rb") as file:
            return max(8, *_FROM_HEADER[image.format](file))
    found = [8]
    for tile in getattr(image, "tile", ()):
        given: Any = tile[3]
        if tile[0] in _NETPBM:
            found.append(int(given[1]).bit_length())
        if tile[0] == "SGI16" or ";16" in str(given):
            found.append(16)
    return max(found)


def path_of(image: Image.Image) -> Path | None:
    """Returns the file from which an image was opened; None if it was opened otherwise."""
    name = getattr(image, "filename", "")
    return Path(name) if name else None


def is_plain_jpeg2000(image: Image.Image) -> bool:
    """Whether all samples of an opened JPEG 2000 image are alike: sRGB, of one size, unsigned."""
    path = path_of(image)
    if path is None or image.mode not in ("RGB", "RGBA"):
        return False
    with path.open("rb") as file:
        colors, components = _jpeg2000(file)
    return colors in (None, _SRGB) and len(components) >= 3 and len(set(components)) == 1


def jpeg2000_bits(file: BinaryIO) -> list[int]:
    """Returns the bits of each component of a JPEG 2000 file; none if it cannot be seen."""
    return [(depth & 0x7F) + 1 for depth, _, _ in _jpeg2000(file)[1]]


def _jpeg2000(file: BinaryIO) -> tuple[int | None, list[tuple[int, int, int]]]:
    """Returns the number of a file's colors, and of each component depth and subsampling.

    By ISO/IEC 15444-1, annexes A.5.1 (SIZ) and I (boxes). The depth is one less than its bits; its
    highest bit says that the samples have a sign.
    """
    colors = None
    try:
        while (head := file.read(8))[:4] != CODESTREAM:
            length, name = struct.unpack(">I4s", head)
            rest = length - 8 if length != 1 else struct.unpack(">Q", file.read(8))[0] - 16
            if name == b"jp2c":
                head = file.read(8)
                break
            if rest < 0:
                return colors, []
            if name == b"jp2h":
                colors = _enumerated_colors(file.read(rest))
            else:
                file.seek(rest, 1)
        head += file.read(34)
        (count,) = struct.unpack(">H", head[40:42])
        return colors, list(struct.iter_unpack("BBB", file.read(3 * count)))
    except struct.error:  # it is cut off
        return colors, []


def _enumerated_colors(header: bytes) -> int | None:
    """Returns the number of the colors in a JP2 header; None if they have no number."""
    at = header.find(b"colr\x01")
    return None if at < 0 else int.from_bytes(header[at + 7 : at + 11], "big")


def avif_bits(file: BinaryIO) -> list[int]:
    """Returns the bits of each coded picture of an AVIF file, by their `av1C` boxes.

    AV1 Codec ISO Media File Format Binding, section 2.3: a byte with marker and version, 0x81, one
    with profile and level, one whose second bit says more than 8 bits, and whose third says 12.
    """
    found, start = [], file.read(_START)
    at = start.find(b"av1C\x81")
    while 0 <= at < len(start) - 6:
        flags = start[at + 6]
        found.append((12 if flags & 0x20 else 10) if flags & 0x40 else 8)
        at = start.find(b"av1C\x81", at + 1)
    return found


_FROM_HEADER = {"JPEG2000": jpeg2000_bits, "AVIF": avif_bits}
