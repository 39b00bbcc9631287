"""Colours: the photo's beside the painted luma, or the painting's matched to the photo's before.

*Luma* is Rec. 601's weighted sum of a pixel's sRGB values, Y = 0.299 R + 0.587 G + 0.114 B, taken
of the values as they are stored, without undoing sRGB's curve. *Chroma* is what a pixel has beside
its luma, (R - Y, G - Y, B - Y), whose own luma is 0; Rec. 601's Cb and Cr are multiples of its last
and its first number. So a pixel is its luma on all three channels plus its chroma.

Before painting (`pictures_to_paint`) the photo and the style are changed as 8-bit pictures, and all
is as if their files had been such; after painting (`picture_of`) a canvas becomes the picture that
is shown and saved. Means and covariances are of all pixels, in units in which white is 1.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxstyle.images.bands import BandedPicture
from jaxstyle.images.canvas import Picture, denormalize, resize_floats, resize_in_depth
from jaxstyle.images.regions import WHOLE, Regions, resize_keep
from jaxstyle.settings.recipe import Recipe

LUMA = np.array([0.299, 0.587, 0.114])
"""Rec. 601's weights of R, G and B; their sum is 1."""

LEAST_VARIANCE = 1e-5
"""A picture that is to be changed varies in every direction by no less, or counts as if it did: a
deviation of 0.8 of 255. What varies less is mostly rounding, and would be enlarged to blotches."""

GREY_SPREAD = 4
"""How far the channels of a grey picture may be apart, of 255: a grey photo that was stored as a
JPEG in colour is not exactly grey."""

PIXELS_A_BAND = 1 << 18
"""Pictures are computed with in floating point by so many pixels at a time."""

_Array = NDArray[np.float64]


class ColorMoments(NamedTuple):
    """Mean and covariance of a picture's pixels, white being 1."""

    mean: _Array
    """(3,)."""
    covariance: _Array
    """(3, 3), of the pixels themselves: divided by their number, not by one less."""


class AffineColors(NamedTuple):
    """A change of colours: a pixel x, white being 1, becomes matrix @ x + offset, then clipped."""

    matrix: _Array
    """(3, 3)."""
    offset: _Array
    """(3,)."""


def luma(picture: NDArray[Any]) -> NDArray[Any]:
    """Returns Rec. 601's luma (H, W) of a floating-point picture (H, W, 3), in its units."""
    red, green, blue = (picture[..., channel] for channel in range(3))
    weights = LUMA.astype(picture.dtype)
    total: NDArray[Any] = weights[0] * red + weights[1] * green + weights[2] * blue
    return total


def color_moments(picture: Picture) -> ColorMoments:
    """Returns mean and covariance of all pixels of an 8-bit picture; its sums are exact."""
    sums, outer_sums = np.zeros(3), np.zeros((3, 3))  # of whole numbers, below 2**53
    for rows in bands(picture.shape):
        pixels = picture[rows].reshape(-1, 3).astype(np.float64)
        sums += pixels.sum(0)
        outer_sums += pixels.T @ pixels
    count = picture.shape[0] * picture.shape[1]
    # as Python's whole numbers: in floating point, deviations small beside the mean would be lost
    exact_sums, exact_outer = (
        np.array([int(each) for each in values.ravel()], object).reshape(values.shape)
        for values in (sums, outer_sums)
    )
    spread = (count * exact_outer - np.outer(exact_sums, exact_sums)).astype(np.float64)
    return ColorMoments(sums / (255 * count), spread / (255 * count) ** 2)


def linear_match(style: ColorMoments, photo: ColorMoments, how: str) -> AffineColors:
    """Returns the change that gives a style the photo's mean and covariance, before clipping.

    x' = T (x - mean of the style) + mean of the photo, with T S T' = P for the covariances S of the
    style and P of the photo (Gatys et al., Controlling Perceptual Factors in Neural Style Transfer,
    2017). There are many such T, and `how` says which:

    - "cholesky": T = L_P L_S^-1, with lower triangular L L' = P, and likewise for S, with positive
      diagonals; it depends on the order of the channels.
    - "pca": T = P^1/2 S^-1/2, with symmetric roots, by eigenvectors; Gatys et al. use it.
    - "optimal-transport": T = S^-1/2 (S^1/2 P S^1/2)^1/2 S^-1/2, symmetric: of all T the one that
      moves colours the least, in the mean of squares; Monge's map between two normal distributions.

    Eigenvalues of S below LEAST_VARIANCE count as that. So T is finite whatever the style is, the
    covariance is P exactly where S has no such eigenvalue, and varies less than P elsewhere. A flat
    style takes the photo's mean, and from a grey photo every style becomes grey.
    """
    values, vectors = np.linalg.eigh(style.covariance)
    deviations = np.sqrt(np.maximum(values, LEAST_VARIANCE))
    style_root = (vectors * deviations) @ vectors.T
    whitening = (vectors / deviations) @ vectors.T
    if how == "cholesky":
        triangle = np.linalg.inv(_triangle(style_root))
        matrix = _triangle(_root(photo.covariance)) @ triangle
    elif how == "pca":
        matrix = _root(photo.covariance) @ whitening
    else:
        matrix = whitening @ _root(style_root @ photo.covariance @ style_root) @ whitening
    return AffineColors(matrix, photo.mean - matrix @ style.mean)


