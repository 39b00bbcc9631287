"""Paths as people type them: `~`, file://, patterns, Windows' paths, Unicode in either form."""

import contextlib
import difflib
import itertools
import os
import re
import unicodedata
from pathlib import Path

from jaxstyle.errors import InputError

STANDARD = Path("-")
"""Standard input or output; a file of this name is ./- to people, and its absolute path here."""

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//)?")
DRIVE = re.compile(r"([A-Za-z]):[\\/]+(.*)", re.DOTALL)
OTHER_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"

MOST_NAMES = 10_000
"""So many names of a folder are looked at for one that was meant."""

PATTERN = re.compile(r"[*?\[]")

PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
)
"""Which files in a folder are its style pictures, but for those whose names begin with a dot."""


def read_path(text: str) -> Path:
    """Returns the path that a text means; a file of exactly this name comes before all else.

    Raises:
      InputError: an address, a user that is not there, a path of Windows elsewhere, or characters
        that no file name can have.
    """
    if not text:
        raise InputError("has no name: give the path of a file")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InputError(f"{text} has characters that no file name can have here") from None
    if os.path.lexists(text):
        return _path(text)
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        return read_path(text[1:-1])
    address = ADDRESS.match(text)
    if address and address[1].lower() == "file" and text[5:6] == "/":
        text = _of_file_address(text)
    elif address and address[2]:
        raise InputError(
            f"{text} is an address: download it first, or give - and its bytes on standard input"
        )
    if text.startswith("~"):
        text = _of_home(text)
    for meant in (os.path.expandvars(text), text.replace("\\ ", " ")):  # which a shell left
        if os.path.lexists(meant):
            return _path(meant)
    if os.name != "nt":
        text = _of_windows(text)
    return _in_either_form(_path(text))


def read_paths(text: str) -> tuple[Path, ...]:
    """Returns the paths that a text means: of a pattern that the shell has left, all that match.

    Raises:
      InputError: see `read_path`.
    """
    path = read_path(text)
    return matches(path) or (path,)


def read_output(text: str) -> tuple[Path, bool]:
    """Returns the path that a text means, and whether it says itself that it is a folder.

    Raises:
      InputError: see `read_path`; or it is empty.
    """
    if not text:
        raise InputError("has no name: give one, or a folder such as ./")
    return read_path(text), text.endswith(("/", os.sep))


def matches(path: Path) -> tuple[Path, ...]:
    """Returns what a pattern such as `*.jpg` matches, by name; nothing of any other path."""
    if os.path.lexists(path) or not PATTERN.search(str(path)):
        return ()
    start, shows_hidden = Path(path.anchor), path.name.startswith(".")
    try:
        found = sorted(start.glob(str(path.relative_to(start))))
    except (OSError, ValueError):  # no pattern
        return ()
    return tuple(each for each in found if shows_hidden or not each.name.startswith("."))


def pictures_at(path: Path) -> tuple[Path, ...]:
    """Returns the pictures in a folder, by name, or the file itself; see `request.style_files`."""
    is_folder = False
    with contextlib.suppress(OSError, ValueError):  # of a name that cannot be one
        is_folder = path.is_dir()
    if not is_folder:
        return (path,)
    try:
        found = sorted(filter(_is_picture, path.iterdir()))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise InputError(f"the folder {path} has no pictures ({' '.join(PICTURE_SUFFIXES)})")
    return tuple(found)


def _is_picture(path: Path) -> bool:
    """Whether a file's name is a picture's; hidden ones are notes of the system beside them."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def read_word_or_path(text: str) -> str:
    """Returns a word as it is, or the path that a text means where that is another."""
    path = read_path(text)
    return text if path == Path(text) else str(path)


def why_missing(path: Path) -> str:
    """Returns what may help with a path at which nothing is, to be put behind "does not exist"."""
    found = matches(path)
    if found:
        those = f"{len(found)} files match" if len(found) > 1 else f"{found[0]} matches"
        return f"; {those}: name one, or several with --sweep or --style"
    if "*" in path.name or "?" in path.name:
        return ", nor does anything match it"
    if str(path)[0] in OTHER_DASHES:
        return "; it begins with another dash than -, as text programs put it: type it anew"
    if path.is_symlink():
        return f"; it is a link to {path.readlink()}, which is not there"
    if "\\" in str(path) and os.name != "nt":
        return "; here / separates folders"
    return _near(path)


def _near(path: Path) -> str:
    """Returns a question after a file beside a missing one that may be meant, or nothing."""
    try:
        names = [each.name for each in itertools.islice(path.parent.iterdir(), MOST_NAMES)]
    except (OSError, ValueError):
        return ""
    for alike in (str.strip, str.casefold, lambda name: Path(name).stem.casefold()):
        for name in sorted(names):
            if alike(name) == alike(path.name) and _is_picture(path.with_name(name)):
                return f"; did you mean {path.with_name(name)}?"
    stems = {Path(name).stem: name for name in sorted(names)}
    near = difflib.get_close_matches(path.stem, stems, n=1)
    return f"; did you mean {path.with_name(stems[near[0]])}?" if near else ""


def _path(text: str) -> Path:
    """Returns a text as a path; only `-` itself is `STANDARD`."""
    path = Path(text)
    return path.absolute() if path == STANDARD and text != "-" else path


def _of_file_address(text: str) -> str:
    """Returns the path in a file:// address."""
    from urllib.parse import unquote  # which few need

    host, slash, rest = text.partition(":")[2].removeprefix("//").partition("/")
    if host not in ("", "localhost") or not slash:
        raise InputError(f"{text} is a file of another machine: give its path on this one")
    rest = unquote(rest)
    return rest if DRIVE.match(rest) else f"/{rest}"


def _of_home(text: str) -> str:
    """Returns a text that begins with `~` or `~user` with the folder that it means."""
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        if "/" not in text:  # a name of its own
            return text
        raise InputError(f"{text}: there is no user {text.partition('/')[0][1:]}") from None


def _of_windows(text: str) -> str:
    """Returns a path of Windows as it is here, where its folder is here; any other text as it is.

    Raises:
      InputError: it begins with a drive or a server that is not here.
    """
    drive = DRIVE.fullmatch(text)
    mounted = ""
    if drive:  # as WSL has it
        mounted = f"/mnt/{drive[1].lower()}/" + drive[2].replace("\\", "/")
    elif "\\" in text and not text.startswith("\\"):
        mounted = text.replace("\\", "/")
    if mounted and Path(mounted).parent.is_dir():
        return mounted
    if text.startswith("\\\\") or (drive and (text[2] == "\\" or not Path(text).parent.is_dir())):
        raise InputError(
            f"{text} is a path of Windows: give the one that this system has for it, such as"
            " /mnt/c/pictures/photo.png"
        )
    return text


def _in_either_form(path: Path) -> Path:
    """Returns a path with every name as it is on disk, composed or decomposed, where it is."""
    if str(path).isascii():
        return path
    found = Path(path.anchor)
    for name in path.relative_to(path.anchor).parts:
        found /= _name_in(found, name)
    return found


def _name_in(folder: Path, name: str) -> str:
    if name.isascii() or os.path.lexists(folder / name):
        return name
    form = unicodedata.normalize("NFC", name)
    with contextlib.suppress(OSError, ValueError):
        for each in sorted(folder.iterdir()):
            if unicodedata.normalize("NFC", each.name) == form:
                return each.name
    return name
