"""An optimizer of which only the tests know: it is used like Adam, in every engine.

runs/test_resume.py kills and resumes a run of it, rows_worker.py shares one out.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from own_optimizer import HISTORY, add_history
from test_problem import problem_of

import jaxstyle
from jaxstyle.images.canvas import normalize
from jaxstyle.losses.variation import no_duals, proximal_step
from jaxstyle.machine import memory
from jaxstyle.optimization import optimizer, stepping
from jaxstyle.optimization.optimizer import initial_state
from jaxstyle.optimization.problem import canvas_losses
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import OPTIMIZER_BYTES


def test_steps_move_by_the_mean_of_five_gradients(params, content, style, monkeypatch) -> None:
    """A proximal step comes after, with the learning rate as its widths."""
    add_history(monkeypatch)
    problem = problem_of(params, content, style, **HISTORY, steps=7, tv_step="proximal")

    def objective(canvas):
        terms = canvas_losses(canvas, problem).terms
        return terms["content"] + terms["style"]

    gradient_of = jax.jit(jax.grad(objective))
    canvas, duals = normalize(content), no_duals(normalize(content))
    gradients, rate = [np.zeros_like(canvas)] * 5, np.full(canvas.shape, 0.1, np.float32)
    for chunk in stepping.steps(problem, initial_state(canvas), pause_every=1):
        if len(chunk.learning_rate):
            gradients = [*gradients[1:], np.asarray(gradient_of(canvas))]
            moved = canvas - 0.1 * np.mean(gradients, axis=0, dtype=np.float64)
            weight = problem.hyper.tv_weight
            moved, duals = proximal_step(jnp.float32(moved), rate, duals, weight)
            moves = [np.asarray(each) - canvas for each in (chunk.state.canvas, moved)]
            assert relative_rms(*moves) < 1e-3
            canvas = np.array(chunk.state.canvas)
    assert relative_rms(canvas, normalize(content)) > 0.01


def test_it_paints_in_a_sweep_to_the_same_bits(params, content, style, monkeypatch) -> None:
    add_history(monkeypatch)
    recipe, hyper = preset("book", **HISTORY, conv="direct", size=(40, 36), steps=3)
    picture = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, picture)
    assert swept.losses.total < swept.history.total[0]


@pytest.mark.parametrize("mode", memory.MEMORY_MODES)
def test_its_memory_is_counted(monkeypatch, mode) -> None:
    """By hand: 60 bytes a pixel for Adam's 24."""
    add_history(monkeypatch)
    adam, _ = preset(memory=mode)
    history = dataclasses.replace(adam, optimizer="history")
    sides = (1000, 1000), (1000, 1000)
    few, many = (memory.memory_of(*sides, recipe=each, mode=mode) for each in (adam, history))
    assert many - few == 36 * 1000 * 1000


def test_every_optimizer_keeps_as_many_bytes_as_is_said() -> None:
    assert set(optimizer.OPTIMIZERS) == set(OPTIMIZER_BYTES)
    for name, each in optimizer.OPTIMIZERS.items():
        state = jax.eval_shape(each.init, jnp.zeros((100, 80, 3)))
        kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        assert 0 <= kept - OPTIMIZER_BYTES[name] * 8000 < 100, name