def _root(covariance: _Array) -> _Array:
    """Returns the symmetric root of a matrix that is positive semidefinite but for rounding."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root: _Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def _triangle(root: _Array) -> _Array:
    """Returns Cholesky's factor of root @ root, for a symmetric root; which may be singular."""
    triangle = np.linalg.qr(root)[1].T
    return triangle * np.where(np.diag(triangle) < 0, -1.0, 1.0)


def luma_match(style: ColorMoments, photo: ColorMoments) -> AffineColors:
    """Returns the change that makes a style grey, with the photo's mean and deviation of luma.

    L' = s_P / s_S (L - m_S) + m_P (Gatys et al., 2017); s_S is no less than LEAST_VARIANCE^1/2.
    """
    variances = [float(LUMA @ each.covariance @ LUMA) for each in (style, photo)]
    factor = np.sqrt(max(variances[1], 0) / max(variances[0], LEAST_VARIANCE))
    grey = _grey(factor)
    return AffineColors(grey, np.full(3, LUMA @ photo.mean) - grey @ style.mean)


def _grey(factor: float = 1.0) -> _Array:
    """Returns the matrix that puts luma, times a factor, on all three channels."""
    return np.outer(np.full(3, factor), LUMA)


def as_grey(picture: Picture) -> Picture:
    """Returns a picture's luma, rounded to 8 bits, on all three channels."""
    return recolored(picture, AffineColors(_grey(), np.zeros(3)))


def recolored(picture: Picture, change: AffineColors) -> Picture:
    """Returns an 8-bit picture with its colours changed, clipped and rounded to 8 bits."""
    result = np.empty_like(picture)
    matrix, offset = change.matrix, 255 * change.offset
    for rows in bands(picture.shape):
        red, green, blue = (picture[rows][..., i].astype(np.float64) for i in range(3))
        for i in range(3):
            # not as a product of matrices, whose rounding may depend on the machine's library
            value = matrix[i, 0] * red + matrix[i, 1] * green + matrix[i, 2] * blue + offset[i]
            result[rows][..., i] = np.rint(value.clip(0, 255))
    return result


def histogram_match(style: Picture, photo: Picture) -> Picture:
    """Returns a style each of whose channels has about the histogram of the photo's.

    A value's rank is the part of all pixels that have less, and half of those that have as much. A
    value becomes the photo's value of the same rank, linear between those that the photo has, and
    rounded to 8 bits. A flat style takes the photo's medians.
    """
    result = np.empty_like(style)
    for channel in range(3):
        (values, ranks), (photo_values, photo_ranks) = (
            _values_and_ranks(picture[..., channel]) for picture in (style, photo)
        )
        table = np.zeros(256, np.uint8)
        table[values] = np.rint(np.interp(ranks, photo_ranks, photo_values))
        for rows in bands(style.shape):
            result[rows][..., channel] = table[style[rows][..., channel]]
    return result


def _values_and_ranks(channel: NDArray[np.uint8]) -> tuple[NDArray[np.int64], _Array]:
    """Returns the values that a channel (H, W) has, rising, and the rank of each."""
    counts = np.zeros(256, np.int64)
    for rows in bands(channel.shape):
        counts += np.bincount(channel[rows].ravel(), minlength=256)
    values = np.flatnonzero(counts)
    return values, ((np.cumsum(counts) - counts / 2) / channel.size)[values]


