"""What was asked for, as data, and what of it can be known to fail before any work.

Files that are missing, names that are taken. Standard library only; every check raises InputError
with one line.
"""

import dataclasses
import itertools
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.runs import output_name
from jaxstyle.runs.paths import STANDARD, pictures_at, why_missing
from jaxstyle.settings.recipe import INITS
from jaxstyle.settings.text import read_shard

SECONDS_BETWEEN = 60.0
"""Time from one checkpoint to the next; a run that takes less needs none."""

SUFFIX = ".checkpoint"
"""Suffix of a checkpoint, behind the name of its output."""

LONGEST_OUTPUT_NAME = 220
"""Longest name, in bytes, after which checkpoints are named: file systems allow 255."""

MOST_RUNS = 10_000
"""More combinations than these need `--yes`."""

WEIGHT_WORDS = ("auto", "embedded", "vgg19")

CHECKPOINT_ENDS = (SUFFIX, SUFFIX + files.PREVIOUS)
"""How the names of the checkpoints beside an output end."""


@dataclass(frozen=True, kw_only=True)
class CheckpointRequest:
    """What was asked for of checkpoints."""

    path: Path | None = None
    """None: beside the output."""
    every: float | None = None
    """Time between checkpoints, in seconds."""
    resume: bool = False

    @property
    def wanted(self) -> bool:
        """Whether checkpoints were asked for, however long the run takes."""
        return self.path is not None or self.every is not None or self.resume

    def beside(self, output: Path) -> Path:
        """Returns where the checkpoints of a run with this output are."""
        if self.path is not None:
            return self.path
        return output.parent / f"{files.short(output.name, LONGEST_OUTPUT_NAME)}{SUFFIX}"


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """The devices that were asked for, of a sweep or of one picture."""

    most: int | None = None
    """How many to use, of each process."""
    distributed: str | None = None
    """"auto", or "HOST:PORT,I/N": coordinator and this process, counted from 1."""
    deterministic: bool = False
    """Whether a GPU has to give the same bits in every process."""
    batch: int | None = 1
    """How many runs of a sweep each device does at once; None: as its memory and sizes suggest."""

    @property
    def several(self) -> bool:
        """Whether several devices share one picture."""
        return (self.most or 1) > 1 or self.distributed is not None

    @property
    def most_for_one_picture(self) -> int | None:
        """How many devices of each process share one picture; None for all.

        Unless `most` is given it is one, or all if there are other processes.
        """
        return 1 if self.most is None and self.distributed is None else self.most

    @property
    def processes(self) -> int | None:
        """How many there are; None where only jax will know."""
        if self.distributed is None:
            return 1
        if self.distributed == "auto":
            return None
        return read_shard(self.distributed.rpartition(",")[2])[1]


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What was asked for of a sweep."""

    axes: tuple[tuple[str, ...], ...]
    """Each a name and its values, as typed."""
    file: Path | None
    shard: tuple[int, int]
    """(i, n): this is the i-th of n shares, counted from 1."""
    yes: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    content: Path
    styles: tuple[Path, ...]
    """Pictures, or folders of them."""
    output: Path | None
    """None: a new name; `paths.STANDARD`: to standard output."""
    log: Path | None
    save_every: int
    force: bool
    preset: str | None
    settings: dict[str, Any]
    """The settings that were given as flags, by field name."""
    from_picture: Path | None
    weights: str | None
    init: str | None
    seed: int | None
    device: str | None
    quiet: bool
    json: bool
    plan: bool
    view: tuple[str, int] | None = None
    """Host and port of a page that shows the run; port 0 is a free one."""
    sweep: SweepRequest | None = None
    """If given, `content` may be an empty path and `styles` empty: they come from the sweep."""
    collect: Path | None = None
    judge: bool = False
    print_config: bool = False
    plot: Path | None = None
    film: Path | None = None
    regions: tuple[Path, ...] = ()
    """Masks in which the same color is the same region: the photo's, then one for each style."""
    masks: tuple[Path, ...] = ()
    """Grey masks of the photo, one for each style."""
    keep: Path | None = None
    """A mask of the photo, white where it is left as it is."""
    into_folder: bool = False
    """Whether `output` is a folder, to be made if it is missing, in which the result is named."""
    format: str | None = None
    """One of output_name.FORMATS, for a result that has no name; None: PNG."""
    bits: int = 8
    """Of each channel of the result: 8 or 16."""
    profile: Path | None = None
    """An ICC profile for the result; None: sRGB."""
    dpi: float | None = None
    """Dots per inch, written into the result."""
    proof: Path | None = None
    """An ICC profile of a press, in whose colors photo and style are painted; None: as they are."""
    alpha: str = "white"
    """What becomes of the photo's transparency: "white" or "keep"."""
    checkpoints: CheckpointRequest = dataclasses.field(default_factory=CheckpointRequest)
    devices: DeviceRequest = dataclasses.field(default_factory=DeviceRequest)
    listed: dict[Path, tuple[Path, ...]] = dataclasses.field(default_factory=dict, repr=False)
    """The pictures in folders as they were first looked at; see `listed_pictures`."""


