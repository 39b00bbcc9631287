"""Files that are written whole or not at all, names that are free, hashes, the cache folder."""

import contextlib
import errno
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from jaxstyle.errors import InputError

LONGEST_STEM = 200
"""Longest new name, in bytes: file systems allow 255, of which numbers and suffixes take some."""

PREVIOUS = ".previous"
"""Suffix of the file that was there before, where that is kept."""

HDF5_SUFFIXES = (".h5", ".hdf5")
TORCH_SUFFIXES = (".pth", ".pt")
"""Suffixes of weight files."""


REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "EXDEV", "ENOLCK")
)
"""What shares, sticks and mounts answer that take files, but not all that can be done to them."""


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Writes a file so that, whatever happens, it is either there whole or as it was before.

    Where a folder refuses permissions, links or renaming, it is written as well as can be.

    Args:
      path: where; its folder must exist.
      data: the file's whole content.
      overwrite: whether a file that is there may be replaced.

    Raises:
      FileExistsError: a file is there and `overwrite` is false.
      OSError: the folder is missing or cannot be written, or the disk is full.
    """
    # only the start of the name: with the rest, a long one would be too long for the file system
    prefix = f".{path.name[:40]}."
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            sync(file.fileno())
        with contextlib.suppress(OSError):  # the owner can read it
            part.chmod(0o666 & ~_umask())
        move_into_place(part, path, overwrite=overwrite)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def sync(handle: int) -> None:
    """Has the system bring an open file to its disk, where the file system knows how.

    Raises:
      OSError: the disk is full or fails.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise


def move_into_place(part: Path, path: Path, *, overwrite: bool) -> None:
    """Gives a finished file its name in one step; both lie in the same folder.

    Raises:
      FileExistsError: a file of that name is there and `overwrite` is false.
    """
    if overwrite:
        replace(part, path)
        return
    try:
        os.link(part, path)  # unlike a rename, this never replaces what is there
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        replace(part, path)


def replace(source: Path, target: Path) -> None:
    """Renames a file, in place of one that is there; where that is refused, copies its bytes.

    Raises:
      OSError: it is not there, or the disk is full or cannot be written. The source is there still.
    """
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno not in REFUSALS | {errno.EEXIST}:
            raise
        _copy(source, target)
        with contextlib.suppress(OSError):
            source.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copies a file's bytes, not in one step; what is left of a new one that fails goes."""
    is_new = not os.path.lexists(target)
    try:
        shutil.copyfile(source, target)
    except OSError:
        if is_new:
            with contextlib.suppress(OSError):
                target.unlink()
        raise


def _umask() -> int:
    """Returns the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def short(stem: str, longest: int = LONGEST_STEM) -> str:
    """Returns a name's start of at most so many bytes, which leaves room for more behind it."""
    while len(os.fsencode(stem)) > longest:
        stem = stem[:-1]
    return stem


def fresh_path(folder: Path, stem: str, suffix: str, *, beside: Sequence[str] = ()) -> Path:
    """Returns `folder/stem.suffix`, or with -2, -3, ... before the suffix if that is taken.

    A stem that leaves no room for more in a file's name is cut short.

    Args:
      folder: where.
      stem: how the name begins.
      suffix: how it ends.
      beside: a name is also taken if there is a file of that name and one of these endings.
    """
    stem, ends = short(stem), ("", *beside)
    names = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    paths = (folder / f"{name}{suffix}" for name in names)
    # lexists: a symlink to nowhere is taken as well
    return next(p for p in paths if not any(os.path.lexists(f"{p}{end}") for end in ends))


def previous(path: Path) -> Path:
    """Returns the name of the file that was there before, where that is kept."""
    return path.parent / f"{path.name}{PREVIOUS}"


def check_suffix(what: str, path: Path, suffixes: Collection[str]) -> None:
    """Raises InputError, with what it is, if a file's name ends in none of the suffixes."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{what} {path} must end in {' or '.join(suffixes)}")


def check_writable(folder: Path) -> None:
    """Raises InputError if no file can be made in `folder`, as `write_whole` makes them."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist: make it first"
        raise InputError(f"the folder {folder} {what}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in REFUSALS and _takes_files(folder):
            return
        raise InputError(f"cannot write in the folder {folder}: {error.strerror}") from None


def _takes_files(folder: Path) -> bool:
    """Whether a file can be written in a folder; it may refuse to have it removed again."""
    probe = fresh_path(folder, ".jaxstyle", ".part")
    try:
        write_whole(probe, b"", overwrite=False)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        probe.unlink()
    return True


def takes_locks(folder: Path) -> bool:
    """Whether files in a folder can be locked; also true where that cannot be found out."""
    try:
        import fcntl  # not on Windows, where all can

        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # nobody else knows the file
                return False
    except (ImportError, OSError):
        pass
    return True


def sha256(path: Path) -> str:
    """Returns the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Returns the user's cache folder for jaxstyle; it need not exist.

    The environment variable JAXSTYLE_CACHE names another one.
    """
    if named := os.environ.get("JAXSTYLE_CACHE"):
        return Path(named)
    import platformdirs  # not needed by those who name a folder, or have no use for one

    return Path(platformdirs.user_cache_dir("jaxstyle", appauthor=False))


def check_named_hash(path: Path) -> None:
    """Checks a file's sha256 against the start of it in its name, as torch.hub does.

    Raises:
      InputError: the name carries one, as in vgg19-dcbb9e9d.pth, and the file has another.
    """
    start = hash_in_name(path)
    try:
        damaged = start and not sha256(path).startswith(start)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if damaged:
        raise InputError(
            f"{path} is damaged: its sha256 does not begin with {start}; delete it and get it again"
        )


def hash_in_name(path: Path) -> str | None:
    """Returns the start of a sha256 that a file's name carries, as torch.hub's files do."""
    match = re.fullmatch(r".*-([0-9a-f]{8,64})\.pth", path.name)
    return match[1] if match else None
