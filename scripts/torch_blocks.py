"""The gradient in blocks of "Scaling Painting Style Transfer", of the book's loss, in PyTorch.

Galerne, Raad, Lezama & Morel 2022 (arXiv 2212.13459) take the gradient of pictures for which a
whole network is too large: one pass over blocks adds up the sums that the losses are of, a second
takes each block's gradient by them. A block is read with a margin where there is more of the
picture. The last block of a row or column takes in the rest, up to two of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch_programs import STYLE_WEIGHT, Array, Params, Tuned

BLOCK, MARGIN = 512, 256
"""In pixels: multiples of 16, so that the pools' windows are those of the whole picture. A value of
relu5_1 sees 78 pixels either way, and a pixel's gradient needs all that such values see."""

CONTENT_STRIDE, STYLE_STRIDES = 8, (1, 2, 4, 8, 16)

Area = tuple[slice, slice]
"""Rows and columns, of pixels."""


class Block(NamedTuple):
    """What a block covers, without and with its margins."""

    inner: Area
    outer: Area

    def inside(self) -> Area:
        """Returns where the inner pixels are among those of the block."""
        rows, columns = (
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(self.inner, self.outer, strict=True)
        )
        return rows, columns


def blocks(height: int, width: int, block: int, margin: int) -> Iterator[Block]:
    """Yields the blocks of a picture."""
    for rows in _spans(height, block):
        for columns in _spans(width, block):
            outer = _widened(rows, height, margin), _widened(columns, width, margin)
            yield Block((rows, columns), outer)


def _spans(size: int, block: int) -> list[slice]:
    starts = range(0, max(size - block, 1), block)
    return [slice(*ends) for ends in zip(starts, [*starts[1:], size], strict=True)]


def _widened(span: slice, size: int, margin: int) -> slice:
    return slice(max(span.start - margin, 0), min(span.stop + margin, size))


def at(maps: Tensor, area: Area, stride: int = 1) -> Tensor:
    """Returns the part of maps (1, C, h, w) that is of this area of the picture."""
    rows, columns = (slice(each.start // stride, each.stop // stride) for each in area)
    return maps[:, :, rows, columns]


class Blocks(Tuned):
    """The tuned program, whose sums and gradient are found block by block."""

    def __init__(
        self, params: Params, content: Array, style: Array, cut: tuple[int, int] = (BLOCK, MARGIN)
    ) -> None:
        """Builds the network and the targets, see `Listing`; `cut` is a block and its margin."""
        self._cut = cut
        super().__init__(params, content, style)

    def update(self) -> list[Tensor]:
        """Updates the canvas once; returns content, style, tv and total before."""
        self.optimiser.zero_grad()
        variation = self._variation()
        variation.backward()
        canvas = self.canvas.detach()
        with torch.no_grad():
            found, grams = self._read(canvas)
        content = (found - self.content_target).square().mean()
        apart = [gram - aim for gram, aim in zip(grams, self.style_targets, strict=True)]
        for block in self._blocks(canvas):
            change = at(self._gradient(at(canvas, block.outer), block, apart), block.inside())
            at(self.canvas.grad, block.inner).add_(change)
        self.optimiser.step()
        self.schedule.step()
        style = sum(each.square().mean() for each in apart) * STYLE_WEIGHT
        variation = variation.detach()
        return [content, style, variation, content + style + variation]

    def _blocks(self, image: Tensor) -> Iterator[Block]:
        return blocks(image.shape[2], image.shape[3], *self._cut)

    def _read(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the features that hold the content of a picture, and its Gram matrices."""
        height, width = (size // CONTENT_STRIDE for size in image.shape[2:])
        found = image.new_empty(1, self.net[self.content_layer].out_channels, height, width)
        grams = [image.new_zeros(()) for _ in STYLE_STRIDES]
        for block in self._blocks(image):
            content, styles = self._features(at(image, block.outer))
            inner = at(content, block.inside(), CONTENT_STRIDE)
            at(found, block.inner, CONTENT_STRIDE).copy_(inner)
            for i, (feature, stride) in enumerate(zip(styles, STYLE_STRIDES, strict=True)):
                inner = at(feature, block.inside(), stride)
                values = feature.shape[1] * _positions(image, stride)
                grams[i] = grams[i] + self._gram(inner) * (inner.numel() / values)
        return found, grams

    def _gradient(self, pixels: Tensor, block: Block, apart: list[Tensor]) -> Tensor:
        """Returns the gradient of content and style by a block's pixels, in its margins in part."""
        pixels = pixels.clone().requires_grad_()
        content, styles = self._features(pixels)
        target = at(self.content_target, block.outer, CONTENT_STRIDE)
        given = [2 * (content.detach() - target) / self.content_target.numel()]
        for feature, difference, stride in zip(styles, apart, STYLE_STRIDES, strict=True):
            channels, positions = feature.shape[1], _positions(self.canvas, stride)
            factor = 4 * STYLE_WEIGHT / (channels**3 * positions)
            flat = feature.detach().permute(1, 0, 2, 3).reshape(channels, -1)
            given.append((factor * difference @ flat).reshape(feature.shape))
        torch.autograd.backward([content, *styles], given)
        assert pixels.grad is not None
        return pixels.grad

    def _content(self, image: Tensor) -> Tensor:
        return self._read(image)[0]

    def _grams(self, image: Tensor) -> list[Tensor]:
        return self._read(image)[1]


def _positions(image: Tensor, stride: int) -> int:
    return (image.shape[2] // stride) * (image.shape[3] // stride)
