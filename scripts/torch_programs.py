"""The two PyTorch programs that scripts/benchmark.py compares with.

`Listing` does what the book's PyTorch listing does, no more: its weights are not frozen, so their
gradients are computed as well, and the whole network is run feature by feature. `Tuned` is what
somebody who knows PyTorch would make of it: frozen weights, channels-last memory. Both compute
the same loss and its gradient, and update the picture with torch.optim.Adam.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float32]
Params = Mapping[str, Mapping[str, Array]]

STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
STYLE_WEIGHT, TV_WEIGHT = 1e4, 10.0


class Listing:
    """The book's program: content, style and total variation, Adam with a stepwise decay."""

    frozen = False
    memory_format = torch.contiguous_format
    device = "cpu"

    def __init__(self, params: Params, content: Array, style: Array) -> None:
        """Builds the network and the targets.

        Args:
            params: by convolution, a kernel (3, 3, in, out) and a bias.
            content: (H, W, 3), normalised; the canvas starts as it.
            style: likewise.
        """
        self.net, index = self._network(params)
        self.style_layers = [index[name] for name in STYLE]
        self.content_layer = index[max(name for name in params if name < "conv5")]
        self.net = self.net.to(memory_format=self.memory_format)
        pictures = [self._image(each) for each in (content, style)]
        with torch.no_grad():
            self.content_target = self._content(pictures[0])
            self.style_targets = self._grams(pictures[1])
        self.canvas = nn.Parameter(pictures[0].clone(memory_format=torch.preserve_format))
        self.optimiser = torch.optim.Adam([self.canvas], lr=0.3)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, 50, 0.8)

    def _network(self, params: Params) -> tuple[nn.Sequential, dict[str, int]]:
        """Returns the modules and each convolution's index; torchvision's ReLUs work in place."""
        modules: list[nn.Module] = []
        index = {}
        for name in sorted(params):
            if name.endswith("_1") and name != "conv1_1":
                modules.append(nn.MaxPool2d(2, 2))
            kernel = torch.from_numpy(params[name]["kernel"].transpose(3, 2, 0, 1).copy())
            kernel = kernel.to(self.device)
            convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            convolution.weight = nn.Parameter(kernel, requires_grad=not self.frozen)
            bias = torch.from_numpy(np.array(params[name]["bias"])).to(self.device)
            convolution.bias = nn.Parameter(bias, requires_grad=not self.frozen)
            index[name] = len(modules)
            modules += [convolution, nn.ReLU(inplace=True)]
        return nn.Sequential(*modules[:-1]), index

    def _image(self, canvas: Array) -> Tensor:
        image = torch.from_numpy(canvas.transpose(2, 0, 1)[None].copy())
        return image.to(self.device, memory_format=self.memory_format)

    def _features(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        kept = {}
        for index, module in enumerate(self.net):
            image = module(image)
            kept[index] = image if index in (self.content_layer, *self.style_layers) else None
        return kept[self.content_layer], [kept[index] for index in self.style_layers]

    def _content(self, image: Tensor) -> Tensor:
        """Returns the features that hold the content of a picture."""
        return self._features(image)[0].clone()

    def _grams(self, image: Tensor) -> list[Tensor]:
        """Returns what holds the style of a picture."""
        return [self._gram(each) for each in self._features(image)[1]]

    @staticmethod
    def _gram(feature: Tensor) -> Tensor:
        flat = feature.permute(1, 0, 2, 3).reshape(feature.shape[1], -1)
        return flat @ flat.T / flat.numel()

    def step(self) -> list[float]:
        """Updates the canvas once; returns content, style, tv and total before."""
        return [term.item() for term in self.update()]

    def update(self) -> list[Tensor]:
        """Does the same, without waiting for a device."""
        self.optimiser.zero_grad()
        terms = self.terms()
        terms[-1].backward()
        self.optimiser.step()
        self.schedule.step()
        return terms

    def terms(self) -> list[Tensor]:
        """Returns content, style, tv and total of the canvas."""
        content, styles = self._features(self.canvas)
        grams = zip(styles, self.style_targets, strict=True)
        terms = [
            (content - self.content_target).square().mean(),
            sum((self._gram(f) - g).square().mean() for f, g in grams) * STYLE_WEIGHT,
            self._variation(),
        ]
        total: Any = sum(terms)
        return [*terms, total]

    def _variation(self) -> Tensor:
        down = (self.canvas[:, :, 1:] - self.canvas[:, :, :-1]).abs().mean()
        across = (self.canvas[:, :, :, 1:] - self.canvas[:, :, :, :-1]).abs().mean()
        return 0.5 * (down + across) * TV_WEIGHT


class Tuned(Listing):
    """The same with frozen weights and channels-last memory."""

    frozen = True
    memory_format = torch.channels_last
