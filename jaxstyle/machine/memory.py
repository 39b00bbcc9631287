"""Memory: how much there is, how much a run needs by a formula, and what fits.

The formula is calibrated by what XLA's compiler says of VGG-19 to conv5_1 in float32, the deepest
that presets use, and by the peaks of whole processes. It is an upper bound: real processes use up
to a quarter less. `runs.plan` asks the compiler itself.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxstyle.errors import InputError
from jaxstyle.machine import column_memory
from jaxstyle.machine.process import compiles_leanly
from jaxstyle.network.layers import block_of, smallest_side
from jaxstyle.settings.checks import MOST_PIXELS
from jaxstyle.settings.recipe import HISTORY, OPTIMIZER_BYTES, Recipe, Sides

NO_LIMIT = 2**62
"""cgroup v1 reports "no limit" as a number about this large."""


class Memory(NamedTuple):
    """How much may be used, and by what it is limited."""

    bytes: int
    limit: str
    is_address_space: bool = False
    """Whether reserved memory counts, not only used memory."""
    parts: int = 1
    """How many memories like this share a picture."""


def memory_left() -> Memory:
    """Returns the tightest of the limits on the machine's memory."""
    memories = [*_free_memory(), *_cgroups(), *_address_space()]
    return min(memories, default=Memory(NO_LIMIT, "no known limit"))


def on_cpu_surely(device: str | None) -> bool:
    """Whether a run on this `--device` can only be on the CPU, as far as is known before jax."""
    if device is not None or os.environ.get("JAX_PLATFORMS"):
        return "cpu" in (device, os.environ.get("JAX_PLATFORMS"))
    from importlib import util  # not needed by --help

    return not any(util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _free_memory() -> Iterator[Memory]:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(each for each in lines if each.startswith("MemAvailable:"))
        yield Memory(int(line.split()[1]) * 1024, "free memory")
        return
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not Linux: all memory
        yield Memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "memory in all")


def _cgroups() -> Iterator[Memory]:
    """Yields the limits of this process's cgroup and those around it, of version 2 and 1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                root = Path("/sys/fs/cgroup") / ("memory" if controllers else "")
                inner = root / path.lstrip("/")
                for folder in (inner, *inner.parents):
                    if folder.is_relative_to(root):
                        yield from cgroup_memory(folder)


def cgroup_memory(folder: Path) -> Iterator[Memory]:
    """Yields what a cgroup leaves, by its folder, if it sets a limit.

    Reclaimable file cache counts as free.
    """
    names = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for limit_name, usage_name in names:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            limit = int((folder / limit_name).read_text())
            used = int((folder / usage_name).read_text())
            statistics = (folder / "memory.stat").read_text().split()
            cache = dict(zip(statistics[::2], statistics[1::2], strict=False))
            if limit < NO_LIMIT:
                memory = max(0, limit - used + int(cache.get("inactive_file", 0)))
                yield Memory(memory, f"the limit {limit / 1e9:.1f} GB of its cgroup")


def _address_space() -> Iterator[Memory]:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            left = max(0, limit - pages * resource.getpagesize())
            yield Memory(left, f"the limit {limit / 1e9:.1f} GB of its address space", True)


class Cost(NamedTuple):
    """Bytes that steps need, per pixel and per column of the canvas."""

    per_pixel: int
    per_column: int
    """Working memory of a strip: its rows are as wide as the canvas."""


MEMORY_MODES = ("plain", "strips")
"""The ways to compute a canvas's features, the quicker first: whole, or in strips of rows."""

COSTS = {
    ("plain", False): Cost(2250, 0),
    ("plain", True): Cost(1780, 0),
    ("strips", False): Cost(190, 155_000),
    ("strips", True): Cost(140, 120_000),
}
"""Working memory of a step, by memory mode and by whether `process.compile_leanly` was called."""

L2_POOLS = 200
"""Bytes a pixel of L2 pools and what they keep, where all maps are whole."""

UNEVEN = 50
"""Bytes a pixel of copies, where strips reach below the picture (see `strip_loop.cut_rows`)."""

CONSTANTS = 15_000_000
"""Bytes of the Gram matrices, and of a copy of the largest kernel."""

TARGET_COSTS = {
    ("plain", False): Cost(1070, 0),
    ("plain", True): Cost(820, 0),
    ("strips", False): Cost(310, 50_000),
    ("strips", True): Cost(230, 50_000),
}
"""The same for making the targets, per pixel of the larger picture; no gradient is needed."""

READ_BY_PRESETS = 520
"""Bytes per pixel of the maps at the presets' taps, one in each block. Other taps are added."""

ROWS_AT_WORK = 72
"""Rows of the picture in a strip with its halo."""

CANVASES = 2 * 12
"""Bytes a pixel of the canvas and the last good one; the optimizer's own are added."""

AVERAGE = 4 * 3
"""Bytes a pixel of an average of canvases."""

DUALS = 2 * 6 + 8
"""Bytes a pixel of the duals that proximal steps keep, plus their working memory."""

PAIR = 2 * 12
"""Bytes a pixel of one step that L-BFGS remembers."""

