"""Pictures with their records on the way to disk: the result, and those numbered on the way."""

import contextlib
import tempfile
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files, images, record
from jaxstyle.checks import numbered
from jaxstyle.inputs import Inputs, Say
from jaxstyle.interrupt import unbreakable
from jaxstyle.losses import Losses
from jaxstyle.progress import size_text
from jaxstyle.transfer import Chunk


def is_due(chunk: Chunk, every: int) -> bool:
    """Returns whether a chunk ended at a multiple of so many steps."""
    if not every or not len(chunk.learning_rate) or bool(chunk.state.failed):
        return False
    finite = chunk.closing is None or np.isfinite(chunk.closing.total)
    return bool(finite and int(chunk.state.step) % every == 0)


def save_numbered(
    chunk: Chunk, output: Path, facts: record.Record, *, force: bool, say: Say
) -> None:
    """Saves a chunk's canvas, numbered, beside the output; where that fails, warns and goes on."""
    path = numbered(output, int(chunk.state.step))
    picture = images.denormalise(chunk.state.canvas)
    data = images.encode(picture, path.suffix.lower(), record.to_text(facts))
    try:
        with unbreakable():
            files.write_whole(path, data, overwrite=force)
    except OSError as error:
        say(f"warning: {path} could not be saved: {error.strerror or error}")


def make_record(
    inputs: Inputs,
    device: jax.Device,
    canvas: jax.Array | NDArray[np.float32],
    losses: Losses | None,
    steps_done: int,
) -> record.Record:
    """Returns all that a picture, painted from `canvas`, shall know of its making; see `record`."""
    settings = inputs.settings
    others = {"preset": settings.preset, "init": settings.init, "seed": settings.seed}
    facts = {
        **inputs.facts,
        "versions": record.versions(),
        "steps_done": steps_done,
        "painted_size": size_text(canvas.shape),
        "device": device.device_kind,
    }
    if not isinstance(inputs.init, str):
        others["init"] = Path(settings.init).name
    if losses is not None:
        facts["losses"] = {name: float(value) for name, value in losses._asdict().items()}
    facts["settings"] = record.settings(settings.recipe, settings.hyper, **others)
    return facts


def save(
    path: Path, picture: NDArray[np.float32], facts: record.Record, *, force: bool, say: Say
) -> tuple[Path, bool]:
    """Writes the picture; where that fails, in the working or the temporary folder.

    Returns:
      Where it is, and whether that is another folder than was asked for.

    Raises:
      OSError: none of the folders takes it.
    """
    data = images.encode(picture, path.suffix.lower(), record.to_text(facts))
    try:
        return _write(path, data, force=force, say=say), False
    except OSError as error:
        reason = error.strerror or error
        say(f"warning: {path} cannot be written: {reason}")
    for folder in (Path(), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            rescued = _write(folder / path.name, data, force=False, say=say)
            say(f"saved instead as {rescued.resolve()}")
            return rescued, True
    raise OSError(f"the picture could not be saved anywhere: {reason}")


def _write(path: Path, data: bytes, *, force: bool, say: Say) -> Path:
    """Writes a file under its name, or the next free one if a file has come there meanwhile."""
    while True:
        try:
            with unbreakable():
                files.write_whole(path, data, overwrite=force)
        except FileExistsError:
            taken, path = path, files.fresh_path(path.parent, path.stem, path.suffix)
            say(f"{taken} has come to exist meanwhile: saving as {path.name}")
        else:
            return path
