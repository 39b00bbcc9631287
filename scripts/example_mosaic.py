"""Paint a mosaic: a sun with rays over hills and the sea, laid in small tiles of glass."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

Array = np.ndarray
Colours = tuple[tuple[int, int, int], ...]
SEED = 7
WIDTH, HEIGHT = 640, 480
SCALE = 3  # cut the tiles finer than the file, so that shrinking smooths their edges
ROUNDS = 12  # of moving each tile to the middle of what it covers
GROUT = (24, 16, 22)

GOLD, BRIGHT_GOLD, OLD_GOLD = (232, 172, 40), (255, 214, 92), (176, 112, 22)
WHITE, IVORY, ROSE = (250, 246, 232), (240, 222, 176), (226, 132, 108)
RED, CRIMSON, WINE = (206, 34, 30), (160, 14, 34), (96, 8, 34)
TURQUOISE, AQUA, PETROL = (22, 168, 172), (112, 214, 204), (8, 92, 112)
LAPIS, NIGHT, AZURE = (28, 62, 160), (16, 24, 92), (56, 122, 204)
LEAF, MOSS, VIOLET = (58, 140, 66), (22, 78, 56), (92, 44, 116)

# In units of the picture's height: the middle and the radius of the sun.
SUN_X, SUN_Y, SUN_RADIUS = 0.86, 0.36, 0.135
CURLS = ((0.24, 0.25, 0.17, 5.6), (0.50, 0.10, 0.09, -5.0), (1.22, 0.17, 0.13, -5.4))
RAYS = 22


@dataclass
class Design:
    """The drawing beneath the tiles; no tile crosses from one piece to another."""

    piece: Array  # numbers of the pieces
    colour: Array
    angle: Array  # of the rows of tiles, in radians
    size: Array  # of a tile, in pixels


def stripes(level: Array, colours: Colours) -> tuple[Array, Array]:
    """Return the colour and the number of the stripe at each ``level``, one stripe per unit."""
    number = np.floor(level).astype(int)
    return np.array(colours)[number % len(colours)] / 255, number % 64


def lay(design: Design, mask: Array, level: Array, size: float, drawn: tuple[Array, Array]) -> None:
    """Draw stripes under ``mask``, with rows of tiles along the contours of ``level``."""
    colour, number = drawn
    down, across = np.gradient(level)
    fresh = 64 * (design.piece.max() // 64 + 1)
    for field, value in (
        (design.piece, fresh + number),
        (design.colour, colour),
        (design.angle, np.arctan2(across, -down)),
        (design.size, np.full_like(level, size)),
    ):
        field[mask] = value[mask]


def draw_sky(design: Design, x: Array, y: Array) -> None:
    """Draw the winds, curled up in places, and the rays before them."""
    warp_x, warp_y = x.copy(), y.copy()
    for centre_x, centre_y, radius, turn in CURLS:
        right, below = x - centre_x, y - centre_y
        angle = turn * np.exp(-(right**2 + below**2) / radius**2)
        warp_x += right * (np.cos(angle) - 1) - below * np.sin(angle)
        warp_y += right * np.sin(angle) + below * (np.cos(angle) - 1)
    level = warp_y + 0.03 * np.sin(7 * warp_x) + 0.12 * warp_x
    winds = (NIGHT, LAPIS, LAPIS, AZURE, WHITE, AQUA, TURQUOISE, LAPIS, NIGHT, WINE, LAPIS, IVORY)
    lay(design, np.ones_like(x, bool), level, 9, stripes(26 * level, winds))


def draw_sun(design: Design, x: Array, y: Array) -> None:
    """Draw the rays, which bend as they go out, and the rings and the face of the sun."""
    distance = np.hypot(x - SUN_X, y - SUN_Y) / SUN_RADIUS
    turn = np.arctan2(y - SUN_Y, x - SUN_X) / (2 * np.pi)
    around = RAYS * (turn + 0.012 * distance * np.sin(distance)) % RAYS
    place = around % 1
    long = np.where(np.floor(around) % 2 == 0, 3.9, 2.75)
    ray = np.abs(place - 0.5) < 0.46 * np.clip((long - distance) / (long - 1.3), 0, 1) ** 0.6
    drawn = stripes(2 * around, (OLD_GOLD, BRIGHT_GOLD, CRIMSON, RED))
    lay(design, ray & (distance > 1.3), 0.3 * around, 8, drawn)
    rings = (BRIGHT_GOLD, WHITE, BRIGHT_GOLD, GOLD, GOLD, RED, CRIMSON, WHITE)
    drawn = stripes(np.clip(distance / 1.5 * 8, 0, 7.9), rings)
    lay(design, distance < 1.5, distance, 7, drawn)


def draw_hills(design: Design, x: Array, y: Array) -> None:
    """Draw three ranges of hills, each in layers along its ridge."""
    for ridge, tight, colours in (
        (0.56 - 0.12 * np.exp(-(((x - 0.2) / 0.2) ** 2)) - 0.03 * np.sin(9 * x), 24,
         (VIOLET, WINE, VIOLET, ROSE, LAPIS)),
        (0.63 - 0.10 * np.exp(-(((x - 1.2) / 0.22) ** 2)) + 0.03 * np.sin(6 * x), 26,
         (PETROL, MOSS, TURQUOISE, MOSS, OLD_GOLD)),
        (0.71 - 0.09 * np.exp(-(((x - 0.55) / 0.24) ** 2)) + 0.02 * np.sin(8 * x + 1), 28,
         (GOLD, LEAF, MOSS, LEAF, BRIGHT_GOLD, MOSS)),
    ):  # fmt: skip
        depth = y - ridge
        level = depth * (1 + 0.5 * np.sin(5 * x))
        lay(design, depth > 0, level, 8, stripes(tight * level, colours))


def draw_sea(design: Design, x: Array, y: Array) -> None:
    """Draw rows of overlapping waves, each wave a fan of arcs, larger towards the front."""
    for row, (top, pitch) in enumerate(((0.735, 0.17), (0.80, 0.22), (0.875, 0.29))):
        shift = x + (0.07, 0.19, 0.02)[row]
        right = (shift + 0.5 * pitch) % pitch - 0.5 * pitch
        distance = np.hypot(right, y - top - 0.52 * pitch) / pitch
        lean = 0.06 * np.sin(2 * np.pi * shift / pitch)
        level = np.clip(0.56 - distance + lean, 0, 1)
        arcs = (WHITE, TURQUOISE, LAPIS, AQUA, PETROL, LAPIS, NIGHT, RED, GOLD)
        mask = (distance < 0.56 + lean) & (y > top - 0.1)
        below = y > top + 0.35 * pitch
        lay(design, below, y, 8, stripes(30 * y, (NIGHT, LAPIS)))
        lay(design, mask, level, (6.5, 7.5, 8.5)[row], stripes(level * 17, arcs))


def draw() -> Design:
    """Return the whole drawing, far things first."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    shape = (HEIGHT, WIDTH)
    design = Design(np.zeros(shape, int), np.zeros((*shape, 3)), np.zeros(shape), np.ones(shape))
    for part in (draw_sky, draw_sun, draw_hills, draw_sea):
        part(design, x, y)
    return design


