"""The optimizers, the state of a level's steps, the learning rate, the change of levels."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxstyle.images.canvas import MEAN, STD
from jaxstyle.losses.variation import Duals, no_duals
from jaxstyle.optimization.lbfgs import lbfgs, lbfgs_state
from jaxstyle.optimization.line_search import SearchState, search, search_state
from jaxstyle.optimization.problem import Problem
from jaxstyle.optimization.targets import Program
from jaxstyle.settings.recipe import HISTORY, Recipe

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants: the book's, which are PyTorch's defaults."""

BETA2_POWER = 0.8
"""The increasing beta2 is 1 - n ** -power: Shazeer & Stern 2018, "Adafactor", section 7.2."""

_ADAM = optax.scale_by_adam(b1=BETA1, b2=BETA2, eps=EPSILON)

HELD = 2 / 3
"""Fraction of a level's steps that "hold-cosine" does at the full learning rate, at which content
and style settle soonest. The cosine that follows removes the noise of large steps."""


class Optimizer(NamedTuple):
    """How gradients move a canvas: all that there is of an optimizer, see `OPTIMIZERS`.

    Its own state is a pytree of arrays. Those whose last three axes are the canvas's, (..., H, W,
    3), lie by rows on several devices that share a picture, where all rows below the picture are 0;
    of all others each device has a copy. How many bytes a pixel it has is in
    `recipe.OPTIMIZER_BYTES`, since this is to be known before jax is imported.
    """

    init: Callable[[jax.Array], Any]
    """Returns the state before the first step of a level, from its canvas."""
    update: Callable[[jax.Array, Any, jax.Array, Program], tuple[jax.Array, Any]]
    """Returns, from a gradient (H, W, 3), the state, the canvas and the program, a direction and
    the next state. The canvas moves by the learning rate times the direction, against it."""
    metric: Callable[[Any, Program], jax.Array]
    """Returns, from the next state and the program, by what a gradient is divided to be a
    direction: above 0, of a shape that broadcasts to the canvas's. Proximal steps need it."""
    tested: Callable[[Any], Any]
    """Returns, of the next state, the arrays by which it shows that a gradient was not finite or
    too large, in which case the step has failed: a value of theirs is then not finite."""
    remembering: Callable[[int], "Optimizer"] | None = None
    """Returns the optimizer with a history of so many steps; this one has HISTORY. None: the
    setting does not concern it."""
    search: Callable[..., tuple[jax.Array, Any]] | None = None
    """With a line search instead of `update`: returns, from the loss, the gradient, the state, the
    canvas and the learning rate, the canvas to evaluate next and the next state. What is shown is
    `best` of the state."""
    best: Callable[[Any], jax.Array] | None = None


class State(NamedTuple):
    """The state of a level's steps. It is donated: one that was passed to a step is used up."""

    canvas: jax.Array
    """(H, W, 3), normalized; not always what is `shown`, such as a line search's next try."""
    optimizer: Any
    """The optimizer's own state; empty before a level's first step and after its last."""
    step: jax.Array
    """Steps done since the run began."""
    good: jax.Array
    """The last canvas whose loss and gradient were finite."""
    failed: jax.Array
    """Whether a loss or the gradient was not finite; from then on nothing changes."""
    duals: Duals | tuple[()] = ()
    """Dual variables of proximal steps; empty without them."""
    average: jax.Array | tuple[()] = ()
    """Average of this level's canvases, see `averaged`; empty if the program shows the last one."""


def initial_state(canvas: ArrayLike, *, step: int | jax.Array = 0) -> State:
    """Returns the state before a level's first step; the run has done `step` steps before it.

    Optimizer, duals and average are empty until `with_program_state` adds them.
    """
    canvas = jnp.asarray(canvas)
    return State(canvas.copy(), (), jnp.int32(step), canvas.copy(), jnp.array(False))


def with_program_state(state: State, program: Program | Recipe) -> State:
    """Returns the state with all that this program's steps hand on: optimizer, duals, average.

    What it has already stays.
    """
    if not jax.tree.leaves(state.optimizer):
        canvas = jnp.asarray(state.canvas)
        state = state._replace(optimizer=optimizer_of(program).init(canvas))
    if program.tv_step == "proximal" and not state.duals:
        state = state._replace(duals=no_duals(state.canvas))
    if program.average and isinstance(state.average, tuple):
        state = state._replace(average=state.canvas.copy())
    return state


