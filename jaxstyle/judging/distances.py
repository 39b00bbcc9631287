"""Distances between pictures by their feature maps, and by their pixels, in float64 numpy.

Feature maps are (h, w, C) float64, by tap. All distances between them are relative, so the scale of
a layer does not matter. Which network they are of is `network`'s business.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxstyle.images.canvas import Picture, check_large_enough, resize
from jaxstyle.images.color import LUMA

SIZE = 320
"""Long side of all that is compared, in pixels, unless told otherwise."""

LEAST_SIDE = 16
"""Least side in pixels: one position at conv5_1, and one window of SSIM."""

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1")
CONTENT_TAPS = ("relu3_1", "relu4_1")
SIMILARITY_TAP = "relu4_1"
MOST_AXES = (32, 48, 128, 256, 256)
"""Number of axes of the E statistic, by style tap."""

REGULAR = 1e-4
"""Fraction of a covariance's mean diagonal that the E statistic adds to its diagonal."""

SSIM_SIDE = 11
SSIM_SIGMA = 1.5
SSIM_CONSTANTS = (0.01, 0.03)

Map = NDArray[np.float64]
Maps = Mapping[str, Map]


def at_size(name: str, picture: Picture, size: int = SIZE) -> Picture:
    """Returns a picture with a long side of `size` pixels, larger or smaller, by Lanczos' filter.

    Raises:
      InputError: with its name, if it is too narrow then.
    """
    return resize(picture, size_to_judge(name, picture, size), resampling="lanczos")


def size_to_judge(name: str, picture: Picture, size: int = SIZE) -> tuple[int, int]:
    """Returns (H, W) of a picture with a long side of `size` pixels.

    Raises:
      InputError: with its name, if it is too narrow then.
    """
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    fitted = round(height * factor), round(width * factor)
    check_large_enough(name, fitted, LEAST_SIDE)
    return fitted


def style_distance(result: Maps, style: Maps) -> float:
    """Returns the mean over the style taps of |G - A| / |A|, in Frobenius' norm.

    G and A are the Gram matrices of the result and the painting, F^T F / positions.
    """
    grams = [(_gram(result[tap]), _gram(style[tap])) for tap in STYLE_TAPS]
    return float(np.mean([_relative(ours, theirs) for ours, theirs in grams]))


def content_distance(result: Maps, content: Maps) -> float:
    """Returns the mean over the content taps of |F - C| / |C|: maps of one size."""
    return float(np.mean([_relative(result[tap], content[tap]) for tap in CONTENT_TAPS]))


def _gram(feature_map: Map) -> Map:
    flat = _flat(feature_map)
    return np.asarray(flat.T @ flat / len(flat))


def _flat(feature_map: Map) -> Map:
    return feature_map.reshape(-1, feature_map.shape[-1])


def _relative(value: Map, reference: Map) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


def self_similarity_distance(result: Maps, content: Maps) -> float:
    """Returns how the result's likenesses among its own places differ from the photo's.

    STROTSS' content loss (Kolkin, Salavon & Shakhnarovich 2019) over every second position of
    relu4_1 both ways: cosine distances between all pairs, each column divided by its sum, the L1
    distance of two columns, and the mean over columns. In [0, 2]. A picture of one position has no
    pairs: 0.
    """
    ours, theirs = (_likeness(maps[SIMILARITY_TAP][::2, ::2]) for maps in (result, content))
    return float(np.abs(ours - theirs).sum(axis=0).mean())


def _likeness(feature_map: Map) -> Map:
    """Returns (n, n), the cosine distances of n positions; columns add up to 1."""
    flat = _flat(feature_map)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = flat / np.where(lengths > 0, lengths, 1)
    distances = (1 - unit @ unit.T).clip(0)
    np.fill_diagonal(distances, 0)
    sums = distances.sum(axis=0)
    return np.asarray(distances / np.where(sums > 0, sums, 1))


def luma_ssim(result: Picture, content: Picture) -> float:
    """Returns the structural similarity of two pictures' luma (Wang, Bovik, Sheikh & Simoncelli).

    Luma is Rec. 601's of the 8-bit values, 0 to 255; windows are Gaussian, 11x11 with sigma 1.5,
    all that lie inside; moments are weighted with them; C1 = (0.01 255)^2, C2 = (0.03 255)^2; the
    mean over all windows. In [-1, 1].

    Args:
      result: (H, W, 3) uint8, 11 pixels each way at least.
      content: of the same shape.
    """
    x, y = (picture.astype(np.float64) @ LUMA for picture in (result, content))
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = ((constant * 255) ** 2 for constant in SSIM_CONSTANTS)
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    most = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(np.mean(likeness / most))


def _windowed(x: Map) -> Map:
    """Returns the Gaussian means over all windows inside (H, W)."""
    offsets = np.arange(SSIM_SIDE) - SSIM_SIDE // 2
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()
    for _ in range(2):  # down the columns, then, turned, along the rows
        rows = len(x) - SSIM_SIDE + 1
        x = sum(w * x[i : i + rows] for i, w in enumerate(weights)).T
    return x


def main_axes(content: Maps) -> dict[str, Map]:
    """Returns by style tap the principal axes of a photo's features, (C, k), the largest first.

    k is 32, 48, 128, 256, 256 or all channels where they are fewer.
    """
    found = {}
    for tap, most in zip(STYLE_TAPS, MOST_AXES, strict=True):
        found[tap] = np.linalg.eigh(_gaussian(content[tap])[1])[1][:, ::-1][:, :most]
    return found


def e_statistic(result: Maps, style: Maps, axes: Maps) -> float:
    """Returns the E statistic: the mean over the style taps of -ln KL(result || style).

    After Yeh, Tang, Bhattad, Zou & Forsyth 2020: at each tap the features of the two pictures,
    projected on a few axes, are taken for Gaussian, and their Kullback-Leibler divergence is
    1/2 (tr(S^-1 K) + d^T S^-1 d - k + ln det S / det K), K and S the covariances of the result and
    the painting and d the difference of their means. Where we differ: the axes are those of this
    photo's covariance, not of a set of photos; the last tap is before its ReLU; and all covariances
    get 1e-4 of their mean diagonal on the diagonal, so that a picture of few positions has one too.

    Args:
      result: its feature maps.
      style: the painting's.
      axes: (C, k), from `main_axes` of the photo's.
    """
    pairs = [(result[tap] @ axes[tap], style[tap] @ axes[tap]) for tap in STYLE_TAPS]
    return float(np.mean([-np.log(_divergence(ours, theirs)) for ours, theirs in pairs]))


def _gaussian(feature_map: Map) -> tuple[Map, Map]:
    """Returns the mean (C,) and the regularized covariance (C, C) over the positions."""
    flat = _flat(feature_map)
    mean = flat.mean(axis=0)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    least = REGULAR * np.trace(covariance) / len(mean) or 1.0  # a picture of one color has none
    return mean, covariance + least * np.eye(len(mean))


def _divergence(result: Map, style: Map) -> float:
    (mean, covariance), (style_mean, style_covariance) = _gaussian(result), _gaussian(style)
    inverse, apart = np.linalg.inv(style_covariance), style_mean - mean
    logarithms = np.linalg.slogdet(style_covariance)[1] - np.linalg.slogdet(covariance)[1]
    doubled = np.sum(inverse * covariance) + apart @ inverse @ apart - len(mean) + logarithms
    return float(max(doubled / 2, np.finfo(np.float64).tiny))
