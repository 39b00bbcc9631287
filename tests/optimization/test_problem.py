"""Targets, losses of a canvas and learning rates, against float64 numpy and by integers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import OTHER_VALUES, QUICK, SHALLOW, relative_rms, slim_params
from evaluation import losses_with_gradient, rows_of
from numpy_network import numpy_features

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization.optimizer import learning_rate
from jaxstyle.optimization.problem import Problem, canvas_losses, make_problem, resolve
from jaxstyle.optimization.targets import Program
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import STYLE_LOSS_NAMES, Recipe, program_names


def problem_of(params, content, style, name: str = "book", **changes) -> Problem:
    """Returns the problem of a preset, at the pictures' own sizes."""
    recipe, hyper = preset(name, **changes)
    canvases = [normalize(picture) for picture in (content, style)]
    return make_problem(prepare(params), *canvases, recipe=recipe, hyper=hyper)


@functools.partial(jax.jit, static_argnames="recipe", compiler_options=QUICK)
def evaluated(kernels, content, style, canvas, hyper, *, recipe):
    """Returns the losses of a canvas and the gradient of their total, as one program."""
    problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper)
    return losses_with_gradient(canvas, problem)


def numpy_losses(params, content, style, canvas, *, content_layer, style_layers, pool=np.max):
    """The book's weighted content, style and total variation, in float64."""
    maps = [numpy_features(params, normalize(picture), pool) for picture in (content, style)]
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
    canvas = normalize(content[::-1])
    expected = numpy_losses(
        params, content, style, canvas, content_layer=content_layer, style_layers=style_layers
    )
    found = jax.jit(canvas_losses)(canvas, problem)
    assert rows_of(found) == pytest.approx([*expected, sum(expected)], rel=1e-5)


def test_layer_weights_multiply(params, content, style) -> None:
    """Style is linear in its layers' weights: alone with weight 2, twice alone with weight 1."""
    canvas = normalize(content[::-1])
    losses = jax.jit(canvas_losses)
    changes = SHALLOW | {"style_layers": ("relu2_1",)}
    one = losses(canvas, problem_of(params, content, style, **changes))
    changes |= {"style_layer_weights": (2.0,)}
    two = losses(canvas, problem_of(params, content, style, **changes))
    assert float(two.terms["style"]) == 2 * float(one.terms["style"])
    assert float(two.terms["content"]) == float(one.terms["content"])


def test_gradient_points_downhill_under_jit_and_vmap(params, content, style) -> None:
    problem = problem_of(params, content, style, **SHALLOW)
    total = jax.jit(lambda canvas: canvas_losses(canvas, problem).total)
    canvases = jnp.stack([normalize(each) for each in (content[::-1], content[:, ::-1])])
    gradients = jax.jit(jax.vmap(jax.grad(total)))(canvases)
    for canvas, gradient in zip(canvases, gradients, strict=True):
        assert relative_rms(gradient, jax.jit(jax.grad(total))(canvas)) < 1e-5
        assert total(canvas - 1e-3 * jnp.sign(gradient)) < total(canvas)


def test_last_layer_is_resolved_by_architecture() -> None:
    recipe, _ = preset("book")
    for architecture, last in (("vgg16", "relu4_3"), ("vgg19", "relu4_4")):
        assert resolve(recipe, prepare(slim_params(architecture))).content_layers == (last,)


def test_every_mark_has_a_field_in_the_program() -> None:
    assert {*program_names(), "terms", "rows"} == set(Program._fields)


@pytest.mark.parametrize("name", field_names(Recipe))
def test_the_marked_fields_alone_change_the_program(name: str) -> None:
    """A problem's structure is what jit looks at, besides the shapes and types of its arrays."""
    recipe, hyper = preset("book")
    found = []
    for each in (recipe, dataclasses.replace(recipe, **{name: OTHER_VALUES[name]})):
        program = resolve(each, slim_params("vgg19"))
        problem = Problem(kernels={}, targets=None, hyper=hyper, program=program, steps=each.steps)
        found.append(jax.tree.structure(problem))
    assert getattr(recipe, name) != OTHER_VALUES[name]
    assert (found[0] != found[1]) == (name in program_names())


