"""What watches a run, all together: clock, progress, log, numbered pictures, checkpoints."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from jaxstyle.errors import Say
from jaxstyle.machine.process import Interruption
from jaxstyle.machine.worked_time import CLOCK
from jaxstyle.painting.events import Event, Observer
from jaxstyle.painting.level import Level
from jaxstyle.painting.variants import Unfinished, Variant
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.checkpointer import Checkpointer, unfinished
from jaxstyle.runs.film import Film
from jaxstyle.runs.inputs import run_record, steps_of
from jaxstyle.runs.log import Log
from jaxstyle.runs.outputs import NumberedPictures
from jaxstyle.runs.progress import Clock, Display
from jaxstyle.runs.reader import Inputs
from jaxstyle.runs.request import Request


class Job(NamedTuple):
    """All that a run needs to know."""

    arguments: Request
    inputs: Inputs
    output: Path
    """Where the picture goes."""
    resumption: Resumption | None
    """The checkpoint to go on from."""
    interruption: Interruption
    """Looked at after every few steps."""
    say: Say
    """Is given lines for the person."""
    stream: IO[str] | None
    """Where progress goes; None shows none."""
    writes: bool = True
    """Whether it is this process that writes files, of those that paint one picture together."""
    observers: Sequence[Observer] = ()
    """Who else sees everything that happens, after the run's own."""
    deliver: Callable[[bytes], None] | None = None
    """Takes the picture's file in place of `output`, which has it if this raises OSError."""


def variant_of(job: Job, kind: str) -> Variant:
    """Returns all that decides a run's result, with what it has to go on from, if anything."""
    inputs, settings = job.inputs, job.inputs.settings
    return Variant(
        content=inputs.content,
        styles=inputs.styles,
        recipe=settings.recipe,
        hyper=settings.hyper,
        init=inputs.init,
        seed=settings.seed,
        regions=inputs.regions,
        unfinished=_unfinished(job, kind),
    )


def _unfinished(job: Job, kind: str) -> Unfinished | None:
    """Returns what a run has to go on from, if anything; says so, and if the device is another."""
    if job.resumption is None:
        return None
    header, was = job.resumption.header, job.resumption.header.run["device"]
    if was != kind:
        job.say(f"warning: begun on {was}, going on on {kind}, which rounds otherwise")
    at = f"step {header.steps_done} of {steps_of(job.inputs)}, {header.size}"
    if job.stream is not None:
        job.say(f"going on after {at}: {job.resumption.path}")
    return unfinished(job.resumption)


def _numbered(job: Job, kind: str) -> NumberedPictures:
    return NumberedPictures(
        job.arguments.save_every,
        job.output,
        job.inputs,
        device=kind,
        force=job.arguments.force,
        say=job.say,
        writes=job.writes,
    )


def _film(job: Job, size: tuple[int, int]) -> Film | None:
    """Returns what keeps the frames of a film; in every process, since all gather a canvas."""
    path = job.arguments.film
    if path is None:
        return None
    force = job.arguments.force or job.resumption is not None
    given: Any = {"steps": steps_of(job.inputs), "size": size, "force": force, "say": job.say}
    return Film(path, **given, writes=job.writes)


class Watch:
    """An observer that is all of a run's own ones, which see every event in turn.

    Attributes:
      clock: the run's clock.
      log: the log, which is kept whether or not a file was asked for.
      checkpointer: keeps the checkpoints.
      film: keeps the frames of a film, if one was asked for.
    """

    def __init__(
        self,
        job: Job,
        levels: Sequence[Level],
        kind: str,
        *,
        now: Callable[[], float] = CLOCK.seconds,
        keeps: bool = True,
    ) -> None:
        """Takes a run, its levels, and the kind of device, for the records.

        `now` returns the time, see `Clock`. `keeps` says whether checkpoints are written as the run
        goes on.
        """
        arguments, resumption, inputs = job.arguments, job.resumption, job.inputs
        header = None if resumption is None else resumption.header
        seconds = 0.0 if header is None else header.seconds
        steps, modes = steps_of(inputs), [level.memory_mode for level in levels]
        self.clock = Clock(levels, seconds=seconds, now=now)
        self.log = Log(
            arguments.log,
            self.clock,
            say=job.say,
            overwrite=arguments.force or header is not None,
            earlier="" if header is None else header.log,
        )
        self.checkpointer = Checkpointer(
            path=arguments.checkpoints.beside(job.output),
            request=arguments.checkpoints,
            run={**run_record(inputs), "device": kind, "memory": modes},
            steps=steps,
            resumption=resumption,
            clock=self.clock,
            log=self.log,
            say=job.say,
            writes=job.writes,
        )
        shown = [] if job.stream is None else [Display(steps, job.stream, self.clock)]
        self._displays = shown
        numbered = _numbered(job, kind)
        self.film = _film(job, levels[-1].content.shape[:2])
        self._all: list[Observer] = [self.clock, *shown, self.log, numbered]
        self._all += [] if self.film is None else [self.film]
        self._all += [self.checkpointer] if keeps else []
        self._all += job.observers

    def see(self, event: Event) -> None:
        """Shows an event to all."""
        for each in self._all:
            each.see(event)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes what is open, whatever has happened."""
        for display in self._displays:
            display.close()
        self.log.close()
