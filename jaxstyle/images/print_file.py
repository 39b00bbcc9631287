"""Pictures as files for print: 16 bits a channel, color profiles, dots per inch, TIFF and AVIF."""

import hashlib
import importlib.util
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin, features

from jaxstyle.errors import InputError
from jaxstyle.images import png_chunks
from jaxstyle.images.bands import Alpha

DEEP_SUFFIXES = (".png", ".tif", ".tiff")
"""Files that can have 16 bits a channel."""

DPI_SUFFIXES = (*DEEP_SUFFIXES, ".jpg", ".jpeg")
"""Files that can say how many dots an inch has."""

INCH = 0.0254
"""In meters."""


@dataclass(frozen=True, kw_only=True)
class Print:
    """How a picture is written."""

    bits: int = 8
    """Bits of each channel: 8 or 16."""
    profile: bytes | None = None
    """An ICC profile of RGB, to which colors are converted and which is embedded; None: sRGB."""
    dpi: float | None = None
    """Dots per inch."""

    def facts(self) -> dict[str, Any]:
        """Returns the same as JSON has it; of a profile the hexadecimal sha256."""
        profile = None if self.profile is None else hashlib.sha256(self.profile).hexdigest()
        return {"bits": self.bits, "profile": profile, "dpi": self.dpi}


