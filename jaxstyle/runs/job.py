"""One run, from its inputs to its files: levels, device, painting, log, pictures, result."""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import DivergedError, InputError, Say
from jaxstyle.images.picture_file import load_picture
from jaxstyle.judging.verdict import judge_of
from jaxstyle.machine.devices import (
    all_equal,
    all_or_none,
    any_process,
    device_memory,
    is_first,
    kind_of,
    memories,
    of_the_system,
    set_up_devices,
)
from jaxstyle.machine.memory import Memory, check_fits
from jaxstyle.machine.placement import own_of
from jaxstyle.machine.process import Interruption
from jaxstyle.optimization.optimizer import State, shown
from jaxstyle.painting.level import Level
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.painting.painter import paint
from jaxstyle.runs import record
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.checkpointer import Checkpointer, restored_state
from jaxstyle.runs.inputs import Inputs, run_record, steps_of
from jaxstyle.runs.outputs import (
    Ending,
    Snapshot,
    data_sha256,
    encode_result,
    is_due,
    is_sound,
    last_snapshot,
    make_record,
    save,
    save_numbered,
)
from jaxstyle.runs.progress import Clock, Reporter, size_text
from jaxstyle.runs.request import Request
from jaxstyle.settings.recipe import for_several_devices


def agreed_levels(
    arguments: Request, inputs: Inputs, resumption: Resumption | None, devices: Sequence[jax.Device]
) -> list[Level]:
    """Returns the levels of a run, once it is known that all processes can begin it.

    Raises:
      InputError: in every process, if one has too little memory or was given something else.
    """
    levels = all_or_none(lambda: fitting_levels(inputs, device_memory(own_of(devices)), devices))
    _check_all_alike(arguments, inputs, resumption)
    return levels if resumption is None or len(devices) > 1 else _as_begun(levels, resumption)


def tell_refusal(arguments: Request) -> None:
    """Tells the other processes, which wait for this one, that it refuses its input."""
    with contextlib.suppress(InputError):
        _set_up(arguments, say=lambda _: None)
        any_process([True])


def fitting_levels(
    inputs: Inputs, memory: Memory, devices: Sequence[jax.Device] = ()
) -> list[Level]:
    """Returns a run's levels; raises InputError if they need more memory than is free.

    `devices` are those that share the picture, if there are several; the memory is that of one.
    """
    recipe = inputs.settings.recipe
    if len(devices) > 1:
        recipe, memory = for_several_devices(recipe), memory._replace(parts=memories(devices))
    levels = make_levels(inputs.content, inputs.style, recipe=recipe, memory=memory)
    sides = levels[-1].content.shape[:2], levels[-1].style.shape[:2]
    check_fits(*sides, recipe=recipe, memory=memory, started=True)
    return levels


def _check_all_alike(arguments: Request, inputs: Inputs, resumption: Resumption | None) -> None:
    flags, header = arguments.checkpoints, None if resumption is None else resumption.header
    given = [arguments.devices.most, arguments.save_every, flags.wanted, flags.every]
    if not all_equal(json.dumps([run_record(inputs), given, header])):
        raise InputError(
            "the processes differ in pictures, settings, versions or checkpoints: give all of them"
            " the same command and files"
        )


def _as_begun(levels: list[Level], resumption: Resumption) -> list[Level]:
    """Returns the levels in the memory modes in which the run began, whatever is free now."""
    modes = resumption.header.run["memory"]
    return [level._replace(memory_mode=mode) for level, mode in zip(levels, modes, strict=True)]


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


class Outcome(NamedTuple):
    """How a run ended."""

    path: Path | None
    """Where the picture is; None if no step was finished."""
    record: record.Record
    seconds: float
    exit_code: int
    is_told: bool = True
    """Whether this is the process that says so."""
    judged: dict[str, float] | None = None
    """What the judge finds, if it was asked."""


