"""What is optimized at one level: the targets, and the losses of a canvas.

Pictures and canvases are (H, W, 3), normalized (`canvas.normalize`), float32. `Program` is static
under jit; everything else is data.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxstyle.errors import InputError
from jaxstyle.losses.statistics import (
    Moments,
    Sums,
    as_divisor,
    blended_moments,
    energy,
    moments,
    squared_error,
)
from jaxstyle.losses.style import layer_style_distance, layer_style_target
from jaxstyle.losses.terms import (
    VARIATION,
    Losses,
    content_loss,
    weighted_layers,
    weighted_variation,
    with_total,
)
from jaxstyle.machine.placement import Rows, copy_to_all, share_out
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.layers import block_of, resolve_taps
from jaxstyle.network.vgg import features
from jaxstyle.optimization.rows import shared_features, shared_sums
from jaxstyle.optimization.strips import strip_features, strip_sums
from jaxstyle.settings.recipe import Hyperparams, Recipe, field_names, program_names

jax.tree_util.register_dataclass(
    Hyperparams, data_fields=list(field_names(Hyperparams)), meta_fields=[]
)


LEAST_ENERGY = 1e-15
"""Least energy by which squared errors of features are divided: a black picture's may be 0."""


LEAST_RATIO = 0.5
"""Least ratio of the photo's energy to the painting's, where the content's weight depends on it."""


class Targets(NamedTuple):
    """What the canvas is made to resemble."""

    content: dict[str, jax.Array]
    """The content's features (h, w, C), by content layer."""
    style: tuple[dict[str, Any], ...]
    """What the style loss compares with, such as the style's Gram matrix, by style layer: of all
    style pictures together, or of each."""
    content_energy: dict[str, jax.Array]
    """The mean square of the content's features, by content layer."""
    style_energy: dict[str, jax.Array]
    """The mean square of the style's features, by content layer."""


class Program(NamedTuple):
    """What decides the program of a level; hashable, static under jit.

    It has a field for every marked field of the recipe (`program_names`), so a new marked field has
    to be added here too. `terms` and `rows` are its own.
    """

    content_layers: tuple[str, ...]
    """Plain names that the weights have, as are `style_layers`."""
    style_layers: tuple[str, ...]
    pooling: str
    schedule: str
    tv_step: str = "gradient"
    optimizer: str = "adam"
    """A name from `optimizer.OPTIMIZERS`."""
    beta2: str = "constant"
    style_loss: str = "gram"
    balance: str = "book"
    style_mix: str = "blend"
    clip: bool = False
    average: float = 0.0
    memory: str = "plain"
    """How features are computed: "plain", whole, or in "strips" of rows, see `strips`."""
    terms: tuple[str, ...] = ()
    """Names of the terms of the loss, from `LOSS_TERMS`, in the order of logs and tables."""
    rows: Rows | None = None
    """How the canvas lies on several devices, see `placement`; None on one."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["kernels", "targets", "hyper", "first_step", "steps"],
    meta_fields=["program"],
)
@dataclass(frozen=True, kw_only=True)
class Problem:
    """All that a step needs in addition to the state; a pytree in which the program is static."""

    kernels: Kernels
    targets: Targets
    hyper: Hyperparams
    program: Program
    first_step: int = 0
    """How many steps of the run come before this level."""
    steps: int
    """How many steps this level has."""


def resolve(recipe: Recipe, kernels: Kernels | Params) -> Program:
    """Returns a recipe's program: its marked fields, each under its own name.

    Layers have plain names there: relu4_last becomes relu4_4. "auto" memory is plain.

    Raises:
      InputError: the weights have no such layer, or two names mean the same one.
    """
    taps = recipe.content_layers, recipe.style_layers
    content, style = (resolve_taps(each, sorted(kernels)) for each in taps)
    marked = {name: getattr(recipe, name) for name in program_names()}
    memory = "strips" if recipe.memory == "strips" else "plain"
    layers = {"content_layers": content, "style_layers": style}
    return Program(**marked | layers | {"memory": memory}, terms=tuple(LOSS_TERMS))


@partial(jax.jit, static_argnames=("program", "rows"))
def make_targets(
    kernels: Kernels,
    pictures: Sequence[jax.Array],
    shares: Sequence[jax.Array] = (),
    *,
    program: Program,
    rows: tuple[Rows, ...] | None = None,
) -> Targets:
    """Returns the targets of a content and styles, in this order, (H, W, 3), normalized.

    They are of any sizes; on several devices they are shared out as `rows` says. Of several styles
    `shares`, scalars whose sum is 1, say how much each counts.
    """
    content, *styles = pictures
    maps_of: Any = strip_features if program.memory == "strips" else features
    if program.rows is not None:
        maps_of = partial(shared_features, height=program.rows.height)
    taps = tuple(dict.fromkeys(program.style_layers + program.content_layers))
    of_style = program._replace(style_layers=taps)
    each_style: list[dict[str, Moments]] = []
    for style, its_rows in zip(styles, rows[1:] if rows else [None] * len(styles), strict=True):
        if each_style:  # one after another: together they would take more memory
            style, each_style = lax.optimization_barrier((style, each_style))  # type: ignore[no-untyped-call]
        own = of_style._replace(rows=its_rows)
        each_style.append(picture_sums(kernels, style, {}, program=own).style)
    all_styles = each_style[0] if len(each_style) == 1 else _blended(each_style, shares)
    maps = maps_of(kernels, content, taps=program.content_layers, pooling=program.pooling)
    target_of = partial(layer_style_target, style_loss=program.style_loss)
    compared = each_style if program.style_mix == "sum" else [all_styles]
    return Targets(
        maps,
        tuple({tap: target_of(one[tap]) for tap in program.style_layers} for one in compared),
        {tap: _mean_square(each, tap, content.shape, program) for tap, each in maps.items()},
        {tap: _energy(energy(all_styles[tap])) for tap in program.content_layers},
    )


def _blended(
    styles: Sequence[Mapping[str, Moments]], shares: Sequence[jax.Array]
) -> dict[str, Moments]:
    """Returns by layer the moments of a style that has these shares of several."""
    return {tap: blended_moments([each[tap] for each in styles], shares) for tap in styles[0]}


def _mean_square(
    feature_map: jax.Array, tap: str, picture: tuple[int, ...], program: Program
) -> jax.Array:
    """Returns the mean square of a map's values; rows below the picture are zero, not counted."""
    height = picture[0] if program.rows is None else program.rows.height
    values = (height >> (block_of(tap) - 1)) * feature_map.shape[1] * feature_map.shape[2]
    return _energy(jnp.sum(jnp.square(feature_map)) / as_divisor(values))


