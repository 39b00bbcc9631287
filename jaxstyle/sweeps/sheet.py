"""The contact sheet of a sweep: every picture where it belongs, labelled, and its corner."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from jaxstyle.sweeps.folder import Entry, picture_path, sample_path, samples_of
from jaxstyle.sweeps.sheet_layout import (
    ALARM,
    FAINT,
    GAP,
    INK,
    LABEL,
    PALE,
    PAPER,
    SMALL,
    TITLE,
    Block,
    Cell,
    axes_of,
    blocks_of,
    fitted,
    font,
    line_height,
    wrapped,
    write_lines,
)

KINDS = ("content", "style")
SAMPLE_HEIGHT, MOST_CORNER_SAMPLES = 130, 4
"""Height of the contents and styles in the corner, and how many of each it shows at most."""

MARGIN = 28
"""Margin around the sheet and between its blocks, in pixels."""

WIDEST, LARGEST_CELL, SMALLEST_CELL, MOST_SHEET_PIXELS = 2200, 300, 72, 60_000_000
"""The width a sheet aims at; the long side of its pictures; how much they are in all, about."""

ICON_WIDTH, ICON_HEIGHT = 120, 80
"""Size of the pictures that label rows or columns."""

Icons = dict[tuple[str, str], Image.Image]

ROW_LABEL = 170
"""The widest that labels left of rows become."""


def corner(folder: Path, entries: Sequence[Entry], width: int) -> Image.Image:
    """Returns the corner: content and style, what varies, and what does not."""
    pictures = {}
    for kind in KINDS:
        if all(kind != name for name, _ in entries[0]["labels"]):
            for name, path in list(samples_of(folder, entries, kind).items())[:MOST_CORNER_SAMPLES]:
                pictures[f"{kind}: {name}"] = fitted(path, None, SAMPLE_HEIGHT)
    left = sum(each.width + GAP for each in pictures.values())
    left += GAP if left else 0
    room = max(width - left, 380)
    text = [(wrapped(line, size, room), size, color) for line, size, color in _title(entries)]
    text_height = sum(len(lines) * line_height(size) + 4 for lines, size, _ in text)
    height = max(SAMPLE_HEIGHT + line_height(SMALL) + 6 if pictures else 0, text_height)
    header = Image.new("RGB", (max(width, left + room), height), PAPER)
    draw = ImageDraw.Draw(header)
    x, y = 0, 0
    for caption, picture in pictures.items():
        header.paste(picture, (x, 0))
        said = wrapped(caption, SMALL, picture.width, most=1)
        write_lines(draw, said, (x, SAMPLE_HEIGHT + 6), size=SMALL, color=PALE)
        x += picture.width + GAP
    for lines, size, color in text:
        write_lines(draw, lines, (left, y), size=size, color=color)
        y += len(lines) * line_height(size) + 4
    return header


def _title(entries: Sequence[Entry]) -> list[tuple[str, int, str]]:
    """Returns lines with their size and color."""
    axes = axes_of(entries)
    varies = " by ".join(f"{axis.name} ({len(axis.values)})" for axis in axes or [])
    settings = [each["run"]["settings"] for each in entries]
    fixed = []
    for name in ("size", "steps", "init", "pooling"):
        values = {str(each.get(name)) for each in settings}
        if len(values) == 1:
            fixed.append(f"{name} {values.pop()}")
    weights = ", ".join(sorted({str(each["run"]["weights"]["name"]) for each in entries}))
    lines = [
        (varies or f"{len(entries)} runs", TITLE, INK),
        (", ".join([*fixed, f"weights {weights}"]), LABEL, PALE),
        ("under each picture its weighted total loss", SMALL, PALE),
    ]
    failed = sum(each["failure"] is not None for each in entries)
    return [*lines, (f"{failed} failed", LABEL, ALARM)] if failed else lines


class _Look(NamedTuple):
    """What is equal in all blocks."""

    width: int
    """Width of the place for a picture."""
    height: int
    row_label: int
    """How wide labels left of rows are."""
    caption: int
    """How high the text under pictures is."""


def contact_sheet(folder: Path, entries: Sequence[Entry]) -> bytes:
    """Returns the contact sheet of a sweep as a PNG file.

    Args:
      folder: of the sweep.
      entries: its runs, see `report.gather`.
    """
    blocks = blocks_of(entries)
    look = _look(blocks, entries)
    icons = _icons(folder, entries)
    lines = _in_lines([_block(block, look, folder, icons) for block in blocks])
    width = max(sum(part.width + MARGIN for part in line) for line in lines) - MARGIN
    lines = [[corner(folder, entries, width)], *lines]
    heights = [max(part.height for part in line) + MARGIN for line in lines]
    width = max(width, lines[0][0].width)
    sheet = Image.new("RGB", (width + 2 * MARGIN, sum(heights) + MARGIN), PAPER)
    top = MARGIN
    for line, height in zip(lines, heights, strict=True):
        left = MARGIN
        for part in line:
            sheet.paste(part, (left, top))
            left += part.width + MARGIN
        top += height
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _in_lines(parts: Sequence[Image.Image]) -> list[list[Image.Image]]:
    """Returns blocks side by side, as many as fit into a sheet's width."""
    lines: list[list[Image.Image]] = [[]]
    for part in parts:
        if lines[-1] and sum(each.width + MARGIN for each in [*lines[-1], part]) > WIDEST:
            lines.append([])
        lines[-1].append(part)
    return lines