DIRECTION = 12
"""Bytes a pixel of the direction along which a line search goes."""

PICTURES = 20
"""Bytes a pixel of the canvas in 8 bits and on its way there, and of the file's picture."""

STARTED = 240_000_000
"""Bytes of a process once jax and all else is imported and pictures and weights are read."""

KERNELS = 620_000_000
"""Bytes of all kernels made of VGG-19's weights, and of what the compiler leaves."""

COMPILING = 1_800_000_000
"""Peak while two levels are compiled: kernels plus the compiler's memory, most of it freed later.
State and pictures, already allocated, are added. Measured: 1.41 to 1.80 GB at 448x336."""

ADDRESSES, ADDRESSES_A_CORE = 1_050_000_000, 30_000_000
"""Bytes of address space that a process reserves and never uses, mostly before its first step.
Measured: its peak is 1.2 GB above that of used memory on two cores, 1.3 GB with 8 threads, 1.8 GB
with 32; before any step the threads of jax have reserved 1.2, 1.4 and 1.8 GB."""


def memory_of(
    content: Sides, style: Sides, *, recipe: Recipe, mode: str, started: bool = False
) -> int:
    """Returns how many bytes a process needs at most, by the formula.

    Args:
      content: the canvas's sides.
      style: the style picture's, as it is resized.
      recipe: its layers count.
      mode: "plain" or "strips".
      started: whether jax is imported already; its memory is then not counted again.
    """
    used = Memory(0, "", is_address_space=False)
    return bytes_needed(content, style, recipe=recipe, mode=mode, memory=used, started=started)


def memory_with(step_bytes: int, content: Sides, style: Sides, *, recipe: Recipe, mode: str) -> int:
    """Returns how many bytes a process needs whose steps need `step_bytes`, which is known."""
    working = _working_memory(step_bytes, content, style, recipe, mode)
    return STARTED + _used(working, content, recipe)


def bytes_needed(
    content: Sides,
    style: Sides,
    *,
    recipe: Recipe,
    mode: str,
    memory: Memory,
    started: bool = False,
) -> int:
    """Returns the bytes that a process needs of this kind of memory; see `memory_of`.

    Address space is never given back, and much of it is reserved but unused. Of several memories
    that share the picture each needs its part.
    """
    step_bytes = step_memory(content, recipe=recipe, mode=mode)
    working = _working_memory(step_bytes, content, style, recipe, mode) // memory.parts
    if memory.parts > 1:
        working += column_memory.copied_bytes(content, style, recipe=recipe)
    if not memory.is_address_space:
        return _used(working, content, recipe, memory.parts) + (0 if started else STARTED)
    reserved = 0 if started else STARTED + ADDRESSES + ADDRESSES_A_CORE * (os.cpu_count() or 1)
    return COMPILING + working + reserved


def _used(working: int, content: Sides, recipe: Recipe, parts: int = 1) -> int:
    """Returns the peak of used bytes, without what is imported."""
    per_pixel = CANVASES + optimizer_bytes(recipe) + DUALS + AVERAGE + PICTURES
    kept = per_pixel * math.prod(content) // parts
    return max(COMPILING + kept, KERNELS + working)


def _working_memory(
    step_bytes: int, content: Sides, style: Sides, recipe: Recipe, mode: str
) -> int:
    largest = max(content, style, key=math.prod)
    targets = _bytes(TARGET_COSTS[mode, compiles_leanly()], largest)
    targets += 2 * column_memory.column_bytes(recipe) * math.prod(content)
    targets = max(targets, column_memory.matching_bytes(content, style, recipe=recipe))
    return max(step_bytes, targets) + PICTURES * math.prod(content)


def optimizer_bytes(recipe: Recipe) -> int:
    """Returns how many bytes a pixel the optimizer's state has."""
    more = PAIR if recipe.optimizer == "lbfgs" else 0
    direction = DIRECTION if recipe.line_search == "zoom" else 0
    return OPTIMIZER_BYTES[recipe.optimizer] + more * (recipe.history - HISTORY) + direction


def step_memory(content: Sides, *, recipe: Recipe, mode: str) -> int:
    """Returns the bytes that the compiler will say a step needs, state and targets included."""
    kept = CANVASES + optimizer_bytes(recipe)
    kept += DUALS if recipe.tv_step == "proximal" else 0
    kept += AVERAGE if recipe.average else 0
    kept += sum(map(_map_bytes, recipe.content_layers))
    read = sum(map(_map_bytes, {*recipe.content_layers, *recipe.style_layers}))
    more = max(0, read - READ_BY_PRESETS) * (content[0] if mode == "plain" else ROWS_AT_WORK)
    kept += column_memory.step_column_bytes(recipe)
    kept += L2_POOLS if mode == "plain" and recipe.pooling == "l2" else 0
    if mode == "strips" and not _all_cut_evenly(content[0]):
        kept += UNEVEN
    working = _bytes(COSTS[mode, compiles_leanly()], content) + more * content[1]
    fixed = CONSTANTS + column_memory.sample_bytes(content, recipe=recipe)
    return working + kept * math.prod(content) + fixed


