"""The steps: against a loop in float64 numpy, in chunks of any length, and when they fail."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_problem
from conftest import SHALLOW, relative_rms
from evaluation import rows_of

from jaxstyle.errors import DivergedError
from jaxstyle.images.canvas import normalize
from jaxstyle.losses.variation import no_duals, proximal_step
from jaxstyle.network.convolution import Direct
from jaxstyle.optimization import stepping
from jaxstyle.optimization.optimizer import (
    OPTIMIZERS,
    adam,
    initial_state,
    learning_rate,
    next_level_state,
    shown,
    with_program_state,
)
from jaxstyle.optimization.problem import canvas_losses
from jaxstyle.optimization.stepping import losses_of, steps
from jaxstyle.settings.recipe import program_names


def problem_of(*given, **changes):
    return test_problem.problem_of(*given, **SHALLOW | changes)


def run(problem, canvas, **settings):
    """Returns the losses of every step, as rows, and the last chunk."""
    rows = []
    for chunk in steps(problem, initial_state(canvas), **settings):
        rows += list(rows_of(chunk.losses))
    return np.array(rows), chunk


@pytest.fixture(params=["gradient", "proximal"])
def problem(request, params, content, style):
    changes = {"steps": 12, "decay_every": 5, "learning_rate": 0.01, "tv_step": request.param}
    return problem_of(params, content, style, **changes)


@pytest.mark.parametrize(("beta2", "bound"), [("constant", 5e-7), ("increasing", 1e-6)])
def test_adam_equals_float64_to_rounding(beta2, bound) -> None:
    """Kingma & Ba 2015, algorithm 1; the first steps are where float32 corrections go wrong.

    With beta2 = 1 - n ** -0.8, from 0, the mean square is one from the first step on.
    """
    random = np.random.default_rng(0)
    start = jnp.zeros((5, 4, 3))
    state = OPTIMIZERS["adam"].init(start)
    mean, square = np.zeros(start.shape), np.zeros(start.shape)
    for step in range(1, 30):
        gradient = random.normal(size=start.shape).astype(np.float32)
        unbiased_mean, root, state = jax.jit(adam, static_argnames="beta2")(
            gradient, state, beta2=beta2
        )
        decay, weights = (0.999, 1 - 0.999**step) if beta2 == "constant" else (1 - step**-0.8, 1)
        mean = 0.9 * mean + 0.1 * gradient.astype(np.float64)
        square = decay * square + (1 - decay) * gradient.astype(np.float64) ** 2
        expected = mean / (1 - 0.9**step) / (np.sqrt(square / weights) + 1e-8)
        assert relative_rms(unbiased_mean / root, expected) < bound, step


def test_steps_apply_adam_and_the_schedule(problem, content) -> None:
    """One step at a time: the canvas moves by the learning rate times Adam's direction.

    Where total variation has a step of its own, it comes after, and is not in the gradient.
    """
    proximal = problem.program.tv_step == "proximal"

    def objective(canvas):
        losses = canvas_losses(canvas, problem)
        return losses.terms["content"] + losses.terms["style"] if proximal else losses.total

    gradient_of = jax.jit(jax.grad(objective))
    canvas = normalize(content)
    state, duals = OPTIMIZERS["adam"].init(canvas), no_duals(canvas)
    for chunk in steps(problem, initial_state(canvas), pause_every=1):
        if not len(chunk.learning_rate):
            continue
        mean, root, state = adam(gradient_of(canvas), state)
        rate = 0.01 * 0.8 ** ((chunk.first_step - 1) // 5)
        moved = canvas - rate * mean / root
        if proximal:
            weight = problem.hyper.tv_weight
            moved, duals = proximal_step(moved, rate / root, duals, weight)
        moves = [np.asarray(each) - canvas for each in (chunk.state.canvas, moved)]
        assert relative_rms(*moves) < 1e-3
        canvas = np.array(chunk.state.canvas)


def test_clipped_steps_stay_between_black_and_white(params, content, style) -> None:
    """At a learning rate that leads far outside, which without clipping it does."""
    low, high = normalize(np.array([[[0] * 3], [[255] * 3]], np.uint8))
    outside = []
    for clip in (False, True):
        problem = problem_of(params, content, style, steps=3, learning_rate=0.5, clip=clip)
        _, chunk = run(problem, normalize(content))
        canvas = np.asarray(chunk.state.canvas)
        outside.append(float(np.mean((canvas < low - 1e-6) | (canvas > high + 1e-6))))
    assert outside[0] > 0.05
    assert outside[1] == 0


def test_a_size_enlarged_beyond_white_is_clipped() -> None:
    """A cubic overshoots at the edge of black and white; enough that it does without clipping."""
    canvas = np.repeat(normalize(np.uint8([[[0] * 3, [255] * 3]])), 4, axis=1)
    high = normalize(np.uint8([[[255] * 3]])).max()
    free, clipped = (
        np.asarray(next_level_state(canvas, (2, 32, 3), step=0, clip=clip).canvas)
        for clip in (False, True)
    )
    assert free.max() > high + 0.01
    assert clipped.max() <= high + 1e-6


@pytest.mark.parametrize("pause_every", [1, 3])
def test_an_average_is_shown_and_left_at_the_end(params, content, style, pause_every) -> None:
    """Each canvas weighs 0.8 times as much as the next; in float64, of the steps' own canvases."""
    given = {"steps": 6, "learning_rate": 0.05}
    plain = problem_of(params, content, style, **given)
    start = normalize(content)
    canvases = [start.astype(np.float64)]
    for chunk in steps(plain, initial_state(start), pause_every=1):
        if len(chunk.learning_rate):
            canvases.append(np.array(chunk.state.canvas, np.float64))
    weights = 0.8 ** np.arange(6, -1, -1)
    expected = np.tensordot(weights / weights.sum(), canvases, 1)
    problem = problem_of(params, content, style, average=0.8, **given)
    for chunk in steps(problem, initial_state(start), pause_every=pause_every):
        done = int(chunk.state.step)
        if done in (1, 3) and len(chunk.learning_rate):
            weights = 0.8 ** np.arange(done, -1, -1)
            so_far = np.tensordot(weights / weights.sum(), canvases[: done + 1], 1)
            assert relative_rms(shown(chunk.state), so_far) < 1e-5
    assert relative_rms(chunk.state.canvas, expected) < 1e-5
    losses = canvas_losses(chunk.state.canvas, problem)
    np.testing.assert_allclose(rows_of(chunk.closing), rows_of(losses), rtol=1e-5)
    assert relative_rms(canvases[-1], expected) > 1e-3


