"""Paints the figures of docs/how-it-works.md and docs/presets.md, by the embedded network.

    python scripts/paint_figures.py [FIGURE ...]

Some five minutes on two cores, and half an hour for the presets.
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
HEIGHT, GAP, QUALITY = 200, 8, 80
"""Of the cells of a figure, and between them, in pixels; of the JPEG file."""

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_WEIGHTS = (0.022, 0.22, 0.88, 3.52)
"""A tenth of the default's, its own, 4 and 16 times as much."""

VARIATION = (0.0, 0.1, 1.0, 4.0)
"""Weights of total variation; the second is the default's."""

STEPS_SHOWN = (1, 10, 30, 60)
PRESETS_SHOWN = ("default", "book", "nnst", "strotss", "gatys", "spst")


def painted(*, init: str = "content", observers: Sequence[Any] = (), **settings: Any) -> Any:
    """Returns coffee in the style of strokes, (H, W, 3) float32 in [0, 1].

    Args:
      init: what the canvas is at first.
      observers: who watches the run.
      **settings: changes to preset `draft`, or to another one by its name, `preset`.
    """
    recipe, hyper = jaxstyle.preset(settings.pop("preset", "draft"), **settings)
    params = jaxstyle.load_weights("embedded")
    photo, style = jaxstyle.load_picture(PHOTO), jaxstyle.load_picture(STYLE)
    given: Any = {"recipe": recipe, "hyper": hyper, "init": init, "observers": observers}
    return jaxstyle.stylize(params, photo, style, **given)


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
    painted(preset="default", observers=[watch])
    return sheet([Image.open(PHOTO), *map(as_image, watch.pictures)], 4)


def content_weight() -> Image.Image:
    """Returns the same picture with more and more content weight."""
    found = [painted(content_weight=each, size=192) for each in CONTENT_WEIGHTS]
    return sheet([*map(as_image, found)], len(found))


def style_layers() -> Image.Image:
    """Returns pictures from noise that have the Gram matrix of one layer each and no content."""
    alone: Any = {"style_loss": "gram", "content_weight": 0.0, "scales": (1.0,), "full_depth": 5}
    found = [
        painted(init="noise", style_layers=(layer,), steps=100, size=160, **alone)
        for layer in STYLE_LAYERS
    ]
    return sheet([*map(as_image, found)], len(found))


def start() -> Image.Image:
    """Returns a run from the photo, and one from noise, after the same few steps, in two rows."""
    found = []
    recipe, hyper = jaxstyle.preset("draft", size=160, scales=(1.0,), full_depth=5)
    params = jaxstyle.load_weights("embedded")
    pictures = jaxstyle.load_picture(PHOTO), jaxstyle.load_picture(STYLE)
    levels = jaxstyle.levels(*pictures, recipe=recipe)
    for init in ("content", "noise"):
        given: Any = {"recipe": recipe, "hyper": hyper, "init": init, "pause_every": 1}
        for chunk in jaxstyle.paint(params, levels, **given):
            if int(chunk.state.step) in STEPS_SHOWN and len(chunk.learning_rate):
                found.append(as_image(jaxstyle.denormalize(np.array(jaxstyle.shown(chunk.state)))))
    return sheet(found, len(STEPS_SHOWN))


def variation() -> Image.Image:
    """Returns the same picture with more and more total variation."""
    found = [painted(tv_weight=each, size=160) for each in VARIATION]
    return sheet([*map(as_image, found)], len(found))


def presets() -> Image.Image:
    """Returns the photo, then what each preset makes of it, with all its steps, in two rows."""
    found = [
        painted(preset=name, init=jaxstyle.PRESETS[name].init, size=300) for name in PRESETS_SHOWN
    ]
    return sheet([Image.open(PHOTO), *map(as_image, found)], 4)


FIGURE_MAKERS: dict[str, Callable[[], Image.Image]] = {
    "pyramid": pyramid,
    "content-weight": content_weight,
    "style-layers": style_layers,
    "start": start,
    "variation": variation,
    "presets": presets,
}
"""By the names of their files."""


def main() -> None:
    """Paints the figures that the command line names, or all."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FIGURE_MAKERS:
        path = FIGURES / f"{name}.jpg"
        FIGURE_MAKERS[name]().save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
