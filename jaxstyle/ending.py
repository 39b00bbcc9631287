"""How the loop of a run ended, and the last canvas that is worth saving."""

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError
from jaxstyle.losses import Losses
from jaxstyle.state import shown
from jaxstyle.transfer import Chunk, losses_of


class Good(NamedTuple):
    """A canvas that can be saved: its losses are known and finite."""

    canvas: jax.Array | NDArray[np.float32]
    losses: Losses
    steps_done: int


class Painted(NamedTuple):
    """What the loop left."""

    chunk: Chunk
    """The last one."""
    finished: Good | None
    """The end of the last size that was finished."""
    failure: DivergedError | None
    log_failed: bool
    seconds: float


def is_sound(chunk: Chunk) -> bool:
    """Returns whether all losses so far are finite; if not, asking for more raises."""
    return not bool(chunk.state.failed) and (
        chunk.closing is None or bool(np.isfinite(chunk.closing.total))
    )


def last_good(painted: Painted) -> Good | None:
    """Returns the last canvas worth saving; None if no step was finished."""
    state, problem = painted.chunk.state, painted.chunk.problem
    done = int(state.step)
    if done == problem.first_step:  # nothing was done at this size
        return painted.finished
    if painted.failure is not None:  # the last update led astray: the canvas before it
        good = np.asarray(state.good)
        return Good(good, losses_of(good, problem), done - 1)
    if painted.chunk.closing is not None:
        return painted.finished
    canvas = np.asarray(shown(state))
    return Good(canvas, losses_of(canvas, problem), done)
