"""Plots: of a run its losses and its learning rate by step, of several runs their losses."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.machine.process import unbreakable
from jaxstyle.runs.log import OTHER_COLUMNS
from jaxstyle.runs.output_name import PLOT_MARK

Curves = Mapping[str, Sequence[float | None]]
"""Of a run, by term, the weighted loss before each step; None where it is no number."""

MOST_DECADES = 5
"""Of losses that a plot shows: content begins near 0, and would flatten all else."""

MOST_NAMED = 12
"""Most runs that a legend names."""


def write_plot(path: Path, log: str, *, overwrite: bool) -> None:
    """Writes the plot of a log whole or not at all, as the kind of file that its name asks for.

    Args:
      path: .png, .svg or .pdf.
      log: with its header and a row at least, see `log.Log`.
      overwrite: whether a file that is there may be replaced.

    Raises:
      OSError: it cannot be written.
    """
    _write(path, figure_of(log), overwrite=overwrite)


def write_curves(path: Path, runs: Mapping[str, Curves]) -> None:
    """Writes the plot of several runs, see `figure_of_runs`, over one that may be there.

    Args:
      path: .png, .svg or .pdf.
      runs: their curves by name.

    Raises:
      OSError: it cannot be written.
    """
    _write(path, figure_of_runs(runs), overwrite=True)


def _write(path: Path, figure: Any, *, overwrite: bool) -> None:
    data, kind = io.BytesIO(), path.suffix[1:].lower()
    mark = {"Software" if kind == "png" else "Creator": PLOT_MARK}
    figure.savefig(data, format=kind, metadata=mark)
    with unbreakable():
        files.write_whole(path, data.getvalue(), overwrite=overwrite)


def figure_of(log: str) -> Any:
    """Returns a matplotlib figure of a log: above the losses, below the learning rate.

    Without pyplot, which would choose a window system and keep the figure.
    """
    from matplotlib.figure import Figure  # an extra, and slow to import

    rows = list(csv.DictReader(io.StringIO(log)))
    steps = [int(row["step"]) for row in rows]
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name in (name for name in rows[0] if name not in OTHER_COLUMNS):
        width = 2.5 if name == "total" else 1.2
        label = name.replace("_", " ")
        losses.plot(steps, [float(row[name]) for row in rows], label=label, linewidth=width)
    _set_decades(losses)
    losses.set_ylabel("weighted loss")
    losses.legend()
    rate.plot(steps, [float(row["learning_rate"]) for row in rows], color="black")
    rate.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    _mark_levels(losses, rate, rows)
    return figure


def _set_decades(axes: Any) -> None:
    """Scales losses by decades, `MOST_DECADES` of them at most."""
    axes.set_yscale("log", nonpositive="mask")
    low, high = axes.get_ylim()
    axes.set_ylim(bottom=max(low, high / 10**MOST_DECADES))


def _mark_levels(losses: Any, rate: Any, rows: list[dict[str, str]]) -> None:
    """Draws a line where a level begins, with its size."""
    begun = [rows[0], *(row for before, row in pairwise(rows) if before["size"] != row["size"])]
    for row in begun:
        step = int(row["step"])
        for axes in (losses, rate):
            axes.axvline(step, color="grey", linewidth=0.8, linestyle=":")
        losses.text(
            *(step, 1.01, row["size"]),
            transform=losses.get_xaxis_transform(),
            fontsize="x-small",
            rotation=30,
        )


def figure_of_runs(runs: Mapping[str, Curves]) -> Any:
    """Returns a matplotlib figure of several runs: a panel for each term, a line for each run.

    The first run is the darkest line, the last the brightest.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    terms = list(dict.fromkeys(term for curves in runs.values() for term in curves))
    figure = Figure(figsize=(10, 7), dpi=120, layout="constrained")
    panels = figure.subplots(-(-max(len(terms), 1) // 2), 2, sharex=True, squeeze=False).ravel()
    colors = colormaps["viridis"]
    for number, (name, curves) in enumerate(runs.items()):
        color = colors(0.9 * number / max(len(runs) - 1, 1))
        for panel, term in zip(panels, terms, strict=False):
            values = [math.nan if each is None else each for each in curves.get(term, ())]
            steps = range(1, len(values) + 1)
            panel.plot(steps, values, color=color, label=name, linewidth=1.2)
    for panel, term in zip(panels, terms, strict=False):
        _set_decades(panel)
        panel.set(title=term.replace("_", " "), xlabel="step", ylabel="weighted loss")
    for panel in panels[len(terms) :]:
        panel.set_visible(False)
    if 0 < len(runs) <= MOST_NAMED:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
