"""Which runs a sweep consists of: values from texts, all combinations, the rows of a table."""

import csv
import dataclasses
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.runs.paths import matches, read_path, read_word_or_path
from jaxstyle.runs.request import (
    MOST_RUNS,
    Request,
    SweepRequest,
    check_is_file,
    listed_pictures,
)
from jaxstyle.settings.fields import has_flag
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import INITS, Recipe
from jaxstyle.settings.text import as_text, converter, layer_settings, read_seed

RANGE = re.compile(r"(log|lin):([^:]+):([^:]+):([^:]+)")

SETTING_FIELDS = {
    each.name: each
    for kind in (Recipe, Hyperparams)
    for each in dataclasses.fields(kind)
    if has_flag(each)
}
OTHERS: dict[str, Callable[[str], Any]] = {
    "content": read_path,
    "style": read_path,
    "init": read_word_or_path,
    "preset": str,
    "seed": read_seed,
}
"""What else can be swept: flags that are no settings, and what reads them."""

PICTURE_AXES = ("content", "style", "init")
"""Those of them that are pictures."""

LONGEST_RUN_NAME = 120
"""Longest name of a run, in bytes; longer ones are cut and end with a hash."""


_T = TypeVar("_T")


class Value(NamedTuple):
    """One value of something that is swept."""

    name: str
    """Name of a setting, or one of `OTHERS`."""
    label: str
    """For people; other values of the same axis have other labels."""
    value: Any


def plain_name(text: str, where: str) -> str:
    """Returns the name of what is swept: "style-weight" and "--style-weight" are style_weight.

    Raises:
      InputError: nothing of this name can be swept.
    """
    name = text.strip().removeprefix("--").replace("-", "_")
    names = [*SETTING_FIELDS, *OTHERS]
    if name not in names:
        near = did_you_mean(name, names).replace("_", "-")
        raise InputError(f"{where}: {text!r} cannot be swept{near or ' (see --help)'}")
    return name


def read_value(name: str, text: str, arguments: Request, where: str) -> Value:
    """Reads one value and checks it by itself; errors begin with `where`."""
    reader = converter(SETTING_FIELDS[name]) if name in SETTING_FIELDS else OTHERS[name]
    try:
        value = reader(text.strip())
        if name in SETTING_FIELDS:
            changes = {**arguments.settings, **layer_settings(name, value)}
            preset(arguments.preset or "default", **changes)
        elif name == "preset":
            preset(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if name == "style":
        for path in listed_pictures(arguments, Path(value)):
            check_is_file(path, f"{where}: ")
    elif name == "content" or (name == "init" and value not in INITS):
        check_is_file(Path(value), f"{where}: ")
    return Value(name, _label(name, text, value), value)


def _label(name: str, text: str, value: Any) -> str:
    if name.endswith("_layers"):
        return ",".join(part.strip() for part in text.split(","))
    if name in ("content", "style"):
        return str(value.stem)
    return as_text(value)


def changed(arguments: Request, values: Sequence[Value]) -> Request:
    """Returns the command line of one run of the sweep: with these values as if given as flags."""
    settings = dict(arguments.settings)
    others: dict[str, Any] = {}
    for name, _, value in values:
        if name in SETTING_FIELDS:
            settings |= layer_settings(name, value)
        else:
            others |= {"styles": (value,)} if name == "style" else {name: value}
    return dataclasses.replace(arguments, settings=settings, **others)


def spelled_out(name: str, texts: Sequence[str], *, yes: bool) -> list[str]:
    """Returns the values as typed, with ranges replaced by numbers, and patterns by pictures.

    Raises:
      InputError: a range of something that is no number, or that cannot be read.
    """
    found: list[str] = []
    for text in texts:
        if name in PICTURE_AXES and (pictures := matches(read_path(text))):
            found += map(str, pictures)
            continue
        match = RANGE.fullmatch(text)
        found += [text] if match is None else _range(name, text, *match.groups(), yes=yes)
    return found


def _range(name: str, text: str, kind: str, first: str, last: str, many: str, *, yes: bool) -> Any:
    """Returns the numbers of a range, to six digits, both ends included."""
    where = f"--sweep {name.replace('_', '-')} {text}"
    try:
        start, stop, count = float(first), float(last), int(many)
    except ValueError:
        raise InputError(
            f"{where}: a range is {kind}:FIRST:LAST:COUNT, three numbers"
            f"{', with decimal points' if ',' in text else ''}"
        ) from None
    whole = name in ("seed", "size") or (
        name in SETTING_FIELDS and SETTING_FIELDS[name].type is int
    )
    if not whole and not (name in SETTING_FIELDS and SETTING_FIELDS[name].type is float):
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


class Run(NamedTuple):
    """One run of a sweep."""

    number: int
    """Counted from 1, in the order of the grid, in which the last axis changes fastest."""
    name: str
    """Name of its files, without a suffix; unique in the sweep and the same in every shard."""
    labels: dict[str, str]
    """What varies, by name of flag: "style-weight"."""
    arguments: Request
    """As if it were run alone."""
    on_axes: bool
    """Whether the sweep is a grid, not a list of rows."""


def expand(arguments: Request, flags: SweepRequest) -> list[Run]:
    """Returns all runs of a sweep; every value is checked.

    Raises:
      InputError: a name, value or combination that cannot be used, with its place in the grid.
    """
    if flags.file is not None:
        rows = _rows_of_file(flags.file, arguments, yes=flags.yes)
    else:
        rows = _rows_of_axes(flags.axes, arguments, yes=flags.yes)
    _check_given_once(arguments, {value.name for value in rows[0]})
    found = []
    for number, (name, values) in enumerate(zip(_names(rows), rows, strict=True), 1):
        alone = changed(arguments, values)
        labels = {value.name.replace("_", "-"): value.label for value in values}
        _check_together(alone, labels, number, len(rows))
        found.append(Run(number, name, labels, alone, flags.file is None))
    return found


def share(runs: Sequence[_T], shard: tuple[int, int]) -> list[_T]:
    """Returns the i-th of n shares, (i, n), counted from 1: every n-th run."""
    return list(runs[shard[0] - 1 :: shard[1]])


def _rows_of_axes(
    axes: Sequence[Sequence[str]], arguments: Request, *, yes: bool
) -> list[tuple[Value, ...]]:
    names = [plain_name(axis[0], "--sweep") for axis in axes]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"--sweep {_flag(name)} is given {count} times: name its values once")
    columns = []
    for name, axis in zip(names, axes, strict=True):
        if len(axis) == 1:
            raise InputError(f"--sweep {_flag(name)} has no values: name at least one")
        columns.append(spelled_out(name, axis[1:], yes=yes))
    _check_count(math.prod(map(len, columns)), yes=yes)
    read = [_axis(name, texts, arguments) for name, texts in zip(names, columns, strict=True)]
    return list(itertools.product(*read))


