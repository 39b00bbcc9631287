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


def run_job(
    arguments: Arguments,
    inputs: Inputs,
    output: Path,
    *,
    interruption: Interruption,
    say: Say,
    stream: IO[str] | None,
) -> Outcome:
    """Paints, saves and returns how it went.

    Args:
      arguments: the command line.
      inputs: from `read_inputs`.
      output: where the picture goes.
      interruption: looked at after every few steps.
      say: is given lines for the person.
      stream: where progress goes; None shows none.

    Raises:
      InputError: no such device, pictures too small, or layers that the weights lack.
      KeyboardInterrupt: stopped before the first step ended.
    """
    device = choose_device(arguments.device, say=say)
    plan = levels(inputs.content, inputs.style, inputs.settings.recipe)
    if stream is not None:
        say(_first_line(device, inputs, plan))
    with jax.default_device(device), interruption.noted_only():
        painted = _paint(arguments, inputs, output, plan, interruption, say, stream)
        state, done = painted.chunk.state, int(painted.chunk.state.step)
        if painted.failure is not None:
            say(str(painted.failure))
        if done == 0:
            return _nothing_saved(painted, interruption, say)
        canvas = state.canvas if painted.failure is None else state.good
        closing = painted.chunk.closing if painted.failure is None else None
        losses = closing or losses_of(canvas, painted.chunk.problem)
        facts = make_record(arguments, inputs, device, losses, done)
        path, moved = save(
            output, images.denormalise(canvas), facts, force=arguments.force, say=say
        )
    if painted.failure is not None:
        say(f"the last good picture was saved: {path}")
    elif interruption.received:
        say(f"stopped after step {done} of {inputs.settings.recipe.steps}; saved: {path}")
    failed = painted.failure is not None or painted.log_failed or moved
    code = interruption.exit_code if interruption.received else int(failed)
    return Outcome(path, facts, painted.seconds, code)


def _nothing_saved(painted: Painted, interruption: Interruption, say: Say) -> Outcome:
    if painted.failure is None:
        raise KeyboardInterrupt
    say("no step was finished, so no picture was saved")
    return Outcome(None, {}, painted.seconds, 1)


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


def _paint(
    arguments: Arguments,
    inputs: Inputs,
    output: Path,
    plan: list[Level],
    interruption: Interruption,
    say: Say,
    stream: IO[str] | None,
) -> Painted:
    """Runs the loop and does all that happens meanwhile."""
    clock, failure, settings = Clock(plan), None, inputs.settings
    watch = Watch(arguments.log, settings.recipe.steps, stream, say)
    with watch:
        try:
            for chunk in paint(
                prepare(inputs.params),
                plan,
                recipe=settings.recipe,
                hyper=settings.hyper,
                init=inputs.init,
                seed=settings.seed,
                pause_every=arguments.save_every,
            ):
                clock.tick(chunk)
                watch.see(chunk, clock)
                if is_due(chunk, arguments.save_every):
                    save_numbered(arguments, inputs, output, chunk, say)
                if interruption.received:
                    break
        except DivergedError as error:
            failure = error
    return Painted(chunk, failure, watch.log_failed, clock.seconds)
