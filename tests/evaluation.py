"""What tests ask of a problem."""

import jax
import numpy as np

from jaxstyle.optimization.problem import canvas_losses


def rows_of(losses):
    """Returns losses as an array (terms + 1,), or (steps, terms + 1) if they are over steps."""
    return np.stack(jax.tree.leaves(losses), axis=-1)


def losses_with_gradient(canvas, problem):
    """Returns the losses of a canvas and the gradient of their total; pure, for jit."""

    def total(canvas):
        losses = canvas_losses(canvas, problem)
        return losses.total, losses

    (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(canvas)
    return losses, gradient
