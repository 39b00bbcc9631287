"""Compiled convolutions: against numpy in float64, where they are installed; when they are used."""

import os
import subprocess
import sys
import types
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from numpy_network import numpy_convolve

from jaxstyle.errors import InputError
from jaxstyle.network import native
from jaxstyle.network.convolution import Direct, Winograd, apply_kernel, prepare, prepared_shapes
from jaxstyle.network.vgg import features

SIZES = [(1, 23, 18), (2, 4, 7), (1, 1, 1), (3, 13, 6)]
"""(N, H, W): whole and cut tiles, several pictures, one tile that is mostly padding."""


@pytest.fixture
def package() -> None:
    """Skips where there is none."""
    if not native.is_available():
        pytest.skip("pip install ./packaging/cpu")


def layer_of(channels: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel and a bias."""
    random = np.random.default_rng(channels)
    kernel = random.normal(size=(3, 3, channels, outputs)) / np.sqrt(9 * channels)
    return kernel.astype(np.float32), random.normal(size=outputs).astype(np.float32)


@jax.jit
def there_and_back(image, layer, cotangent):
    """Returns the convolution of images, and the way back of a gradient, without and with ReLU."""
    found = []
    for relu in (False, True):
        result, pull = jax.vjp(lambda x, relu=relu: native.apply_native(x, layer, relu), image)
        found += [result, *pull(cotangent)]
    return found


def in_numpy(image, kernel, bias, cotangent, active):
    """Returns the same in float64: the way back is a convolution with the turned kernel.

    `active` says what ReLU let through, of which rounding may turn over a value near 0.
    """
    turned, none = kernel[::-1, ::-1].swapaxes(2, 3), np.zeros(kernel.shape[2])
    found = [[], [], [], []]
    for picture, gradient, on in zip(image, cotangent, active, strict=True):
        result = numpy_convolve(picture, kernel, bias)
        found[0].append(result)
        found[1].append(numpy_convolve(gradient, turned, none))
        found[2].append(np.maximum(result, 0))
        found[3].append(numpy_convolve(np.where(on, gradient, 0), turned, none))
    return [np.stack(each) for each in found]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("m", "channels"), [(4, (32, 96)), (4, (512, 512)), (6, (64, 64)), (6, (128, 256))]
)
def test_it_equals_numpy(m: int, channels, size, together: bool, monkeypatch) -> None:
    """Bounds as in test_winograd.py; together, workers need several rounds for some sizes."""
    if together:
        monkeypatch.setattr(native, "LARGEST_APART", 0)
        monkeypatch.setattr(native, "SCRATCH_TOGETHER", 0)
        monkeypatch.setattr(native, "FEWEST_TOGETHER", 5)
    random = np.random.default_rng(m)
    kernel, bias = layer_of(*channels)
    image = np.maximum(random.normal(size=(*size, channels[0])), 0).astype(np.float32)
    cotangent = random.normal(size=(*size, channels[1])).astype(np.float32)
    there_and_back.clear_cache()
    layer = native.prepared(kernel, jnp.asarray(bias), m)
    found = there_and_back(image, layer, cotangent)
    expected = in_numpy(image, kernel, bias, cotangent, np.asarray(found[2]) > 0)
    for value, reference, bound in zip(found, expected, (5e-6, 1e-5, 5e-6, 1e-5), strict=True):
        assert relative_rms(value, reference) < bound


@pytest.mark.usefixtures("package")
def test_it_equals_numpy_on_an_older_processor() -> None:
    """What is compiled for those without AVX-512, in a process that takes this."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", f"{__file__}::test_it_equals_numpy"]
    environment = {**os.environ, "JAXSTYLE_CPU_NARROW": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("package")
def test_equal_calls_have_equal_bits() -> None:
    """Whichever threads do what."""
    kernel, bias = layer_of(64, 64)
    layer = native.prepared(kernel, jnp.asarray(bias), 6)
    image = np.random.default_rng(1).normal(size=(1, 61, 83, 64)).astype(np.float32)
    first = there_and_back(image, layer, image)
    for _ in range(5):
        for one, other in zip(first, there_and_back(image, layer, image), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("m", [4, 6])
def test_what_is_no_number_is_seen(m: int) -> None:
    """A run that diverges is found by it: ReLU keeps it, as jax's does, and so does its gradient.

    The bias is above 0, so that ReLU lets all through but what is no number itself.
    """
    kernel, bias = layer_of(32, 32)
    layer = native.prepared(kernel, jnp.asarray(np.abs(bias)), m)
    image = np.zeros((1, 9, 9, 32), np.float32)
    for relu in (False, True):
        result, pull = jax.vjp(lambda x, relu=relu: native.apply_native(x, layer, relu), image)
        (gradient,) = pull(jnp.ones_like(result).at[0, 4, 4, 3].set(jnp.nan))
        assert np.isnan(gradient[0, 4, 4]).all()
        broken = jnp.asarray(image).at[0, 4, 4, 3].set(jnp.nan)
        assert np.isnan(native.apply_native(broken, layer, relu)[0, 4, 4]).all()


@pytest.mark.usefixtures("package")
def test_vmap_is_a_loop() -> None:
    kernel, bias = layer_of(32, 64)
    layer = native.prepared(kernel, jnp.asarray(bias), 4)
    images = np.random.default_rng(4).normal(size=(3, 1, 10, 12, 32)).astype(np.float32)

    @jax.jit
    def squares(image):
        return jnp.sum(native.apply_native(image, layer, True) ** 2)

    found = jax.vmap(jax.grad(squares))(images)
    for one, image in zip(found, images, strict=True):
        assert relative_rms(one, jax.grad(squares)(image)) < 1e-6


@pytest.mark.usefixtures("package")
def test_where_it_is_used() -> None:
    """By "auto", in float32, for channels in multiples of 32; the shapes foretold are the real."""
    layers = {
        "conv1_1": layer_of(3, 32),
        "conv1_2": layer_of(32, 32),
        "conv2_1": layer_of(32, 48),
        "conv2_2": layer_of(48, 64),
    }
    params = {name: {"kernel": k, "bias": b} for name, (k, b) in layers.items()}
    kinds = [type(each) for each in prepare(params).values()]
    assert kinds == [Direct, native.Native, Winograd, Winograd]
    assert {type(each) for each in prepare(params, conv="winograd").values()} == {Winograd}
    assert {type(each) for each in prepare(params, conv="direct").values()} == {Direct}
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), prepare(params))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), prepared_shapes(params)) == shapes
    again = prepare(params, like=(first := prepare(params)))
    assert all(again[name] is first[name] for name in params)