def test_a_larger_size_goes_on_from_the_canvas_with_a_new_adam(params, content, style) -> None:
    """A constant canvas stays constant when resized; the steps done are kept."""
    larger = next_level_state(jnp.full((67, 93, 3), -0.5), (99, 131, 3), step=3)
    np.testing.assert_allclose(larger.canvas, np.full((99, 131, 3), -0.5), rtol=1e-5)
    np.testing.assert_array_equal(larger.good, larger.canvas)
    assert (int(larger.step), larger.optimizer) == (3, ())
    program = problem_of(params, content, style).program
    begun = with_program_state(larger, program).optimizer
    assert begun.nu.shape == (99, 131, 3)
    assert not begun.nu.any()
    assert int(begun.count) == 0


def test_chunks_report_what_happened(problem, content) -> None:
    chunks = []
    for chunk in steps(problem, initial_state(normalize(content))):
        chunks.append((chunk.first_step, len(chunk.learning_rate), int(chunk.state.step)))
    assert chunks[0] == (1, 0, 0)
    assert [first for first, _, _ in chunks[1:]] == [1 + done for _, _, done in chunks[:-1]]
    assert chunks[-1][2] == 12
    assert chunk.closing is not None


def test_losses_are_those_before_the_update(problem, content) -> None:
    canvas = normalize(content)
    rows, chunk = run(problem, canvas)
    np.testing.assert_allclose(rows[0], rows_of(jax.jit(canvas_losses)(canvas, problem)), rtol=1e-6)
    closing = rows_of(losses_of(chunk.state.canvas, problem))
    np.testing.assert_array_equal(rows_of(chunk.closing), closing)


def test_no_second_state_lies_beside_the_first(problem, content, monkeypatch) -> None:
    """A state is four arrays of the canvas's shape, or six, to the end of the last step."""
    canvas, original, seen = normalize(content), stepping._run_steps, []

    def counting(*given):
        seen.append(sum(each.shape == canvas.shape for each in jax.live_arrays()))
        return original(*given)

    before = sum(each.shape == canvas.shape for each in jax.live_arrays())
    monkeypatch.setattr(stepping, "_run_steps", counting)
    _, chunk = run(problem, canvas)
    assert max(seen) - before == {"gradient": 4, "proximal": 6}[problem.program.tv_step]
    np.testing.assert_array_equal(chunk.state.good, chunk.state.canvas)
    assert (int(chunk.state.step), chunk.state.optimizer) == (12, ())