def scatter(design: Design, rng: np.random.Generator) -> Array:
    """Return about as many (x, y) points as tiles fit, none too near to another."""
    grid = 4
    x, y = (
        axis.ravel() for axis in np.meshgrid(np.arange(0, WIDTH, grid), np.arange(0, HEIGHT, grid))
    )
    points = np.stack([x, y], axis=-1) + rng.uniform(0, grid, (len(x), 2))
    column, row = points.astype(int).T
    chance = grid**2 / design.size[row, column] ** 2
    return points[rng.random(len(points)) < chance]


def cover(design: Design, points: Array, scale: int) -> Array:
    """Return the number of the point whose tile covers each pixel of the enlarged picture.

    A tile is what is nearest to its point by the larger of the two distances along and across
    the rows, which makes tiles roughly square (A. Hausner, "Simulating decorative mosaics", 2001).
    """
    piece = design.piece.repeat(scale, 0).repeat(scale, 1)
    best = np.full(piece.shape, np.inf)
    owner = np.full(piece.shape, -1)
    for number, (x, y) in enumerate(points):
        column, row = min(int(x), WIDTH - 1), min(int(y), HEIGHT - 1)
        size, angle = design.size[row, column], design.angle[row, column]
        low_x, low_y = (max(0, int((centre - 1.7 * size) * scale)) for centre in (x, y))
        window = np.s_[low_y : int((y + 1.7 * size) * scale), low_x : int((x + 1.7 * size) * scale)]
        rows, columns = np.ogrid[window]
        right = (columns[:, : best.shape[1] - low_x] + 0.5) / scale - x
        below = (rows[: best.shape[0] - low_y] + 0.5) / scale - y
        along = np.abs(right * np.cos(angle) + below * np.sin(angle))
        aside = np.abs(below * np.cos(angle) - right * np.sin(angle))
        distance = np.maximum(along, aside) / size
        distance[piece[window] != design.piece[row, column]] += 9
        nearer = distance < best[window]
        best[window][nearer] = distance[nearer]
        owner[window][nearer] = number
    return owner