def check_files(arguments: Request) -> Path:
    """Checks every path on the command line, inputs first; returns where the result goes."""
    check_inputs(arguments)
    try:
        output = _output_of(arguments)
        _check_outputs(arguments, output)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}") from None
    return output


def check_inputs(arguments: Request) -> None:
    """Checks the paths of all that will be read."""
    for path in (
        *(arguments.content, *style_files(arguments), *mask_files(arguments)),
        *(arguments.from_picture, arguments.profile, arguments.proof),
    ):
        if path is not None:
            check_is_file(path)
    _check_word_or_file("--init", arguments.init, INITS)
    _check_word_or_file("--weights", arguments.weights, WEIGHT_WORDS)
    weights, suffixes = arguments.weights, files.HDF5_SUFFIXES + files.TORCH_SUFFIXES
    if weights is not None and weights not in WEIGHT_WORDS:
        files.check_suffix("the weight file", Path(weights), suffixes)


def inputs_of(arguments: Request) -> list[Path]:
    """Returns every file on the command line that will be read."""
    paths = [arguments.content, *style_files(arguments), *mask_files(arguments)]
    others = (arguments.profile, arguments.proof, arguments.from_picture)
    paths += [path for path in others if path is not None]
    for value, words in ((arguments.init, INITS), (arguments.weights, WEIGHT_WORDS)):
        if value is not None and value not in words:
            paths.append(Path(value))
    return paths


def style_files(arguments: Request) -> list[Path]:
    """Returns the style pictures of a request: folders are replaced by the pictures in them.

    Raises:
      InputError: a folder that has no picture, or cannot be read.
    """
    return [file for path in arguments.styles for file in listed_pictures(arguments, path)]


def listed_pictures(arguments: Request, path: Path) -> tuple[Path, ...]:
    """Returns the pictures at a path as they were at the first call for it.

    What appears in a folder later, or goes, does not change the run, or any run of the sweep.
    """
    if path not in arguments.listed:
        arguments.listed[path] = pictures_at(path)
    return arguments.listed[path]


def mask_files(arguments: Request) -> list[Path]:
    """Returns all masks of a request: of regions, of styles, of what is kept."""
    keep = [] if arguments.keep is None else [arguments.keep]
    return [*arguments.regions, *arguments.masks, *keep]


