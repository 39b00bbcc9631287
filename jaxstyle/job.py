"""One run, from its inputs to its files: device, painting, log, intermediate pictures, result."""

import logging
import os
from pathlib import Path
from typing import IO, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import compilation, images, record
from jaxstyle.cli import Arguments
from jaxstyle.errors import DivergedError, InputError
from jaxstyle.inputs import Inputs, Say
from jaxstyle.interrupt import Interruption
from jaxstyle.losses import Losses
from jaxstyle.painting import Level, levels, paint
from jaxstyle.plan import check_fits
from jaxstyle.progress import Clock, Watch, size_text
from jaxstyle.room import NO_LIMIT, Room, memory_left
from jaxstyle.saving import is_due, make_record, save, save_numbered
from jaxstyle.transfer import Chunk, losses_of

NVIDIA_SIGNS = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"), Path("/dev/dxg"))
"""Files that are there if the driver of an NVIDIA GPU is loaded (the last: in WSL)."""

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


class Good(NamedTuple):
    """A canvas that can be saved: its losses are known and finite."""

    canvas: jax.Array | NDArray[np.float32]
    losses: Losses
    steps_done: int


class Painted(NamedTuple):
    """What the loop left."""

    chunk: Chunk
    """The last one."""
    finished: Good | None
    """The end of the last size that was finished."""
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
    compilation.keep_programs()
    plan = fitting_levels(job.inputs, device_room(device))
    if job.stream is not None:
        job.say(_first_line(device, job.inputs, plan))
    with jax.default_device(device), job.interruption.noted_only():
        try:
            painted = _paint(job, plan, device)
            return _finish(job, painted, device)
        except jax.errors.JaxRuntimeError as error:
            raise of_the_system(error) from None


def fitting_levels(inputs: Inputs, room: Room) -> list[Level]:
    """Returns a run's sizes; raises InputError if they need more memory than there is."""
    recipe = inputs.settings.recipe
    plan = levels(inputs.content, inputs.style, recipe=recipe, room=room.bytes)
    sides = plan[-1].content.shape[:2], plan[-1].style.shape[:2]
    check_fits(*sides, recipe=recipe, room=room, started=True)
    return plan


def device_room(device: jax.Device) -> Room:
    """Returns how much memory may be used on a device; CPUs and some others only have limits."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        left = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return Room(left, f"the memory of {device.device_kind}")
    return memory_left() if device.platform == "cpu" else Room(NO_LIMIT, "no known limit")


def of_the_system(error: jax.errors.JaxRuntimeError) -> Exception:
    """Returns XLA's error as one of the system's, with the first line of what it says."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return MemoryError(text)
    return OSError(f"the device failed: {text.splitlines()[0] if text else 'no reason given'}")


def _paint(job: Job, plan: list[Level], device: jax.Device) -> Painted:
    """Runs the loop and does all that happens meanwhile."""
    arguments, settings = job.arguments, job.inputs.settings
    clock, failure, finished = Clock(plan), None, None
    with Watch(
        arguments.log, settings.recipe.steps, job.stream, job.say, overwrite=arguments.force
    ) as watch:
        try:
            for chunk in paint(
                job.inputs.params,
                plan,
                recipe=settings.recipe,
                hyper=settings.hyper,
                init=job.inputs.init,
                seed=settings.seed,
                pause_every=arguments.save_every,
            ):
                clock.tick(chunk)
                watch.see(chunk, clock)
                done = int(chunk.state.step)
                if chunk.closing is not None and np.isfinite(chunk.closing.total):
                    finished = Good(np.array(chunk.state.canvas), chunk.closing, done)
                if is_due(chunk, arguments.save_every):
                    facts = make_record(job.inputs, device, chunk.state.canvas, None, done)
                    save_numbered(chunk, job.output, facts, force=arguments.force, say=job.say)
                if job.interruption.received:
                    break
        except DivergedError as error:
            failure = error
    return Painted(chunk, finished, failure, watch.log_failed, clock.seconds)


def _last_good(painted: Painted) -> Good | None:
    """Returns the last canvas worth saving; None if no step was finished."""
    state, problem = painted.chunk.state, painted.chunk.problem
    done = int(state.step)
    if done == problem.first_step:  # nothing was done at this size
        return painted.finished
    if painted.failure is not None:  # the last update led astray: the canvas before it
        return Good(state.good, losses_of(state.good, problem), done - 1)
    if painted.chunk.closing is not None:
        return painted.finished
    return Good(state.canvas, losses_of(state.canvas, problem), done)


def _finish(job: Job, painted: Painted, device: jax.Device) -> Outcome:
    """Saves the last good canvas and says what there is to say."""
    failure, steps = painted.failure, job.inputs.settings.recipe.steps
    good = _last_good(painted)
    if failure is not None:
        job.say(str(failure))
    if good is None and failure is None:
        raise KeyboardInterrupt
    if good is None:
        job.say("no step was finished, so no picture was saved")
        return Outcome(None, {}, painted.seconds, 1)
    facts = make_record(job.inputs, device, good.canvas, good.losses, good.steps_done)
    picture = images.denormalise(good.canvas)
    path, moved = save(job.output, picture, facts, force=job.arguments.force, say=job.say)
    at = f"after step {good.steps_done} of {steps}, {facts['painted_size']}"
    if failure is not None:
        job.say(f"the last good picture, {at}, was saved: {path}")
    elif job.interruption.received:
        job.say(f"stopped {at}; saved: {path}")
    failed = failure is not None or painted.log_failed or moved
    stopped = job.interruption.received
    code = job.interruption.exit_code if stopped else int(failed)
    return Outcome(path, facts, painted.seconds, code)


def choose_device(name: str | None, *, say: Say) -> jax.Device:
    """Returns the device to paint on; mentions a GPU that lies idle.

    Raises:
      InputError: jax has no such device.
    """
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)  # we say it ourselves
    if name == "cpu":
        # leaves a GPU's memory alone
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    platforms = os.environ.get("JAX_PLATFORMS", "")
    try:
        device = jax.devices(name)[0]
    except (RuntimeError, AssertionError) as error:  # the latter for a plugin that is not there
        hint = f"; for an NVIDIA GPU: {CUDA_INSTALL}" if name == "gpu" else ""
        reason = " ".join(str(error).split()) or f"JAX_PLATFORMS is {platforms!r}"
        raise InputError(f"jax finds no device {name or 'at all'}: {reason}{hint}") from None
    chosen = name or platforms
    if device.platform == "cpu" and not chosen and _nvidia_gpu_present():
        say(f"an NVIDIA GPU is present, but this jax cannot use it; to use it: {CUDA_INSTALL}")
    return device


def _nvidia_gpu_present() -> bool:
    return any(path.exists() for path in NVIDIA_SIGNS)


def _first_line(device: jax.Device, inputs: Inputs, plan: list[Level]) -> str:
    sizes = " then ".join(size_text(level.content.shape) for level in plan)
    file = inputs.weight_file
    note = f" ({file.note})" if file.note else ""
    return f"on {device.device_kind}, weights {file.name}{note}, size {sizes}"
