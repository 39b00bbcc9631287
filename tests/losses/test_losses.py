"""The loss terms by hand, and against float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms

from jaxstyle.losses.statistics import moments, squared_error
from jaxstyle.losses.style import gram, style_loss
from jaxstyle.losses.terms import (
    added,
    content_loss,
    losses_by_name,
    weighted_layers,
    weighted_variation,
    with_total,
)
from jaxstyle.losses.variation import total_variation

TWO_CHANNELS = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])  # (1, 2, 2): positions (1, 2) and (3, 4)


def test_moments_and_gram_by_hand() -> None:
    """Outer products [[1, 2], [2, 4]] and [[9, 12], [12, 16]]; the Gram divides by 2 * 2."""
    found = moments(TWO_CHANNELS)
    assert found.outer_sum.tolist() == [[10, 14], [14, 20]]
    assert found.sum.tolist() == [4, 6]
    assert found.positions == 2
    assert gram(found).tolist() == [[2.5, 3.5], [3.5, 5]]


def test_weighted_moments_by_hand() -> None:
    """Twice [[1, 2], [2, 4]] and half of [[9, 12], [12, 16]]; 2 * (1, 2) and (3, 4) / 2."""
    found = moments(TWO_CHANNELS, jnp.array([[2.0, 0.5]]))
    assert found.outer_sum.tolist() == [[6.5, 10], [10, 16]]
    assert found.sum.tolist() == [3.5, 6]
    assert float(found.positions) == 2.5
    with pytest.raises(ValueError, match=r"weights of shape \(2, 1\) for features \(1, 2, 2\)"):
        moments(TWO_CHANNELS, jnp.ones((2, 1)))


def test_moments_of_parts_add_up() -> None:
    feature_map = np.random.default_rng(0).normal(size=(8, 5, 3)).astype(np.float32)
    parts = [moments(feature_map[:3]), moments(feature_map[3:])]
    whole = moments(feature_map)
    for field, values in zip(whole._fields, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(sum(values), getattr(whole, field), rtol=2e-5, atol=1e-5)


def test_content_and_style_loss_by_hand() -> None:
    """Differences 1, 1, 1, 3: squares sum to 12, mean 3. Of Grams: 4, 0, 0, 2 squared, mean 5."""
    target = TWO_CHANNELS - jnp.array([[[1.0, 1.0], [1.0, 3.0]]])
    assert float(content_loss(squared_error(TWO_CHANNELS, target))) == 3
    assert float(style_loss(jnp.array([[4.0, 0], [0, 2]]), jnp.zeros((2, 2)))) == 5


def test_total_variation_by_hand() -> None:
    """Rows 0 1 / 4 1: vertical 4 and 0, mean 2; horizontal 1 and 3, mean 2; half the sum is 2."""
    canvas = jnp.array([[0.0, 1.0], [4.0, 1.0]])[:, :, None]
    assert float(total_variation(canvas)) == 2


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 3), (5, 1, 3)])
def test_total_variation_without_neighbours_is_finite(shape) -> None:
    value, gradient = jax.value_and_grad(total_variation)(jnp.ones(shape))
    assert float(value) == 0
    assert np.isfinite(gradient).all()


def test_total_variation_has_no_gradient_between_equal_neighbours() -> None:
    """Of 0 0 1, only the second and third pull at each other: half of 1/2 each way."""
    gradient = jax.jit(jax.grad(total_variation))(jnp.array([0.0, 0.0, 1.0])[None, :, None])
    assert gradient.ravel().tolist() == [0, -0.25, 0.25]


def test_total_variation_gradient_on_a_photo_equals_numpy(content) -> None:
    canvas = content.astype(np.float32) / 255
    assert np.mean(canvas[1:] == canvas[:-1]) > 0.02  # there are equal neighbours
    expected = np.zeros(canvas.shape)
    for axis in (0, 1):
        signs = np.sign(np.diff(canvas.astype(np.float64), axis=axis)) / 2
        signs /= signs.size
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        expected -= np.diff(np.pad(signs, padding), axis=axis)
    assert relative_rms(jax.grad(total_variation)(canvas), expected) < 1e-6


def test_gram_gradient_equals_numpy() -> None:
    """d/dF of sum(W * F^T F) is F (W + W^T), for any W, symmetric or not."""
    random = np.random.default_rng(1)
    feature_map = random.normal(size=(6, 7, 5)).astype(np.float32)
    weights = random.normal(size=(5, 5)).astype(np.float32)
    gradient = jax.grad(lambda f: jnp.sum(weights * moments(f).outer_sum))(feature_map)
    expected = feature_map.astype(np.float64) @ (weights + weights.T)
    assert relative_rms(gradient, expected) < 1e-6


def test_weighted_gram_gradients_equal_numpy() -> None:
    """Of sum(W * F^T diag(w) F): w F (W + W^T) for F, and for w by position f^T W f."""
    random = np.random.default_rng(2)
    feature_map, weights = random.normal(size=(6, 7, 5)), random.uniform(size=(6, 7))
    by = random.normal(size=(5, 5))
    gradients = jax.grad(lambda f, w: jnp.sum(by * moments(f, w).outer_sum), argnums=(0, 1))(
        feature_map.astype(np.float32), weights.astype(np.float32)
    )
    assert relative_rms(gradients[0], weights[..., None] * feature_map @ (by + by.T)) < 1e-6
    expected = np.einsum("hwc,cd,hwd->hw", feature_map, by, feature_map)
    assert relative_rms(gradients[1], expected) < 2e-6


def test_weighted_losses_by_hand() -> None:
    """Content 3 * 2; style 5 * 10 + 1 * 100; total variation 2 * 7; together 170."""
    canvas = jnp.array([[0.0, 1.0], [4.0, 1.0]])[:, :, None]
    style = {"relu1_1": jnp.array(5.0), "relu2_1": jnp.array(1.0)}
    terms = {
        "content": weighted_layers({"relu4_2": jnp.array(3.0)}, {"relu4_2": 2.0}),
        "style": weighted_layers(style, {"relu1_1": 10.0, "relu2_1": 100.0}),
        "tv": weighted_variation(canvas, 7.0),
    }
    assert jax.tree.map(float, with_total(terms)).by_name() == {
        **{"content": 6, "style": 150, "tv": 14, "total": 170}
    }
    assert float(added(terms, without={"tv"})) == 156


def test_losses_keep_the_order_of_their_terms_under_jit() -> None:
    """In a dictionary jax would sort them by name."""
    losses = losses_by_name({"style": 1.0, "brightness": 2.0, "total": 3.0})
    again = jax.jit(lambda each: each)(losses)
    assert list(again.by_name()) == ["style", "brightness", "total"]
    assert [float(each) for each in jax.tree.leaves(again)] == [1, 2, 3]


def test_losses_of_some_steps() -> None:
    losses = losses_by_name({"style": np.array([1, 2, 3]), "total": np.array([4, 5, 6])})
    assert losses[-1].by_name() == {"style": 3, "total": 6}
    assert losses[:2].total.tolist() == [4, 5]
