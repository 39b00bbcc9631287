"""Pictures with their records on the way to disk: the last good canvas, and numbered ones."""

import contextlib
import hashlib
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import Say
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import alpha_at
from jaxstyle.losses.terms import Losses
from jaxstyle.machine.process import unbreakable
from jaxstyle.optimization.optimizer import shown
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.events import Event, StepsDone
from jaxstyle.painting.variants import Lane
from jaxstyle.runs import record
from jaxstyle.runs.inputs import run_record
from jaxstyle.runs.output_name import numbered
from jaxstyle.runs.progress import size_text
from jaxstyle.runs.reader import Inputs


class NumberedPictures:
    """An observer that saves the canvas, numbered, beside the output after every so many steps.

    Where that fails, it warns and the run goes on. All are enlarged to the size of the result.
    """

    def __init__(
        self,
        every: int,
        output: Path,
        inputs: Inputs,
        *,
        device: str,
        force: bool,
        say: Say,
        writes: bool = True,
    ) -> None:
        """Takes what to save when.

        Args:
          every: so many steps.
          output: where the result goes.
          inputs: of the run.
          device: the kind, for the record.
          force: whether files that are there may be replaced.
          say: is given warnings.
          writes: whether it is this process that writes; the others only help to gather.
        """
        self._every, self._output, self._inputs, self._device = every, output, inputs, device
        self._force, self._say, self._writes = force, say, writes

    def see(self, event: Event) -> None:
        """Saves the canvas, if it is due."""
        if not isinstance(event, StepsDone) or not is_due(event.chunk, self._every):
            return
        canvas, done = np.asarray(shown(event.chunk.state)), int(event.chunk.state.step)
        if self._writes:
            given: Any = {"device": self._device, "force": self._force, "say": self._say}
            save_numbered(event.lane, canvas, done, self._output, self._inputs, **given)


def is_due(chunk: Chunk, every: int) -> bool:
    """Returns whether a chunk ended at a multiple of so many steps, and none failed."""
    if not every or not len(chunk.learning_rate) or chunk.failure is not None:
        return False
    return int(chunk.state.step) % every == 0


def save_numbered(
    lane: Lane,
    canvas: NDArray[np.float32],
    done: int,
    output: Path,
    inputs: Inputs,
    *,
    device: str,
    force: bool,
    say: Say,
) -> str | None:
    """Saves the picture of a run after so many steps, numbered, beside the output.

    It is enlarged to the size of the result, so that all of a run are of one size. Returns the
    file's name; where that fails, warns and returns None.
    """
    path = numbered(output, done)
    facts = make_record(inputs, device, canvas, None, done)
    picture = lane.picture_of(canvas, size=lane.levels[-1].content.shape[:2])
    data = encode_result(path, picture, inputs, facts)
    try:
        with unbreakable():
            files.write_whole(path, data, overwrite=force or _is_one_of(path, [data_sha256(data)]))
    except OSError as error:
        say(f"warning: {path} could not be saved: {error.strerror or error}")
        return None
    return path.name


def make_record(
    inputs: Inputs,
    device: str,
    canvas: jax.Array | NDArray[np.float32],
    losses: Losses | None,
    steps_done: int,
    saved_losses: Losses | None = None,
) -> record.Record:
    """Returns the record of a picture that is painted from `canvas`; see `record`.

    `device` is the kind, and how many if there are several. `saved_losses` are those of the picture
    in 8 bits, see `Lane.losses_as_saved`.
    """
    facts = {
        **run_record(inputs),
        "steps_done": steps_done,
        "painted_size": size_text(canvas.shape),
        "device": device,
    }
    if losses is not None:
        facts["losses"] = losses.numbers()
    if saved_losses is not None:
        facts["saved_losses"] = saved_losses.numbers()
    return facts


def encode_result(
    path: Path, picture: NDArray[np.float32], inputs: Inputs, facts: record.Record
) -> bytes:
    """Returns a picture as the kind of file that a path asks for, with its record if it has one."""
    alpha = alpha_at(inputs.alpha, picture.shape[:2])
    texts = record.to_text(facts)
    return picture_file.encode(picture, path.suffix.lower(), texts, alpha=alpha, how=inputs.how)


def data_sha256(data: bytes) -> str:
    """Returns the hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def save(
    path: Path, data: bytes, *, force: bool, own: Collection[str], say: Say
) -> tuple[Path, bool]:
    """Writes the picture; where that fails, in the working or the temporary folder.

    Args:
      path: where.
      data: from `encode_result`.
      force: whether a file that is there may be replaced.
      own: the sha256 of files that may be replaced without.
      say: is told if it goes elsewhere.

    Returns:
      Where it is, and whether that is another folder than was asked for.

    Raises:
      OSError: none of the folders takes it.
    """
    try:
        return _write(path, data, force=force or _is_one_of(path, own), say=say), False
    except OSError as error:
        reason = error.strerror or error
        say(f"warning: {path} cannot be written: {reason}")
    for folder in (Path(), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            rescued = _write(folder / path.name, data, force=False, say=say)
            say(f"saved instead as {rescued.resolve()}")
            return rescued, True
    raise OSError(f"the picture could not be saved anywhere: {reason}")


def _is_one_of(path: Path, own: Collection[str]) -> bool:
    """Whether the file at `path`, if there is one, has one of these sha256."""
    with contextlib.suppress(OSError):
        return bool(own) and path.is_file() and files.sha256(path) in own
    return False


def _write(path: Path, data: bytes, *, force: bool, say: Say) -> Path:
    """Writes a file under its name, or the next free one if another file has taken it."""
    while True:
        try:
            with unbreakable():
                files.write_whole(path, data, overwrite=force)
        except FileExistsError:
            taken, path = path, files.fresh_path(path.parent, path.stem, path.suffix)
            say(f"{taken} exists now: saving as {path.name}")
        else:
            return path
