"""One run, from its inputs to its files: levels, device, painting, log, pictures, result."""

import contextlib
import dataclasses
import json
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxstyle.errors import InputError, Say, silent
from jaxstyle.images.picture_file import load_picture
from jaxstyle.judging.verdict import judge_of
from jaxstyle.machine.devices import (
    all_equal,
    all_or_none,
    any_process,
    device_memory,
    from_first,
    is_first,
    kind_of,
    memories,
    of_the_system,
    set_up_devices,
)
from jaxstyle.machine.gpu import bits_notice
from jaxstyle.machine.memory import NO_LIMIT, Memory, advice_if_exhausted, check_fits
from jaxstyle.machine.placement import own_of
from jaxstyle.machine.worked_time import CLOCK
from jaxstyle.painting.events import watched
from jaxstyle.painting.level import Level
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.painting.painter import lane_of, paint_run
from jaxstyle.painting.variants import Lane
from jaxstyle.runs import record
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.inputs import run_record, steps_of
from jaxstyle.runs.observers import Job, Watch, variant_of
from jaxstyle.runs.outputs import data_sha256, encode_result, make_record, save
from jaxstyle.runs.plot import write_plot
from jaxstyle.runs.progress import size_text
from jaxstyle.runs.reader import Inputs
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
        _set_up(arguments, say=silent)
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
    given: Any = {"recipe": recipe, "memory": memory, "regions": inputs.regions}
    levels = make_levels(inputs.content, inputs.styles, **given)
    check_fits(*levels[-1].sides, recipe=recipe, memory=memory, started=True)
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


class Outcome(NamedTuple):
    """How a run ended."""

    path: Path | None
    """Where the picture is; None if no step was finished, it went to standard output, or another
    process writes it."""
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
      InputError: no such device, too little memory, pictures too small, layers that the weights
        lack, or other processes that cannot be found, or are given something else.
      KeyboardInterrupt: stopped before the first step ended.
      MemoryError: the device has not enough.
      OSError: the picture could not be saved anywhere, or the device failed.
    """
    devices = _set_up(job.arguments, say=job.say)
    levels = agreed_levels(job.arguments, job.inputs, job.resumption, devices)
    if not is_first():
        job = _silent(job)
    goes_on = job.resumption is not None
    if note := bits_notice(devices[0].platform, goes_on=goes_on):
        job.say(note)
    if job.stream is not None:
        job.say(_first_line(devices, job.inputs, levels))
    with jax.default_device(own_of(devices)), job.interruption.noted_only():
        try:
            lane, watch = _paint(job, levels, devices)
            outcome = _finish(job, lane, watch, devices)
            outcome = _plotted(job, watch.log.text, outcome)
            if watch.film is not None and not watch.film.write():
                outcome = outcome._replace(exit_code=outcome.exit_code or 1)
            return _judged(job, outcome)
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error, own_of(devices), partial(_advice, job, levels)) from None


def _advice(job: Job, levels: Sequence[Level]) -> str:
    """Returns what to do where the device's memory was used up."""
    last, recipe = levels[-1], job.inputs.settings.recipe
    return advice_if_exhausted(
        *last.sides, recipe=recipe, mode=last.memory_mode, memory=Memory(NO_LIMIT, "")
    )


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


def _plotted(job: Job, log: str, outcome: Outcome) -> Outcome:
    """Draws the plot, if it was asked for and a step was done; where that fails, warns."""
    path = job.arguments.plot
    if path is None or not (job.writes and log):
        return outcome
    try:
        write_plot(path, log, overwrite=job.arguments.force or job.resumption is not None)
    except OSError as error:
        job.say(f"warning: the plot could not be written: {error.strerror or error}")
        return outcome._replace(exit_code=outcome.exit_code or 1)
    return outcome


def _judged(job: Job, outcome: Outcome) -> Outcome:
    """Adds what the judge finds of the picture on disk, and says it."""
    inputs = job.inputs
    if inputs.judge is None or outcome.path is None:
        return outcome
    result = load_picture(outcome.path)
    judged = judge_of(inputs.judge)(result, inputs.content, inputs.styles)
    job.say(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in judged.items()))
    return outcome._replace(judged=judged)


