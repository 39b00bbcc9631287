"""One run, from its inputs to its files: device, painting, log, intermediate pictures, result."""

import logging
import shutil
from pathlib import Path
from typing import IO, NamedTuple

import jax

from jaxstyle import images, record
from jaxstyle.cli import Arguments
from jaxstyle.conv import prepare
from jaxstyle.errors import DivergedError, InputError
from jaxstyle.inputs import Inputs, Say
from jaxstyle.interrupt import Interruption
from jaxstyle.painting import Level, levels, paint
from jaxstyle.progress import Clock, Watch, size_text
from jaxstyle.saving import is_due, make_record, save, save_numbered
from jaxstyle.transfer import Chunk, losses_of

CUDA_INSTALL = "pip install -U 'jax[cuda13]'"


class Job(NamedTuple):
    """All that a run needs to know."""

    arguments: Arguments
    inputs: Inputs
    output: Path
    """Where the picture goes."""
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


class Painted(NamedTuple):
    """What the loop left: the last chunk, and why it ended early, if it did."""

    chunk: Chunk
    failure: DivergedError | None
    log_failed: bool
    seconds: float


def run_job(job: Job) -> Outcome:
    """Paints, saves and returns how it went.

    Raises:
      InputError: no such device, pictures too small, or layers that the weights lack.
      KeyboardInterrupt: stopped before the first step ended.
      MemoryError: the device has not enough.
      OSError: the picture could not be saved anywhere, or the device failed.
    """
    device = choose_device(job.arguments.device, say=job.say)
    plan = levels(job.inputs.content, job.inputs.style, job.inputs.settings.recipe)
    if job.stream is not None:
        job.say(_first_line(device, job.inputs, plan))
    with jax.default_device(device), job.interruption.noted_only():
        try:
            painted = _paint(job, plan, device)
            return _finish(job, painted, device)
        except jax.errors.JaxRuntimeError as error:
            raise _of_the_system(error) from None


def _of_the_system(error: jax.errors.JaxRuntimeError) -> Exception:
    """Returns XLA's error as one of the system's, with the first line of what it says."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return MemoryError(text)
    return OSError(f"the device failed: {text.splitlines()[0] if text else 'no reason given'}")


def _paint(job: Job, plan: list[Level], device: jax.Device) -> Painted:
    """Runs the loop and does all that happens meanwhile."""
    arguments, settings = job.arguments, job.inputs.settings
    clock, failure = Clock(plan), None
    with Watch(arguments.log, settings.recipe.steps, job.stream, job.say) as watch:
        try:
            for chunk in paint(
                prepare(job.inputs.params),
                plan,
                recipe=settings.recipe,
                hyper=settings.hyper,
                init=job.inputs.init,
                seed=settings.seed,
                pause_every=arguments.save_every,
            ):
                clock.tick(chunk)
                watch.see(chunk, clock)
                if is_due(chunk, arguments.save_every):
                    facts = make_record(job.inputs, device, None, int(chunk.state.step))
                    save_numbered(chunk, job.output, facts, force=arguments.force, say=job.say)
                if job.interruption.received:
                    break
        except DivergedError as error:
            failure = error
    return Painted(chunk, failure, watch.log_failed, clock.seconds)


def _finish(job: Job, painted: Painted, device: jax.Device) -> Outcome:
    """Saves the last good canvas and says what there is to say."""
    chunk, failure, _, seconds = painted
    done = int(chunk.state.step)
    if failure is not None:
        job.say(str(failure))
    if done == 0 and failure is None:
        raise KeyboardInterrupt
    if done == 0:
        job.say("no step was finished, so no picture was saved")
        return Outcome(None, {}, seconds, 1)
    canvas = chunk.state.canvas if failure is None else chunk.state.good
    losses = chunk.closing if failure is None else None
    facts = make_record(job.inputs, device, losses or losses_of(canvas, chunk.problem), done)
    picture = images.denormalise(canvas)
    path, moved = save(job.output, picture, facts, force=job.arguments.force, say=job.say)
    if failure is not None:
        job.say(f"the last good picture was saved: {path}")
    elif job.interruption.received:
        job.say(f"stopped after step {done} of {job.inputs.settings.recipe.steps}; saved: {path}")
    failed = failure is not None or painted.log_failed or moved
    stopped = job.interruption.received
    return Outcome(path, facts, seconds, job.interruption.exit_code if stopped else int(failed))


def choose_device(name: str | None, *, say: Say) -> jax.Device:
    """Returns the device to paint on; mentions a GPU that lies idle.

    Raises:
      InputError: jax has no such device.
    """
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)  # we say it ourselves
    if name == "cpu":
        # leaves a GPU's memory alone
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    try:
        device = jax.devices(name)[0]
    except RuntimeError as error:
        hint = f"; for an NVIDIA GPU: {CUDA_INSTALL}" if name == "gpu" else ""
        reason = " ".join(str(error).split())
        raise InputError(f"jax finds no device {name or ''}: {reason}{hint}") from None
    if device.platform == "cpu" and name is None and _nvidia_gpu_present():
        say(f"an NVIDIA GPU is present, but this jax cannot use it; to use it: {CUDA_INSTALL}")
    return device


def _nvidia_gpu_present() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _first_line(device: jax.Device, inputs: Inputs, plan: list[Level]) -> str:
    sizes = " then ".join(size_text(level.content.shape) for level in plan)
    file = inputs.weight_file
    note = f" ({file.note})" if file.note else ""
    return f"on {device.device_kind}, weights {file.name}{note}, size {sizes}"
