"""What lies where on the contact sheet of a sweep, and its colors, sizes and text."""

import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from jaxstyle.errors import InputError, one_line
from jaxstyle.images import picture_file
from jaxstyle.sweeps.folder import Entry

LONGEST_ROW = 8
"""Longest row of cells that lie in no grid; longer rows are broken."""

PAPER, INK, PALE, FAINT, ALARM = "#ffffff", "#1c1c1e", "#6e6e73", "#f0f0f3", "#c5221f"
GAP = 10
TITLE, LABEL, SMALL = 26, 19, 16
"""Sizes of text, in pixels, like all lengths here."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    """The cells by row; all rows but the last are of one length."""


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


@functools.cache
def font(size: int) -> Font:
    """Returns Pillow's own typeface, so that a sheet looks the same everywhere; size in pixels."""
    return ImageFont.load_default(size)


def wrapped(text: str, size: int, width: int, *, most: int = 3) -> list[str]:
    """Returns a text as lines of at most `width` pixels; what is too long ends with an ellipsis.

    Lines break after blanks, commas, plus signs, hyphens and underscores, or anywhere if they must.
    """
    lines, line = [], ""
    for piece in _pieces(one_line(text), size, width):
        if line and font(size).getlength((line + piece).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece
    lines.append(line.rstrip())
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and font(size).getlength(lines[-1] + "...") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "..."
    return lines


def _pieces(text: str, size: int, width: int) -> list[str]:
    """Cuts a text where it may be broken; pieces that are too long by themselves into letters."""
    pieces = re.findall(r"[^ ,+_-]*[ ,+_-]?", text)
    found: list[str] = []
    for piece in pieces:
        found += [piece] if font(size).getlength(piece) <= width else list(piece)
    return found


def line_height(size: int) -> int:
    """Returns the distance of lines, in pixels."""
    return round(size * 1.3)


def write_lines(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    place: tuple[int, int],
    *,
    size: int,
    color: str,
) -> None:
    """Writes lines below each other; `place` is their top left."""
    left, top = place
    for i, line in enumerate(lines):
        position = (left, top + i * line_height(size))
        draw.text(position, line, fill=color, font=font(size), anchor="la")


def fitted(path: Path, width: int | None, height: int) -> Image.Image:
    """Returns a picture that fits into a width and height; grey if it cannot be read."""
    try:
        picture = Image.fromarray(picture_file.load_picture(path))
    except InputError:
        return Image.new("RGB", (width or height, height), FAINT)
    scale = height / picture.height
    scale = scale if width is None else min(scale, width / picture.width)
    size = max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)
    return picture.resize(size, Image.Resampling.LANCZOS)
