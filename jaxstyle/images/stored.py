"""Pictures and masks that stay in files: checked once, decoded again when they are looked at."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images.bands import BandedPicture, Bands
from jaxstyle.images.canvas import Picture
from jaxstyle.images.picture_file import load_picture, read_bands, sides_and_bytes
from jaxstyle.settings.recipe import Sides

_T = TypeVar("_T")

Arrays = tuple[NDArray[Any], ...]

MOST_BYTES_KEPT = 2**27
"""Bytes of decoded pictures that are kept, those that were looked at last."""


class StoredArray:
    """An array that is made of files: its shape is known, and `numpy.asarray` makes it."""

    def __init__(
        self, shape: Sequence[int], dtype: Any, decode: Callable[[], NDArray[Any]]
    ) -> None:
        """Takes shape, type and what decodes: raises InputError if a file is another now."""
        self.shape, self.dtype, self._decode = tuple(shape), np.dtype(dtype), decode
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Returns the array; raises InputError if its file is another now."""
        return np.array(self._decode(), dtype=dtype, copy=copy)


class StoredPicture(StoredArray):
    """A picture in a file, (H, W, 3) uint8."""

    def __init__(self, shape: tuple[int, int, int], decode: Callable[[], Picture]) -> None:
        """Takes shape and what decodes: raises InputError if the file is another now."""
        super().__init__(shape, np.uint8, decode)

    def changed(self, change: Callable[[Picture], Picture]) -> Picture:
        """Returns this picture with a change, of its size, that is made whenever it is decoded."""
        height, width, channels = self.shape
        decode = self._decode
        stored = StoredPicture((height, width, channels), lambda: change(decode()))
        return cast("Picture", stored)


class PictureStore:
    """Opens picture files, and keeps a few of them, and of what is made of them, decoded."""

    def __init__(self, most_bytes: int | None = None) -> None:
        """Takes how many bytes to keep; None: MOST_BYTES_KEPT."""
        self._most_bytes = MOST_BYTES_KEPT if most_bytes is None else most_bytes
        self._kept: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._lock = threading.RLock()  # masks are made of pictures

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

        def decode() -> Arrays:
            check_unchanged(path, sha256)
            return (load_picture(path),)

        return self.kept(path, decode)[0]

    def kept(self, key: Hashable, make: Callable[[], Arrays]) -> Arrays:
        """Returns the arrays that were made for a key not long ago, else makes them."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = make()
            self._make_room(_bytes_of(made))
            if _bytes_of(made) <= self._most_bytes:
                self._kept[key] = made
            return made

    def stored(self, key: Hashable, made: Arrays, make: Callable[[], Arrays]) -> list[StoredArray]:
        """Returns arrays that were made as `StoredArray`s, which are made again when needed."""

        def at(number: int) -> Callable[[], NDArray[Any]]:
            return lambda: self.kept(key, make)[number]

        self.kept(key, lambda: made)
        return [StoredArray(each.shape, each.dtype, at(i)) for i, each in enumerate(made)]

    def _make_room(self, more: int) -> None:
        """Lets go of what was looked at longest ago, until `more` bytes are free."""
        while self._kept and self._bytes() + more > self._most_bytes:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(map(_bytes_of, self._kept.values()))


def _bytes_of(arrays: Arrays) -> int:
    return sum(each.nbytes for each in arrays)


def in_bands(path: Path, sha256: str, *, deep: bool = False) -> Picture:
    """Returns a picture that is read in bands whenever it is looked at, once it is found good.

    It is typed as an array, as in `PictureStore.open`.

    Args:
      path: of a picture file.
      sha256: of its bytes; the file must have these whenever it is read.
      deep: whether to read all its bits, see `depth`.

    Raises:
      InputError: see `load_picture`.
    """

    def read(use: Callable[[Bands], _T], least: Sides | None) -> _T:
        check_unchanged(path, sha256)
        return read_bands(path, use, least, deep=deep)

    read_bands(path, lambda bands: None, (1, 1), deep=deep)  # decodes all
    (height, width), _ = sides_and_bytes(path)
    return cast("Picture", BandedPicture((height, width, 3), read, is_deep=deep))


def check_unchanged(path: Path, sha256: str) -> None:
    """Raises InputError if a file is gone, or has other bytes than it had."""
    try:
        is_same = files.sha256(path) == sha256
    except OSError as error:
        raise InputError(f"{path} can no longer be read: {error.strerror}") from None
    if not is_same:
        raise InputError(f"{path} was changed since it was read first")
