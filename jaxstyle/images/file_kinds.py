"""Files that are not read, by their first bytes: what they are, and what to do with them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

HEIC = "a HEIC picture"

CONVERT = "convert it to PNG, JPEG or TIFF"
DEVELOP = "develop it to a TIFF, PNG or JPEG file with a raw converter"
RENDER = "export it as PNG, as large as you want it"

BYTES = 512
"""So many of a file's first bytes tell its kind."""


class FileKind(NamedTuple):
    """A kind of file that is not read."""

    name: str
    """With its article."""
    advice: str
    """What to do instead."""


RAW = "a camera's raw file"
VIDEO = FileKind("a film", "save one of its frames as PNG")

SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\xff\x0a", FileKind("a JPEG XL picture", CONVERT)),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", FileKind("a JPEG XL picture", CONVERT)),
    (0, b"%PDF", FileKind("a PDF document", "export the page as PNG, as large as you want it")),
    (0, b"%!PS", FileKind("a PostScript drawing", RENDER)),
    (0, b"\xc5\xd0\xd3\xc6", FileKind("a PostScript drawing", RENDER)),
    (0, b"8BPS", FileKind("a Photoshop document that Pillow cannot read", CONVERT)),
    (0, b"8BPB", FileKind("a large Photoshop document (PSB)", CONVERT)),
    (0, b"gimp xcf", FileKind("a GIMP document", CONVERT)),
    (0, b"\x76\x2f\x31\x01", FileKind("an OpenEXR picture", CONVERT)),
    (0, b"#?R", FileKind("a Radiance HDR picture", CONVERT)),
    (0, b"II\xbc\x01", FileKind("a JPEG XR picture", CONVERT)),
    (0, b"FUJIFILMCCD-RAW", FileKind(RAW, DEVELOP)),
    (0, b"IIRO", FileKind(RAW, DEVELOP)),
    (0, b"IIRS", FileKind(RAW, DEVELOP)),
    (0, b"MMOR", FileKind(RAW, DEVELOP)),
    (0, b"IIU\0", FileKind(RAW, DEVELOP)),
    (0, b"FOVb", FileKind(RAW, DEVELOP)),
    (0, b"\0MRM", FileKind(RAW, DEVELOP)),
    (8, b"CR\x02\0", FileKind(RAW, DEVELOP)),
    (0, b"\x1aE\xdf\xa3", VIDEO),
    (0, b"\0\0\x01\xba", VIDEO),
    (8, b"AVI LIST", VIDEO),
    (0, b"\x1f\x8b", FileKind("a packed file (gzip)", "unpack it first")),
    (0, b"PK\x03\x04", FileKind("an archive (ZIP) or a document", "unpack or export it first")),
    (0, b"Rar!", FileKind("an archive (RAR)", "unpack it first")),
    (0, b"7z\xbc\xaf", FileKind("an archive (7z)", "unpack it first")),
    (
        0,
        b"\0\x05\x16\x07",
        FileKind("what a Mac keeps beside a file", "name the file without ._ at its start"),
    ),
    (
        0,
        b"version https://git-lfs",
        FileKind("Git LFS's note of where the file is", "fetch it by: git lfs pull"),
    ),
)
"""Where in a file, what is there, and which kind it then is."""

TEXTS: tuple[tuple[bytes, FileKind], ...] = (
    (b"<svg", FileKind("an SVG drawing", RENDER)),
    (b"<!doctype html", FileKind("a web page", "save the picture itself, not its page")),
    (b"<html", FileKind("a web page", "save the picture itself, not its page")),
)
"""Words near the start of a text, in lower case."""

BRANDS: tuple[tuple[frozenset[bytes], FileKind], ...] = (
    (frozenset({b"avif", b"avis"}), FileKind("an AVIF picture that Pillow cannot read", CONVERT)),
    (
        frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}),
        FileKind(HEIC, CONVERT),
    ),
    (frozenset({b"crx "}), FileKind(RAW, DEVELOP)),
    (frozenset({b"jxl "}), FileKind("a JPEG XL picture", CONVERT)),
)
"""Brands of files of ISO/IEC 14496-12; those of others are films."""

RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
    ".x3f",
)
"""Of cameras' raw files, many of which begin as TIFF."""

_DNG_VERSION, _SUBFILE, _SUBFILES = 50706, 254, 330
"""TIFF's tags of a DNG file, of what a picture is among several, and of where others are."""


def file_kind(start: bytes, suffix: str = "") -> FileKind | None:
    """Returns the kind of a file, if it is one of those here.

    Args:
      start: its first BYTES, or all that it has.
      suffix: of its name.
    """
    if not start.strip(b"\0"):
        what = f"not a picture but {'a file of zeros' if start else 'an empty file'}"
        return FileKind(what, "copy or download it once more")
    for place, signature, kind in SIGNATURES:
        if start.startswith(signature, place):
            return kind
    if start[4:8] == b"ftyp":
        return _by_brands(start)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return next((kind for word, kind in TEXTS if word in text.lower()), None)
    return FileKind(RAW, DEVELOP) if suffix.lower() in RAW_SUFFIXES else None


def _by_brands(start: bytes) -> FileKind:
    """Returns the kind of a file of ISO/IEC 14496-12 by its brands."""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[i : i + 4] for i in range(16, end - 3, 4))}
    return next((kind for names, kind in BRANDS if brands & names), VIDEO)


def is_raw(tags: Mapping[int, Any], suffix: str) -> bool:
    """Whether a TIFF file is a camera's raw file: its first picture is then a small preview.

    Args:
      tags: of its first picture.
      suffix: of its name.
    """
    has_preview_first = int(tags.get(_SUBFILE, 0)) & 1 and _SUBFILES in tags
    is_named_so = suffix.lower() in RAW_SUFFIXES
    return is_named_so or _DNG_VERSION in tags or bool(has_preview_first)