def _energy(mean_square: jax.Array) -> jax.Array:
    """Returns a mean square by which can be divided, also where all features are 0."""
    return jnp.maximum(mean_square, LEAST_ENERGY)


def picture_sums(
    kernels: Kernels,
    picture: jax.Array,
    content: Mapping[str, jax.Array],
    *,
    program: Program,
    weights: Mapping[str, jax.Array] | None = None,
) -> Sums:
    """Returns all that the losses need to know of the features of a picture (H, W, 3).

    The one place where the network meets the losses: whole, in strips, or on several devices.

    Args:
      kernels: from `convolution.prepare`.
      picture: normalized.
      content: by content layer, the features to compare with; may be empty.
      program: its layers, pooling, `memory` and `rows` count.
      weights: by style layer, how much each position (h, w) of the picture's map counts, such as a
        mask of that size; by default, and at layers that are not there, all count 1.
    """
    layers, rows = program.style_layers, program.rows
    given: Any = {"style_layers": layers, "pooling": program.pooling, "weights": weights}
    if rows is not None:
        return shared_sums(kernels, picture, content, height=rows.height, **given)
    if program.memory == "strips":
        return strip_sums(kernels, picture, content, **given)
    taps = tuple(dict.fromkeys([*content, *layers]))
    found = features(kernels, picture, taps=taps, pooling=program.pooling)
    return Sums(
        {tap: squared_error(found[tap], each) for tap, each in content.items()},
        {tap: moments(found[tap], (weights or {}).get(tap)) for tap in layers},
    )


def make_problem(
    kernels: Kernels,
    content: ArrayLike,
    style: ArrayLike | Sequence[ArrayLike],
    *,
    recipe: Recipe,
    hyper: Hyperparams,
    first_step: int = 0,
    steps: int | None = None,
    target_kernels: Kernels | None = None,
    mesh: Mesh | None = None,
) -> Problem:
    """Returns the problem of painting `content` like `style`, canvases (H, W, 3) of any sizes.

    Args:
      kernels: from `convolution.prepare`.
      content: normalized; the canvas to be has its size.
      style: normalized; or a list or tuple of several, see `style_weights`.
      recipe: its layers, pooling, schedule and memory count here ("auto" is plain), not its size:
        the canvases have theirs.
      hyper: the hyperparameters.
      first_step: how many steps of the run come before.
      steps: how many steps this level has; by default the recipe's.
      target_kernels: the same weights, prepared otherwise, for the targets alone; by default
        `kernels`. The plain convolution compiles sooner, and targets are computed only once.
      mesh: the devices that share the rows, from `placement.rows_mesh`; by default there is one.

    Raises:
      InputError: the weights lack a layer, or there are not as many `style_weights` as styles.
    """
    program = resolve(recipe, kernels)
    styles = style if isinstance(style, list | tuple) else [style]
    pictures, rows = tuple(map(jnp.asarray, (content, *styles))), None
    shares, hyper = _with_shares(hyper, len(styles), program, pictures[0].dtype)
    data = kernels, target_kernels or kernels, hyper
    if mesh is not None:
        rows = tuple(Rows(mesh, each.shape[0]) for each in pictures)
        program = program._replace(rows=rows[0])
        pictures, data = tuple(share_out(p, mesh) for p in pictures), copy_to_all(data, mesh)
    kernels, of_targets, hyper = data
    targets = make_targets(of_targets, pictures, shares, program=program, rows=rows)
    return Problem(
        kernels=kernels,
        targets=targets,
        hyper=hyper,
        program=program,
        first_step=first_step,
        steps=recipe.steps if steps is None else steps,
    )