def pictures_to_paint(
    content: Picture, styles: Sequence[Picture], recipe: Recipe, regions: Regions = WHOLE
) -> tuple[Picture, tuple[Picture, ...]]:
    """Returns the photo and every style as they are painted with a recipe's colours.

    Every style by itself is matched to what is painted of the photo, without what is kept of it.
    """
    if recipe.colors not in ("luminance", "match"):
        return content, tuple(styles)
    given = content
    content, styles = np.asarray(content), [np.asarray(each) for each in styles]  # if in files
    if not (isinstance(given, BandedPicture) and given.is_deep):
        given = content
    is_grey, how, seen = recipe.colors == "luminance", recipe.color_match, content
    if regions.keep is not None:
        painted = ~resize_keep(regions.keep, content.shape[:2])
        seen = content[painted][:, None] if painted.any() else content
    if not is_grey and how == "histogram":
        return given, tuple(histogram_match(style, seen) for style in styles)
    photo = color_moments(seen)
    changed = []
    for style in styles:
        own = color_moments(style)
        change = luma_match(own, photo) if is_grey else linear_match(own, photo, how)
        changed.append(recolored(style, change))
    return as_grey(content) if is_grey else given, tuple(changed)


def picture_of(
    canvas: Any,
    content: Picture,
    *,
    recipe: Recipe,
    grey: bool = False,
    regions: Regions = WHOLE,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Returns the picture that a run shows and saves of a canvas.

    Args:
      canvas: (H, W, 3), see `canvas`.
      content: the run's photo, of any size, as it was given.
      recipe: of the run; its colours decide.
      grey: see `paints_grey`; the picture then is the painted luma alone.
      regions: of the run; where the photo is kept, it gets its own luma back, which was rounded.
      size: (H, W), to which the painted picture is resized, if not its own.

    Returns:
      (H, W, 3) float32 in [0, 1].
    """
    picture = denormalize(canvas)
    if size is not None:
        picture = resize_floats(picture, size)
    if grey:
        return np.repeat(luma(picture)[..., None], 3, axis=-1)
    if recipe.colors not in ("photo", "luminance"):
        return picture
    (photo,) = resize_in_depth(content, [picture.shape[:2]], resampling=recipe.resampling)
    result = with_chroma_of(picture, photo)
    if regions.keep is not None:
        keep = resize_keep(regions.keep, photo.shape[:2])
        result[keep] = as_floats(photo[keep])
    return result


def paints_grey(recipe: Recipe, content: Picture, styles: Sequence[Picture]) -> bool:
    """Whether what is painted from these pictures is grey, with a recipe's colours.

    It is with "auto" if all of them are, and with "match", which makes the styles grey, if the
    photo is. The network hardly sees a tint of a few levels, and leaves one in its canvas.
    """
    if recipe.colors == "match":
        return is_grey(content)
    return recipe.colors == "auto" and all(is_grey(each) for each in (content, *styles))


def is_grey(picture: Picture) -> bool:
    """Whether the channels of a picture differ nowhere by more than GREY_SPREAD, of 255."""
    most = GREY_SPREAD if picture.dtype == np.uint8 else GREY_SPREAD / 255
    return all(float(np.ptp(picture[rows], axis=-1).max()) <= most for rows in bands(picture.shape))


def as_floats(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Returns a picture, uint8 or float32 in [0, 1], as the latter."""
    if picture.dtype == np.float32:
        return picture
    return picture.astype(np.float32) / np.float32(255)


def with_chroma_of(painted: NDArray[np.float32], photo: Picture) -> NDArray[np.float32]:
    """Returns a painted picture's luma with the photo's chroma.

    Y(painted) + c (photo - Y(photo)) on each channel, where c is 1, or as much less as keeps the
    pixel in [0, 1]: a colour that does not exist as dark or as bright as was painted becomes paler,
    of the same hue. So luma is that of the painted picture everywhere. (Programs that clip instead,
    neural-style for one, change luma and hue there.)

    Args:
      painted: (H, W, 3) float32 in [0, 1].
      photo: (H, W, 3) of the same size, uint8 or float32 in [0, 1].

    Returns:
      (H, W, 3) float32 in [0, 1].
    """
    result = np.empty_like(painted)
    for rows in bands(painted.shape):
        colors = as_floats(photo[rows])
        target = luma(painted[rows])[..., None].clip(0, 1)
        chroma = colors - luma(colors)[..., None]
        room = np.where(chroma > 0, 1 - target, target)
        part = (room / np.maximum(np.abs(chroma), np.float32(1e-9))).min(-1, keepdims=True)
        result[rows] = (target + np.minimum(part, 1) * chroma).clip(0, 1)
    return result


def bands(shape: Sequence[int]) -> Iterator[slice]:
    """Yields the rows of a picture, shape (H, W, ...), as slices of about PIXELS_A_BAND pixels."""
    rows = max(1, PIXELS_A_BAND // shape[1])
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)
