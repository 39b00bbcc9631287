"""How near a result comes to the painting's style and the photo's content, as a judge sees it.

The judge is a network that no painter optimizes (`judging.network`), so a run's own loss does not
decide. All pictures are compared at one size: photo and painting are resized, each by its long
side, to `size` pixels, larger or smaller, and every result to the photo's size then, with Lanczos'
filter on 8 bits. So numbers compare between runs only at the same `size`.

A result is better where its style distance is lower at no higher content distance; either alone
proves nothing, as a copy of the painting has the one and the photo itself the other.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxstyle.images.canvas import Picture, normalize, resize
from jaxstyle.judging.distances import (
    SIZE,
    STYLE_TAPS,
    Map,
    Maps,
    at_size,
    content_distance,
    e_statistic,
    luma_ssim,
    self_similarity_distance,
    style_distance,
)
from jaxstyle.network.convolution import Kernels, Params, prepare
from jaxstyle.network.vgg import features

Judge = Callable[[Picture, Picture, Sequence[Picture]], dict[str, float]]


class Standard(NamedTuple):
    """What results of one pair are held against."""

    content: Picture
    """The photo at the judge's size, (H, W, 3) uint8."""
    content_maps: Maps
    style_maps: Maps


class Verdict(NamedTuple):
    """What the judge finds; the first three are distances, lower is nearer."""

    style_distance: float
    content_distance: float
    self_similarity: float
    ssim: float
    """Structural similarity of luma to the photo; higher is nearer."""
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
    return Standard(content, _maps(kernels, content), _maps(kernels, style))


def verdict(kernels: Kernels, result: Picture, pair: Standard, *, axes: Maps) -> Verdict:
    """Returns all that the judge finds of a result.

    Args:
      kernels: from `judge_kernels`.
      result: (H, W, 3) uint8, of any size.
      pair: from `standard`.
      axes: of the E statistic, from `distances.main_axes` of the photo's maps.
    """
    result = _like(pair.content, result)
    maps = _maps(kernels, result)
    return Verdict(
        style_distance(maps, pair.style_maps),
        content_distance(maps, pair.content_maps),
        self_similarity_distance(maps, pair.content_maps),
        luma_ssim(result, pair.content),
        e_statistic(maps, pair.style_maps, axes),
    )


def judge_of(params: Params) -> Judge:
    """Returns a function of result, photo and paintings to the two main distances, by name.

    All are pictures (H, W, 3) uint8 of any size; of several paintings the mean of the distances
    counts. What was found of the last ones is kept, for the next result of them.
    """
    kernels = judge_kernels(params)
    last: list[Any] = []

    def judge(result: Picture, content: Picture, styles: Sequence[Picture]) -> dict[str, float]:
        pictures = [content, *styles]
        if not last or list(map(id, last[0])) != list(map(id, pictures)):
            last[:] = pictures, [standard(kernels, content, style) for style in styles]
        pairs: list[Standard] = last[1]
        maps = _maps(kernels, _like(pairs[0].content, result))
        return {
            "style_distance": fmean(style_distance(maps, pair.style_maps) for pair in pairs),
            "content_distance": content_distance(maps, pairs[0].content_maps),
        }

    return judge


def _like(content: Picture, result: Picture) -> Picture:
    """Returns a result at the photo's size."""
    size = content.shape[0], content.shape[1]
    return resize(result, size, resampling="lanczos")


def _maps(kernels: Kernels, picture: Picture) -> dict[str, Map]:
    found = _features(kernels, normalize(picture))
    return {tap: np.asarray(value, np.float64) for tap, value in found.items()}


_features = jax.jit(partial(features, taps=STYLE_TAPS))
