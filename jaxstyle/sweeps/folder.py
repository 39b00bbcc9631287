"""The folder of a sweep: NAME.png and records/NAME.json for every run, and the summaries.

What else a run writes, such as its log, lies in runs/NAME.

A run's record is written after its picture, so what has a record is finished. Every file is
written whole or not at all, and a run's files have the same names in all shards, so that any
number of processes may work in one folder.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.runs.output_name import PLOT_MARK, check_beside

RECORDS = "records"
SAMPLES = "samples"
RUNS = "runs"
SUMMARIES = ("sweep.csv", "sheet.png", "index.html")

JUDGED = ("style_distance", "content_distance")
"""What the judge finds, where it was asked; in a record under "judged"."""

Entry = dict[str, Any]
"""What a run's record says."""

ENTRY_KEYS = (
    *("name", "number", "labels", "on_axes", "fingerprint", "picture_sha256"),
    *("failure", "failed_step", "seconds", "device", "curves", "run"),
)


def picture_path(folder: Path, name: str) -> Path:
    """Returns where the picture of a run is."""
    return folder / f"{name}.png"


def run_folder(folder: Path, name: str) -> Path:
    """Returns where a run's log, numbered pictures and checkpoints are."""
    return folder / RUNS / name


def own_output(folder: Path, name: str) -> Path:
    """Returns the path after which a run's numbered pictures and checkpoints are named.

    Nothing is written to it: the run's picture is at `picture_path`.
    """
    return run_folder(folder, name) / "picture.png"


def record_path(folder: Path, name: str) -> Path:
    """Returns where the record of a run is."""
    return folder / RECORDS / f"{name}.json"


def sample_path(folder: Path, sha256: str) -> Path:
    """Returns where a small copy of the content or style of this hash is."""
    return folder / RECORDS / SAMPLES / f"{sha256[:16]}.png"


def check_folder(folder: Path, *, force: bool) -> None:
    """Raises InputError if a sweep cannot or must not be written into `folder`, existing or not."""
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise InputError(
                f"the output {folder} is a file: a sweep needs a folder, new or its own"
            )
        there = next(
            each for each in (folder.absolute(), *folder.absolute().parents) if each.exists()
        )
        try:
            files.check_writable(there)
        except InputError:
            reason = f"the output {folder} cannot be made: {there} cannot be written"
            raise InputError(reason) from None
        if not (folder / RECORDS).is_dir() and not force:
            for name in (RECORDS, RUNS, *SUMMARIES):
                if os.path.lexists(folder / name):
                    raise InputError(
                        f"{folder / name} exists and is not of a sweep: choose another folder, or"
                        " --force to overwrite it"
                    )
    except OSError as error:
        raise InputError(f"the output {folder} cannot be used: {error.strerror}") from None


def check_curves(folder: Path, plot: Path | None, names: Iterable[str], *, force: bool) -> None:
    """Raises InputError if the plot of a sweep with runs of these names cannot be what it is named.

    Args:
      folder: of the sweep.
      plot: a name in it; None if no plot was asked for.
      names: of the runs.
      force: whether another file than an earlier plot may be replaced.
    """
    if plot is None:
        return
    check_beside("plot", plot)
    taken = {picture_path(Path(), name).name for name in names} | set(SUMMARIES)
    if plot.name in taken:
        raise InputError(f"--plot {plot}: the sweep has a file of that name; choose another")
    path = folder / plot
    if os.path.lexists(path) and not force and not _is_plot(path):
        raise InputError(
            f"{path} exists and is no plot: choose another name, or --force to overwrite it"
        )


def _is_plot(path: Path) -> bool:
    try:
        return PLOT_MARK.encode() in path.read_bytes()
    except OSError:
        return False


def make_folder(folder: Path) -> None:
    """Makes the folder of a sweep, if it is not there."""
    (folder / RECORDS / SAMPLES).mkdir(parents=True, exist_ok=True)


def read_entry(folder: Path, name: str) -> Entry | None:
    """Returns what the record of a run says, if the run is there whole: record and picture."""
    try:
        entry = json.loads(record_path(folder, name).read_text("utf-8"))
        picture = picture_path(folder, name)
        whole = entry["picture_sha256"] == files.sha256(picture)
        known = all(key in entry for key in ENTRY_KEYS)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if whole and known and entry.get("name") == name else None


def write_run(folder: Path, name: str, picture: bytes, entry: Entry, *, overwrite: bool) -> None:
    """Writes a run's picture, then its record.

    Args:
      folder: of the sweep.
      name: of the run.
      picture: the PNG file.
      entry: the content of its record; JSON.
      overwrite: whether a picture that is there may be replaced.

    Raises:
      FileExistsError: a picture is there.
      OSError: the disk is full, or the folder is gone.
    """
    path = record_path(folder, name)
    if overwrite:
        path.unlink(missing_ok=True)  # it is of the picture that is about to go
    files.write_whole(picture_path(folder, name), picture, overwrite=overwrite)
    write_record(folder, name, entry)


def write_record(folder: Path, name: str, entry: Entry) -> None:
    """Writes a run's record, in place of the one that is there."""
    data = json.dumps(entry, sort_keys=True).encode()
    files.write_whole(record_path(folder, name), data, overwrite=True)


def judged_of(entry: Entry) -> dict[str, float]:
    """Returns what the judge found of a run, by name; empty if it was not asked."""
    judged = entry.get("judged")
    return judged if isinstance(judged, dict) and set(judged) == set(JUDGED) else {}


def losses_and_saved(entry: Entry) -> dict[str, float | None]:
    """Returns the losses of a run, by name; with `as_saved`, the total of its file's picture."""
    run = entry["run"]
    saved = run.get("saved_losses")
    losses: dict[str, float | None] = run["losses"]
    return losses | ({} if saved is None else {"as_saved": saved["total"]})


def loss_names(entries: Sequence[Entry]) -> list[str]:
    """Returns the names of all losses of runs: the terms by alphabet, the totals."""
    names = {name for each in entries for name in losses_and_saved(each)}
    totals = {"as_saved", "total"}
    return [*sorted(names - totals), *sorted(names & totals)]


def names_in(folder: Path) -> list[str]:
    """Returns the names of all runs that have a record in the folder.

    Raises:
      InputError: it is not the folder of a sweep.
    """
    records = folder / RECORDS
    try:
        is_there = records.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    if not is_there:
        raise InputError(f"{folder} is not the folder of a sweep: it has no folder {RECORDS}")
    return sorted(path.stem for path in records.glob("*.json"))


def samples_of(folder: Path, entries: Sequence[Entry], kind: str) -> dict[str, Path]:
    """Returns small pictures of the contents or styles of runs, by file name.

    Args:
      folder: of the sweep.
      entries: its runs.
      kind: "content" or "style".
    """
    found: dict[str, Path] = {}
    for each in entries:
        path = sample_path(folder, each["run"][kind]["sha256"])
        if path not in found.values() and path.exists():
            found[each["run"][kind]["name"]] = path
    return found
