"""Pictures that stay in their files: checked once, decoded again when they are looked at."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images.bands import BandedPicture, Bands
from jaxstyle.images.canvas import Picture
from jaxstyle.images.picture_file import load_picture, read_bands, sides_and_bytes
from jaxstyle.settings.recipe import Sides

_T = TypeVar("_T")

MOST_BYTES_KEPT = 2**27
"""Bytes of decoded pictures that are kept, those that were looked at last."""


class StoredPicture:
    """A picture in a file: its shape is known, and `numpy.asarray` decodes it.

    Attributes:
      shape: (H, W, 3).
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, shape: tuple[int, int, int], decode: Callable[[], Picture]) -> None:
        """Takes the shape, and what decodes: raises InputError if the file is another now."""
        self.shape, self._decode = shape, decode
        self.size = shape[0] * shape[1] * shape[2]

    def changed(self, change: Callable[[Picture], Picture]) -> Picture:
        """Returns this picture with a change, of its size, that is made whenever it is decoded."""
        decode = self._decode
        return cast("Picture", StoredPicture(self.shape, lambda: change(decode())))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Returns the picture, (H, W, 3) uint8; raises InputError if its file is another now."""
        return np.array(self._decode(), dtype=dtype, copy=copy)


class PictureStore:
    """Opens picture files, and keeps a few of them decoded."""

    def __init__(self, most_bytes: int = MOST_BYTES_KEPT) -> None:
        """Takes how many bytes of decoded pictures to keep."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Path, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: Path, sha256: str) -> Picture:
        """Returns a `StoredPicture`, once the file is decoded and found good; see `in_bands`.

        It is typed as an array, since all that sizes need of one it has, and `resize` and
        `as_picture` take it.

        Args:
          path: of a picture file.
          sha256: of its bytes; the file must have these whenever it is decoded.

        Raises:
          InputError: see `load_picture`.
        """
        height, width, channels = self._decoded(path, sha256).shape
        stored = StoredPicture((height, width, channels), lambda: self._decoded(path, sha256))
        return cast("Picture", stored)

    def _decoded(self, path: Path, sha256: str) -> Picture:
        """Returns the picture in a file.

        Raises:
          InputError: the file is gone, or another than it was.
        """
        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
            _check_unchanged(path, sha256)
            picture = load_picture(path)
            self._make_room(picture.nbytes)
            if picture.nbytes <= self._most_bytes:
                self._kept[path] = picture
            return picture

    def _make_room(self, more: int) -> None:
        """Lets go of what was looked at longest ago, until `more` bytes are free."""
        while self._kept and self._bytes() + more > self._most_bytes:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(each.nbytes for each in self._kept.values())


def in_bands(path: Path, sha256: str) -> Picture:
    """Returns a picture that is read in bands whenever it is looked at, once it is found good.

    It is typed as an array, as in `PictureStore.open`.

    Args:
      path: of a picture file.
      sha256: of its bytes; the file must have these whenever it is read.

    Raises:
      InputError: see `load_picture`.
    """

    def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
        _check_unchanged(path, sha256)
        return read_bands(path, use, least)

    read_bands(path, lambda bands: None, (1, 1))  # decodes all
    (height, width), _ = sides_and_bytes(path)
    return cast("Picture", BandedPicture((height, width, 3), read))


def _check_unchanged(path: Path, sha256: str) -> None:
    """Raises InputError if a file is gone, or has other bytes than it had."""
    try:
        is_same = files.sha256(path) == sha256
    except OSError as error:
        raise InputError(f"{path} can no longer be read: {error.strerror}") from None
    if not is_same:
        raise InputError(f"{path} was changed since it was read first")
