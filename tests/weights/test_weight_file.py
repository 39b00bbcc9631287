"""Tests of jaxstyle.weights.weight_file."""

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import attributes, slim_params

from jaxstyle.errors import InputError
from jaxstyle.weights import weight_file
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.weight_file import read_weights, weight_bytes

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "weights" / "vgg19-oxford.h5"
REFERENCES = Path(__file__).parents[1] / "references"
ORIGIN = {"source": "here", "source_sha256": "0" * 64, "licence": "none"}
VGG16_PLACES = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12,
    "conv3_3": 14, "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26,
    "conv5_3": 28,
}  # fmt: skip
VGG19_PLACES = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12,
    "conv3_3": 14, "conv3_4": 16, "conv4_1": 19, "conv4_2": 21, "conv4_3": 23, "conv4_4": 25,
    "conv5_1": 28, "conv5_2": 30, "conv5_3": 32, "conv5_4": 34,
}  # fmt: skip
TORCH_FILES = [
    ("slim_vgg16_zip.pth", VGG16_PLACES),
    ("slim_vgg19_zip.pth", VGG19_PLACES),
    ("slim_vgg19_legacy.pth", VGG19_PLACES),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good weight file of a slim VGG-16, to be spoilt."""
    path = tmp_path / "slim.h5"
    path.write_bytes(weight_bytes(slim_params("vgg16"), **ORIGIN))
    return path


def replace(path: Path, **datasets: Any) -> None:
    """Puts other datasets in a file's place, named as in conv1_1__bias; None takes one away."""
    with h5py.File(path, "r+") as file:
        for name, value in datasets.items():
            name = name.replace("__", "/")
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value


def refusal(path: Path) -> str:
    """Returns why a file is refused: one line that names it."""
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def same(one: LayerArrays, other: LayerArrays) -> bool:
    return one.keys() == other.keys() and all(
        one[name][key].dtype == np.float32 and np.array_equal(one[name][key], other[name][key])
        for name in one
        for key in ("kernel", "bias")
    )


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_what_is_written_is_read(tmp_path: Path, architecture: str) -> None:
    params = slim_params(architecture)
    (tmp_path / "a.h5").write_bytes(weight_bytes(params, **ORIGIN))
    assert same(read_weights(tmp_path / "a.h5"), params)
    with h5py.File(tmp_path / "a.h5") as file:
        assert attributes(file) == {"format_version": 1, "architecture": architecture, **ORIGIN}
        assert set(file) == set(params)
        assert file["conv2_1/kernel"].shape == (3, 3, 4, 6)


def test_half_precision_comes_back_as_single(tmp_path: Path) -> None:
    params = slim_params("vgg16")
    (tmp_path / "a.h5").write_bytes(weight_bytes(params, dtype="float16", **ORIGIN))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["conv1_1/kernel"].dtype == np.float16
        assert file["conv1_1/bias"].dtype == np.float32
    rounded = {
        name: {"kernel": layer["kernel"].astype(np.float16), "bias": layer["bias"]}
        for name, layer in params.items()
    }
    assert same(read_weights(tmp_path / "a.h5"), rounded)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", ">f2"])
def test_other_floating_point_is_read(path: Path, dtype: str) -> None:
    replace(path, conv1_1__bias=np.array([1.5, -2, 0.25, 3], dtype))
    bias = read_weights(path)["conv1_1"]["bias"]
    assert bias.dtype == np.float32
    assert bias.tolist() == [1.5, -2, 0.25, 3]


def test_the_same_arguments_give_the_same_bytes() -> None:
    params = slim_params("vgg16")
    data = weight_bytes(params, **ORIGIN)
    time.sleep(1.1)  # HDF5 can note times, in seconds
    backwards = {name: dict(reversed(layer.items())) for name, layer in reversed(params.items())}
    assert weight_bytes(backwards, **ORIGIN) == data


def test_the_embedded_file_is_all_of_vgg19() -> None:
    # Per layer 9 * in * out + out: 1,792 + 36,928 + 73,856 + 147,584 + 295,168 + 3 * 590,080
    # + 1,180,160 + 7 * 2,359,808.
    params = read_weights(EMBEDDED)
    assert sum(array.size for layer in params.values() for array in layer.values()) == 20_024_384
    widths = (64, 128, 256, 512, 512)
    assert {name: layer["bias"].size for name, layer in params.items()} == {
        name: widths[int(name[4]) - 1] for name in VGG19_PLACES
    }


def test_the_embedded_file_is_rewritten_without_loss(tmp_path: Path) -> None:
    stored: dict[str, dict[str, Any]] = {}
    with h5py.File(EMBEDDED) as file:
        assert attributes(file)["format_version"] == 2
        origin = {key: attributes(file)[key] for key in ORIGIN}
        assert "MIT" in origin["licence"]
        assert "CC BY 4.0" in origin["licence"]
        assert file["conv1_1/kernel"].dtype == np.float32
        assert file["conv5_4/kernel"].dtype == np.uint8
        stored = {name: {key: np.asarray(file[name][key]) for key in file[name]} for name in file}
    assert weight_bytes(stored, **origin) == EMBEDDED.read_bytes()
    params = read_weights(EMBEDDED)
    (tmp_path / "again.h5").write_bytes(weight_bytes(params, **origin))
    assert same(read_weights(tmp_path / "again.h5"), params)


def in_bytes(params: LayerArrays, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Returns parameters whose kernels but the first are bytes into tables of 256 values."""
    random = np.random.default_rng(seed)
    stored: dict[str, dict[str, Any]] = {"conv1_1": dict(params["conv1_1"])}
    for name, layer in params.items():
        if name != "conv1_1":
            shape = layer["kernel"].shape
            stored[name] = {
                "kernel": random.integers(0, 256, shape, np.uint8),
                "table": random.normal(0, np.sqrt(2 / (9 * shape[2])), 256).astype(np.float32),
                "bias": layer["bias"],
            }
    return stored


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A good weight file with kernels of bytes, to be spoilt."""
    path = tmp_path / "tables.h5"
    path.write_bytes(weight_bytes(in_bytes(slim_params("vgg16")), **ORIGIN))
    return path


def test_kernels_of_bytes_are_read_as_the_values_in_their_table(tables: Path) -> None:
    stored = in_bytes(slim_params("vgg16"))
    params = read_weights(tables)
    with h5py.File(tables) as file:
        assert file.attrs["format_version"] == 2
        assert file["conv1_2/kernel"].dtype == np.uint8
        assert file["conv1_2/table"].dtype == np.float32
    assert np.array_equal(params["conv1_1"]["kernel"], stored["conv1_1"]["kernel"])
    for (y, x, i, o), byte in np.ndenumerate(stored["conv3_2"]["kernel"]):
        assert params["conv3_2"]["kernel"][y, x, i, o] == stored["conv3_2"]["table"][byte]
    assert params["conv3_2"].keys() == {"kernel", "bias"}
    assert params["conv3_2"]["kernel"].dtype == np.float32


def test_the_second_format_needs_no_bytes(path: Path) -> None:
    before = read_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    assert same(read_weights(path), before)


@pytest.mark.parametrize(
    ("datasets", "fault"),
    [
        ({"table": None}, "conv2_1/table is missing, and the kernel is uint8"),
        ({"table": np.zeros(255)}, "conv2_1/table has shape (255,), not (256,)"),
        ({"table": np.zeros((1, 256))}, "conv2_1/table has shape (1, 256), not (256,)"),
        ({"table": np.full(256, np.nan)}, "conv2_1/table has NaN or infinite values"),
        ({"table": np.full(256, 1e300)}, "conv2_1/table has NaN or infinite values"),
        ({"table": np.zeros(256, int)}, "conv2_1/table is int64, not floating point"),
        ({"table": h5py.Empty("f4")}, "conv2_1/table is not an array of at most 9437184 numbers"),
        ({"kernel": np.zeros((3, 3, 4, 6))}, "conv2_1/table is of no use: the kernel is not uint8"),
        ({"kernel": None}, "conv2_1/kernel is missing; conv2_1/table is of no use: the kernel is"),
        ({"kernel": np.zeros((3, 3, 4, 6), np.int8)}, "conv2_1/kernel is int8, not floating point"),
        ({"kernel": np.zeros((3, 3, 4, 6), "u2")}, "conv2_1/kernel is uint16, not floating point"),
        ({"kernel": np.zeros((3, 3, 5, 6), "u1")}, "(3, 3, 5, 6), not (3, 3, 4, out)"),
        ({"kernel": np.zeros((3, 3, 4, 0), "u1")}, "conv2_1/kernel is uint8, not floating point"),
        ({"bias": np.zeros(6, np.uint8)}, "conv2_1/bias is uint8, not floating point"),
        ({"scale": np.zeros(6)}, "'conv2_1/scale' is unknown"),
    ],
)
def test_a_fault_in_the_second_format_is_named(
    tables: Path, datasets: dict[str, Any], fault: str
) -> None:
    replace(tables, **{f"conv2_1__{key}": value for key, value in datasets.items()})
    assert fault in refusal(tables)


def test_faults_in_the_second_format_are_named_at_once(tables: Path) -> None:
    replace(
        tables,
        conv1_2__table=None,
        conv2_1__table=np.zeros(3),
        conv3_1__kernel=np.zeros((3, 3, 6, 8), np.int32),
        conv4_1__zero=np.zeros(1),
        conv5_1=None,
    )
    assert refusal(tables).split(": ", 1)[1].split("; ") == [
        "conv5_1 is missing",
        "conv1_2/table is missing, and the kernel is uint8",
        "conv2_1/table has shape (3,), not (256,)",
        "conv3_1/kernel is int32, not floating point",
        "conv3_1/table is of no use: the kernel is not uint8",
        "'conv4_1/zero' is unknown",
    ]


def test_the_first_format_has_no_tables(tables: Path) -> None:
    with h5py.File(tables, "r+") as file:
        file.attrs["format_version"] = 1
        for name in set(file) - {"conv1_1", "conv1_2"}:
            del file[name]
    assert "'conv1_2/table' is unknown; conv1_2/kernel is uint8, not floating" in refusal(tables)


def test_what_is_no_table_is_not_written() -> None:
    stored = in_bytes(slim_params("vgg16"))
    stored["conv1_2"]["table"] = np.zeros(3)
    with pytest.raises(InputError, match=r"conv1_2/table has shape \(3,\), not \(256,\)$"):
        weight_bytes(stored, **ORIGIN)


def test_all_faults_are_named_at_once(path: Path) -> None:
    params = slim_params("vgg16")
    spoilt = params["conv4_2"]["kernel"].copy()
    spoilt[1, 2, 3, 4] = np.nan
    replace(
        path,
        conv2_1=None,
        conv3_2__bias=None,
        conv9_1__kernel=np.zeros(3),
        conv1_1__gamma=np.zeros(4),
        conv3_1__kernel=np.zeros((8, 6, 3, 3), np.float32),
        conv4_1__bias=np.zeros(9, np.float32),
        conv4_2__kernel=spoilt,
        conv4_3__bias=np.array([0.0] * 9 + [np.inf]),
        conv5_1__kernel=np.zeros((3, 3, 10, 10), np.int16),
    )
    assert refusal(path).split(": ", 1)[1].split("; ") == [
        "conv2_1 is missing",
        "'conv9_1' is unknown",
        "'conv1_1/gamma' is unknown",
        "conv3_1/kernel has shape (8, 6, 3, 3), not (3, 3, 6, out)",
        "conv3_2/bias is missing",
        "conv4_1/bias has shape (9,), not (10,)",
        "conv4_2/kernel has NaN or infinite values",
        "conv4_3/bias has NaN or infinite values",
        "conv5_1/kernel is int16, not floating point",
    ]


def test_a_layer_that_takes_other_channels_than_it_is_given_is_named(path: Path) -> None:
    replace(path, conv2_1__kernel=np.zeros((3, 3, 5, 6), np.float32))
    message = refusal(path)
    assert message.endswith(": conv2_1/kernel has shape (3, 3, 5, 6), not (3, 3, 4, out)")


@pytest.mark.parametrize(
    ("datasets", "fault"),
    [
        ({"conv1_1": np.zeros(3)}, "conv1_1 is no group of arrays"),
        ({"conv1_1": h5py.SoftLink("/nowhere")}, "conv1_1 is no group of arrays"),
        ({"conv1_1__bias__deeper": np.zeros(4)}, "conv1_1/bias is not an array of at most"),
        ({"conv1_1__bias": h5py.Empty("f4")}, "conv1_1/bias is not an array of at most"),
        ({"conv1_1__bias": h5py.SoftLink("/nowhere")}, "conv1_1/bias is not an array of at most"),
        ({"conv1_1__bias": np.float32(1)}, "conv1_1/bias has shape (), not (4,)"),
        ({"conv1_1__bias": np.zeros(4, bool)}, "conv1_1/bias is bool, not floating point"),
        ({"conv1_1__bias": ["a", "b", "c", "d"]}, "conv1_1/bias is object, not floating point"),
        ({"conv1_1__bias": np.full(4, 1e300)}, "conv1_1/bias has NaN or infinite values"),
        ({"conv1_1__kernel": np.zeros((3, 3, 3, 0), "f4")}, "conv1_1/kernel is empty"),
        ({"conv1_1__kernel": np.zeros((5, 5, 3, 4), "f4")}, "(5, 5, 3, 4), not (3, 3, 3, out)"),
        ({"conv1_1__kernel": np.zeros((3, 3, 1, 4), "f4")}, "(3, 3, 1, 4), not (3, 3, 3, out)"),
        ({"conv4_3": None, "conv4_2": None}, "conv4_2 is missing; conv4_3 is missing"),
        ({"conv5_1": None}, "conv5_1 is missing"),
        ({"conv3_4__bias": np.zeros(4)}, "'conv3_4' is unknown"),
        ({"two\nlines": np.zeros(4)}, r"'two\nlines' is unknown"),
        ({f"dense_{n:02}": np.zeros(1) for n in range(23)}, "'dense_19' is unknown; 3 more are"),
    ],
)  # fmt: skip
def test_a_fault_is_named(path: Path, datasets: dict[str, Any], fault: str) -> None:
    if "conv1_1__bias__deeper" in datasets:
        replace(path, conv1_1__bias=None)
    replace(path, **datasets)
    assert fault in refusal(path)


def test_layers_after_conv5_1_are_optional_but_without_gaps(path: Path) -> None:
    kernel, bias = np.ones((3, 3, 10, 10), np.float32), np.ones(10, np.float32)
    replace(path, conv5_2__kernel=kernel, conv5_2__bias=bias)
    assert list(read_weights(path))[-1] == "conv5_2"
    replace(path, conv5_2=None, conv5_3__kernel=kernel, conv5_3__bias=bias)
    assert refusal(path).endswith(": conv5_2 is missing")


@pytest.mark.parametrize("size", [10**6, 10**12])
def test_a_huge_array_is_refused_unread(path: Path, size: int) -> None:
    with h5py.File(path, "r+") as file:
        del file["conv1_1/kernel"], file["conv1_1/bias"]
        file.create_dataset("conv1_1/bias", (size,), "f4", chunks=(1024,))
        file.create_dataset("conv1_1/kernel", (3, 3, 3, size), "f4", chunks=(3, 3, 3, 1024))
    assert "conv1_1/kernel is not an array of at most 9437184 numbers" in refusal(path)


def test_numbers_kept_in_another_file_are_refused(path: Path, tmp_path: Path) -> None:
    np.ones(4, np.float32).tofile(tmp_path / "bias.raw")
    with h5py.File(path, "r+") as file:
        del file["conv1_1/bias"]
        file.create_dataset("conv1_1/bias", (4,), "f4", external=[(tmp_path / "bias.raw", 0, 16)])
    assert "conv1_1/bias is not an array" in refusal(path)


@pytest.mark.parametrize(
    ("version", "shown"),
    [(3, "'3'"), (0, "'0'"), ("1.0", "'1.0'"), ([1, 1], "'[1 1]'"), (None, "'none'")],
)
def test_another_format_is_refused(path: Path, version: Any, shown: str) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"], file["conv1_1"]
        if version is not None:
            file.attrs["format_version"] = version
    message = refusal(path)
    assert f"has weight format {shown}, not 1 or 2:" in message
    assert "conv1_1" not in message  # another format may well do without


@pytest.mark.parametrize("architecture", ["resnet50", "two\nlines", 3])
def test_an_unknown_architecture_is_refused(path: Path, architecture: Any) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["architecture"] = architecture
    assert f"its architecture is {str(architecture)!r}, not vgg16 or vgg19" in refusal(path)


def test_layers_of_another_architecture_than_named_are_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["architecture"] = "vgg19"
    assert refusal(path).endswith(": conv3_4 is missing; conv4_4 is missing")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 1000, 20_000, -1])
