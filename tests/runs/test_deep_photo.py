"""A photo of 16 bits a channel, from end to end: what is kept of it keeps its depth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra print is not installed")


def deep_photo(channels: int) -> np.ndarray:
    """Writes deep.png, 48x32 pixels of 16 bits a channel, and returns it."""
    samples = np.linspace(6000, 60000, 32 * 48 * channels).reshape(32, 48, channels)
    samples = samples.astype(np.uint16)
    Path("deep.png").write_bytes(imagecodecs.png_encode(samples))
    return samples


def test_what_is_kept_of_a_deep_photo_keeps_its_depth(paint) -> None:
    samples, mask = deep_photo(3), np.zeros((32, 48), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save("m.png")
    flags = ["--content", "deep.png", "--bits", "16", "--size", "48", "--scales", "1"]
    assert paint(*flags, "--keep", "m.png", "-o", "x.png")[0] == 0
    found = imagecodecs.png_decode(Path("x.png").read_bytes()).astype(int)
    assert np.abs(found - samples)[:, :20].max() <= 1
    assert np.abs(found - samples)[:, 20:].max() > 300
    samples = deep_photo(4)
    samples[:, :9, 3] = 20000 + np.arange(9)
    samples[:, 9:, 3] = 65535
    Path("deep.png").write_bytes(imagecodecs.png_encode(samples))
    assert paint(*flags, "--alpha", "keep", "-o", "y.png")[0] == 0
    found = imagecodecs.png_decode(Path("y.png").read_bytes()).astype(int)
    np.testing.assert_array_equal(found[..., 3], samples[..., 3])
    opaque = samples[:, :9, 3:] / 65535
    over_white = samples[:, :9, :3] * opaque + 65535 * (1 - opaque)
    assert np.abs(found[:, :9, :3] - over_white).max() <= 1
