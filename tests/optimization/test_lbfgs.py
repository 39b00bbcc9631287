"""L-BFGS: the canvases of torch.optim.LBFGS, as recorded; strips, sweeps, what is refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK, SHALLOW, relative_rms
from test_problem import problem_of

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import normalize
from jaxstyle.machine import memory
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization import stepping
from jaxstyle.optimization.lbfgs import lbfgs, lbfgs_state
from jaxstyle.optimization.optimizer import initial_state
from jaxstyle.optimization.problem import make_problem
from jaxstyle.settings.presets import preset

TESTS = Path(__file__).parents[1]
RATE, KEPT = 0.8, 3
"""Those of scripts/make_lbfgs_references.py, which recorded what torch 2.13.0 does."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(TESTS / "references" / "lbfgs.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name != "meta"}


def canvases(gradient_of, start, steps: int) -> np.ndarray:
    """Returns the canvas after each step, moved by the directions of `lbfgs` alone."""
    canvas, state, found = jnp.asarray(start), lbfgs_state(jnp.asarray(start), KEPT), []
    directed = jax.jit(lbfgs, compiler_options=QUICK)
    for _ in range(steps):
        direction, state = directed(gradient_of(canvas), state, canvas)
        canvas = canvas - RATE * direction
        found.append(np.array(canvas))
    return np.stack(found)


def test_canvases_on_a_quadratic_are_torchs(recorded, double_precision) -> None:
    """Twelve steps with a history of three, so that pairs are forgotten; in float64."""
    start, vector = recorded["quadratic/start"], recorded["quadratic/vector"]

    def gradient_of(x):
        return (recorded["quadratic/matrix"] @ x.reshape(-1) - vector).reshape(x.shape)

    expected = recorded["quadratic/canvases"]
    found = canvases(gradient_of, start, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_step_goes_no_farther_than_from_black_to_white() -> None:
    """Gradients of 2 and 1.999, a move of 1 apart: y.s / y.y is 1000, a step would be 1999."""
    canvas, state = jnp.zeros((1, 1, 3)), lbfgs_state(jnp.zeros((1, 1, 3)), KEPT)
    direction, state = lbfgs(jnp.full((1, 1, 3), 2.0).at[..., 1:].set(0), state, canvas)
    np.testing.assert_allclose(direction[0, 0], [1, 0, 0])
    gradient = jnp.full((1, 1, 3), 1.999).at[..., 1:].set(0)
    direction, _ = lbfgs(gradient, state, canvas - direction)
    np.testing.assert_allclose(direction[0, 0], [4.5, 0, 0], rtol=1e-6)


def test_steps_on_a_slim_network_are_torchs(recorded, double_precision) -> None:
    """By the engine's own steps: losses and canvases of the book's loss, in float64."""
    with np.load(TESTS / "references" / "vgg19-slim-book.npz") as arrays:
        layers = {name.split("/")[1] for name in arrays.files if name.startswith("weights/")}
        params = {
            name: {
                "kernel": arrays[f"weights/{name}/kernel"].transpose(2, 3, 1, 0).astype(float),
                "bias": arrays[f"weights/{name}/bias"].astype(float),
            }
            for name in layers
        }
    recipe, hyper = preset(
        "book", optimizer="lbfgs", learning_rate=RATE, history=KEPT, decay_rate=1.0
    )
    content, style = (
        np.asarray(normalize(recorded[f"book/{name}"]), float) for name in ("content", "style")
    )
    kernels = prepare(params, conv="direct")
    problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper)
    one_step = jax.jit(stepping._step, compiler_options=QUICK)
    state = stepping.with_program_state(initial_state(content), problem.program)
    for loss, expected in zip(recorded["book/losses"], recorded["book/canvases"], strict=True):
        state, losses, _ = one_step(state, problem)
        assert float(losses.total) == pytest.approx(loss, rel=1e-7)
        assert relative_rms(state.canvas, expected) < 1e-7
    assert recorded["book/losses"][-1] < recorded["book/losses"][0] / 2


def test_a_pair_without_curvature_is_left_out() -> None:
    """By hand: y.s = -2 tells nothing, so the next direction is the gradient itself."""
    start = jnp.zeros((1, 2, 3))
    first, state = lbfgs(jnp.full(start.shape, 0.5), lbfgs_state(start, 2), start)
    np.testing.assert_allclose(first, 0.5 / 3, rtol=1e-6)
    direction, state = lbfgs(jnp.full(start.shape, 0.5 + 1 / 3), state, start - 1)
    np.testing.assert_allclose(direction, 0.5 + 1 / 3, rtol=1e-6)
    assert not state.products.any()
    assert float(state.scale) == 1


def test_a_change_whose_square_overflows_is_told() -> None:
    start = jnp.zeros((1, 2, 3))
    _, state = lbfgs(jnp.ones(start.shape), lbfgs_state(start, 2), start)
    _, state = lbfgs(jnp.full(start.shape, 1e30), state, start + 1)
    assert np.isnan(state.scale)


SETTINGS = {**SHALLOW, "optimizer": "lbfgs", "history": 2, "clip": True, "average": 0.5}


def test_it_paints_in_a_sweep_to_the_same_bits(params, content, style) -> None:
    """With clipping and averaging."""
    recipe, hyper = preset("book", **SETTINGS, conv="direct", size=(40, 36), steps=4)
    picture = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, picture)
    assert swept.losses.total < 0.9 * swept.history.total[0]


def test_it_goes_on_bit_for_bit(params, content, style) -> None:
    """From the host's copy of a state in the middle of a level."""
    problem = problem_of(params, content, style, **SETTINGS, steps=5)
    start = normalize(content)
    for chunk in stepping.steps(problem, initial_state(start), pause_every=3):
        if int(chunk.state.step) == 3 and chunk.closing is None:
            kept = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), chunk.state)
    *_, last = stepping.steps(problem, kept)
    np.testing.assert_array_equal(last.state.canvas, chunk.state.canvas)
    assert relative_rms(last.state.canvas, start) > 0.01


def test_it_ends_in_strips_where_it_does_plainly(params, content, style) -> None:
    pictures, ends = (content[:24, :20], style[:24, :20]), []
    for mode in memory.MEMORY_MODES:
        problem = problem_of(params, *pictures, **SETTINGS, steps=3, memory=mode)
        *_, last = stepping.steps(problem, initial_state(normalize(pictures[0])))
        ends.append((np.array(last.state.canvas), float(last.closing.total)))
    assert relative_rms(ends[1][0], ends[0][0]) < 1e-3
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-3)


def test_its_history_counts_as_memory() -> None:
    """By hand: 24 bytes a pixel for each step that is remembered."""
    sides = (1000, 1000), (1000, 1000)
    few, many = (
        memory.memory_of(*sides, recipe=preset(optimizer="lbfgs", history=n)[0], mode="plain")
        for n in (10, 30)
    )
    assert many - few == 20 * 24 * 1000 * 1000


def test_proximal_steps_are_refused_and_left_by_the_choice() -> None:
    recipe, hyper = preset(optimizer="lbfgs")
    assert (recipe.tv_step, hyper.learning_rate) == ("gradient", 1)
    with pytest.raises(InputError, match=r"'lbfgs' has no proximal steps.*give tv_step 'gradient'"):
        preset(optimizer="lbfgs", tv_step="proximal")
    with pytest.raises(InputError, match="history must be a whole number from 1 to 1000"):
        preset(history=0)