def test_a_file_that_is_cut_off_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert "is damaged or no HDF5 file" in refusal(path)


@pytest.mark.parametrize(
    "data", [b"<html>no</html>", bytes(5000), b"\x89HDF\r\n\x1a\n" + b"x" * 5000]
)
def test_garbage_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "is damaged or no HDF5 file" in refusal(path)


def test_paths_that_cannot_be_weights_are_refused(path: Path, tmp_path: Path) -> None:
    assert "does not exist; --weights takes auto" in refusal(tmp_path / "none.h5")
    assert "does not exist" in refusal(tmp_path / ("n" * 300 + ".h5"))
    assert "is a folder" in refusal(tmp_path)
    assert "must end in .h5 or .hdf5 or .pth or .pt" in refusal(
        shutil.copy(path, tmp_path / "a.npz")
    )
    assert same(read_weights(shutil.copy(path, tmp_path / "A.H5")), read_weights(path))


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    assert "does not exist" in refusal(tmp_path / "pipe.h5")


def test_parameters_that_half_precision_cannot_hold_are_not_written() -> None:
    params = slim_params("vgg16")
    params["conv1_2"]["kernel"][0, 0, 0, 0] = 1e5
    with pytest.raises(InputError, match=r"as float16: conv1_2/kernel has NaN or infinite values$"):
        weight_bytes(params, dtype="float16", **ORIGIN)
    del params["conv1_1"]["bias"]
    with pytest.raises(InputError, match=r"as float32: conv1_1/bias is missing$"):
        weight_bytes(params, **ORIGIN)


