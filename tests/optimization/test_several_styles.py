"""Several styles of one run: their statistics blended, or the distances to each added up."""

import functools

import jax
import numpy as np
import pytest
from conftest import QUICK, relative_rms
from evaluation import losses_with_gradient
from numpy_network import numpy_features

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import normalize
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization import stepping, strips
from jaxstyle.optimization.problem import make_problem, style_shares
from jaxstyle.settings.presets import preset

LAYERS = ("relu1_2", "relu2_1")
SETTINGS = {"name": "book", "content_layers": ("relu2_1",), "style_layers": LAYERS}
SETTINGS |= {"conv": "direct", "style_weight": 1.0}


@functools.partial(jax.jit, static_argnames="recipe", compiler_options=QUICK)
def evaluated(kernels, content, styles, canvas, hyper, *, recipe):
    problem = make_problem(kernels, content, styles, recipe=recipe, hyper=hyper)
    return losses_with_gradient(canvas, problem)


def losses_of(params, content, styles, canvas, **changes):
    """Returns the losses of a canvas in float64, and the gradient of their total."""
    recipe, hyper = preset(**SETTINGS | changes)
    wide = jax.tree.map(np.float64, params)
    pictures = [np.float64(normalize(each)) for each in (content, *styles, canvas)]
    photo, *paintings, painted = pictures
    return evaluated(prepare(wide), photo, paintings, painted, hyper, recipe=recipe)


def grams(params, picture) -> dict[str, np.ndarray]:
    maps = numpy_features(params, normalize(picture), np.max)
    flat = {layer: maps[layer].reshape(-1, maps[layer].shape[-1]) for layer in LAYERS}
    return {layer: each.T @ each / each.size for layer, each in flat.items()}


def distance(one, other) -> float:
    return sum(np.mean((one[layer] - other[layer]) ** 2) for layer in LAYERS)


@pytest.fixture
def pictures(content, style):
    """A photo, two paintings of other sizes, and a canvas."""
    return content[:24, :28], [style[:20, :36], content[10:42, 5:29, ::-1]], content[8:32, 4:32]


@pytest.mark.parametrize("memory", ["plain", "strips"])
@pytest.mark.usefixtures("double_precision")
def test_a_blend_is_one_style_with_the_weighted_mean_of_the_gram_matrices(
    params, pictures, memory, monkeypatch
) -> None:
    short = functools.partial(strips.strip_sums, rows=8)
    monkeypatch.setattr("jaxstyle.optimization.targets.strip_sums", short)
    photo, paintings, canvas = pictures
    found, _ = losses_of(params, photo, paintings, canvas, memory=memory, style_weights=(3.0, 1.0))
    one, other = (grams(params, each) for each in paintings)
    blend = {layer: 0.75 * one[layer] + 0.25 * other[layer] for layer in LAYERS}
    assert found.terms["style"] == pytest.approx(distance(grams(params, canvas), blend), rel=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_a_sum_adds_the_weighted_distances_to_each(params, pictures) -> None:
    photo, paintings, canvas = pictures
    settings = {"style_mix": "sum", "style_weights": (3.0, 1.0)}
    found, _ = losses_of(params, photo, paintings, canvas, **settings)
    painted = grams(params, canvas)
    one, other = (distance(painted, grams(params, each)) for each in paintings)
    assert found.terms["style"] == pytest.approx(0.75 * one + 0.25 * other, rel=1e-10)
    assert abs(one - other) > 0.1 * one


@pytest.mark.parametrize("mix", ["blend", "sum"])
@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.usefixtures("double_precision")
def test_two_equal_styles_are_one(params, pictures, mix, style_loss) -> None:
    photo, (painting, _), canvas = pictures
    given = {"style_loss": style_loss, "balance": "relative", "content_power": 1.0}
    alone, gradient = losses_of(params, photo, [painting], canvas, **given)
    twice, other = losses_of(params, photo, [painting] * 2, canvas, style_mix=mix, **given)
    np.testing.assert_allclose(twice.total, alone.total, rtol=1e-9)
    assert relative_rms(other, gradient) < 1e-7


@pytest.mark.usefixtures("double_precision")
def test_a_weight_below_zero_leads_away(params, pictures) -> None:
    photo, paintings, canvas = pictures
    settings = {"style_weights": (3.0, -1.0), "extrapolate": True}
    found, _ = losses_of(params, photo, paintings, canvas, **settings)
    one, other = (grams(params, each) for each in paintings)
    blend = {layer: 1.5 * one[layer] - 0.5 * other[layer] for layer in LAYERS}
    assert found.terms["style"] == pytest.approx(distance(grams(params, canvas), blend), rel=1e-10)


def test_a_new_blend_compiles_nothing_and_a_sweep_paints_the_same(params, content, style) -> None:
    """By L-BFGS: where the gradient is nothing, Adam makes a whole step of its rounding."""
    settings = {**SETTINGS, "size": (20, 20), "steps": 3, "style_weight": 100.0}
    settings |= {"optimizer": "lbfgs"}
    recipe, _ = preset(**settings)
    hypers = [preset(**settings, style_weights=each)[1] for each in ((1.0, 0.0), (1.0, 3.0))]
    paintings = [style, content[::-1]]
    pictures = []
    for hyper in hypers:
        given = {"recipe": recipe, "hyper": hyper}
        pictures.append(jaxstyle.stylize(params, content, styles=paintings, **given))
        if len(pictures) == 1:
            known = stepping._run_steps._cache_size()
    assert stepping._run_steps._cache_size() == known
    assert np.abs(pictures[1] - pictures[0]).max() > 0.01
    alone = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=preset(**settings)[1])
    np.testing.assert_allclose(pictures[0], alone, atol=1e-4)
    swept = jaxstyle.sweep(params, content, [tuple(paintings)], recipe=recipe, hypers=hypers)
    for each in swept:
        np.testing.assert_array_equal(each.picture, pictures[each.number])


def test_either_a_style_or_several_are_given(params, content, style) -> None:
    for given in ({}, {"style": style, "styles": [style]}):
        with pytest.raises(InputError, match="give either style, a picture, or styles, a list"):
            jaxstyle.stylize(params, content, **given)


def test_there_are_as_many_weights_as_styles() -> None:
    assert style_shares((), 4) == (0.25,) * 4
    assert style_shares((2.0, 6.0), 2) == (0.25, 0.75)
    assert style_shares((5.0,), 1) == ()
    with pytest.raises(InputError, match="style_weights are 3 numbers for 2 style pictures"):
        style_shares((1.0, 1.0, 1.0), 2)


@pytest.mark.parametrize(
    ("weights", "told"),
    [((1.0, -1.0), "style_weights must be 0 or more"), ((0.0, 0.0), "must have a sum above 0")],
)
def test_weights_that_mean_nothing_are_refused(weights, told) -> None:
    with pytest.raises(InputError, match=told):
        preset(style_weights=weights)
