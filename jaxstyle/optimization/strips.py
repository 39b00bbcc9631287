"""A picture's features in strips of rows: the same sums in a fraction of the memory.

Block by block, the rows of the block's input are cut into strips, each with as many rows of its
neighbours above and below (the halo) as the block has convolutions. A loop convolves one strip
after another, adds up what the losses need of the strip's own rows, pools, and keeps the pooled
rows alone. On the way back a strip is convolved once more instead of having been kept. Nothing is
approximated: rows outside the picture are set to zero after every convolution, which is the
padding, and every row is counted once. What is left of a block in memory is its input.
"""

from collections.abc import Mapping, Sequence, Set
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxstyle.losses.columns import GRID_BLOCK, Agreement, agreement, at_grid, grid_window
from jaxstyle.losses.lattice import Lattice, at_points
from jaxstyle.losses.statistics import Moments, SquaredError, Sums, moments, squared_error
from jaxstyle.network.convolution import Kernels
from jaxstyle.network.layers import block_of
from jaxstyle.network.precision import allowed, network_input
from jaxstyle.network.vgg import (
    POOLS,
    Pool,
    activated,
    convolved,
    is_native,
    relu,
    up_to_deepest,
)
from jaxstyle.optimization.strip_loop import Cut, cut_into, cut_rows, joined, over_strips

ROWS = 64
"""Rows of a strip, in every block: at half the width and twice the channels a row takes as much
memory. With fewer, more of the work is done twice, at the edges."""

FeatureMaps = dict[str, jax.Array]
"""Feature maps by tap."""


class StripBlock(NamedTuple):
    """What is done to the strips of a block."""

    convs: list[str]
    cut: Cut
    style_layers: list[str]
    """The taps here whose moments, or features at the points of `lattices`, are added up, as are
    the errors of those that have targets."""
    kept: list[str]
    """The taps here whose maps are kept."""
    window: int
    """How many rows and columns of kept maps are averaged to one, see `columns.grid_window`."""
    pool: Pool | None
    """None for the last block."""
    precision: str
    padding: str
    """Of the first convolution, see `convolution.first_layer`."""
    across: Mapping[str, jax.Array]
    """The columns of lattices by tap, where features are read at points."""


class StripSums(NamedTuple):
    """What was found in the strips."""

    errors: FeatureMaps
    """The summed squared differences, by tap that has a target."""
    style: dict[str, Any]
    """By style layer the sums of `Moments`, without the number of positions, or the features at the
    points of a lattice."""


def strip_sums(
    kernels: Kernels,
    image: jax.Array,
    content: Mapping[str, jax.Array],
    *,
    style_layers: Sequence[str],
    pooling: str,
    rows: int = ROWS,
    weights: Mapping[str, jax.Array] | None = None,
    precision: str = "highest",
    padding: str = "zeros",
    matched: Mapping[str, jax.Array] | None = None,
    lattices: Mapping[str, Lattice] | None = None,
) -> Sums:
    """Returns the sums over the whole picture; they and their gradients are the plain ones.

    Args:
      kernels: from `convolution.prepare`.
      image: (H, W, 3), normalized.
      content: by content layer, the content's features (h, w, C).
      style_layers: plain names, as are the keys of `content`.
      pooling: "max", "avg" or "l2".
      rows: about how many rows a strip has, in each block.
      weights: by style layer, how much each position counts, (h, w) or (h, w, R), see `moments`.
      precision: of the convolutions, see `network.precision`.
      padding: of the first convolution, see `convolution.first_layer`.
      matched: by style layer, the columns at the grid, (h, w, C), that those of the picture are
        compared with, see `columns`; the style's sums are then an `Agreement`.
      lattices: by style layer, where its features are read; they are then the style's sums.
    """
    how: Any = {"pooling": pooling, "padding": padding, "precision": precision, "rows": rows}
    if matched is not None:
        return _matched_sums(kernels, image, content, matched, **how)
    if lattices is not None:
        rows_of = {tap: each.rows for tap, each in lattices.items()}
        how |= {"style_layers": tuple(lattices), "kept": (), "lattices": lattices}
        found, _ = _through_blocks(kernels, image, content, rows_of, **how)
        return Sums(_squared_errors(found, content), found.style)
    masks = {tap: each for tap, each in (weights or {}).items() if tap in style_layers}
    how |= {"style_layers": style_layers, "kept": ()}
    found, _ = _through_blocks(kernels, image, content, masks, **how)
    sizes: dict[str, Any] = {tap: _positions(image, tap) for tap in style_layers}
    sizes |= {tap: jnp.sum(each, (0, 1), found.style[tap][1].dtype) for tap, each in masks.items()}
    of_style = {
        tap: Moments(found.style[tap][0], found.style[tap][1], sizes[tap]) for tap in style_layers
    }
    return Sums(_squared_errors(found, content), of_style)


