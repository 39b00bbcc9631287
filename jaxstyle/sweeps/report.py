"""What a sweep found, gathered from its folder: the table, the contact sheet and the page.

The page is one static file beside the pictures, which needs no network; its curves are SVG. Its
style sheet, look.css, is that of all pages.
"""

import csv
import html
import io
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from urllib.parse import quote

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.machine.process import unbreakable
from jaxstyle.runs.record import own_defaults
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.text import as_text
from jaxstyle.sweeps.folder import (
    JUDGED,
    Entry,
    judged_of,
    loss_names,
    losses_and_saved,
    names_in,
    picture_path,
    read_entry,
    samples_of,
)
from jaxstyle.sweeps.sheet import contact_sheet

WIDTH, HEIGHT = 1200, 280
LEFT, BOTTOM, TOP = 56, 30, 10
"""Margins for the chart's numbers, in the same unit."""

MOST_POINTS = 60_000
"""Most points of all curves together; a page of many runs draws each with fewer."""

MOST_PAGE_SAMPLES = 4
"""Most contents, and most styles, that the page's head shows."""

SETTING_COLUMNS = {
    name: "style_loss_kind" if name == "style_loss" else name
    for name in ("preset", "init", "seed", *field_names(Recipe), *field_names(Hyperparams))
}
"""The columns of the settings by name; `style_loss` is the column of the loss's value."""

COLUMNS = (
    *("number", "file", "status", "content", "style", "weights"),
    *SETTING_COLUMNS.values(),
)
"""The table's first columns; the losses of the runs follow, NAME_loss."""

ENDING = ("painted_size", "steps_done", "seconds", "device")
"""The table's last columns; the judge's come before them, if it was asked about any run."""


class _Scale(NamedTuple):
    """The map from steps and losses, in decades, to a chart of this width and height."""

    last: int
    """The last step."""
    low: float
    """The decade at the bottom, a logarithm."""
    high: float
    width: float
    height: float

    def point(self, step: int, loss: float) -> str:
        x = (step - 1) / max(self.last - 1, 1) * self.width
        y = (self.high - math.log10(loss)) / (self.high - self.low) * self.height
        return f"{x:.4g},{y:.4g}"


def chart(entries: Sequence[Entry]) -> str:
    """Returns one SVG of all runs' total losses by step; empty where there is nothing to draw."""
    scale = _scale(entries, WIDTH - LEFT, HEIGHT - TOP - BOTTOM)
    if scale is None:
        return ""
    lines = []
    for decade in range(math.ceil(scale.low), math.floor(scale.high) + 1):
        y = (scale.high - decade) / (scale.high - scale.low) * scale.height
        lines.append(f'<line x1="0" x2="{scale.width}" y1="{y:.4g}" y2="{y:.4g}"/>')
        lines.append(f'<text x="-8" y="{y + 4:.4g}" text-anchor="end">{10.0**decade:g}</text>')
    for step in sorted({1, *(round(scale.last * i / 4) for i in range(1, 5))} - {0}):
        x = (step - 1) / max(scale.last - 1, 1) * scale.width
        place = f'x="{x:.4g}" y="{scale.height + 20}"'
        lines.append(f'<text {place} text-anchor="{"end" if x else "start"}">step {step}</text>')
    lines.append(f'<text x="{scale.width}" y="12" text-anchor="end">weighted total loss</text>')
    curves = [
        f'<polyline data-run="{each["number"]}" points="{_points(each, scale, len(entries))}"/>'
        for each in entries
    ]
    return (
        f'<svg id="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' aria-label="weighted total loss by step">'
        f'<g transform="translate({LEFT} {TOP})">{"".join(lines)}{"".join(curves)}</g></svg>'
    )


def small_charts(entries: Sequence[Entry]) -> list[str]:
    """Returns for each run an SVG of its total loss by step, all to one scale."""
    scale = _scale(entries, 120, 34)
    if scale is None:
        return [""] * len(entries)
    return [
        '<svg viewBox="-1 -1 122 36" aria-hidden="true">'
        f'<polyline points="{_points(each, scale, 20 * len(entries))}"/></svg>'
        for each in entries
    ]


def _scale(entries: Sequence[Entry], width: float, height: float) -> _Scale | None:
    """Returns the scale that holds all curves."""
    totals = [each["curves"]["total"] for each in entries]
    losses = [loss for total in totals for loss in total if loss]
    if not losses:
        return None
    low, high = math.log10(min(losses)), math.log10(max(losses))
    return _Scale(max(map(len, totals)), low - 0.05, high + 0.05, width, height)


