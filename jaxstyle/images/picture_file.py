"""Picture files to arrays and back: any kind of image becomes sRGB, mostly of 8 bits.

A *picture* is an array (H, W, 3), RGB in sRGB: uint8 on the way in, float32 in [0, 1] on the way
out.
"""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from jaxstyle.errors import InputError
from jaxstyle.images import decoding, depth, file_kinds, png_chunks, print_file
from jaxstyle.images.bands import PIXELS_AT_ONCE, Alpha, Bands, whole, whole_sixteen_bits
from jaxstyle.images.canvas import Picture
from jaxstyle.settings.checks import MOST_PIXELS
from jaxstyle.settings.recipe import Sides

_T = TypeVar("_T")

PLAIN = print_file.Print()
"""8 bits, sRGB, no dots per inch."""

_OPAQUE = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}
"""Modes whose colors an ICC profile may describe as they are; all others become RGB first."""

_READ_IN_PART = (b"8BPS", b"%!PS", b"\xc5\xd0\xd3\xc6")
"""How files begin of which Pillow knows the kind, and reads not all of it, or by other programs."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF and BigTIFF begin."""

_DESCRIPTION = 270
"""The tag of a TIFF file's description."""


def load_picture(path: Path | str, *, deep: bool = False) -> Picture:
    """Reads a picture file, upright, in sRGB, over white where it is transparent.

    Args:
      path: of the file.
      deep: whether to read more than 8 bits a channel where the file has them and they can be read
        here, see `depth`.

    Returns:
      (H, W, 3) uint8; uint16 of a file of more bits, if `deep`, which `stylize` and `paint` take
      and which is typed as if it were the same. Of an animation, the first frame; of several pages,
      the first.

    Raises:
      InputError: no such file, not a picture, cut off, more than `MOST_PIXELS` pixels, or more
        than there is memory for.
    """
    if deep and depth_of(Path(path))[0] is not None:
        samples: Any = read_bands(Path(path), whole_sixteen_bits, deep=True)
        return cast("Picture", samples)
    return read_bands(Path(path), whole)


def read_bands(
    path: Path, use: Callable[[Bands], _T], least: Sides | None = None, *, deep: bool = False
) -> _T:
    """Returns what `use` makes of a picture file in bands, upright, in sRGB, over white.

    Args:
      path: of the file.
      use: is given the bands once.
      least: (H, W) to which `use` resizes: a smaller copy may do, see `decoding.draft`.
      deep: whether the bands are floating point, of all bits that the file has; see `depth_of`.

    Raises:
      InputError: as `load_picture` does.
    """

    def read(image: Image.Image) -> _T:
        kind = depth.kind_of_depth(image) if deep else None
        if kind is not None:
            return use(depth.deep_bands(path, image, kind))
        if least is not None:
            decoding.draft(image, least)
        image.load()
        white = _white(image)
        parts = decoding.upright_blocks(image, lambda part: np.asarray(to_srgb(part, white=white)))
        return use(Bands((*decoding.upright_sides(image), 3), parts))

    return _opened(path, read)


def sides_and_bytes(path: Path) -> tuple[Sides, int]:
    """Returns (H, W) of a picture file, upright, and the bytes that decoding it will take.

    Nothing is decoded; see `decoding.decoding_bytes`.

    Raises:
      InputError: as `load_picture` does, of a file that cannot be opened.
    """
    return _opened(
        path, lambda image: (decoding.upright_sides(image), decoding.decoding_bytes(image))
    )


def depth_of(path: Path) -> tuple[str | None, int]:
    """Returns who can read more than 8 bits of a file, see `depth`, and how many bytes that takes.

    None if nobody can, or nobody who is installed: `lost_bits` tells.

    Raises:
      InputError: as `load_picture` does, of a file that cannot be opened.
    """

    def look(image: Image.Image) -> tuple[str | None, int]:
        kind = depth.kind_of_depth(image)
        if kind is None or depth.is_missing(kind):
            return None, 0
        return kind, decoding.decoding_bytes(image) + depth.deep_bytes(image, kind)

    return _opened(path, look)


def lost_bits(path: Path) -> str | None:
    """Returns why 8 bits a channel are read of a file that has more; None if all it has are read.

    "extra": what reads all of them is not installed. "kind": nothing here reads more of such files.

    Raises:
      InputError: as `load_picture` does, of a file that cannot be opened.
    """

    def look(image: Image.Image) -> str | None:
        kind = depth.kind_of_depth(image)
        if kind is None:
            return "kind" if depth.is_deep(image) else None
        return "extra" if depth.is_missing(kind) else None

    return _opened(path, look)


