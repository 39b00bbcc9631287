"""The network written out in float64 numpy, for the tests of several wings."""

import numpy as np


def numpy_convolve(image, kernel, bias):
    """(H, W, in), (3, 3, in, out), (out,) to (H, W, out), padded with zeros, in float64."""
    height, width = image.shape[:2]
    padded = np.pad(np.asarray(image, np.float64), ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((height, width, kernel.shape[-1])) + bias
    for row in range(3):
        for column in range(3):
            window = padded[row : row + height, column : column + width]
            result += window @ kernel[row, column].astype(np.float64)
    return result


def numpy_features(params, image, pool) -> dict[str, np.ndarray]:
    """Every tap of a VGG on one image (H, W, 3), in float64."""
    found, x = {}, np.asarray(image, np.float64)
    for name in sorted(params):
        if name.endswith("_1") and name != "conv1_1":
            height, width = x.shape[0] // 2, x.shape[1] // 2
            windows = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
            x = pool(windows, axis=(1, 3))
        x = numpy_convolve(x, params[name]["kernel"], params[name]["bias"])
        found[name] = x
        x = np.maximum(x, 0)
        found[name.replace("conv", "relu")] = x
    return found
