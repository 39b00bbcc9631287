"""The textbook's style-transfer program in PyTorch, as the reference the JAX code is held to.

A restatement of the objective and the training loop of "Neural Style Transfer" in Dive into Deep
Learning, for VGG networks of any width with weights drawn from a seed. It shares no code with the
package on purpose: whatever the two agree on, they agree on independently.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[Any]
Weights = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]

CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_DEVIATION = (0.229, 0.224, 0.225)
LOSS_WEIGHTS = {"content": 1.0, "style": 1e4, "tv": 10.0}
DECAY_FACTOR = 0.8
STYLE_CONVOLUTIONS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
LOSS_COLUMNS = ("content", "style", "tv", "total")


@dataclass(frozen=True)
class Network:
    """A VGG network up to conv5_1 and the recipe for its random weights.

    Attributes:
        name: What the reference files call it.
        depths: Number of convolutions in each of the five blocks.
        widths: Output channels of each block's convolutions.
        seed: Seed of the PCG64 generator the weights are drawn from.
        gain: Factor on every kernel, in float32, after the fan-out scaling.
        bias_scale: Standard deviation of the biases; zero draws none.
    """

    name: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    seed: int
    gain: float
    bias_scale: float

    def layers(self) -> list[str]:
        """Name the layers in torchvision's order, cut after conv5_1."""
        names = []
        for block, depth in enumerate(self.depths, start=1):
            for position in range(1, depth + 1):
                names += [f"conv{block}_{position}", f"relu{block}_{position}"]
            names.append(f"pool{block}")
        return names[: names.index("conv5_1") + 1]

    def content_convolution(self) -> str:
        """Name the content layer: the last convolution of the fourth block."""
        return f"conv4_{self.depths[3]}"


@dataclass(frozen=True)
class Preset:
    """Which of the textbook's programs to follow.

    Attributes:
        name: `book` for the PyTorch program, `book-mxnet` for the MXNet one.
        inplace: Whether the ReLUs overwrite the convolutions' outputs, as torchvision's do.
    """

    name: str
    inplace: bool

    def taps(self, network: Network) -> dict[str, int]:
        """Map each tapped feature's effective name to the index of the tensor that is kept.

        The kept tensors are always convolution outputs, but an in-place ReLU that runs later
        turns them into its own output; conv5_1 is the last layer, so nothing follows it.
        """
        layers = network.layers()
        indices = [layers.index(name) for name in STYLE_CONVOLUTIONS]
        indices.append(layers.index(network.content_convolution()))
        last = len(layers) - 1
        return {layers[i + (self.inplace and i < last)]: i for i in indices}


def draw_weights(network: Network) -> Weights:
    """Draw kernels (OIHW) and biases layer by layer, as torchvision initialises its VGGs.

    The gain is applied last and in float32, so that the kernels before it are reproducible too.
    """
    generator = np.random.Generator(np.random.PCG64(network.seed))
    weights: Weights = {}
    fan_in = 3
    for name in network.layers():
        if not name.startswith("conv"):
            continue
        width = network.widths[int(name[4]) - 1]
        normal = generator.standard_normal((width, fan_in, 3, 3))
        kernel = (normal * np.sqrt(2.0 / (width * 9))).astype(np.float32)
        bias = np.zeros(width, np.float32)
        if network.bias_scale:
            bias = (generator.standard_normal(width) * network.bias_scale).astype(np.float32)
        weights[name] = (kernel * np.float32(network.gain), bias)
        fan_in = width
    return weights


def digest(arrays: Sequence[Array]) -> str:
    """Hash the arrays' bytes (C order) one after the other with SHA-256."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def build(network: Network, weights: Weights, preset: Preset, dtype: torch.dtype) -> nn.Sequential:
    """Assemble the network as a sequence of modules whose indices are torchvision's."""
    modules: list[nn.Module] = []
    for name in network.layers():
        if name.startswith("conv"):
            kernel, bias = (torch.from_numpy(array).to(dtype) for array in weights[name])
            convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, dtype=dtype)
            convolution.weight = nn.Parameter(kernel, requires_grad=False)
            convolution.bias = nn.Parameter(bias, requires_grad=False)
            modules.append(convolution)
        elif name.startswith("relu"):
            modules.append(nn.ReLU(inplace=preset.inplace))
        else:
            modules.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*modules)


def normalize(picture: npt.NDArray[np.uint8]) -> Tensor:
    """Turn an 8-bit (H, W, 3) picture into the float32 NCHW tensor the networks take."""
    image = torch.from_numpy(picture).permute(2, 0, 1).to(torch.float32) / 255
    mean = torch.tensor(CHANNEL_MEAN).reshape(3, 1, 1)
    deviation = torch.tensor(CHANNEL_DEVIATION).reshape(3, 1, 1)
    return ((image - mean) / deviation)[None].contiguous()