def _all_cut_evenly(height: int) -> bool:
    """Whether the rows of a picture's large maps are cut into equal strips."""
    return all(_cuts_evenly(height >> block) for block in range(3))


def _cuts_evenly(height: int) -> bool:
    """Whether the rows of a block's maps are cut into equal strips."""
    strips = max(1, -(-height // 64))
    return height % (2 * -(-height // (2 * strips)) or 1) == 0


def _map_bytes(tap: str) -> int:
    """Returns the bytes of a tap's map, by pixel of the picture."""
    block = block_of(tap) - 1
    return 4 * column_memory.CHANNELS[block] >> 2 * block


def _bytes(cost: Cost, sides: Sides) -> int:
    return cost.per_pixel * math.prod(sides) + cost.per_column * sides[1]


def memory_mode_of(recipe: Recipe, content: Sides, style: Sides, memory: Memory) -> str:
    """Returns "plain" or "strips": what is asked for, or of "auto" plain where it fits in `memory`.

    For use once jax is imported.
    """
    if recipe.memory != "auto":
        return recipe.memory
    plain = fits(content, style, recipe=recipe, mode="plain", memory=memory, started=True)
    return "plain" if plain else "strips"


def fits(
    content: Sides, style: Sides, *, recipe: Recipe, mode: str, memory: Memory, started: bool
) -> bool:
    """Whether a run has enough memory, by the formula; see `memory_of`."""
    need = bytes_needed(content, style, recipe=recipe, mode=mode, memory=memory, started=started)
    return need <= memory.bytes


def memory_modes_allowed(recipe: Recipe) -> tuple[str, ...]:
    """Returns the memory modes that `recipe.memory` allows, the quicker first."""
    return MEMORY_MODES if recipe.memory == "auto" else (recipe.memory,)


def check_fits(
    content: Sides, style: Sides, *, recipe: Recipe, memory: Memory, started: bool = False
) -> None:
    """Raises InputError if a run of this size needs too much memory; it says what would fit."""
    modes = memory_modes_allowed(recipe)
    needs = {
        mode: bytes_needed(content, style, recipe=recipe, mode=mode, memory=memory, started=started)
        for mode in MEMORY_MODES
    }
    if min(needs[mode] for mode in modes) <= memory.bytes:
        return
    largest = largest_size(
        content, style, recipe=recipe, mode=modes[-1], memory=memory, started=started
    )
    what = " or ".join(f"{gigabytes(needs[mode])} ({mode})" for mode in modes)
    advice = _advice(largest, content, recipe)
    if modes == ("plain",) and needs["strips"] <= memory.bytes:
        advice += f", or --memory strips, which needs {gigabytes(needs['strips'])}"
    each = f" in each of {memory.parts} parts" if memory.parts > 1 else ""
    there = f"{gigabytes(memory.bytes, up=False)} can be used ({memory.limit})"
    raise InputError(
        f"{content[0]}x{content[1]} needs about {what} of memory{each}, but {there}: {advice}"
    )


def advice_if_exhausted(
    content: Sides, style: Sides, *, recipe: Recipe, mode: str, memory: Memory
) -> str:
    """Returns what to choose where a run has used up memory that was enough by the formula.

    A size for which the formula asks three quarters of that; see `check_fits` for the arguments.
    """
    need = bytes_needed(content, style, recipe=recipe, mode=mode, memory=memory, started=True)
    less = memory._replace(bytes=min(need, memory.bytes) * 3 // 4)
    largest = largest_size(content, style, recipe=recipe, mode=mode, memory=less, started=True)
    advice = _advice(largest, content, recipe)
    advice = "choose a smaller --size" if advice == "no size fits" else advice
    return advice + (", or --memory strips" if mode == "plain" and largest else "")


def _advice(largest: int, content: Sides, recipe: Recipe) -> str:
    """Returns which sizes to choose: of an exact size another exact one, of any those that work."""
    canvas = _scaled(content, largest)
    if not largest or min(canvas) < smallest_side(recipe.content_layers + recipe.style_layers):
        return "no size fits"
    size = f"{canvas[0]}x{canvas[1]}" if isinstance(recipe.size, tuple) else str(largest)
    return f"choose --size {size} or smaller"


def largest_size(
    content: Sides,
    style: Sides,
    *,
    recipe: Recipe,
    mode: str,
    memory: Memory,
    started: bool = False,
) -> int:
    """Returns the largest `--size` N that fits in `memory`, at these pictures' aspects; or 0.

    Every smaller one fits, too. Pictures are never enlarged: a photo may have fewer pixels.
    """

    def can_be(size: int) -> bool:
        canvas, painting = _scaled(content, size), _scaled(style, size)
        left = memory
        if mode == "strips" and _all_cut_evenly(canvas[0]):  # most smaller ones are not
            left = memory._replace(bytes=memory.bytes - UNEVEN * math.prod(canvas))
        enough = fits(canvas, painting, recipe=recipe, mode=mode, memory=left, started=started)
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
    """Returns a number of bytes for a person: rounded up for a need, down for what is free."""
    tenths = -(-count // 10**8) if up else count // 10**8
    return f"{tenths / 10:.1f} GB"
