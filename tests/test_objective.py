"""Targets, losses of a canvas and learning rates, against float64 numpy and by integers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHALLOW, relative_rms, slim_params
from test_vgg import numpy_features

from jaxstyle import images
from jaxstyle.conv import prepare
from jaxstyle.errors import InputError
from jaxstyle.objective import (
    Problem,
    Program,
    canvas_losses,
    learning_rate,
    make_problem,
    resolve,
)
from jaxstyle.presets import preset
from jaxstyle.recipe import Hyperparams


def problem_of(params, content, style, name: str = "book", **changes) -> Problem:
    """Returns the problem of a preset, at the pictures' own sizes."""
    recipe, hyper = preset(name, **changes)
    canvases = [images.normalise(picture) for picture in (content, style)]
    return make_problem(prepare(params), *canvases, recipe=recipe, hyper=hyper)


def numpy_losses(params, content, style, canvas, *, content_layer, style_layers, pool=np.max):
    """The book's weighted content, style and total variation, in float64."""
    maps = [numpy_features(params, images.normalise(picture), pool) for picture in (content, style)]
    painted = numpy_features(params, canvas, pool)

    def gram(feature_map):
        flat = feature_map.reshape(-1, feature_map.shape[-1])
        return flat.T @ flat / flat.size

    x = np.asarray(canvas, np.float64)
    differences = [np.abs(np.diff(x, axis=axis)).mean() for axis in (0, 1)]
    return [
        np.mean((painted[content_layer] - maps[0][content_layer]) ** 2),
        1e4 * sum(np.mean((gram(painted[k]) - gram(maps[1][k])) ** 2) for k in style_layers),
        10 * 0.5 * sum(differences),
    ]


@pytest.mark.parametrize(
    ("name", "content_layer", "style_layers"),
    [
        ("book", "relu4_4", ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1"]),
        ("book-mxnet", "conv4_4", ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]),
    ],
)
def test_losses_equal_numpy(params, content, style, name, content_layer, style_layers) -> None:
    problem = problem_of(params, content, style, name)
    canvas = images.normalise(content[::-1])
    expected = numpy_losses(
        params, content, style, canvas, content_layer=content_layer, style_layers=style_layers
    )
    found = jax.jit(canvas_losses)(canvas, problem)
    for value, target in zip(found, [*expected, sum(expected)], strict=True):
        assert float(value) == pytest.approx(target, rel=1e-5)


def test_layer_weights_multiply(params, content, style) -> None:
    """Style is linear in its layers' weights: alone with weight 2, twice alone with weight 1."""
    canvas = images.normalise(content[::-1])
    losses = jax.jit(canvas_losses)
    changes = SHALLOW | {"style_layers": ("relu2_1",)}
    one = losses(canvas, problem_of(params, content, style, **changes))
    changes |= {"style_layer_weights": (2.0,)}
    two = losses(canvas, problem_of(params, content, style, **changes))
    assert float(two.style) == 2 * float(one.style)
    assert float(two.content) == float(one.content)


def test_gradient_points_downhill_under_jit_and_vmap(params, content, style) -> None:
    problem = problem_of(params, content, style, **SHALLOW)
    total = jax.jit(lambda canvas: canvas_losses(canvas, problem).total)
    canvases = jnp.stack([images.normalise(each) for each in (content[::-1], content[:, ::-1])])
    gradients = jax.jit(jax.vmap(jax.grad(total)))(canvases)
    for canvas, gradient in zip(canvases, gradients, strict=True):
        assert relative_rms(gradient, jax.jit(jax.grad(total))(canvas)) < 1e-5
        assert total(canvas - 1e-3 * jnp.sign(gradient)) < total(canvas)


def test_last_layer_is_resolved_by_architecture() -> None:
    recipe, _ = preset("book")
    for architecture, last in (("vgg16", "relu4_3"), ("vgg19", "relu4_4")):
        assert resolve(recipe, prepare(slim_params(architecture))).content_layers == (last,)


def test_layer_that_the_weights_lack(params, content, style) -> None:
    with pytest.raises(InputError, match=r"vgg19 up to conv5_1.* have no layer relu5_2"):
        problem_of(params, content, style, content_layers=("relu5_2",))


def schedule_of(hyper: Hyperparams, schedule: str = "step", first_step: int = 0) -> Problem:
    """Returns a problem of which only the learning rate is of interest."""
    program = Program((), (), "max", schedule)
    given = {"first_step": first_step, "steps": 1000 - first_step}
    return Problem(kernels={}, targets=None, hyper=hyper, program=program, **given)


@jax.jit
def rates(problem: Problem) -> jax.Array:
    return jax.vmap(functools.partial(learning_rate, problem=problem))(jnp.arange(1000))


def test_step_schedule_equals_its_integer_definition_for_every_interval() -> None:
    """0.3 * 0.8 ** (step // every) for 200 intervals, traced: one compilation for all.

    Up to 250 drops: after some 390, 0.8 ** n is too small for float32.
    """
    for every in range(1, 201):
        found = np.asarray(rates(schedule_of(Hyperparams(decay_every=every))))
        steps = np.arange(min(1000, 250 * every))
        expected = 0.3 * 0.8 ** (steps // every).astype(np.float64)
        np.testing.assert_allclose(found[steps], expected, rtol=1e-5)
        drops = np.flatnonzero(np.diff(found[steps])) + 1
        np.testing.assert_array_equal(drops, steps[1:][steps[1:] % every == 0])
    assert rates._cache_size() == 1


def test_cosine_schedule_by_hand() -> None:
    """From 0.3 at the first step through half of it in the middle, towards 0."""
    found = rates(schedule_of(Hyperparams(), schedule="cosine"))
    assert float(found[0]) == pytest.approx(0.3)
    assert float(found[500]) == pytest.approx(0.15)
    assert float(found[250]) == pytest.approx(0.15 * (1 + np.sqrt(0.5)))
    assert 0 < float(found[999]) < 1e-5


def test_hold_cosine_by_hand() -> None:
    """0.3 for two thirds of the steps, half of it in the middle of the last third, towards 0."""
    found = np.asarray(rates(schedule_of(Hyperparams(), schedule="hold-cosine")))
    np.testing.assert_allclose(found[:667], 0.3, rtol=1e-6)
    assert 0.2999 < found[668] < 0.3
    assert found[833] == pytest.approx(0.15, rel=4e-3)  # 0.499 of the way
    assert 0 < found[999] < 1e-5


def test_cosine_begins_anew_at_every_size() -> None:
    found = rates(schedule_of(Hyperparams(), schedule="cosine", first_step=200))
    assert float(found[200]) == pytest.approx(0.3)
    assert float(found[600]) == pytest.approx(0.15)


def test_two_names_of_one_layer_are_refused() -> None:
    recipe, _ = preset("book", content_layers=("conv4_last", "conv4_4"))
    with pytest.raises(InputError, match="name conv4_4 twice"):
        resolve(recipe, prepare(slim_params("vgg19")))
