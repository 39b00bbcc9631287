"""A style loss of which only this file knows: it is used like the others, in every engine."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_rms
from numpy_network import numpy_features

import jaxstyle
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.losses import style as style_losses
from jaxstyle.losses.statistics import Moments
from jaxstyle.losses.style import Part, StyleLoss
from jaxstyle.optimization import strips
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import Recipe

MEANS = {"name": "book", "balance": "relative", "style_loss": "means"}
MEANS |= {"content_layers": ("relu1_1",), "style_layers": ("relu1_1", "relu1_2")}
"""Settings: two layers, since they compile soon."""


class MeansTarget(NamedTuple):
    """What "means" keeps of a style: the features' mean (C,), and its mean square."""

    mean: jax.Array
    energy: jax.Array


def means_target(m: Moments) -> MeansTarget:
    mean = m.sum / m.positions
    return MeansTarget(mean, jnp.mean(jnp.square(mean)))


def means_parts(m: Moments, target: MeansTarget) -> tuple[Part, ...]:
    return (Part(jnp.mean(jnp.square(m.sum / m.positions - target.mean)), target.energy),)


def add_means(patch: pytest.MonkeyPatch) -> None:
    """Adds the loss "means" to the table of losses, and its name to the choices of the setting."""
    losses = {**style_losses.STYLE_LOSSES, "means": StyleLoss(means_target, means_parts)}
    patch.setattr(style_losses, "STYLE_LOSSES", losses)
    setting = Recipe.__dataclass_fields__["style_loss"]
    choices = (*setting.metadata["choices"], "means")
    patch.setattr(setting, "metadata", {**setting.metadata, "choices": choices})


def means_distance(params, canvas, style) -> float:
    """Returns the loss in the relative balance, of two pictures, in float64 numpy."""
    parts = []
    for tap in MEANS["style_layers"]:
        mean, target = (
            numpy_features(params, normalize(each), np.max)[tap].mean((0, 1))
            for each in (canvas, style)
        )
        parts.append(np.mean((mean - target) ** 2) / np.mean(target**2))
    return float(np.mean(parts))  # each layer weighs the same


def test_it_paints_whole_in_strips_and_in_a_sweep(params, content, style, monkeypatch) -> None:
    """rows_worker.py holds several devices to the same."""
    add_means(monkeypatch)
    short = functools.partial(strips.strip_sums, rows=16)
    monkeypatch.setattr("jaxstyle.optimization.targets.strip_sums", short)
    changes = {**MEANS, "conv": "direct", "size": (40, 36), "steps": 3, "style_weight": 2.0}
    changes |= {"learning_rate": 0.05}
    pictures = []
    for memory in ("plain", "strips"):
        recipe, hyper = preset(memory=memory, **changes)
        pictures.append(jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper))
    assert relative_rms(pictures[1], pictures[0]) < 1e-3  # Adam, where a gradient is nearly 0
    recipe, hyper = preset(memory="plain", **changes)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, pictures[0])
    first = [resize(each, (40, 36), resampling=recipe.resampling) for each in (content, style)]
    expected = 2 * means_distance(params, *first)
    assert float(swept.history.terms["style"][0]) == pytest.approx(expected, rel=1e-4)
    assert swept.losses.total < swept.history.total[0]