def load_alpha(path: Path) -> Alpha | None:
    """Returns how opaque each pixel of a picture file is, (H, W), 0 to 255; None if all are.

    Of a deep file uint16, 0 to 65535.

    Raises:
      InputError: as `load_picture` does.
    """

    def alpha(image: Image.Image) -> Alpha | None:
        kind = depth.kind_of_depth(image)
        if kind in depth.NEEDS and not depth.is_missing(kind):
            deep = depth.deep_alpha(path, image, kind)
            return None if deep is None or (deep == 65535).all() else deep
        image.load()
        if not image.has_transparency_data:
            return None
        found, start = np.empty(decoding.upright_sides(image), np.uint8), 0
        for block in decoding.upright_blocks(image, _opacity):
            found[start : start + len(block)] = block
            start += len(block)
        return None if (found == 255).all() else found

    return _opened(path, alpha)


def is_transparent(path: Path) -> bool:
    """Whether a pixel of a picture file is not wholly opaque.

    Raises:
      InputError: as `load_picture` does.
    """

    def look(image: Image.Image) -> bool:
        if not image.has_transparency_data:  # which needs no decoding
            return False
        image.load()
        return any(part.min() < 255 for part in decoding.upright_blocks(image, _opacity))

    return _opened(path, look)


def read_text(path: Path) -> dict[str, str]:
    """Returns the texts that a file carries, by keyword; empty if it has none.

    PNG files have any, TIFF files one, their description: as `jaxstyle` if it can be a record.

    Raises:
      InputError: as `load` does.
    """

    def texts(image: Image.Image) -> dict[str, str]:
        image.load()  # texts may come after the pixels
        if image.format == "TIFF":
            description = str(image.tag_v2.get(_DESCRIPTION, ""))  # type: ignore[attr-defined]
            return {"jaxstyle": description} if description.startswith("{") else {}
        return {key: str(value) for key, value in getattr(image, "text", {}).items()}

    return _opened(path, texts)


def _opened(path: Path, use: Callable[[Image.Image], _T]) -> _T:
    """Returns what `use` makes of the image in a file; every fault is an InputError of one line."""
    if not path.is_file():
        what = "is a folder, not a picture" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of half of what it refuses
            return _used(path, use)
    except MemoryError:
        raise _too_little_memory(path) from None
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more than {MOST_PIXELS:,} pixels: make it smaller") from None
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} {_what_it_is(path)}") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them
        reason = " ".join(str(error).split()) or type(error).__name__
        if "out of memory" in reason:  # as decoders in C say it
            raise _too_little_memory(path) from None
        if _start(path)[:4] in _READ_IN_PART:
            raise InputError(f"{path} {_what_it_is(path)}") from None
        raise InputError(f"{path} cannot be read, it is cut off or damaged: {reason}") from None


