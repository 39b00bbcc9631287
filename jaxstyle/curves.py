"""Loss curves as SVG: all of a sweep in one chart, and each as a small one."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxstyle.sweepfolder import Entry

WIDTH, HEIGHT = 1200, 280
LEFT, BOTTOM, TOP = 56, 30, 10
"""Room for the chart's numbers, of the same unit."""

MOST_POINTS = 60_000
"""In all curves together; a page of many runs draws each with fewer."""


class _Scale(NamedTuple):
    """From steps and losses to a picture of this width and height; losses in decades."""

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
