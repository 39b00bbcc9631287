"""The content loss, and the weighted sum of all terms."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxstyle.losses.statistics import SquaredError
from jaxstyle.losses.variation import total_variation


class Losses(NamedTuple):
    """The weighted terms, as in the book, and their sum; scalars, or arrays over steps."""

    content: jax.Array
    style: jax.Array
    tv: jax.Array
    total: jax.Array


def content_loss(error: SquaredError) -> jax.Array:
    """Returns the mean squared difference of the content features (the paper: half the sum)."""
    return error.sum / error.values


def weighted_losses(
    content: Mapping[str, jax.Array],
    style: Mapping[str, jax.Array],
    canvas: jax.Array,
    *,
    content_weights: Mapping[str, jax.Array | float],
    style_weights: Mapping[str, jax.Array | float],
    tv_weight: jax.Array | float,
    height: int | None = None,
) -> Losses:
    """Returns every weighted term and the total; layers are summed, as in the book.

    Args:
      content: by content layer, its loss.
      style: by style layer, likewise.
      canvas: (H, W, 3), for the total variation.
      content_weights: by content layer, its weight times the content weight.
      style_weights: by style layer, likewise.
      tv_weight: of the total variation.
      height: how many rows of the canvas are the picture's, see `total_variation`.
    """
    content_terms = [weight * content[tap] for tap, weight in content_weights.items()]
    style_terms = [weight * style[tap] for tap, weight in style_weights.items()]
    content_sum = jnp.sum(jnp.stack(content_terms))
    style_sum = jnp.sum(jnp.stack(style_terms))
    # its differences are computed again on the way back: kept, they would take 24 bytes a pixel
    tv = tv_weight * jax.checkpoint(partial(total_variation, height=height))(canvas)
    return Losses(content_sum, style_sum, tv, style_sum + content_sum + tv)
