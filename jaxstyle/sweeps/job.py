"""One process's share of a sweep, from its inputs to its files."""

import contextlib
import dataclasses
import hashlib
import itertools
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax

from jaxstyle import files
from jaxstyle.errors import InputError, Say
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import (
    Picture,
    as_picture,
    beside,
    fitted_size,
    largest_style,
    resize,
    sizes_of,
    total_steps,
)
from jaxstyle.judging.verdict import Judge, judge_of
from jaxstyle.machine.devices import (
    any_process,
    device_memory,
    is_first,
    of_the_system,
    set_up_devices,
)
from jaxstyle.machine.gpu import bits_notice
from jaxstyle.machine.memory import check_fits
from jaxstyle.machine.placement import own_of
from jaxstyle.machine.process import Interruption, unbreakable
from jaxstyle.painting.events import (
    CallDone,
    Event,
    LevelBegun,
    Observer,
    RunEnded,
    RunRefused,
    watched,
)
from jaxstyle.painting.level import pixel_steps
from jaxstyle.painting.sweeping import paint_variants
from jaxstyle.painting.variants import Lane, Result, Variant
from jaxstyle.runs import checkpoint, record
from jaxstyle.runs.observers import Job, Watch, variant_of
from jaxstyle.runs.outputs import encode_result, make_record
from jaxstyle.runs.progress import SweepDisplay
from jaxstyle.runs.request import DeviceRequest
from jaxstyle.sweeps.folder import (
    Entry,
    judged_of,
    make_folder,
    own_output,
    picture_path,
    read_entry,
    run_folder,
    sample_path,
    write_record,
    write_run,
)
from jaxstyle.sweeps.grid import share
from jaxstyle.sweeps.inputs import Planned, Sweep, are_done

SAMPLE_SIDE = 320
"""Long side of the small copies of contents and styles, in pixels."""


class SweepJob(NamedTuple):
    """All that a sweep needs to know."""

    sweep: Sweep
    device: str | None
    """The kind to compute on."""
    devices: DeviceRequest
    interruption: Interruption
    say: Say
    stream: IO[str] | None
    judge: Judge | None = None
    """Judges the results, if that was asked for; `run_sweep` makes it."""
    observers: Sequence[Observer] = ()
    """Further observers, which see every event after the sweep's own. Events count runs from 0, in
    the grid's order, without those of other shards and those that are done already."""


def run_sweep(job: SweepJob) -> bool:
    """Paints what is not done yet, and writes every result as soon as it is there.

    Stops early, with all that was finished on disk, when interrupted.

    Returns:
      Whether all runs could begin, and all logs that were asked for be written to their ends.

    Raises:
      InputError: no such device, or the other processes cannot be found.
      MemoryError: a device has not enough.
      OSError: a result cannot be saved, or a device failed.
    """
    sweep = job.sweep
    wanted = job.devices
    devices = set_up_devices(
        job.device, most=wanted.most, distributed=wanted.distributed, say=job.say
    )
    _check_fits(sweep.runs, devices)
    make_folder(sweep.folder)
    mine = share(sweep.runs, sweep.flags.shard)
    is_there = any_process(are_done(sweep, mine))
    there = list(itertools.compress(mine, is_there))
    todo = [each for each, skip in zip(mine, is_there, strict=True) if not skip]
    _save_samples(sweep)
    _forget_checkpoints(sweep, there)
    if job.stream is not None:
        job.say(_first_line(devices, mine, todo))
    goes_on = any(each.resumption is not None for each in todo)
    if note := bits_notice(devices[0].platform, goes_on=goes_on):
        job.say(note)
    with jax.default_device(own_of(devices)), job.interruption.noted_only():
        try:
            if sweep.judge is not None:
                job = job._replace(judge=judge_of(sweep.judge))
            if is_first():
                _judge_those_there(job, there)
            return _paint(job, todo, devices) if todo else True
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error, own_of(devices)) from None


def _check_fits(runs: Sequence[Planned], devices: Sequence[jax.Device]) -> None:
    """Raises InputError for a run too large for the memory of a device that is no CPU.

    What CPUs have was looked at before jax was imported, see `check_sizes`.
    """
    if devices[0].platform == "cpu":
        return
    memory, checked = device_memory(own_of(devices)), set()
    for each in runs:
        recipe = each.inputs.settings.recipe
        canvas, styles = sizes_of(each.inputs.content, each.inputs.styles, recipe)
        what = recipe, canvas, largest_style(styles)
        if what in checked:
            continue
        checked.add(what)
        try:
            check_fits(*what[1:], recipe=recipe, memory=memory, started=True)
        except InputError as error:
            raise InputError(f"{each.run.name}: {error}") from None


