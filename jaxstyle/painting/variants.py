"""A run on its way: what decides it, how its levels begin, its last good canvas, its result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError
from jaxstyle.images.canvas import Picture, normalize
from jaxstyle.images.color import paints_grey, picture_of
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.losses.terms import Losses
from jaxstyle.optimization.optimizer import (
    State,
    initial_state,
    next_level_state,
    shown,
    with_kept,
)
from jaxstyle.optimization.stepping import Chunk, losses_of
from jaxstyle.painting.level import Level, first_canvas, kept_photo
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import Recipe


class Snapshot(NamedTuple):
    """A canvas that can be saved: its losses are known and finite."""

    canvas: jax.Array | NDArray[np.float32]
    losses: Losses
    steps_done: int


class Unfinished(NamedTuple):
    """A run that was interrupted, to go on with."""

    steps_done: int
    memory_modes: tuple[str, ...]
    """By level, the memory mode in which it was begun; another one rounds otherwise."""
    restore: Callable[[], tuple[State, Snapshot | None]]
    """Returns the state, and the end of the last level that was finished."""
    history: Losses | None
    """The losses before every step so far, by term; None if nothing is known of them."""
    seconds: float
    """How long the steps took so far."""


class Variant(NamedTuple):
    """All that decides one result of a sweep."""

    content: Picture
    """As it was given, of any size; likewise the styles."""
    styles: tuple[Picture, ...]
    recipe: Recipe
    hyper: Hyperparams
    init: Any = "content"
    seed: int = 0
    regions: Regions = WHOLE
    unfinished: Unfinished | None = None
    """What an interrupted run of it left, to go on from there."""


class Result(NamedTuple):
    """One variant's result."""

    number: int
    """Index of the variant, from 0."""
    picture: NDArray[np.float32]
    """(H, W, 3) in [0, 1]; the last good one if the variant failed."""
    losses: Losses
    """The weighted losses of the canvas that this picture shows."""
    history: Losses
    """The losses before every step, by term, over all levels."""
    steps_done: int
    failure: DivergedError | None
    """Why it stopped before its last step, if it did."""
    device: jax.Device
    seconds: float
    """How long its steps took, without compilation."""
    saved_losses: Losses | None = None
    """The weighted losses of the picture as a file of 8 bits has it; see `Lane.losses_as_saved`."""


