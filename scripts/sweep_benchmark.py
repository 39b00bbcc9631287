"""Times a sweep of N settings on one device against N single runs; for `benchmark.py --sweep`.

Both are whole commands, from the start of Python to the written pictures. Each begins with an empty
cache and so compiles: the sweep once, the single runs once each. They take turns; figures are
medians over the turns.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from whole_runs import timed_run

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STEPS = 20


def measure_sweeps(counts: Sequence[int], size: str, turns: int) -> Iterator[dict[str, Any]]:
    """Yields a row for every number of settings.

    Args:
      counts: of settings.
      size: of the pictures, as `--size` takes it.
      turns: how often to measure both.
    """
    _seconds(size)  # the first run finds nothing in memory
    for count in counts:
        weights = [str(1000.0 * (i + 1)) for i in range(count)]
        swept, single = [], []
        for _ in range(turns):
            swept.append(_seconds(size, "--sweep", "style-weight", *weights, "--devices", "1"))
            single.append(sum(_seconds(size, "--style-weight", weight) for weight in weights))
        ratios = [a / b for a, b in zip(single, swept, strict=True)]
        yield {
            "what": "sweep",
            "settings": count,
            "size": size,
            "weights": "embedded",
            "sweep_seconds_per_setting_and_step": _each(swept, count),
            "single_seconds_per_setting_and_step": _each(single, count),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(each, 2) for each in ratios],
        }


def _each(seconds: Sequence[float], count: int) -> float:
    return round(statistics.median(seconds) / count / STEPS, 4)


def _seconds(size: str, *flags: str) -> float:
    """Returns how long a run takes, with an empty cache and an empty folder for its results."""
    pair = EXAMPLES / "coffee.png", EXAMPLES / "strokes.png"
    given = ["--steps", str(STEPS), "--device", "cpu", *flags]
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/{'out' if '--sweep' in flags else 'out.png'}"
        return timed_run(pair, size, *given, "-o", output, cache=f"{folder}/cache")[0]