def _save_samples(sweep: Sweep) -> None:
    """Keeps small copies of contents and styles for the summaries, which may be made elsewhere."""
    made = set()
    for each in sweep.runs:
        pictures = {"content": (each.inputs.content,), "style": each.inputs.styles}
        for name, several in pictures.items():
            sha256 = each.inputs.facts[name]["sha256"]
            if sha256 in made:
                continue
            made.add(sha256)
            path = sample_path(sweep.folder, sha256)
            if not path.exists():
                with contextlib.suppress(InputError):  # a file is gone: its own run will say so
                    files.write_whole(path, _sample(beside(several)), overwrite=True)


def _sample(picture: Picture) -> bytes:
    """Returns a small copy as a PNG file."""
    small = resize(picture, fitted_size(picture, SAMPLE_SIDE, 1.0), resampling="lanczos")
    return picture_file.encode((small / 255).astype("float32"), ".png", {})


def _forget_checkpoints(sweep: Sweep, there: Sequence[Planned]) -> None:
    """Removes the checkpoints of runs that were killed when their results were written already."""
    for each in there:
        name, request = each.run.name, each.run.arguments.checkpoints
        if run_folder(sweep.folder, name).is_dir():
            with contextlib.suppress(OSError):
                checkpoint.remove(request.beside(own_output(sweep.folder, name)))
            _remove_if_empty(sweep.folder, name)


def _judge_those_there(job: SweepJob, there: Sequence[Planned]) -> None:
    """Adds what the judge finds to the records that lack it, of an earlier call without one."""
    if job.judge is None:
        return
    folder = job.sweep.folder
    for each in there:
        name = each.run.name
        entry = read_entry(folder, name)
        if job.interruption.received or entry is None or judged_of(entry):
            continue
        result = picture_file.load_picture(picture_path(folder, name))
        entry |= _judged(job.judge, job.say, each, result)
        with unbreakable():
            write_record(folder, name, entry)


def _judged(judge: Judge, say: Say, planned: Planned, result: Picture) -> dict[str, Any]:
    """Returns what the judge finds of a result, for its record; nothing if a file is gone."""
    try:
        return {"judged": judge(result, planned.inputs.content, planned.inputs.styles)}
    except InputError as error:
        say(f"warning: {planned.run.name} is not judged: {error}")
        return {}


def _paint(job: SweepJob, todo: Sequence[Planned], devices: Sequence[jax.Device]) -> bool:
    """Paints while the sweep's observers watch; returns whether all logs could be written."""
    jobs, kind = [_alone(job, each) for each in todo], devices[0].device_kind
    variants = [variant_of(each, kind) for each in jobs]
    runs, display = _Runs(job, todo, jobs), _display(job, todo, variants)
    events = paint_variants(
        todo[0].inputs.params,
        variants,
        devices=devices,
        batch=job.devices.batch,
        pause_every=todo[0].run.arguments.save_every,
        stop=partial(_is_stopped, job),
    )
    try:
        for _ in watched(events, [runs, display, *job.observers]):
            pass
    finally:
        display.close()
        runs.close()
    return runs.are_whole


def _is_stopped(job: SweepJob) -> bool:
    return bool(job.interruption.received)


def _alone(job: SweepJob, planned: Planned) -> Job:
    """Returns a run of a sweep as a job by itself, whose files are in its own folder."""
    sweep, asked = job.sweep, planned.run.arguments
    name, log = planned.run.name, asked.log
    if log is not None:
        log = run_folder(sweep.folder, name) / log
    checkpoints = dataclasses.replace(asked.checkpoints, resume=planned.resumption is not None)
    return Job(
        arguments=dataclasses.replace(asked, log=log, force=True, checkpoints=checkpoints),
        inputs=planned.inputs,
        output=own_output(sweep.folder, name),
        resumption=planned.resumption,
        interruption=job.interruption,
        say=partial(_say_of, job.say, name),
        stream=None,
    )


def _say_of(say: Say, name: str, line: str) -> None:
    """Says a line of a run of the sweep."""
    before, warning, rest = line.partition("warning: ")
    say(f"warning: {name}: {rest}" if warning and not before else f"{name}: {line}")


