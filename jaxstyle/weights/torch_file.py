"""Reads the weights in torch's `.pth` files without torch, and without trusting the file.

A state dict is stored as a pickle that describes tensors, followed by their raw storages. Two
containers exist: the legacy one (five pickles in a row, then the storages; torchvision's VGG files
of 2017 use it) and, since torch 1.6, a zip archive of uncompressed entries.

What the file may hold is in `torch_pickle`: nothing that it names is ever imported or called.
"""

import io
import itertools
import math
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.errors import InputError, quote
from jaxstyle.weights.torch_pickle import (
    CutOffError,
    PickleReader,
    RefusedError,
    Storage,
    Tensor,
    require,
)

_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9\x20j\xa8P\x19."  # magic number, pickled
_ZIP_START = b"PK\x03\x04"
_MAX_DESCRIPTION = 1 << 20  # bytes of pickle or zip directory; VGG-19 needs a few thousand
_MAX_SHARING = 4  # how often a file's size its tensors may add up to by sharing storages


def read_torch_file(path: Path | str, *, prefix: str = "features.") -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict whose names begin with `prefix`.

    The storages of all other tensors are skipped, not read. A zip file's checksums are verified
    for what is read; the legacy format has none, so a damaged weight loads silently there: check
    the file's sha256 first.

    Args:
        path: A file written by `torch.save(state_dict, path)`, in either of torch's formats.
        prefix: What the names of the wanted tensors begin with; "" reads them all.

    Returns:
        The tensors by name, in the file's order, as contiguous arrays of their own memory in the
        stored shape and type (float16/32/64 or an integer type).

    Raises:
        InputError: If the file cannot be read, is cut off or damaged, is no flat state dict, has
            no tensor of that prefix, or holds anything a state dict does not need. One line.
    """
    try:
        size = _regular_file_size(path)
        with _BoundedFile(io.FileIO(path)) as stream:
            return _read(stream, size, prefix)
    except CutOffError as error:
        raise InputError(f"{path} is cut off: {error}") from error
    except RefusedError as error:
        raise InputError(f"{path}: not a torch weight file: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise nearly anything in the parsers
        reason = quote(str(error)) if str(error) else "no details"
        text = f"{path}: not a torch weight file: damaged ({type(error).__name__}: {reason})"
        raise InputError(text) from error


def _regular_file_size(path: Path | str) -> int:
    # Asked before opening, as opening a named pipe would wait for ever.
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(
            "it is a directory" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
        )
    return status.st_size


class _BoundedFile(io.BufferedReader):
    """A file of which no single read may exceed `limit`: zipfile reads the whole directory."""

    limit = _MAX_DESCRIPTION

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = size if size is not None and size >= 0 else self.limit + 1
        data = super().read(min(wanted, self.limit + 1))
        if len(data) > self.limit:
            raise RefusedError(f"its description takes more than {self.limit} bytes")
        return data


_Loader = Callable[[Storage], bytes]


def _read(stream: _BoundedFile, size: int, prefix: str) -> dict[str, np.ndarray]:
    start = stream.read(len(_LEGACY_START))
    if start == _LEGACY_START:
        state, load = _open_legacy(stream, size)
    elif start.startswith(_ZIP_START):
        state, load = _open_zip(stream, size)
    elif start and (_LEGACY_START.startswith(start) or _ZIP_START.startswith(start)):
        raise CutOffError(f"only {size} bytes are there")
    else:
        looks = "it looks like a web page" if start.lstrip()[:1] == b"<" else "it is something else"
        raise RefusedError(f"{looks} (starts with {start!r})" if start else "it is empty")
    return _arrays(_wanted(state, prefix), load, size)


def _open_legacy(stream: _BoundedFile, size: int) -> tuple[Any, _Loader]:
    stream.seek(0)
    head = io.BytesIO(stream.read(_MAX_DESCRIPTION))
    head.seek(len(_LEGACY_START))
    require(PickleReader().load(head) == 1001, "its protocol version is not 1001")
    system = PickleReader().load(head)
    little = isinstance(system, dict) and system.get("little_endian") is True
    require(little, "its byte order is not stated as little-endian")
    reader = PickleReader()
    state, keys = reader.load(head), PickleReader().load(head)
    listed = type(keys) is list and all(type(key) is str for key in keys)
    listed = listed and sorted(keys) == sorted(reader.storages)
    require(listed, "its list of storages disagrees with its tensors")
    storages = [reader.storages[key] for key in keys]
    starts = _storage_starts(stream, head.tell(), storages, size)
    stream.limit = size

    def load(storage: Storage) -> bytes:
        stream.seek(starts[storage.key])
        return stream.read(storage.count * storage.dtype.itemsize)

    return state, load


def _storage_starts(
    stream: _BoundedFile, position: int, storages: list[Storage], size: int
) -> dict[str, int]:
    starts: dict[str, int] = {}
    for storage in storages:
        stream.seek(position)
        header = stream.read(8)
        if len(header) < 8:
            raise CutOffError(f"{size} bytes, where storage {len(starts)} starts at {position}")
        counts = struct.unpack("<q", header) == (storage.count,)
        require(counts, f"the size of storage {quote(storage.key)} is stated in two ways")
        starts[storage.key] = position + 8
        position += 8 + storage.count * storage.dtype.itemsize
    if size < position:
        raise CutOffError(f"{size} of {position} bytes")
    require(size == position, f"{size - position} bytes follow its last storage")
    return starts


def _open_zip(stream: _BoundedFile, size: int) -> tuple[Any, _Loader]:
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise CutOffError(f"its list of entries is missing or damaged ({error})") from error
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    require(len(pickles) == 1, f"it is a zip archive with {len(pickles)} data.pkl, not one")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist():  # absent before torch 2.1
        order = archive.read(_entry(archive, f"{root}byteorder"))
        require(order == b"little", f"its byte order is {quote(repr(order)[1:])}, not little")
    reader = PickleReader()
    state = reader.load(io.BytesIO(archive.read(_entry(archive, pickles[0]))))
    entries = {
        key: _entry(archive, f"{root}data/{key}", storage.count * storage.dtype.itemsize)
        for key, storage in reader.storages.items()
    }
    stream.limit = size
    return state, lambda storage: archive.read(entries[storage.key])


def _entry(archive: zipfile.ZipFile, name: str, length: int | None = None) -> zipfile.ZipInfo:
    require(name in archive.NameToInfo, f"its entry {quote(name)} is missing")
    info = archive.getinfo(name)
    stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
    require(stored, f"its entry {quote(name)} is compressed, which torch never does")
    fits = info.file_size <= _MAX_DESCRIPTION if length is None else info.file_size == length
    require(fits, f"its entry {quote(name)} has a wrong size ({info.file_size} bytes)")
    return info


def _wanted(state: Any, prefix: str) -> dict[str, Tensor]:
    kind = type(state).__name__.strip("_").lower()
    require(isinstance(state, dict), f"it holds a single {kind}, not a state dict")
    names = ", ".join(map(quote, itertools.islice(state, 4)))
    if isinstance(state.get("state_dict"), dict):
        raise RefusedError(f"it is a checkpoint ({names}); save its 'state_dict' alone")
    wanted = {name: value for name, value in state.items() if name.startswith(prefix)}
    found = f"it begins with {names}" if names else "it is empty"
    require(bool(wanted), f"no name in it begins with {quote(prefix)} ({found})")
    for name, value in wanted.items():
        require(isinstance(value, Tensor), f"its entry {quote(name)} is no tensor")
        numeric = value.storage.dtype.kind in "fiu"
        require(numeric, f"{quote(name)} is boolean, complex or bfloat16, which is not read")
    return wanted


def _arrays(tensors: dict[str, Tensor], load: _Loader, size: int) -> dict[str, np.ndarray]:
    total = sum(math.prod(t.shape) * t.storage.dtype.itemsize for t in tensors.values())
    require(total <= _MAX_SHARING * size, "its tensors share storages too often to be weights")
    arrays = {}
    # Each storage is read once, and only one of them is kept in memory at a time.
    by_storage = sorted(tensors, key=lambda name: tensors[name].storage.key)
    for storage, names in itertools.groupby(by_storage, lambda name: tensors[name].storage):
        raw = np.frombuffer(load(storage), storage.dtype)
        require(raw.size == storage.count, f"storage {quote(storage.key)} is incomplete")
        arrays.update({name: _copy(raw, tensors[name]) for name in names})
    return {name: arrays[name] for name in tensors}


def _copy(raw: np.ndarray, tensor: Tensor) -> np.ndarray:
    native = raw.dtype.newbyteorder("=")
    if 0 in tensor.shape:
        return np.empty(tensor.shape, native)
    pairs = zip(tensor.shape, tensor.strides, strict=True)
    # The stride of a dimension of one is never taken, so `_tensor` leaves its value unbounded.
    steps = [stride * raw.itemsize if length > 1 else 0 for length, stride in pairs]
    view = np.lib.stride_tricks.as_strided(raw[tensor.offset :], tensor.shape, steps)
    return np.array(view, native, order="C")
