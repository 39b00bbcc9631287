"""The terms of the loss by name, their sum, and the two that are computed here."""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxstyle.losses.statistics import SquaredError, as_divisor
from jaxstyle.losses.variation import VARIATIONS

VARIATION = "tv"
"""The term that a proximal step takes over from the gradient."""

TOTAL = "total"
"""What the sum of all terms is called beside them."""


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Losses:
    """The weighted terms and their sum: scalars, or arrays over steps.

    A pytree that keeps the order of the terms, which jax would sort in a dictionary: its leaves are
    the terms, then the total. Which terms there are is `problem.LOSS_TERMS`'s business alone.
    """

    terms: dict[str, Any]
    """By name."""
    total: Any

    def by_name(self) -> dict[str, Any]:
        """Returns the terms and, last, the total, under the names that logs and records use."""
        return {**self.terms, TOTAL: self.total}

    def numbers(self) -> dict[str, float]:
        """Returns what `by_name` does of one step, as numbers that JSON can hold."""
        return {name: float(value) for name, value in self.by_name().items()}

    def __getitem__(self, steps: int | slice) -> "Losses":
        """Returns the losses of one step, by its index, or of some, of arrays over steps."""
        found: Losses = jax.tree.map(lambda values: values[steps], self)
        return found

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Returns the values and the names of the terms."""
        return (*self.terms.values(), self.total), tuple(self.terms)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Sequence[Any]) -> "Losses":
        """Returns the losses of these values, see `tree_flatten`."""
        *terms, total = values
        return cls(dict(zip(names, terms, strict=True)), total)


def losses_by_name(values: Mapping[str, Any]) -> Losses:
    """Returns the losses of which `Losses.by_name` returned these values."""
    return Losses({name: each for name, each in values.items() if name != TOTAL}, values[TOTAL])


def with_total(terms: Mapping[str, jax.Array]) -> Losses:
    """Returns weighted terms with their sum."""
    return Losses(dict(terms), added(terms))


def added(terms: Mapping[str, jax.Array], *, without: Iterable[str] = ()) -> jax.Array:
    """Returns the sum of the terms, one after another, `without` those of these names."""
    counted = [each for name, each in terms.items() if name not in without]
    total: jax.Array = functools.reduce(operator.add, counted)
    return total


def content_loss(error: SquaredError) -> jax.Array:
    """Returns the mean squared difference of the content features (the paper: half the sum)."""
    return error.sum / as_divisor(error.values)


def weighted_layers(
    losses: Mapping[str, jax.Array], weights: Mapping[str, jax.Array | float]
) -> jax.Array:
    """Returns a term that is a sum over layers, as in the book: each layer's loss times its weight.

    Args:
      losses: by layer.
      weights: by layer, times the weight of the term.
    """
    return jnp.sum(jnp.stack([weight * losses[tap] for tap, weight in weights.items()]))


def weighted_variation(
    canvas: jax.Array,
    weight: jax.Array | float,
    *,
    height: int | None = None,
    form: str = "absolute",
) -> jax.Array:
    """Returns the total variation of a canvas, or its colors, (H, W, 3) times its weight.

    `height` is how many rows of the canvas are the picture's, see `total_variation`; `form` is a
    name from `VARIATIONS`.
    """
    # its differences are computed again on the way back: kept, they would take 24 bytes a pixel
    variation: jax.Array = jax.checkpoint(partial(VARIATIONS[form], height=height))(canvas)
    return weight * variation
