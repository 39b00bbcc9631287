"""How near a result comes to the painting's style and the photo's content, as a judge sees it.

The judge is a network that no painter optimises (`judgeweights`), so a run's own loss does not
decide. All pictures are compared at one size: photo and painting are resized, each by its long
side, to `size` pixels, larger or smaller, and every result to the photo's size then, with Lanczos'
filter on 8 bits. So numbers compare between runs only at the same `size`.

A result is better where its style distance is lower at no higher content distance; either alone
proves nothing, as a copy of the painting has the one and the photo itself the other.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxstyle import images
from jaxstyle.conv import Kernels, Params, prepare
from jaxstyle.distances import (
    SIZE,
    STYLE_TAPS,
    Map,
    Maps,
    at_size,
    content_distance,
    e_statistic,
    luma_ssim,
    main_axes,
    self_similarity_distance,
    style_distance,
)
from jaxstyle.images import Picture
from jaxstyle.vgg import features


class Standard(NamedTuple):
    """What results of one pair are held against."""

    content: Picture
    """The photo at the judge's size, (H, W, 3) uint8."""
    content_maps: Maps
    style_maps: Maps
    axes: Maps
    """Of the E statistic, (C, k) by style tap."""


class Verdict(NamedTuple):
    """What the judge finds; the first three are distances, lower is nearer."""

    style_distance: float
    content_distance: float
    self_similarity: float
    ssim: float
    """Of luma, to the photo; higher is nearer."""
    e_statistic: float
    """Higher is nearer to the painting."""


def judge_kernels(params: Params) -> Kernels:
    """Returns what the functions here take, from the judge's parameters; to be done once."""
    # Winograd's convolution would be faster, but takes long to compile for so few pictures
    return prepare(params, conv="direct", gradients=False)


def standard(kernels: Kernels, content: Picture, style: Picture, *, size: int = SIZE) -> Standard:
    """Returns what results of a pair are held against; to be done once for many of them.

    Args:
      kernels: from `judge_kernels`.
      content: the photo, (H, W, 3) uint8, of any size.
      style: the painting, likewise.
      size: in pixels, of the long side of either.

    Raises:
      InputError: a picture is too narrow.
    """
    content, style = at_size("content", content, size), at_size("style", style, size)
    maps = _maps(kernels, content)
    return Standard(content, maps, _maps(kernels, style), main_axes(maps))


def verdict(kernels: Kernels, result: Picture, pair: Standard) -> Verdict:
    """Returns what the judge finds of a result, (H, W, 3) uint8 of any size."""
    result = images.resize(result, _size_of(pair.content), resampling="lanczos")
    maps = _maps(kernels, result)
    return Verdict(
        style_distance(maps, pair.style_maps),
        content_distance(maps, pair.content_maps),
        self_similarity_distance(maps, pair.content_maps),
        luma_ssim(result, pair.content),
        e_statistic(maps, pair.style_maps, pair.axes),
    )


def _size_of(picture: Picture) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def _maps(kernels: Kernels, picture: Picture) -> dict[str, Map]:
    found = _features(kernels, images.normalise(picture))
    return {tap: np.asarray(value, np.float64) for tap, value in found.items()}


_features = jax.jit(partial(features, taps=STYLE_TAPS))