@dataclass(kw_only=True)
class Lane:
    """A run on its way: what it begins a level with, and what is known of it so far."""

    number: int
    """Index of the variant, from 0."""
    variant: Variant
    levels: list[Level]
    device: jax.Device
    idle: bool = False
    """Whether this lane is padding: it repeats another lane's variant and is ignored."""
    start: State | None = None
    """The state of an earlier chunk to go on from; used up when its level begins."""
    finished: Snapshot | None = None
    """The end of the last level that was finished."""
    chunk: Chunk | None = None
    """What came last."""
    history: list[Losses] = field(default_factory=list)
    """The losses before every good step so far, in parts."""
    seconds: float = 0.0
    """How long its steps took so far, without compilation."""
    good_losses: Losses | None = None
    """The losses before the last step of this level, which are those of the good canvas."""
    failure: DivergedError | None = None
    """Why it cannot go on, if so."""

    def __post_init__(self) -> None:
        unfinished = self.variant.unfinished
        if unfinished is not None and not self.idle:
            self.start, self.finished = unfinished.restore()
            self.history = [] if unfinished.history is None else [unfinished.history]
            self.seconds = unfinished.seconds
        self._before_failure: Snapshot | None = None
        self._carried: Any = ()
        self._done_before = 0 if self.start is None else int(self.start.step)

    @property
    def steps_done(self) -> int:
        """Steps so far, of all levels."""
        return self._done_before if self.chunk is None else int(self.chunk.state.step)

    @property
    def latest_total(self) -> float:
        """The total loss before the last good step; NaN if there was none."""
        totals = (part.total for part in reversed(self.history) if len(part.total))
        return float(next(totals, [np.nan])[-1])

    def is_behind(self, number: int) -> bool:
        """Whether a level, by its number from 0, was finished before this run went on."""
        level = self.levels[number]
        return self._done_before > 0 and level.first_step + level.steps <= self._done_before

    def begin_level(self, number: int) -> State:
        """Returns the state in which a level begins, or goes on if the run was interrupted in it.

        Not for a level that `is_behind`.
        """
        level, clip = self.levels[number], self.variant.recipe.clip
        shape, start, self.start = level.content.shape, self.start, None
        self.good_losses = None
        if start is not None and not 0 < level.first_step == self._done_before:
            return start
        carried, self._carried = self._carried, ()
        if start is not None:
            canvas: ArrayLike = shown(start)
            carried = start.optimizer
        elif self.finished is not None:
            canvas = self.finished.canvas
        else:
            return initial_state(self._first_canvas())
        photo = kept_photo(level)
        given: Any = {"step": level.first_step, "clip": clip, "kept": photo, "carried": carried}
        return next_level_state(canvas, shape, **given)

    def _first_canvas(self) -> jax.Array:
        given, recipe = self.variant, self.variant.recipe
        canvas = first_canvas(
            self.levels[0],
            init=given.init,
            seed=given.seed,
            resampling=recipe.resampling,
            colors=recipe.colors,
        )
        return with_kept(canvas, kept_photo(self.levels[0]))

    def take(self, chunk: Chunk) -> None:
        """Takes note of what a call brought, before the next call uses it up."""
        self.chunk = chunk
        good = int(chunk.state.step) - chunk.first_step + 1
        self.history.append(chunk.losses[:good])
        if good:
            self.good_losses = self.history[-1][-1]
        if len(chunk.learning_rate):
            self.seconds += chunk.seconds
        self.failure = chunk.failure
        if self.failure is not None:
            self._before_failure = self._good(chunk)
        elif chunk.closing is not None:
            canvas = np.asarray(shown(chunk.state))  # nothing uses it up any more
            self.finished = Snapshot(canvas, chunk.closing, int(chunk.state.step))
            self._carried = jax.tree.map(np.array, chunk.state.optimizer)

    def _good(self, chunk: Chunk) -> Snapshot | None:
        """Returns the canvas before the update that led astray, if one at this level was good."""
        done = int(chunk.state.step)
        if done == int(chunk.problem.first_step):
            return self.finished
        good = np.asarray(chunk.state.good)
        losses = self.good_losses or losses_of(good, chunk.problem)
        return Snapshot(good, losses, done - 1)

    def snapshot(self) -> Snapshot | None:
        """Returns the last canvas worth saving; None if no step was finished."""
        if self.failure is not None:
            return self._before_failure
        if self.chunk is None or self.chunk.closing is not None:
            return self.finished
        state, problem = self.chunk.state, self.chunk.problem
        done = int(state.step)
        if done == int(problem.first_step):  # nothing was done at this level
            return self.finished
        canvas = np.asarray(shown(state))
        return Snapshot(canvas, losses_of(canvas, problem), done)

    def picture_of(
        self, canvas: Any, *, size: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Returns the picture that this run shows of one of its canvases, of (H, W) if given."""
        given, last = self.variant, self.levels[-1]  # whose pictures need no file any more
        return picture_of(
            *(canvas, given.content),
            recipe=given.recipe,
            grey=paints_grey(given.recipe, last.content, last.styles),
            regions=given.regions,
            size=size,
        )

    def losses_as_saved(self, picture: NDArray[np.float32]) -> Losses | None:
        """Returns the losses of a picture of this run as a file of 8 bits has it.

        They are those of its canvas where nothing was clipped or recolored, but for rounding. It
        takes as long as a step.

        Args:
          picture: from `picture_of`, of the canvas of `snapshot`.

        Returns:
          None where the program of the last level is not at hand: the run failed or stopped before
          it, several processes share the picture, or several devices paint a sweep.
        """
        chunk = self.chunk
        if chunk is None or chunk.closing is None or jax.process_count() > 1:
            return None
        if not chunk.problem.kernels or picture.shape != self.levels[-1].content.shape:
            return None
        rounded = np.rint(picture * 255).astype(np.uint8)
        return losses_of(normalize(rounded), chunk.problem)

    def result(self) -> Result:
        """Returns the result of a run that has ended: where no step was good, its first canvas."""
        snapshot = self.snapshot()
        if snapshot is None:
            nothing = jax.tree.map(lambda _: np.float32(np.nan), self.history[0])
            snapshot = Snapshot(self._first_canvas(), nothing, 0)
        picture = self.picture_of(snapshot.canvas)
        return Result(
            number=self.number,
            picture=picture,
            losses=snapshot.losses,
            history=jax.tree.map(lambda *parts: np.concatenate(parts), *self.history),
            steps_done=snapshot.steps_done,
            failure=self.failure,
            device=self.device,
            seconds=self.seconds,
            saved_losses=self.losses_as_saved(picture),
        )