def _look(blocks: Sequence[Block], entries: Sequence[Entry]) -> _Look:
    """Returns sizes that suit the number of pictures and their shape."""
    columns = max(len(block.columns) for block in blocks)
    count = sum(len(row) for block in blocks for row in block.cells)
    height, width = map(int, entries[len(entries) // 2]["run"]["painted_size"].split("x"))
    rows = {label for block in blocks for label in block.rows} | {block.down for block in blocks}
    row_label = max(min(ROW_LABEL, round(font(LABEL).getlength(label))) for label in rows)
    if blocks[0].down in KINDS:
        row_label = max(row_label, ICON_WIDTH)
    side = min(
        (WIDEST - row_label) // columns - GAP, LARGEST_CELL, (MOST_SHEET_PIXELS / count) ** 0.5
    )
    scale = max(side, SMALLEST_CELL) / max(height, width)
    cell = max(round(width * scale), 1), max(round(height * scale), 1)
    captions = [cell.caption for block in blocks for row in block.cells for cell in row]
    lines = max(len(wrapped(caption, SMALL, cell[0])) if caption else 0 for caption in captions)
    return _Look(*cell, row_label + GAP if row_label else 0, (lines + 1) * line_height(SMALL) + 6)


def _icons(folder: Path, entries: Sequence[Entry]) -> Icons:
    """Returns small pictures of the contents and styles, by axis and label."""
    found = {}
    for each in entries:
        for kind, label in each["labels"]:
            if kind in KINDS and (kind, label) not in found:
                path = sample_path(folder, each["run"][kind]["sha256"])
                found[kind, label] = fitted(path, ICON_WIDTH, ICON_HEIGHT)
    return found


def _block(block: Block, look: _Look, folder: Path, icons: Icons) -> Image.Image:
    """Returns a block with its title, labels and pictures."""
    labels = [wrapped(label, LABEL, look.width) for label in block.columns]
    title = line_height(TITLE) + GAP if block.title else 0
    axis = line_height(SMALL) + 4 if block.across or block.down else 0
    heading = max(len(lines) for lines in labels) * line_height(LABEL) if axis else 0
    heading += ICON_HEIGHT + GAP // 2 if block.across in KINDS else 0
    top = title + axis + heading + (GAP if axis else 0)
    width = look.row_label + len(block.columns) * (look.width + GAP) - GAP
    row_height = look.height + look.caption + GAP
    wide = max(width, round(font(LABEL).getlength(block.title)))
    picture = Image.new("RGB", (wide, top + len(block.rows) * row_height - GAP), PAPER)
    draw = ImageDraw.Draw(picture)
    write_lines(draw, [block.title], (0, 0), size=LABEL, color=INK)
    write_lines(draw, [block.across], (look.row_label, title), size=SMALL, color=PALE)
    down = wrapped(block.down, SMALL, max(look.row_label - GAP, 1), most=2)
    write_lines(draw, down, (0, top - GAP - len(down) * line_height(SMALL)), size=SMALL, color=PALE)
    for j, label in enumerate(block.columns):
        place = (look.row_label + j * (look.width + GAP), title + axis)
        _label(picture, label, icons.get((block.across, label)), place, look.width)
    for i, row in enumerate(block.cells):
        y = top + i * row_height
        icon = icons.get((block.down, block.rows[i]))
        _label(picture, block.rows[i], icon, (0, y), max(look.row_label - GAP, 1))
        for j, cell in enumerate(row):
            _put(picture, draw, cell, (look.row_label + j * (look.width + GAP), y), look, folder)
    return picture


def _label(
    sheet: Image.Image, text: str, icon: Image.Image | None, place: tuple[int, int], width: int
) -> None:
    """Writes the label of a row or column, under its picture if it has one."""
    x, y = place
    if icon is not None:
        sheet.paste(icon, (x, y))
        y += icon.height + GAP // 2
    lines = wrapped(text, LABEL, width, most=6)
    write_lines(ImageDraw.Draw(sheet), lines, (x, y), size=LABEL, color=INK)


def _put(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: Cell,
    place: tuple[int, int],
    look: _Look,
    folder: Path,
) -> None:
    """Puts a picture, or what says that there is none, and its caption."""
    x, y = place
    lines = wrapped(cell.caption, SMALL, look.width) if cell.caption else []
    below = y + look.height + 5
    write_lines(draw, lines, (x, below), size=SMALL, color=INK)
    below += len(lines) * line_height(SMALL)
    frame = (x, y, x + look.width - 1, y + look.height - 1)
    if cell.entry is None:
        draw.rectangle(frame, fill=FAINT)
        write_lines(draw, ["not there"], (x, below), size=SMALL, color=PALE)
        return
    picture = fitted(picture_path(folder, cell.entry["name"]), look.width, look.height)
    offset = (look.width - picture.width) // 2, (look.height - picture.height) // 2
    sheet.paste(picture, (x + offset[0], y + offset[1]))
    total, failed = cell.entry["run"]["losses"]["total"], cell.entry["failed_step"]
    text = "no loss" if total is None else f"{total:.4g}"
    if failed is not None:
        draw.rectangle(frame, outline=ALARM, width=5)
        text = f"NaN at step {failed}"
    write_lines(draw, [text], (x, below), size=SMALL, color=PALE if failed is None else ALARM)
