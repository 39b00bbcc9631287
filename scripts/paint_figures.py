"""Paints the figures of docs/how-it-works.md, from the example pictures and the embedded network.

    python scripts/paint_figures.py [FIGURE ...]

About ten minutes on two cores for all of them. `losses` needs matplotlib (extra `plot`).
"""

import subprocess
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

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_LOSSES = ("gram", "covariance", "wasserstein", "mean-std", "gram+mean-std", "nearest")


def painted(*, init: str = "content", observers: Sequence[Any] = (), **settings: Any) -> Any:
    """Returns coffee in the style of strokes, (H, W, 3) float32 in [0, 1].

    Args:
      init: what the canvas is at first.
      observers: who watches the run.
      **settings: changes to preset `draft`, or to another one by its name, `preset`.
    """
    name = settings.pop("preset", "draft")
    recipe, hyper = jaxstyle.preset(name, **settings)
    params = jaxstyle.load_weights("embedded")
    photo, style = jaxstyle.load_picture(PHOTO), jaxstyle.load_picture(STYLE)
    return jaxstyle.stylize(
        params, photo, style, recipe=recipe, hyper=hyper, init=init, observers=observers
    )


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


def style_layers() -> Image.Image:
    """Returns pictures from noise that have the style alone, by one layer, by two, ... by five."""
    found = [
        painted(
            init="noise",
            style_layers=STYLE_LAYERS[: count + 1],
            content_weight=0.0,
            scales=(1.0,),
            steps=120,
            size=(192, 192),
            full_depth=5,
        )
        for count in range(len(STYLE_LAYERS))
    ]
    return sheet([*map(as_image, found)], 5)


def content_layers() -> Image.Image:
    """Returns pictures from noise that have the content alone, by one layer each."""
    found = [
        painted(
            init="noise",
            content_layers=(layer,),
            style_weight=0.0,
            content_weight=1.0,
            content_power=0.0,
            coarse_content=1.0,
            tv_weight=0.02,
            scales=(1.0,),
            steps=150,
            size=224,
        )
        for layer in ("relu1_1", "relu3_1", "relu4_1", "relu5_1")
    ]
    return sheet([*map(as_image, found)], 4)


def style_losses() -> Image.Image:
    """Returns the same pictures by each of the style losses; the last one by its own preset."""
    found = [painted(style_loss=each, size=288) for each in STYLE_LOSSES[:-1]]
    found.append(painted(preset="nnst", size=288))
    return sheet([*map(as_image, found)], 3)


def variation() -> Image.Image:
    """Returns the same pictures with more and more total variation."""
    found = [painted(tv_weight=each, size=288) for each in (0.0, 0.1, 1.0)]
    return sheet([*map(as_image, found)], 3)


def losses() -> Image.Image:
    """Returns the plot of the default's losses by step."""
    plot = FIGURES / "losses.png"
    files = ["--content", str(PHOTO), "--style", str(STYLE), "-o", "-", "--plot", str(plot)]
    flags = ["--weights", "embedded", "--quiet", "--force"]
    command = [sys.executable, "-m", "jaxstyle.run", *files, *flags]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return Image.open(plot)


FIGURE_MAKERS: dict[str, Callable[[], Image.Image]] = {
    "pyramid": pyramid,
    "style-layers": style_layers,
    "content-layers": content_layers,
    "style-losses": style_losses,
    "variation": variation,
    "losses": losses,
}
"""By the names of their files."""


def main() -> None:
    """Paints the figures that the command line names, or all."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FIGURE_MAKERS:
        image = FIGURE_MAKERS[name]()
        if image.format == "PNG":
            image.load()
            image.quantize(64).save(FIGURES / f"{name}.png", optimize=True)
        else:
            image.save(FIGURES / f"{name}.jpg", quality=QUALITY, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