def shown(state: State) -> jax.Array:
    """Returns the canvas (H, W, 3) that a state shows: the average, if there is one.

    In a line search it is the last one that was accepted. Pictures of a state, such as results, are
    of this canvas. A level's last step also copies it to `canvas`, so that the losses at the
    level's end are those of the picture shown.
    """
    if isinstance(state.optimizer, SearchState):
        return state.optimizer.memory.place
    return state.canvas if isinstance(state.average, tuple) else state.average


def averaged(average: jax.Array, canvas: jax.Array, count: jax.Array, *, decay: float) -> jax.Array:
    """Returns the average of a level's canvases after its step `count`, counted from 1.

    The exponential moving average of all canvases, the first one included, corrected for its
    start: a canvas weighs `decay` times as much as the next (crowsonkb's style-transfer-pytorch).
    """
    new = (1 - decay) / -jnp.expm1((count + 1) * math.log(decay))
    return average + new.astype(canvas.dtype) * (canvas - average)


LOWEST, HIGHEST = (0 - MEAN) / STD, (1 - MEAN) / STD
"""Black and white, normalized."""


def displayable(canvas: jax.Array) -> jax.Array:
    """Returns the canvas (H, W, 3) with every value clipped to black at least, white at most."""
    return jnp.clip(canvas, jnp.asarray(LOWEST, canvas.dtype), jnp.asarray(HIGHEST, canvas.dtype))


def with_kept(canvas: jax.Array, kept: tuple[ArrayLike, ArrayLike] | None) -> jax.Array:
    """Returns a canvas (H, W, 3) with another's values where they are kept.

    `kept` is where, (H, W), and the other canvas; None is nowhere.
    """
    if kept is None:
        return canvas
    where, photo = map(jnp.asarray, kept)
    return jnp.where(where[..., None], photo.astype(canvas.dtype), canvas)


def next_level_state(
    canvas: ArrayLike,
    shape: tuple[int, ...],
    *,
    step: int | jax.Array,
    clip: bool = False,
    kept: tuple[ArrayLike, ArrayLike] | None = None,
    carried: Any = (),
) -> State:
    """Returns the state in which the next level begins, from the canvas that the last one left.

    The canvas is interpolated cubically; the optimizer begins again, unless its state is `carried`.
    Adam's moments, resized, were worse: their squares still hold the first, huge gradients and keep
    the steps at the new level too small. The photo's own detail, added to the canvas, did not help:
    total variation takes it out again. `kept` is what of the photo stays, see `with_kept`.
    """
    canvas = jnp.asarray(canvas)
    if canvas.shape != shape:
        resized: jax.Array = jax.image.resize(canvas, shape, "cubic")
        canvas = displayable(resized) if clip else resized
    state = initial_state(with_kept(canvas, kept), step=step)
    if not isinstance(carried, optax.ScaleByAdamState):
        return state
    return state._replace(optimizer=_resized_moments(carried, shape))


def _resized_moments(adam: optax.ScaleByAdamState, shape: tuple[int, ...]) -> Any:
    """Returns Adam's state at another size, its steps counted on: style-transfer-pytorch's way.

    The mean gradient is interpolated cubically, the mean square linearly, so that it stays 0 or
    more.
    """
    mean, square = (jnp.asarray(each) for each in (adam.mu, adam.nu))
    if mean.shape != shape:
        mean = jax.image.resize(mean, shape, "cubic")
        square = jax.image.resize(square, shape, "linear")
    count = jnp.array(adam.count)
    return adam._replace(count=count, mu=mean, nu=jnp.maximum(square, 0))


def finish_level(state: State, *, step: int, carry: bool = False) -> State:
    """Returns the state that ends a level, from the one after an extra step.

    The extra step is run only to get the losses of the last canvas, which is then in `good`. A copy
    of the state would cost 48 bytes per pixel where memory is scarcest. What the program's steps
    hand on is dropped, unless the extra step failed; `canvas` and `good` are then one array, so no
    step can be done from there.

    Args:
      state: after the extra step.
      step: how many steps were done before it.
      carry: whether the optimizer's state is kept for the next level.
    """
    if state.failed:
        return state._replace(failed=jnp.array(False))
    canvas = jnp.asarray(state.good)  # of a part of several devices' runs a copy
    ended = State(canvas, (), jnp.int32(step), canvas, jnp.array(False))
    return ended._replace(optimizer=state.optimizer) if carry else ended