def _squared_errors(found: StripSums, content: Mapping[str, jax.Array]) -> dict[str, SquaredError]:
    return {tap: SquaredError(found.errors[tap], each.size) for tap, each in content.items()}


def _matched_sums(
    kernels: Kernels,
    image: jax.Array,
    content: Mapping[str, jax.Array],
    matched: Mapping[str, jax.Array],
    **how: Any,
) -> Sums:
    """Returns the same where columns are compared: layers with large maps strip by strip."""
    given: Any = {"style_layers": (), "kept": tuple(matched), "grid": True, "matched": matched}
    found, maps = _through_blocks(kernels, image, content, {}, **given, **how)
    agreements = {
        tap: one if isinstance(one, Agreement) else _agreement_whole(one, tap, matched[tap])
        for tap, one in maps.items()
    }
    return Sums(_squared_errors(found, content), agreements)


def _agreement_whole(feature_map: jax.Array, tap: str, target: jax.Array) -> Agreement:
    """Returns the agreement of a small map, (h, w, C); it is not kept at the grid's size."""

    @jax.checkpoint
    def compare(feature_map: jax.Array, target: jax.Array) -> Agreement:
        return agreement(at_grid(feature_map, block_of(tap), target.shape[:2]), target)

    found: Agreement = compare(feature_map, target)
    return found


def strip_features(
    kernels: Kernels,
    image: jax.Array,
    *,
    taps: Sequence[str],
    pooling: str,
    padding: str = "zeros",
    rows: int = ROWS,
    precision: str = "highest",
    grid: bool = False,
) -> FeatureMaps:
    """Returns what `vgg.features` does for plain names; only these maps are ever whole.

    With `grid` the larger ones are brought to the grid of columns, see `columns.at_grid`.
    """
    how: Any = {"pooling": pooling, "padding": padding, "rows": rows, "precision": precision}
    how["grid"] = grid
    _, maps = _through_blocks(kernels, image, {}, {}, style_layers=(), kept=taps, **how)
    return maps


def _positions(image: jax.Array, tap: str) -> int:
    height, width = (side >> (block_of(tap) - 1) for side in image.shape[:2])
    return height * width


