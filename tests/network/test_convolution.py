"""The frozen convolution against a convolution written out in float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from numpy_network import numpy_convolve

from jaxstyle.network.convolution import (
    Kernel,
    apply_kernel,
    by_positions,
    prepare,
    prepared_shapes,
)


def example(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(height * 100 + width)
    draw = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    return draw(height, width, 3), draw(3, 3, 3, 5), draw(5)


def test_by_hand() -> None:
    """A kernel that takes the left neighbour, on a row of three pixels, plus a bias of 10."""
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 0] = 1
    layer = prepare({"conv": {"kernel": kernel, "bias": np.array([10.0], np.float32)}})["conv"]
    row = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    assert apply_kernel(row, layer).ravel().tolist() == [10, 11, 12]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 5), (16, 33)])
def test_equals_numpy(height: int, width: int) -> None:
    image, kernel, bias = example(height, width)
    layer = prepare({"conv": {"kernel": kernel, "bias": bias}})["conv"]
    result = apply_kernel(image[None], layer)[0]
    assert relative_rms(result, numpy_convolve(image, kernel, bias)) < 1e-6


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 5)])
def test_gradient_is_the_adjoint(height: int, width: int) -> None:
    """<g, conv(e_i)> for every unit image e_i, in float64 numpy."""
    image, kernel, bias = example(height, width)
    layer = prepare({"conv": {"kernel": kernel, "bias": bias}})["conv"]
    cotangent = np.random.default_rng(1).normal(size=(height, width, 5)).astype(np.float32)
    _, pull = jax.vjp(lambda x: apply_kernel(x, layer), image[None])
    gradient = pull(jnp.asarray(cotangent[None]))[0][0]
    expected = np.zeros_like(image, np.float64)
    for index in np.ndindex(image.shape):
        unit = np.zeros(image.shape)
        unit[index] = 1
        expected[index] = np.sum(cotangent * numpy_convolve(unit, kernel, np.zeros(5)))
    assert relative_rms(gradient, expected) < 1e-6


def test_kernels_are_frozen() -> None:
    image, kernel, bias = example(4, 4)
    layer = prepare({"conv": {"kernel": kernel, "bias": bias}})["conv"]
    gradient = jax.grad(lambda k: apply_kernel(image[None], k).sum())(layer)
    assert isinstance(gradient, Kernel)
    assert all(not np.any(each) for each in gradient)


def test_without_gradients_the_result_is_the_same_and_a_gradient_is_refused() -> None:
    image, kernel, bias = example(4, 4)
    params = {"conv": {"kernel": kernel, "bias": bias}}
    full, forward = (prepare(params, gradients=each)["conv"] for each in (True, False))
    np.testing.assert_array_equal(
        apply_kernel(image[None], forward), apply_kernel(image[None], full)
    )
    assert len(jax.tree.leaves(forward)) == len(jax.tree.leaves(full)) - 1
    with pytest.raises(ValueError, match="without gradients"):
        jax.grad(lambda x: apply_kernel(x, forward).sum())(image[None])


@pytest.mark.parametrize("conv", ["direct", "winograd", "auto"])
@pytest.mark.parametrize("gradients", [True, False])
def test_prepared_shapes_are_those_of_the_prepared(conv: str, gradients: bool) -> None:
    half = {"kernel": np.zeros((3, 3, 3, 16), np.float16), "bias": np.zeros(16, np.float16)}
    wide = {"kernel": np.zeros((3, 3, 16, 24), np.float32), "bias": np.zeros(24, np.float32)}
    for size in (None, (64, 64), (300, 450)):
        given = {"conv": conv, "size": size, "gradients": gradients}
        layers = {"conv1_1": half, "conv2_1": wide}
        shapes, prepared = prepared_shapes(layers, **given), prepare(layers, **given)
        assert jax.tree.structure(shapes) == jax.tree.structure(prepared)
        found = [(each.shape, each.dtype) for each in jax.tree.leaves(shapes)]
        assert found == [(each.shape, each.dtype) for each in jax.tree.leaves(prepared)]


def test_few_channels_by_products_at_positions_are_the_convolution() -> None:
    """As GPUs do the way back through conv1_1; small sides have no middle."""
    random = np.random.default_rng(5)
    kernel = random.normal(size=(3, 3, 6, 3)).astype(np.float32)
    for height, width in ((5, 8), (1, 2)):
        image = random.normal(size=(height, width, 6)).astype(np.float32)
        found = by_positions(jnp.asarray(image)[None], jnp.asarray(kernel), precision="highest")[0]
        assert relative_rms(found, numpy_convolve(image, kernel, np.zeros(3))) < 1e-6
