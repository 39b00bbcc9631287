"""How the runs of a sweep lie on its contact sheet: rows, columns, blocks."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from jaxstyle.sweepfolder import Entry

LONGEST_ROW = 8
"""Of cells that lie in no grid; longer rows are broken."""


class Axis(NamedTuple):
    """Something that varies, and its values in order."""

    name: str
    values: tuple[str, ...]


class Cell(NamedTuple):
    """A place on the sheet."""

    caption: str
    """What the labels of row and column do not say; may be empty."""
    entry: Entry | None
    """None where no result is there."""


class Block(NamedTuple):
    """A part of the sheet with rows and columns of its own."""

    title: str
    down: str
    """What the rows differ in; may be empty, as may be `across`."""
    across: str
    rows: tuple[str, ...]
    """A label for each row."""
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """By row; all rows but the last are of one length."""


def axes_of(entries: Sequence[Entry]) -> list[Axis] | None:
    """Returns what varies, values in the order of the grid; None if there is no one grid."""
    names = [name for name, _ in entries[0]["labels"]]
    for each in entries:
        if not each["on_axes"] or [name for name, _ in each["labels"]] != names:
            return None
    by_axis = zip(*([label for _, label in each["labels"]] for each in entries), strict=True)
    return [
        Axis(name, tuple(dict.fromkeys(labels)))
        for name, labels in zip(names, by_axis, strict=True)
    ]


def blocks_of(entries: Sequence[Entry]) -> list[Block]:
    """Returns the sheet: the first two axes are rows and columns, all others make blocks.

    Runs of one axis are a row, or several if it is long; those of no grid are such rows too, each
    with all its labels as its caption.
    """
    axes = axes_of(entries)
    if axes is None:
        cells = [Cell(_told(each["labels"]), each) for each in entries]
        return [_broken(cells)]
    found = {tuple(label for _, label in each["labels"]): each for each in entries}
    if len(axes) == 1:
        values = axes[0].values
        if len(values) > LONGEST_ROW:
            return [_broken([Cell(value, found.get((value,))) for value in values])]
        row = tuple(Cell("", found.get((value,))) for value in values)
        return [Block("", "", axes[0].name, ("",), values, (row,))]
    down, across, *others = axes
    blocks = []
    for rest in itertools.product(*(axis.values for axis in others)):
        cells_of_rows = tuple(
            tuple(Cell("", found.get((row, column, *rest))) for column in across.values)
            for row in down.values
        )
        title = _told(list(zip((axis.name for axis in others), rest, strict=True)))
        blocks.append(
            Block(title, down.name, across.name, down.values, across.values, cells_of_rows)
        )
    return blocks


def _broken(cells: Sequence[Cell]) -> Block:
    """Returns cells in rows of equal length, as square as may be."""
    length = min(LONGEST_ROW, max(1, round((len(cells) * 0.75) ** 0.5) + 1))
    rows = tuple(tuple(cells[i : i + length]) for i in range(0, len(cells), length))
    return Block("", "", "", ("",) * len(rows), ("",) * length, rows)


def _told(labels: Sequence[Sequence[str]]) -> str:
    return ", ".join(f"{name} {label}" for name, label in labels)
