"""The values of a sweep as texts: by name of setting, ranges, and what is wrong with them."""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxstyle.checks import check_is_file
from jaxstyle.cli import Arguments
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.presets import preset
from jaxstyle.recipe import INITS, Hyperparams, Recipe
from jaxstyle.settingflags import converter, layer_settings
from jaxstyle.sweepflags import MOST_RUNS
from jaxstyle.texts import read_seed, shown

RANGE = re.compile(r"(log|lin):([^:]+):([^:]+):([^:]+)")

SETTINGS = {
    each.name: each
    for kind in (Recipe, Hyperparams)
    for each in dataclasses.fields(kind)
    if each.metadata
}
OTHERS: dict[str, Callable[[str], Any]] = {
    "content": Path,
    "style": Path,
    "init": str,
    "preset": str,
    "seed": read_seed,
}
"""What else can be swept: flags that are no settings, and what reads them."""


class Value(NamedTuple):
    """One value of something that is swept."""

    name: str
    """Of a setting, or of `OTHERS`."""
    label: str
    """For people; other values of the same axis have other labels."""
    value: Any


def plain_name(text: str, where: str) -> str:
    """Returns the name of what is swept: "style-weight" and "--style-weight" are style_weight.

    Raises:
      InputError: nothing of this name can be swept.
    """
    name = text.strip().removeprefix("--").replace("-", "_")
    names = [*SETTINGS, *OTHERS]
    if name not in names:
        near = did_you_mean(name, names).replace("_", "-")
        raise InputError(f"{where}: {text!r} cannot be swept{near or ' (see --help)'}")
    return name


def read_value(name: str, text: str, arguments: Arguments, where: str) -> Value:
    """Reads one value and checks it by itself; errors begin with `where`."""
    reader = converter(SETTINGS[name]) if name in SETTINGS else OTHERS[name]
    try:
        value = reader(text.strip())
        if name in SETTINGS:
            changes = {**arguments.settings, **layer_settings(name, value)}
            preset(arguments.preset or "default", **changes)
        elif name == "preset":
            preset(value)
    except (argparse.ArgumentTypeError, InputError) as error:
        raise InputError(f"{where}: {error}") from None
    if name in ("content", "style") or (name == "init" and value not in INITS):
        check_is_file(Path(value), f"{where}: ")
    return Value(name, _label(name, text, value), value)


def _label(name: str, text: str, value: Any) -> str:
    if name.endswith("_layers"):
        return ",".join(part.strip() for part in text.split(","))
    if name in ("content", "style"):
        return str(value.stem)
    return shown(value)


def changed(arguments: Arguments, values: Sequence[Value]) -> Arguments:
    """Returns the command line of one run of the sweep: with these values as if given as flags."""
    settings, others = dict(arguments.settings), {}
    for name, _, value in values:
        if name in SETTINGS:
            settings |= layer_settings(name, value)
        else:
            others[name] = value
    return dataclasses.replace(arguments, settings=settings, **others)


def spelled_out(name: str, texts: Sequence[str], *, yes: bool) -> list[str]:
    """Returns the values as typed, with ranges replaced by their numbers.

    Raises:
      InputError: a range of something that is no number, or that cannot be read.
    """
    found: list[str] = []
    for text in texts:
        match = RANGE.fullmatch(text)
        found += [text] if match is None else _range(name, text, *match.groups(), yes=yes)
    return found


def _range(name: str, text: str, kind: str, first: str, last: str, many: str, *, yes: bool) -> Any:
    """Returns the numbers of a range, to six digits, both ends included."""
    where = f"--sweep {name.replace('_', '-')} {text}"
    try:
        start, stop, count = float(first), float(last), int(many)
    except ValueError:
        raise InputError(f"{where}: a range is {kind}:FIRST:LAST:COUNT, three numbers") from None
    whole = name in ("seed", "size") or (name in SETTINGS and SETTINGS[name].type is int)
    if not whole and not (name in SETTINGS and SETTINGS[name].type is float):
        raise InputError(f"{where}: only numbers have ranges")
    if count < 1 or not (math.isfinite(start) and math.isfinite(stop)):
        raise InputError(f"{where}: the count must be 1 or more, and both ends finite")
    if kind == "log" and not (start > 0 and stop > 0):
        raise InputError(f"{where}: equal ratios need both ends above 0")
    if count > MOST_RUNS and not yes:
        raise InputError(f"{where}: more than {MOST_RUNS:,} values; add --yes if that is meant")
    parts = [i / max(count - 1, 1) for i in range(count)]
    if kind == "log":
        numbers = [start ** (1 - part) * stop**part for part in parts]
    else:
        numbers = [start * (1 - part) + stop * part for part in parts]
    return [str(round(number)) if whole else f"{number:.6g}" for number in numbers]
