"""Reads the pickles in torch's files without pickle, so that a file can do nothing.

`pickle.Unpickler` is not used. Even with an allow-list of names it lets a file alter the allowed
objects (BUILD), claim gigabytes for its memo, or overflow the C stack by hashing nested tuples as
dict keys. A state dict needs about thirty operations, so `PickleReader` interprets just those
from `pickletools.genops`: names in the file stay text, and nothing is ever imported or called.
"""

import io
import math
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxstyle.errors import quote

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


class RefusedError(Exception):
    """Why a file is refused; `read_torch_file` adds the path."""


class CutOffError(RefusedError):
    """Why a file is known to be incomplete."""


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass(frozen=True)
class Storage:
    """Raw numbers in the file: its key there, their kind, and how many."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class Tensor:
    """How a tensor lies in a storage; offset and strides count elements, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class PickleReader:
    """Interprets the pickle operations that state dicts use; see the module's docstring."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self._memo: dict[int | None, Any] = {}

    def load(self, stream: io.BytesIO) -> Any:
        """Returns what the next pickle in the stream describes."""
        for opcode, argument in _operations(stream):
            if opcode in _LITERALS:
                self._stack.append(argument)
            elif opcode in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode]())
            elif not (self._arrange(opcode, argument) or self._build(opcode, argument)):
                raise RefusedError(f"its pickle uses {opcode}, which no state dict needs")
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
                raise RefusedError(f"its pickle has protocol {argument}, not 2")
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
                require(type(target) is OrderedDict, "its pickle alters an object (BUILD)")
            case _:
                return False
        return True

    def _take(self, count: str) -> list[Any]:
        if not count:  # all down to the last mark
            taken, self._stack = self._stack, self._below_marks.pop()
            return taken
        taken = [self._stack.pop() for _ in range(int(count))]
        return taken[::-1]

    def _register(self, storage: Storage) -> Storage:
        known = self.storages.setdefault(storage.key, storage)
        require(known == storage, f"it describes storage {quote(storage.key)} in two ways")
        return known


def _operations(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except ValueError as error:
        length = len(stream.getbuffer())
        if stream.tell() < length:
            raise RefusedError(f"its pickle is damaged ({quote(str(error))})") from error
        raise CutOffError(f"its pickle does not end within {length} bytes") from error


def require(condition: bool, otherwise: str) -> None:
    """Raises RefusedError with this reason unless the condition holds."""
    if not condition:
        raise RefusedError(otherwise)


def _extend(items: list[Any], target: Any) -> None:
    require(type(target) is list, "its pickle appends to something that is no list")
    target.extend(items)


def _set_items(items: Any, target: Any) -> None:
    require(isinstance(target, dict), "its pickle sets items of something that is no dict")
    # Only text is hashed: nested tuples overflow the C stack, chosen integers collide.
    target.update((key, value) for key, value in items if type(key) is str)


def _allowed_name(text: str) -> _Name:
    whole_model = " (is it a whole model, not its state dict?)"
    allowed = text in _DTYPES or text in _CALLS
    require(allowed, f"it names {quote(text)}, which no state dict needs{whole_model}")
    return _Name(text)


def _call(target: Any, arguments: Any) -> Any:
    known = isinstance(target, _Name) and target.text in _CALLS and type(arguments) is tuple
    require(known, "its pickle calls something that is no function")
    return _CALLS[target.text](*arguments)


def _ordered_dict(pairs: Any = ()) -> OrderedDict[str, Any]:
    result: OrderedDict[str, Any] = OrderedDict()
    _set_items(pairs, result)  # Python 2 passed the items as a list of pairs
    return result


def is_size(value: Any) -> bool:
    """Returns whether a value from the file is a whole number of 0 or more."""
    return type(value) is int and value >= 0


def _storage(identity: Any) -> Storage:
    valid = type(identity) is tuple and len(identity) in (5, 6) and identity[0] == "storage"
    require(valid, "its pickle refers to something that is no storage")
    _, kind, key, _, count, *view = identity
    dtype = _DTYPES.get(kind.text) if isinstance(kind, _Name) else None
    if dtype is None or type(key) is not str or not is_size(count):
        raise RefusedError("it has a storage of no known type, name or size")
    require(view in ([], [None]), "it has views of storages, which are not supported")
    return Storage(key, dtype, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    valid = isinstance(storage, Storage) and type(shape) is tuple and type(strides) is tuple
    require(valid and len(shape) == len(strides) <= _MAX_DIMENSIONS, "it has a malformed tensor")
    sizes = all(is_size(value) for value in (offset, *shape, *strides))
    require(sizes, "it has a tensor with a negative or non-integer size, stride or offset")
    steps = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    fits = 0 in shape or (offset + steps < storage.count and math.prod(shape) <= storage.count)
    require(fits, f"it has a tensor that exceeds its storage {quote(storage.key)}")
    require(not any(rest[2:]), "it has a tensor marked as conjugate or negative")
    return Tensor(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise RefusedError("it has a parameter that is no tensor")
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}
