"""Checkpoints while a run goes on: written when they are due, removed in the end."""

from dataclasses import InitVar, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.errors import InputError, Say
from jaxstyle.losses.terms import Losses, losses_by_name
from jaxstyle.machine.process import unbreakable
from jaxstyle.optimization.optimizer import State, initial_state, with_program_state
from jaxstyle.painting.events import Event, StepsDone
from jaxstyle.painting.variants import Lane, Snapshot, Unfinished
from jaxstyle.runs import checkpoint, record
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.log import Log, logged_losses
from jaxstyle.runs.progress import Clock, size_text
from jaxstyle.runs.request import SECONDS_BETWEEN, CheckpointRequest


@dataclass(kw_only=True)
class Checkpointer:
    """An observer that keeps a run's checkpoints.

    What goes wrong is said once and does not stop the run. The clock and the log see all first.
    """

    path: Path
    """Path of the checkpoint."""
    request: CheckpointRequest
    run: record.Record
    """What decides the run."""
    steps: int
    """How many steps the run has in all."""
    resumption: InitVar[Resumption | None]
    """The checkpoint that the run goes on from."""
    clock: Clock
    log: Log
    say: Say
    writes: bool = True
    """Whether it is this process that writes; the others only help to gather what is written."""
    pictures: list[str] = field(init=False)
    """The sha256 of every picture that was saved when this run was interrupted."""

    def __post_init__(self, resumption: Resumption | None) -> None:
        self.pictures = [] if resumption is None else list(resumption.header.pictures)
        self._on = self.request.wanted
        self._last = self.clock.seconds
        self._keep_previous = resumption is None or not resumption.is_previous
        self._there = resumption is not None
        self._warned = False

    def see(self, event: Event) -> None:
        """Writes a checkpoint after a call, if one is due.

        If checkpoints were asked for, the first is written before step 1, so that --resume
        recognizes what else a killed run leaves, such as a log, as its own.
        """
        if not isinstance(event, StepsDone):
            return
        chunk, seconds = event.chunk, self.clock.seconds
        done = int(chunk.state.step)
        self._on = self._on or seconds + self.clock.left(done) > SECONDS_BETWEEN
        every = SECONDS_BETWEEN if self.request.every is None else self.request.every
        first = not self._there and not self._warned
        due = first or (len(chunk.learning_rate) and seconds - self._last >= every)
        if self._on and due and done < self.steps and chunk.failure is None:
            self._last = seconds
            self._write(chunk.state, event.lane.finished)

    def interrupted(self, lane: Lane, *pictures: str) -> bool:
        """Writes a checkpoint at an interruption, if this run keeps any, which short ones do not.

        Returns whether there is a checkpoint to go on from.

        Args:
          lane: of the run, which has not failed.
          *pictures: the sha256 of the picture that will be saved, which --resume may replace.
        """
        self.pictures += pictures
        if lane.chunk is None or lane.steps_done == self.steps:
            return False
        if self._on:
            self._write(lane.chunk.state, lane.finished)
        return self._there and self.path.exists()

    def _write(self, state: State, finished: Snapshot | None) -> None:
        header, arrays = self._header(state, finished), _arrays(state, finished)
        if not self.writes:
            self._there = True
            return
        try:
            with unbreakable():
                checkpoint.write(self.path, header, arrays, keep=self._keep_previous)
            self._there = self._keep_previous = True
        except OSError as error:
            if not self._warned:
                reason = error.strerror or error
                self.say(f"warning: the checkpoint {self.path} cannot be written: {reason}")
            self._warned = True

    def _header(self, state: State, finished: Snapshot | None) -> checkpoint.Header:
        return checkpoint.Header(
            self.run,
            int(state.step),
            size_text(state.canvas.shape),
            self.clock.seconds,
            None if finished is None else [finished.losses.numbers(), finished.steps_done],
            self.pictures,
            self.log.text,
        )

    def remove(self) -> None:
        """Takes this run's checkpoints away, once its picture is saved."""
        if not (self._there and self.writes):
            return
        try:
            checkpoint.remove(self.path)
        except OSError as error:
            self.say(f"warning: {self.path} could not be removed: {error.strerror or error}")


NAMES_BEFORE = {
    **{f"optimizer.{name}": name for name in ("count", "mu", "nu")},
    **{"duals.0": "vertical_duals", "duals.1": "horizontal_duals"},
}
"""How arrays were called before they had the names of their places in the state's tree."""


def _arrays(state: State, finished: Snapshot | None) -> checkpoint.NamedArrays:
    """Returns all arrays that are not known from elsewhere, on the host."""
    named: dict[str, Any] = by_path(state)
    if finished is not None:
        named["finished"] = finished.canvas
    return {name: np.asarray(each) for name, each in named.items()}


def by_path(tree: Any) -> dict[str, Any]:
    """Returns a tree's leaves by their places in it, such as "optimizer.mu" or "duals.0"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _with_arrays(state: State, arrays: checkpoint.NamedArrays) -> State:
    """Returns a state with the arrays that a checkpoint has, by path.

    Fields of which it has none are empty, as they are before a level's first step. Whether a state
    has failed was not kept before, as no such state is.
    """
    arrays = {"failed": np.array(False), **arrays}
    arrays |= {new: arrays[old] for new, old in NAMES_BEFORE.items() if old in arrays}
    kept = {name.partition(".")[0] for name in arrays}
    empty: dict[str, Any] = {name: () for name in State._fields if name not in kept}
    state = state._replace(**empty)
    found = [
        jnp.array(arrays[name].view(leaf.dtype).reshape(leaf.shape))
        for name, leaf in by_path(state).items()
    ]
    whole: State = jax.tree.unflatten(jax.tree.structure(state), found)
    return whole


def restored_state(resumption: Resumption) -> tuple[State, Snapshot | None]:
    """Returns the state to go on from, and the end of the last size that was finished.

    Raises:
      InputError: the file was changed since it was checked.
      OSError: it cannot be read any more.
    """
    try:
        arrays = checkpoint.read_arrays(resumption.path)
        recipe, *_ = record.restore(resumption.header.run)
        like = with_program_state(initial_state(arrays["canvas"]), recipe)
        state = _with_arrays(like, arrays)
    except (ValueError, KeyError) as error:  # DamagedError is one
        raise InputError(f"{resumption.path} was changed after it was checked: {error}") from None
    if resumption.header.finished is None:
        return state, None
    losses, steps_done = resumption.header.finished
    return state, Snapshot(arrays["finished"], _restored_losses(losses), steps_done)


def _restored_losses(stored: dict[str, float] | list[float]) -> Losses:
    """Returns losses from a checkpoint; one written before has three terms and a total, unnamed."""
    if isinstance(stored, list):
        stored = dict(zip(("content", "style", "tv", "total"), stored, strict=True))
    return losses_by_name({name: np.float32(value) for name, value in stored.items()})


def unfinished(resumption: Resumption) -> Unfinished:
    """Returns what a checkpoint holds, for the run to go on; its arrays are not read yet."""
    header = resumption.header
    return Unfinished(
        header.steps_done,
        tuple(header.run["memory"]),
        partial(restored_state, resumption),
        logged_losses(header.log),
        header.seconds,
    )