def run_job(job: Job) -> Outcome:
    """Paints, saves and returns how it went.

    Raises:
      InputError: no such device, pictures too small, layers that the weights lack, or other
        processes that cannot be found, or are given something else.
      KeyboardInterrupt: stopped before the first step ended.
      MemoryError: the device has not enough.
      OSError: the picture could not be saved anywhere, or the device failed.
    """
    devices = _set_up(job.arguments, say=job.say)
    levels = agreed_levels(job.arguments, job.inputs, job.resumption, devices)
    if not is_first():
        job = _silent(job)
    if job.stream is not None:
        job.say(_first_line(devices, job.inputs, levels))
    with jax.default_device(own_of(devices)), job.interruption.noted_only():
        try:
            return _judged(job, _finish(job, *_paint(job, levels, devices), devices))
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error) from None


def _set_up(arguments: Request, *, say: Say) -> list[jax.Device]:
    """Returns the devices that share the picture; says so if there are fewer than were asked for.

    See `set_up_devices`.
    """
    wanted = arguments.devices
    given: Any = {"most": wanted.most_for_one_picture, "distributed": wanted.distributed}
    devices = set_up_devices(arguments.device, **given, say=say)
    there = sum(each.process_index == jax.process_index() for each in devices)
    if wanted.most is not None and there < wanted.most:
        say(
            f"warning: {wanted.most} devices were asked for; of {devices[0].device_kind} there"
            f" {'is' if there == 1 else 'are'} {there}"
        )
    return devices


def _judged(job: Job, outcome: Outcome) -> Outcome:
    """Adds what the judge finds of the picture on disk, and says it."""
    inputs = job.inputs
    if inputs.judge is None or outcome.path is None:
        return outcome
    result = load_picture(outcome.path)
    judged = judge_of(inputs.judge)(result, inputs.content, inputs.style)
    job.say(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in judged.items()))
    return outcome._replace(judged=judged)


def _silent(job: Job) -> Job:
    """Returns the same run for a process that only takes part in it."""
    arguments = dataclasses.replace(job.arguments, log=None)
    return job._replace(arguments=arguments, say=lambda _: None, stream=None, writes=False)


def _paint(job: Job, levels: list[Level], devices: list[jax.Device]) -> tuple[Ending, Checkpointer]:
    """Runs the loop: clock, report, numbered pictures, checkpoints."""
    arguments, settings, kind = job.arguments, job.inputs.settings, kind_of(devices)
    resumption, failure = job.resumption, None
    state, finished = (None, None) if resumption is None else _restore(job, resumption, kind)
    clock = Clock(levels, seconds=0.0 if resumption is None else resumption.header.seconds)
    with _reporter(job) as reporter:
        checkpointer = _checkpointer(job, levels, kind, clock, reporter)
        try:
            for chunk in paint(
                job.inputs.params,
                levels,
                recipe=settings.recipe,
                hyper=settings.hyper,
                init=job.inputs.init,
                seed=settings.seed,
                pause_every=arguments.save_every,
                start=state,
                devices=devices,
            ):
                clock.tick(chunk)
                reporter.see(chunk, clock)
                done = int(chunk.state.step)
                if chunk.closing is not None and np.isfinite(chunk.closing.total):
                    finished = Snapshot(np.array(shown(chunk.state)), chunk.closing, done)
                if is_due(chunk, arguments.save_every):
                    _save_numbered(job, levels, np.asarray(shown(chunk.state)), kind, done)
                if _is_interrupted(job) and is_sound(chunk):
                    break
                checkpointer.see(chunk, finished)
        except DivergedError as error:
            failure = error
    return Ending(chunk, finished, failure, reporter.log_failed, clock.seconds), checkpointer


def _save_numbered(
    job: Job, levels: list[Level], canvas: NDArray[np.float32], kind: str, done: int
) -> None:
    if job.writes:
        facts = make_record(job.inputs, kind, canvas, None, done)
        size, force = levels[-1].content.shape[:2], job.arguments.force
        save_numbered(canvas, job.output, facts, size=size, force=force, say=job.say)


