"""Guides: which positions of a feature map belong to which region of a picture.

A guide is a mask in [0, 1] for every region, (H, W, R), brought to the resolution of each layer.
Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, "Controlling Perceptual Factors in Neural Style
Transfer": features are multiplied by guides T with mean T^2 = 1. In `moments` that is a weight of
T^2 for each position; since moments are divided by their weights, the scale of T does not matter.
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxstyle.network.layers import block_of, conv_of
from jaxstyle.network.vgg import up_to_deepest

LEAST_GUIDE = 1e-6
"""Least mean T^2 of a region: where it is smaller, the region has no position at that layer."""


def guides_at(
    guides: jax.Array, taps: Sequence[str], *, convs: Iterable[str], propagation: str
) -> dict[str, jax.Array]:
    """Returns by tap the weights of every position, (h, w, R), in the mean 1 for each region.

    Args:
      guides: (H, W, R), in [0, 1], at the picture's size.
      taps: plain names of layers.
      convs: the network's convolutions.
      propagation: "simple", how much of a position's own pixels, 2^(block - 1) each way, is in the
        region; "inside", 0 where the position sees any pixel outside of it; "all", 1 where it sees
        any pixel inside. Where nothing of a region is left by "inside", its "simple" guide counts.

    Returns:
      Zeros for a region that the picture does not have.
    """
    convs = up_to_deepest(convs, taps)
    simple = _pooled(guides, taps, convs, "simple")
    if propagation == "simple":
        return {tap: _normalized(each) for tap, each in simple.items()}
    found = _pooled(guides, taps, convs, propagation)
    return {
        tap: _normalized(jnp.where(_mean_square(each) > LEAST_GUIDE, each, simple[tap]))
        for tap, each in found.items()
    }


def _pooled(
    guides: jax.Array, taps: Sequence[str], convs: Sequence[str], propagation: str
) -> dict[str, jax.Array]:
    """Returns the guides at every tap, through convolutions and pools as the network has them."""
    found, x = {}, guides
    for conv in convs:
        if conv.endswith("_1") and block_of(conv) > 1:
            x = _window(x, 2, propagation)
        if propagation != "simple":
            x = _window(x, 3, propagation)
        found[conv] = x
    return {tap: found[conv_of(tap)] for tap in taps}


def _window(x: jax.Array, side: int, propagation: str) -> jax.Array:
    """Returns mean, least or greatest of windows: those of a pool (2) or of a convolution (3)."""
    shape = (side, side, 1)
    strides, padding = ((2, 2, 1), "VALID") if side == 2 else ((1, 1, 1), "SAME")
    start, combine = {
        "inside": (jnp.inf, lax.min),
        "all": (-jnp.inf, lax.max),
        "simple": (0.0, lax.add),
    }[propagation]
    found: jax.Array = lax.reduce_window(x, start, combine, shape, strides, padding)
    return found / side**2 if propagation == "simple" else found


def _normalized(guides: jax.Array) -> jax.Array:
    """Returns T^2 divided by its mean, for each region; zeros of a region without a position."""
    mean = _mean_square(guides)
    weights = jnp.square(guides) / jnp.maximum(mean, LEAST_GUIDE)
    return jnp.where(mean > LEAST_GUIDE, weights, 0)


def _mean_square(guides: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(guides), axis=(0, 1))