def relax(design: Design, points: Array) -> Array:
    """Return the points moved until the tiles are even; those that cover nothing are dropped."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for _ in range(ROUNDS):
        owner = cover(design, points, 1).ravel()
        sizes = np.bincount(owner[owner >= 0], minlength=len(points))
        sums = [
            np.bincount(owner[owner >= 0], axis.ravel()[owner >= 0], len(points)) for axis in (x, y)
        ]
        kept = sizes > 6
        points = np.stack(sums, axis=-1)[kept] / sizes[kept, None]
    return points


def glass(design: Design, points: Array, rng: np.random.Generator) -> Array:
    """Return the colour of each tile: as drawn, but no two out of the same pot."""
    column, row = points.astype(int).T
    colour = design.colour[row, column]
    colour = colour * rng.normal(1, 0.13, (len(points), 1)) + rng.normal(0, 0.025, colour.shape)
    other = rng.permutation(len(points))
    odd = rng.random((len(points), 1)) < 0.05
    return np.where(odd, colour[other], colour)


def edges(owner: Array, reach: float) -> Array:
    """Return where another tile lies within ``reach`` pixels."""
    margin = int(reach)
    framed = np.pad(owner, margin, "edge")
    found = np.zeros(framed.shape, bool)
    steps = range(-margin, margin + 1)
    for down, right in ((a, b) for a in steps for b in steps if 0 < np.hypot(a, b) <= reach):
        found |= np.roll(framed, (down, right), (0, 1)) != framed
    return found[margin:-margin, margin:-margin]


def light(owner: Array, points: Array, rng: np.random.Generator) -> Array:
    """Return the brightness of each pixel: every tile is tilted and catches light differently."""
    y, x = np.mgrid[: HEIGHT * SCALE, : WIDTH * SCALE] / SCALE
    away = np.stack([x, y], axis=-1) - points[owner]
    tilt = rng.normal(0, 0.022, (len(points), 2))
    shine = 1 + (away * tilt[owner]).sum(-1) - 0.012 * away.sum(-1)
    return np.clip(shine, 0.55, 1.5)[..., None]


def paint_mosaic() -> Image.Image:
    """Return the mosaic, the same on every run."""
    rng = np.random.default_rng(SEED)
    design = draw()
    points = relax(design, scatter(design, rng))
    owner = cover(design, points, SCALE)
    picture = glass(design, points, rng)[owner] * light(owner, points, rng)
    picture[edges(owner, 2.3) | (owner < 0)] = np.array(GROUT) / 255
    whole = Image.fromarray(np.clip(picture * 255, 0, 255).astype(np.uint8))
    return whole.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
