"""What the canvas is made to resemble: the features of the content, the statistics of the styles.

Pictures are (H, W, 3), normalized (`canvas.normalize`), float32. `Program` is static under jit;
everything else is data.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxstyle.losses.columns import GRID_BLOCK, agreement, at_grid
from jaxstyle.losses.lattice import Lattice, at_points
from jaxstyle.losses.statistics import (
    Moments,
    Sums,
    as_divisor,
    blended_moments,
    energy,
    moments,
    of_region,
    squared_error,
)
from jaxstyle.losses.style import layer_style_target
from jaxstyle.machine.placement import Rows
from jaxstyle.network.convolution import Kernels
from jaxstyle.network.layers import block_of, conv_of
from jaxstyle.network.precision import allowed
from jaxstyle.network.vgg import features
from jaxstyle.optimization.guides import guides_at
from jaxstyle.optimization.matches import columns_of, nearest_targets, regions_at_grid
from jaxstyle.optimization.rows import shared_features, shared_sums
from jaxstyle.optimization.samples import Samples, make_samples
from jaxstyle.optimization.strips import strip_features, strip_sums
from jaxstyle.settings.recipe import COLUMN_LOSS_NAMES, HISTORY, SAMPLED_LOSS_NAMES
from jaxstyle.weights.activations import CAFFE_SCALE

LEAST_ENERGY = 1e-15
"""Least energy by which squared errors of features are divided: a black picture's may be 0."""


class Targets(NamedTuple):
    """What the canvas is made to resemble."""

    content: dict[str, jax.Array]
    """The content's features (h, w, C), by content layer."""
    style: tuple[Any, ...]
    """What the style loss compares with, such as the style's Gram matrix, by style layer: of all
    style pictures together, or of each; or of each region. Of losses by columns one
    `NearestTarget` for all, of those by samples one `transport.StyleColumns`."""
    content_energy: dict[str, jax.Array]
    """The mean square of the content's features, by content layer."""
    style_energy: dict[str, jax.Array]
    """The mean square of the style's features, by content layer."""
    guides: Mapping[str, jax.Array] | tuple[()] = ()
    """By style layer, how much each position of the canvas belongs to each region, (h, w, R), see
    `guides`; empty if all of it is one. Of losses by columns the weights of the grid's positions,
    (h, w), see `matches.GRID`."""
    keep: jax.Array | tuple[()] = ()
    """(H, W, 3): 1 where the canvas stays what it is, else 0; empty if that is nowhere."""
    samples: Samples | tuple[()] = ()
    """At which points pictures are compared; empty if they are compared as a whole."""


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
    history: int = HISTORY
    line_search: str = "none"
    carry: bool = False
    beta2: str = "constant"
    style_loss: str = "gram"
    balance: str = "book"
    style_mix: str = "blend"
    tv_form: str = "absolute"
    units: str = "torchvision"
    padding: str = "zeros"
    clip: bool = False
    average: float = 0.0
    memory: str = "plain"
    """How features are computed: "plain", whole, or in "strips" of rows, see `strips`."""
    precision: str = "highest"
    """In which the network convolves, see `network.precision`."""
    terms: tuple[str, ...] = ()
    """Names of the terms of the loss, from `LOSS_TERMS`, in the order of logs and tables."""
    rows: Rows | None = None
    """How the canvas lies on several devices, see `placement`; None on one."""


def picture_sums(
    kernels: Kernels,
    picture: jax.Array,
    content: Mapping[str, jax.Array],
    *,
    program: Program,
    weights: Mapping[str, jax.Array] | None = None,
    matched: Mapping[str, jax.Array] | None = None,
    lattices: Mapping[str, Lattice] | None = None,
) -> Sums:
    """Returns all that the losses need to know of the features of a picture (H, W, 3).

    The one place where the network meets the losses: whole, in strips, or on several devices.

    Args:
      kernels: from `convolution.prepare`.
      picture: normalized.
      content: by content layer, the features to compare with; may be empty.
      program: its layers, pooling, padding, precision, `units`, `memory` and `rows` count.
      weights: by style layer, how much each position of the picture's map counts, (h, w) or (h, w,
        R), see `moments`; by default, and at layers that are not there, all count 1.
      matched: by style layer, the columns at the grid, (h, w, C), that those of the picture are
        compared with; the style's sums are then an `Agreement`, see `columns`.
      lattices: by style layer, where its features are read, see `lattice`; they are then the
        style's sums, (n, m, C).
    """
    layers, rows = program.style_layers, program.rows
    network: Any = _network(program)
    given: Any = {"style_layers": layers, "weights": weights, "matched": matched, **network}
    given["lattices"] = lattices
    if rows is not None:
        sums = shared_sums(kernels, picture, content, height=rows.height, **given)
    elif program.memory == "strips":
        sums = strip_sums(kernels, picture, content, **given)
    else:
        taps = tuple(dict.fromkeys([*content, *layers]))
        found = features(kernels, picture, taps=taps, **network)
        sums = _whole_sums(found, content, layers, weights, matched, lattices, program.precision)
    return sums if program.units == "torchvision" else _in_caffes_units(sums)


