"""The chunks of a PNG file: what its pixels are made of, without all that is beside them."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"

DECIDING = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Chunks that decide the pixels: with damage in one of them a picture would be another. Without
the chunks of an animation, its first picture is seen."""

LONGEST_TEXT = 2**20
"""Bytes of the longest text that is kept, of those that are not compressed."""

LARGEST_PROFILE = 2**26
"""Bytes of the largest ICC profile that is used; those of printers have some megabytes."""


class PngChunk(NamedTuple):
    """A chunk as it lies in the file."""

    name: bytes
    data: memoryview
    whole: memoryview
    """Length, name, data and checksum."""
    is_sound: bool
    """Whether the checksum is that of name and data."""


def chunks_of(file: bytes) -> Iterator[PngChunk]:
    """Yields the chunks of a PNG file; the last one may be cut off, and is then not sound."""
    view, start = memoryview(file), len(SIGNATURE)
    while start + 8 <= len(view):
        length, name = struct.unpack_from(">I4s", view, start)
        data, end = view[start + 8 : start + 8 + length], start + 12 + length
        checksum = struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
        yield PngChunk(name, data, view[start:end], view[start + 8 + length : end] == checksum)
        start = end


def only_deciding(file: bytes) -> bytes:
    """Returns a PNG file without what does not decide its pixels, such as long or damaged texts.

    Kept are also the texts that are neither long nor compressed: a record of ours is one.
    """
    kept = [each.whole for each in chunks_of(file) if _is_kept(each)]
    return b"".join([SIGNATURE, *kept])


def profile_of(file: bytes) -> bytes | None:
    """Returns the ICC profile of a PNG file; None if it has none that can be unpacked."""
    packed = next((bytes(each.data) for each in chunks_of(file) if each.name == b"iCCP"), b"")
    _, _, stream = packed.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(stream[1:], LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof else None


def _is_kept(chunk: PngChunk) -> bool:
    if chunk.name in DECIDING:
        return True
    keyword, _, rest = bytes(chunk.data[:81]).partition(b"\0")
    is_plain = chunk.name == b"iTXt" and bool(keyword) and rest[:1] == b"\0"
    is_plain = is_plain and len(chunk.data) <= LONGEST_TEXT
    return chunk.is_sound and (chunk.name == b"eXIf" or is_plain)
