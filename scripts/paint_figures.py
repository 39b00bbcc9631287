"""Paints the figures of docs/how-it-works.md, from the example pictures and the embedded network.

    python scripts/paint_figures.py [FIGURE ...]

A minute or two on two cores.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import jaxstyle
from jaxstyle.painting.events import Event, LevelEnded

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
PHOTO, STYLE = ROOT / "examples" / "coffee.png", ROOT / "examples" / "strokes.png"
HEIGHT, GAP, QUALITY = 200, 8, 85
"""Of the cells of a figure, and between them, in pixels; of the JPEG file."""


def painted(observers: Sequence[Any]) -> Any:
    """Returns coffee in the style of strokes by the default, (H, W, 3) float32 in [0, 1]."""
    params = jaxstyle.load_weights("embedded")
    photo, style = jaxstyle.load_picture(PHOTO), jaxstyle.load_picture(STYLE)
    return jaxstyle.stylize(params, photo, style, observers=observers)


class Levels:
    """Keeps the canvas at the end of every level."""

    def __init__(self) -> None:
        self.pictures: list[Any] = []

    def see(self, event: Event) -> None:
        """Is shown all that happens in a run."""
        if isinstance(event, LevelEnded):
            self.pictures.append(jaxstyle.denormalize(event.snapshot.canvas))


def as_image(picture: Any) -> Image.Image:
    """Returns floats in [0, 1] as an image of 8 bits."""
    return Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype("uint8"))


def sheet(images: Sequence[Image.Image], columns: int) -> Image.Image:
    """Returns images in rows of so many columns, all of one size; white between them."""
    width = round(HEIGHT * images[0].width / images[0].height)
    rows = -(-len(images) // columns)
    size = columns * (width + GAP) - GAP, rows * (HEIGHT + GAP) - GAP
    found = Image.new("RGB", size, "white")
    for place, each in enumerate(images):
        row, column = divmod(place, columns)
        small = each.convert("RGB").resize((width, HEIGHT), Image.Resampling.LANCZOS)
        found.paste(small, (column * (width + GAP), row * (HEIGHT + GAP)))
    return found


def pyramid() -> Image.Image:
    """Returns what the default's run has at the end of each of its sizes, the photo before."""
    watch = Levels()
    painted([watch])
    return sheet([Image.open(PHOTO), *map(as_image, watch.pictures)], 4)


FIGURE_MAKERS: dict[str, Callable[[], Image.Image]] = {
    "pyramid": pyramid,
}
"""By the names of their files."""


def main() -> None:
    """Paints the figures that the command line names, or all."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FIGURE_MAKERS:
        path = FIGURES / f"{name}.jpg"
        FIGURE_MAKERS[name]().save(path, quality=QUALITY, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
