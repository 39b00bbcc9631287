"""Tests of jaxstyle.weights.torch_file.

The files are by real torch (see scripts/make_torch_fixtures.py) or, where torch would never write
them, made here by a small pickle assembler. `-m slow` tries damage at every third byte.
"""

import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxstyle.errors import InputError
from jaxstyle.weights.torch_file import read_torch_file

REFERENCES = Path(__file__).parents[1] / "references"
TORCH_FILES = [REFERENCES / "tiny_legacy.pth", REFERENCES / "tiny_zip.pth"]
LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)


@dataclass
class Raw:
    """Pickle operations to be inserted as they are."""

    code: bytes


@dataclass
class Name:
    """A GLOBAL, such as "torch FloatStorage"."""

    text: str


@dataclass
class Call:
    """A REDUCE of a GLOBAL."""

    name: str
    arguments: tuple[Any, ...]


@dataclass
class Stored:
    """A persistent id."""

    identity: tuple[Any, ...]


def assemble(value: Any) -> bytes:
    """Returns the pickle operations that build `value`, by the simplest means."""
    match value:
        case Raw():
            return value.code
        case Name():
            return b"c" + value.text.replace(" ", "\n").encode() + b"\n"
        case Call():
            return assemble(Name(value.name)) + assemble(value.arguments) + b"R"
        case Stored():
            return assemble(value.identity) + b"Q"
        case dict():
            items = b"".join(assemble(part) for item in value.items() for part in item)
            return b"}(" + items + b"u"
        case tuple():
            return b"(" + b"".join(map(assemble, value)) + b"t"
        case list():
            return b"](" + b"".join(map(assemble, value)) + b"e"
        case _:
            return pickle.dumps(value, 2)[2:-1]


def dump(value: Any) -> bytes:
    """Returns `value` as a whole pickle of protocol 2."""
    return b"\x80\x02" + assemble(value) + b"."


def legacy_file(
    state: Any,
    storages: dict[str, np.ndarray],
    *,
    keys: Any = None,
    system: Any = None,
    tail: bytes = b"",
) -> bytes:
    """Returns a file in the legacy format."""
    parts = [
        LEGACY_START,
        dump({"little_endian": True} if system is None else system),
        dump(state),
        dump(list(storages) if keys is None else keys),
    ]
    parts += [struct.pack("<q", data.size) + data.tobytes() for data in storages.values()]
    return b"".join(parts) + tail


def zip_file(
    state: Any,
    storages: dict[str, np.ndarray],
    *,
    extra: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Returns a file in the zip format."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", dump(state))
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())
    return stream.getvalue()


def storage(count: Any = 6, kind: str = "Float", key: Any = "0", *view: Any) -> Stored:
    """Returns the persistent id of a storage."""
    return Stored(("storage", Name(f"torch {kind}Storage"), key, "cpu", count, *view))


def tensor(shape: Any = (2, 3), strides: Any = (3, 1), offset: Any = 0, stored: Any = None) -> Call:
    """Returns a tensor as torch of 2017 described it."""
    stored = storage() if stored is None else stored
    return Call("torch._utils _rebuild_tensor", (stored, offset, shape, strides))


SIX = {"0": np.arange(6, dtype="<f4")}
FORMATS: list[Callable[..., bytes]] = [legacy_file, zip_file]


def read_bytes(
    folder: Path, content: bytes | bytearray, prefix: str = "features."
) -> dict[str, np.ndarray]:
    """Reads `content` from a file."""
    path = folder / "weights.pth"
    path.write_bytes(content)
    return read_torch_file(path, prefix=prefix)


