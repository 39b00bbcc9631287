"""The page of a sweep: one static file beside the pictures, which needs no network."""

import html
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from jaxstyle.curves import chart, small_charts
from jaxstyle.sweepfolder import JUDGED, TERMS, Entry, judged_of, picture_path, samples_of

MOST_SAMPLES = 4
"""Of contents, and of styles, at the page's head."""


def page(folder: Path, entries: Sequence[Entry]) -> bytes:
    """Returns the HTML page of a sweep: a sortable table with thumbnails, and the loss curves.

    Args:
      folder: of the sweep; the page names files relative to it.
      entries: its runs, see `summary.gather`.
    """
    names = list(dict.fromkeys(name for each in entries for name, _ in each["labels"]))
    judged = JUDGED if any(map(judged_of, entries)) else ()
    heads = ["picture", *names, *TERMS, *judged, "total by step", "seconds", "device", "status"]
    charts = small_charts(entries)
    failed = sum(each["failure"] is not None for each in entries)
    text = Template(resources.files("jaxstyle").joinpath("page.html").read_text("utf-8"))
    return text.substitute(
        title=html.escape(f"{len(entries)} pictures: {', '.join(names)}"),
        about=html.escape(_about(entries)),
        alarm=f'<p class="alarm">{failed} failed</p>' if failed else "",
        samples=_samples(folder, entries),
        chart=chart(entries),
        heads="".join(f"<th><button>{html.escape(each)}</button></th>" for each in heads),
        rows="\n".join(_row(*each, names, judged) for each in zip(entries, charts, strict=True)),
    ).encode("utf-8", "replace")


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
        found = list(samples_of(folder, entries, kind).items())[:MOST_SAMPLES]
        figures += [_sample(f"{kind}: {name}", path, folder) for name, path in found]
    return "\n".join(figures)


def _sample(caption: str, path: Path, folder: Path) -> str:
    source = quote(str(path.relative_to(folder).as_posix()))
    said = html.escape(caption)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def _row(entry: Entry, small_chart: str, names: Sequence[str], judged: Sequence[str]) -> str:
    labels, run = dict(entry["labels"]), entry["run"]
    file = html.escape(quote(str(picture_path(Path(), entry["name"]))))
    picture = f'<a href="{file}"><img loading="lazy" src="{file}" alt=""></a>'
    total = _number(run["losses"]["total"])
    failure = entry["failure"]
    cells = [
        _cell(entry["number"], picture),
        *(_cell(labels.get(name, ""), html.escape(labels.get(name, ""))) for name in names),
        *(_cell(*[_number(run["losses"][term])] * 2) for term in TERMS),
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
