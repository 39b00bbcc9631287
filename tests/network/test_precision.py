"""Precision: what convolutions read of their operands, and that all sums stay float32."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from conftest import QUICK, SHALLOW, relative_rms, slim_params
from evaluation import losses_with_gradient
from numpy_network import numpy_convolve

from jaxstyle.errors import InputError
from jaxstyle.network import precision as precisions
from jaxstyle.network.convolution import Direct, apply_kernel, prepare
from jaxstyle.network.precision import as_operand
from jaxstyle.network.vgg import features, params_up_to
from jaxstyle.optimization.problem import make_problem, resolve
from jaxstyle.optimization.rows import shared_features
from jaxstyle.painting.level import Level, kernels_at
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import convolution_of

CLOSE = {"tf32": 1e-3, "bf16": 1e-2}
"""How near features are to float32's, relative RMS."""

SIDES = (67, 24), (40, 30), (67, 24)
"""Of photo, painting and canvas, which has two strips."""


def rounded(x: np.ndarray, precision: str) -> np.ndarray:
    """Rounds to 10 or 7 bits of mantissa, to the nearest, ties to even, without jax."""
    if precision == "bf16":
        return x.astype(ml_dtypes.bfloat16).astype(np.float64)
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent)


def test_operands_by_hand() -> None:
    """1 + 2^-11 is a tie and becomes 1, a little more becomes 1 + 2^-10; likewise 8 and 7 bits."""
    for precision, bits in (("tf32", 10), ("bf16", 7)):
        tie, more = 1 + 2.0 ** -(bits + 1), 1 + 2.0 ** -(bits + 1) + 2.0**-20
        found = as_operand(jnp.array([tie, more, -more], jnp.float32), precision)
        assert np.asarray(found, np.float64).tolist() == [1, 1 + 2.0**-bits, -1 - 2.0**-bits]
    whole = jnp.array([1 + 2.0**-23], jnp.float32)
    assert as_operand(whole, "highest") is whole


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_convolution_and_its_gradient_are_those_of_rounded_operands(precision: str) -> None:
    """In float64 numpy; bfloat16 results are rounded twice more, before and after the bias."""
    random = np.random.default_rng(0)
    image, kernel, bias, cotangent = (
        random.normal(size=shape).astype(np.float32)
        for shape in ((6, 7, 3), (3, 3, 3, 5), (5,), (6, 7, 5))
    )
    layer = prepare({"conv": {"kernel": kernel, "bias": bias}}, conv="direct")["conv"]
    x = as_operand(jnp.asarray(image), precision)
    result, pull = jax.vjp(lambda x: apply_kernel(x[None], layer, precision)[0], x)
    given = as_operand(jnp.asarray(cotangent), precision)
    (gradient,) = pull(given.astype(result.dtype))
    assert result.dtype == gradient.dtype == (jnp.bfloat16 if precision == "bf16" else jnp.float32)
    image, kernel, cotangent = (rounded(each, precision) for each in (image, kernel, cotangent))
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    last = 1e-6 if precision == "tf32" else 4e-3
    assert relative_rms(result, numpy_convolve(image, kernel, bias)) < last
    assert relative_rms(gradient, numpy_convolve(cotangent, turned, np.zeros(3))) < last


@pytest.mark.parametrize("pooling", ["l2", "max"])
def test_features_are_near_those_of_float32(params, content, pooling: str) -> None:
    image = jnp.asarray((content / 255 - 0.45).astype(np.float32))
    kernels, taps = prepare(params, conv="direct"), ("relu1_1", "relu2_1", "conv3_1")

    @functools.partial(jax.jit, compiler_options=QUICK)
    def found(image):
        given = {"taps": taps, "pooling": pooling}
        return [features(kernels, image, **given, precision=each) for each in ("highest", *CLOSE)]

    exact, *others = found(image)
    for tap in taps:
        for each, close in zip(others, CLOSE.values(), strict=True):
            assert close / 100 < relative_rms(each[tap], exact[tap]) < close