def _through_blocks(
    kernels: Kernels,
    image: jax.Array,
    targets: Mapping[str, jax.Array],
    weights: Mapping[str, jax.Array],
    *,
    style_layers: Sequence[str],
    kept: Sequence[str],
    pooling: str,
    padding: str,
    rows: int,
    precision: str,
    grid: bool = False,
    matched: Mapping[str, jax.Array] | None = None,
    lattices: Mapping[str, Lattice] | None = None,
) -> tuple[StripSums, dict[str, Any]]:
    """Returns what was found in all blocks, and the maps at the taps to be kept.

    Or of those in `matched` the agreement. With `lattices` the weights are these' rows.
    """
    x = network_input(image, kernels["conv1_1"].bias.dtype, precision)
    convs = up_to_deepest(kernels, [*targets, *style_layers, *kept])
    found = StripSums({}, {})
    maps: dict[str, Any] = {}
    for number, group in groupby(convs, block_of):
        names = list(group)
        window = grid_window(number) if grid else 1
        block = StripBlock(
            names,
            cut_rows(x.shape[0], len(names), rows, multiple=max(2, window)),
            [tap for tap in style_layers if block_of(tap) == number],
            [tap for tap in kept if block_of(tap) == number],
            window,
            POOLS[pooling] if names[-1] != convs[-1] else None,
            precision,
            padding,
            {tap: each.columns for tap, each in (lattices or {}).items()},
        )
        here, weights_here = (_of_block(each, number) for each in (targets, weights))
        large = matched if matched and number <= GRID_BLOCK else {}
        columns = {tap: each for tap, each in large.items() if tap in block.kept}
        more, strips, pooled = _through_strips(kernels, x, here, weights_here, columns, block)
        found = StripSums(found.errors | more.errors, found.style | more.style)
        whole = partial(joined, height=block.cut.height // window)
        maps |= {tap: jax.tree.map(whole, each) for tap, each in strips.items()}
        if pooled is not None:
            x = joined(pooled, block.cut.height // 2)
    return found, maps


def _of_block(by_tap: Mapping[str, jax.Array], number: int) -> FeatureMaps:
    return {tap: each for tap, each in by_tap.items() if block_of(tap) == number}


def _through_strips(
    kernels: Kernels,
    x: jax.Array,
    targets: Mapping[str, jax.Array],
    weights: Mapping[str, jax.Array],
    columns: Mapping[str, jax.Array],
    block: StripBlock,
) -> tuple[StripSums, dict[str, Any], jax.Array | None]:
    """Returns what was found in a block, and the strips of the maps kept and of the next input."""
    cut = block.cut
    starts = jnp.arange(cut.strips) * cut.rows
    target_strips = {tap: cut_into(each, cut) for tap, each in targets.items()}
    weight_strips = {tap: cut_into(each, cut) for tap, each in weights.items()}
    own = cut._replace(rows=cut.rows // block.window, height=cut.height // block.window)
    column_strips = {tap: cut_into(each, own) for tap, each in columns.items()}
    rest = starts, target_strips, weight_strips, column_strips

    def one(constants: Any, pieces: tuple[jax.Array, ...], rest: Any) -> Any:
        across, kernels = constants
        return _one_strip(kernels, block._replace(across=across), pieces, *rest)

    constants = block.across, kernels
    total, (maps, pooled) = over_strips(one, cut.halo, constants, cut_into(x, cut), rest)
    return total, maps, pooled


def _one_strip(
    kernels: Kernels,
    block: StripBlock,
    pieces: tuple[jax.Array, ...],
    start: jax.Array,
    targets: FeatureMaps,
    weights: Mapping[str, jax.Array],
    columns: FeatureMaps,
) -> tuple[StripSums, tuple[dict[str, Any], jax.Array | None]]:
    """Returns what is found in a strip that starts in this row, maps to keep, the pooled rows."""
    styles, taps = block.style_layers, {*targets, *block.style_layers, *block.kept}
    maps = _strip_maps(kernels, block, jnp.concatenate(pieces), start, taps)
    found = StripSums(
        {tap: squared_error(maps[tap], target).sum for tap, target in targets.items()},
        {tap: _style_sums(maps[tap], weights.get(tap), tap, block) for tap in styles},
    )
    last = maps[block.convs[-1].replace("conv", "relu")]
    pooled = None if block.pool is None else block.pool(last[None])[0]
    kept: dict[str, Any] = {tap: maps[tap] for tap in block.kept}
    if block.window > 1:
        grid = block.cut.rows // block.window, last.shape[1] // block.window
        kept = {tap: at_grid(each, block_of(tap), grid) for tap, each in kept.items()}
    kept |= {tap: agreement(kept[tap], each) for tap, each in columns.items()}
    return found, (kept, pooled)


def _style_sums(feature_map: jax.Array, weight: Any, tap: str, block: StripBlock) -> Any:
    """Returns a strip's part of the moments, or of the features at points, see `StripSums`."""
    if tap in block.across:
        return at_points(feature_map, Lattice(weight, block.across[tap]))
    return moments(feature_map, weight, allowed=allowed(block.precision))[:2]


def _strip_maps(
    kernels: Kernels, block: StripBlock, strip: jax.Array, start: jax.Array, taps: Set[str]
) -> FeatureMaps:
    """Returns a strip's own rows at these taps of a block, and after every ReLU.

    Each convolution spoils a row at either end, which is dropped.
    """
    cut = block.cut
    maps, x, halo = {}, strip[None], cut.halo
    there = jnp.clip(start - halo + jnp.arange(-1, len(strip) + 1), 0, cut.height - 1)
    rows = there - (start - halo)  # those outside the picture are its outermost ones
    given: Any = {"padding": block.padding, "rows": rows, "precision": block.precision}
    for conv in block.convs:
        halo -= 1
        at_once = conv not in taps and is_native(conv, kernels)
        if at_once:
            x = activated(x, conv, kernels, precision=block.precision)[:, 1:-1]
        else:
            x = convolved(x, conv, kernels, **given)[:, 1:-1]
        row = start - halo + jnp.arange(x.shape[1])
        inside = (row >= 0) & (row < cut.height)
        x = jnp.where(inside[:, None, None], x, 0)
        if not at_once:
            maps[conv] = x[0, halo : halo + cut.rows]
            x = relu(x)
        maps[conv.replace("conv", "relu")] = x[0, halo : halo + cut.rows]
    return maps
