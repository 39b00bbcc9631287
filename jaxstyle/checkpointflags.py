"""The flags of checkpoints: where, how often, and whether to go on from one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.texts import read_seconds

SECONDS_BETWEEN = 60.0
"""From one checkpoint to the next; a run that takes less needs none."""

SUFFIX = ".checkpoint"
"""Behind the name of an output, that of its checkpoint."""

LONGEST_NAME = 220
"""In bytes, of an output that its checkpoints are named after: file systems allow 255."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFlags:
    """What the command line says of checkpoints."""

    path: Path | None = None
    """None: beside the output."""
    every: float | None = None
    """In seconds."""
    resume: bool = False

    @property
    def wanted(self) -> bool:
        """Whether checkpoints were asked for, however long the run takes."""
        return self.path is not None or self.every is not None or self.resume

    def beside(self, output: Path) -> Path:
        """Returns where the checkpoints of a run with this output are."""
        if self.path is not None:
            return self.path
        return output.parent / f"{files.short(output.name, LONGEST_NAME)}{SUFFIX}"


def add_checkpoint_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="keep in this file, from the start, all that --resume needs to go on; default:"
        " OUTPUT.checkpoint, if the run will take more than a minute",
    )
    add(
        "--checkpoint-every",
        type=read_seconds,
        metavar="SECONDS",
        help="how often to do so; the checkpoint before is kept as well; inf: only when"
        f" interrupted; default: {SECONDS_BETWEEN:g}",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from the checkpoint that a run with the same settings and files has left; if"
        " there is none, begin with the first step; default: do not look for one",
    )


def take_checkpoint_flags(parsed: dict[str, Any], *, sweep: bool) -> CheckpointFlags:
    """Takes these flags out of a parser's result.

    Raises:
      InputError: they were given to a sweep.
    """
    names = ("checkpoint", "checkpoint_every", "resume")
    path, every, resume = (parsed.pop(name) for name in names)
    given = [name for name, value in zip(names, (path, every, resume), strict=True) if value]
    if sweep and given:
        flag = given[0].replace("_", "-")
        raise InputError(f"--{flag} is for single runs; a sweep goes on by itself where it was")
    return CheckpointFlags(path=path, every=every, resume=resume)