def refusal(folder: Path, content: bytes | bytearray, prefix: str = "features.") -> str:
    """Returns why `content` is refused, in one line that begins with the path."""
    with pytest.raises(InputError) as caught:
        read_bytes(folder, content, prefix)
    message = str(caught.value)
    assert message.startswith(str(folder / "weights.pth"))
    assert len(message.splitlines()) == 1
    assert len(message) < 400 + len(str(folder))
    return message


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The values of the fixtures' features, as torch saw them."""
    with np.load(REFERENCES / "tiny_expected.npz") as arrays:
        return dict(arrays)


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Asserts equal names (in order), types, shapes and bytes."""
    assert list(actual) == list(expected)
    for name, value in actual.items():
        assert (value.dtype, value.shape) == (expected[name].dtype, expected[name].shape), name
        assert value.tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("path", TORCH_FILES, ids=lambda path: path.stem)
class TestRealFiles:
    """Files written by torch, whole and damaged."""

    def test_values(self, path: Path, expected: dict[str, np.ndarray]) -> None:
        """Transposed, offset, shared, half, scalar and empty tensors are as torch sees them."""
        arrays = read_torch_file(path)
        assert_same(arrays, expected)
        assert {str(value.dtype) for value in arrays.values()} == {
            "float16", "float32", "float64", "int64", "uint8",
        }  # fmt: skip
        for value in arrays.values():
            assert value.flags.c_contiguous
            assert value.flags.owndata
            assert value.flags.writeable

    def test_other_prefix_and_text_path(self, path: Path) -> None:
        """Any prefix may be asked for, and the path may be text."""
        arrays = read_torch_file(str(path), prefix="classifier.0.")
        assert {name: value.shape for name, value in arrays.items()} == {
            "classifier.0.weight": (5, 7),
            "classifier.0.bias": (5,),
        }

    @pytest.mark.parametrize("prefix", ["", "classifier.brain", "classifier.mask"])
    def test_types_that_numpy_lacks(self, path: Path, prefix: str) -> None:
        """bfloat16 and booleans are skipped silently, but refused if asked for."""
        with pytest.raises(InputError, match="which is not read"):
            read_torch_file(path, prefix=prefix)

    def test_unknown_prefix(self, path: Path) -> None:
        """The message names what there is instead."""
        with pytest.raises(InputError, match=r"'conv\.' .*'features\.0\.weight'"):
            read_torch_file(path, prefix="conv.")

    @pytest.mark.parametrize("step", [29, pytest.param(2, marks=pytest.mark.slow)])
    def test_cut_off_anywhere(self, path: Path, step: int, tmp_path: Path) -> None:
        """No part of a file is read as if it were the whole."""
        content = path.read_bytes()
        size = len(content)
        for length in (*range(1, 32), *range(32, size - 64, step), *range(size - 64, size)):
            assert "is cut off: " in refusal(tmp_path, content[:length]), length

    @pytest.mark.filterwarnings("ignore:invalid escape sequence")
    @pytest.mark.parametrize(("flip", "first"), [(0xFF, 0), (0x01, 12)])
    @pytest.mark.parametrize("step", [24, pytest.param(3, marks=pytest.mark.slow)])
    def test_flipped_byte(
        self,
        path: Path,
        flip: int,
        first: int,
        step: int,
        tmp_path: Path,
        expected: dict[str, np.ndarray],
    ) -> None:
        """Damage raises nothing but InputError; in a zip file it never changes a value."""
        content = bytearray(path.read_bytes())
        outcomes = []
        for position in range(first, len(content), step):
            content[position] ^= flip
            try:
                arrays = read_bytes(tmp_path, content)
            except InputError as error:
                outcomes.append(len(str(error).splitlines()))
            else:
                outcomes.append(0)
                if path.stem == "tiny_zip":
                    assert_same(arrays, expected)
            content[position] ^= flip
        assert set(outcomes) == {0, 1}


def test_zip_checksum_is_named(tmp_path: Path) -> None:
    """Damaged weights in a zip file are detected by their checksum."""
    path = REFERENCES / "tiny_zip.pth"
    content = bytearray(path.read_bytes())
    first = read_torch_file(path)["features.0.weight"].tobytes()
    content[content.index(first) + 5] ^= 1
    assert "Bad CRC-32" in refusal(tmp_path, content)


def test_legacy_damage_of_weights_is_silent(tmp_path: Path) -> None:
    """What the docstring warns of, and why callers check the sha256."""
    path = REFERENCES / "tiny_legacy.pth"
    content = bytearray(path.read_bytes())
    first = read_torch_file(path)["features.0.weight"].tobytes()
    content[content.index(first) + 5] ^= 1
    assert read_bytes(tmp_path, content)["features.0.weight"].tobytes() != first


def test_checkpoint() -> None:
    """A state dict nested in a checkpoint is not searched for, but named."""
    with pytest.raises(InputError, match=r"'epoch', 'state_dict', 'optimizer'.*save its 'state_d"):
        read_torch_file(REFERENCES / "tiny_checkpoint.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html>\n<html>Not found</html>", "web page"),
        (b"\n <html>", "web page"),
        (b"weights\n" * 99, "something else"),
        (np.random.default_rng(0).bytes(5000), "not a torch weight file"),
        (b"", "it is empty"),
        (pickle.dumps({"features.0": 1}), "something else"),
        (b"PK\x03\x04" + bytes(200), "is cut off"),
        (b"PK\x05\x06" + bytes(18), "something else"),
    ],
    ids=["html", "xml", "text", "random", "empty", "pickle", "zip start", "empty zip"],
)
def test_other_files(content: bytes, reason: str, tmp_path: Path) -> None:
    """Files that torch did not write are refused with a reason."""
    assert reason in refusal(tmp_path, content)


def test_unreadable_paths(tmp_path: Path) -> None:
    """Directories, missing files and pipes (which would block) are refused."""
    os.mkfifo(tmp_path / "pipe")
    cases = [
        (tmp_path, "directory"),
        (tmp_path / "no", "No such file"),
        (tmp_path / "pipe", "no regular file"),
    ]
    for path, reason in cases:
        with pytest.raises(InputError, match=reason):
            read_torch_file(path)


def test_only_wanted_storages_are_in_memory(tmp_path: Path) -> None:
    """The peak stays near the wanted tensors' size, in both formats."""
    big = np.zeros(4_000_000, "<f4")
    state = {
        "classifier.0": tensor((4_000_000,), (1,), 0, storage(big.size, "Float", "big")),
        "features.0": tensor(),
    }
    for make in FORMATS:
        path = tmp_path / "big.pth"
        path.write_bytes(make(state, {"big": big, **SIX}))
        tracemalloc.start()
        try:
            assert read_torch_file(path)["features.0"].sum() == 15
            assert tracemalloc.get_traced_memory()[1] < 2_100_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("make", FORMATS)
