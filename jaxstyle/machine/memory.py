"""Memory: how much there is, how much a run needs by a formula, and what fits.

The formula is calibrated by what XLA's compiler says of VGG-19 to conv5_1 in float32, the deepest
that presets use, and by the peaks of whole processes; a process is meant to need that or up to a
quarter less. `runs.plan` asks the compiler itself.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxstyle.errors import InputError
from jaxstyle.machine.process import compiles_leanly
from jaxstyle.network.layers import block_of
from jaxstyle.settings.recipe import MOST_PIXELS, Recipe

NO_LIMIT = 2**62
"""cgroups write their absence as a number about as large."""

Sides = tuple[int, int]
"""Height and width."""


class Room(NamedTuple):
    """How much may be used, and by what it is limited."""

    bytes: int
    limit: str
    is_address_space: bool = False
    """Whether what counts is memory asked for, not used."""
    parts: int = 1
    """How many memories like this share a picture."""


def memory_left() -> Room:
    """Returns the tightest of the limits on the machine's memory."""
    rooms = [*_free_memory(), *_cgroups(), *_address_space()]
    return min(rooms, default=Room(NO_LIMIT, "no known limit"))


def on_cpu_surely(device: str | None) -> bool:
    """Whether a run on this `--device` can only be on the CPU, as far as is known before jax."""
    if device is not None or os.environ.get("JAX_PLATFORMS"):
        return "cpu" in (device, os.environ.get("JAX_PLATFORMS"))
    from importlib import util  # not needed by --help

    return not any(util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _free_memory() -> Iterator[Room]:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(each for each in lines if each.startswith("MemAvailable:"))
        yield Room(int(line.split()[1]) * 1024, "free memory")
        return
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not Linux: all there is
        yield Room(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "memory in all")


def _cgroups() -> Iterator[Room]:
    """Yields the limits of this process's cgroup and those around it, of version 2 and 1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                root = Path("/sys/fs/cgroup") / ("memory" if controllers else "")
                inner = root / path.lstrip("/")
                for folder in (inner, *inner.parents):
                    if folder.is_relative_to(root):
                        yield from cgroup_room(folder)


def cgroup_room(folder: Path) -> Iterator[Room]:
    """Yields what a cgroup's folder says, if it sets a limit; its file cache can be given back."""
    names = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for limit_name, usage_name in names:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            limit = int((folder / limit_name).read_text())
            used = int((folder / usage_name).read_text())
            statistics = (folder / "memory.stat").read_text().split()
            cache = dict(zip(statistics[::2], statistics[1::2], strict=False))
            if limit < NO_LIMIT:
                room = max(0, limit - used + int(cache.get("inactive_file", 0)))
                yield Room(room, f"the limit {limit / 1e9:.1f} GB of its cgroup")


def _address_space() -> Iterator[Room]:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            left = max(0, limit - pages * resource.getpagesize())
            yield Room(left, f"the limit {limit / 1e9:.1f} GB of its address space", True)


class Cost(NamedTuple):
    """Bytes that the steps of a canvas need, by what they grow with."""

    per_pixel: int
    per_column: int
    """Of the working memory of a strip, whose rows are as wide as the canvas."""


WAYS = ("plain", "strips")
"""The quicker first."""

COSTS = {
    ("plain", False): Cost(2250, 0),
    ("plain", True): Cost(1780, 0),
    ("strips", False): Cost(406, 150_000),
    ("strips", True): Cost(176, 120_000),
}
"""Of a step's working memory, by way and whether compiled leanly (`process.compile_leanly`)."""

L2_POOLS = 200
"""Bytes a pixel of L2 pools and what they keep, where all maps are whole."""

UNEVEN = 50
"""Bytes a pixel of copies, where strips reach below the picture (see `strips.cut_rows`)."""

CONSTANTS = 15_000_000
"""Bytes of the Gram matrices, and of a copy of the largest kernel."""

TARGET_COSTS = {
    ("plain", False): Cost(1070, 0),
    ("plain", True): Cost(820, 0),
    ("strips", False): Cost(310, 50_000),
    ("strips", True): Cost(230, 50_000),
}
"""Likewise, for finding the targets, of the larger picture; no gradient is needed."""

READ_BY_PRESETS = 520
"""Bytes a pixel of the maps that presets read, each a tap of every block; those of more and larger
taps come on top."""

ROWS_AT_WORK = 72
"""Of the picture, in a strip with its halo."""

STATE = 4 * 12
"""Bytes a pixel of the canvas, the last good one, and Adam's two moments."""

AVERAGE = 4 * 3
"""Bytes a pixel of an average of canvases."""

DUALS = 2 * 6 + 8
"""Bytes a pixel of what proximal steps hand on besides, and of what they need meanwhile."""

PICTURES = 20
"""Bytes a pixel of the canvas in 8 bits and on its way there, and of the file's picture."""

STARTED = 240_000_000
"""Bytes of a process once jax and all else is imported and pictures and weights are read."""

KERNELS = 620_000_000
"""Bytes of all kernels made of VGG-19's weights, and of what the compiler leaves."""

COMPILING = 1_800_000_000
"""Bytes of the same and of the compiler at work on two sizes, which gives most of it back; the
state and the pictures are there meanwhile. Measured: 1.41 to 1.80 GB at 448x336."""

ADDRESSES, ADDRESSES_A_CORE = 1_050_000_000, 30_000_000
"""Bytes of address space that a process asks for and never uses, mostly before its first step.
Measured: its peak is 1.2 GB above that of used memory on two cores, 1.3 GB with 8 threads, 1.8 GB
with 32; before any step the threads of jax have asked for 1.2, 1.4 and 1.8 GB."""

CHANNELS = (64, 128, 256, 512, 512)
"""Of VGG's blocks."""


def memory_of(
    content: Sides, style: Sides, *, recipe: Recipe, way: str, started: bool = False
) -> int:
    """Returns how many bytes a process needs at most, by the formula.

    Args:
      content: the canvas's sides.
      style: the style picture's, as it is resized.
      recipe: its layers count.
      way: "plain" or "strips".
      started: whether jax is imported already, so that this part is no longer asked for.
    """
    used = Room(0, "", is_address_space=False)
    return need_of(content, style, recipe=recipe, way=way, room=used, started=started)


def memory_with(program: int, content: Sides, style: Sides, *, way: str) -> int:
    """Returns how many bytes a process needs whose steps need `program`, which is known."""
    working = _working_memory(program, content, style, way=way)
    return STARTED + _used(working, content)


def need_of(
    content: Sides, style: Sides, *, recipe: Recipe, way: str, room: Room, started: bool = False
) -> int:
    """Returns the bytes that count where `room` is what there is; see `memory_of`.

    Of address space nothing is given back, and much is asked for that is never used. Of several
    memories that share the picture each needs its part.
    """
    program = program_memory(content, recipe=recipe, way=way)
    working = _working_memory(program, content, style, way=way) // room.parts
    if not room.is_address_space:
        return _used(working, content, room.parts) + (0 if started else STARTED)
    beside = 0 if started else STARTED + ADDRESSES + ADDRESSES_A_CORE * (os.cpu_count() or 1)
    return COMPILING + working + beside


def _used(working: int, content: Sides, parts: int = 1) -> int:
    """Returns the bytes of what is used at most at one time, besides what is imported."""
    meanwhile = (STATE + DUALS + AVERAGE + PICTURES) * math.prod(content) // parts
    return max(COMPILING + meanwhile, KERNELS + working)


def _working_memory(program: int, content: Sides, style: Sides, *, way: str) -> int:
    largest = max(content, style, key=math.prod)
    targets = _bytes(TARGET_COSTS[way, compiles_leanly()], largest)
    return max(program, targets) + PICTURES * math.prod(content)


def program_memory(content: Sides, *, recipe: Recipe, way: str) -> int:
    """Returns the bytes that the compiler will say a step needs, state and targets included."""
    kept = STATE + (DUALS if recipe.tv_step == "proximal" else 0)
    kept += AVERAGE if recipe.average else 0
    kept += sum(map(_map_bytes, recipe.content_layers))
    read = sum(map(_map_bytes, {*recipe.content_layers, *recipe.style_layers}))
    more = max(0, read - READ_BY_PRESETS) * (content[0] if way == "plain" else ROWS_AT_WORK)
    kept += L2_POOLS if way == "plain" and recipe.pooling == "l2" else 0
    if way == "strips" and not all(_cuts_evenly(content[0] >> block) for block in range(3)):
        kept += UNEVEN
    working = _bytes(COSTS[way, compiles_leanly()], content) + more * content[1]
    return working + kept * math.prod(content) + CONSTANTS


def _cuts_evenly(height: int) -> bool:
    """Whether the rows of a block's maps are cut into equal strips."""
    strips = max(1, -(-height // 64))
    return height % (2 * -(-height // (2 * strips)) or 1) == 0


def _map_bytes(tap: str) -> int:
    """Returns the bytes of a tap's map, by pixel of the picture."""
    block = block_of(tap) - 1
    return 4 * CHANNELS[block] >> 2 * block


def _bytes(cost: Cost, sides: Sides) -> int:
    return cost.per_pixel * math.prod(sides) + cost.per_column * sides[1]


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
