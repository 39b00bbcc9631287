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

Alpha = NDArray[np.uint8] | NDArray[np.uint16]
"""How opaque pixels are, (H, W): of 255, or of 65535."""

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
    rows: Iterable[NDArray[Any]]
    """Bands (h, W, 3), uint8, or of a deep picture float32 in [0, 1]; their heights add up to H."""


class Read(Protocol):
    """Reads a picture's file for a function of its bands, see `BandedPicture.read`."""

    def __call__(self, use: Callable[[Bands], _T], least: Sides | None) -> _T:
        """Returns what `use` makes of the bands."""


class BandedPicture:
    """A large picture (H, W, 3) in a file, read in bands; `numpy.asarray` reads it whole."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, shape: tuple[int, ...], read: Read, *, is_deep: bool = False) -> None:
        """Takes (H, W, 3), and what reads: raises InputError if the file is another now.

        And whether the picture is deep: its bands then are floating point, of more than 8 bits.
        """
        self.shape, self._read, self.is_deep = shape, read, is_deep
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

    def changed(
        self, change: Callable[[_Picture], _Picture], *, keep_depth: bool = False
    ) -> "BandedPicture":
        """Returns this picture with a change of single pixels, made whenever it is read.

        It is one of 8 bits, unless this one is deep and `keep_depth`: `change` then is given, and
        returns, floating point.
        """
        is_deep = self.is_deep and keep_depth

        def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
            def changed(bands: Bands) -> _T:
                rows = (change(each if is_deep else rounded(each)) for each in bands.rows)
                return use(Bands(bands.shape, rows))

            return self.read(changed, least)

        return BandedPicture(self.shape, read, is_deep=is_deep)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Returns the picture, (H, W, 3) uint8; raises InputError as `read` does."""
        found = self.read(whole)
        return found if dtype is None else found.astype(dtype, copy=False)

    def held(self) -> "BandedPicture":
        """Returns this picture, of all its bits, in memory."""
        found: NDArray[Any] = self.read(whole_floats) if self.is_deep else self.read(whole)

        def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
            return use(Bands(self.shape, [found]))

        return BandedPicture(self.shape, read, is_deep=self.is_deep)


def of_sixteen_bits(samples: NDArray[np.uint16]) -> BandedPicture:
    """Returns a picture (H, W, 3) of 16 bits a channel, white at 65535, as a deep one."""
    rows_at_once = max(1, PIXELS_AT_ONCE // samples.shape[1])

    def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
        starts = range(0, len(samples), rows_at_once)
        parts = (samples[start : start + rows_at_once] for start in starts)
        return use(Bands(samples.shape, ((part / 65535).astype(np.float32) for part in parts)))

    return BandedPicture(samples.shape, read, is_deep=True)


def rounded(band: NDArray[Any]) -> _Picture:
    """Returns a band in 8 bits, of floating point rounded half to even."""
    return band if band.dtype == np.uint8 else np.rint(band * 255).astype(np.uint8)


def whole(bands: Bands) -> _Picture:
    """Returns a picture in bands as one array of 8 bits."""
    return _joined(bands._replace(rows=map(rounded, bands.rows)), np.uint8)


def whole_floats(bands: Bands) -> NDArray[np.float32]:
    """Returns a deep picture in bands as one array."""
    return _joined(bands, np.float32)


def whole_sixteen_bits(bands: Bands) -> NDArray[np.uint16]:
    """Returns a deep picture in bands as one array of 16 bits."""
    rows = (np.rint(each.astype(np.float64) * 65535).astype(np.uint16) for each in bands.rows)
    return _joined(bands._replace(rows=rows), np.uint16)


def _joined(bands: Bands, kind: Any) -> NDArray[Any]:
    found = np.empty(bands.shape, kind)
    for start, band in _with_starts(bands.rows):
        found[start : start + len(band)] = band
    return found


def resize_bands(
    bands: Bands, sizes: Sequence[Sides], resampling: str, *, deep: bool = False
) -> list[NDArray[Any]]:
    """Resizes a picture in bands to every (H, W), rows first, then columns, each to 8 bits.

    If `deep` the bands, and what is returned, are floating point in [0, 1].

    That is what Pillow does with a whole picture, to the bit, but for some sizes for which newer
    versions resize the columns first: the difference is then less than 1/255 in the mean.
    """
    how, (height, width) = FILTERS[resampling], bands.shape[:2]
    kind: Any = np.float32 if deep else np.uint8
    narrow = [np.empty((height, size[1], 3), kind) for size in sizes]
    for start, given in _with_starts(bands.rows):
        band = given if deep else rounded(given)
        for each in narrow:
            rows = each[start : start + len(band)]
            rows[...] = band if each.shape[1] == width else _pillow(band, rows.shape, how)
    return [
        each if each.shape[0] == size[0] else _pillow(each, (*size, 3), how)
        for each, size in zip(narrow, sizes, strict=True)
    ]


def _with_starts(rows: Iterable[NDArray[Any]]) -> Iterator[tuple[int, NDArray[Any]]]:
    start = 0
    for band in rows:
        yield start, band
        start += len(band)


def _pillow(picture: NDArray[Any], shape: Sequence[int], how: Image.Resampling) -> NDArray[Any]:
    if picture.dtype == np.float32:
        return resize_deep(picture, (shape[0], shape[1]), how)
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), how))


def resize_deep(
    picture: NDArray[np.float32], size: Sides, how: Image.Resampling
) -> NDArray[np.float32]:
    """Returns floats in [0, 1], (h, w, C), at (H, W), every channel by itself, clipped."""
    each = [
        np.asarray(Image.fromarray(np.ascontiguousarray(picture[..., i])).resize(size[::-1], how))
        for i in range(picture.shape[-1])
    ]
    found: NDArray[np.float32] = np.stack(each, axis=-1).clip(0, 1)
    return found