class TestCraftedTensors:
    """Tensors described by hand, in both formats."""

    def test_rebuild_functions(self, make: Callable[..., bytes], tmp_path: Path) -> None:
        """Torch's way of 2017, today's way and parameters are all understood."""
        hooks = Call("collections OrderedDict", ())
        newer = Call("torch._utils _rebuild_tensor_v2", (storage(), 1, (2,), (3,), False, hooks))
        wrapped = Call("torch._utils _rebuild_parameter", (tensor(), True, hooks))
        state = {"features.0": tensor(), "features.1": newer, "features.2": wrapped}
        arrays = read_bytes(tmp_path, make(state, SIX))
        assert [value.tolist() for value in arrays.values()] == [
            [[0, 1, 2], [3, 4, 5]], [1, 4], [[0, 1, 2], [3, 4, 5]],
        ]  # fmt: skip

    def test_python_2(self, make: Callable[..., bytes], tmp_path: Path) -> None:
        """Python 2 wrote byte strings, and an OrderedDict as a list of pairs."""
        key = Raw(b"U\x0afeatures.0")
        state = Call("collections OrderedDict", ([[key, tensor()]],))
        assert read_bytes(tmp_path, make(state, SIX))["features.0"].shape == (2, 3)

    def test_stride_of_one_long_dimension(self, make: Callable[..., bytes], tmp_path: Path) -> None:
        """The stride of a dimension of one is meaningless, however large."""
        state = {"features.0": tensor((1, 6), (2**70, 1))}
        assert read_bytes(tmp_path, make(state, SIX))["features.0"].tolist() == [[0, 1, 2, 3, 4, 5]]

    @pytest.mark.parametrize(
        ("shape", "strides", "offset"),
        [
            ((2, 3), (3, 1), 1),
            ((2, 3), (3, 1), -1),
            ((2, 3), (3, 1), 6),
            ((2, 3), (3, 1), 2**64),
            ((2, 3), (4, 1), 0),
            ((2, 3), (-3, 1), 3),
            ((2, -3), (3, 1), 0),
            ((-2, -3), (3, 1), 0),
            ((7,), (1,), 0),
            ((7,), (0,), 0),
            ((10**12,), (0,), 0),
            ((2**32, 2**32), (1, 1), 0),
            ((2**32, 2**32), (0, 0), 0),
            ((2**2000,) * 30, (0,) * 30, 0),
            ((0, 2**62, 2**62), (1, 1, 1), 0),
            ((2,), (2**63 - 1,), 0),
            ((2,), (2**1000,), 0),
            ((2, 3), (1,), 0),
            ((1,) * 65, (1,) * 65, 0),
            ((2.0, 3), (3, 1), 0),
            ((True, 3), (3, 1), 0),
            ([2, 3], [3, 1], 0),
            (6, 1, 0),
            ((2, 3), (3, 1), None),
            (((2,),), (1,), 0),
        ],
    )
    def test_bad_geometry(
        self, make: Callable[..., bytes], shape: Any, strides: Any, offset: Any, tmp_path: Path
    ) -> None:
        """Sizes, strides and offsets that leave the storage are refused."""
        state = {"features.0": tensor(shape, strides, offset)}
        assert "not a torch weight file" in refusal(tmp_path, make(state, SIX))

    @pytest.mark.parametrize(
        "stored",
        [
            storage(7),
            storage(5),
            storage(-6),
            storage(10**12),
            storage(2**70),
            storage(None),
            storage(6.0),
            storage(6, "Double"),
            storage(6, "Quantized"),
            storage(6, "Float", "1"),
            storage(6, "Float", "../../0"),
            storage(6, "Float", 0),
            storage(6, "Float", ("0",)),
            storage(6, "Float", "0", ("1", 0, 6)),
            Stored(("module", Name("torch FloatStorage"), "0", "cpu", 6)),
            Stored(("storage", "FloatStorage", "0", "cpu", 6)),
            Stored(("storage",)),
            Raw(b"K\x01Q"),
            5,
            None,
        ],
    )
    def test_bad_storage(self, make: Callable[..., bytes], stored: Any, tmp_path: Path) -> None:
        """Storages of another size, type or name than the file's are refused."""
        state = {"features.0": tensor(stored=Raw(b"N") if stored is None else stored)}
        refusal(tmp_path, make(state, SIX))

    def test_storage_described_twice(self, make: Callable[..., bytes], tmp_path: Path) -> None:
        """One storage cannot have two types or sizes."""
        other = tensor((3,), (1,), 0, storage(3, "Double"))
        state = {"features.0": tensor(), "features.1": other}
        assert "in two ways" in refusal(tmp_path, make(state, SIX))

    def test_sharing_bomb(self, make: Callable[..., bytes], tmp_path: Path) -> None:
        """Many tensors over one storage cannot fill the memory."""
        wide = np.zeros(50_000, "<f4")
        whole = tensor((wide.size,), (1,), 0, storage(wide.size))
        state = {f"features.{i}": whole for i in range(20)}
        assert "too often" in refusal(tmp_path, make(state, {"0": wide}))

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ([1, 2], "a single list"),
            (tensor(), "a single tensor"),
            ({}, "no name"),
            ({"features.0": 3}, "is no tensor"),
            ({"features.0": {"w": tensor()}}, "is no tensor"),
            ({1: tensor()}, "no name"),
            ({"state_dict": {"features.0": tensor()}}, "save its 'state_dict' alone"),
            ({"x\ny" * 99: tensor()}, "no name"),
            (Call("torchvision.models.vgg VGG", ()), "whole model"),
            ({"features.0": Call("torch FloatStorage", ())}, "calls something"),
            ({"features.0": Call("torch._utils _rebuild_tensor", (1,))}, "TypeError"),
            ({"features.0": Call("torch._utils _rebuild_parameter", (1,))}, "no tensor"),
        ],
    )
    def test_no_flat_state_dict(
        self, make: Callable[..., bytes], state: Any, reason: str, tmp_path: Path
    ) -> None:
        """Other things than a flat dict of tensors are named."""
        storages = SIX if b"FloatStorage\nX" in dump(state) else {}
        assert reason in refusal(tmp_path, make(state, storages))


