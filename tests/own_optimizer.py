"""An optimizer of which only the tests know: gradient descent by the mean of five gradients."""

import jax
import jax.numpy as jnp
import pytest
from conftest import SHALLOW

from jaxstyle.machine import memory
from jaxstyle.optimization import optimizer
from jaxstyle.optimization.optimizer import Optimizer
from jaxstyle.settings.recipe import OPTIMIZER_BYTES, Recipe

HISTORY = {**SHALLOW, "optimizer": "history", "learning_rate": 0.1}
"""Settings for preset `book`, at whose rate seven steps move a canvas by about a sixth."""


def history_init(canvas: jax.Array) -> dict[str, jax.Array]:
    return {"gradients": jnp.zeros((5, *canvas.shape), canvas.dtype)}


def history_update(gradient, state, canvas, program) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mean of the last five gradients, those before the first step being 0."""
    gradients = jnp.concatenate([gradient[None], state["gradients"][:-1]])
    return gradients.mean(axis=0), {"gradients": gradients}


def history_metric(state, program) -> jax.Array:
    return jnp.float32(1)


def add_history(patch: pytest.MonkeyPatch) -> None:
    """Adds the optimizer "history" to the tables, and its name to the choices, with a flag."""
    history = Optimizer(history_init, history_update, history_metric, lambda state: state)
    patch.setattr(optimizer, "OPTIMIZERS", {**optimizer.OPTIMIZERS, "history": history})
    patch.setattr(memory, "OPTIMIZER_BYTES", {**OPTIMIZER_BYTES, "history": 5 * 12})
    setting = Recipe.__dataclass_fields__["optimizer"]
    choices = (*setting.metadata["choices"], "history")
    changed = {**setting.metadata, "choices": choices, "help": "what moves the canvas"}
    patch.setattr(setting, "metadata", changed)