def _network(program: Program) -> dict[str, str]:
    """Returns how the network of a program computes, as `features` and its like take it."""
    names = ("pooling", "padding", "precision")
    return {name: getattr(program, name) for name in names}


def _in_caffes_units(sums: Sums) -> Sums:
    """Returns the sums of features that are as large as those of Caffe's VGG-19."""
    times = {tap: CAFFE_SCALE[conv_of(tap)] for tap in {*sums.content, *sums.style}}
    return Sums(
        {tap: e._replace(sum=e.sum * times[tap] ** 2) for tap, e in sums.content.items()},
        {
            tap: m._replace(outer_sum=m.outer_sum * times[tap] ** 2, sum=m.sum * times[tap])
            for tap, m in sums.style.items()
        },
    )


def _whole_sums(
    found: Mapping[str, jax.Array],
    content: Mapping[str, jax.Array],
    layers: Sequence[str],
    weights: Mapping[str, jax.Array] | None,
    matched: Mapping[str, jax.Array] | None,
    lattices: Mapping[str, Lattice] | None,
    precision: str,
) -> Sums:
    """Returns the sums over whole feature maps, see `picture_sums`."""
    how = allowed(precision)
    style: dict[str, Any] = {
        tap: at_points(found[tap], each) for tap, each in (lattices or {}).items()
    }
    if matched is None and lattices is None:
        masks = weights or {}
        style = {tap: moments(found[tap], masks.get(tap), allowed=how) for tap in layers}
    for tap, each in (matched or {}).items():
        style[tap] = agreement(at_grid(found[tap], block_of(tap), each.shape[:2]), each)
    return Sums({tap: squared_error(found[tap], each) for tap, each in content.items()}, style)


@partial(jax.jit, static_argnames=("program", "rows", "propagation"))
def make_targets(
    kernels: Kernels,
    pictures: Sequence[jax.Array],
    shares: Sequence[jax.Array] = (),
    guides: tuple[jax.Array | None, Sequence[jax.Array]] = (None, ()),
    seed: jax.Array | None = None,
    *,
    program: Program,
    rows: tuple[Rows, ...] | None = None,
    propagation: str = "simple",
) -> Targets:
    """Returns the targets of a content and styles, in this order, (H, W, 3), normalized.

    They are of any sizes; on several devices they are shared out as `rows` says. Of several styles
    `shares`, scalars whose sum is 1, say how much each counts. `guides` are the content's, (H, W,
    R), and each style's or none, see `regions.Regions`; they are brought to the layers by
    `propagation`, see `guides_at`. `seed` is of the points of losses by samples, see `samples`.
    """
    content, *_ = pictures
    if program.style_loss in SAMPLED_LOSS_NAMES:
        return _by_samples(kernels, pictures, seed, program, rows)
    maps_of: Any = strip_features if program.memory == "strips" else features
    if program.rows is not None:
        maps_of = partial(shared_features, height=program.rows.height)
    network = _network(program)
    maps = maps_of(kernels, content, taps=program.content_layers, **network)
    own_guides, style_guides = guides
    at_layers = partial(guides_at, convs=kernels, propagation=propagation)
    if program.style_loss in COLUMN_LOSS_NAMES:
        return _by_columns(kernels, maps, pictures, guides, program, rows)
    weights = [at_layers(each, _all_layers(program)) for each in style_guides]
    each_style = _style_moments(kernels, pictures[1:], weights, program, rows and rows[1:])
    regions = [each_style]
    if style_guides:
        regions = [_of_region(each_style, i) for i in range(style_guides[0].shape[-1])]
    blends = [_blended(styles, shares) for styles in regions]
    compared = each_style if program.style_mix == "sum" else blends
    target_of = partial(layer_style_target, style_loss=program.style_loss)
    energies = {tap: [energy(each[tap]) for each in blends] for tap in program.content_layers}
    return Targets(
        maps,
        tuple({tap: target_of(one[tap]) for tap in program.style_layers} for one in compared),
        {tap: _mean_square(each, tap, content.shape, program) for tap, each in maps.items()},
        {tap: _energy(sum(each[1:], each[0]) / len(each)) for tap, each in energies.items()},
        () if own_guides is None else at_layers(own_guides, program.style_layers),
    )


