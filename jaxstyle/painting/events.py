"""What happens in runs and sweeps, as events, and who sees them: observers."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from jaxstyle.errors import InputError
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.level import Level
from jaxstyle.painting.variants import Lane, Snapshot


class LevelBegun(NamedTuple):
    """A run is about to do the steps of a level; nothing of it is compiled yet, perhaps."""

    run: int
    """Index of the run in a sweep, from 0; likewise below. A single run's is 0."""
    level: Level
    lane: Lane
    """All that is known of the run, to be looked at only."""


class StepsDone(NamedTuple):
    """A call on the device has ended, with steps of this run, or with none: it has compiled."""

    run: int
    chunk: Chunk
    """The arrays of its state are used up by the next call: copy what is to be kept."""
    lane: Lane


class LevelEnded(NamedTuple):
    """All steps of a level are done."""

    run: int
    level: Level
    snapshot: Snapshot
    """The canvas that it leaves, with its losses."""


class RunEnded(NamedTuple):
    """A run has ended, one way or another."""

    run: int
    how: str
    """ "finished", "diverged" or "interrupted"."""
    lane: Lane
    """With the last good canvas, and why it diverged."""


class RunRefused(NamedTuple):
    """A run of a sweep cannot begin: a file that it needs is gone, or another than it was."""

    run: int
    error: InputError


class CallDone(NamedTuple):
    """A call on the device has ended: what it brought to all runs of this process together."""

    running: tuple[tuple[int, int, float], ...]
    """Index, steps so far and latest total loss of every run on this process's devices."""
    pixel_steps: int
    """Steps done in this call times the canvas's pixels, summed over these runs."""
    seconds: float


Event = LevelBegun | StepsDone | LevelEnded | RunEnded | RunRefused | CallDone


class Observer(Protocol):
    """Someone who watches: the bar, the log, numbered pictures, checkpoints, or one of your own."""

    def see(self, event: Event) -> None:
        """Is shown every event, in order. The next call waits until this returns."""


def watched(events: Iterable[Event], observers: Sequence[Observer]) -> Iterator[Event]:
    """Shows every event to every observer, in turn, and then yields it."""
    for event in events:
        for each in observers:
            each.see(event)
        yield event


class EventLog:
    """An observer that tells a logger what happens: levels and ends as INFO, steps as DEBUG.

    What goes wrong is a WARNING, or, of a run that cannot begin, an ERROR. Nothing is shown unless
    the program says where, as with `logging.basicConfig(level=logging.INFO)`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        """Takes the logger that is told; by default that of the name "jaxstyle"."""
        self._logger = logging.getLogger("jaxstyle") if logger is None else logger

    def see(self, event: Event) -> None:
        """Tells of an event."""
        tell = self._logger
        if isinstance(event, LevelBegun | LevelEnded):
            height, width = event.level.content.shape[:2]
            what = "begun" if isinstance(event, LevelBegun) else "ended"
            steps = event.level.steps
            tell.info("run %d: %dx%d %s, %d steps", event.run, height, width, what, steps)
        elif isinstance(event, StepsDone):
            if count := len(event.chunk.losses.total):
                total = float(event.chunk.losses.total[-1])
                step = event.chunk.first_step + count - 1
                tell.debug("run %d: step %d, loss %.6g before it", event.run, step, total)
        elif isinstance(event, RunRefused):
            tell.error("run %d: %s", event.run, event.error)
        elif isinstance(event, RunEnded):
            level = logging.INFO if event.how == "finished" else logging.WARNING
            done = event.lane.steps_done
            tell.log(level, "run %d: %s after %d steps", event.run, event.how, done)
