"""Strips of rows: in float64 the plain losses and gradients, to 1e-12."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXAMPLES, relative_rms, slim_params

from jaxstyle import images, strips
from jaxstyle.conv import prepare
from jaxstyle.objective import canvas_losses, make_problem
from jaxstyle.presets import preset

SIZES = {"75x50": (75, 50), "301x33": (301, 33), "64x48": (64, 48)}


def canvas_of(name: str, size: tuple[int, int], dtype=np.float64):
    picture = images.load_picture(EXAMPLES / f"{name}.png")
    return images.normalise(images.resize(picture, size, resampling="bilinear")).astype(dtype)


def losses_and_gradient(params, size, **changes):
    """Of a canvas unlike the content, which would have no content loss."""
    recipe, hyper = preset(**changes)
    content, style = canvas_of("coffee", size), canvas_of("strokes", (size[1] + 5, size[0] + 3))
    problem = make_problem(
        prepare(params, conv=recipe.conv), content, style, recipe=recipe, hyper=hyper
    )

    def total(canvas, problem):
        losses = canvas_losses(canvas, problem)
        return losses.total, losses

    canvas = canvas_of("strokes", size)
    found = jax.jit(jax.value_and_grad(total, has_aux=True))(canvas, problem)
    return found[0][1], found[1]


CASES = [
    ("75x50", "vgg19", 16, {"name": "book"}),
    ("75x50", "vgg16", 8, {"name": "book-mxnet"}),
    ("301x33", "vgg19", 64, {"name": "book-mxnet", "pooling": "avg"}),
    ("301x33", "vgg16", 22, {"name": "book", "conv": "winograd"}),
    ("64x48", "vgg19", 4, {"name": "default"}),
    ("64x48", "vgg19", 500, {"content_layers": ("conv1_1", "relu1_2"), "style_layers": ("relu2_2",)}),
]


@pytest.mark.parametrize(("size", "architecture", "rows", "changes"), CASES)
def test_losses_and_gradients_are_the_plain_ones(monkeypatch, size, architecture, rows, changes):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype(np.float64), slim_params(architecture))
        plain = losses_and_gradient(params, SIZES[size], memory="plain", **changes)
        monkeypatch.setattr(strips.strip_sums, "__kwdefaults__", {"rows": rows})
        monkeypatch.setattr(strips.strip_features, "__kwdefaults__", {"rows": rows})
        cut = losses_and_gradient(params, SIZES[size], memory="strips", **changes)
    print(plain[0], cut[0])
    np.testing.assert_allclose(cut[0], plain[0], rtol=1e-12)
    print(relative_rms(cut[1], plain[1]))
    np.testing.assert_allclose(cut[1], plain[1], rtol=0, atol=1e-12 * np.abs(plain[1]).max())
