"""The style losses against float64 numpy, their gradients against differences, and hard cases."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK, relative_rms

from jaxstyle.losses.roots import root_trace
from jaxstyle.losses.statistics import moments
from jaxstyle.losses.style import (
    STYLE_LOSSES,
    gram,
    layer_style_distance,
    layer_style_target,
    style_loss,
)
from jaxstyle.settings.recipe import STYLE_LOSS_NAMES

BALANCES = ("book", "relative")


def some_features(seed: int, *, channels: int = 6, positions: int = 40) -> np.ndarray:
    """Returns correlated features (positions, 1, C), not negative, as after a ReLU."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(positions, channels)) @ random.normal(size=(channels, channels))
    return np.maximum(mixed, 0)[:, None]


def graded_features(seed: int, *, channels: int = 24, positions: int = 400) -> np.ndarray:
    """Returns features whose covariance has eigenvalues that fall over eight decades."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(channels, channels)))
    spread = random.normal(size=(positions, channels)) * np.logspace(0, -4, channels)
    return (spread @ turn + 0.5)[:, None]


def root_of(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def parts_in_numpy(canvas: np.ndarray, style: np.ndarray, name: str) -> list[tuple[float, float]]:
    """Returns the differences and energies of a loss, by its formula, in float64."""
    canvas, style = (
        each.reshape(-1, each.shape[-1]).astype(np.float64) for each in (canvas, style)
    )
    channels = canvas.shape[1]
    second, of_style = canvas.T @ canvas / len(canvas), style.T @ style / len(style)
    mean, style_mean = canvas.mean(0), style.mean(0)
    spread, style_spread = np.cov(canvas.T, bias=True), np.cov(style.T, bias=True)
    power = np.trace(of_style) / channels
    of_gram = (
        np.mean((second - of_style) ** 2) / channels**2,
        np.mean(of_style**2) / channels**2,
    )
    floor = 1e-5 * power
    stds = [np.sqrt(np.diag(each) + floor) for each in (spread, style_spread)]
    of_stds = np.mean((mean - style_mean) ** 2) + np.mean((stds[0] - stds[1]) ** 2)
    if name == "gram":
        return [of_gram]
    if name == "mean-std":
        return [(of_stds, power)]
    if name == "gram+mean-std":
        return [of_gram, (10 * of_stds, 10 * power)]
    if name == "covariance":
        energy = max(np.mean(style_spread**2), 1e-4 * np.mean(of_style**2)) / channels**2
        mean_energy = max(np.mean(style_mean**2), 1e-4 * power) / channels
        return [
            (np.mean((spread - style_spread) ** 2) / channels**2, energy),
            (np.mean((mean - style_mean) ** 2) / channels, mean_energy),
        ]
    assert name == "wasserstein"
    floor = max(1e-4 * np.trace(style_spread) / channels, 1e-6 * power)
    directions = np.linalg.eigh(style_spread)[1]
    rank = min(channels, max(len(style) - 1, 1))
    directions = directions[:, -rank:]
    along = directions.T @ spread @ directions + floor * np.eye(rank)
    of_style = directions.T @ style_spread @ directions + floor * np.eye(rank)
    shared = np.linalg.svd(root_of(of_style) @ root_of(along), compute_uv=False).sum()
    # where the style has no directions nothing is regularised
    outside = np.trace(spread) - np.trace(directions.T @ spread @ directions)
    together = outside + np.trace(along) + np.trace(of_style) - 2 * shared
    return [((np.sum((mean - style_mean) ** 2) + together) / channels, power)]


def in_numpy(canvas: np.ndarray, style: np.ndarray, *, name: str, balance: str) -> float:
    parts = parts_in_numpy(canvas, style, name)
    return sum(part if balance == "book" else part / energy for part, energy in parts)


def layer_distance(
    canvas: jax.Array, style: jax.Array, *, name: str, balance: str = "relative"
) -> jax.Array:
    """Returns the distance of two feature maps."""
    target = layer_style_target(moments(style), style_loss=name)
    return layer_style_distance(moments(canvas), target, style_loss=name, balance=balance)


compiled = partial(jax.jit, static_argnames=("name", "balance"), compiler_options=QUICK)
distance, value_and_gradient = (
    compiled(layer_distance),
    compiled(jax.value_and_grad(layer_distance)),
)


def test_the_settings_know_every_loss() -> None:
    assert tuple(STYLE_LOSSES) == STYLE_LOSS_NAMES


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("make", [some_features, graded_features])
def test_losses_equal_numpy(make, name: str, balance: str) -> None:
    canvas, style = (make(seed).astype(np.float32) for seed in (0, 1))
    expected = in_numpy(canvas, style, name=name, balance=balance)
    assert float(distance(canvas, style, name=name, balance=balance)) == pytest.approx(
        expected, rel=1e-3 if name == "wasserstein" else 1e-5
    )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("make", [some_features, graded_features])
def test_losses_equal_numpy_in_float64(make, name: str) -> None:
    canvas, style = make(0), make(1)
    expected = in_numpy(canvas, style, name=name, balance="relative")
    # the iteration of "wasserstein" is not run until float64 is exhausted
    near = 2e-4 if name == "wasserstein" else 1e-12
    assert float(distance(canvas, style, name=name)) == pytest.approx(expected, rel=near)


def test_the_book_keeps_its_bits() -> None:
    canvas, style = (moments(jnp.asarray(some_features(s), jnp.float32)) for s in (0, 1))
    target = layer_style_target(style, style_loss="gram")
    found = layer_style_distance(canvas, target, style_loss="gram", balance="book")
    assert float(found) == float(style_loss(gram(canvas), gram(style)))


def test_losses_of_one_channel_by_hand() -> None:
    """Features 0, 2 and 0, 4: S 2 and 8, m 1 and 2, K 1 and 4, s 1 and 2."""
    canvas, style = jnp.array([0.0, 2]).reshape(2, 1, 1), jnp.array([0.0, 4]).reshape(2, 1, 1)
    by_hand = {"gram": 36, "covariance": 9 + 1, "wasserstein": 1 + 1, "mean-std": 1 + 1}
    for name, expected in {**by_hand, "gram+mean-std": 36 + 10 * 2}.items():
        found = float(distance(canvas, style, name=name, balance="book"))
        assert found == pytest.approx(expected, rel=1e-3), name


@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("make", [some_features, graded_features])
def test_the_style_itself_is_at_no_distance(make, name: str) -> None:
    style = make(3).astype(np.float32)
    assert float(distance(style, style, name=name)) == pytest.approx(0, abs=3e-4)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_relative_losses_do_not_know_a_common_factor(name: str) -> None:
    canvas, style = (some_features(seed).astype(np.float32) for seed in (4, 5))
    small = float(distance(canvas, style, name=name))
    tolerance = 1e-5 if name != "gram+mean-std" else 2e-5
    assert float(distance(300 * canvas, 300 * style, name=name)) == pytest.approx(
        small, rel=tolerance
    )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("make", [some_features, graded_features])
def test_gradients_equal_central_differences(make, name: str) -> None:
    """Along directions of every channel's own, of numpy's losses: none of ours takes part."""
    canvas, style = make(6), make(7)
    gradient = np.asarray(value_and_gradient(jnp.asarray(canvas), style, name=name)[1])
    random = np.random.default_rng(8)
    for _ in range(5):
        direction = random.normal(size=canvas.shape) * canvas.std(axis=0)
        ends = [
            in_numpy(canvas + step * direction, style, name=name, balance="relative")
            for step in (1e-5, -1e-5)
        ]
        slope = (ends[0] - ends[1]) / 2e-5
        near = 3e-3 if name == "wasserstein" else 1e-6
        scale = np.linalg.norm(gradient * canvas.std(axis=0))
        assert np.sum(gradient * direction) == pytest.approx(slope, abs=near * scale)


HARD = {
    "black": np.zeros((40, 1, 8)),
    "flat": np.full((40, 1, 8), 3.0) * np.arange(8),
    "dead": some_features(9, channels=8) * (np.arange(8) % 2),
    "few": some_features(10, channels=8, positions=3),
    "one": some_features(11, channels=8, positions=1),
    "plain": some_features(12, channels=8),
    "large": 1000 * some_features(13, channels=8),
    "alike": some_features(14, channels=8)[:, :, :1] * np.ones(8),
}


SMALL = ("few", "one")
PAIRS = [*itertools.product(HARD.keys() - SMALL, repeat=2), ("few", "few")]
PAIRS += [pair for each in SMALL for pair in ((each, "plain"), ("plain", each))]


@pytest.mark.parametrize(("canvas", "style"), sorted(PAIRS))
@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_hard_cases_are_finite(name: str, canvas: str, style: str) -> None:
    canvas_map, style_map = (jnp.asarray(HARD[each], jnp.float32) for each in (canvas, style))
    value, gradient = value_and_gradient(canvas_map, style_map, name=name)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if canvas == style:
        assert float(value) == pytest.approx(0, abs=3e-4)


@pytest.mark.parametrize("positions", [20, 5000])
def test_many_channels_of_many_decades(positions: int) -> None:
    """As of relu3_1: 256 channels, more than positions, eigenvalues over eight decades."""
    canvas, style = (
        graded_features(seed, channels=256, positions=positions).astype(np.float32)
        for seed in (15, 16)
    )
    value, gradient = value_and_gradient(
        jnp.asarray(canvas), jnp.asarray(style), name="wasserstein"
    )
    expected = in_numpy(canvas, style, name="wasserstein", balance="relative")
    assert float(value) == pytest.approx(expected, rel=5e-3)
    assert np.isfinite(gradient).all()


def test_root_trace_and_its_gradient_equal_numpy() -> None:
    """Twice tr (D K D)^1/2 has the gradient D (D K D)^-1/2 D."""
    covariance = np.cov(some_features(17)[:, 0].T) + np.eye(6)
    stds = np.linspace(0.5, 3, 6)
    middle = root_of(np.diag(stds) @ covariance @ np.diag(stds))
    expected = np.diag(stds) @ np.linalg.inv(middle) @ np.diag(stds)
    arguments = (jnp.asarray(each, jnp.float32) for each in (covariance, stds))
    value, gradient = jax.value_and_grad(lambda k, d: 2 * root_trace(k, d))(*arguments)
    assert float(value) == pytest.approx(2 * np.trace(middle), rel=1e-5)
    assert relative_rms(gradient, expected) < 1e-4


def test_root_trace_of_a_matrix_that_rounding_has_spoilt_is_finite() -> None:
    """Eigenvalues 4 and 0, of which rounding made -1e-5: no Cholesky factor, and 2 is the root."""
    covariance = jnp.asarray([[2, 2], [2, 2]], jnp.float32) - 1e-5 * jnp.eye(2)
    assert not np.isfinite(jnp.linalg.cholesky(covariance)).all()
    value, gradient = jax.value_and_grad(root_trace)(covariance, jnp.ones(2))
    assert float(value) == pytest.approx(2, rel=5e-3)
    assert np.isfinite(gradient).all()