def check_is_file(path: Path, before: str = "", after: str = "") -> None:
    """Raises InputError, `before` and `after` around it, if there is no readable file at `path`."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):  # a pipe must not be opened: that would wait for a writer
            with path.open("rb"):
                return
        what = "is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file"
    except FileNotFoundError:
        what = f"does not exist{why_missing(path)}"
    except (OSError, ValueError) as error:
        what = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
    raise InputError(f"{before}{path} {what}{after}")


def _check_word_or_file(flag: str, value: str | None, words: Sequence[str]) -> None:
    if value is not None and value not in words:
        before = f"{flag} takes {', '.join(words)} or a file: "
        check_is_file(Path(value), before, did_you_mean(value, words))


def _check_outputs(arguments: Request, output: Path) -> None:
    inputs = inputs_of(arguments)
    if not output.is_dir():
        files.check_suffix("the output", output, output_name.LONGEST_SIDES)
    checkpoint = arguments.checkpoints.beside(output)
    results = {"output": output} | beside_of(arguments)
    checkpoints = {"checkpoint": checkpoint, "previous checkpoint": files.previous(checkpoint)}
    given = results | checkpoints
    to_make = output.parent if arguments.into_folder else None
    for name, path in given.items():
        _check_output(name, path, inputs, to_make=to_make)
    if not (arguments.force or goes_on(arguments, output)):
        for path in results.values():
            check_free(path)
        for path in checkpoints.values():
            _check_no_checkpoint(path)
    for (one, path), (other, same) in itertools.combinations(given.items(), 2):
        if _same(path, same):
            raise InputError(f"the {other} and the {one} are the same file: {same}")
    for name, path in beside_of(arguments).items():
        output_name.check_beside(name, path)


def beside_of(arguments: Request) -> dict[str, Path]:
    """Returns the files that were asked for beside the result, by what they are."""
    return {
        name: path for name in output_name.BESIDE if (path := getattr(arguments, name)) is not None
    }


def _output_of(arguments: Request) -> Path:
    """Returns where the result goes: as given, or a new name, be it in a folder that is given.

    With --resume that is the name of the run that was interrupted last, if there is one.
    """
    folder, flags = _folder_of(arguments), arguments.checkpoints
    if folder is None:
        output_name.check_format(arguments.output or Path(), arguments.format)
        return arguments.output or Path()
    styles = "+".join(path.stem for path in arguments.styles)
    return output_name.default_output(
        folder,
        f"{arguments.content.stem}-{styles}",
        output_name.FORMATS[arguments.format or "png"],
        beside=[] if flags.path is not None else CHECKPOINT_ENDS,
        resumes=flags.resume and flags.path is None,
    )


def _folder_of(arguments: Request) -> Path | None:
    """Returns the folder in which the result has a new name; None if it has its own.

    What goes to standard output has one too, for its checkpoints, and for the picture where nobody
    takes it.
    """
    given = arguments.output
    if given is None:
        return Path()
    if given == STANDARD:
        try:
            files.check_writable(Path())
        except InputError:
            return Path(tempfile.gettempdir())
        return Path()
    return given if arguments.into_folder or given.is_dir() else None


def goes_on(arguments: Request, output: Path) -> bool:
    """Returns whether --resume finds something: what the interrupted run wrote may be replaced."""
    path = arguments.checkpoints.beside(output)
    return arguments.checkpoints.resume and any(map(os.path.exists, (path, files.previous(path))))


def _check_no_checkpoint(path: Path) -> None:
    if os.path.lexists(path):
        raise InputError(
            f"{path} exists, from an interrupted run: --resume to go on with it, or --force to"
            " begin anew"
        )


def _check_output(name: str, path: Path, inputs: Sequence[Path], *, to_make: Path | None) -> None:
    """Raises InputError if `path` cannot be written, or is an input; one folder may be missing."""
    if path.is_dir():
        raise InputError(f"the {name} {path} is a folder: name a file in it")
    _check_is_no_input(name, path, inputs)
    folder = path.parent
    if folder == to_make:
        folder = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    files.check_writable(folder)


def _check_is_no_input(name: str, path: Path, inputs: Sequence[Path]) -> None:
    if any(_same(path, each) for each in inputs):
        raise InputError(f"the {name} {path} is also an input: choose another name")


def check_free(path: Path) -> None:
    """Raises InputError if there is something at `path` already."""
    if os.path.lexists(path):
        raise InputError(f"{path} exists: choose another name, or --force to overwrite it")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths, which need not exist, lead to one file, be it by symlink or hard link.

    Raises:
      InputError: the first one is no path.
    """
    try:
        return os.path.realpath(one) == os.path.realpath(other) or one.samefile(other)
    except ValueError:  # it has a null character
        raise InputError(f"{one} has characters that no file name can have here") from None
    except OSError:
        return False


def check_numbered(arguments: Request, output: Path, *, steps: int) -> None:
    """Raises InputError if one of the numbered pictures to come must not be written.

    They must not replace an input or the log, nor, without --force, anything at all.
    """
    if not arguments.save_every:
        return
    checkpoint = arguments.checkpoints.path
    given = beside_of(arguments) | ({} if checkpoint is None else {"checkpoint": checkpoint})
    # looked for among the names that are there: the numbers to come may be millions
    there = sorted(output.parent.iterdir()) if output.parent.is_dir() else []
    for path in [*there, *given.values()]:
        if not _is_numbered(path, output, every=arguments.save_every, steps=steps):
            continue
        for name, other in given.items():
            if _same(path, other):
                raise InputError(f"the {name} {other} is also a numbered picture: choose another")
        _check_is_no_input("numbered picture", path, inputs_of(arguments))
        if not (arguments.force or goes_on(arguments, output)):
            check_free(path)


def _is_numbered(path: Path, output: Path, *, every: int, steps: int) -> bool:
    step = output_name.numbered_step(path.name, output)
    return 0 < step <= steps and step % every == 0 and _same(path.parent, output.parent)
