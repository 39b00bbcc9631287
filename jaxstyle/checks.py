"""What can be known to fail before any work: files that are missing, names that are taken.

Standard library only; every check raises InputError with one line.
"""

from pathlib import Path

from jaxstyle import files
from jaxstyle.cli import INIT_WORDS, WEIGHT_WORDS, Arguments
from jaxstyle.errors import InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
WEIGHT_SUFFIXES = (".h5", ".hdf5", ".pth", ".pt")


def check_files(arguments: Arguments) -> None:
    """Checks every path on the command line, inputs first."""
    inputs = [arguments.content, arguments.style]
    if arguments.from_picture is not None:
        inputs.append(arguments.from_picture)
    if arguments.init is not None and arguments.init not in INIT_WORDS:
        inputs.append(Path(arguments.init))
    for path in inputs:
        check_is_file(path, "")
    if arguments.weights is not None and arguments.weights not in WEIGHT_WORDS:
        inputs.append(Path(arguments.weights))
        check_is_file(inputs[-1], "--weights takes auto, embedded, vgg19 or a file: ")
    outputs = [path for path in (arguments.output, arguments.log) if path is not None]
    for path in outputs:
        _check_output(path, inputs, force=arguments.force)
    if arguments.output is not None and arguments.output.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(
            f"the output {arguments.output} must end in one of {' '.join(PICTURE_SUFFIXES)}"
        )
    if len(outputs) == 2 and _same(*outputs):
        raise InputError(f"the log and the output are the same file: {arguments.log}")
    if arguments.output is None:
        files.check_writable(Path())


def check_is_file(path: Path, before: str) -> None:
    """Raises InputError, beginning with `before`, if there is no readable file at `path`."""
    try:
        with path.open("rb"):
            return
    except IsADirectoryError:
        raise InputError(f"{before}{path} is a folder, not a file") from None
    except FileNotFoundError:
        raise InputError(f"{before}{path} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{before}{path} cannot be read: {reason}") from None


def _check_output(path: Path, inputs: list[Path], *, force: bool) -> None:
    """Raises InputError if `path` cannot be written, or must not be."""
    if path.is_dir():
        raise InputError(f"the output {path} is a folder: name a file in it")
    if any(_same(path, each) for each in inputs):
        raise InputError(f"the output {path} is also an input: choose another name")
    if not force:
        check_free(path)
    files.check_writable(path.parent)


def check_free(path: Path) -> None:
    """Raises InputError if there is something at `path` already."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists: choose another name, or --force to overwrite it")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (
        one.exists() and other.exists() and one.samefile(other)
    )


def numbered(output: Path, step: int) -> Path:
    """Returns where the picture after a step goes: result.png becomes result-0050.png."""
    return output.with_name(f"{output.stem}-{step:04d}{output.suffix}")


def check_numbered(output: Path, *, every: int, steps: int, force: bool) -> None:
    """Raises InputError if one of the numbered pictures to come exists already."""
    if every and not force:
        for step in range(every, steps + 1, every):
            check_free(numbered(output, step))