def _by_columns(
    kernels: Kernels,
    maps: dict[str, jax.Array],
    pictures: Sequence[jax.Array],
    guides: tuple[jax.Array | None, Sequence[jax.Array]],
    program: Program,
    rows: tuple[Rows, ...] | None,
) -> Targets:
    """Returns the targets where columns are compared, see `matches`."""
    content, *styles = pictures
    taps = program.style_layers
    given: Any = {**_network(program), "memory": program.memory}
    columns: Any = partial(columns_of, kernels, taps=taps, **given)

    def of_style(i: int, style: jax.Array) -> dict[str, jax.Array]:
        own = rows[i + 1] if rows else None
        height = (own.height if own else style.shape[0]) >> (GRID_BLOCK - 1)
        return {tap: each[:height] for tap, each in columns(style, rows=own).items()}

    height = rows[0].height if rows else content.shape[0]
    grid = content.shape[0] >> (GRID_BLOCK - 1), content.shape[1] >> (GRID_BLOCK - 1)
    asked, allowed, weights = regions_at_grid(guides, grid, height)
    target = nearest_targets(
        columns(content, rows=rows[0] if rows else None),
        styles,
        of_style,
        inside=height >> (GRID_BLOCK - 1),
        balance=program.balance,
        asked=asked.astype(content.dtype),
        allowed=allowed,
    )
    own = program._replace(style_layers=program.content_layers)
    several = _style_moments(kernels, styles, (), own, rows and rows[1:])
    found = {tap: [energy(each[tap]) for each in several] for tap in program.content_layers}
    return Targets(
        maps,
        (target,),
        {tap: _mean_square(each, tap, content.shape, program) for tap, each in maps.items()},
        {tap: _energy(sum(each[1:], each[0]) / len(each)) for tap, each in found.items()},
        weights,
    )


def _by_samples(
    kernels: Kernels,
    pictures: Sequence[jax.Array],
    seed: jax.Array | None,
    program: Program,
    rows: tuple[Rows, ...] | None,
) -> Targets:
    """Returns the targets where points are compared, see `samples`."""
    content, *styles = pictures
    each_rows: Sequence[Rows | None] = rows or (None,) * len(pictures)

    def read(picture: jax.Array, lattices: Mapping[str, Lattice], rows: Rows | None) -> Any:
        own = program._replace(rows=rows)
        return picture_sums(kernels, picture, {}, program=own, lattices=lattices).style

    pairs = zip(pictures, each_rows, strict=True)
    samples, style = make_samples(
        jnp.uint32(0) if seed is None else seed,
        content,
        styles,
        read=[partial(read, rows=each) for each in each_rows],
        taps=program.style_layers,
        heights=[own.height if own else picture.shape[0] for picture, own in pairs],
        balance=program.balance,
    )
    return Targets({}, (style,), {}, {}, samples=samples)


def _all_layers(program: Program) -> tuple[str, ...]:
    return tuple(dict.fromkeys(program.style_layers + program.content_layers))


def _style_moments(
    kernels: Kernels,
    styles: Sequence[jax.Array],
    weights: Sequence[Mapping[str, jax.Array]],
    program: Program,
    rows: Sequence[Rows] | None,
) -> list[dict[str, Moments]]:
    """Returns by style and by style or content layer the moments, of each region if weighted."""
    found: list[dict[str, Moments]] = []
    for i, style in enumerate(styles):
        if found:  # one after another: together they would take more memory
            style, found = lax.optimization_barrier((style, found))  # type: ignore[no-untyped-call]
        own = program._replace(style_layers=_all_layers(program), rows=rows[i] if rows else None)
        own_weights = weights[i] if weights else None
        found.append(picture_sums(kernels, style, {}, program=own, weights=own_weights).style)
    return found


def _of_region(styles: Sequence[Mapping[str, Moments]], region: int) -> list[dict[str, Moments]]:
    return [{tap: of_region(m, region) for tap, m in each.items()} for each in styles]


def _blended(
    styles: Sequence[Mapping[str, Moments]], shares: Sequence[jax.Array]
) -> dict[str, Moments]:
    """Returns by layer the moments of a style that has these shares of several.

    Only those count that have positions there, such as those that have a region.
    """
    if len(styles) == 1:
        return dict(styles[0])
    found = {}
    for tap in styles[0]:
        several = [each[tap] for each in styles]
        there = [
            jnp.where(m.positions > 0, share, 0) for m, share in zip(several, shares, strict=True)
        ]
        whole = functools.reduce(operator.add, there)
        own = [m._replace(positions=jnp.maximum(m.positions, 1)) for m in several]
        found[tap] = blended_moments(own, [each / whole for each in there])
    return found


def _mean_square(
    feature_map: jax.Array, tap: str, picture: tuple[int, ...], program: Program
) -> jax.Array:
    """Returns the mean square of a map's values; rows below the picture are zero, not counted."""
    height = picture[0] if program.rows is None else program.rows.height
    values = (height >> (block_of(tap) - 1)) * feature_map.shape[1] * feature_map.shape[2]
    wide = feature_map.astype(jnp.promote_types(feature_map.dtype, jnp.float32))
    return _energy(jnp.sum(jnp.square(wide)) / as_divisor(values))


def _energy(mean_square: jax.Array) -> jax.Array:
    """Returns a mean square by which can be divided, also where all features are 0."""
    return jnp.maximum(mean_square, LEAST_ENERGY)
