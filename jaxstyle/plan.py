"""What a run will need, before it runs: memory by a formula, the way that fits, the largest size.

The formula is calibrated by what XLA's compiler says of VGG-19 to conv5_1 in float32, the deepest
that presets use, and by the peaks of whole processes; it is meant to be right or up to a fifth too
high. `trial` asks the compiler itself.
"""

import math
from typing import Any, NamedTuple

from jaxstyle.errors import InputError
from jaxstyle.layers import block_of
from jaxstyle.limits import MOST_PIXELS
from jaxstyle.recipe import Recipe
from jaxstyle.room import Room, compiles_leanly

Sides = tuple[int, int]
"""Height and width."""

STRIPS_OVER_PLAIN = 1.5
"""Seconds of a step, about."""


class Cost(NamedTuple):
    """Bytes that the steps of a canvas need, by what they grow with."""

    per_pixel: int
    per_column: int
    """Of the working memory of a strip, whose rows are as wide as the canvas."""


COSTS = {
    ("plain", False): Cost(2380, 0),
    ("plain", True): Cost(2000, 0),
    ("strips", False): Cost(500, 212_000),
    ("strips", True): Cost(295, 150_000),
}
"""By way and whether compiled leanly (`room.compile_leanly`): the program's own memory, the state,
twice when the last losses are found, and pictures."""

TARGET_COSTS = {"plain": Cost(1300, 0), "strips": Cost(120, 100_000)}
"""Of the style picture's pixels; no gradient is needed."""

STARTED = 350_000_000
"""Bytes of a process once jax and all else is imported."""

KERNELS = 600_000_000
"""Bytes of the weights, of all kernels made of them, and of the compiler at work."""

ADDRESSES_BESIDE = 2_500_000_000
"""Bytes of address space that a process asks for and does not use."""

CHANNELS = (64, 128, 256, 512, 512)
"""Of VGG's blocks."""


def memory_of(
    content: Sides,
    style: Sides,
    *,
    recipe: Recipe,
    way: str,
    started: bool = False,
    parts: int = 1,
) -> int:
    """Returns how many bytes a process needs at most, by the formula.

    Args:
      content: the canvas's sides.
      style: the style picture's, as it is resized.
      recipe: its content layers count, whose maps are kept.
      way: "plain" or "strips".
      started: whether jax is imported already, so that this part is no longer asked for.
      parts: how many memories share the picture's maps.
    """
    pixels = math.prod(content)
    kept = sum(4 * CHANNELS[b] >> 2 * b for b in (block_of(t) - 1 for t in recipe.content_layers))
    steps = _bytes(COSTS[way, compiles_leanly()], content) + pixels * kept
    targets = _bytes(TARGET_COSTS[way], style)
    return max(steps, targets) // parts + KERNELS + (0 if started else STARTED)


def _bytes(cost: Cost, sides: Sides) -> int:
    return cost.per_pixel * math.prod(sides) + cost.per_column * sides[1]


def way_of(recipe: Recipe, content: Sides, style: Sides, room: int) -> str:
    """Returns "plain" or "strips": what is asked for, or of "auto" plain where it fits in `room`.

    To be asked when jax is imported.
    """
    if recipe.memory != "auto":
        return recipe.memory
    need = memory_of(content, style, recipe=recipe, way="plain", started=True)
    return "plain" if need <= room else "strips"


def ways_allowed(recipe: Recipe) -> tuple[str, ...]:
    """Returns the ways that `recipe.memory` allows, the quicker first."""
    return ("plain", "strips") if recipe.memory == "auto" else (recipe.memory,)


def check_fits(
    content: Sides,
    style: Sides,
    *,
    recipe: Recipe,
    room: Room,
    started: bool = False,
    parts: int = 1,
) -> None:
    """Raises InputError, with all numbers, if a run of this size has not enough memory.

    `parts` memories share the picture, each with that room.
    """
    beside = ADDRESSES_BESIDE if room.is_address_space and not started else 0
    ways = ways_allowed(recipe)
    shared: Any = {"recipe": recipe, "started": started, "parts": parts}
    needs = {
        way: beside + memory_of(content, style, way=way, **shared) for way in ("plain", "strips")
    }
    if min(needs[way] for way in ways) <= room.bytes:
        return
    largest = largest_size(content, style, way=ways[-1], room=room.bytes - beside, **shared)
    what = " or ".join(f"{gigabytes(needs[way])} ({way})" for way in ways)
    each = f" in each of {parts} parts" if parts > 1 else ""
    advice = f"choose --size {largest} or smaller" if largest else "no size fits"
    if ways == ("plain",) and needs["strips"] <= room.bytes:
        advice += f", or --memory strips, which needs {gigabytes(needs['strips'])}"
    raise InputError(
        f"{content[0]}x{content[1]} needs about {what} of memory{each}, but"
        f" {gigabytes(room.bytes)} can be used ({room.limit}): {advice}"
    )


def largest_size(
    content: Sides,
    style: Sides,
    *,
    recipe: Recipe,
    way: str,
    room: int,
    started: bool = False,
    parts: int = 1,
) -> int:
    """Returns the largest `--size` N that fits in so many bytes, at these pictures' aspects; or 0.

    Pictures are never enlarged: a photo may have fewer pixels than that.
    """
    longest = max(max(content), max(style))

    def fits(size: int) -> bool:
        scaled = [_scaled(sides, size / longest) for sides in (content, style)]
        need = memory_of(*scaled, recipe=recipe, way=way, started=started, parts=parts)
        return need <= room and math.prod(scaled[0]) <= MOST_PIXELS

    low, high = 0, 2**17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _scaled(sides: Sides, factor: float) -> Sides:
    return max(1, round(sides[0] * factor)), max(1, round(sides[1] * factor))


def gigabytes(count: int) -> str:
    """Returns a number of bytes for a person."""
    return f"{count / 1e9:.1f} GB"
