"""What is optimized at one level: the targets, and the losses of a canvas.

Pictures and canvases are (H, W, 3), normalized (`canvas.normalize`), float32. `Program` is static
under jit; everything else is data.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import STD
from jaxstyle.images.regions import WHOLE, Regions, check_regions
from jaxstyle.losses.columns import cosine_distances
from jaxstyle.losses.lattice import Lattice
from jaxstyle.losses.statistics import Moments, Sums, of_region
from jaxstyle.losses.style import layer_style_distance
from jaxstyle.losses.terms import (
    VARIATION,
    Losses,
    content_loss,
    weighted_layers,
    weighted_variation,
    with_total,
)
from jaxstyle.losses.transport import self_similarity_loss, side_by_side, transport_distance
from jaxstyle.machine.placement import Rows, copy_to_all, share_out
from jaxstyle.network.convolution import Kernels, Params
from jaxstyle.network.layers import resolve_taps
from jaxstyle.network.precision import meant_by
from jaxstyle.optimization.matches import GRID
from jaxstyle.optimization.samples import (
    POINT_COLORS,
    Samples,
    columns_at,
    in_picture,
    photo_at,
    points_of_step,
)
from jaxstyle.optimization.targets import (
    LEAST_ENERGY,
    Program,
    Targets,
    make_targets,
    picture_sums,
)
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import (
    COLUMN_LOSS_NAMES,
    SAMPLED_LOSS_NAMES,
    Recipe,
    program_names,
)

jax.tree_util.register_dataclass(
    Hyperparams, data_fields=list(field_names(Hyperparams)), meta_fields=[]
)


LEAST_RATIO = 0.5
"""Least ratio of the photo's energy to the painting's, where the content's weight depends on it."""


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

    Layers have plain names there: relu4_last becomes relu4_4. "auto" memory is plain, "auto"
    precision what it means here: losses that are to be as published (the book's balance), and
    Winograd's convolution, are in float32 everywhere.

    Raises:
      InputError: the weights have no such layer, or two names mean the same one.
    """
    taps = recipe.content_layers, recipe.style_layers
    content, style = (resolve_taps(each, sorted(kernels)) for each in taps)
    marked = {name: getattr(recipe, name) for name in program_names()}
    memory = "strips" if recipe.memory == "strips" else "plain"
    layers = {"content_layers": content, "style_layers": style}
    exact = recipe.balance == "book" or recipe.conv == "winograd"
    own = {"memory": memory, "precision": meant_by(recipe.precision, exact=exact)}
    return Program(**marked | layers | own, terms=tuple(LOSS_TERMS))


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
    regions: Regions = WHOLE,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> Problem:
    """Returns the problem of painting `content` like `style`, canvases (H, W, 3) of any sizes.

    Args:
      kernels: from `convolution.prepare`.
      content: normalized; the canvas to be has its size.
      style: normalized; or a list or tuple of several, see `style_weights`.
      recipe: "auto" memory is plain; its size does not count, the canvases have theirs.
      hyper: the hyperparameters.
      first_step: how many steps of the run come before.
      steps: how many steps this level has; by default the recipe's.
      target_kernels: the same weights, prepared to compile sooner, for the targets alone.
      regions: of these very sizes, see `Regions.resized`.
      seed: of the points that are compared, 0 to 2**32 - 1, where the style loss takes some.
      mesh: the devices that share the rows, from `placement.rows_mesh`; by default there is one.

    Raises:
      InputError: the weights lack a layer, or what is given does not go together.
    """
    check_regions(regions, recipe)
    program = resolve(recipe, kernels)
    styles = style if isinstance(style, list | tuple) else [style]
    pictures, rows = [jnp.asarray(each) for each in (content, *styles, *_kept(regions))], None
    shares, hyper = _with_shares(hyper, len(styles), program, pictures[0].dtype)
    data = kernels, target_kernels or kernels, hyper, _guides(regions), np.uint32(seed)
    if mesh is not None:
        rows = tuple(Rows(mesh, each.shape[0]) for each in pictures)
        program = program._replace(rows=rows[0])
        pictures, data = [share_out(each, mesh) for each in pictures], copy_to_all(data, mesh)
    kernels, of_targets, hyper, guides, number = data
    keep: Any = pictures.pop() if regions.keep is not None else ()
    given: Any = {"program": program, "rows": rows, "propagation": recipe.propagation}
    targets = make_targets(of_targets, pictures, shares, guides, number, **given)
    level = {"first_step": first_step, "steps": recipe.steps if steps is None else steps}
    return Problem(
        kernels=kernels, targets=targets._replace(keep=keep), hyper=hyper, program=program, **level
    )


def _kept(regions: Regions) -> list[jax.Array]:
    """Returns the mask of what is kept, (H, W, 3), 1 or 0; nothing if there is no such mask."""
    if regions.keep is None:
        return []
    return [jnp.repeat(jnp.asarray(regions.keep, jnp.float32)[..., None], 3, axis=-1)]


def _guides(regions: Regions) -> tuple[jax.Array | None, tuple[jax.Array, ...]]:
    """Returns the guides of canvas and styles."""
    content = None if regions.content is None else jnp.asarray(regions.content)
    return content, tuple(map(jnp.asarray, regions.styles))


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


def canvas_losses(canvas: jax.Array, problem: Problem, step: jax.Array | int = 0) -> Losses:
    """Returns every weighted loss term of a canvas (H, W, 3): pure, for jit, grad and vmap.

    If the problem is on several devices, so is the canvas, see `placement.share_out`. `step`, over
    the whole run, decides which points losses by samples compare, see `samples`.
    """
    content, program = problem.targets.content, problem.program
    given: Any = {"program": program, "weights": problem.targets.guides or None}
    if program.style_loss in COLUMN_LOSS_NAMES:
        given["matched"] = {tap: each.columns for tap, each in problem.targets.style[0].items()}
    if isinstance(problem.targets.samples, Samples):
        sums = _at_samples(canvas, problem, problem.targets.samples, step)
    else:
        sums = picture_sums(problem.kernels, canvas, content, **given)
    return with_total({name: LOSS_TERMS[name](canvas, sums, problem) for name in program.terms})


def _at_samples(
    canvas: jax.Array, problem: Problem, samples: Samples, step: jax.Array | int
) -> Sums:
    """Returns the columns at a step's points: as content the photo's, as style the canvas's."""
    program = problem.program
    height = canvas.shape[0] if program.rows is None else program.rows.height
    chosen = points_of_step(samples, step, (height, canvas.shape[1]))

    def read(picture: jax.Array, lattices: Mapping[str, Lattice]) -> dict[str, Any]:
        given: Any = {"program": program, "lattices": lattices}
        return picture_sums(problem.kernels, picture, {}, **given).style

    given: Any = {"taps": program.style_layers, "height": height, "read": read}
    found: Any = columns_at(canvas, in_picture(samples, chosen), **given)
    photo: Any = photo_at(samples, chosen)
    return Sums(photo, found)


def content_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted content loss."""
    hyper, program, targets = problem.hyper, problem.program, problem.targets
    if program.style_loss in SAMPLED_LOSS_NAMES:
        columns: Any = sums.content
        scales, weights = targets.style[0].scales, _column_weights(problem)
        factors = {tap: weight * scales[tap] for tap, weight in weights.items()}
        own, photo = ({tap: each[tap] for tap in factors} for each in (sums.style, columns))
        both = side_by_side(own, factors), side_by_side(photo, factors)
        return hyper.content_weight * self_similarity_loss(*both)
    losses = {tap: content_loss(each) for tap, each in sums.content.items()}
    if program.balance == "relative":
        losses = {
            tap: each * _content_factor(tap, targets, hyper.content_power)
            for tap, each in losses.items()
        }
    given = program.content_layers, hyper.content_layer_weights, hyper.content_weight
    return weighted_layers(losses, _layer_weights(*given, program))


def style_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted style loss, see `losses.style`; of regions the mean of theirs."""
    hyper, program, targets = problem.hyper, problem.program, problem.targets
    if program.style_loss in COLUMN_LOSS_NAMES:
        return _matched_term(sums, problem)
    if program.style_loss in SAMPLED_LOSS_NAMES:
        return _sampled_term(sums, problem)
    compare = partial(layer_style_distance, style_loss=program.style_loss, balance=program.balance)
    given = program.style_layers, hyper.style_layer_weights, hyper.style_weight
    weights = _layer_weights(*given, program)
    if targets.guides:
        compare = partial(_if_there, compare)
    found = [
        weighted_layers(
            {tap: compare(m, target[tap]) for tap, m in canvas_moments.items()}, weights
        )
        for canvas_moments, target in _compared(sums, targets)
    ]
    if len(found) == 1:
        return found[0]
    if not hyper.style_weights:
        return jnp.mean(jnp.stack(found))
    return jnp.sum(jnp.stack(found) * jnp.stack(hyper.style_weights))


def _matched_term(sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted mean of the distances of the canvas's columns from their targets."""
    hyper, program, targets = problem.hyper, problem.program, problem.targets
    weights = dict(zip(program.style_layers, hyper.style_layer_weights, strict=True))
    distances = cosine_distances(sums.style, targets.style[0], weights)
    if not targets.guides:
        return hyper.style_weight * jnp.mean(distances)
    positions = targets.guides[GRID]
    there = jnp.maximum(jnp.sum(positions), LEAST_ENERGY)
    return hyper.style_weight * jnp.sum(distances * positions) / there


def _sampled_term(sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted distance of the canvas's columns from the style's, see `transport`.

    The colours weigh less where the content weighs more than 1: they are at odds.
    """
    hyper, columns = problem.hyper, dict(sums.style)
    given: Any = {"factors": _column_weights(problem)}
    given["color_weight"] = 1 / jnp.maximum(hyper.content_weight, 1)
    colors: Any = columns.pop(POINT_COLORS)
    found = transport_distance(columns, colors, problem.targets.style[0], **given)
    return hyper.style_weight * found


def _column_weights(problem: Problem) -> dict[str, Any]:
    """Returns by layer the factor of its features: the root of its weight, as these are of squares.

    In relative balance the mean of the weights is 1.
    """
    program, weights = problem.program, problem.hyper.style_layer_weights
    whole: Any = float(len(weights)) if program.balance == "relative" else 1.0
    shares = _layer_weights(program.style_layers, weights, whole, program)
    return {tap: jnp.sqrt(share) for tap, share in shares.items()}


def _if_there(compare: Callable[..., jax.Array], m: Moments, target: Any) -> jax.Array:
    """Returns the distance of a region, or 0 if it has no position at this layer."""
    there, some = m.positions > 0, m._replace(positions=jnp.maximum(m.positions, 1))
    return jnp.where(there, compare(some, target), 0)


def _compared(sums: Sums, targets: Targets) -> list[tuple[dict[str, Moments], dict[str, Any]]]:
    """Returns the canvas's moments by layer with each target that they are held to."""
    if not targets.guides:
        return [(sums.style, target) for target in targets.style]
    regions = next(iter(targets.guides.values())).shape[-1]
    each_region = [{tap: of_region(m, i) for tap, m in sums.style.items()} for i in range(regions)]
    count = max(regions, len(targets.style))
    return [(each_region[i % regions], targets.style[i % len(targets.style)]) for i in range(count)]


def variation_term(canvas: jax.Array, sums: Sums, problem: Problem) -> jax.Array:
    """Returns the weighted total variation."""
    rows = problem.program.rows
    height = None if rows is None else rows.height
    form = problem.program.tv_form
    if form != "absolute":
        canvas = canvas * jnp.asarray(STD, canvas.dtype)
    return weighted_variation(canvas, problem.hyper.tv_weight, height=height, form=form)


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
