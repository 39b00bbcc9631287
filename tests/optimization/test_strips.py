"""Strips of rows: in float64 the plain losses and gradients, to 1e-12."""

import functools

import jax
import numpy as np
import pytest
from conftest import EXAMPLES, QUICK, slim_params

from jaxstyle.images import picture_file
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization import strips
from jaxstyle.optimization.problem import canvas_losses, make_problem
from jaxstyle.settings.presets import preset

PAINTER = {"name": "book", "balance": "relative", "content_layers": ("relu3_1", "relu4_2")}
BOOK, MXNET = {"name": "book"}, {"name": "book-mxnet"}
EARLY = {"content_layers": ("conv1_1", "relu1_2"), "style_layers": ("relu2_2",)}
UPPER = {"content_layers": ("relu2_2",), "style_layers": ("relu1_1", "relu3_1")}
FIRST = {"content_layers": ("relu1_1",), "style_layers": ("conv1_2",)}


def canvas_of(name: str, size: tuple[int, int]) -> np.ndarray:
    picture = picture_file.load_picture(EXAMPLES / f"{name}.png")
    resized = resize(picture, size, resampling="bilinear")
    return normalize(resized).astype(np.float64)


def losses_and_gradient(params, size, **changes):
    """Of a canvas unlike the content, whose content loss is not 0."""
    recipe, hyper = preset(**changes)
    height, width = size
    pictures = canvas_of("coffee", size), canvas_of("strokes", (width + 5, height + 3))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def evaluate(kernels, canvas, content, style):
        problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper)

        def total(canvas):
            losses = canvas_losses(canvas, problem)
            return losses.total, losses

        (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(canvas)
        return losses, gradient

    return evaluate(prepare(params, conv=recipe.conv), canvas_of("strokes", size), *pictures)


@pytest.mark.parametrize(
    ("size", "architecture", "rows", "changes"),
    [
        ((75, 50), "vgg19", 16, BOOK),
        ((75, 50), "vgg16", 8, MXNET),
        ((301, 33), "vgg19", 64, {**MXNET, "pooling": "avg"}),
        ((64, 48), "vgg19", 4, {"name": "default"}),
        ((64, 48), "vgg19", 500, EARLY),
        ((45, 38), "vgg19", 8, {**PAINTER, "style_loss": "covariance", "pooling": "l2"}),
        ((45, 38), "vgg19", 8, {**PAINTER, **UPPER, "style_loss": "wasserstein"}),
        ((45, 38), "vgg16", 8, {**PAINTER, **UPPER, "style_loss": "gram+mean-std"}),
        pytest.param((64, 48), "vgg16", 22, {**FIRST, "conv": "winograd"}, marks=pytest.mark.slow),
        pytest.param((64, 48), "vgg16", 22, {**BOOK, "conv": "winograd"}, marks=pytest.mark.slow),
    ],
)
def test_losses_and_gradients_are_the_plain_ones(
    monkeypatch, double_precision, size, architecture, rows, changes
) -> None:
    for name in ("strip_sums", "strip_features"):
        cut = functools.partial(getattr(strips, name), rows=rows)
        monkeypatch.setattr(f"jaxstyle.optimization.problem.{name}", cut)
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params(architecture))
    plain, plain_gradient = losses_and_gradient(params, size, memory="plain", **changes)
    found, gradient = losses_and_gradient(params, size, memory="strips", **changes)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(found, plain, rtol=1e-12)
    atol = 1e-12 * np.abs(plain_gradient).max()
    np.testing.assert_allclose(gradient, plain_gradient, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("height", "halo", "rows", "expected"),
    [
        (2048, 2, 64, (32, 64)),
        (75, 2, 64, (2, 38)),  # 37.5 rows, made even
        (37, 4, 64, (1, 38)),
        (9, 4, 2, (3, 4)),  # not fewer than the halo
        (4, 3, 2, (1, 4)),
    ],
)
def test_strips_are_even_and_cover_the_picture(height, halo, rows, expected) -> None:
    assert strips.cut_rows(height, halo, rows)[2:] == expected
