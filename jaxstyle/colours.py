"""Any kind of image to 8-bit sRGB: depth, palette, ink, colour profile, transparency."""

import io

import numpy as np
from PIL import Image, ImageCms

_OPAQUE = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}
"""Modes whose colours an ICC profile may describe as they are; all others become RGB first."""


def to_srgb(image: Image.Image) -> Image.Image:
    """Returns an 8-bit sRGB image without transparency, whatever came in."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bit_grey(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    picture = _srgb(image.convert(_OPAQUE.get(image.mode, "RGB")), profile)
    if alpha is None:
        return picture
    return Image.composite(picture, Image.new("RGB", image.size, "white"), alpha)


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey by 1/257; Pillow's own conversion would clip it at 255.

    Mode "F" has no agreed range: [0, 1], [0, 255] or [0, 65535] is guessed from its maximum, as is
    mode "I", which holds 16-bit PNGs in some versions.
    """
    values = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    full = 65535.0 if image.mode != "F" else next(t for t in (1, 255, 65535, top) if top <= t)
    scaled = np.clip(values / max(full, top) * 255, 0, 255)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts L, RGB or CMYK to sRGB by an ICC profile, or plainly if that cannot be used."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):  # broken, or of another kind of colours
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