def channels_last(tensor: Tensor) -> Array:
    """Copy a (1, C, H, W) tensor into an (H, W, C) array."""
    return tensor.detach()[0].permute(1, 2, 0).numpy().copy(order="C")


def gram(feature: Tensor) -> Tensor:
    """Correlate a feature's channels, divided by the number of its values."""
    channels = feature.shape[1]
    flat = feature.reshape(channels, -1)
    return flat @ flat.T / (channels * flat.shape[1])


def total_variation(canvas: Tensor) -> Tensor:
    """Average the absolute differences between vertical and horizontal neighbours."""
    vertical = canvas[:, :, 1:, :] - canvas[:, :, :-1, :]
    horizontal = canvas[:, :, :, 1:] - canvas[:, :, :, :-1]
    return 0.5 * (vertical.abs().mean() + horizontal.abs().mean())


class Program:
    """The objective for one pair of pictures, in one precision."""

    def __init__(
        self, modules: nn.Sequential, taps: Mapping[str, int], content: Tensor, style: Tensor
    ) -> None:
        """Record the targets.

        Args:
            modules: The network.
            taps: Effective feature names to kept indices, the content feature last.
            content: The normalised content picture, whose dtype is the network's.
            style: The normalised style picture.
        """
        self.modules = modules
        self.taps = taps
        *self.style_taps, self.content_tap = taps
        self.content_target = self.features(content)[self.content_tap].detach()
        self.style_targets = {
            name: gram(feature).detach()
            for name, feature in self.features(style).items()
            if name != self.content_tap
        }

    def features(self, canvas: Tensor) -> dict[str, Tensor]:
        """Run the whole network, and only then look at the tensors kept on the way."""
        kept = {}
        for index, module in enumerate(self.modules):
            canvas = module(canvas)
            kept[index] = canvas
        return {name: kept[index] for name, index in self.taps.items()}

    def losses(self, canvas: Tensor) -> dict[str, Tensor]:
        """Compute every weighted term, the per-layer style terms as `style/<tap>`."""
        features = self.features(canvas)
        styles = {
            f"style/{name}": (gram(features[name]) - target).square().mean() * LOSS_WEIGHTS["style"]
            for name, target in self.style_targets.items()
        }
        difference = features[self.content_tap] - self.content_target
        content = difference.square().mean() * LOSS_WEIGHTS["content"]
        variation = total_variation(canvas) * LOSS_WEIGHTS["tv"]
        style = torch.stack(list(styles.values())).sum()
        total = sum([*styles.values(), content], start=torch.zeros((), dtype=canvas.dtype))
        return {
            **styles,
            "content": content,
            "style": style,
            "tv": variation,
            "total": total + variation,
        }

    def differentiate(self, canvas: Tensor) -> tuple[dict[str, Array], Array]:
        """Return the terms and the gradient (H, W, 3) of the total at a canvas."""
        canvas = canvas.detach().clone().requires_grad_(True)
        terms = self.losses(canvas)
        (gradient,) = torch.autograd.grad(terms["total"], canvas)
        return {name: term.detach().numpy() for name, term in terms.items()}, channels_last(
            gradient
        )


@dataclass
class Trajectory:
    """What a training run leaves behind.

    Attributes:
        losses: Per step, the `LOSS_COLUMNS` of the canvas before that step's update.
        rates: Per step, the learning rate of that update.
        canvases: Canvases (H, W, 3) after the steps asked for, counted from one.
    """

    losses: list[list[float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    canvases: dict[int, Array] = field(default_factory=dict)


def train(
    program: Program, start: Tensor, rate: float, decay_every: int, steps: int, keep: Sequence[int]
) -> Trajectory:
    """Optimise a canvas with Adam and a stepwise decaying learning rate.

    Args:
        program: The objective.
        start: The canvas to start from.
        rate: The learning rate of the first steps.
        decay_every: Steps between two decays.
        steps: Number of updates.
        keep: The steps after which to record the canvas.

    Returns:
        The losses, learning rates and canvases of the run.
    """
    canvas = nn.Parameter(start.detach().clone())
    optimiser = torch.optim.Adam([canvas], lr=rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, decay_every, DECAY_FACTOR)
    trajectory = Trajectory()
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        terms = program.losses(canvas)
        terms["total"].backward()
        trajectory.losses.append([terms[name].item() for name in LOSS_COLUMNS])
        trajectory.rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
        if step in keep:
            trajectory.canvases[step] = channels_last(canvas)
    return trajectory
