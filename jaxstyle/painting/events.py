"""What happens in runs and sweeps, as events, and who sees them: observers."""

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