@pytest.mark.usefixtures("package")
def test_features_are_those_of_the_plain_convolution() -> None:
    """Tapped before and after ReLU, and their gradient."""
    layers = {"conv1_1": layer_of(3, 64), "conv1_2": layer_of(64, 64), "conv2_1": layer_of(64, 128)}
    params = {name: {"kernel": k, "bias": b} for name, (k, b) in layers.items()}
    image = np.random.default_rng(2).normal(size=(37, 50, 3)).astype(np.float32)
    taps = "relu1_1", "conv1_2", "relu1_2", "relu2_1"

    @jax.jit
    def run(kernels):
        def total(image):
            maps = features(kernels, image, taps=taps)
            return sum(jnp.sum(each**2) for each in maps.values()), maps

        return jax.grad(total, has_aux=True)(image)

    plain, compiled = (run(prepare(params, conv=conv)) for conv in ("direct", "auto"))
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(compiled), strict=True):
        assert relative_rms(other, one) < 1e-5


@pytest.mark.usefixtures("package")
def test_less_than_float32_is_refused() -> None:
    kernel, bias = layer_of(32, 32)
    layer = native.prepared(kernel, jnp.asarray(bias), 4)
    with pytest.raises(InputError, match="precision 'bf16' needs kernels of conv 'direct'"):
        apply_kernel(jnp.zeros((1, 8, 8, 32)), layer, "bf16")


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Whether there is a package is asked anew, here and afterwards."""
    native.obstacle.cache_clear()
    yield
    native.obstacle.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_without_the_package_xla_does_it(monkeypatch) -> None:
    monkeypatch.setattr(native, "PACKAGE", "jaxstyle_none")
    assert native.obstacle() == "is not installed"
    kernel, bias = layer_of(32, 32)
    (layer,) = prepare({"conv1_2": {"kernel": kernel, "bias": bias}}).values()
    assert isinstance(layer, Winograd)


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize(
    ("interface", "library", "reason"),
    [
        (native.INTERFACE + 1, "library.so", "is of another version of jaxstyle, or was not built"),
        (native.INTERFACE, None, "is of another version of jaxstyle, or was not built"),
        (native.INTERFACE, "no/library.so", "cannot be loaded: "),
    ],
)
def test_a_package_that_does_not_fit_is_not_used(
    interface: int, library, reason: str, monkeypatch
) -> None:
    package = types.SimpleNamespace(INTERFACE=interface, LIBRARY=library)
    monkeypatch.setattr(native.importlib, "import_module", lambda name: package)
    found = native.obstacle()
    assert found is not None
    assert found.startswith(reason)
