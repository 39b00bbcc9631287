"""Results as files: which kinds there are, new names, and numbered pictures beside them."""

import re
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from jaxstyle import files
from jaxstyle.errors import InputError

FORMATS = {
    **{"png": ".png", "jpeg": ".jpg", "jpg": ".jpg", "webp": ".webp"},
    **{"tiff": ".tif", "tif": ".tif", "avif": ".avif"},
}
"""Kinds of picture files by the names that they go by, and how such a file's name ends."""

LONGEST_SIDES = {
    **{".png": 2**31 - 1, ".jpg": 65500, ".jpeg": 65500, ".webp": 16383},
    **{".tif": 2**31 - 1, ".tiff": 2**31 - 1, ".avif": 65535},
}
"""The picture files that can be written, and how many pixels their sides can have at most."""

OPAQUE_SUFFIXES = (".jpg", ".jpeg")
"""Those of them that cannot be transparent."""

BESIDE = {"log": (".csv",), "plot": (".png", ".svg", ".pdf"), "film": (".mp4", ".gif", ".webp")}
"""What can be written beside the result, and how its name ends."""

EXTRAS = {"plot": "matplotlib", ".mp4": "imageio_ffmpeg"}
"""The modules that some of these need."""

PLOT_MARK = "jaxstyle plot"
"""Is in the file of every plot, so that one of a sweep that grows replaces no other file."""

_OTHER_ENDS = {".jpeg": ".jpg", ".tiff": ".tif"}


def check_beside(name: str, path: Path) -> None:
    """Raises InputError if one of the files in `BESIDE` cannot be of that kind, or not here."""
    files.check_suffix(f"the {name}", path, BESIDE[name])
    module = EXTRAS.get(path.suffix.lower() if name == "film" else name)
    if module and util.find_spec(module) is None:
        raise InputError(f"--{name} {path} needs {module}: pip install 'jaxstyle[{name}]'")


def default_output(
    folder: Path, stem: str, suffix: str, *, beside: Sequence[str], resumes: bool
) -> Path:
    """Returns a new name in a folder, which need not exist.

    Args:
      folder: where.
      stem: how the name begins.
      suffix: how it ends.
      beside: how the names of its checkpoints end, of which none may be there.
      resumes: to return instead the name of the run that was interrupted last, if there is one.
    """
    if resumes and folder.is_dir():
        name, ends = re.escape(files.short(stem)), "|".join(map(re.escape, beside))
        pattern = rf"({name}(?:-\d+)?{re.escape(suffix)})(?:{ends})"
        found = [
            (p, match[1]) for p in folder.iterdir() if (match := re.fullmatch(pattern, p.name))
        ]
        if found:
            return folder / max(found, key=lambda each: each[0].lstat().st_mtime)[1]
    return files.fresh_path(folder, stem, suffix, beside=beside)


def check_format(output: Path, kind: str | None) -> None:
    """Raises InputError if a name says another kind of picture file than was asked for."""
    suffix = output.suffix.lower()
    if kind is not None and _OTHER_ENDS.get(suffix, suffix) != FORMATS[kind]:
        raise InputError(f"--format {kind} and the name {output} contradict each other")


def numbered(output: Path, step: int) -> Path:
    """Returns where the picture after a step goes: result.png becomes result-0050.png."""
    return output.with_name(f"{output.stem}-{step:04d}{output.suffix}")


def numbered_step(name: str, output: Path) -> int:
    """Returns the step of a numbered picture by its name, 0 if it is none of this output's."""
    pattern = rf"{re.escape(output.stem)}-(\d{{4,10}}){re.escape(output.suffix)}"
    match = re.fullmatch(pattern, name)
    step = int(match[1]) if match else 0
    return step if numbered(output, step).name == name else 0


def check_encodable(size: tuple[int, int], output: Path) -> None:
    """Raises InputError if a picture of (H, W) cannot be written as a file of that kind."""
    longest = LONGEST_SIDES[output.suffix.lower()]
    if max(size) > longest:
        raise InputError(
            f"a {output.suffix} file has at most {longest} pixels each way, not"
            f" {size[0]}x{size[1]}: choose a smaller --size, or .png"
        )
