"""Winograd's convolution: its matrices by hand, itself against float64 and the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from numpy_network import numpy_convolve

from jaxstyle.network import winograd
from jaxstyle.network.convolution import Direct, Kernel, Winograd, apply_kernel, prepare
from jaxstyle.network.layers import required_conv_names
from jaxstyle.network.vgg import features, params_up_to

TILES = [4, 6]


def example(height: int, width: int, channels: int, outputs: int):
    """Returns an image like a feature map, (H, W, in), at least 0, a kernel and a cotangent."""
    random = np.random.default_rng(height * width + channels)
    image = np.maximum(random.normal(size=(height, width, channels)), 0).astype(np.float32)
    kernel = random.normal(size=(3, 3, channels, outputs)).astype(np.float32)
    return image, kernel, random.normal(size=(height, width, outputs)).astype(np.float32)


@jax.jit
def there_and_back(image, layer: Kernel, cotangent):
    """Returns the convolution of an image (H, W, in), and its gradient's way back."""
    result, pull = jax.vjp(lambda x: apply_kernel(x, layer), image[None])
    return result[0], pull(cotangent[None].astype(result.dtype))[0][0]


def in_numpy(image, kernel, cotangent):
    """Returns the same in float64: the way back is a convolution with the turned kernel."""
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    forward = numpy_convolve(image, kernel, np.zeros(kernel.shape[3]))
    return forward, numpy_convolve(cotangent, turned, np.zeros(kernel.shape[2]))


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
@pytest.mark.parametrize("shape", [(2, 13), (12, 24)])
def test_float64_equals_numpy(m: int, shape, double_precision) -> None:
    """Forward, and backward as the convolution with the turned kernel; with and without margins."""
    image, kernel, cotangent = example(*shape, 3, 5)
    rows = tuple(jnp.asarray(row) for row in winograd.transform(kernel, m))
    for value, expected in zip(
        there_and_back(jnp.asarray(image, float), Winograd(rows, jnp.zeros(5)), cotangent),
        in_numpy(image, kernel, cotangent),
        strict=True,
    ):
        assert relative_rms(value, expected) < 1e-13


@pytest.mark.parametrize(("m", "channels"), [(4, (512, 512)), (6, (128, 256))])
def test_float32_loses_little(m: int, channels) -> None:
    """Of one layer: 5e-6 of the result, 1e-5 of the gradient; no value off by 1e-4 RMS.

    For the most channels in that `convolution` uses these tiles for.
    """
    image, kernel, cotangent = example(23, 18, *channels)
    rows = tuple(jnp.asarray(row, jnp.float32) for row in winograd.transform(kernel, m))
    found = there_and_back(image, Winograd(rows, jnp.zeros(channels[1])), cotangent)
    for value, reference, bound in zip(
        found, in_numpy(image, kernel, cotangent), (5e-6, 1e-5), strict=True
    ):
        assert relative_rms(value, reference) < bound
        errors = np.abs(value - reference) / np.sqrt(np.mean(reference**2))
        assert np.quantile(errors, 0.99) < 4 * bound
        assert errors.max() < 1e-4


def test_several_layers(params) -> None:
    """Features and their gradient, in float32, against the plain convolution.

    All layers of a VGG against PyTorch: test_references.py.
    """
    image = np.random.default_rng(2).normal(size=(37, 50, 3)).astype(np.float32)

    @jax.jit
    def run(image, kernels):
        def total(image):
            maps = features(kernels, image, taps=("relu1_1", "relu2_1"))
            return sum(map(jnp.sum, maps.values())), maps

        gradient, maps = jax.grad(total, has_aux=True)(image)
        return *maps.values(), gradient

    found = []
    for conv, kind in (("direct", Direct), ("winograd", Winograd)):
        kernels = prepare(params_up_to(params, ("relu2_1",)), conv=conv)
        assert {type(each) for each in kernels.values()} == {kind}
        found.append(run(image, kernels))
    for plain, ours, bound in zip(*found, (5e-6, 5e-6, 1e-5), strict=True):
        assert relative_rms(ours, plain) < bound


def test_vmap_is_a_loop(params) -> None:
    layer = prepare(params_up_to(params, ("conv1_2",)), conv="winograd")["conv1_2"]
    images = np.random.default_rng(4).normal(size=(2, 20, 24, 4)).astype(np.float32)
    run = jax.jit(lambda x: apply_kernel(x[None], layer)[0])
    for one, image in zip(jax.vmap(run)(images), images, strict=True):
        assert relative_rms(one, run(image)) < 1e-6


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
    tiles = {n: 0 if isinstance(each, Direct) else len(each[0]) - 2 for n, each in kernels.items()}
    return "".join(str(tiles[name]) for name in sorted(tiles))


def test_the_choice_by_layer_and_size() -> None:
    """Plain for 3 channels; larger tiles for few channels and large maps; all plain if asked."""
    first = {name: layer for name, layer in full_width().items() if name < "conv4"}
    assert tiles_of(prepare(first)) == "06666444"
    assert tiles_of(prepare(first, size=(600, 900))) == "06666444"
    assert tiles_of(prepare(first, size=(128, 128))) == "04444444"
    assert tiles_of(prepare(first, conv="direct")) == "00000000"


def test_sizes_share_the_kernels_that_both_want() -> None:
    first = {name: layer for name, layer in full_width().items() if name < "conv3_2"}
    small = prepare(first, size=(128, 128))
    large = prepare(first, size=(300, 450), like=small)
    assert (tiles_of(small), tiles_of(large)) == ("04444", "06666")
    assert [large[name] is small[name] for name in sorted(first)] == [True] + [False] * 4
    again = prepare(first, size=(600, 900), like=large)
    assert all(again[name] is large[name] for name in first)
    plain = prepare(first, conv="direct", gradients=False)
    assert prepare(first, conv="direct", like=plain)["conv1_1"].backward is not None


def test_the_plain_convolution_off_the_cpu(params, monkeypatch) -> None:
    monkeypatch.setattr("jaxstyle.network.convolution.platform", lambda: "gpu")
    layers = {"conv1_2": full_width()["conv1_2"]}
    assert tiles_of(prepare(layers)) == "0"
    assert tiles_of(prepare(layers, conv="winograd")) == "6"


def test_an_unknown_way_to_convolve_is_refused(params) -> None:
    with pytest.raises(ValueError, match="conv 'wingrad' is none of auto, direct, winograd"):
        prepare(params, conv="wingrad")
