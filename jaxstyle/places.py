"""One setting of a sweep on one device: what decides it, what is noted meanwhile, its result."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import images, transfer
from jaxstyle.errors import DivergedError
from jaxstyle.levels import Level
from jaxstyle.losses import Losses
from jaxstyle.recipe import Hyperparams, Recipe
from jaxstyle.state import State, enlarged


class Setting(NamedTuple):
    """All that decides one result of a sweep."""

    content: images.Picture
    style: images.Picture
    recipe: Recipe
    hyper: Hyperparams
    init: Any = "content"
    seed: int = 0


class Result(NamedTuple):
    """One setting's result."""

    number: int
    """Which of the settings, from 0."""
    picture: NDArray[np.float32]
    """(H, W, 3) in [0, 1]; of a setting that failed, the last good one."""
    losses: Losses
    """The weighted losses of this picture."""
    history: Losses
    """By term, the losses before every step, over all sizes."""
    steps_done: int
    failure: DivergedError | None
    """Why it stopped before its last step, if it did."""
    device: jax.Device
    seconds: float
    """How long its steps took, without compilation."""


@dataclass
class Place:
    """One device's setting in a round, and what is known of it so far."""

    number: int
    setting: Setting
    plan: list[Level]
    device: jax.Device
    idle: bool
    """Whether it only fills the round: the setting is another place's."""
    canvas: Any
    """The last good one, once a size or the run has ended; before, the first."""
    losses: Any = (np.nan,) * 4
    """Of this canvas."""
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    """Of every step so far, its losses and learning rate."""
    level_began: int = 0
    """How many rows there were when this size began."""
    steps_done: int = 0
    seconds: float = 0.0
    failure: DivergedError | None = None
    reported: bool = False
    """Whether the result was handed out."""

    @property
    def over(self) -> bool:
        """Whether nothing is to be noted any more."""
        return self.idle or self.failure is not None

    def begin(self, size: int) -> State:
        """Returns the state before the first step of the size of that number, from 0."""
        self.level_began = len(self.rows)
        level = self.plan[size]
        shape, clip = level.content.shape, self.setting.recipe.clip
        return enlarged(self.canvas, shape, step=level.first_step, clip=clip)

    def take(self, rows: NDArray[np.float32], seconds: float) -> None:
        """Takes note of a call's good steps, a row of losses and learning rate for each."""
        self.rows += list(rows)
        self.steps_done += len(rows)
        self.seconds += seconds

    def close(self, state: State, closing: NDArray[np.float32]) -> None:
        """Takes note of the state after a size's last step, and of its canvas's losses."""
        if np.isfinite(closing[3]):
            self.canvas, self.losses = state.canvas, closing
        else:
            self.fail(state.good, closing)

    def fail(self, good: Any, bad_row: NDArray[np.float32]) -> None:
        """Takes note of a canvas with bad losses, and of the good one before.

        If this size has no step, the good one is that which the size before has left.
        """
        self.failure = DivergedError(self.steps_done + 1, transfer._diverged_term(bad_row))
        if len(self.rows) > self.level_began:
            self.canvas, self.losses = good, self.rows[-1][:4]
            self.steps_done -= 1

    def result(self) -> Result:
        """Returns what there is at the end."""
        history = np.array(self.rows, np.float32).reshape(-1, 5).T[:4]
        return Result(
            number=self.number,
            picture=images.denormalise(self.canvas),
            losses=Losses(*self.losses),
            history=Losses(*history),
            steps_done=self.steps_done,
            failure=self.failure,
            device=self.device,
            seconds=self.seconds,
        )
