"""One process's share of a sweep, from its inputs to its files."""

import hashlib
import math
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import jax

from jaxstyle import files
from jaxstyle.errors import Say
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import as_picture, fitted_size, resize, total_steps
from jaxstyle.judging.verdict import Judge, judge_of
from jaxstyle.machine.devices import (
    any_process,
    is_first,
    of_the_system,
    set_up_devices,
)
from jaxstyle.machine.placement import own_of
from jaxstyle.machine.process import Interruption, unbreakable
from jaxstyle.painting.level import levels as make_levels
from jaxstyle.painting.sweep_rounds import paint_variants
from jaxstyle.painting.variants import Result, Variant
from jaxstyle.runs import record
from jaxstyle.runs.outputs import make_record
from jaxstyle.runs.progress import SweepDisplay
from jaxstyle.runs.request import DeviceRequest
from jaxstyle.sweeps.folder import (
    Entry,
    judged_of,
    make_folder,
    picture_path,
    read_entry,
    sample_path,
    write_record,
    write_run,
)
from jaxstyle.sweeps.grid import share
from jaxstyle.sweeps.inputs import Planned, Sweep, is_done

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


def run_sweep(job: SweepJob) -> None:
    """Paints what is not done yet, and writes every result as soon as it is there.

    Stops early, with all that was finished on disk, when interrupted.

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
    make_folder(sweep.folder)
    mine = share(sweep.runs, sweep.flags.shard)
    done = [not sweep.force and is_done(sweep, each) for each in mine]
    todo = [each for each, skip in zip(mine, any_process(done), strict=True) if not skip]
    _save_samples(sweep)
    if job.stream is not None:
        job.say(_first_line(devices, mine, todo))
    with jax.default_device(own_of(devices)), job.interruption.noted_only():
        try:
            if sweep.judge is not None:
                job = job._replace(judge=judge_of(sweep.judge))
            if is_first():
                _judge_those_there(job, mine, todo)
            if todo:
                _paint(job, todo, devices)
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error) from None


def _save_samples(sweep: Sweep) -> None:
    """Keeps small copies of contents and styles for the summaries, which may be made elsewhere."""
    made = set()
    for each in sweep.runs:
        for name, picture in (("content", each.inputs.content), ("style", each.inputs.style)):
            sha256 = each.inputs.facts[name]["sha256"]
            if sha256 in made:
                continue
            made.add(sha256)
            path = sample_path(sweep.folder, sha256)
            if not path.exists():
                size = fitted_size(picture, SAMPLE_SIDE, 1.0)
                small = resize(picture, size, resampling="lanczos")
                data = picture_file.encode((small / 255).astype("float32"), ".png", {})
                files.write_whole(path, data, overwrite=True)


def _judge_those_there(job: SweepJob, mine: Sequence[Planned], todo: Sequence[Planned]) -> None:
    """Adds what the judge finds to the records that lack it, of an earlier call without one."""
    if job.judge is None:
        return
    folder, numbers = job.sweep.folder, {each.run.number for each in todo}
    for each in mine:
        name = each.run.name
        entry = None if each.run.number in numbers else read_entry(folder, name)
        if job.interruption.received or entry is None or judged_of(entry):
            continue
        result = picture_file.load_picture(picture_path(folder, name))
        entry["judged"] = job.judge(result, each.inputs.content, each.inputs.style)
        with unbreakable():
            write_record(folder, name, entry)


def _paint(job: SweepJob, todo: Sequence[Planned], devices: Sequence[jax.Device]) -> None:
    variants = [_variant(each) for each in todo]
    names = [each.run.name for each in todo]
    steps = [total_steps(each.recipe, each.content) for each in variants]
    work = sum(_pixel_steps(variants)) // jax.process_count()
    display = SweepDisplay(names, steps, work, job.stream)
    params = todo[0].inputs.params
    try:
        for tick in paint_variants(params, variants, devices=devices):
            for result in tick.finished:
                _save(job, todo[result.number], result)
            display.see(tick)
            if job.interruption.received:
                return
    finally:
        display.close()


def _variant(planned: Planned) -> Variant:
    inputs = planned.inputs
    chosen = inputs.settings
    return Variant(
        inputs.content, inputs.style, chosen.recipe, chosen.hyper, inputs.init, chosen.seed
    )


def _pixel_steps(variants: Sequence[Variant]) -> list[int]:
    """Returns for each variant its steps, each times the pixels of its canvas."""
    known: dict[Any, int] = {}
    for each in variants:
        what = id(each.content), id(each.style), each.recipe
        if what not in known:
            levels = make_levels(each.content, each.style, recipe=each.recipe)
            known[what] = sum(level.steps * math.prod(level.content.shape[:2]) for level in levels)
    return [known[id(each.content), id(each.style), each.recipe] for each in variants]


def _save(job: SweepJob, planned: Planned, result: Result) -> None:
    """Writes a result's picture and record, with what the judge finds; says so if it failed."""
    name = planned.run.name
    facts = make_record(
        planned.inputs, result.device.device_kind, result.picture, result.losses, result.steps_done
    )
    facts["losses"] = {key: _finite(value) for key, value in facts["losses"].items()}
    data = picture_file.encode(result.picture, ".png", record.to_text(facts))
    entry = _entry(planned, result, facts, hashlib.sha256(data).hexdigest())
    if job.judge is not None:
        picture = as_picture(result.picture, name=name)
        entry["judged"] = job.judge(picture, planned.inputs.content, planned.inputs.style)
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
    file = mine[0].inputs.weight_file if mine else None
    kind = f"{len(devices)} x {devices[0].device_kind}"
    weights = (
        "" if file is None else f", weights {file.name}{f' ({file.note})' if file.note else ''}"
    )
    there = f", {len(mine) - len(todo)} are there already" if len(todo) < len(mine) else ""
    return f"on {kind}{weights}, {len(mine)} variants{there}"
