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
from PIL import Image, ImageCms, UnidentifiedImageError

from jaxstyle.errors import InputError
from jaxstyle.images import decoding, png_chunks, print_file
from jaxstyle.images.bands import PIXELS_AT_ONCE, Bands, whole
from jaxstyle.images.canvas import Picture
from jaxstyle.settings.checks import MOST_PIXELS
from jaxstyle.settings.recipe import Sides

_T = TypeVar("_T")

PLAIN = print_file.Print()
"""8 bits, sRGB, no dots per inch."""

_OPAQUE = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}
"""Modes whose colors an ICC profile may describe as they are; all others become RGB first."""

_HEIF_SUFFIXES = (".heic", ".heif")

_DESCRIPTION = 270
"""The tag of a TIFF file's description."""


def load_picture(path: Path | str) -> Picture:
    """Reads a picture file, upright, in sRGB, over white where it is transparent.

    Returns:
      (H, W, 3) uint8. Of an animation, the first frame; of several pages, the first.

    Raises:
      InputError: no such file, not a picture, cut off, more than `MOST_PIXELS` pixels, or more
        than there is memory for.
    """
    return read_bands(Path(path), whole)


def read_bands(path: Path, use: Callable[[Bands], _T], least: Sides | None = None) -> _T:
    """Returns what `use` makes of a picture file in bands, upright, in sRGB, over white.

    Args:
      path: of the file.
      use: is given the bands once.
      least: (H, W) to which `use` resizes: a smaller copy may do, see `decoding.draft`.

    Raises:
      InputError: as `load_picture` does.
    """

    def read(image: Image.Image) -> _T:
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


def load_alpha(path: Path) -> NDArray[np.uint8] | None:
    """Returns how opaque each pixel of a picture file is, (H, W), 0 to 255; None if all are.

    Raises:
      InputError: as `load_picture` does.
    """

    def alpha(image: Image.Image) -> NDArray[np.uint8] | None:
        image.load()
        if not image.has_transparency_data:
            return None
        found, start = np.empty(decoding.upright_sides(image), np.uint8), 0
        for block in decoding.upright_blocks(image, _opacity):
            found[start : start + len(block)] = block
            start += len(block)
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
