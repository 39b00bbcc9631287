"""Large pictures that stay in their files, read and resized in bands of rows."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jaxstyle.settings.recipe import Sides

_T = TypeVar("_T")

_Picture = NDArray[np.uint8]

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

PIXELS_AT_ONCE = 2**20
"""Pixels of a band, about: Pillow copies every picture that it resizes."""


class Bands(NamedTuple):
    """A picture from top to bottom."""

    shape: tuple[int, ...]
    """(H, W, 3) of the whole."""
    rows: Iterable[_Picture]
    """Bands (h, W, 3), uint8, whose heights add up to H."""


class Read(Protocol):
    """Reads a picture's file for a function of its bands, see `BandedPicture.read`."""

    def __call__(self, use: Callable[[Bands], _T], least: Sides | None) -> _T:
        """Returns what `use` makes of the bands."""


class BandedPicture:
    """A large picture (H, W, 3) in a file, read in bands; `numpy.asarray` reads it whole."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, shape: tuple[int, ...], read: Read) -> None:
        """Takes (H, W, 3), and what reads: raises InputError if the file is another now."""
        self.shape, self._read = shape, read
        self.size = math.prod(shape)

    def read(self, use: Callable[[Bands], _T], least: Sides | None = None) -> _T:
        """Returns what a function makes of the picture's bands.

        Args:
          use: is given all bands, or those of a smaller copy.
          least: (H, W) or less, to which `use` resizes; the smaller copy then makes a difference of
            less than 1/255 in the mean. None: the picture itself.

        Raises:
          InputError: the file is gone, or another than it was, or there is too little memory.
        """
        return self._read(use, least)

    def changed(self, change: Callable[[_Picture], _Picture]) -> "BandedPicture":
        """Returns this picture with a change of single pixels, made whenever it is read."""

        def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
            return self.read(lambda all_: use(Bands(all_.shape, map(change, all_.rows))), least)

        return BandedPicture(self.shape, read)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Returns the picture, (H, W, 3) uint8; raises InputError as `read` does."""
        found = self.read(whole)
        return found if dtype is None else found.astype(dtype, copy=False)


def whole(bands: Bands) -> _Picture:
    """Returns a picture in bands as one array."""
    found = np.empty(bands.shape, np.uint8)
    for start, band in _with_starts(bands.rows):
        found[start : start + len(band)] = band
    return found


def resize_bands(bands: Bands, sizes: Sequence[Sides], resampling: str) -> list[_Picture]:
    """Resizes a picture in bands to every (H, W), rows first, then columns, each to 8 bits.

    That is what Pillow does with a whole picture, to the bit, but for some sizes for which newer
    versions resize the columns first: the difference is then less than 1/255 in the mean.
    """
    how, (height, width) = FILTERS[resampling], bands.shape[:2]
    narrow = [np.empty((height, size[1], 3), np.uint8) for size in sizes]
    for start, band in _with_starts(bands.rows):
        for each in narrow:
            rows = each[start : start + len(band)]
            rows[...] = band if each.shape[1] == width else _pillow(band, rows.shape, how)
    return [
        each if each.shape[0] == size[0] else _pillow(each, (*size, 3), how)
        for each, size in zip(narrow, sizes, strict=True)
    ]


def _with_starts(rows: Iterable[_Picture]) -> Iterator[tuple[int, _Picture]]:
    start = 0
    for band in rows:
        yield start, band
        start += len(band)


def _pillow(picture: _Picture, shape: Sequence[int], how: Image.Resampling) -> _Picture:
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), how))
