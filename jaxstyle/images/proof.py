"""Soft proof: pictures in the colors that a press has, so that a result is painted in these."""

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import Picture
from jaxstyle.images.color import bands
from jaxstyle.images.print_file import srgb_profile

_MODES = {"CMYK": "CMYK", "RGB": "RGB", "GRAY": "L"}

_SPACES = {"CMYK": "cmyk", "RGB": "rgb", "L": "gray"}
"""The colors of modes as imagecodecs calls them."""

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


class Proof:
    """Shows pictures as a press does."""

    def __init__(self, data: bytes) -> None:
        """Takes an ICC profile.

        Raises:
          PyCMSError, OSError, KeyError: one that cannot be used both ways.
        """
        self._data = data
        profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(data)), ImageCms.createProfile("sRGB")
        self._mode = mode = _MODES[profile.profile.xcolor_space.strip()]
        self._there = ImageCms.buildTransform(srgb, profile, "RGB", mode, _INTENT, _FLAGS)
        self._back = ImageCms.buildTransform(profile, srgb, mode, "RGB", _INTENT, _FLAGS)

    def __call__(self, picture: Picture) -> Picture:
        """Returns a picture (H, W, 3) in sRGB as the press shows it, uint8.

        Floating point in [0, 1] becomes float32 of 16 bits, which is typed as if it were the same;
        see `keeps_depth`.
        """
        deep = picture.dtype != np.uint8
        result = np.empty(picture.shape, np.float32 if deep else np.uint8)
        for rows in bands(picture.shape):
            result[rows] = self._deep(picture[rows]) if deep else self._eight_bits(picture[rows])
        return result

    def _eight_bits(self, rows: Picture) -> Picture:
        part = Image.fromarray(rows)
        inked = Image.new(self._mode, part.size)
        self._there.apply(part, inked)
        return np.asarray(self._back.apply(inked))

    def _deep(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        import imagecodecs

        given: Any = {"intent": int(_INTENT), "flags": int(_FLAGS), "outdtype": "uint16"}
        to_ink: Any = {"colorspace": "rgb", "outcolorspace": _SPACES[self._mode]}
        to_rgb: Any = {"colorspace": _SPACES[self._mode], "outcolorspace": "rgb"}
        srgb, sixteen = srgb_profile(), np.rint(rows.astype(np.float64) * 65535).astype(np.uint16)
        inked = imagecodecs.cms_transform(sixteen, srgb, self._data, **given, **to_ink)
        found = imagecodecs.cms_transform(inked, self._data, srgb, **given, **to_rgb)
        return np.asarray(found, np.float32) / np.float32(65535)


def keeps_depth() -> bool:
    """Whether what shows pictures of more than 8 bits as a press does is installed."""
    return importlib.util.find_spec("imagecodecs") is not None


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
        proof = Proof(data)
        proof(np.zeros((1, 1, 3), np.uint8))  # some profiles open and cannot be used
    except (ImageCms.PyCMSError, OSError, KeyError):
        what = f"is not an ICC profile of a press ({', '.join(_MODES)}) that can be used"
        raise InputError(f"--proof {path} {what}") from None
    return proof
