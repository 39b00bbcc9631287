"""Runs in a process of its own with eight virtual devices: one picture on several of them.

Prints a JSON text of findings, which test_rows.py judges. Its argument is "quick" or "thorough".
"""

import functools
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK, SHALLOW, relative_rms, slim_params
from evaluation import losses_with_gradient, rows_of
from own_optimizer import HISTORY, add_history
from test_own_style_loss import MEANS, add_means
from test_strips import (
    BOOK,
    EARLY,
    MASKED,
    MXNET,
    PAINTER,
    canvas_of,
    farthest,
    halves,
    masks_of,
)

import jaxstyle
from jaxstyle.machine import placement
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import block_of, required_conv_names
from jaxstyle.optimization import optimizer, stepping
from jaxstyle.optimization.problem import (
    Problem,
    make_problem,
    resolve,
)
from jaxstyle.optimization.targets import make_targets
from jaxstyle.settings.presets import preset

NEAREST = {**PAINTER, "style_loss": "nearest", "content_layers": ("relu2_1",)}
NEAREST |= {"style_layers": ("relu1_1", "relu3_1", "relu4_1"), "style_weight": 1.0}

STROTSS = {
    **{"name": "strotss", "style_layers": ("relu1_1", "relu3_1", "relu4_1"), "conv": "direct"},
    **{"tv_weight": 1.0},
}

CASES = {
    "quick": [
        ((75, 50), "vgg16", (8,), BOOK),
    ],
    "thorough": [
        ((37, 33), "vgg16", (2,), {**PAINTER, "style_loss": "covariance", "pooling": "l2"}),
        ((75, 50), "vgg16", (4,), NEAREST),
        ((75, 50), "vgg16", (4,), STROTSS),
        ((75, 50), "vgg19", (4,), BOOK),
        ((301, 33), "vgg16", (8,), {**MXNET, "pooling": "avg"}),
        ((64, 48), "vgg19", (4,), {"name": "default"}),
        ((37, 33), "vgg16", (4,), EARLY),
        ((75, 50), "vgg19", (2,), {**PAINTER, "style_loss": "wasserstein"}),
    ],
}
"""Size, network, how many devices, settings."""

COLLECTIVE = r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(?:-start)?\("


def problem_of(params, size, devices: int, **changes):
    """Returns a problem on so many devices; the style is of another size than the content."""
    recipe, hyper = preset(**changes)
    height, width = size
    pictures = canvas_of("coffee", size), canvas_of("strokes", (height + 3, width + 5))
    dtype = params["conv1_1"]["kernel"].dtype
    return make_problem(
        prepare(params, conv="direct"),
        *(each.astype(dtype) for each in pictures),
        recipe=recipe,
        hyper=hyper,
        mesh=placement.rows_mesh(jax.devices()[:devices]) if devices > 1 else None,
    )


evaluate = jax.jit(losses_with_gradient, compiler_options=QUICK)


def losses_and_gradient(params, size, devices: int, **changes):
    """Of a canvas unlike the content, whose content loss is not 0."""
    problem = problem_of(params, size, devices, **changes)
    canvas = jnp.asarray(canvas_of("strokes", size), params["conv1_1"]["kernel"].dtype)
    if devices > 1:
        canvas = placement.share_out(canvas, problem.program.rows.mesh)
    losses, gradient = evaluate(canvas, problem)
    return rows_of(losses), np.asarray(gradient)


def differences(size, architecture, devices: int, changes) -> dict:
    """Returns those from one device, relative; and how much the padding's gradient is."""
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params(architecture))
    expected, expected_gradient = losses_and_gradient(params, size, 1, **changes)
    found, gradient = losses_and_gradient(params, size, devices, **changes)
    inside, padding = gradient[: size[0]], gradient[size[0] :]
    return {
        "losses": float(np.max(np.abs(found / expected - 1))),
        "gradient": relative_rms(inside, expected_gradient),
        "edges": relative_rms(inside[[0, -1]], expected_gradient[[0, -1]]),
        "padded": len(padding),
        "padding": float(np.abs(padding).max(initial=0)),
    }