def _start(path: Path) -> bytes:
    """Returns a file's first bytes, or none where it cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(file_kinds.BYTES)
    return b""


def _what_it_is(path: Path) -> str:
    """Returns what to say of a file that Pillow does not know, behind its name."""
    kind = file_kinds.file_kind(_start(path), path.suffix)
    if kind is None and _start(path)[:4] in _TIFF:
        return "is a TIFF file of a kind that cannot be read: save it as RGB of 8 or 16 bits"
    if kind is None:
        return "is not a picture of a kind that can be read, such as PNG, JPEG, WebP or TIFF"
    if kind.name == file_kinds.HEIC:
        if importlib.util.find_spec("pillow_heif"):
            return "is a HEIC picture that is cut off or damaged"
        return "is a HEIC picture, which needs pillow-heif: pip install 'jaxstyle[heif]'"
    return f"is {kind.name}: {kind.advice}"


def _too_little_memory(path: Path) -> InputError:
    return InputError(f"there is too little memory to read {path}: make it smaller")


def _used(path: Path, use: Callable[[Image.Image], _T]) -> _T:
    """Returns what `use` makes of an image; of a PNG that is refused, without what is beside it."""
    kind = file_kinds.file_kind(_start(path))
    if kind is not None and kind.name == file_kinds.HEIC:
        _read_heic_too()
    try:
        with Image.open(path) as image:
            _check_not_raw(image, path)
            if not depth.is_misread(image):
                return use(image)
        if depth.is_missing("tiff"):
            raise InputError(f"{path} has planes of 16 bits: pip install 'jaxstyle[print]'")
        return use(_by_tifffile(path))
    except (Image.DecompressionBombError, MemoryError, InputError):
        raise
    except Exception as error:
        is_raw = path.suffix.lower() in file_kinds.RAW_SUFFIXES
        is_unknown = isinstance(error, UnidentifiedImageError) and not is_raw
        if is_unknown and _start(path)[:4] in _TIFF and not depth.is_missing("tiff"):
            return use(_by_tifffile(path))
        file = path.read_bytes()
        if not file.startswith(png_chunks.SIGNATURE):
            raise
    with Image.open(io.BytesIO(png_chunks.only_deciding(file))) as image:
        image.info["icc_profile"] = png_chunks.profile_of(file)
        return use(image)


def _by_tifffile(path: Path) -> Image.Image:
    """Returns a TIFF file that Pillow cannot read, such as one in floating point, in 8 bits."""
    samples, white = depth.tiff_samples(path)
    bytes_ = np.rint(depth.floats_of(samples, white) * 255).astype(np.uint8)
    image = Image.fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_)
    image.info["deep"] = "tiff"
    return image


def _read_heic_too() -> None:
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _check_not_raw(image: Image.Image, path: Path) -> None:
    """Raises InputError for a raw file, of which Pillow would read the preview."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None and file_kinds.is_raw(tags, path.suffix):
        raise InputError(f"{path} is {file_kinds.RAW}: {file_kinds.DEVELOP}")


def _opacity(part: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(part.convert("RGBA").getchannel("A"))


def _blocks(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yields an image in blocks of rows, each with the number of its first row."""
    rows = max(1, PIXELS_AT_ONCE // image.width)
    for start in range(0, image.height, rows):
        yield start, image.crop((0, start, image.width, min(start + rows, image.height)))


def encode(
    picture: NDArray[np.float32],
    suffix: str,
    text: dict[str, str],
    *,
    alpha: Alpha | None = None,
    how: print_file.Print = PLAIN,
) -> bytes:
    """Returns a picture file as bytes, tagged by its colors; equal arguments give equal bytes.

    Args:
      picture: (H, W, 3) in [0, 1]; rounded half to even.
      suffix: ".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff" or ".avif". WebP, JPEG and AVIF:
        quality 95, JPEG and AVIF without chroma subsampling.
      text: keywords and texts for the file; PNG, and of TIFF the one of `jaxstyle`.
      alpha: (H, W), how opaque each pixel is, of 8 or 16 bits; not of JPEG.
      how: bits, profile and dots per inch.
    """
    return print_file.encode_picture(picture, suffix, text, alpha=alpha, how=how)


def to_srgb(image: Image.Image, *, white: float) -> Image.Image:
    """Returns an 8-bit sRGB image without transparency, whatever came in.

    Args:
      image: of any mode.
      white: the value of white in grey of more than 8 bits.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bit_grey(image, white)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    picture = _srgb(image.convert(_OPAQUE.get(image.mode, "RGB")), profile)
    if alpha is None:
        return picture
    return Image.composite(picture, Image.new("RGB", image.size, "white"), alpha)


def _white(image: Image.Image) -> float:
    """Returns the value of white in grey of more than 8 bits: 65535, where it is not guessed.

    Mode "F" has no agreed range: [0, 1], [0, 255] or [0, 65535] is guessed from its maximum, as is
    mode "I", which holds 16-bit PNGs in some versions.
    """
    if image.mode not in ("I", "F"):
        return depth.white_in_file(image)
    top = max(float(_numbers(block).max(initial=0.0)) for _, block in _blocks(image))
    return max(65535.0, top) if image.mode == "I" else depth.white_below(top)


def _numbers(image: Image.Image) -> NDArray[np.float64]:
    """Returns the values of a grey image; those that are not finite are 0."""
    return np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)


def _eight_bit_grey(image: Image.Image, white: float) -> Image.Image:
    """Scales 16-bit grey by 1/257; Pillow's own conversion would clip it at 255."""
    scaled = np.clip(_numbers(image) / white * 255, 0, 255)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts L, RGB or CMYK to sRGB by an ICC profile, or plainly if that cannot be used."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):  # broken, or of another kind of colors
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
