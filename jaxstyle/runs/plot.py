"""The plot of a run: its losses by term and its learning rate by step, its levels marked."""

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxstyle import files
from jaxstyle.machine.process import unbreakable
from jaxstyle.runs.log import OTHER_COLUMNS


def write_plot(path: Path, log: str, *, overwrite: bool) -> None:
    """Writes the plot of a log whole or not at all, as the kind of file that its name asks for.

    Args:
      path: .png, .svg or .pdf.
      log: with its header and a row at least, see `log.Log`.
      overwrite: whether a file that is there may be replaced.

    Raises:
      OSError: it cannot be written.
    """
    data = io.BytesIO()
    figure_of(log).savefig(data, format=path.suffix[1:].lower())
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
    losses.set_yscale("log", nonpositive="mask")
    losses.set_ylabel("weighted loss")
    losses.legend()
    rate.plot(steps, [float(row["learning_rate"]) for row in rows], color="black")
    rate.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    _mark_levels(losses, rate, rows)
    return figure


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