def masked(size, devices: int) -> dict:
    """Returns what masked sums differ by, relative, from each other and from one device's."""
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params("vgg16"))
    kernels, canvas = prepare(params, conv="direct"), canvas_of("strokes", size)
    expected, expected_gradient = halves(kernels, canvas, masks_of(size), program=MASKED)
    mesh = placement.rows_mesh(jax.devices()[:devices])
    given = placement.copy_to_all((kernels, masks_of(size)), mesh)
    program = MASKED._replace(rows=placement.Rows(mesh, size[0]))
    found, gradient = halves(given[0], placement.share_out(canvas, mesh), given[1], program=program)
    whole, inside, rest = found
    return {
        "parts": farthest(jax.tree.map(jnp.add, inside, rest), whole),
        "sums": max(map(farthest, found, expected)),
        "gradient": relative_rms(np.asarray(gradient)[: size[0]], expected_gradient),
        "padding": float(np.abs(np.asarray(gradient)[size[0] :]).max()),
    }


def painted(params, size, devices: int, **changes):
    """Returns the picture and every loss of a run, in float32."""
    recipe, hyper = preset(steps=6, size=size, conv="direct", **changes)
    pictures = [jaxstyle.denormalize(canvas_of(name, size)) for name in ("coffee", "strokes")]
    rows, shapes = [], set()

    def see(chunk) -> None:
        rows.extend(rows_of(chunk.losses))
        shapes.add(np.array(chunk.state.canvas).shape)

    picture = jaxstyle.stylize(
        *(params, *pictures),
        recipe=recipe,
        hyper=hyper,
        init="noise",
        report=see,
        devices=jax.devices()[:devices],
    )
    return picture, np.array(rows), sorted(shapes)


def trajectory(devices: int, **changes) -> dict:
    changes |= SHALLOW
    params, size = slim_params("vgg19"), (75, 50)
    picture, rows, shapes = painted(params, size, 1, **changes)
    found, found_rows, found_shapes = painted(params, size, devices, **changes)
    return {
        "picture": relative_rms(found, picture),
        "most of it": float(np.quantile(np.abs(found - picture), 0.9)),
        "losses": relative_rms(found_rows, rows),
        "shapes": [shapes, found_shapes],
    }


def own_loss(devices: int) -> dict:
    """Returns what pictures by a loss of the tests' own differ by from those of a sweep, relative.

    The sweep has a variant on each of the devices, and the first one is the run on all of them.
    """
    add_means(pytest.MonkeyPatch())
    params, size = slim_params("vgg19"), (37, 33)
    picture, rows, _ = painted(params, size, devices, **MEANS)
    pairs = [
        preset(steps=6, size=size, conv="direct", tv_weight=weight, **MEANS)
        for weight in (preset(**MEANS)[1].tv_weight, 1.0)
    ]
    pictures = [jaxstyle.denormalize(canvas_of(name, size)) for name in ("coffee", "strokes")]
    first, other = sorted(
        jaxstyle.sweep(
            *(params, *pictures),
            recipe=[recipe for recipe, _ in pairs],
            hypers=[hyper for _, hyper in pairs],
            init="noise",
            devices=jax.devices()[:devices],
        ),
        key=lambda result: result.number,
    )
    return {
        "picture": relative_rms(picture, first.picture),
        "losses": relative_rms(rows, rows_of(first.history)),
        "other": relative_rms(other.picture, first.picture),
    }


def own_optimizer(devices: int) -> dict:
    """Returns how the state of an optimizer of the tests' own lies on devices, and how it goes on.

    And what its canvas differs by from one device's, and from the first one, relative.
    """
    add_history(pytest.MonkeyPatch())
    start, canvases = canvas_of("strokes", (37, 33)), []
    for count in (1, devices):
        problem = problem_of(slim_params("vgg19"), (37, 33), count, name="book", steps=4, **HISTORY)
        for chunk in stepping.steps(problem, optimizer.initial_state(start), pause_every=2):
            if int(chunk.state.step) == 2:
                kept = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), chunk.state)
                gradients = chunk.state.optimizer["gradients"]
                if count > 1:
                    parts = [each.data.shape for each in gradients._padded.addressable_shards]
        canvases.append(np.array(chunk.state.canvas))
    *_, last = stepping.steps(problem, kept)
    return {
        "parts": parts,
        "canvas": relative_rms(canvases[1], canvases[0]),
        "moved": relative_rms(canvases[0], start),
        "goes on": np.array_equal(last.state.canvas, canvases[1]),
    }


