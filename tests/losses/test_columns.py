"""Columns at the grid, and the search for the nearest ones, against float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.losses import matching
from jaxstyle.losses.columns import NearestTarget, agreement, at_grid, cosine_distances
from jaxstyle.losses.matching import directions, nearest


def doubled(x: np.ndarray, size: int) -> np.ndarray:
    """Linear interpolation between the middles of pixels, along the first axis, to the edge's."""
    places = (np.arange(size) + 0.5) / 2 - 0.5
    places = np.clip(places, 0, len(x) - 1)
    low = np.minimum(places.astype(int), len(x) - 1)
    high = np.minimum(low + 1, len(x) - 1)
    part = (places - low).reshape(-1, *(1,) * (x.ndim - 1))
    return (1 - part) * x[low] + part * x[high]


@pytest.mark.usefixtures("double_precision")
def test_large_maps_are_averaged_and_small_ones_doubled() -> None:
    random = np.random.default_rng(0)
    large = random.normal(size=(15, 22, 3))
    expected = [
        [large[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean((0, 1)) for j in range(5)]
        for i in range(3)
    ]
    np.testing.assert_allclose(at_grid(large, 1, (3, 5)), expected, rtol=1e-12)
    small = random.normal(size=(3, 4, 2))
    expected = doubled(doubled(small, 7).swapaxes(0, 1), 9).swapaxes(0, 1)
    np.testing.assert_allclose(at_grid(small, 4, (7, 9)), expected, rtol=1e-12)
    one = random.normal(size=(1, 2, 2))  # block 5, of a grid of 7 x 9
    twice = doubled(doubled(one, 3).swapaxes(0, 1), 4).swapaxes(0, 1)
    expected = doubled(doubled(twice, 7).swapaxes(0, 1), 9).swapaxes(0, 1)
    np.testing.assert_allclose(at_grid(one, 5, (7, 9)), expected, rtol=1e-12)
    same = random.normal(size=(7, 9, 2))
    np.testing.assert_array_equal(at_grid(same, 3, (7, 9)), same)


@pytest.mark.usefixtures("double_precision")
def test_the_distance_is_that_of_whole_columns_and_so_is_its_gradient() -> None:
    """By central differences; a column and a target without any features are at distance 1."""
    random = np.random.default_rng(1)
    parts = {tap: random.normal(size=(2, 3, n)) for tap, n in (("a", 4), ("b", 6))}
    aims = {tap: random.normal(size=each.shape) for tap, each in parts.items()}
    for each in (parts, aims):
        for tap in each:
            each[tap][0, 0] = 0
    aims["a"][1, 2] = aims["b"][1, 2] = 0
    scales, weights = {"a": 0.25, "b": 2.0}, {"a": 3.0, "b": 0.5}
    factors = {tap: scales[tap] * weights[tap] for tap in parts}

    def numpy_distances(parts):
        x, t = (
            np.concatenate([np.sqrt(factors[tap]) * each[tap] for tap in parts], -1)
            for each in (parts, aims)
        )
        lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(t, axis=-1)
        return 1 - (x * t).sum(-1) / np.where(lengths > 0, lengths, 1)

    targets = {
        tap: NearestTarget(jnp.asarray(each), jnp.square(each).sum(-1), jnp.asarray(scales[tap]))
        for tap, each in aims.items()
    }

    @jax.jit
    def distances(parts):
        found = {tap: agreement(each, targets[tap].columns) for tap, each in parts.items()}
        return cosine_distances(found, targets, weights)

    np.testing.assert_allclose(distances(parts), numpy_distances(parts), rtol=1e-12)
    assert distances(parts)[0, 0] == 1
    gradient = jax.grad(lambda parts: distances(parts).sum())(parts)
    assert all(np.isfinite(each).all() for each in gradient.values())
    step = 1e-6
    for place in [(0, 1, 2), (1, 0, 3), (1, 1, 0)]:
        ends = []
        for sign in (1, -1):
            moved = {**parts, "a": parts["a"].copy()}
            moved["a"][place] += sign * step
            ends.append(numpy_distances(moved).sum())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert gradient["a"][place] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_nearest_is_found_in_blocks_and_where_it_is_allowed(monkeypatch) -> None:
    monkeypatch.setattr(matching, "block_of_candidates", lambda queries: 7)
    random = np.random.default_rng(2)
    queries, candidates = random.normal(size=(11, 5)), random.normal(size=(23, 5))
    candidates[9] = candidates[3]  # of equal ones the first
    queries[0] = candidates[3]
    unit = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    np.testing.assert_allclose(directions(candidates), unit, rtol=1e-5)
    regions = np.eye(3)[random.integers(0, 2, 11)]
    regions[4] = [0, 0, 1]  # of which no candidate is
    allowed = np.zeros((23, 3))
    allowed[:, 0], allowed[::2, 1] = 1, 1
    found = nearest(*(np.float32(each) for each in (queries, unit, regions, allowed)))
    similarity = np.where(regions @ allowed.T > 0, queries @ unit.T, -np.inf)
    np.testing.assert_array_equal(found.candidate[:4], similarity.argmax(1)[:4])
    np.testing.assert_array_equal(found.candidate[5:], similarity.argmax(1)[5:])
    assert found.candidate[0] == 3 if regions[0, 0] else 4
    assert np.isneginf(found.similarity[4])
    np.testing.assert_allclose(found.similarity[5:], similarity.max(1)[5:], rtol=1e-4)


def test_blocks_are_bounded() -> None:
    """2^23 similarities, that is 32 MB, but at least 16 candidates at a time and at most 4096."""
    assert matching.block_of_candidates(64 * 48) == 2730
    assert matching.block_of_candidates(100) == 4096
    assert matching.block_of_candidates(2**20) == 16