def _display(job: SweepJob, todo: Sequence[Planned], variants: Sequence[Variant]) -> SweepDisplay:
    """Returns what shows the progress of the runs that are to be painted."""
    steps = [total_steps(each.recipe, each.content) for each in variants]
    done = [0 if each.unfinished is None else each.unfinished.steps_done for each in variants]
    work = sum(
        pixel_steps(each.content, each.styles, recipe=each.recipe, done=count)
        for each, count in zip(variants, done, strict=True)
    )
    names = [each.run.name for each in todo]
    return SweepDisplay(names, steps, work // jax.process_count(), job.stream)


class _Runs:
    """An observer that has every run watched as one by itself, and writes its result at its end.

    Its log, numbered pictures and checkpoints are in its own folder, which is only there while
    there is something in it. Several processes keep no checkpoints: what each has is not known to
    the others, and all must make the same calls.

    Attributes:
      are_whole: whether all runs could begin, and all logs that were asked for be written.
    """

    def __init__(self, job: SweepJob, todo: Sequence[Planned], jobs: Sequence[Job]) -> None:
        self._job, self._todo, self._jobs = job, todo, jobs
        self._watches: dict[int, Watch] = {}
        self._keeps = jax.process_count() == 1
        self.are_whole = True

    def see(self, event: Event) -> None:
        """Shows an event to the observers of its run."""
        if isinstance(event, CallDone):
            return
        if isinstance(event, RunRefused):
            self._job.say(f"error: {self._todo[event.run].run.name}: {event.error}")
            self.are_whole = False
            return
        if isinstance(event, LevelBegun) and event.run not in self._watches:
            self._watches[event.run] = self._begin(event.run, event.lane)
        self._watches[event.run].see(event)
        if isinstance(event, RunEnded):
            self._end(event, self._watches.pop(event.run))

    def _begin(self, number: int, lane: Lane) -> Watch:
        """Makes a run's folder and its observers."""
        job = self._jobs[number]
        job.output.parent.mkdir(parents=True, exist_ok=True)
        return Watch(job, lane.levels, lane.device.device_kind, keeps=self._keeps)

    def _end(self, event: RunEnded, watch: Watch) -> None:
        """Writes a run's result, and removes what it no longer needs."""
        planned = self._todo[event.run]
        if event.how == "interrupted":
            if self._keeps:
                watch.checkpointer.interrupted(event.lane)
        else:
            _save(self._job, planned, event.lane.result())
            watch.checkpointer.remove()
        watch.close()
        self.are_whole &= not watch.log.failed
        _remove_if_empty(self._job.sweep.folder, planned.run.name)

    def close(self) -> None:
        """Closes all files, whatever has happened."""
        for each in self._watches.values():
            each.close()


def _remove_if_empty(folder: Path, name: str) -> None:
    """Removes a run's folder, and that of all runs, unless there is something in it."""
    for each in (run_folder(folder, name), run_folder(folder, name).parent):
        with contextlib.suppress(OSError):
            each.rmdir()


def _save(job: SweepJob, planned: Planned, result: Result) -> None:
    """Writes a result's picture and record, with what the judge finds; says so if it failed."""
    name = planned.run.name
    facts = make_record(
        *(planned.inputs, result.device.device_kind, result.picture),
        *(result.losses, result.steps_done, result.saved_losses),
    )
    for kind in {"losses", "saved_losses"} & facts.keys():
        facts[kind] = {key: _finite(value) for key, value in facts[kind].items()}
    path = picture_path(job.sweep.folder, name)
    data = encode_result(path, result.picture, planned.inputs, facts)
    entry = _entry(planned, result, facts, hashlib.sha256(data).hexdigest())
    if job.judge is not None:
        entry |= _judged(job.judge, job.say, planned, as_picture(result.picture, name=name))
    if result.failure is not None:
        job.say(f"{name}: {result.failure}; its last good picture is kept")
    with unbreakable():
        write_run(job.sweep.folder, name, data, entry, overwrite=True)


def _entry(planned: Planned, result: Result, facts: record.Record, picture_sha256: str) -> Entry:
    return {
        "name": planned.run.name,
        "number": planned.run.number,
        "labels": list(planned.run.labels.items()),
        "on_axes": planned.run.on_axes,
        "fingerprint": planned.fingerprint,
        "picture_sha256": picture_sha256,
        "print": planned.inputs.how.facts(),
        "failure": None if result.failure is None else str(result.failure),
        "failed_step": None if result.failure is None else result.failure.step,
        "seconds": round(result.seconds, 3),
        "device": f"{result.device.platform}:{result.device.id}",
        "curves": {
            term: [_finite(float(f"{value:.6g}")) for value in values]
            for term, values in result.history.by_name().items()
        },
        "run": facts,
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _first_line(
    devices: Sequence[jax.Device], mine: Sequence[Planned], todo: Sequence[Planned]
) -> str:
    kind = f"{len(devices)} x {devices[0].device_kind}"
    weights = f", weights {mine[0].inputs.weight_file.described}" if mine else ""
    there = f", {len(mine) - len(todo)} are there already" if len(todo) < len(mine) else ""
    begun = sum(each.resumption is not None for each in todo)
    there += f", {begun} go on where they were interrupted" if begun else ""
    return f"on {kind}{weights}, {len(mine)} variants{there}"
