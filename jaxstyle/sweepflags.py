"""The flags of sweeps: what varies, where it runs, what happens to results that are there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle.errors import InputError
from jaxstyle.texts import read_shard

MOST_RUNS = 10_000
"""More combinations than these need `--yes`."""


@dataclass(frozen=True, kw_only=True)
class SweepFlags:
    """What the command line says of a sweep."""

    axes: tuple[tuple[str, ...], ...]
    """Each a name and its values, as typed."""
    file: Path | None
    shard: tuple[int, int]
    """(i, n): this is the i-th of n shares, counted from 1."""
    yes: bool


def add_sweep_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    _add_what(group.add_argument)
    _add_where(group.add_argument)


def _add_what(add: Callable[..., Any]) -> None:
    add(
        "--sweep",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="paint once with each value of a setting (any flag under 'settings', or content,"
        " style, init, seed, preset; log:0.03:0.3:4 and lin:1:10:4 are four values in equal ratios"
        " or distances); given several times, paint all combinations. The output is then a folder."
        " default: one run",
    )
    add(
        "--sweep-file",
        type=Path,
        metavar="PATH.csv",
        help="paint once for each row of a table with such names as its header; default: none",
    )
    add(
        "--yes",
        action="store_true",
        help=f"paint more than {MOST_RUNS:,} combinations; default: refuse",
    )
    add(
        "--collect",
        type=Path,
        metavar="DIR",
        help="only gather the table, the contact sheet and the page of a sweep from what is in its"
        " folder; default: none",
    )


def _add_where(add: Callable[..., Any]) -> None:
    add(
        "--shard",
        type=read_shard,
        metavar="I/N",
        help="paint only every N-th setting of the sweep, from the I-th: one of N machines that"
        " share the work without knowing of each other; default: all",
    )


def take_sweep_flags(parsed: dict[str, Any], *, distributed: bool) -> SweepFlags | None:
    """Takes these flags out of a parser's result; None if they ask for no sweep.

    Raises:
      InputError: they contradict each other or ask for nothing.
    """
    axes, file = parsed.pop("sweep"), parsed.pop("sweep_file")
    names = ("shard", "yes")
    others = {name: parsed.pop(name) for name in names}
    if parsed["collect"] is not None and (axes or file is not None):
        raise InputError("--collect only gathers what is there: leave --sweep and --sweep-file out")
    if parsed["collect"] is not None and parsed["judge"]:
        raise InputError("--collect only gathers what is there: what was judged is in the records")
    if axes and file is not None:
        raise InputError("--sweep and --sweep-file contradict each other: give one of them")
    if others["shard"] is not None and distributed:
        raise InputError("--shard and --distributed contradict each other: give one of them")
    if not axes and file is None:
        needless = [name for name, value in others.items() if value]
        if needless:
            raise InputError(f"--{needless[0]} is for sweeps: give --sweep or --sweep-file too")
        return None
    for name in ("log", "save_every"):
        if parsed[name]:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is for single runs; a sweep keeps the losses of every step")
    shard = others.pop("shard") or (1, 1)
    return SweepFlags(axes=tuple(map(tuple, axes)), file=file, shard=shard, **others)