def _is_interrupted(job: Job) -> bool:
    """Whether this process or one with which it works was told to stop."""
    (stop,) = any_process([bool(job.interruption.received)])
    if stop:
        job.interruption.note_other()
    return stop


def _restore(job: Job, resumption: Resumption, kind: str) -> tuple[State, Snapshot | None]:
    """Returns what a checkpoint holds, and says where the run goes on."""
    header, steps = resumption.header, steps_of(job.inputs)
    was = header.run["device"]
    if was != kind:
        job.say(f"warning: begun on {was}, going on on {kind}, which rounds otherwise")
    if job.stream is not None:
        at = f"step {header.steps_done} of {steps}, {header.size}"
        job.say(f"going on after {at}: {resumption.path}")
    return restored_state(resumption)


def _reporter(job: Job) -> Reporter:
    arguments, steps, going_on = job.arguments, steps_of(job.inputs), job.resumption
    return Reporter(
        arguments.log,
        steps,
        job.stream,
        job.say,
        overwrite=arguments.force or going_on is not None,
        earlier="" if going_on is None else going_on.header.log,
    )


def _checkpointer(
    job: Job, levels: list[Level], kind: str, clock: Clock, reporter: Reporter
) -> Checkpointer:
    flags, modes = job.arguments.checkpoints, [level.memory_mode for level in levels]
    run = {**run_record(job.inputs), "device": kind, "memory": modes}
    return Checkpointer(
        path=flags.beside(job.output),
        flags=flags,
        run=run,
        steps=steps_of(job.inputs),
        resumption=job.resumption,
        clock=clock,
        reporter=reporter,
        say=job.say,
        writes=job.writes,
    )


def _finish(
    job: Job, ending: Ending, checkpointer: Checkpointer, devices: list[jax.Device]
) -> Outcome:
    """Saves the last good canvas and says how the run ended."""
    failure, steps = ending.failure, steps_of(job.inputs)
    snapshot = last_snapshot(ending)
    if failure is not None:
        job.say(str(failure))
    if snapshot is None and (failure is not None or job.resumption is None):
        checkpointer.remove()
    if snapshot is None and failure is None:
        raise KeyboardInterrupt
    if snapshot is None:
        job.say("no step was finished, so no picture was saved")
        return Outcome(None, {}, ending.seconds, 1)
    facts = make_record(
        job.inputs, kind_of(devices), snapshot.canvas, snapshot.losses, snapshot.steps_done
    )
    data = encode_result(job.output, snapshot.canvas, facts) if job.writes else b""
    stopped = _is_interrupted(job)
    to_go_on = stopped and failure is None and checkpointer.interrupted(ending, data_sha256(data))
    if not job.writes:
        code = job.interruption.exit_code if stopped else int(failure is not None)
        return Outcome(None, {}, ending.seconds, code, is_told=False)
    own = [*checkpointer.pictures, data_sha256(data)]
    path, moved = save(job.output, data, force=job.arguments.force, own=own, say=job.say)
    at = f"after step {snapshot.steps_done} of {steps}, {facts['painted_size']}"
    if failure is not None:
        job.say(f"the last good picture, {at}, was saved: {path}")
    elif stopped:
        more = f"; --resume goes on from {checkpointer.path}" if to_go_on else ""
        job.say(f"stopped {at}; saved: {path}{more}")
    if not to_go_on:
        checkpointer.remove()
    failed = failure is not None or ending.log_failed or moved
    code = job.interruption.exit_code if stopped else int(failed)
    return Outcome(path, facts, ending.seconds, code)


def _first_line(devices: list[jax.Device], inputs: Inputs, levels: list[Level]) -> str:
    sizes = " then ".join(size_text(level.content.shape) for level in levels)
    file = inputs.weight_file
    note = f" ({file.note})" if file.note else ""
    return f"on {kind_of(devices)}, weights {file.name}{note}, size {sizes}"