def test_relative_losses_equal_numpy(params, content, style) -> None:
    """Content 2 * (3 d + d') / 4 of mean squares by the photo's own; style 5 * (d + 2 d') / 3."""
    changes = {"content_layers": ("relu2_1", "relu3_1"), "content_layer_weights": (3.0, 1.0)}
    changes |= {"style_layers": ("relu1_1", "relu2_2"), "style_layer_weights": (1.0, 2.0)}
    changes |= {"balance": "relative", "content_weight": 2.0, "style_weight": 5.0}
    problem = problem_of(params, content, style, tv_weight=0.0, **changes)
    canvas = normalize(resize(style, content.shape[:2], resampling="lanczos"))
    found = canvas_losses(canvas, problem).terms
    photo, painting, painted = (
        numpy_features(params, each, np.max)
        for each in (normalize(content), normalize(style), canvas)
    )

    def second_moment(feature_map):
        flat = feature_map.reshape(-1, feature_map.shape[-1])
        return flat.T @ flat / len(flat)

    def parts(made, wanted):
        return np.sum((made - wanted) ** 2) / np.sum(wanted**2)

    content_parts = [parts(painted[tap], photo[tap]) for tap in changes["content_layers"]]
    style_parts = [
        parts(second_moment(painted[tap]), second_moment(painting[tap]))
        for tap in changes["style_layers"]
    ]
    content_loss, style_loss = float(found["content"]), float(found["style"])
    assert content_loss == pytest.approx(2 * np.dot([0.75, 0.25], content_parts), rel=1e-5)
    assert style_loss == pytest.approx(5 * np.dot([1, 2], style_parts) / 3, rel=1e-5)


def test_relative_losses_do_not_depend_on_the_scale_of_the_network(params, content, style) -> None:
    """All ReLUs are three times as strong if the first layer and all biases are."""
    stronger = {
        name: {
            "kernel": layer["kernel"] * (3 if name == "conv1_1" else 1),
            "bias": 3 * layer["bias"],
        }
        for name, layer in params.items()
    }
    canvas = normalize(resize(style, content.shape[:2], resampling="lanczos"))
    pictures = normalize(content), normalize(style)
    for style_loss in STYLE_LOSS_NAMES:
        recipe, hyper = preset("book", balance="relative", style_loss=style_loss, **SHALLOW)
        losses = [
            rows_of(
                evaluated(prepare(each, conv="direct"), *pictures, canvas, hyper, recipe=recipe)[0]
            )
            for each in (params, stronger)
        ]
        np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3, err_msg=style_loss)


@pytest.mark.parametrize("color", [0, 128, 255])
@pytest.mark.parametrize("style_loss", STYLE_LOSS_NAMES)
def test_a_flat_photo_and_a_flat_style_have_finite_gradients(params, color, style_loss) -> None:
    recipe, hyper = preset("book", balance="relative", style_loss=style_loss)
    flat = normalize(np.full((40, 36, 3), color, np.uint8))
    other = normalize(np.full((40, 36, 3), 255 - color, np.uint8))
    for style in (flat, other):
        kernels = prepare(params, conv="direct")
        losses, gradient = evaluated(kernels, flat, style, flat, hyper, recipe=recipe)
        assert np.isfinite(rows_of(losses)).all()
        assert np.isfinite(gradient).all()


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


@pytest.mark.parametrize(("brightness", "factor"), [(1.0, 1.0), (0.9, 0.6561), (0.1, 0.25)])
def test_content_power_multiplies_by_the_energies_ratio(content, brightness, factor) -> None:
    """A feature is a pixel's red: of a photo with 0.9 times the painting's, 0.81, squared.

    Below a half the ratio counts as a half, squared a quarter.
    """
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[1, 1, 0] = 1
    params = {"conv1_1": {"kernel": kernel, "bias": np.zeros(4, np.float32)}}
    painting = np.abs(normalize(content))
    changes = {"content_layers": ("relu1_1",), "style_layers": ("relu1_1",), "balance": "relative"}
    values = []
    for power in (0.0, 2.0):
        recipe, hyper = preset("book", **changes, content_power=power)
        photo = np.float32(brightness) * painting
        problem = make_problem(prepare(params), photo, painting, recipe=recipe, hyper=hyper)
        values.append(float(canvas_losses(painting + 1, problem).terms["content"]))
    assert values[1] / values[0] == pytest.approx(factor, rel=1e-4)