class TestLegacyContainer:
    """What only the legacy format can have wrong."""

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"keys": []}, "list of storages"),
            ({"keys": ["0", "0"]}, "list of storages"),
            ({"keys": ["0", "1"]}, "list of storages"),
            ({"keys": ["1"]}, "list of storages"),
            ({"keys": [0]}, "list of storages"),
            ({"keys": "0"}, "list of storages"),
            ({"system": {"little_endian": False}}, "byte order"),
            ({"system": {}}, "byte order"),
            ({"system": 1}, "byte order"),
            ({"tail": b"x"}, "1 bytes follow"),
        ],
    )
    def test_disagreement(self, changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
        """The parts of a file must agree with each other."""
        assert reason in refusal(tmp_path, legacy_file({"features.0": tensor()}, SIX, **changes))

    @pytest.mark.parametrize("count", [5, 7, -1, 2**62])
    def test_stated_count(self, count: int, tmp_path: Path) -> None:
        """The count before a storage must be the pickle's."""
        content = legacy_file({"features.0": tensor()}, SIX)
        wrong = content[:-32] + struct.pack("<q", count) + content[-24:]
        assert "stated in two ways" in refusal(tmp_path, wrong)

    def test_protocol_version(self, tmp_path: Path) -> None:
        """Another version of the format is refused."""
        content = legacy_file({"features.0": tensor()}, SIX)
        wrong = content.replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2))
        assert "protocol version" in refusal(tmp_path, wrong)


