"""What a sweep found, gathered from its folder: the table, the contact sheet and the page."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.interrupt import unbreakable
from jaxstyle.page import page
from jaxstyle.recipe import Hyperparams, Recipe, field_names
from jaxstyle.sheet import contact_sheet
from jaxstyle.sweepfolder import JUDGED, TERMS, Entry, judged_of, names_in, picture_path, read_entry
from jaxstyle.texts import shown

SETTINGS = ("preset", "init", "seed", *field_names(Recipe), *field_names(Hyperparams))
COLUMNS = (
    *("number", "file", "status", "content", "style", "weights"),
    *SETTINGS,
    *(f"{term}_loss" for term in TERMS),
)
ENDING = ("painted_size", "steps_done", "seconds", "device")
"""Of the table's columns; before them those of the judge, if it was asked about any run."""


def gather(folder: Path, names: Iterable[str] | None = None) -> list[Entry]:
    """Returns the records of the runs that are in a sweep's folder, in the order of the grid.

    Args:
      folder: of the sweep.
      names: of the runs to look for; by default all that are there.

    Raises:
      InputError: it is not a sweep's folder, or none of these runs is there.
    """
    found = [read_entry(folder, name) for name in (names_in(folder) if names is None else names)]
    entries = sorted((each for each in found if each is not None), key=lambda e: e["number"])
    if not entries:
        raise InputError(f"no result is in {folder} yet")
    return entries


def summarise(folder: Path, entries: Sequence[Entry]) -> None:
    """Writes the summaries of these runs, `SUMMARIES`, into their folder."""
    made = {
        "sweep.csv": table(entries),
        "sheet.png": contact_sheet(folder, entries),
        "index.html": page(folder, entries),
    }
    for name, data in made.items():
        with unbreakable():
            files.write_whole(folder / name, data, overwrite=True)


def gather_and_summarise(folder: Path, names: Sequence[str] | None = None) -> list[Entry]:
    """Writes the summaries of what is in a sweep's folder and returns its records, see `gather`.

    Another process that has just finished a run may have written newer summaries meanwhile, which
    these have replaced: so until nothing is new, they are made again.
    """
    entries = gather(folder, names)
    summarise(folder, entries)
    while (now := gather(folder, names)) != entries:
        entries = now
        summarise(folder, entries)
    return entries


def overview(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Returns what `--json` prints of each run."""
    return [
        {
            "file": picture_path(Path(), each["name"]).name,
            "labels": dict(each["labels"]),
            **{key: each[key] for key in ("number", "failure", "seconds")},
            **({"judged": judged_of(each)} if judged_of(each) else {}),
            **each["run"],
        }
        for each in entries
    ]


def table(entries: Sequence[Entry]) -> bytes:
    """Returns a CSV file with a row for every run: settings, final losses, where and how long."""
    text = io.StringIO(newline="")
    judged = JUDGED if any(map(judged_of, entries)) else ()
    rows = csv.DictWriter(text, (*COLUMNS, *judged, *ENDING))
    rows.writeheader()
    rows.writerows(_row(each) for each in entries)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _row(entry: Entry) -> dict[str, Any]:
    run = entry["run"]
    settings = {name: _text(run["settings"].get(name)) for name in SETTINGS}
    losses = {f"{term}_loss": run["losses"][term] for term in TERMS}
    return {
        "number": entry["number"],
        "file": picture_path(Path(), entry["name"]),
        "status": entry["failure"] or "ok",
        **{name: run[name]["name"] for name in ("content", "style", "weights")},
        **settings,
        **{name: "nan" if value is None else f"{value:.9g}" for name, value in losses.items()},
        **{name: f"{value:.9g}" for name, value in judged_of(entry).items()},
        "painted_size": run["painted_size"],
        "steps_done": run["steps_done"],
        "seconds": entry["seconds"],
        "device": entry["device"],
    }


def _text(value: Any) -> str:
    """Returns a setting as it would be typed; JSON has lists for tuples."""
    return shown(tuple(value) if isinstance(value, list) else value)
