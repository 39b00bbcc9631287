"""Writes the small torch files that the tests of torchfile, weights and pretrained read.

Run from the project's root, in an environment with torch 2.13.0 (CPU) and numpy 2.4.6, on Python
3.11; jaxstyle itself and its tests do not need torch:

    python scripts/make_torch_fixtures.py

Into `tests/references/` go:
    tiny_legacy.pth: a state dict in torch's legacy format.
    tiny_zip.pth: the same state dict in the zip format.
    tiny_checkpoint.pth: a training checkpoint (zip) with the state dict nested in it.
    tiny_expected.npz: the values of the state dict's "features." entries, as torch sees them.
    slim_vgg16_zip.pth, slim_vgg19_zip.pth, slim_vgg19_legacy.pth: all that torchvision's files of
        these networks hold, under the same names, but two to five channels wide; what the values
        are, `slim_state` tells.

Legacy files name storages by memory address, so their bytes differ from run to run.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]

REFERENCES = Path(__file__).resolve().parent.parent / "tests" / "references"
SLIM_WIDTHS = (2, 3, 4, 5, 3)


def tiny_model() -> torch.nn.Module:
    """Returns two convolutions and a classifier, named as torchvision names VGG's."""
    features = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3)
    )
    classifier = torch.nn.Sequential(torch.nn.Linear(7, 5))
    return torch.nn.Sequential(OrderedDict(features=features, classifier=classifier))


def tiny_state() -> "OrderedDict[str, torch.Tensor]":
    """Returns a state dict with every kind of tensor that the reader must tell apart."""
    state: OrderedDict[str, torch.Tensor] = tiny_model().state_dict()
    shared = torch.randn(4, 5)
    state["features.transposed"] = torch.randn(2, 3, 4).permute(2, 0, 1)
    state["features.shared_whole"] = shared
    state["features.shared_part"] = shared[1:3, 1::2]  # storage offset 6, strides (5, 2)
    state["features.half"] = torch.randn(3, 2).half()
    state["features.double"] = torch.randn(3).double()
    state["features.scalar"] = torch.tensor(42)
    state["features.bytes"] = torch.arange(5, dtype=torch.uint8)
    state["features.empty"] = torch.zeros(0, 3)
    state["features.parameter"] = torch.nn.Parameter(torch.randn(2))
    state["classifier.brain"] = torch.randn(3).bfloat16()
    state["classifier.mask"] = torch.tensor([True, False])
    return state


def slim_state(counts: tuple[int, ...]) -> "OrderedDict[str, torch.Tensor]":
    """Returns a VGG's state dict whose every value tells where it lies.

    features.K.weight[o, i, y, x] is 10000 K + 1000 o + 100 i + 10 y + x and features.K.bias[o] is
    -(10 K + o), all divided by 2 ** 21, so that activations neither vanish nor explode; float32
    holds it exactly.

    Args:
      counts: how many convolutions each block has.
    """
    layers: list[torch.nn.Module] = []
    channels = 3
    for count, width in zip(counts, SLIM_WIDTHS, strict=True):
        for _ in range(count):
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            channels = width
        layers.append(torch.nn.MaxPool2d(2))
    for place, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Conv2d):
            o, i, y, x = torch.meshgrid(*map(torch.arange, layer.weight.shape), indexing="ij")
            whole = 10000 * place + 1000 * o + 100 * i + 10 * y + x
            layer.weight.data = whole.float() / 2**21
            layer.bias.data = -(10 * place + torch.arange(len(layer.bias))).float() / 2**21
    classifier = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    parts = OrderedDict(features=torch.nn.Sequential(*layers), classifier=classifier)
    state: OrderedDict[str, torch.Tensor] = torch.nn.Sequential(parts).state_dict()
    return state


def write_slim() -> None:
    """Writes the slim networks."""
    torch.save(slim_state((2, 2, 3, 3, 3)), REFERENCES / "slim_vgg16_zip.pth")
    state = slim_state((2, 2, 4, 4, 4))
    torch.save(state, REFERENCES / "slim_vgg19_zip.pth")
    torch.save(state, REFERENCES / "slim_vgg19_legacy.pth", _use_new_zipfile_serialization=False)


def main() -> None:
    """Writes all fixtures."""
    torch.manual_seed(0)
    state = tiny_state()
    REFERENCES.mkdir(parents=True, exist_ok=True)
    torch.save(state, REFERENCES / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, REFERENCES / "tiny_zip.pth")
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, REFERENCES / "tiny_checkpoint.pth")
    features = {k: v for k, v in state.items() if k.startswith("features.")}
    expected = {name: tensor.detach().numpy() for name, tensor in features.items()}
    np.savez(REFERENCES / "tiny_expected.npz", **expected)
    write_slim()


if __name__ == "__main__":
    main()
