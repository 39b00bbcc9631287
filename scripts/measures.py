"""Numbers for what people complain of in painted pictures; numpy and Pillow alone.

    python scripts/measures.py RESULT [PHOTO [PAINTING]]

prints them for each of the files. Pictures are arrays (H, W, 3), floating point in [0, 1].
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
"""Rec. 601's weights."""


def load(path: Path | str, size: tuple[int, int] | None = None) -> Array:
    """Returns a picture file, at (H, W) if that is given, resized by Lanczos."""
    image = Image.open(path).convert("RGB")
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.LANCZOS)
    return np.asarray(image, np.float64) / 255


def saturation(picture: Array) -> float:
    """Returns the mean of largest less smallest channel, 0 to 1; 0 if all is grey."""
    return float((picture.max(-1) - picture.min(-1)).mean())


def clipped(picture: Array) -> float:
    """Returns the part of all values that are black or white, 0 to 1."""
    return float(((picture <= 0) | (picture >= 1)).mean())


def checkers(picture: Array) -> tuple[float, float]:
    """Returns the mean amplitude of the checkerboard of single pixels, of luma and of chroma."""
    luma = picture @ LUMA
    planes = (luma, picture[..., 0] - luma, picture[..., 2] - luma)
    of_luma, *of_chroma = (
        np.abs(p[1:, 1:] - p[1:, :-1] - p[:-1, 1:] + p[:-1, :-1]).mean() for p in planes
    )
    return float(of_luma), float(np.mean(of_chroma))


def haze(picture: Array, side: int = 16) -> float:
    """Returns the part of all blocks that are flat, grey and neither dark nor bright."""
    luma, colors = picture @ LUMA, picture.max(-1) - picture.min(-1)
    lumas, spreads = _blocks(luma, side), _blocks(colors, side)
    is_haze = (lumas.std(1) < 0.02) & (spreads.mean(1) < 0.08)
    return float((is_haze & (np.abs(lumas.mean(1) - 0.5) < 0.2)).mean())


def dead_blocks(picture: Array, side: int = 8) -> float:
    """Returns the part of all blocks in which every pixel is the same."""
    return float((_blocks(picture @ LUMA, side).std(1) < 1e-9).mean())


def borders(picture: Array, depth: int = 8) -> list[float]:
    """Returns activity at the top, left, bottom and right edge, as parts of that inside."""
    luma = picture @ LUMA
    slopes = np.hypot(np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1])
    inside = slopes[2 * depth : -2 * depth, 2 * depth : -2 * depth].mean()
    edges = slopes[:depth], slopes[:, :depth], slopes[-depth:], slopes[:, -depth:]
    return [float(edge.mean() / inside) for edge in edges]


def blotches(picture: Array, photo: Array, side: int = 32) -> float:
    """Returns how much the brightness of blocks differs from the photo's: the deviation."""
    means = _blocks(picture @ LUMA, side).mean(1) - _blocks(photo @ LUMA, side).mean(1)
    return float(means.std())


def psnr(one: Array, other: Array) -> float:
    """Returns the ratio of peak to noise in dB; infinite if both are equal."""
    error = float(((one - other) ** 2).mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def numbers(picture: Array, photo: Array | None = None) -> dict[str, Any]:
    """Returns all numbers of a picture by name; `blotches` only beside a photo of its size."""
    luma, chroma = checkers(picture)
    found: dict[str, Any] = {
        **{"saturation": saturation(picture), "clipped": clipped(picture)},
        **{"checkers_luma": luma, "checkers_chroma": chroma},
        **{"haze": haze(picture), "dead_blocks": dead_blocks(picture)},
        "borders": borders(picture) if min(picture.shape[:2]) > 40 else None,
    }
    return found if photo is None else found | {"blotches": blotches(picture, photo)}


def _blocks(plane: Array, side: int) -> Array:
    """Returns all whole blocks of a plane, (blocks, pixels)."""
    height, width = (length // side * side for length in plane.shape)
    cut = plane[:height, :width].reshape(height // side, side, width // side, side)
    return cut.transpose(0, 2, 1, 3).reshape(-1, side * side)


def main(paths: list[str]) -> int:
    """Prints a line of JSON for every file."""
    result = load(paths[0])
    size = result.shape[:2]
    photo = load(paths[1], size) if len(paths) > 1 else None  # type: ignore[arg-type]
    print(json.dumps({paths[0]: numbers(result, photo)}))
    for path in paths[1:]:
        print(json.dumps({path: numbers(load(path))}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