class TestZipContainer:
    """What only the zip format can have wrong."""

    state: dict[str, Any] = {"features.0": tensor()}  # noqa: RUF012

    @pytest.mark.parametrize("order", [b"big", b"", b"little\n", b"\xff" * 400])
    def test_byte_order(self, order: bytes, tmp_path: Path) -> None:
        """Big-endian files are refused clearly."""
        content = zip_file(self.state, SIX, extra={"archive/byteorder": order})
        assert "byte order" in refusal(tmp_path, content)

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_compressed(self, method: int, tmp_path: Path) -> None:
        """Compressed entries (zip bombs) are refused before they are opened."""
        content = zip_file(self.state, SIX, compression=method)
        assert "compressed" in refusal(tmp_path, content)

    @pytest.mark.parametrize("storages", [{}, {"1": SIX["0"]}, {"0": SIX["0"][:5]}])
    def test_storages(self, storages: dict[str, np.ndarray], tmp_path: Path) -> None:
        """A missing or shorter storage is refused."""
        assert "its entry 'archive/data/0'" in refusal(tmp_path, zip_file(self.state, storages))

    def test_number_of_pickles(self, tmp_path: Path) -> None:
        """A zip archive of something else is refused."""
        content = zip_file(self.state, SIX, extra={"other/data.pkl": b""})
        assert "2 data.pkl" in refusal(tmp_path, content)
        assert "0 data.pkl" in refusal(tmp_path, content.replace(b"data.pkl", b"text.pkl"))

    def test_huge_pickle(self, tmp_path: Path) -> None:
        """The pickle is bounded before it is read."""
        content = zip_file({"x" * 2_000_000: tensor()}, SIX)
        assert "wrong size" in refusal(tmp_path, content)

    def test_huge_directory(self, tmp_path: Path) -> None:
        """The list of entries is bounded before it is read."""
        names = {f"archive/{i:05d}" + "x" * 60_000: b"" for i in range(20)}
        content = zip_file(self.state, SIX, extra=names)
        assert "description takes more" in refusal(tmp_path, content)

    def test_encrypted(self, tmp_path: Path) -> None:
        """The errors of zipfile itself are wrapped."""
        content = bytearray(zip_file(self.state, SIX))
        for start in (b"PK\x01\x02", b"PK\x03\x04"):
            content[content.index(start) + (8 if start[2] == 1 else 6)] |= 1
        assert "encrypted" in refusal(tmp_path, content)


