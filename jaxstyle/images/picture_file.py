"""Picture files to arrays and back: any kind of image becomes 8-bit sRGB.

A *picture* is an array (H, W, 3), RGB in sRGB: uint8 on the way in, float32 in [0, 1] on the way
out.
"""

import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from jaxstyle.errors import InputError
from jaxstyle.images import png_chunks, print_file
from jaxstyle.images.canvas import Picture
from jaxstyle.settings.checks import MOST_PIXELS

_T = TypeVar("_T")

PLAIN = print_file.Print()
"""8 bits, sRGB, no dots per inch."""

_OPAQUE = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}
"""Modes whose colors an ICC profile may describe as they are; all others become RGB first."""

_HEIF_SUFFIXES = (".heic", ".heif")

_DESCRIPTION = 270
"""The tag of a TIFF file's description."""

PIXELS_AT_ONCE = 2**20
"""Rows of about so many pixels are converted at once: whole pictures would be copied many times."""


def load_picture(path: Path | str) -> Picture:
    """Reads a picture file, upright, in sRGB, over white where it is transparent.

    Returns:
      (H, W, 3) uint8. Of an animation, the first frame; of several pages, the first.

    Raises:
      InputError: no such file, not a picture, cut off, more than `MOST_PIXELS` pixels, or more
        than there is memory for.
    """
    return _opened(Path(path), lambda image: _converted(_upright(image)))


def load_alpha(path: Path) -> NDArray[np.uint8] | None:
    """Returns how opaque each pixel of a picture file is, (H, W), 0 to 255; None if all are.

    Raises:
      InputError: as `load_picture` does.
    """

    def alpha(image: Image.Image) -> NDArray[np.uint8] | None:
        upright = _upright(image)
        if not upright.has_transparency_data:
            return None
        found = np.asarray(upright.convert("RGBA").getchannel("A"))
        return None if (found == 255).all() else found

    return _opened(path, alpha)


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
    except UnidentifiedImageError:
        if path.suffix.lower() in _HEIF_SUFFIXES:
            raise InputError(f"{path} needs pillow-heif: pip install 'jaxstyle[heif]'") from None
        raise InputError(
            f"{path} is not a picture of a kind that can be read, such as PNG, JPEG, WebP or TIFF"
        ) from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them
        reason = " ".join(str(error).split()) or type(error).__name__
        if "out of memory" in reason:  # as decoders in C say it
            raise _too_little_memory(path) from None
        raise InputError(f"{path} cannot be read, it is cut off or damaged: {reason}") from None


def _too_little_memory(path: Path) -> InputError:
    return InputError(f"there is too little memory to read {path}: make it smaller")


def _used(path: Path, use: Callable[[Image.Image], _T]) -> _T:
    """Returns what `use` makes of an image; of a PNG that is refused, without what is beside it."""
    if path.suffix.lower() in _HEIF_SUFFIXES and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        with Image.open(path) as image:
            return use(image)
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception:
        file = path.read_bytes()
        if not file.startswith(png_chunks.SIGNATURE):
            raise
    with Image.open(io.BytesIO(png_chunks.only_deciding(file))) as image:
        image.info["icc_profile"] = png_chunks.profile_of(file)
        return use(image)


def _upright(image: Image.Image) -> Image.Image:
    """Turns the image as its EXIF orientation says, if it says so readably."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # broken EXIF raises many kinds; the pixels are good
        return image
    return image


def _converted(image: Image.Image) -> Picture:
    """Returns an image as (H, W, 3) uint8 in sRGB, without transparency, whatever came in."""
    picture = np.empty((image.height, image.width, 3), np.uint8)
    white = _white(image)
    for start, block in _blocks(image):
        picture[start : start + block.height] = np.asarray(to_srgb(block, white=white))
    return picture


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
    alpha: NDArray[np.uint8] | None = None,
    how: print_file.Print = PLAIN,
) -> bytes:
    """Returns a picture file as bytes, tagged by its colors; equal arguments give equal bytes.

    Args:
      picture: (H, W, 3) in [0, 1]; rounded half to even.
      suffix: ".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff" or ".avif". WebP, JPEG and AVIF:
        quality 95, JPEG and AVIF without chroma subsampling.
      text: keywords and texts for the file; PNG, and of TIFF the one of `jaxstyle`.
      alpha: (H, W), how opaque each pixel is; not of JPEG.
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
        return 65535.0
    top = max(float(_numbers(block).max(initial=0.0)) for _, block in _blocks(image))
    if image.mode == "I":
        return max(65535.0, top)
    return next(each for each in (1.0, 255.0, 65535.0, top) if top <= each)


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
