"""Pictures as large as is promised: numbers beyond 2^31 that no array need be made for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FULL_WIDTHS, slim_params

from jaxstyle.losses.statistics import Moments, SquaredError, energy
from jaxstyle.losses.style import gram
from jaxstyle.losses.terms import content_loss
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization.optimizer import initial_state, with_program_state
from jaxstyle.optimization.problem import make_problem
from jaxstyle.optimization.rows import shared_sums
from jaxstyle.optimization.stepping import run_steps
from jaxstyle.settings.checks import MOST_PIXELS
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import STYLE_LOSS_NAMES

LARGEST = (13377, 13377)
LAYERS = ("relu1_1", "relu2_1")


@pytest.fixture(scope="module")
def kernels():
    """The beginning of a network as wide as VGG."""
    params = slim_params("vgg19", widths=(*FULL_WIDTHS[:2], 1, 1, 1))
    shallow = {name: params[name] for name in ("conv1_1", "conv1_2", "conv2_1")}
    return prepare(shallow, conv="direct")


def test_more_values_than_an_int32_counts_divide_as_any_others() -> None:
    """2^25 positions in 64 channels are 2^31 values, of which each is 1."""
    ones = Moments(jnp.full((64, 64), 2.0**25), jnp.full(64, 2.0**25), 2**25)
    np.testing.assert_array_equal(gram(ones), np.full((64, 64), 1 / 64, np.float32))
    assert float(energy(ones)) == 1
    assert float(content_loss(SquaredError(jnp.float32(2.0**33), 2**31))) == 4


@pytest.mark.parametrize(
    ("style_loss", "memory"), [("gram", "strips"), *((name, "plain") for name in STYLE_LOSS_NAMES)]
)
def test_a_step_of_the_largest_picture_can_be_traced(kernels, style_loss: str, memory: str) -> None:
    assert math.prod(LARGEST) <= MOST_PIXELS < (LARGEST[0] + 1) ** 2
    changes = {"content_layers": LAYERS, "style_layers": LAYERS, "memory": memory}
    recipe, hyper = preset("default", style_loss=style_loss, average=0.5, **changes)
    canvas = jax.ShapeDtypeStruct((*LARGEST, 3), np.float32)

    def one_step(kernels, content, style):
        problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper)
        state = with_program_state(initial_state(content), problem.program)
        return run_steps(state, 1, problem)

    state, _ = jax.eval_shape(one_step, kernels, canvas, canvas)
    assert state.canvas.shape == canvas.shape


def test_the_largest_picture_can_be_shared_among_devices(kernels) -> None:
    canvas = jax.ShapeDtypeStruct((*LARGEST, 3), np.float32)
    target = {"relu1_1": jax.ShapeDtypeStruct((*LARGEST, 64), np.float32)}

    def losses(kernels, image, content):
        sums = shared_sums(
            kernels, image, content, style_layers=LAYERS, pooling="max", height=LARGEST[0]
        )
        return content_loss(sums.content["relu1_1"]), [gram(each) for each in sums.style.values()]

    content, grams = jax.eval_shape(losses, kernels, canvas, target)
    assert content.shape == ()
    assert [each.shape for each in grams] == [(64, 64), (128, 128)]