def _points(entry: Entry, scale: _Scale, curves: int) -> str:
    """Returns a curve's points; of a long one, every n-th and the last."""
    total = entry["curves"]["total"]
    stride = max(1, len(total) * curves // MOST_POINTS, len(total) // 400)
    steps = sorted({*range(0, len(total), stride), len(total) - 1} - {-1})
    return " ".join(scale.point(i + 1, total[i]) for i in steps if total[i])


def page(folder: Path, entries: Sequence[Entry]) -> bytes:
    """Returns the HTML page of a sweep: a sortable table with thumbnails, and the loss curves.

    Args:
      folder: of the sweep; the page names files relative to it.
      entries: its runs, see `report.gather`.
    """
    names = list(dict.fromkeys(name for each in entries for name, _ in each["labels"]))
    judged = JUDGED if any(map(judged_of, entries)) else ()
    losses = loss_names(entries)
    heads = ["picture", *names, *losses, *judged, "total by step", "seconds", "device", "status"]
    charts = small_charts(entries)
    failed = sum(each["failure"] is not None for each in entries)
    text, look = (
        resources.files("jaxstyle.sweeps").joinpath(name).read_text("utf-8")
        for name in ("page.html", "look.css")
    )
    return (
        Template(text)
        .substitute(
            look=look.rstrip(),
            title=html.escape(f"{len(entries)} pictures: {', '.join(names)}"),
            about=html.escape(_about(entries)),
            alarm=f'<p class="alarm">{failed} failed</p>' if failed else "",
            samples=_samples(folder, entries),
            chart=chart(entries),
            heads="".join(f"<th><button>{html.escape(each)}</button></th>" for each in heads),
            rows="\n".join(
                _html_row(*each, names, losses, judged)
                for each in zip(entries, charts, strict=True)
            ),
        )
        .encode("utf-8", "replace")
    )


def _about(entries: Sequence[Entry]) -> str:
    kinds = {
        kind: sorted({str(each["run"][kind]["name"]) for each in entries})
        for kind in ("content", "style", "weights")
    }
    told = [f"{kind} {', '.join(names)}" for kind, names in kinds.items() if len(names) <= 3]
    return "; ".join([*told, "losses are weighted; click a picture for its full size"])


def _samples(folder: Path, entries: Sequence[Entry]) -> str:
    """Returns the contents and styles as figures; the first few, if there are many."""
    figures = []
    for kind in ("content", "style"):
        found = list(samples_of(folder, entries, kind).items())[:MOST_PAGE_SAMPLES]
        figures += [_sample(f"{kind}: {name}", path, folder) for name, path in found]
    return "\n".join(figures)


def _sample(caption: str, path: Path, folder: Path) -> str:
    source = quote(str(path.relative_to(folder).as_posix()))
    said = html.escape(caption)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def _html_row(
    entry: Entry,
    small_chart: str,
    names: Sequence[str],
    losses: Sequence[str],
    judged: Sequence[str],
) -> str:
    labels, run = dict(entry["labels"]), entry["run"]
    file = html.escape(quote(str(picture_path(Path(), entry["name"]))))
    picture = f'<a href="{file}"><img loading="lazy" src="{file}" alt=""></a>'
    total = _number(run["losses"]["total"])
    failure = entry["failure"]
    cells = [
        _cell(entry["number"], picture),
        *(_cell(labels.get(name, ""), html.escape(labels.get(name, ""))) for name in names),
        *(_cell(*[_number(losses_and_saved(entry).get(name))] * 2) for name in losses),
        *(_cell(*[_number(judged_of(entry).get(name))] * 2) for name in judged),
        _cell(total, small_chart),
        _cell(entry["seconds"], f"{entry['seconds']:.1f}"),
        _cell(html.escape(entry["device"]), html.escape(entry["device"])),
        _cell(failure or "ok", _status(entry)),
    ]
    told = html.escape(f"total loss {total or 'unknown'}, {entry['seconds']:.1f} s")
    name = html.escape(entry["name"])
    return (
        f'<tr data-run="{entry["number"]}" data-name="{name}" data-told="{told}">'
        f"{''.join(cells)}</tr>"
    )


def _status(entry: Entry) -> str:
    if entry["failure"] is None:
        return "ok"
    why = html.escape(entry["failure"])
    return f'<span class="alarm" title="{why}">NaN at step {entry["failed_step"]}</span>'


def _cell(key: Any, inner: str) -> str:
    kind = ' class="number"' if _is_number(key) else ""
    return f'<td{kind} data-key="{html.escape(str(key))}">{inner}</td>'


def _is_number(key: Any) -> bool:
    try:
        float(key)
    except ValueError:
        return False
    return True


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


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


def summarize(folder: Path, entries: Sequence[Entry]) -> None:
    """Writes the summaries of these runs, `SUMMARIES`, into their folder."""
    made = {
        "sweep.csv": table(entries),
        "sheet.png": contact_sheet(folder, entries),
        "index.html": page(folder, entries),
    }
    for name, data in made.items():
        with unbreakable():
            files.write_whole(folder / name, data, overwrite=True)


def gather_and_summarize(folder: Path, names: Sequence[str] | None = None) -> list[Entry]:
    """Writes the summaries of what is in a sweep's folder and returns its records, see `gather`.

    Another process that has just finished a run may have written newer summaries, which these have
    replaced. So they are made again until nothing is new.
    """
    entries = gather(folder, names)
    summarize(folder, entries)
    while (now := gather(folder, names)) != entries:
        entries = now
        summarize(folder, entries)
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
    losses = [f"{name}_loss" for name in loss_names(entries)]
    rows = csv.DictWriter(text, (*COLUMNS, *losses, *judged, *ENDING))
    rows.writeheader()
    rows.writerows(_row(each) for each in entries)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _row(entry: Entry) -> dict[str, Any]:
    run = entry["run"]
    known = run["settings"]
    known = {**own_defaults(), **known}  # a record may lack a setting that came later
    settings = {column: _text(known.get(name)) for name, column in SETTING_COLUMNS.items()}
    losses = {f"{name}_loss": value for name, value in losses_and_saved(entry).items()}
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
    return as_text(tuple(value) if isinstance(value, list) else value)
