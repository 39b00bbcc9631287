"""The network: against numpy in float64, against the Flax module, and its pools by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms, slim_params
from jax import export
from numpy_network import numpy_features

from jaxstyle.errors import InputError
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import conv_names
from jaxstyle.network.vgg import VGG, avg_pool, features, max_pool, widths_of

TAPS = ("conv1_1", "relu1_2", "relu2_1", "conv3_1", "relu4_last", "conv5_1")


def scaled_mean(windows, axis):
    return 1.56 * windows.mean(axis)


def scaled_root(windows, axis):
    return 0.78 * np.sqrt(np.square(windows).sum(axis))


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
@pytest.mark.parametrize(
    ("pooling", "pool"), [("max", np.max), ("avg", scaled_mean), ("l2", scaled_root)]
)
@pytest.mark.parametrize("shape", [(16, 16), (37, 50)])
def test_features_equal_numpy(architecture, pooling, pool, shape) -> None:
    params = slim_params(architecture)
    image = np.random.default_rng(2).normal(size=(*shape, 3)).astype(np.float32)
    found = features(prepare(params), image, taps=TAPS, pooling=pooling)
    expected = numpy_features(params, image, pool)
    last = "relu4_4" if architecture == "vgg19" else "relu4_3"
    assert list(found) == list(TAPS)
    for tap in TAPS:
        assert relative_rms(found[tap], expected[last if tap == "relu4_last" else tap]) < 1e-6


@pytest.mark.parametrize("pooling", ["max", "avg", "l2"])
def test_flax_module_is_the_same_network(params, pooling) -> None:
    image = np.random.default_rng(3).normal(size=(33, 21, 3)).astype(np.float32)
    module = VGG(widths_of(params), pooling=pooling)
    from_flax = module.apply({"params": params}, image[None], TAPS)
    ours = features(prepare(params), image, taps=TAPS, pooling=pooling)
    for tap in TAPS:
        assert relative_rms(ours[tap], from_flax[tap][0]) < 1e-6


def test_flax_module_of_full_width_has_the_known_number_of_parameters() -> None:
    """VGG-19 has 143,667,240 parameters, of which its three dense layers have 123,642,856."""
    widths = {name: (64, 128, 256, 512, 512)[int(name[4]) - 1] for name in conv_names("vgg19")}
    module = VGG(widths)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, ("relu5_4",)), image)
    assert sum(each.size for each in jax.tree.leaves(shapes)) == 20_024_384


def test_under_jit_grad_and_vmap(params) -> None:
    kernels = prepare(params)
    images = np.random.default_rng(4).normal(size=(2, 20, 24, 3)).astype(np.float32)
    run = jax.jit(lambda x: features(kernels, x, taps=("relu3_1",))["relu3_1"])
    batch = jax.vmap(run)(images)
    for one, expected in zip(batch, images, strict=True):
        assert relative_rms(one, run(expected)) < 1e-6
    gradient = jax.grad(lambda x: run(x).sum())(images[0])
    step = 1e-3 * np.sign(gradient)
    slope = (run(images[0] + step).sum() - run(images[0] - step).sum()) / 2
    assert float(slope) == pytest.approx(float(np.sum(gradient * step)), rel=2e-2)


def test_network_stops_at_the_deepest_tap(params) -> None:
    shallow = {name: layer for name, layer in prepare(params).items() if name < "conv2"}
    image = np.zeros((4, 4, 3), np.float32)
    assert features(shallow, image, taps=("relu1_2",))["relu1_2"].shape == (4, 4, 4)
    with pytest.raises(InputError, match="have no layer conv2_1"):
        features(shallow, image, taps=("conv2_1",))


def test_max_pool_by_hand() -> None:
    """An odd last row and column are lost; of equal maxima the first gets the gradient."""
    image = np.array([[1, 5, 2, 2, 9], [5, 5, 2, 2, 9], [9, 9, 9, 9, 9]], np.float32)
    x = jnp.asarray(image[None, :, :, None])
    y, pull = jax.vjp(max_pool, x)
    assert y.ravel().tolist() == [5, 2]
    gradient = pull(jnp.array([10.0, 20.0]).reshape(1, 1, 2, 1))[0]
    assert gradient[0, :, :, 0].tolist() == [[0, 10, 20, 0, 0], [0] * 5, [0] * 5]


def test_max_pool_gradient_equals_a_loop_over_windows() -> None:
    random = np.random.default_rng(5)
    image = random.integers(0, 3, size=(2, 7, 10, 3)).astype(np.float32)  # many ties
    weights = random.normal(size=(2, 3, 5, 3)).astype(np.float32)
    expected = np.zeros_like(image)
    for n, i, j, c in np.ndindex(weights.shape):
        window = image[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        row, column = divmod(int(np.argmax(window)), 2)  # numpy's argmax takes the first
        expected[n, 2 * i + row, 2 * j + column, c] += weights[n, i, j, c]
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x) * weights))(image)
    np.testing.assert_array_equal(gradient, expected)


def test_avg_pool_by_hand() -> None:
    """1.56 times the mean of 1, 2, 3 and 6; the odd column is lost."""
    x = jnp.array([[1.0, 2, 7], [3, 6, 7]])[None, :, :, None]
    assert avg_pool(x).ravel().tolist() == pytest.approx([1.56 * 3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "maxx"}, "pooling 'maxx' is none of max, avg, l2"),
        ({"taps": []}, "taps must be a sequence of layer names"),
        ({"taps": "relu1_1"}, "taps must be a sequence of layer names"),
        ({"image": np.zeros((1, 20, 20, 3), np.float32)}, "for a batch use jax.vmap"),
        ({"image": np.zeros((20, 20), np.float32)}, "an image is"),
        ({"image": np.zeros((20, 15, 3), np.float32)}, "20x15 is too small: 16 pixels"),
    ],
)
def test_what_features_refuses(params, changes, message) -> None:
    given = {"image": np.zeros((20, 20, 3), np.float32), "taps": ["conv5_1"]} | changes
    with pytest.raises(InputError, match=message):
        features(prepare(params), given.pop("image"), **given)
    if "pooling" in changes:
        with pytest.raises(InputError, match=message):
            VGG(widths_of(params), pooling="maxx").init(jax.random.key(0), given, ["conv1_1"])


def test_half_precision_parameters_are_raised(params) -> None:
    half = {
        name: {key: value.astype(np.float16) for key, value in layer.items()}
        for name, layer in params.items()
    }
    image = np.ones((16, 16, 3))
    found = features(prepare(half), image, taps=["conv5_1"])["conv5_1"]
    assert found.dtype == jnp.float32
    assert relative_rms(found, features(prepare(params), image, taps=["conv5_1"])["conv5_1"]) < 1e-2


def test_a_gpus_program_asks_whether_results_are_0_and_has_no_convolution_of_3_channels() -> None:
    """As it is lowered for CUDA, which needs no GPU."""
    params = slim_params("vgg19", widths=(16, 16, 16, 16, 16))
    kernels = prepare(params, conv="direct")

    def loss(image: jax.Array) -> jax.Array:
        return features(kernels, image, taps=("relu1_2",), precision="tf32")["relu1_2"].sum()

    text = {
        platform: export.export(jax.jit(jax.grad(loss)), platforms=[platform])(
            jax.ShapeDtypeStruct((16, 24, 3), jnp.float32)
        ).mlir_module()
        for platform in ("cpu", "cuda")
    }
    asked = {name: re.findall(r"stablehlo\.compare +(\w+)", each) for name, each in text.items()}
    assert asked == {"cpu": ["GT"] * 2, "cuda": ["EQ"] * 2}
    assert [each.count("stablehlo.convolution") for each in text.values()] == [4, 3]