@pytest.mark.parametrize("most", [1, 5, 64])
def test_any_chunks_give_the_same_bits(problem, content, monkeypatch, most) -> None:
    canvas = normalize(content)
    monkeypatch.setattr(stepping, "steps_a_call", lambda count, seconds: 12)
    expected, chunk = run(problem, canvas)
    expected_canvas = np.asarray(chunk.state.canvas)
    monkeypatch.setattr(stepping, "steps_a_call", lambda count, seconds: most)
    rows, chunk = run(problem, canvas)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(chunk.state.canvas, expected_canvas)


def test_going_on_from_a_chunk_gives_the_same_bits(problem, content) -> None:
    canvas = normalize(content)
    expected, _ = run(problem, canvas)
    first = steps(problem, initial_state(canvas), pause_every=4)
    while int((chunk := next(first)).state.step) < 4:
        pass
    rows = [row for part in steps(problem, chunk.state) for row in rows_of(part.losses)]
    np.testing.assert_array_equal(rows, expected[4:])


def test_pauses_at_multiples(problem, content) -> None:
    ends = [
        int(chunk.state.step)
        for chunk in steps(problem, initial_state(normalize(content)), pause_every=5)
    ]
    assert {5, 10, 12} <= set(ends)


def test_numbers_change_without_a_new_trace(params, content, style) -> None:
    """Weights, learning rate, decay, layer weights, another style, fewer steps: all data.

    So is what a recipe says of steps and sizes; what decides the program is traced again.
    """
    canvas = normalize(content)
    run(problem_of(params, content, style, steps=2), canvas)
    before = stepping._run_steps._cache_size()
    for changes in (
        {"content_weight": 2.0, "style_weight": 5.0, "tv_weight": 0.0},
        {"learning_rate": 0.1, "decay_rate": 0.5, "decay_every": 7},
        {"style_layers": ("relu1_1", "relu2_1"), "style_layer_weights": (1.0, 5.0)},
        {"steps": 1, "steps_power": 0.5, "full_depth": 1, "resampling": "lanczos", "size": 64},
    ):
        changes = {"steps": 2, **changes}
        run(problem_of(params, content, style[:40, :50], **changes), canvas)
    assert stepping._run_steps._cache_size() == before
    assert "pooling" in program_names()
    run(problem_of(params, content, style, steps=2, pooling="avg"), canvas)
    assert stepping._run_steps._cache_size() == before + 1


def test_a_huge_learning_rate_stops_and_keeps_the_last_good_canvas(params, content, style) -> None:
    problem = problem_of(params, content, style, steps=9, learning_rate=1e30)
    canvas = normalize(content)
    chunks = []
    with pytest.raises(DivergedError, match="at step 2") as caught:
        chunks.extend(steps(problem, initial_state(canvas)))
    assert caught.value.step == 2
    last = chunks[-1]
    np.testing.assert_array_equal(last.state.good, canvas)
    assert int(last.state.step) == 1


@pytest.mark.parametrize(
    ("spoil", "term"),
    [
        ({"content_weight": float("nan")}, "content"),
        ({"style_weight": float("inf")}, "style"),
        ({"tv_weight": float("inf")}, "tv"),
    ],
)
def test_the_term_that_failed_is_named(params, content, style, spoil, term) -> None:
    problem = problem_of(params, content[::-1], style, steps=3)
    hyper = dataclasses.replace(problem.hyper, **spoil)
    with pytest.raises(DivergedError, match=f"the {term} loss became NaN or infinite at step 1"):
        run(dataclasses.replace(problem, hyper=hyper), normalize(content))


def test_a_gradient_alone_that_fails_is_named(problem, content) -> None:
    """Kernels whose backward direction overflows: the losses are fine, the gradient is not."""
    broken = {
        name: Direct(each.forward, each.backward * jnp.inf, each.bias)
        for name, each in problem.kernels.items()
    }
    with pytest.raises(DivergedError, match="the gradient became NaN or infinite at step 1"):
        run(dataclasses.replace(problem, kernels=broken), normalize(content))


def test_reported_learning_rate_is_the_schedule(problem, content) -> None:
    found = [
        rate
        for chunk in steps(problem, initial_state(normalize(content)))
        for rate in chunk.learning_rate
    ]
    np.testing.assert_allclose(found, [learning_rate(k, problem) for k in range(12)], rtol=1e-6)
