"""Strips of rows: in float64 the plain losses and gradients, to 1e-12."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXAMPLES, QUICK, relative_rms, slim_params
from evaluation import losses_with_gradient, rows_of

from jaxstyle.images import picture_file
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.losses.statistics import Moments
from jaxstyle.losses.style import gram
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import block_of
from jaxstyle.optimization import strip_loop, strips
from jaxstyle.optimization.problem import make_problem
from jaxstyle.optimization.targets import Program, picture_sums
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
        return losses_with_gradient(canvas, problem)

    return evaluate(prepare(params, conv=recipe.conv), canvas_of("strokes", size), *pictures)


MASKED = Program((), ("relu1_1", "conv2_2"), "avg", "step")


def masks_of(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Returns masks for MASKED's layers: 1 at the left, 0 at the right, between them fractions."""
    random, masks = np.random.default_rng(3), {}
    for tap in MASKED.style_layers:
        height, width = (side >> (block_of(tap) - 1) for side in size)
        fractions = random.uniform(-1, 2, (height, width)) + np.linspace(1, -1, width)
        masks[tap] = np.clip(fractions, 0, 1)
    return masks


@functools.partial(jax.jit, static_argnames="program", compiler_options=QUICK)
def halves(kernels, canvas, masks, *, program: Program):
    """Returns the moments of the whole, of the masks and of their rest, and a gradient.

    The gradient is that of a sum of squares of what the losses make of the masks' moments.
    """

    def moments_of(canvas, weights):
        return picture_sums(kernels, canvas, {}, program=program, weights=weights).style

    def squares(canvas):
        parts = [(gram(m), m.sum / m.positions) for m in moments_of(canvas, masks).values()]
        return sum(jnp.sum(jnp.square(each)) for part in parts for each in part)

    rest = {tap: 1 - each for tap, each in masks.items()}
    found = [moments_of(canvas, weights) for weights in (None, masks, rest)]
    return found, jax.grad(squares)(canvas)


def farthest(found: dict[str, Moments], expected: dict[str, Moments]) -> float:
    """Returns the largest of the relative differences of any sums of any layers."""
    differences = jax.tree.map(relative_rms, found, expected)
    return max(jax.tree.leaves(differences))


def test_masked_sums_add_up_and_are_the_plain_ones(monkeypatch, double_precision) -> None:
    """In float64, to 1e-12, of a picture whose last strip reaches below it."""
    monkeypatch.setattr(
        "jaxstyle.optimization.targets.strip_sums", functools.partial(strips.strip_sums, rows=8)
    )
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params("vgg16"))
    kernels, canvas = prepare(params, conv="direct"), canvas_of("strokes", (45, 38))
    plain, plain_gradient = halves(kernels, canvas, masks_of((45, 38)), program=MASKED)
    in_strips = MASKED._replace(memory="strips")
    found, gradient = halves(kernels, canvas, masks_of((45, 38)), program=in_strips)
    for whole, masked, rest in (plain, found):
        assert farthest(jax.tree.map(jnp.add, masked, rest), whole) < 1e-12
    assert max(map(farthest, found, plain)) < 1e-12
    assert relative_rms(gradient, plain_gradient) < 1e-12


@pytest.mark.parametrize(
    ("size", "architecture", "rows", "changes"),
    [
        pytest.param((75, 50), "vgg19", 16, BOOK, marks=pytest.mark.slow),
        pytest.param((75, 50), "vgg16", 8, MXNET, marks=pytest.mark.slow),
        pytest.param((301, 33), "vgg19", 64, {**MXNET, "pooling": "avg"}, marks=pytest.mark.slow),
        ((64, 48), "vgg19", 4, {"name": "default"}),
        ((64, 48), "vgg19", 500, EARLY),
        pytest.param(
            *((45, 38), "vgg19", 8, {**PAINTER, "style_loss": "covariance", "pooling": "l2"}),
            marks=pytest.mark.slow,
        ),
        *(
            pytest.param(
                *((45, 38), "vgg19", 8, {**PAINTER, **UPPER, "style_loss": loss}),
                marks=pytest.mark.slow,
            )
            for loss in ("wasserstein", "gram+mean-std")
        ),
        pytest.param((64, 48), "vgg16", 22, {**FIRST, "conv": "winograd"}, marks=pytest.mark.slow),
        pytest.param(
            *((64, 48), "vgg16", 22, {**BOOK, **UPPER, "conv": "winograd"}), marks=pytest.mark.slow
        ),
    ],
)
def test_losses_and_gradients_are_the_plain_ones(
    monkeypatch, double_precision, size, architecture, rows, changes
) -> None:
    for name in ("strip_sums", "strip_features"):
        cut = functools.partial(getattr(strips, name), rows=rows)
        monkeypatch.setattr(f"jaxstyle.optimization.targets.{name}", cut)
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params(architecture))
    plain, plain_gradient = losses_and_gradient(params, size, memory="plain", **changes)
    found, gradient = losses_and_gradient(params, size, memory="strips", **changes)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(rows_of(found), rows_of(plain), rtol=1e-12)
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
    assert strip_loop.cut_rows(height, halo, rows)[2:] == expected