def _with_shares(
    hyper: Hyperparams, styles: int, program: Program, dtype: Any
) -> tuple[list[jax.Array], Hyperparams]:
    """Returns how much each style counts, and all hyperparameters as arrays, see `as_arrays`.

    Steps do not see the style weights of a blend, so that another blend compiles nothing.
    """
    shares = style_shares(hyper.style_weights, styles)
    of_steps = shares if program.style_mix == "sum" else ()
    hyper = as_arrays(dataclasses.replace(hyper, style_weights=of_steps), dtype)
    return [jnp.asarray(each, dtype) for each in shares], hyper


def style_shares(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Returns how much each of `count` styles counts, in sum 1; of one style nothing, ().

    Raises:
      InputError: there are not as many weights; none at all are equal ones.
    """
    if weights and len(weights) != count:
        raise InputError(f"style_weights are {len(weights)} numbers for {count} style pictures")
    given = weights or (1.0,) * count
    return () if count == 1 else tuple(weight / sum(given) for weight in given)


def as_arrays(hyper: Hyperparams, dtype: Any) -> Hyperparams:
    """Returns hyperparameters as arrays of this dtype, `decay_every` alone as an int32.

    A Python int where a float belongs would compile another program.
    """
    arrays: Hyperparams = jax.tree.map(lambda number: jnp.asarray(number, dtype), hyper)
    interval: Any = jnp.asarray(hyper.decay_every, jnp.int32)
    return dataclasses.replace(arrays, decay_every=interval)


def canvas_losses(canvas: jax.Array, problem: Problem) -> Losses:
    """Returns every weighted loss term of a canvas (H, W, 3): pure, for jit, grad and vmap.

    If the problem is on several devices, so is the canvas, see `placement.share_out`.
    """
    content, program = problem.targets.content, problem.program
    sums = picture_sums(problem.kernels, canvas, content, program=program)
    return with_total({name: LOSS_TERMS[name](canvas, sums, problem) for name in program.terms})


def content_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted content loss."""
    hyper, program, targets = problem.hyper, problem.program, problem.targets
    losses = {tap: content_loss(each) for tap, each in sums.content.items()}
    if program.balance == "relative":
        losses = {
            tap: each * _content_factor(tap, targets, hyper.content_power)
            for tap, each in losses.items()
        }
    given = program.content_layers, hyper.content_layer_weights, hyper.content_weight
    return weighted_layers(losses, _layer_weights(*given, program))


def style_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted style loss, see `losses.style`."""
    hyper, program, targets = problem.hyper, problem.program, problem.targets
    compare = partial(layer_style_distance, style_loss=program.style_loss, balance=program.balance)
    given = program.style_layers, hyper.style_layer_weights, hyper.style_weight
    weights = _layer_weights(*given, program)
    each_style = [
        weighted_layers({tap: compare(m, target[tap]) for tap, m in sums.style.items()}, weights)
        for target in targets.style
    ]
    if len(each_style) == 1:
        return each_style[0]
    return jnp.sum(jnp.stack(each_style) * jnp.stack(hyper.style_weights))


def variation_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted total variation."""
    rows = problem.program.rows
    height = None if rows is None else rows.height
    return weighted_variation(canvas, problem.hyper.tv_weight, height=height)


LOSS_TERMS: Mapping[str, Callable[[jax.Array, Sums, Problem], jax.Array]] = MappingProxyType(
    {"content": content_term, "style": style_term, VARIATION: variation_term}
)
"""The terms of the loss by name: each a function of a canvas (H, W, 3), of the sums over its
features and of the problem, which returns a scalar with its weight. The one place where it is
decided which terms there are: logs, records, tables and pages show what is here, in this order.
If the canvas is on several devices, it has `problem.program.rows.height` rows and then zeros."""


def _content_factor(tap: str, targets: Targets, power: jax.Array | float) -> jax.Array:
    """Returns what makes a layer's squared error a part of the photo's own energy.

    And that times the ratio of the photo's to the painting's energy, at least LEAST_RATIO, to a
    power: a canvas takes over the energy of the painting, so a weak photo's error is large by
    itself. With a still smaller ratio a photo would be lost in a painting of great contrasts.
    """
    own, painting = targets.content_energy[tap], targets.style_energy[tap]
    return jnp.maximum(own / painting, LEAST_RATIO) ** power / own


def _layer_weights(
    layers: tuple[str, ...], weights: tuple[Any, ...], whole: Any, program: Program
) -> dict[str, Any]:
    """Returns by layer its weight in the loss; in relative balance they add up to `whole`."""
    if program.balance == "relative":
        tiny = LEAST_ENERGY  # of weights that are all 0
        whole = whole / jnp.maximum(sum(jnp.asarray(each) for each in weights), tiny)
    return {layer: weight * whole for layer, weight in zip(layers, weights, strict=True)}
