"""The top left corner of a contact sheet: content and style, what varies, and what does not."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from jaxstyle.layout import axes_of
from jaxstyle.lettering import (
    ALARM,
    GAP,
    INK,
    LABEL,
    PALE,
    PAPER,
    SMALL,
    TITLE,
    fitted,
    line_height,
    wrapped,
    write,
)
from jaxstyle.sweepfolder import Entry, samples_of

KINDS = ("content", "style")
SAMPLE_HEIGHT, MOST_SAMPLES = 130, 4
"""Of the content and style pictures in the corner; and how many of each, if a table has many."""


def corner(folder: Path, entries: Sequence[Entry], width: int) -> Image.Image:
    """Returns the corner: content and style, what varies, and what does not."""
    pictures = {}
    for kind in KINDS:
        if all(kind != name for name, _ in entries[0]["labels"]):
            for name, path in list(samples_of(folder, entries, kind).items())[:MOST_SAMPLES]:
                pictures[f"{kind}: {name}"] = fitted(path, None, SAMPLE_HEIGHT)
    left = sum(each.width + GAP for each in pictures.values())
    left += GAP if left else 0
    room = max(width - left, 380)
    text = [(wrapped(line, size, room), size, colour) for line, size, colour in _title(entries)]
    text_height = sum(len(lines) * line_height(size) + 4 for lines, size, _ in text)
    height = max(SAMPLE_HEIGHT + line_height(SMALL) + 6 if pictures else 0, text_height)
    header = Image.new("RGB", (max(width, left + room), height), PAPER)
    draw = ImageDraw.Draw(header)
    x, y = 0, 0
    for caption, picture in pictures.items():
        header.paste(picture, (x, 0))
        said = wrapped(caption, SMALL, picture.width, most=1)
        write(draw, said, (x, SAMPLE_HEIGHT + 6), size=SMALL, colour=PALE)
        x += picture.width + GAP
    for lines, size, colour in text:
        write(draw, lines, (left, y), size=size, colour=colour)
        y += len(lines) * line_height(size) + 4
    return header


def _title(entries: Sequence[Entry]) -> list[tuple[str, int, str]]:
    """Returns lines with their size and colour."""
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
