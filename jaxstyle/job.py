"""One run, from its inputs to its files: device, painting, log, intermediate pictures, result."""

from pathlib import Path
from typing import IO, NamedTuple

import jax
import numpy as np

from jaxstyle import compilation, record
from jaxstyle.cli import Arguments
from jaxstyle.device import choose_device, device_room, of_the_system
from jaxstyle.ending import Good, Painted, is_sound, last_good
from jaxstyle.errors import DivergedError
from jaxstyle.inputs import Inputs, Say, run_record
from jaxstyle.interrupt import Interruption
from jaxstyle.keeping import Keeper, restore
from jaxstyle.levels import Level, levels
from jaxstyle.painting import paint
from jaxstyle.plan import check_fits
from jaxstyle.progress import Clock, Watch, size_text
from jaxstyle.resuming import Start
from jaxstyle.room import Room
from jaxstyle.saving import encode, is_due, make_record, save, save_numbered, sha256
from jaxstyle.transfer import State


class Job(NamedTuple):
    """All that a run needs to know."""

    arguments: Arguments
    inputs: Inputs
    output: Path
    """Where the picture goes."""
    start: Start | None
    """The checkpoint to go on from."""
    interruption: Interruption
    """Looked at after every few steps."""
    say: Say
    """Is given lines for the person."""
    stream: IO[str] | None
    """Where progress goes; None shows none."""


class Outcome(NamedTuple):
    """How a run ended."""

    path: Path | None
    """Where the picture is; None if no step was finished."""
    record: record.Record
    seconds: float
    exit_code: int


def run_job(job: Job) -> Outcome:
    """Paints, saves and returns how it went.

    Raises:
      InputError: no such device, pictures too small, or layers that the weights lack.
      KeyboardInterrupt: stopped before the first step ended.
      MemoryError: the device has not enough.
      OSError: the picture could not be saved anywhere, or the device failed.
    """
    device = choose_device(job.arguments.device, say=job.say)
    compilation.keep_programs()
    plan = _as_begun(fitting_levels(job.inputs, device_room(device)), job.start)
    if job.stream is not None:
        job.say(_first_line(device, job.inputs, plan))
    with jax.default_device(device), job.interruption.noted_only():
        try:
            return _finish(job, *_paint(job, plan, device), device)
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error) from None


def fitting_levels(inputs: Inputs, room: Room) -> list[Level]:
    """Returns a run's sizes; raises InputError if they need more memory than there is."""
    recipe = inputs.settings.recipe
    plan = levels(inputs.content, inputs.style, recipe=recipe, room=room)
    sides = plan[-1].content.shape[:2], plan[-1].style.shape[:2]
    check_fits(*sides, recipe=recipe, room=room, started=True)
    return plan


def _as_begun(plan: list[Level], start: Start | None) -> list[Level]:
    """Returns the sizes computed the way they were, which "auto" need not choose again."""
    if start is None:
        return plan
    ways = start.header.run["memory"]
    return [level._replace(memory=way) for level, way in zip(plan, ways, strict=True)]


def _paint(job: Job, plan: list[Level], device: jax.Device) -> tuple[Painted, Keeper]:
    """Runs the loop and does all that happens meanwhile."""
    arguments, settings = job.arguments, job.inputs.settings
    state, finished = (None, None) if job.start is None else _restore(job, job.start, device)
    clock, failure = Clock(plan, seconds=job.start.header.seconds if job.start else 0.0), None
    with _watch(job) as watch:
        keeper = _keeper(job, plan, device, clock, watch)
        try:
            for chunk in paint(
                job.inputs.params,
                plan,
                recipe=settings.recipe,
                hyper=settings.hyper,
                init=job.inputs.init,
                seed=settings.seed,
                pause_every=arguments.save_every,
                start=state,
            ):
                clock.tick(chunk)
                watch.see(chunk, clock)
                done = int(chunk.state.step)
                if chunk.closing is not None and np.isfinite(chunk.closing.total):
                    finished = Good(np.array(chunk.state.canvas), chunk.closing, done)
                if is_due(chunk, arguments.save_every):
                    facts = make_record(job.inputs, device, chunk.state.canvas, None, done)
                    save_numbered(chunk, job.output, facts, force=arguments.force, say=job.say)
                if job.interruption.received and is_sound(chunk):
                    break
                keeper.see(chunk, finished)
        except DivergedError as error:
            failure = error
    return Painted(chunk, finished, failure, watch.log_failed, clock.seconds), keeper


def _restore(job: Job, start: Start, device: jax.Device) -> tuple[State, Good | None]:
    """Returns what a checkpoint holds, and says where the run goes on."""
    header, steps = start.header, job.inputs.settings.recipe.steps
    if header.run["device"] != device.device_kind:
        was = header.run["device"]
        job.say(
            f"warning: begun on {was}, going on on {device.device_kind}, which rounds otherwise"
        )
    if job.stream is not None:
        job.say(f"going on after step {header.steps_done} of {steps}, {header.size}: {start.path}")
    return restore(start)


def _watch(job: Job) -> Watch:
    arguments, steps, going_on = job.arguments, job.inputs.settings.recipe.steps, job.start
    return Watch(
        arguments.log,
        steps,
        job.stream,
        job.say,
        overwrite=arguments.force or going_on is not None,
        earlier="" if going_on is None else going_on.header.log,
    )


def _keeper(job: Job, plan: list[Level], device: jax.Device, clock: Clock, watch: Watch) -> Keeper:
    flags, ways = job.arguments.checkpoints, [level.memory for level in plan]
    run = {**run_record(job.inputs), "device": device.device_kind, "memory": ways}
    return Keeper(
        path=flags.beside(job.output),
        flags=flags,
        run=run,
        steps=job.inputs.settings.recipe.steps,
        start=job.start,
        clock=clock,
        watch=watch,
        say=job.say,
    )


def _finish(job: Job, painted: Painted, keeper: Keeper, device: jax.Device) -> Outcome:
    """Saves the last good canvas and says what there is to say."""
    failure, steps = painted.failure, job.inputs.settings.recipe.steps
    good = last_good(painted)
    if failure is not None:
        job.say(str(failure))
    if good is None and (failure is not None or job.start is None):
        keeper.remove()
    if good is None and failure is None:
        raise KeyboardInterrupt
    if good is None:
        job.say("no step was finished, so no picture was saved")
        return Outcome(None, {}, painted.seconds, 1)
    facts = make_record(job.inputs, device, good.canvas, good.losses, good.steps_done)
    data, stopped = encode(job.output, good.canvas, facts), job.interruption.received
    to_go_on = stopped and failure is None and keeper.interrupted(painted, sha256(data))
    own = [*keeper.pictures, sha256(data)]
    path, moved = save(job.output, data, force=job.arguments.force, own=own, say=job.say)
    at = f"after step {good.steps_done} of {steps}, {facts['painted_size']}"
    if failure is not None:
        job.say(f"the last good picture, {at}, was saved: {path}")
    elif stopped:
        more = f"; --resume goes on from {keeper.path}" if to_go_on else ""
        job.say(f"stopped {at}; saved: {path}{more}")
    if not to_go_on:
        keeper.remove()
    failed = failure is not None or painted.log_failed or moved
    code = job.interruption.exit_code if stopped else int(failed)
    return Outcome(path, facts, painted.seconds, code)


def _first_line(device: jax.Device, inputs: Inputs, plan: list[Level]) -> str:
    sizes = " then ".join(size_text(level.content.shape) for level in plan)
    file = inputs.weight_file
    note = f" ({file.note})" if file.note else ""
    return f"on {device.device_kind}, weights {file.name}{note}, size {sizes}"
