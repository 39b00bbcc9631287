"""Total variation in three forms, and the proximal step of the first: what Adam's becomes by it.

Total variation has a kink wherever two neighbours are equal, which is where a good picture has most
of them. Its gradient, a sum of signs, pushes neighbours past each other at every step, and only
ever smaller steps take that noise out. The proximal step instead solves for the term as it is: the
gradient of all other terms moves the canvas to z, as Adam says, and the next canvas is

    argmin_y  weight * total_variation(y) + sum (y - z)^2 / (2 widths)

where `widths`, by value, are Adam's: its learning rate over the root of its mean square (the
proximal step in the metric of Duchi, Hazan & Singer 2011, section 5). It is solved by its dual,
one bounded number for every pair of neighbours (Chambolle 2004), with the accelerated gradient of
Beck & Teboulle 2009, from where the step before has left it, and costs less than a twentieth of
what the network does.

Arrays are (H, W, 3).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import lax

from jaxstyle.losses.statistics import as_divisor

ITERATIONS = 8
"""Iterations of the dual in each step, which begin where the last step left it. Runs with 4 to 20
of them end at the same loss, to the 1 % by which rounding makes runs differ."""

Duals = tuple[jax.Array, jax.Array]
"""Dual variables, one per pair of vertical and of horizontal neighbours: (H, W, 3) each, stored at
the upper or left pixel, scaled to [-1, 1]. They have half precision, since the next step corrects
them and every byte per pixel counts."""


def total_variation(canvas: jax.Array, *, height: int | None = None) -> jax.Array:
    """Returns half the sum of the mean absolute differences of vertical and horizontal neighbours.

    Args:
      canvas: (H, W, 3) in the network's input space; a side of length 1 has no neighbours and
        adds nothing.
      height: how many of the rows are the picture's; those below, if any, must be zero.
    """
    vertical, horizontal = canvas[1:] - canvas[:-1], canvas[:, 1:] - canvas[:, :-1]
    if height is None:
        return 0.5 * (_mean_abs(vertical) + _mean_abs(horizontal))
    inside = jnp.arange(vertical.shape[0]) < height - 1
    vertical = jnp.where(inside[:, None, None], vertical, 0)
    width = canvas.shape[1]
    return 0.5 * (
        _sum_abs(vertical) / as_divisor(max((height - 1) * width * 3, 1))
        + _sum_abs(horizontal) / as_divisor(max(height * (width - 1) * 3, 1))
    )


def squared_variation(picture: jax.Array, *, height: int | None = None) -> jax.Array:
    """Returns half the sum of squared differences of neighbours, in colors from 0 to 255.

    As neural-style has it: a sum, not a mean, and of each pixel's differences to the right and
    below where it has both, so the last row and column have none.

    Args:
      picture: (H, W, 3), colors from 0 to 1, or less any constant.
      height: see `total_variation`.
    """
    levels = 255 * picture
    vertical = levels[1:, :-1] - levels[:-1, :-1]
    horizontal = levels[:-1, 1:] - levels[:-1, :-1]
    squares = jnp.square(vertical) + jnp.square(horizontal)
    if height is not None:
        inside = jnp.arange(squares.shape[0]) < height - 1
        squares = jnp.where(inside[:, None, None], squares, 0)
    return 0.5 * jnp.sum(squares)


def nine_point_variation(picture: jax.Array, *, height: int | None = None) -> jax.Array:
    """Returns the mean squared differences to the eight neighbours, in colors from 0 to 1.

    As style-transfer-pytorch has it: with the border replicated, two thirds of the mean squares of
    the differences to the right and below, and a sixth of those along each diagonal.

    Args:
      picture: (H, W, 3), colors from 0 to 1, or less any constant.
      height: see `total_variation`.
    """
    rows, _, channels = picture.shape
    height = height or rows
    there = jnp.clip(jnp.arange(-1, rows + 1), 0, height - 1)
    taller = jnp.take(picture, there, axis=0, mode="clip")
    x = jnp.pad(taller, ((0, 0), (1, 1), (0, 0)), mode="edge")
    inside = (jnp.arange(rows + 1) <= height)[:, None, None]
    differences = (
        (3, x[1:-1, 2:] - x[1:-1, 1:-1]),
        (3, x[2:, 1:-1] - x[1:-1, 1:-1]),
        (12, x[1:, 1:] - x[:-1, :-1]),
        (12, x[1:, :-1] - x[:-1, 1:]),
    )
    total = jnp.zeros((), picture.dtype)
    for share, each in differences:
        padded = each.shape[0] - rows  # windows of a diagonal reach one further
        squares = jnp.where(inside[1 - padded : rows + 1], jnp.square(each), 0)
        count = (height + padded) * each.shape[1] * channels
        total = total + jnp.sum(squares) / (as_divisor(count) * share)
    return 2 * total


def _mean_abs(x: jax.Array) -> jax.Array:
    return _sum_abs(x) / as_divisor(max(x.size, 1))


def _sum_abs(x: jax.Array) -> jax.Array:
    """Returns the sum of |x| with subgradient 0 at 0, as in PyTorch.

    `jnp.abs` has 1 there. In a photo of 8 bits one neighbour in twelve is equal, and the
    gradient would be wrong by a third.
    """
    return jnp.sum(x * lax.stop_gradient(jnp.sign(x)))


VARIATIONS: Mapping[str, Callable[..., jax.Array]] = MappingProxyType(
    {
        "absolute": total_variation,
        "squared": squared_variation,
        "nine-point": nine_point_variation,
    }
)
"""By name; a new one needs its name in `recipe.TV_FORMS` too. "absolute" takes a canvas as it is,
the others its colors."""


def no_duals(canvas: jax.Array) -> Duals:
    """Returns the duals to begin with."""
    return jnp.zeros_like(canvas, jnp.float16), jnp.zeros_like(canvas, jnp.float16)


def proximal_step(
    moved: jax.Array,
    widths: jax.Array,
    duals: Duals,
    weight: jax.Array | float,
    *,
    height: int | None = None,
) -> tuple[jax.Array, Duals]:
    """Returns the canvas nearest to `moved` for its total variation, as above, and its duals.

    Args:
      moved: (H, W, 3), z.
      widths: (H, W, 3), at least 0: how far a gradient of 1 moves a value.
      duals: from the step before, or `no_duals`. Where much is flat, pushes build up slowly.
      weight: of the total variation, see `variation.total_variation`.
      height: how many of the rows are the picture's; those below stay as they are.
    """
    rows, columns, channels = moved.shape
    height = height or rows
    share = 0.5 * jnp.asarray(weight, moved.dtype) / channels
    row, column = jnp.arange(rows)[:, None, None], jnp.arange(columns)[:, None]
    bounds = (  # 0 where there is no next one
        jnp.where(row < height - 1, share / max((height - 1) * columns, 1), 0),
        jnp.where(
            (row < height) & (column < columns - 1), share / max(height * (columns - 1), 1), 0
        ),
    )
    # the dual's gradient changes at most 8 times as fast as it does, times the widths of a pair
    steps = [1 / (4 * (widths + _next(widths, axis)) + _TINY) for axis in (0, 1)]

    def primal(duals: Duals) -> jax.Array:
        vertical, horizontal = (_before(dual, axis) - dual for axis, dual in enumerate(duals))
        return moved - widths * (vertical + horizontal)

    def body(i: jax.Array, carry: tuple[Duals, Duals]) -> tuple[Duals, Duals]:
        found, ahead = carry
        canvas = primal(ahead)
        momentum = i.astype(moved.dtype) / (i + 3).astype(moved.dtype)
        climbed, beyond = [], []
        for axis in (0, 1):
            new = ahead[axis] + steps[axis] * (_next(canvas, axis) - canvas)
            new = jnp.clip(new, -bounds[axis], bounds[axis])
            climbed.append(new)
            beyond.append(new + momentum * (new - found[axis]))
        return (climbed[0], climbed[1]), (beyond[0], beyond[1])

    start = duals[0] * bounds[0], duals[1] * bounds[1]
    end, _ = lax.fori_loop(0, ITERATIONS, body, (start, start))
    parts = [jnp.where(most > 0, each / most, 0) for each, most in zip(end, bounds, strict=True)]
    return primal(end), (parts[0].astype(jnp.float16), parts[1].astype(jnp.float16))


_TINY = 1e-30
"""Keeps a step of no width, at a learning rate of 0, from dividing by it."""


def _next(values: jax.Array, axis: int) -> jax.Array:
    """Returns by place the value of the one after it, below or to the right; 0 after the last."""
    return _shifted(values, axis, (-1, 1, 0))


def _before(values: jax.Array, axis: int) -> jax.Array:
    """Returns by place the value of the one before it, above or to the left; 0 before the first."""
    return _shifted(values, axis, (1, -1, 0))


def _shifted(values: jax.Array, axis: int, padding: tuple[int, int, int]) -> jax.Array:
    paddings = [padding if each == axis else (0, 0, 0) for each in range(values.ndim)]
    return lax.pad(values, jnp.zeros((), values.dtype), paddings)