@pytest.mark.parametrize("precision", [pytest.param("tf32", marks=pytest.mark.slow), "bf16"])
def test_losses_and_gradients_in_both_memory_modes(params, precision: str) -> None:
    """Near those of float32, and alike in strips; losses and gradient are float32 themselves.

    A gradient is further off than features: where a rounded value is on the other side of a ReLU,
    or another of a pool's is the largest, all of it goes elsewhere.
    """
    random, found = np.random.default_rng(1), []
    photo, painting, canvas = (random.normal(size=(*s, 3)).astype(np.float32) for s in SIDES)
    kernels = prepare(params_up_to(params, SHALLOW["content_layers"]), conv="direct")
    for memory, given in (("plain", "highest"), ("plain", precision), ("strips", precision)):
        settings = {"memory": memory, "precision": given, "tv_weight": 0.0, **SHALLOW}
        recipe, hyper = preset("book", **settings)

        def evaluate(canvas, recipe=recipe, hyper=hyper):
            problem = make_problem(kernels, photo, painting, recipe=recipe, hyper=hyper)
            return losses_with_gradient(canvas, problem)

        losses, gradient = jax.jit(evaluate, compiler_options=QUICK)(canvas)
        assert {each.dtype for each in jax.tree.leaves((losses, gradient))} == {jnp.dtype("f4")}
        found.append((np.stack(jax.tree.leaves(losses)), np.asarray(gradient)))
    exact, plain, strips = found
    close = CLOSE[precision]
    assert np.allclose(plain[0], exact[0], rtol=3 * close, atol=0)
    assert close / 100 < relative_rms(plain[1], exact[1]) < np.sqrt(4 * close)
    assert np.allclose(strips[0], plain[0], rtol=close / 10, atol=0)
    assert relative_rms(strips[1], plain[1]) < close


def test_rows_on_devices_convolve_in_the_precision(params, content) -> None:
    """As the whole picture is convolved, below which they have padding."""
    image = jnp.asarray((content / 255 - 0.45).astype(np.float32))[:20, :17]
    kernels = prepare(params_up_to(params, ["relu2_1"]), conv="direct")
    how = {"taps": ("relu1_2", "relu2_1"), "pooling": "max", "precision": "bf16"}

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(image):
        padded = jnp.pad(image, ((0, 4), (0, 0), (0, 0)))
        return shared_features(kernels, padded, height=20, **how), features(kernels, image, **how)

    found, whole = both(image)
    for tap, expected in whole.items():
        assert found[tap].dtype == expected.dtype == jnp.bfloat16
        assert relative_rms(found[tap][: len(expected)], expected) < 1e-3


def test_lower_precision_takes_the_plain_convolution() -> None:
    """Winograd's sums would lose most of ten bits: it is refused, and "auto" does not take it."""
    params = slim_params("vgg19", widths=(16, 16, 16, 16, 16))
    recipe, _ = preset(precision="tf32")
    picture = np.zeros((32, 32, 3), np.uint8)
    made = kernels_at(Level(picture, (picture,), 0, 1), params, recipe=recipe)
    assert {type(each) for each in made.values()} == {Direct}
    assert convolution_of(dataclasses.replace(recipe, precision="highest")) == "auto"
    with pytest.raises(InputError, match="conv 'winograd' needs precision 'highest', not 'bf16'"):
        preset(precision="bf16", conv="winograd")
    kernels = prepare(params, conv="winograd")
    with pytest.raises(InputError, match="precision 'bf16' needs kernels of conv 'direct'"):
        features(kernels, jnp.zeros((16, 16, 3)), taps=("conv1_1",), precision="bf16")


def test_by_itself_a_gpu_takes_tf32_where_nothing_published_is_to_be_reproduced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = slim_params("vgg19", widths=(4, 4, 4, 4, 4))

    def found(name: str = "default", **changes: str) -> str:
        return resolve(preset(name, **changes)[0], params).precision

    assert found() == found("book") == "highest"  # on this CPU
    monkeypatch.setattr(precisions, "platform", lambda: "gpu")
    assert (found(), found("book"), found("gatys")) == ("tf32", "highest", "highest")
    assert found("book", precision="bf16") == "bf16"
    assert found(precision="highest") == found(conv="winograd") == "highest"
    monkeypatch.setattr(precisions, "platform", lambda: "tpu")
    assert found() == "highest"