def exact_steps(devices: int, **changes) -> float:
    """Returns the difference that six steps in float64 make, relative RMS, from one device's."""
    params = jax.tree.map(lambda x: x.astype(np.float64), slim_params("vgg19"))
    size, found = (75, 50), []
    for count in (1, devices):
        problem = problem_of(params, size, count, steps=6, **SHALLOW, **changes)
        *_, last = stepping.steps(
            problem, optimizer.initial_state(canvas_of("strokes", size).astype(float))
        )
        found.append(np.array(last.state.canvas))
    assert {each.dtype for each in found} == {np.dtype(np.float64)}
    return relative_rms(found[1], found[0])


def goes_on(devices: int) -> bool:
    """Whether a run that goes on from the host's copy of a state ends with the same bits."""
    problem = problem_of(slim_params("vgg19"), (75, 50), devices, steps=4, **SHALLOW)
    chunks = stepping.steps(
        problem, optimizer.initial_state(canvas_of("strokes", (75, 50))), pause_every=2
    )
    for chunk in chunks:
        if int(chunk.state.step) == 2:
            kept = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), chunk.state)
    *_, last = stepping.steps(problem, kept)
    ends = [(each.state, each.closing) for each in (last, chunk)]
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, *ends)))


def compiled(devices: int) -> dict:
    """Returns the collectives in the text of the steps' program, and its memory for a device.

    Of VGG-19's own widths, 512x512 pixels; nothing is computed.
    """
    mesh = placement.rows_mesh(jax.devices()[:devices])
    kernels = prepare(weights_of_zeros(), conv="direct")
    program = resolve(preset("default")[0], kernels)
    if devices > 1:
        program = program._replace(rows=placement.Rows(mesh, 512))

    def on_devices(tree):
        def struct(leaf):
            spec = placement.SHARED if leaf.ndim == 3 else placement.SAME
            sharding = jax.sharding.NamedSharding(mesh, spec)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        return jax.tree.map(struct, tree)

    canvas = np.zeros((512, 512, 3), np.float32)
    alone = functools.partial(make_targets, program=program._replace(rows=None))
    targets = jax.eval_shape(alone, kernels, [canvas, canvas])
    hyper = jax.tree.map(np.float32, preset("default")[1])
    data = {"kernels": kernels, "targets": targets, "hyper": hyper}
    problem = Problem(**on_devices(data), program=program, steps=1)
    begun = jax.eval_shape(
        lambda c: optimizer.with_program_state(optimizer.initial_state(c), program), canvas
    )
    lowered = stepping._run_steps.lower(on_devices(begun), 1, problem).compile()
    return {
        "collectives": sorted(set(re.findall(COLLECTIVE, lowered.as_text()))),
        "bytes": lowered.memory_analysis().temp_size_in_bytes,
    }


def weights_of_zeros() -> dict:
    found, channels = {}, 3
    for name in required_conv_names("vgg19"):
        width = (64, 128, 256, 512, 512)[block_of(name) - 1]
        kernel = np.zeros((3, 3, channels, width), np.float32)
        found[name] = {"kernel": kernel, "bias": np.zeros(width, np.float32)}
        channels = width
    return found


def main(kind: str) -> None:
    several = {"quick": 4, "thorough": 8}[kind]
    found = {"devices": len(jax.devices())}
    if kind == "thorough":
        found["compiled"] = {n: compiled(n) for n in (1, 2, several)}
        found["own loss"] = own_loss(2)
        found["own optimizer"] = own_optimizer(2)
    scales = {"quick": (1.0,), "thorough": (0.6, 1.0)}[kind]
    found["trajectory"] = {several: trajectory(several, scales=scales)}
    found["goes on"] = goes_on(several)
    jax.config.update("jax_enable_x64", True)
    found["exact steps"] = {several: exact_steps(several)}
    if kind == "thorough":
        lbfgs = {"name": "book", "optimizer": "lbfgs", "history": 3}
        found["exact steps"]["lbfgs"] = exact_steps(2, **lbfgs)
        found["masked"] = masked((37, 33), 2)
    found["differences"] = [
        (size, architecture, n, differences(size, architecture, n, changes))
        for size, architecture, devices, changes in CASES[kind]
        for n in devices
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
