"""The presets of the field: each loss is that of an independent program, as it was published."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK, SHALLOW, relative_rms
from evaluation import losses_with_gradient

from jaxstyle.images.canvas import normalize
from jaxstyle.losses.variation import VARIATIONS
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import block_of
from jaxstyle.network.vgg import features
from jaxstyle.optimization.problem import make_problem
from jaxstyle.optimization.rows import shared_features
from jaxstyle.settings.presets import PRESETS, preset

REFERENCES = Path(__file__).parents[1] / "references"

CROPS = {"content": (41, 55), "style": (58, 47), "second": (41, 55)}
"""Those of scripts/make_preset_references.py, which recorded what the published programs say."""

TOLERANCES = {"gatys": (1e-6, 1e-6), "crowson": (3e-3, 3e-3), "spst": (1e-3, 1e-3)}
"""Of terms and gradient. style-transfer-pytorch adds 1e-4 to variances and we a part of the
style's own; SPST divides by deviations that may be 0, to which we add a part likewise."""


@pytest.fixture(scope="module")
def slim() -> dict[str, Any]:
    """Returns the slim network of scripts/make_preset_references.py, in float64, and pictures."""
    with np.load(REFERENCES / "vgg19-slim-book.npz") as arrays:
        names = {name.split("/")[1] for name in arrays.files if name.startswith("weights/")}
        params = {
            name: {
                "kernel": arrays[f"weights/{name}/kernel"].transpose(2, 3, 1, 0).astype(float),
                "bias": arrays[f"weights/{name}/bias"].astype(float),
            }
            for name in names
        }
        pictures = {
            name: np.asarray(normalize(arrays[f"pictures/{name}"][:height, :width]), float)
            for name, (height, width) in CROPS.items()
        }
    return {"params": params, **pictures}


def evaluated(slim, name: str, **changes):
    """Returns the losses of the second picture, and their gradient."""
    recipe, hyper = preset(name, conv="direct", **changes)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def evaluate(kernels, canvas, content, style):
        problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper)
        return losses_with_gradient(canvas, problem)

    pictures = (slim[name] for name in ("second", "content", "style"))
    return evaluate(prepare(slim["params"], conv="direct"), *pictures)


@pytest.mark.parametrize("name", TOLERANCES)
def test_losses_are_those_of_the_published_program(name: str, slim, double_precision) -> None:
    of_terms, of_gradient = TOLERANCES[name]
    losses, gradient = evaluated(slim, name)
    with np.load(REFERENCES / "presets.npz") as arrays:
        for term, value in losses.terms.items():
            assert float(value) == pytest.approx(float(arrays[f"{name}/{term}"]), rel=of_terms)
        assert relative_rms(gradient[::2, ::2], arrays[f"{name}/gradient"]) < of_gradient


def test_they_are_the_same_in_strips(slim, double_precision) -> None:
    """With a replicated border, to 1e-12; strips of other heights share rows at both ends."""
    plain, strips = (
        evaluated(slim, "crowson", memory=mode, style_loss="gram", **SHALLOW)
        for mode in ("plain", "strips")
    )
    assert float(strips[0].total) == pytest.approx(float(plain[0].total), rel=1e-12)
    assert relative_rms(strips[1], plain[1]) < 1e-12


@pytest.mark.parametrize("form", VARIATIONS)
def test_variation_leaves_padding_out(form: str, slim, double_precision) -> None:
    """As on several devices: the value and its gradient are the picture's own."""
    canvas = jnp.asarray(slim["second"][:9, :7])
    padded = jnp.pad(canvas, ((0, 7), (0, 0), (0, 0)))

    @functools.partial(jax.jit, static_argnames="height", compiler_options=QUICK)
    def with_gradient(x: jax.Array, height: int | None = None):
        return jax.value_and_grad(functools.partial(VARIATIONS[form], height=height))(x)

    value, gradient = with_gradient(canvas)
    found, its_gradient = with_gradient(padded, 9)
    assert float(found) == pytest.approx(float(value), rel=1e-13)
    np.testing.assert_allclose(its_gradient[:9], gradient, atol=1e-13 * float(value))
    assert not np.asarray(its_gradient[9:]).any()


def test_variations_by_hand() -> None:
    """One black pixel in the corner of white ones."""
    canvas = np.ones((2, 2, 3), np.float32)
    canvas[0, 0] = 0
    assert float(VARIATIONS["squared"](jnp.asarray(canvas))) == pytest.approx(3 * 255**2, rel=1e-5)
    # straight: one of four pixels each way; with the border the corner is black four times, and
    # of nine windows three along one diagonal and two along the other have it at one end alone
    expected = 2 * (2 / 4 / 3 + (3 + 2) / 9 / 12)
    found = float(VARIATIONS["nine-point"](jnp.asarray(canvas)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_replicated_border_is_the_picture_padded_before(slim, double_precision) -> None:
    """The first layer sees the outermost pixels once more; below a picture lies no padding."""
    kernels = prepare({"conv1_1": slim["params"]["conv1_1"]}, conv="direct")
    picture, taps = jnp.asarray(slim["second"][:11, :9]), ("conv1_1",)
    wide = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    padded = np.pad(picture, ((0, 5), (0, 0), (0, 0)))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def maps(kernels, picture, wide, padded):
        given: Any = {"taps": taps, "pooling": "max", "height": 11, "padding": "replicate"}
        return (
            features(kernels, picture, taps=taps, padding="replicate")["conv1_1"],
            features(kernels, wide, taps=taps)["conv1_1"][1:-1, 1:-1],
            features(kernels, picture, taps=taps)["conv1_1"],
            shared_features(kernels, padded, **given)["conv1_1"],
        )

    found, expected, other, shared = maps(kernels, picture, wide, padded)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    assert relative_rms(found, other) > 1e-3
    np.testing.assert_allclose(shared[:11], expected, atol=1e-14)
    assert not np.asarray(shared[11:]).any()


def test_their_settings_are_the_published_ones() -> None:
    recipe, hyper = preset("gatys")
    assert PRESETS["gatys"].init == "grey"
    assert (recipe.optimizer, recipe.history, recipe.steps, recipe.size) == (
        "lbfgs",
        100,
        1000,
        512,
    )
    weights = hyper.content_weight, hyper.style_weight, hyper.tv_weight
    assert (weights, recipe.units) == ((5, 100, 1e-3), "caffe")
    assert [block_of(layer) for layer in recipe.style_layers] == [1, 2, 3, 4, 5]
    recipe, hyper = preset("crowson")
    assert (hyper.content_weight, hyper.tv_weight, recipe.average) == (0.015, 2, 0.99)
    ratios = np.divide(hyper.style_layer_weights[:-1], hyper.style_layer_weights[1:])
    np.testing.assert_allclose(ratios, 4)
    assert sum(hyper.style_layer_weights) == pytest.approx(1)
    assert hyper.learning_rate == pytest.approx(0.02 / 0.226, rel=1e-3)
