"""Times a sweep of N settings on one device against N single runs, each in a process of its own.

    python scripts/benchmark_sweep.py 1 2 4 8 --size 128 --steps 20

Both are whole commands from the start of Python to the written picture, compilation included.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def command(folder: Path, arguments: argparse.Namespace, *flags: str) -> list[str]:
    """Returns the command line of a run into `folder`."""
    base = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]
    base += ["--weights", arguments.weights, "--size", str(arguments.size), "--scales", "1"]
    base += ["--steps", str(arguments.steps), "--device", "cpu", "--quiet", *flags]
    return [sys.executable, "-m", "jaxstyle.run", *base, "-o", str(folder)]


def seconds_of(commands: list[list[str]]) -> float:
    """Returns how long the commands take, one after another."""
    started = time.perf_counter()
    for each in commands:
        subprocess.run(each, check=True, capture_output=True)
    return time.perf_counter() - started


def compare(count: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Returns the seconds of a sweep of so many settings, and of as many single runs."""
    weights = [str(1000.0 * (i + 1)) for i in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = ["--sweep", "style-weight", *weights, "--devices", "1"]
        swept = seconds_of([command(folder / "out", arguments, *flags)])
        singles = [
            command(folder / f"{weight}.png", arguments, "--style-weight", weight)
            for weight in weights
        ]
        return swept, seconds_of(singles)


def main() -> None:
    """Prints a line for every number of settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="+", help="numbers of settings")
    parser.add_argument("--size", type=int, default=128, help="of the pictures")
    parser.add_argument("--steps", type=int, default=20, help="of each setting")
    parser.add_argument("--weights", default="embedded", help="as for jaxstyle")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:  # the first run finds nothing in memory
        seconds_of([command(Path(name) / "first.png", arguments)])
    print("settings  sweep s/setting/step  single runs s/setting/step  ratio")
    for count in arguments.counts:
        swept, single = (each / count / arguments.steps for each in compare(count, arguments))
        print(f"{count:8}  {swept:20.3f}  {single:26.3f}  {single / swept:5.2f}", flush=True)


if __name__ == "__main__":
    main()
