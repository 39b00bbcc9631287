"""Reads the weights in torch's `.pth` files without torch, and without trusting the file.

A state dict is stored as a pickle that describes tensors, followed by their raw storages. Two
containers exist: the legacy one (five pickles in a row, then the storages; torchvision's VGG files
of 2017 use it) and, since torch 1.6, a zip archive of uncompressed entries.

`pickle.Unpickler` is not used. Even with an allow-list of names it lets a file alter the allowed
objects (BUILD), claim gigabytes for its memo, or overflow the C stack by hashing nested tuples as
dict keys. A state dict needs about thirty operations, so `_PickleReader` interprets just those
from `pickletools.genops`: names in the file stay text, and nothing is ever imported or called.
"""

import io
import itertools
import math
import pickletools
import stat
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.errors import InputError

_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9\x20j\xa8P\x19."  # magic number, pickled
_ZIP_START = b"PK\x03\x04"
_MAX_DESCRIPTION = 1 << 20  # bytes of pickle or zip directory; VGG-19 needs a few thousand
_MAX_SHARING = 4  # how often a file's size its tensors may add up to by sharing storages
_MAX_DIMENSIONS = 32
_DTYPES = {
    f"torch {name}Storage": np.dtype(code)
    for name, code in {
        "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4",
        "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?", "BFloat16": "V2",
        "ComplexFloat": "<c8", "ComplexDouble": "<c16",
    }.items()
}  # fmt: skip
# torch of 2017 ran on Python 2 too, whose text may be written as (SHORT_)BINSTRING.
_LITERALS = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINSTRING", "BINSTRING",
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip


class _RefusedError(Exception):
    """Why a file is refused; `read_torch_file` adds the path."""


