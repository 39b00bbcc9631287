"""What fits: the way to compute that does, the largest size, and the refusal of what does not."""

import math

from jaxstyle.errors import InputError
from jaxstyle.limits import MOST_PIXELS
from jaxstyle.need import WAYS, Sides, need_of
from jaxstyle.recipe import Recipe
from jaxstyle.room import Room


def way_of(recipe: Recipe, content: Sides, style: Sides, room: Room) -> str:
    """Returns "plain" or "strips": what is asked for, or of "auto" plain where it fits in `room`.

    To be asked when jax is imported.
    """
    if recipe.memory != "auto":
        return recipe.memory
    plain = fits(content, style, recipe=recipe, way="plain", room=room, started=True)
    return "plain" if plain else "strips"


def fits(
    content: Sides, style: Sides, *, recipe: Recipe, way: str, room: Room, started: bool
) -> bool:
    """Whether a run has enough memory, by the formula; see `memory_of`."""
    need = need_of(content, style, recipe=recipe, way=way, room=room, started=started)
    return need <= room.bytes


def ways_allowed(recipe: Recipe) -> tuple[str, ...]:
    """Returns the ways that `recipe.memory` allows, the quicker first."""
    return WAYS if recipe.memory == "auto" else (recipe.memory,)


def check_fits(
    content: Sides, style: Sides, *, recipe: Recipe, room: Room, started: bool = False
) -> None:
    """Raises InputError, with all numbers, if a run of this size has not enough memory."""
    ways = ways_allowed(recipe)
    needs = {
        way: need_of(content, style, recipe=recipe, way=way, room=room, started=started)
        for way in WAYS
    }
    if min(needs[way] for way in ways) <= room.bytes:
        return
    largest = largest_size(content, style, recipe=recipe, way=ways[-1], room=room, started=started)
    what = " or ".join(f"{gigabytes(needs[way])} ({way})" for way in ways)
    advice = f"choose --size {largest} or smaller" if largest else "no size fits"
    if ways == ("plain",) and needs["strips"] <= room.bytes:
        advice += f", or --memory strips, which needs {gigabytes(needs['strips'])}"
    each = f" in each of {room.parts} parts" if room.parts > 1 else ""
    there = f"{gigabytes(room.bytes, up=False)} can be used ({room.limit})"
    raise InputError(
        f"{content[0]}x{content[1]} needs about {what} of memory{each}, but {there}: {advice}"
    )


def largest_size(
    content: Sides, style: Sides, *, recipe: Recipe, way: str, room: Room, started: bool = False
) -> int:
    """Returns the largest `--size` N that fits in `room`, at these pictures' aspects; or 0.

    Pictures are never enlarged: a photo may have fewer pixels than that.
    """

    def can_be(size: int) -> bool:
        canvas, painting = _scaled(content, size), _scaled(style, size)
        enough = fits(canvas, painting, recipe=recipe, way=way, room=room, started=started)
        return enough and math.prod(canvas) <= MOST_PIXELS

    low, high = 0, 2**17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if can_be(middle) else (low, middle)
    return low


def _scaled(sides: Sides, size: int) -> Sides:
    """Returns the sides of a picture whose long side becomes `size`."""
    height, width = (max(1, round(side * size / max(sides))) for side in sides)
    return height, width


def gigabytes(count: int, *, up: bool = True) -> str:
    """Returns a number of bytes for a person: of a need rounded up, of what there is down."""
    tenths = -(-count // 10**8) if up else count // 10**8
    return f"{tenths / 10:.1f} GB"
