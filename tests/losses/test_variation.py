"""The proximal step of total variation: by hand for two neighbours, by its dual in float64 else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.losses.variation import no_duals, proximal_step, total_variation


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        # each value moves by width * 0.5 * weight / 3 channels: 0.1 and 0.3
        (1.0, (0.1, 0.7)),
        (-1.0, (-0.1, -0.7)),
        # too near to pass each other: they meet at the mean, weighted by 1 / width
        (0.2, (0.05, 0.05)),
        (0.0, (0.0, 0.0)),
    ],
)
def test_two_neighbours_approach_and_never_pass(gap, expected, across) -> None:
    shape = (1, 2, 3) if across else (2, 1, 3)
    moved = jnp.array([[0.0] * 3, [gap] * 3]).reshape(shape)
    widths = jnp.array([[1.0] * 3, [3.0] * 3]).reshape(shape)
    found = step(moved, widths, 0.6, times=3)
    np.testing.assert_allclose(found.reshape(2, 3)[:, 0], expected, atol=2e-3)


def step(moved, widths, weight, times=1, **more):
    """Returns the canvas after proximal steps from and to the same places, the duals handed on."""
    duals = no_duals(moved)
    for _ in range(times):
        canvas, duals = jax.jit(proximal_step, static_argnames="height")(
            moved, widths, duals, weight, **more
        )
    return canvas


def solved(moved, widths, weight, iterations=20_000):
    """Returns the proximal step in float64, by plain projected gradients of the dual."""
    rows, columns, channels = moved.shape
    down = 0.5 * weight / ((rows - 1) * columns * channels)
    right = 0.5 * weight / (rows * (columns - 1) * channels)
    vertical, horizontal = np.zeros_like(moved[1:]), np.zeros_like(moved[:, 1:])
    for _ in range(iterations + 1):
        canvas = moved.copy()
        canvas[1:] -= widths[1:] * vertical
        canvas[:-1] += widths[:-1] * vertical
        canvas[:, 1:] -= widths[:, 1:] * horizontal
        canvas[:, :-1] += widths[:, :-1] * horizontal
        step = 1 / (8 * widths.max())
        vertical = np.clip(vertical + step * np.diff(canvas, axis=0), -down, down)
        horizontal = np.clip(horizontal + step * np.diff(canvas, axis=1), -right, right)
    return canvas


def case(shape=(6, 7, 3)):
    random = np.random.default_rng(3)
    return random.normal(size=shape), np.exp(random.normal(size=shape))


@pytest.mark.parametrize("weight", [1.0, 30.0, 1000.0])
def test_the_step_is_the_minimum(weight) -> None:
    moved, widths = case()
    expected = solved(moved, widths, weight)
    found = np.asarray(step(jnp.array(moved), jnp.array(widths), weight, times=5), np.float64)

    def cost(canvas):
        apart = np.sum((canvas - moved) ** 2 / (2 * widths))
        return weight * float(total_variation(jnp.asarray(canvas))) + apart

    saved = cost(moved) - cost(expected)
    assert cost(expected) < cost(moved) - 0.005 * weight  # there is something to do
    assert cost(found) - cost(expected) < 0.02 * saved
    assert np.abs(found - expected).max() < 0.15 * np.abs(moved - expected).max()


def test_no_weight_and_no_width_move_nothing() -> None:
    moved, widths = (jnp.array(each, jnp.float32) for each in case())
    assert np.array_equal(step(moved, widths, 0.0), moved)
    assert np.array_equal(step(moved, jnp.zeros_like(moved), 10.0), moved)


def test_rows_below_the_picture_do_not_count() -> None:
    """A canvas that is filled up to share its rows among devices gives the same picture."""
    moved, widths = (jnp.array(each, jnp.float32) for each in case())
    filled = [jnp.pad(each, ((0, 3), (0, 0), (0, 0))) for each in (moved, widths)]
    found = step(*filled, 30.0, height=6)
    assert np.array_equal(found[:6], step(moved, widths, 30.0))
    assert not found[6:].any()