class _CutOffError(_RefusedError):
    """Why a file is known to be incomplete."""


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
    except _CutOffError as error:
        raise InputError(f"{path} is cut off: {error}") from error
    except _RefusedError as error:
        raise InputError(f"{path}: not a torch weight file: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise nearly anything in the parsers
        reason = _quote(str(error)) if str(error) else "no details"
        text = f"{path}: not a torch weight file: damaged ({type(error).__name__}: {reason})"
        raise InputError(text) from error


def _regular_file_size(path: Path | str) -> int:
    # Asked before opening, as opening a named pipe would wait for ever.
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise _RefusedError(
            "it is a directory" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
        )
    return status.st_size


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


class _BoundedFile(io.BufferedReader):
    """A file of which no single read may exceed `limit`: zipfile reads the whole directory."""

    limit = _MAX_DESCRIPTION

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = size if size is not None and size >= 0 else self.limit + 1
        data = super().read(min(wanted, self.limit + 1))
        if len(data) > self.limit:
            raise _RefusedError(f"its description takes more than {self.limit} bytes")
        return data


class _PickleReader:
    """Interprets the pickle operations that state dicts use; see the module's docstring."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}
        self._stack: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self._memo: dict[int | None, Any] = {}

    def load(self, stream: io.BytesIO) -> Any:
        for opcode, argument in _operations(stream):
            if opcode in _LITERALS:
                self._stack.append(argument)
            elif opcode in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode]())
            elif not (self._arrange(opcode, argument) or self._build(opcode, argument)):
                raise _RefusedError(f"its pickle uses {opcode}, which no state dict needs")
        return self._stack.pop()

    def _arrange(self, opcode: str, argument: Any) -> bool:
        match opcode:
            case "MARK":
                self._below_marks.append(self._stack)
                self._stack = []
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[argument])
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = self._take(opcode.removeprefix("TUPLE"))  # may replace the stack
                self._stack.append(tuple(items))
            case "PROTO" if argument != 2:
                raise _RefusedError(f"its pickle has protocol {argument}, not 2")
            case _:
                return opcode in ("PROTO", "STOP")
        return True

    def _build(self, opcode: str, argument: Any) -> bool:
        match opcode:
            case "APPEND" | "APPENDS":
                _extend(self._take("1" if opcode == "APPEND" else ""), self._stack[-1])
            case "SETITEM" | "SETITEMS":
                items = self._take("2" if opcode == "SETITEM" else "")
                _set_items(zip(items[::2], items[1::2], strict=True), self._stack[-1])
            case "GLOBAL":
                self._stack.append(_allowed_name(argument))
            case "BINPERSID":
                self._stack.append(self._register(_storage(self._stack.pop())))
            case "REDUCE":
                self._stack.append(_call(*self._take("2")))
            case "BUILD":  # module versions (`_metadata`), of no use here
                _, target = self._stack.pop(), self._stack[-1]
                _require(type(target) is OrderedDict, "its pickle alters an object (BUILD)")
            case _:
                return False
        return True

    def _take(self, count: str) -> list[Any]:
        if not count:  # all down to the last mark
            taken, self._stack = self._stack, self._below_marks.pop()
            return taken
        taken = [self._stack.pop() for _ in range(int(count))]
        return taken[::-1]

    def _register(self, storage: _Storage) -> _Storage:
        known = self.storages.setdefault(storage.key, storage)
        _require(known == storage, f"it describes storage {_quote(storage.key)} in two ways")
        return known


def _operations(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except ValueError as error:
        length = len(stream.getbuffer())
        if stream.tell() < length:
            raise _RefusedError(f"its pickle is damaged ({_quote(str(error))})") from error
        raise _CutOffError(f"its pickle does not end within {length} bytes") from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _RefusedError(otherwise)


def _extend(items: list[Any], target: Any) -> None:
    _require(type(target) is list, "its pickle appends to something that is no list")
    target.extend(items)


def _set_items(items: Any, target: Any) -> None:
    _require(isinstance(target, dict), "its pickle sets items of something that is no dict")
    # Only text is hashed: nested tuples overflow the C stack, chosen integers collide.
    target.update((key, value) for key, value in items if type(key) is str)


def _allowed_name(text: str) -> _Name:
    whole_model = " (is it a whole model, not its state dict?)"
    allowed = text in _DTYPES or text in _CALLS
    _require(allowed, f"it names {_quote(text)}, which no state dict needs{whole_model}")
    return _Name(text)


def _call(target: Any, arguments: Any) -> Any:
    known = isinstance(target, _Name) and target.text in _CALLS and type(arguments) is tuple
    _require(known, "its pickle calls something that is no function")
    return _CALLS[target.text](*arguments)


def _ordered_dict(pairs: Any = ()) -> OrderedDict[str, Any]:
    result: OrderedDict[str, Any] = OrderedDict()
    _set_items(pairs, result)  # Python 2 passed the items as a list of pairs
    return result


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _storage(identity: Any) -> _Storage:
    valid = type(identity) is tuple and len(identity) in (5, 6) and identity[0] == "storage"
    _require(valid, "its pickle refers to something that is no storage")
    _, kind, key, _, count, *view = identity
    dtype = _DTYPES.get(kind.text) if isinstance(kind, _Name) else None
    if dtype is None or type(key) is not str or not _is_size(count):
        raise _RefusedError("it has a storage of no known type, name or size")
    _require(view in ([], [None]), "it has views of storages, which are not supported")
    return _Storage(key, dtype, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> _Tensor:
    valid = isinstance(storage, _Storage) and type(shape) is tuple and type(strides) is tuple
    _require(valid and len(shape) == len(strides) <= _MAX_DIMENSIONS, "it has a malformed tensor")
    sizes = all(_is_size(value) for value in (offset, *shape, *strides))
    _require(sizes, "it has a tensor with a negative or non-integer size, stride or offset")
    steps = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    fits = 0 in shape or (offset + steps < storage.count and math.prod(shape) <= storage.count)
    _require(fits, f"it has a tensor that exceeds its storage {_quote(storage.key)}")
    _require(not any(rest[2:]), "it has a tensor marked as conjugate or negative")
    return _Tensor(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> _Tensor:
    if not isinstance(data, _Tensor):
        raise _RefusedError("it has a parameter that is no tensor")
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}


_Loader = Callable[[_Storage], bytes]


def _read(stream: _BoundedFile, size: int, prefix: str) -> dict[str, np.ndarray]:
    start = stream.read(len(_LEGACY_START))
    if start == _LEGACY_START:
        state, load = _open_legacy(stream, size)
    elif start.startswith(_ZIP_START):
        state, load = _open_zip(stream, size)
    elif start and (_LEGACY_START.startswith(start) or _ZIP_START.startswith(start)):
        raise _CutOffError(f"only {size} bytes are there")
    else:
        looks = "it looks like a web page" if start.lstrip()[:1] == b"<" else "it is something else"
        raise _RefusedError(f"{looks} (starts with {start!r})" if start else "it is empty")
    return _arrays(_wanted(state, prefix), load, size)


def _open_legacy(stream: _BoundedFile, size: int) -> tuple[Any, _Loader]:
    stream.seek(0)
    head = io.BytesIO(stream.read(_MAX_DESCRIPTION))
    head.seek(len(_LEGACY_START))
    _require(_PickleReader().load(head) == 1001, "its protocol version is not 1001")
    system = _PickleReader().load(head)
    little = isinstance(system, dict) and system.get("little_endian") is True
    _require(little, "its byte order is not stated as little-endian")
    reader = _PickleReader()
    state, keys = reader.load(head), _PickleReader().load(head)
    listed = type(keys) is list and all(type(key) is str for key in keys)
    listed = listed and sorted(keys) == sorted(reader.storages)
    _require(listed, "its list of storages disagrees with its tensors")
    storages = [reader.storages[key] for key in keys]
    starts = _storage_starts(stream, head.tell(), storages, size)
    stream.limit = size

    def load(storage: _Storage) -> bytes:
        stream.seek(starts[storage.key])
        return stream.read(storage.count * storage.dtype.itemsize)

    return state, load


def _storage_starts(
    stream: _BoundedFile, position: int, storages: list[_Storage], size: int
) -> dict[str, int]:
    starts: dict[str, int] = {}
    for storage in storages:
        stream.seek(position)
        header = stream.read(8)
        if len(header) < 8:
            raise _CutOffError(f"{size} bytes, where storage {len(starts)} starts at {position}")
        counts = struct.unpack("<q", header) == (storage.count,)
        _require(counts, f"the size of storage {_quote(storage.key)} is stated in two ways")
        starts[storage.key] = position + 8
        position += 8 + storage.count * storage.dtype.itemsize
    if size < position:
        raise _CutOffError(f"{size} of {position} bytes")
    _require(size == position, f"{size - position} bytes follow its last storage")
    return starts


def _open_zip(stream: _BoundedFile, size: int) -> tuple[Any, _Loader]:
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise _CutOffError(f"its list of entries is missing or damaged ({error})") from error
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    _require(len(pickles) == 1, f"it is a zip archive with {len(pickles)} data.pkl, not one")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist():  # absent before torch 2.1
        order = archive.read(_entry(archive, f"{root}byteorder"))
        _require(order == b"little", f"its byte order is {_quote(repr(order)[1:])}, not little")
    reader = _PickleReader()
    state = reader.load(io.BytesIO(archive.read(_entry(archive, pickles[0]))))
    entries = {
        key: _entry(archive, f"{root}data/{key}", storage.count * storage.dtype.itemsize)
        for key, storage in reader.storages.items()
    }
    stream.limit = size
    return state, lambda storage: archive.read(entries[storage.key])


def _entry(archive: zipfile.ZipFile, name: str, length: int | None = None) -> zipfile.ZipInfo:
    _require(name in archive.NameToInfo, f"its entry {_quote(name)} is missing")
    info = archive.getinfo(name)
    stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
    _require(stored, f"its entry {_quote(name)} is compressed, which torch never does")
    fits = info.file_size <= _MAX_DESCRIPTION if length is None else info.file_size == length
    _require(fits, f"its entry {_quote(name)} has a wrong size ({info.file_size} bytes)")
    return info


def _wanted(state: Any, prefix: str) -> dict[str, _Tensor]:
    kind = type(state).__name__.strip("_").lower()
    _require(isinstance(state, dict), f"it holds a single {kind}, not a state dict")
    names = ", ".join(map(_quote, itertools.islice(state, 4)))
    if isinstance(state.get("state_dict"), dict):
        raise _RefusedError(f"it is a checkpoint ({names}); save its 'state_dict' alone")
    wanted = {name: value for name, value in state.items() if name.startswith(prefix)}
    found = f"it begins with {names}" if names else "it is empty"
    _require(bool(wanted), f"no name in it begins with {_quote(prefix)} ({found})")
    for name, value in wanted.items():
        _require(isinstance(value, _Tensor), f"its entry {_quote(name)} is no tensor")
        numeric = value.storage.dtype.kind in "fiu"
        _require(numeric, f"{_quote(name)} is boolean, complex or bfloat16, which is not read")
    return wanted


def _arrays(tensors: dict[str, _Tensor], load: _Loader, size: int) -> dict[str, np.ndarray]:
    total = sum(math.prod(t.shape) * t.storage.dtype.itemsize for t in tensors.values())
    _require(total <= _MAX_SHARING * size, "its tensors share storages too often to be weights")
    arrays = {}
    # Each storage is read once, and only one of them is kept in memory at a time.
    by_storage = sorted(tensors, key=lambda name: tensors[name].storage.key)
    for storage, names in itertools.groupby(by_storage, lambda name: tensors[name].storage):
        raw = np.frombuffer(load(storage), storage.dtype)
        _require(raw.size == storage.count, f"storage {_quote(storage.key)} is incomplete")
        arrays.update({name: _copy(raw, tensors[name]) for name in names})
    return {name: arrays[name] for name in tensors}


def _copy(raw: np.ndarray, tensor: _Tensor) -> np.ndarray:
    native = raw.dtype.newbyteorder("=")
    if 0 in tensor.shape:
        return np.empty(tensor.shape, native)
    pairs = zip(tensor.shape, tensor.strides, strict=True)
    # The stride of a dimension of one is never taken, so `_tensor` leaves its value unbounded.
    steps = [stride * raw.itemsize if length > 1 else 0 for length, stride in pairs]
    view = np.lib.stride_tricks.as_strided(raw[tensor.offset :], tensor.shape, steps)
    return np.array(view, native, order="C")
