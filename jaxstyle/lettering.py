"""What all parts of a contact sheet use: colours, sizes, text in lines, pictures that fit."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from jaxstyle import images
from jaxstyle.errors import InputError
from jaxstyle.texts import one_line

PAPER, INK, PALE, FAINT, ALARM = "#ffffff", "#1c1c1e", "#6e6e73", "#f0f0f3", "#c5221f"
GAP = 10
TITLE, LABEL, SMALL = 26, 19, 16
"""Sizes of text, in pixels, as all of these."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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


def write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    place: tuple[int, int],
    *,
    size: int,
    colour: str,
) -> None:
    """Writes lines below each other; `place` is their top left."""
    left, top = place
    for i, line in enumerate(lines):
        position = (left, top + i * line_height(size))
        draw.text(position, line, fill=colour, font=font(size), anchor="la")


def fitted(path: Path, width: int | None, height: int) -> Image.Image:
    """Returns a picture that fits into a width and height; grey if it cannot be read."""
    try:
        picture = Image.fromarray(images.load_picture(path))
    except InputError:
        return Image.new("RGB", (width or height, height), FAINT)
    scale = height / picture.height
    scale = scale if width is None else min(scale, width / picture.width)
    size = max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)
    return picture.resize(size, Image.Resampling.LANCZOS)