def _axis(name: str, texts: Sequence[str], arguments: Request) -> list[Value]:
    """Reads the values of an axis; no two are equal, and no two look so."""
    values: list[Value] = []
    for place, text in enumerate(texts, 1):
        where = f"--sweep {_flag(name)}, value {place} of {len(texts)}"
        value = read_value(name, text, arguments, where)
        if any(value.value == each.value for each in values):
            raise InputError(f"{where}: {value.label} is there already")
        values.append(value)
    return _distinct(values)


def _distinct(values: Sequence[Value]) -> list[Value]:
    """Returns values with labels that tell them apart, even if they are files of equal names."""
    counts = Counter(value.label for value in values)
    return [
        value._replace(label=str(value.value)) if counts[value.label] > 1 else value
        for value in values
    ]


def _rows_of_file(path: Path, arguments: Request, *, yes: bool) -> list[tuple[Value, ...]]:
    lines = _read_table(path)
    names = [plain_name(text, f"{path}, line 1") for text in lines[0]]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{path} has {count} columns {_flag(name)}: one is enough")
    _check_count(len(lines) - 1, yes=yes)
    rows, seen = [], set()
    for number, cells in enumerate(lines[1:], 2):
        where = f"{path}, line {number}"
        if len(cells) != len(names):
            raise InputError(f"{where}: {len(cells)} values for {len(names)} columns")
        rows.append(
            tuple(
                read_value(name, cell, arguments, f"{where}, {_flag(name)}")
                for name, cell in zip(names, cells, strict=True)
            )
        )
        said = tuple(str(each.value) for each in rows[-1])
        if said in seen:
            raise InputError(f"{where} says the same as another line")
        seen.add(said)
    columns = [_distinct_in_column(column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))


def _read_table(path: Path) -> list[list[str]]:
    check_is_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None
    if len(lines) < 2:
        raise InputError(f"{path} has no runs: the first line names settings, each other is a run")
    return lines


def _distinct_in_column(column: Sequence[Value]) -> list[Value]:
    """As `_distinct`, where equal values may be repeated."""
    unique = {str(each.value): each for each in column}
    labelled = dict(zip(unique, _distinct(list(unique.values())), strict=True))
    return [labelled[str(each.value)] for each in column]


def _check_count(count: int, *, yes: bool) -> None:
    if count > MOST_RUNS and not yes:
        raise InputError(f"{count:,} combinations are many: add --yes if that is meant")


def _check_given_once(arguments: Request, swept: set[str]) -> None:
    """Raises InputError for a flag that is also swept, or a picture that is not given at all."""
    for name in sorted(swept):
        if name in arguments.settings or (name in OTHERS and _is_given(arguments, name)):
            raise InputError(
                f"--{_flag(name)} and a sweep of {_flag(name)} contradict each other: give one"
            )
    for name in ("content", "style"):
        if name not in swept and not _is_given(arguments, name):
            raise InputError(f"--{name} must be given, or swept: a picture file")


def _is_given(arguments: Request, name: str) -> bool:
    """Whether one of `OTHERS` was given as a flag."""
    value = arguments.styles if name == "style" else getattr(arguments, name)
    return value not in (None, (), Path())


def _check_together(arguments: Request, labels: dict[str, str], number: int, count: int) -> None:
    """Raises InputError for values that are good each by itself, but not together."""
    try:
        preset(arguments.preset or "default", **arguments.settings)
    except InputError as error:
        raise InputError(f"{place_of(number, count, labels)}: {error}") from None


def place_of(number: int, count: int, labels: dict[str, str]) -> str:
    """Returns where in the grid a run is, for an error."""
    told = ", ".join(f"{name} {label}" for name, label in labels.items())
    return f"combination {number} of {count} ({told})"


def _names(rows: Sequence[Sequence[Value]]) -> list[str]:
    """Returns a readable name for each run, made of what varies."""
    names = [_name(row) for row in rows]
    counts = Counter(name.casefold() for name in names)
    return [
        name if counts[name.casefold()] == 1 else f"{name}-{_hash(row)}"
        for name, row in zip(names, rows, strict=True)
    ]


def _name(row: Sequence[Value]) -> str:
    parts = [f"{_flag(each.name)}={each.label.replace(',', '+')}" for each in row]
    name = re.sub(r"[^\w.+=,-]", "-", ",".join(parts))
    return name if len(name.encode()) <= LONGEST_RUN_NAME else f"{name[:60]}-{_hash(row)}"


def _hash(row: Sequence[Value]) -> str:
    text = repr([(each.name, str(each.value)) for each in row])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _flag(name: str) -> str:
    return name.replace("_", "-")