def _silent(job: Job) -> Job:
    """Returns the same run for a process that only takes part in it."""
    arguments = dataclasses.replace(job.arguments, log=None, plot=None)
    return job._replace(arguments=arguments, say=silent, stream=None, writes=False)


def _paint(job: Job, levels: list[Level], devices: list[jax.Device]) -> tuple[Lane, Watch]:
    """Paints while the run's observers watch; returns what is known of it in the end."""
    kind = kind_of(devices)
    lane = lane_of(variant_of(job, kind), levels, devices)
    with Watch(job, levels, kind, now=_now) as watch:
        events = paint_run(
            job.inputs.params,
            lane,
            devices=devices,
            pause_every=job.arguments.save_every,
            stop=partial(_is_interrupted, job),
        )
        for _ in watched(events, [watch]):
            pass
    return lane, watch


def _now() -> float:
    """Returns the first process's time: what all do together may depend on it."""
    return from_first(CLOCK.seconds())


def _is_interrupted(job: Job) -> bool:
    """Whether this process or one with which it works was told to stop."""
    (stop,) = any_process([bool(job.interruption.received)])
    if stop:
        job.interruption.note_other()
    return stop


def _finish(job: Job, lane: Lane, watch: Watch, devices: list[jax.Device]) -> Outcome:
    """Saves the last good canvas and says how the run ended."""
    snapshot, seconds = lane.snapshot(), watch.clock.seconds
    if lane.failure is not None:
        job.say(str(lane.failure))
    if snapshot is None and (lane.failure is not None or job.resumption is None):
        watch.checkpointer.remove()
    if snapshot is None and lane.failure is None:
        raise KeyboardInterrupt
    if snapshot is None:
        job.say("no step was finished, so no picture was saved")
        return Outcome(None, {}, seconds, 1)
    picture = lane.picture_of(snapshot.canvas)
    as_saved = lane.losses_as_saved(picture)
    canvas, losses, done = snapshot
    facts = make_record(job.inputs, kind_of(devices), canvas, losses, done, as_saved)
    data = b""
    if job.writes:
        data = encode_result(job.output, picture, job.inputs, facts)
    stopped = _is_interrupted(job)
    keeps = watch.checkpointer.interrupted
    to_go_on = stopped and lane.failure is None and keeps(lane, data_sha256(data))
    if not job.writes:
        code = job.interruption.exit_code if stopped else int(lane.failure is not None)
        return Outcome(None, {}, seconds, code, is_told=False)
    own = [*watch.checkpointer.pictures, data_sha256(data)]
    path, moved = _hand_over(job, data, own)
    at = f"after step {snapshot.steps_done} of {steps_of(job.inputs)}, {facts['painted_size']}"
    where = "standard output" if path is None else path
    if lane.failure is not None:
        job.say(f"the last good picture, {at}, was saved: {where}")
    elif stopped:
        more = f"; --resume goes on from {watch.checkpointer.path}" if to_go_on else ""
        job.say(f"stopped {at}; saved: {where}{more}")
    if not to_go_on:
        watch.checkpointer.remove()
    failed = lane.failure is not None or watch.log.failed or moved
    code = job.interruption.exit_code if stopped else int(failed)
    return Outcome(path, facts, seconds, code)


def _hand_over(job: Job, data: bytes, own: Collection[str]) -> tuple[Path | None, bool]:
    """Gives the picture to whom it is for, or saves it; returns what `save` does, or no path."""
    if job.deliver is not None:
        try:
            job.deliver(data)
        except OSError as error:
            job.say(f"warning: standard output cannot be written: {error.strerror or error}")
        else:
            return None, False
    path, moved = save(job.output, data, force=job.arguments.force, own=own, say=job.say)
    if job.deliver is not None:
        job.say(f"saved instead as {path}")
    return path, moved or job.deliver is not None


def _first_line(devices: list[jax.Device], inputs: Inputs, levels: list[Level]) -> str:
    sizes = " then ".join(size_text(level.content.shape) for level in levels)
    return f"on {kind_of(devices)}, weights {inputs.weight_file.described}, size {sizes}"