@pytest.mark.parametrize(("name", "places"), TORCH_FILES)
def test_torch_files_are_renamed_and_transposed(name: str, places: dict[str, int]) -> None:
    params = read_weights(REFERENCES / name)
    assert list(params) == list(places)  # and no classifier
    channels = 3
    for conv, width in zip(places, widths(places), strict=True):
        kernel, bias = params[conv]["kernel"], params[conv]["bias"]
        assert kernel.shape == (3, 3, channels, width)
        assert kernel.dtype == bias.dtype == np.float32
        # What torch's weight[o, i, y, x] was made to be, in scripts/make_torch_fixtures.py.
        for (y, x, i, o), value in np.ndenumerate(kernel):
            assert value * 2**21 == 10000 * places[conv] + 1000 * o + 100 * i + 10 * y + x
        assert (bias * 2**21).tolist() == [-(10 * places[conv] + o) for o in range(width)]
        channels = width


def widths(places: dict[str, int]) -> list[int]:
    return [(2, 3, 4, 5, 3)[int(conv[4]) - 1] for conv in places]


def test_faults_in_torch_files_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = weight_file.read_torch_file(REFERENCES / "slim_vgg19_zip.pth")
    del tensors["features.5.weight"], tensors["features.10.weight"], tensors["features.10.bias"]
    tensors["features.0.weight"] = tensors["features.0.weight"].astype(np.float64) * 1e300
    tensors["features.16.bias"] = tensors["features.16.bias"].astype(np.int64)
    tensors["features.1.running_mean"] = np.zeros(2)
    tensors["features.1x.weight"] = np.zeros(2)
    monkeypatch.setattr(weight_file, "read_torch_file", lambda path: tensors)
    (tmp_path / "bad.pth").touch()
    assert refusal(tmp_path / "bad.pth").split(": ", 1)[1].split("; ") == [
        "conv3_1 is missing",
        "'features.1.running_mean' is unknown",
        "'features.1x.weight' is unknown",
        "conv1_1/kernel has NaN or infinite values",
        "conv2_1/kernel is missing",
        "conv3_4/bias is int64, not floating point",
    ]


def test_other_torch_files_are_refused(tmp_path: Path) -> None:
    assert "features.transposed' is unknown" in refusal(REFERENCES / "tiny_zip.pth")
    (tmp_path / "page.pth").write_bytes(b"<html>")
    assert "it looks like a web page" in refusal(tmp_path / "page.pth")


def test_a_hash_in_the_name_is_checked(tmp_path: Path) -> None:
    source = REFERENCES / "slim_vgg19_zip.pth"
    start = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    assert "conv5_4" in read_weights(shutil.copy(source, tmp_path / f"vgg19-{start}.pth"))
    damaged = refusal(shutil.copy(source, tmp_path / "vgg19-dcbb9e9d.pth"))
    assert "its sha256 does not begin with dcbb9e9d; delete it" in damaged
    assert "conv5_4" in read_weights(shutil.copy(source, tmp_path / "my-vgg19.pth"))
