"""Winograd's convolution: its matrices by hand, itself against float64 and the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from test_conv import numpy_convolve

from jaxstyle import winograd
from jaxstyle.conv import Direct, Winograd, convolve, prepare
from jaxstyle.layers import required_conv_names
from jaxstyle.vgg import features

TILES = [4, 6]
CHANNELS = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)]
"""Every count that a VGG has."""


def example(height: int, width: int, channels: int, outputs: int):
    """Returns an image like a feature map, (H, W, in), at least 0, a kernel and a cotangent."""
    random = np.random.default_rng(height * width + channels)
    image = np.maximum(random.normal(size=(height, width, channels)), 0).astype(np.float32)
    kernel = random.normal(size=(3, 3, channels, outputs)).astype(np.float32)
    return image, kernel, random.normal(size=(height, width, outputs)).astype(np.float32)


@pytest.fixture
def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("m", TILES)
@pytest.mark.parametrize("turned", [False, True])
def test_one_dimension_is_exact(m: int, turned: bool) -> None:
    """A^T [(G g) * (B^T d)] is the sum over k of g_k d_(i+k), with whole numbers for d and A."""
    random = np.random.default_rng(m)
    kernel, values = random.normal(size=3), random.normal(size=m + 2)
    matrix = winograd.matrices(m, turned=turned)
    for each in matrix:
        np.testing.assert_array_equal(each, np.rint(each))
    found = matrix.results @ ((winograd.kernel_matrix(m) @ kernel) * (matrix.values @ values))
    taps = kernel[::-1] if turned else kernel
    expected = [taps @ values[i : i + 3] for i in range(m)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_products_by_hand() -> None:
    """9x13 needs 3x4 tiles of 4x4 or 2x3 tiles of 6x6."""
    assert winograd.products_per_channel(4, 9, 13) == 36 * 12
    assert winograd.products_per_channel(6, 9, 13) == 64 * 6


@pytest.mark.parametrize("m", TILES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 4), (7, 5), (13, 12), (37, 50)])
def test_float64_equals_numpy(m: int, shape, double_precision) -> None:
    """Forward, and backward as the convolution with the turned kernel, on odd and small sizes."""
    image, kernel, cotangent = example(*shape, 3, 5)
    rows = tuple(jnp.asarray(row) for row in winograd.transform(kernel, m))
    run = jax.jit(winograd.convolve, static_argnames="turned")
    found = run(jnp.asarray(image[None], float), rows)[0]
    assert relative_rms(found, numpy_convolve(image, kernel, np.zeros(5))) < 1e-13
    back = run(jnp.asarray(cotangent[None], float), rows, turned=True)[0]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    assert relative_rms(back, numpy_convolve(cotangent, turned, np.zeros(3))) < 1e-13


@pytest.mark.parametrize(
    ("m", "channels"), [(4, c) for c in CHANNELS] + [(6, c) for c in CHANNELS[:3]]
)
def test_float32_loses_little(m: int, channels) -> None:
    """Of one layer: 5e-6 of the result, 1e-5 of the gradient; no value off by 1e-4 RMS.

    Tiles of 6x6 for up to as many channels in as `conv` uses them for.
    """
    image, kernel, cotangent = example(23, 18, *channels)
    rows = tuple(jnp.asarray(row, jnp.float32) for row in winograd.transform(kernel, m))
    layer = Winograd(rows, jnp.zeros(channels[1]))
    run = jax.jit(lambda x, g: (convolve(x, layer), jax.vjp(lambda y: convolve(y, layer), x)[1](g)))
    found, (back,) = run(image[None], cotangent[None])
    expected = numpy_convolve(image, kernel, np.zeros(channels[1]))
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    gradient = numpy_convolve(cotangent, turned, np.zeros(channels[0]))
    for value, reference, bound in (
        (found[0], expected, 5e-6),
        (back[0], gradient, 1e-5),
    ):
        assert relative_rms(value, reference) < bound
        errors = np.abs(value - reference) / np.sqrt(np.mean(reference**2))
        assert np.quantile(errors, 0.99) < 4 * bound
        assert errors.max() < 1e-4


@pytest.mark.parametrize("shape", [(16, 16), (37, 50), (75, 50)])
def test_a_whole_network(params, shape) -> None:
    """Features and their gradient, in float32, against the plain convolution."""
    image = np.random.default_rng(2).normal(size=(*shape, 3)).astype(np.float32)
    taps = ("relu1_1", "relu3_1", "conv5_1")
    found, pull = {}, {}
    for conv in ("direct", "winograd"):
        kernels = prepare(params, conv=conv)
        kind = {"direct": Direct, "winograd": Winograd}[conv]
        assert {type(each) for each in kernels.values()} == {kind}
        run = jax.jit(lambda x, kernels=kernels: features(kernels, x, taps=taps))
        found[conv] = run(image)
        pull[conv] = jax.jit(jax.grad(lambda x, run=run: sum(map(jnp.sum, run(x).values()))))(image)
    for tap in taps:
        assert relative_rms(found["winograd"][tap], found["direct"][tap]) < 5e-6
    assert relative_rms(pull["winograd"], pull["direct"]) < 1e-5


def test_vmap_is_a_loop(params) -> None:
    kernels = prepare(params, conv="winograd")
    images = np.random.default_rng(4).normal(size=(2, 20, 24, 3)).astype(np.float32)
    run = jax.jit(lambda x: features(kernels, x, taps=("relu3_1",))["relu3_1"])
    for one, image in zip(jax.vmap(run)(images), images, strict=True):
        assert relative_rms(one, run(image)) < 1e-5


def full_width() -> dict:
    """Returns parameters of VGG-19's widths, all zero: what is chosen depends on shapes alone."""
    channels, params = 3, {}
    for name in required_conv_names("vgg19"):
        width = (64, 128, 256, 512, 512)[int(name[4]) - 1]
        kernel = np.broadcast_to(np.float32(0), (3, 3, channels, width))
        params[name] = {"kernel": kernel, "bias": np.zeros(width, np.float32)}
        channels = width
    return params


def tiles_of(kernels) -> str:
    """Returns a digit per layer: 0 for the plain convolution, else m."""
    tiles = {name: getattr(each, "transformed", (0, 0)) for name, each in kernels.items()}
    return "".join(str(len(tiles[name]) - 2) for name in sorted(tiles))


def test_the_choice_by_layer_and_size() -> None:
    """Plain for 3 channels; larger tiles for few channels and large maps; all plain if asked."""
    first = {name: layer for name, layer in full_width().items() if name < "conv4"}
    assert tiles_of(prepare(first)) == "06666444"
    assert tiles_of(prepare(first, size=(600, 900))) == "06666444"
    assert tiles_of(prepare(first, size=(128, 128))) == "04444444"
    assert tiles_of(prepare(first, conv="direct")) == "00000000"


def test_the_plain_convolution_off_the_cpu(params, monkeypatch) -> None:
    monkeypatch.setattr("jaxstyle.conv._on_cpu", lambda: False)
    layers = {"conv1_2": full_width()["conv1_2"]}
    assert tiles_of(prepare(layers)) == "0"
    assert tiles_of(prepare(layers, conv="winograd")) == "6"


def test_an_unknown_way_to_convolve_is_refused(params) -> None:
    with pytest.raises(ValueError, match="conv 'wingrad' is none of auto, direct, winograd"):
        prepare(params, conv="wingrad")
