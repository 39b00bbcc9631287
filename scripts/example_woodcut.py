"""Cut a print in two inks: a great wave before a mountain and a red sun."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Array = np.ndarray
Points = Sequence[tuple[float, float]]
SEED = 4
WIDTH, HEIGHT = 640, 480
SCALE = 3  # cut finer than the file, so that shrinking smooths the edges
PAPER, BLACK, RED = (244, 232, 206), (22, 20, 26), (214, 50, 30)
STEP = 1.5  # of the knife along a line, in pixels

# Lengths are in units of the picture's height.
SUN, SUN_RADIUS = (0.985, 0.275), 0.165
HOLLOW = (0.66, 0.42)  # what the great wave curls around
CREST = ((0.10, 0.44), (0.22, 0.27), (0.36, 0.14), (0.51, 0.085), (0.64, 0.12), (0.72, 0.20),
         (0.755, 0.31))  # fmt: skip
FACE = ((0.69, 0.27), (0.61, 0.25), (0.53, 0.29), (0.475, 0.38), (0.47, 0.50), (0.53, 0.62),
        (0.66, 0.71), (0.84, 0.75), (1.05, 0.73), (1.25, 0.77), (1.5, 0.86))  # fmt: skip
WAVE = ((-0.2, 0.74), (-0.06, 0.62), *CREST, *FACE)
MOUNTAIN = ((0.5, 0.68), (0.68, 0.59), (0.80, 0.47), (0.872, 0.375), (0.91, 0.385), (0.945, 0.372),
            (1.03, 0.47), (1.16, 0.59), (1.4, 0.67))  # fmt: skip
SNOW = ((0.872, 0.375), (0.91, 0.385), (0.945, 0.372), (0.992, 0.427), (0.965, 0.43), (0.95, 0.475),
        (0.925, 0.435), (0.90, 0.50), (0.885, 0.445), (0.85, 0.48), (0.835, 0.425))  # fmt: skip
FAR_SEA = ((0.3, 0.655), (0.6, 0.635), (0.85, 0.65), (1.02, 0.62), (1.16, 0.64), (1.4, 0.61))
SWELL = ((0.28, 1.1), (0.48, 0.97), (0.70, 0.925), (0.88, 0.87), (1.02, 0.785), (1.13, 0.74),
         (1.235, 0.745), (1.29, 0.80), (1.27, 0.85), (1.31, 0.90), (1.42, 0.93))  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """How a piece of the block is cut into lines."""

    level: Array  # the lines run along its contours
    tone: Array  # 0..1, how much of the paper the lines cover
    spacing: float  # between the lines, in pixels
    longest: float = 150  # line, in pixels
    red: Array | bool = False  # where lines are red


def curve(points: Points, closed: bool = False) -> Array:
    """Return a smooth (Catmull-Rom) curve through the points, in pixels of the file."""
    knots = np.array(points)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    knots = np.concatenate([ends[0], knots, ends[1]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        cubic = 3 * b - a - 3 * c + d
        pieces.append(b + t * (0.5 * (c - a) + t * (a - 2.5 * b + 2 * c - 0.5 * d + t * cubic / 2)))
    return np.concatenate([*pieces, knots[-2:-1]]) * HEIGHT


def ground(points: Points) -> Array:
    """Return the outline of all that lies below the curve through the points."""
    line = curve(points)
    return np.concatenate([line, [[line[-1, 0], 2 * HEIGHT], [line[0, 0], 2 * HEIGHT]]])


def area(outline: Array) -> Image.Image:
    """Return the mask of what the outline encloses, enlarged."""
    mask = Image.new("1", (WIDTH * SCALE, HEIGHT * SCALE))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline * SCALE], fill=1)
    return mask


def ribbon(path: Array, widths: Array) -> list[tuple[float, float]]:
    """Return the outline, enlarged, of a line whose width changes along its path."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True) + 1e-9
    aside = ahead[:, ::-1] * (-1, 1) * widths[:, None] / 2
    return [tuple(point) for point in np.concatenate([path + aside, (path - aside)[::-1]]) * SCALE]


