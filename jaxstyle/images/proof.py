"""Soft proof: pictures in the colors that a press has, so that a result is painted in these."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import Picture
from jaxstyle.images.color import bands

Proof = Callable[[Picture], Picture]
"""Returns a picture (H, W, 3) uint8 in sRGB as a press shows it."""

_MODES = {"CMYK": "CMYK", "RGB": "RGB", "GRAY": "L"}


def read_proof(path: Path) -> Proof:
    """Returns the soft proof of the press, or other device, whose ICC profile is in a file.

    A picture goes to the profile's colors and back (Little CMS), both ways with relative
    colorimetric intent and black point compensation: a color that the press has stays, one that it
    has not becomes the nearest that it has, and the paper is white. (style-transfer-pytorch's
    --proof goes both ways with perceptual intent, which moves the colors that can be printed, too.)

    Raises:
      InputError: not readable, no profile, or one that cannot be used both ways.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"--proof {path} cannot be read: {error.strerror or error}") from None
    try:
        proof = _proof_of(ImageCms.ImageCmsProfile(io.BytesIO(data)))
        proof(np.zeros((1, 1, 3), np.uint8))  # some profiles open and cannot be used
    except (ImageCms.PyCMSError, OSError, KeyError):
        what = f"is not an ICC profile of a press ({', '.join(_MODES)}) that can be used"
        raise InputError(f"--proof {path} {what}") from None
    return proof


def _proof_of(profile: ImageCms.ImageCmsProfile) -> Proof:
    srgb, mode = ImageCms.createProfile("sRGB"), _MODES[profile.profile.xcolor_space.strip()]
    how = (ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION)
    there = ImageCms.buildTransform(srgb, profile, "RGB", mode, *how)
    back = ImageCms.buildTransform(profile, srgb, mode, "RGB", *how)

    def proof(picture: Picture) -> Picture:
        result = np.empty_like(picture)
        for rows in bands(picture.shape):
            part = Image.fromarray(picture[rows])
            inked = Image.new(mode, part.size)
            there.apply(part, inked)
            result[rows] = np.asarray(back.apply(inked))
        return result

    return proof
