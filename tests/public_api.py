"""A program that uses every public name with its types, as a user's would: mypy checks it.

`tests/test_wheel.py` holds it to the list of public names; .ci/run has mypy, strict, look at it.
"""

from collections.abc import Iterator, Mapping
from typing import assert_type

import jax
import numpy as np
from numpy.typing import NDArray

import jaxstyle


def painted(photo: str, painting: str) -> NDArray[np.float32]:
    """Paints one picture in another's style; the last good canvas if a loss becomes NaN."""
    content = assert_type(jaxstyle.load_picture(photo), NDArray[np.uint8])
    style = jaxstyle.load_picture(painting)
    recipe, hyper = assert_type(
        jaxstyle.preset("draft", size=64), tuple[jaxstyle.Recipe, jaxstyle.Hyperparams]
    )
    try:
        return jaxstyle.stylize(
            jaxstyle.load_weights("embedded"), content, style, recipe=recipe, hyper=hyper
        )
    except jaxstyle.DivergedError as error:
        print(error.step, error.term)
        raise
    except jaxstyle.InputError as error:
        raise SystemExit(str(error)) from None


def best_of(content: NDArray[np.uint8], style: NDArray[np.uint8]) -> jaxstyle.Result:
    """Paints several variants; returns the one with the least loss."""
    params = jaxstyle.load_weights()
    recipe, _ = jaxstyle.preset(size=64)
    hypers = [jaxstyle.preset(content_weight=each)[1] for each in (0.1, 0.2)]

    def tell(tick: jaxstyle.Tick) -> None:
        print(tick.seconds)

    results: Iterator[jaxstyle.Result] = jaxstyle.sweep(
        params, content, style, recipe=recipe, hypers=hypers, report=tell
    )
    variants = [jaxstyle.Variant(content, (style,), recipe, each) for each in hypers]
    for event in jaxstyle.paint_variants(params, variants, devices=jax.devices()[:1]):
        print(event)
    return min(results, key=lambda each: float(each.losses.total))


def in_steps(content: NDArray[np.uint8], style: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Drives the optimization itself."""
    params = jaxstyle.load_weights("embedded")
    recipe, hyper = jaxstyle.preset("book", size=64)
    shapes: list[int] = [len(jaxstyle.levels(content, style, recipe=recipe))]
    kernels: dict[str, jaxstyle.Kernel] = jaxstyle.prepare(params, conv="direct", size=(64, 64))
    kinds = jaxstyle.Direct | jaxstyle.Winograd | jaxstyle.Native
    assert all(isinstance(each, kinds) for each in kernels.values())
    canvas = jaxstyle.normalize(content)
    problem: jaxstyle.Problem = jaxstyle.make_problem(
        kernels, canvas, jaxstyle.normalize(style), recipe=recipe, hyper=hyper
    )
    parts: tuple[jaxstyle.Program, jaxstyle.Targets] = (problem.program, problem.targets)
    state: jaxstyle.State = jaxstyle.initial_state(canvas)
    rate: jax.Array = jaxstyle.learning_rate(0, problem)
    print(shapes, parts, rate, jaxstyle.losses_of(canvas, problem))
    chunk: jaxstyle.Chunk
    for chunk in jaxstyle.steps(problem, state):
        losses: jaxstyle.Losses = chunk.losses
        print(losses.terms["style"], chunk.seconds)
        state = chunk.state
    for chunk in jaxstyle.paint(
        params, jaxstyle.levels(content, style, recipe=recipe), recipe=recipe, hyper=hyper
    ):
        state = chunk.state
    return jaxstyle.denormalize(jaxstyle.shown(state))


def losses(canvas: jax.Array, problem: jaxstyle.Problem) -> jax.Array:
    """Uses the pure functions below all that."""
    total: jax.Array = jaxstyle.canvas_losses(canvas, problem).total
    found: dict[str, jax.Array] = jaxstyle.features(problem.kernels, canvas, taps=["relu1_1"])
    m: jaxstyle.Moments = jaxstyle.moments(found["relu1_1"])
    gram: jax.Array = jaxstyle.gram(m)
    content = jaxstyle.content_loss(jaxstyle.squared_error(found["relu1_1"], found["relu1_1"]))
    variation: jax.Array = jaxstyle.total_variation(canvas)
    return total + jaxstyle.style_loss(gram, gram) + content + variation


def module(params: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> jaxstyle.VGG:
    """Makes the network as a Flax module."""
    print(jaxstyle.__version__, list(jaxstyle.PRESETS))
    return jaxstyle.VGG(widths=jaxstyle.widths_of(params))