def read_profile(path: Path) -> bytes:
    """Returns the ICC profile in a file.

    Raises:
      InputError: not readable, no profile, or not one of RGB.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"--profile {path} cannot be read: {error.strerror}") from None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        if space == "RGB":
            _transform(profile)
    except (ImageCms.PyCMSError, OSError):
        raise InputError(f"--profile {path} is not an ICC profile that can be used") from None
    if space != "RGB":
        raise InputError(f"--profile {path} is a profile of {space}: results are RGB, name one")
    return data


def check_kind(suffix: str, *, bits: int, dpi: float | None) -> None:
    """Raises InputError if a file with this suffix, in lower case, cannot be so, or not here."""
    if suffix == ".avif" and not features.check("avif"):
        raise InputError("this Pillow has no AVIF: choose .png, .webp, .tif or .jpg")
    if dpi is not None and suffix not in DPI_SUFFIXES:
        raise InputError(f"a {suffix} file takes no --dpi: choose {' or '.join(DPI_SUFFIXES)}")
    if bits == 8:
        return
    if suffix not in DEEP_SUFFIXES:
        raise InputError(f"a {suffix} file has 8 bits, not 16: choose {' or '.join(DEEP_SUFFIXES)}")
    for name in ("imagecodecs", "tifffile"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"--bits 16 needs {name}: pip install 'jaxstyle[print]'")


def encode_picture(
    picture: NDArray[np.float32],
    suffix: str,
    text: dict[str, str],
    *,
    alpha: Alpha | None,
    how: Print,
) -> bytes:
    """Returns a picture file as bytes; see `picture_file.encode`."""
    if how.bits == 16:
        deep = _sixteen_bits(picture, how.profile)
        if alpha is not None:
            deep = np.dstack([deep, alpha_in_bits(alpha, 16)])
        return _deep_png(deep, text, how) if suffix == ".png" else _deep_tiff(deep, text, how)
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    if how.profile is not None:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(how.profile))
        ImageCms.applyTransform(image, _transform(profile), inPlace=True)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha_in_bits(alpha, 8)))
    file, dpi = io.BytesIO(), {} if how.dpi is None else {"dpi": (how.dpi, how.dpi)}
    profile_given: Any = {"icc_profile": how.profile or srgb_profile()}
    if suffix == ".png":
        tags = {} if how.profile is None else profile_given
        image.save(file, "PNG", pnginfo=_png_info(text, tagged=how.profile is None), **tags, **dpi)
    elif suffix in (".tif", ".tiff"):
        given = {"compression": "tiff_adobe_deflate", "description": _description(text)}
        image.save(file, "TIFF", **given, **profile_given, **dpi)
    elif suffix == ".avif":
        image.save(file, "AVIF", quality=95, subsampling="4:4:4", **profile_given)
    else:
        kind = "WEBP" if suffix == ".webp" else "JPEG"
        image.save(file, kind, quality=95, subsampling=0, **profile_given, **dpi)
    return file.getvalue()


def alpha_in_bits(alpha: Alpha, bits: int) -> NDArray[Any]:
    """Returns how opaque pixels are with 8 or 16 bits each, whichever they have."""
    if alpha.dtype.itemsize * 8 == bits:
        return alpha
    deep = alpha.astype(np.uint16)
    return deep * 257 if bits == 16 else np.rint(deep / 257).astype(np.uint8)


def _transform(profile: ImageCms.ImageCmsProfile) -> ImageCms.ImageCmsTransform:
    """Returns what converts 8-bit sRGB to a profile of RGB: perceptual, as ImageCms does it."""
    return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), profile, "RGB", "RGB")


def _sixteen_bits(picture: NDArray[np.float32], profile: bytes | None) -> NDArray[np.uint16]:
    """Returns (H, W, 3) in the profile's colors; in sRGB rounded half to even at 65535.

    The conversion is Little CMS's, of 32-bit floats to 16 bits, with perceptual intent.
    """
    if profile is None:
        return np.rint(picture.astype(np.float64) * 65535).astype(np.uint16)
    import imagecodecs

    floats = np.ascontiguousarray(picture, np.float32)
    kinds: Any = {"colorspace": "rgb", "outcolorspace": "rgb", "outdtype": "uint16"}
    given = (floats, srgb_profile(), profile)
    return np.asarray(imagecodecs.cms_transform(*given, **kinds, intent=0), np.uint16)


def _deep_png(deep: NDArray[np.uint16], text: dict[str, str], how: Print) -> bytes:
    """Returns a PNG file of (H, W, 3 or 4), with its chunks between the header and the pixels."""
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(deep), level=6))
    profile = how.profile
    color = (b"sRGB", b"\0") if profile is None else (b"iCCP", b"ICC\0\0" + zlib.compress(profile))
    chunks = [color]
    if how.dpi is not None:
        dots = int(how.dpi / INCH + 0.5)
        chunks.append((b"pHYs", struct.pack(">IIB", dots, dots, 1)))
    chunks += [
        (b"iTXt", name.encode("latin-1") + bytes(5) + value.encode())
        for name, value in text.items()
    ]
    header = len(png_chunks.SIGNATURE) + 12 + 13
    return data[:header] + b"".join(_png_chunk(*each) for each in chunks) + data[header:]


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _deep_tiff(deep: NDArray[np.uint16], text: dict[str, str], how: Print) -> bytes:
    import tifffile

    file = io.BytesIO()
    given: dict[str, Any] = {} if deep.shape[2] == 3 else {"extrasamples": ["unassalpha"]}
    if how.dpi is not None:
        given |= {"resolution": (how.dpi, how.dpi), "resolutionunit": "INCH"}
    tifffile.imwrite(
        file,
        deep,
        photometric="rgb",
        planarconfig="contig",
        compression="zlib",
        iccprofile=how.profile or srgb_profile(),
        description=_description(text),
        metadata=None,
        software=False,
        **given,
    )
    return file.getvalue()


def _description(text: dict[str, str]) -> str:
    """Returns the text that a TIFF file carries: that with our keyword, the record, alone."""
    return text.get("jaxstyle", "")


def _png_info(text: dict[str, str], *, tagged: bool) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if tagged:
        chunks.add(b"sRGB", b"\0")  # rendering intent: perceptual
    for keyword, value in text.items():
        chunks.add_itxt(keyword, value)
    return chunks


def srgb_profile() -> bytes:
    """Returns an ICC profile of sRGB without the time of its making, which differs every run."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]