def taper(count: int, ends: int) -> Array:
    """Return factors 0..1 for ``count`` points of a line that is thin at both ends."""
    place = np.minimum(np.arange(count), np.arange(count)[::-1])
    return np.clip(place / max(1, min(ends, count // 2)), 0, 1) ** 0.7


def look_up(field: Array, points: Array) -> Array:
    """Return the values of ``field`` at (x, y) ``points``, clamped to the picture."""
    columns = np.clip(points[..., 0], 0, WIDTH - 1).astype(int)
    rows = np.clip(points[..., 1], 0, HEIGHT - 1).astype(int)
    return field[rows, columns]


class Knife:
    """Finds the lines of one cut, about evenly spaced.

    The way to space them is that of B. Jobard and W. Lefer, "Creating evenly-spaced streamlines
    of arbitrary density", 1997: a new line begins beside an old one and ends where it comes too
    near to any.
    """

    def __init__(self, cut: Cut, mask: Array, rng: np.random.Generator) -> None:
        """Mark where lines may go."""
        down, across = np.gradient(cut.level)
        length = np.hypot(down, across) + 1e-9
        self.flow = np.stack([-down / length, across / length], axis=-1)
        self.cut, self.rng = cut, rng
        self.free = mask & (cut.tone > 0.05)
        self.open = self.free.copy()  # where a line may begin

    def lines(self) -> Iterator[Array]:
        """Yield the lines as (x, y) points, in pixels."""
        starts = self.rng.permutation(np.argwhere(self.free)[:, ::-1])
        for start in starts:
            queue = deque([(float(start[0]), float(start[1]))])
            while queue:
                point = queue.popleft()
                if not self._at(self.open, point):
                    continue
                line = np.array(self._trace(point))
                self._close(line)
                if len(line) > 5:
                    queue.extend(self._beside(line))
                    yield line

    def _at(self, field: Array, point: tuple[float, float]) -> bool:
        x, y = int(point[0]), int(point[1])
        return 0 <= x < WIDTH and 0 <= y < HEIGHT and bool(field[y, x])

    def _trace(self, start: tuple[float, float]) -> list[tuple[float, float]]:
        halves = []
        limit = self.cut.longest * self.rng.uniform(0.2, 0.5)
        for sign in (-1.0, 1.0):
            (x, y), points = start, []
            while self._at(self.free, (x, y)) and len(points) * STEP < limit:
                points.append((x, y))
                right, below = self.flow[int(y), int(x)]
                x, y = x + sign * STEP * right, y + sign * STEP * below
            if points and not (0 <= x < WIDTH and 0 <= y < HEIGHT):
                # beyond the edge of the sheet, so that the line is not thin where it leaves
                points.extend((x + sign * i * right, y + sign * i * below) for i in range(9))
            halves.append(points)
        return halves[0][:0:-1] + halves[1]

    def _close(self, line: Array) -> None:
        for field, reach in ((self.free, 0.62), (self.open, 0.95)):
            radius = reach * self.cut.spacing
            steps = np.arange(-int(radius + 1), int(radius + 2))
            disc = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
            disc = disc[np.hypot(*disc.T) <= radius]
            x, y = (line[:, None] + disc).reshape(-1, 2).astype(int).T
            inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
            field[y[inside], x[inside]] = False

    def _beside(self, line: Array) -> list[tuple[float, float]]:
        some = line[2:-2:4]
        right, below = look_up(self.flow, some).T
        away = np.stack([-below, right], axis=-1) * self.cut.spacing
        return [tuple(point) for point in np.concatenate([some + away, some - away]).tolist()]


class Print:
    """The sheet of paper, printed from back to front."""

    def __init__(self) -> None:
        """Take an empty sheet."""
        self.rng = np.random.default_rng(SEED)
        self.sheet = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
        self.y, self.x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT

    def hatch(self, outline: Array, cut: Cut) -> None:
        """Clear what the outline encloses and fill it with lines."""
        mask = area(outline)
        lines = Image.new("RGB", self.sheet.size, PAPER)
        draw = ImageDraw.Draw(lines)
        small = np.asarray(mask)[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]
        red = np.broadcast_to(cut.red, cut.tone.shape)
        for line in Knife(cut, small, self.rng).lines():
            tone = look_up(cut.tone, line)
            swell = 1 + 0.25 * np.sin(np.arange(len(line)) / 9 + self.rng.uniform(0, 6))
            widths = cut.spacing * 1.14 * tone * swell * taper(len(line), 9)
            ink = RED if look_up(red, line[len(line) // 2]) else BLACK
            draw.polygon(ribbon(line, widths), fill=ink)
        self.sheet.paste(lines, mask=mask)

    def contour(self, path: Array, width: float) -> None:
        """Print one line that swells and thins out along its path."""
        place = np.arange(len(path))
        swell = 1 + 0.45 * np.sin(place / 11 + self.rng.uniform(0, 6))
        ribbons = ribbon(path, width * swell * taper(len(path), 12))
        ImageDraw.Draw(self.sheet).polygon(ribbons, fill=BLACK)

    def claw(self, start: Array, angle: float, length: float, bend: float) -> None:
        """Print a tongue of foam that begins at ``angle`` and turns by ``bend`` to its tip."""
        place = np.linspace(0, 1, 14)
        turns = angle + bend * place**1.5
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * length / 14
        path = start + np.cumsum(steps, axis=0)
        widths = 0.42 * length * (1 - place) ** 0.8
        draw = ImageDraw.Draw(self.sheet)
        draw.polygon(ribbon(path, widths + 2.4), fill=BLACK)
        draw.polygon(ribbon(path[:-1], widths[:-1]), fill=PAPER)

    def drop(self, x: float, y: float, radius: float, rim: float = 1.3) -> None:
        """Print a drop of foam: paper with a black rim; all in pixels."""
        draw = ImageDraw.Draw(self.sheet)
        for grown, ink in ((radius + rim, BLACK), (radius, PAPER)):
            low, high = (x - grown, y - grown), (x + grown, y + grown)
            box = [value * SCALE for value in (*low, *high)]
            draw.ellipse(box, fill=ink)

    def finish(self) -> Image.Image:
        """Return the print at its final size, the ink broken by the grain of the wood."""
        grain = self.rng.uniform(0, 1, (HEIGHT * SCALE // 3, WIDTH * SCALE // 22))
        blotches = Image.fromarray(grain.astype(np.float32))
        grain = np.asarray(blotches.resize(self.sheet.size, Image.Resampling.BICUBIC))
        printed = np.where((grain > 0.955)[..., None], np.array(PAPER), np.asarray(self.sheet))
        whole = Image.fromarray(printed.astype(np.uint8))
        return whole.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def bands(level: Array, count: float) -> Array:
    """Return 0..1 stripes, ``count`` of them per unit of ``level``."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * count * level)


def print_sky(sheet: Print) -> None:
    """Print the sky, dark above, with bright streaks of cloud, and the sun in red."""
    x, y = sheet.x, sheet.y
    distance = np.hypot(x - SUN[0], y - SUN[1])
    level = y + 0.05 * np.sin(4.5 * x + 5 * y) + 0.10 * np.exp(-distance / 0.3)
    streaks = bands(y + 0.06 * np.sin(4 * x + 1) + 0.02 * np.sin(11 * x), 4.3)
    tone = np.clip(1.0 - 1.25 * y, 0.1, 1) * np.clip(1.7 * streaks - 0.35, 0, 1)
    tone = tone * np.clip((distance - SUN_RADIUS) / 0.10 - 0.15, 0, 1)
    whole = np.array([[-9, -9], [WIDTH + 9, -9], [WIDTH + 9, HEIGHT + 9], [-9, HEIGHT + 9]])
    low = y + 0.03 * np.sin(9 * x) > 0.40
    tone = np.where(low, 1.5 * tone, tone)
    sheet.hatch(whole, Cut(level, np.clip(tone, 0, 0.86), 5.5, 190, low))
    turn = np.linspace(0, 2 * np.pi, 90)
    disc = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * SUN_RADIUS + SUN
    grain = Cut(y + 0.012 * np.sin(9 * x), np.full_like(x, 0.94), 6, 400, True)
    sheet.hatch(disc * HEIGHT, grain)


def print_mountain(sheet: Print) -> None:
    """Print the mountain: lines run down its slopes, and its right side lies in the shade."""
    x, y = sheet.x, sheet.y
    level = np.arctan2(x - 0.908, y - 0.28) + 0.03 * np.sin(40 * y)
    tone = 0.30 + 0.55 / (1 + np.exp(-(x - 0.93 + 0.03 * np.sin(30 * y)) / 0.02))
    sheet.hatch(ground(MOUNTAIN), Cut(level, tone, 4.2, 90))
    snow = curve(SNOW, closed=True)
    sheet.hatch(snow, Cut(level, np.where(x > 0.935, 0.25, 0.0), 5, 40))
    sheet.contour(curve(MOUNTAIN), 2.4)
    sheet.contour(snow, 1.6)


def print_far_sea(sheet: Print) -> None:
    """Print the sea behind: fine, choppy lines."""
    x, y = sheet.x, sheet.y
    level = y + 0.012 * np.sin(26 * x + 30 * y) + 0.02 * np.sin(7 * x)
    tone = 0.25 + 0.6 * bands(level, 16)
    sheet.hatch(ground(FAR_SEA), Cut(level, tone, 3.6, 70))
    sheet.contour(curve(FAR_SEA), 2.2)


def print_wave(sheet: Print) -> None:
    """Print the great wave, striped along a spiral about its hollow."""
    right, below = sheet.x - HOLLOW[0], sheet.y - HOLLOW[1]
    turn = np.arctan2(below, right) % (2 * np.pi)
    level = np.log(np.hypot(right, below) + 0.02) + 0.5 * turn
    place = level + 0.03 * np.sin(5 * turn)
    tone = 0.10 + 0.86 * np.clip(1.6 * bands(place, 3.2) - 0.2, 0, 1)
    red = (tone < 0.5) & (bands(place - 0.08, 1.6) > 0.5)
    tone = np.where(red, 0.62, tone)
    sheet.hatch(ground(WAVE), Cut(level, tone, 5.5, 210, red))
    sheet.contour(curve(WAVE), 4)
    sheet.contour(curve(FACE[1:]), 5)


def print_swell(sheet: Print) -> None:
    """Print the wave in front, with red in its folds."""
    right, below = sheet.x - 1.33, sheet.y - 0.70
    distance = np.hypot(right, below)
    level = distance + 0.10 * np.arctan2(below, -right)
    outline = ground(SWELL)
    tone = 0.15 + 0.8 * np.clip(1.5 * bands(level, 9) - 0.2, 0, 1)
    red = tone < 0.4
    sheet.hatch(outline, Cut(level, np.where(red, 0.6, tone), 6.5, 170, red))
    sheet.contour(curve(SWELL), 4.5)


def print_foam(sheet: Print, path: Array, size: float) -> None:
    """Print foam along a path: claws to the left of its course, and drops between them."""
    right, below = np.gradient(path, axis=0).T
    angles = np.arctan2(below, right)
    rng = sheet.rng
    for scale, chance, drops in ((1.0, 0.4, 0.1), (0.65, 0.45, 0.1), (0.4, 0.5, 0.25)):
        for here, angle in zip(path, angles, strict=True):
            place = here + rng.normal(0, 0.35 * size, 2)
            if rng.random() < chance:
                length = 2.6 * size * scale * rng.uniform(0.6, 1)
                sheet.claw(place, angle - rng.uniform(0.1, 1.5), length, rng.uniform(0.6, 2.4))
            if rng.random() < drops:
                sheet.drop(*place, 0.6 * size * scale * rng.uniform(0.5, 1))


def print_spray(sheet: Print) -> None:
    """Print the drops that fly off the crest."""
    for _ in range(120):
        along, away = sheet.rng.uniform(0, 1), sheet.rng.exponential(0.07)
        x, y = 0.30 + 0.55 * along, 0.13 + 0.20 * along**2 - away
        sheet.drop(x * HEIGHT, y * HEIGHT, sheet.rng.uniform(0.6, 3.2), 0.9)


def paint_woodcut() -> Image.Image:
    """Return the print, the same on every run."""
    sheet = Print()
    for part in (print_sky, print_mountain, print_far_sea, print_spray, print_wave):
        part(sheet)
    print_foam(sheet, curve((*CREST[1:], *FACE[:3])), 18)
    print_swell(sheet)
    print_foam(sheet, curve(SWELL[4:9]), 13)
    return sheet.finish()