def attacks(marker: Path) -> dict[str, bytes]:
    """Returns pickle bodies that would create `marker`, or exhaust the machine, when loaded."""
    command = assemble(f"touch {marker}")
    call = b"cposix\nsystem\n" + command + b"\x85R"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    text = assemble("a")
    return {
        "reduce": call,
        "reduce in a key": b"}" + call + b"K\x01s",
        "reduce popped": call + b"0}",
        "eval": b"cbuiltins\neval\n" + assemble(f"open({str(marker)!r}, 'w').close()") + b"\x85R",
        "exec": b"cbuiltins\nexec\n" + assemble(f"open({str(marker)!r}, 'w').close()") + b"\x85R",
        "getattr": b"cbuiltins\ngetattr\n" + b"cos\nsystem\n" + assemble("__call__") + b"\x86R",
        "python 2": b"c__builtin__\neval\n" + assemble("1") + b"\x85R",
        "import": b"c__builtin__\n__import__\n" + assemble("os") + b"\x85R",
        "dotted": b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        "our own module": b"cjaxstyle.weights.torch_file\nos.system\n" + command + b"\x85R",
        "numpy": b"cnumpy\nload\n" + command + b"\x85R",
        "stack global": assemble("posix") + assemble("system") + b"\x93" + command + b"\x85R",
        "inst": b"(" + command + b"iposix\nsystem\n",
        "obj": b"(cposix\nsystem\n" + command + b"o",
        "newobj": b"ccollections\nOrderedDict\n)\x81",
        "newobj_ex": b"ccollections\nOrderedDict\n)}\x92",
        "ext1": b"\x82\x01",
        "ext2": b"\x83\x01\x00",
        "ext4": b"\x84\x01\x00\x00\x00",
        "persistent text": b"P0\n",
        "build on a function": rebuild + b"}" + text + b"K\x01sb",
        "build slots of a function": rebuild + b"N}" + assemble("__defaults__") + b")s\x86b",
        "build on a class": b"ccollections\nOrderedDict\n}" + assemble("__reduce__") + b"K\x01sb",
        "build on a storage": assemble(storage()) + b"N}" + assemble("count") + b"K\x63s\x86b",
        "build on a dict": b"}}b",
        "build with a call": b"ccollections\nOrderedDict\n)R" + call + b"b",
        "setitems on a name": rebuild + text + text + b"s",
        "append to a dict": b"}" + text + b"a",
        "odd setitems": b"}(" + text + b"u",
        "call of text": text + b")R",
        "call of a result": b"ccollections\nOrderedDict\n)R)R",
        "call with a list": b"ccollections\nOrderedDict\n]R",
        "ordered dict of a number": b"ccollections\nOrderedDict\nK\x05\x85R",
        "memo index": b"}r\xff\xff\xff\x7f",
        "memo unset": b"h\x07",
        "stack underflow": b"R",
        "mark underflow": b"t",
        "below the mark": b"}(\x85",
        "put on nothing": b"q\x00",
        "long4": b"\x8b\xff\xff\xff\x7f" + b"\xff" * 100,
        "long text number": b"L" + b"9" * 10_000 + b"L\n",
        "text length": b"X\xff\xff\xff\xff",
        "text encoding": b"X\x02\x00\x00\x00\xff\xfe",
        "long text": b"\x8d" + b"\xff" * 8,
        "frame": b"\x95" + b"\xff" * 8,
        "protocol 4": b"\x80\x04}",
        "no such operation": b"\xfe",
        "nested lists": b"]" * 100_000 + b"a" * 99_999,
        "nested tuples": b")" + b"\x85" * 100_000,
        "nested tuples as a key": b"})" + b"\x85" * 100_000 + b"K\x01s",
        "marks": b"(" * 100_000,
        "memo bomb": memo_bomb(),
        "memo bomb as a key": b"}" + memo_bomb() + b"K\x01s",
        "memo bomb as a name": b"c" + b"x" * 100_000 + b"\ny\n",
        "memo bomb as a storage": memo_bomb() + b"Q",
        "memo bomb as a shape": assemble(tensor(shape=Raw(memo_bomb()))),
        "memo bomb as a tensor": b"}" + assemble("features.0") + memo_bomb() + b"s",
        "list in itself": b"]q\x00h\x00a",
        "dict in itself": b"}q\x00" + assemble("features.0") + b"h\x00s",
        "nothing": b"",
        "far too long": assemble("x" * 1_100_000),
    }  # fmt: skip


def memo_bomb() -> bytes:
    """Returns a tuple that is 2**200 empty tuples to anyone who visits them all."""
    return b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(200))


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("name", attacks(Path("marker")))
def test_attacks(name: str, make: Callable[..., bytes], tmp_path: Path) -> None:
    """Every hostile pickle is refused, and nothing in it is executed."""
    marker = tmp_path / "marker"
    refusal(tmp_path, make(Raw(attacks(marker)[name]), {}))
    assert not marker.exists()


@pytest.mark.parametrize("part", ["system", "keys"])
def test_attack_in_another_pickle(part: str, tmp_path: Path) -> None:
    """All pickles of a legacy file are read with the same care."""
    marker = tmp_path / "marker"
    hostile: dict[str, Any] = {part: Raw(attacks(marker)["reduce"])}
    assert "posix system" in refusal(tmp_path, legacy_file({"a": tensor()}, SIX, **hostile))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["reduce", "eval", "stack global", "inst", "obj", "build with a call"]
)
def test_the_attacks_are_real(name: str, tmp_path: Path) -> None:
    """Python's own unpickler would have executed them."""
    marker = tmp_path / "marker"
    with contextlib.suppress(Exception):  # it fails, but only once the deed is done
        pickle.loads(dump(Raw(attacks(marker)[name])))
    assert marker.exists()
