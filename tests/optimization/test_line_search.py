"""The line search: strong Wolfe conditions by numpy, by hand, and in the engine."""

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
from jaxstyle.optimization import stepping
from jaxstyle.optimization.line_search import CURVATURE, SUFFICIENT, search, search_state
from jaxstyle.optimization.optimizer import initial_state, shown
from jaxstyle.settings.presets import preset

SEARCHED = {**SHALLOW, "line_search": "zoom", "history": 3}


def evaluations(loss, start: np.ndarray, count: int):
    """Yields canvas, state before and after each of so many evaluations."""
    canvas = jnp.asarray(start)
    state = search_state(canvas, 3)
    step = jax.jit(search, compiler_options=QUICK)
    of = jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)
    for _ in range(count):
        value, gradient = of(canvas)
        following, after = step(value, gradient, state, canvas, jnp.ones_like(value))
        yield canvas, state, after
        canvas, state = following, after


def valley(x: jax.Array) -> jax.Array:
    """Rosenbrock's function of all neighbours."""
    x = x.reshape(-1)
    return jnp.sum(100 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(1 - x[:-1]))


def test_the_first_steps_by_hand(double_precision) -> None:
    """Half of |x|^2 from 4: the first direction is -1, and 3 will do; then its curvature, 1."""
    start = np.zeros((1, 1, 3))
    start[0, 0, 0] = 4
    found = evaluations(lambda x: 0.5 * jnp.sum(x**2), start, 4)
    assert [float(canvas[0, 0, 0]) for canvas, *_ in found] == pytest.approx([4, 3, 0, 0])


def test_what_is_accepted_meets_the_strong_wolfe_conditions(double_precision) -> None:
    """By numpy, along a curved valley, where many a try is not accepted; and it ends at 0."""
    start = np.array([-1.2, 1.0, -0.5, 0.8, 1.1, -0.9]).reshape(1, 2, 3)
    gradient_of = jax.grad(valley)
    refused = accepted = 0
    for canvas, before, after in evaluations(valley, start, 110):
        if before.memory.evaluations == 0 or float(before.start.value) < 1e-20:
            continue
        if not np.array_equal(after.memory.place, canvas):
            refused += 1
            continue
        accepted += 1
        place, direction = (np.asarray(each) for each in (before.memory.place, before.direction))
        slopes = [float(np.sum(np.asarray(gradient_of(x)) * direction)) for x in (place, canvas)]
        t = float(before.t)
        enough = float(valley(place)) + SUFFICIENT * t * slopes[0]
        assert float(valley(canvas)) <= enough + 1e-12
        assert slopes[0] < 0
        assert abs(slopes[1]) <= -CURVATURE * slopes[0] * (1 + 1e-9)
    assert accepted > 20
    assert refused > 5
    assert float(valley(after.memory.place)) < 1e-10


def test_a_gradient_that_is_not_finite_is_told() -> None:
    canvas = jnp.zeros((1, 1, 3))
    state = search_state(canvas, 2)
    gradient = jnp.array([[[1.0, np.nan, 0.0]]])
    one = jnp.float32(1)
    _, state = jax.jit(search, compiler_options=QUICK)(one, gradient, state, canvas, one)
    assert not np.isfinite(state.slope)


def test_it_goes_on_bit_for_bit_and_shows_what_was_accepted(params, content, style) -> None:
    """From the host's copy of a state in the midst of a search; the loss shown never rises."""
    pictures = content[:24, :20], style[:24, :20]
    problem = problem_of(params, *pictures, **SEARCHED, steps=12)
    start, totals = normalize(pictures[0]), []
    for chunk in stepping.steps(problem, initial_state(start), pause_every=1):
        if chunk.closing is None:
            totals.append(float(stepping.losses_of(np.array(shown(chunk.state)), problem).total))
        if int(chunk.state.step) == 6:
            kept = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), chunk.state)
    assert np.all(np.diff(totals) <= 0)
    assert float(chunk.closing.total) <= totals[-1] < 0.98 * totals[0]
    *_, last = stepping.steps(problem, kept)
    np.testing.assert_array_equal(last.state.canvas, chunk.state.canvas)
    assert relative_rms(last.state.canvas, start) > 0.01


def test_it_paints_in_a_sweep_to_the_same_bits(params, content, style) -> None:
    settings = {**SEARCHED, "conv": "direct", "size": (24, 20), "steps": 5}
    recipe, hyper = preset("book", **settings)
    picture = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, picture)


def test_its_direction_counts_as_memory() -> None:
    sides = (1000, 1000), (1000, 1000)
    without, there = (
        memory.memory_of(*sides, recipe=preset(**changes)[0], mode="plain")
        for changes in ({"optimizer": "lbfgs"}, {"line_search": "zoom"})
    )
    assert there - without == 12 * 1000 * 1000


def test_what_does_not_go_together_is_refused_in_one_line() -> None:
    recipe, hyper = preset("default", line_search="zoom")
    assert (recipe.optimizer, recipe.tv_step, recipe.clip) == ("lbfgs", "gradient", False)
    assert hyper.learning_rate == 1
    with pytest.raises(InputError, match="line_search 'zoom' is for optimizer 'lbfgs'"):
        preset(line_search="zoom", optimizer="adam")
    with pytest.raises(InputError, match="neither clip nor an average"):
        preset(line_search="zoom", clip=True)
    with pytest.raises(InputError, match="carry is for optimizer 'adam', got 'lbfgs'"):
        preset("gatys", carry=True)
    with pytest.raises(InputError, match="tv_form 'squared' has no proximal steps"):
        preset(tv_form="squared", tv_step="proximal")
    with pytest.raises(InputError, match="units 'caffe' are for balance 'book'"):
        preset(units="caffe")