def adam(
    gradient: jax.Array, state: optax.ScaleByAdamState, *, beta2: str = "constant"
) -> tuple[jax.Array, jax.Array, optax.ScaleByAdamState]:
    """Returns Adam's mean gradient, what it is divided by, and the next state.

    Kingma & Ba 2015, algorithm 1: a step moves against mean / root, root being that of the mean
    square, plus epsilon.

    The moments are optax's, but we correct the bias ourselves. optax's correction 1 - beta ** n is
    off by 1e-5 in float32 at first, enough for a run to leave the book's; ours is
    -expm1(n log beta), exact to rounding.

    Args:
      gradient: of any shape.
      state: from `optax.scale_by_adam`.
      beta2: "constant", BETA2; "0.99"; or "increasing", 1 - n ** -BETA2_POWER at step n. The last
        begins with 0, so its mean square needs no correction. BETA2 remembers some hundred steps:
        the first gradients of a level, many times the later ones, would keep all its steps small.
    """
    before = state.nu
    _, state = _ADAM.update(gradient, state)
    count = state.count.astype(gradient.dtype)
    mean = state.mu / -jnp.expm1(count * math.log(BETA1))
    if beta2 == "increasing":
        new = count**-BETA2_POWER
        state = state._replace(nu=(1 - new) * before + new * jnp.square(gradient))
    elif beta2 != "constant":
        old = float(beta2)
        state = state._replace(nu=old * before + (1 - old) * jnp.square(gradient))
    return mean, _adam_root(state, beta2), state


def _adam_root(state: optax.ScaleByAdamState, beta2: str) -> jax.Array:
    """Returns the root of the mean square, plus epsilon, from the state after a step."""
    square = state.nu
    if beta2 != "increasing":
        decay = BETA2 if beta2 == "constant" else float(beta2)
        count = state.count.astype(square.dtype)
        square = square / -jnp.expm1(count * math.log(decay))
    return jnp.sqrt(square) + EPSILON


def _adam_update(
    gradient: jax.Array, state: Any, canvas: jax.Array, program: Program
) -> tuple[jax.Array, Any]:
    mean, root, state = adam(gradient, state, beta2=program.beta2)
    return mean / root, state


def _lbfgs(history: int = HISTORY) -> Optimizer:
    """Returns L-BFGS with a history of so many steps. It divides by no metric, see `validate`."""

    def metric(state: Any, program: Program) -> jax.Array:
        raise NotImplementedError("L-BFGS divides gradients by a matrix, not pixel by pixel")

    return Optimizer(
        init=lambda canvas: lbfgs_state(canvas, history),
        update=lambda gradient, state, canvas, program: lbfgs(gradient, state, canvas),
        metric=metric,
        tested=lambda state: (state.gradient, state.scale),
        remembering=_lbfgs,
    )


def _searching(history: int) -> Optimizer:
    """Returns L-BFGS with a line search."""
    return _lbfgs(history)._replace(
        init=lambda canvas: search_state(canvas, history),
        tested=lambda state: (state.slope, state.memory.scale),
        search=search,
        best=lambda state: state.memory.place,
    )


OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "adam": Optimizer(
            init=_ADAM.init,
            update=_adam_update,
            metric=lambda state, program: _adam_root(state, program.beta2),
            tested=lambda state: state.nu,  # mu alone cannot fail: nu has the gradient squared
        ),
        "lbfgs": _lbfgs(),
    }
)
"""By name; a new one needs its name and its bytes a pixel in `recipe.OPTIMIZER_BYTES` too, and
nothing else."""


def optimizer_of(program: Program | Recipe) -> Optimizer:
    """Returns the optimizer of a program; raises KeyError if there is no such one."""
    method = OPTIMIZERS[program.optimizer]
    if program.line_search == "zoom":
        return _searching(program.history)
    return method if method.remembering is None else method.remembering(program.history)


def learning_rate(step: jax.Array | int, problem: Problem) -> jax.Array:
    """Returns the learning rate of a step, counted from 0 over the whole run.

    With schedule "step": learning_rate * decay_rate ** (step // decay_every). optax's own drops one
    step late for many intervals under jit. The cosine schedules count the steps of this level.
    """
    hyper = problem.hyper
    if problem.program.schedule == "step":
        drops = jnp.asarray(step // hyper.decay_every, jnp.float32)
        return hyper.learning_rate * jnp.power(hyper.decay_rate, drops)
    done = jnp.asarray(step - problem.first_step, jnp.float32) / problem.steps
    if problem.program.schedule == "hold-cosine":
        done = jnp.maximum((done - HELD) / (1 - HELD), 0)
    return hyper.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * done))
