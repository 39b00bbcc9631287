"""Measure steps, start-up and time to a picture; compare with PyTorch in the same run.

    python scripts/benchmark.py                      steps of a full-width VGG-19
    python scripts/benchmark.py --against torch      beside two PyTorch programs, with ratios
    python scripts/benchmark.py --memory plain strips --sizes 1024x1024 --weights embedded
    python scripts/benchmark.py --memory strips --against torch-blocks --sizes 2048x2048 --turns 1 \
        --steps 1                                    strips beside SPST's blocks
    python scripts/benchmark.py --time-to-loss       from process start to the book's final loss
    python scripts/benchmark.py --start              how soon --help and a mistyped flag answer
    python scripts/benchmark.py --cold --sizes 448   where the time goes when nothing is kept yet
    python scripts/benchmark.py --sweep 1 2 4 8 --sizes 128x128      sweeps against single runs
    python scripts/benchmark.py --against pastiche --peer peer/bin/python --sizes 320
                                                     to a picture as good as pastiche's

Prints one JSON line per row. What is compared runs in processes of its own that take turns, a few
steps each, so that whatever else the machine does meets all of them; ratios are medians over the
turns. Step times are for random weights of VGG-19's widths unless --weights says otherwise, times
to a loss for the embedded VGG-19. `--against torch` needs torch (`pip install -e '.[reference]'`).
"""

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from cold_benchmark import measure_cold
from peer_benchmark import measure_against_pastiche
from sweep_benchmark import measure_sweeps
from whole_runs import timed_run

ROOT = Path(__file__).resolve().parents[1]
CONTENT, STYLE = ROOT / "examples/coffee.png", ROOT / "examples/strokes.png"
WIDTHS = (64, 128, 256, 512, 512)
SIZES = ["128x128", "300x450", "600x900"]
STEPS_A_TURN = 4
ROUNDING = 1e-4
"""How far the first losses of two programs may differ, relatively."""

OTHERS = {
    "torch": ["torch-tuned", "torch-listing"],
    "torch-tuned": ["torch-tuned"],
    "torch-listing": ["torch-listing"],
    "torch-blocks": ["torch-blocks"],
    "pastiche": [],
}
"""What jaxstyle can be measured against, with the programs that take turns with it in steps."""

Row = dict[str, Any]


def machine() -> Row:
    """Returns what the figures depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x.split(":")[1] for x in info.read_text().splitlines() if x[:10] == "model name"]
        cpu = names[0].strip() if names else cpu
    names = ("jax", "jaxlib", "numpy", "torch")
    installed = {each.metadata["Name"].lower() for each in metadata.distributions()}
    versions = {name: metadata.version(name) for name in names if name in installed}
    return {"date": time.strftime("%Y-%m-%d"), "cpu": cpu, "cores": os.cpu_count(), **versions}


def random_params() -> dict[str, dict[str, Any]]:
    """Draws a VGG-19 up to conv5_1, kernels (3, 3, in, out)."""
    from jaxstyle.network.layers import block_of, required_conv_names

    random, channels, params = np.random.default_rng(0), 3, {}
    for name in required_conv_names("vgg19"):
        width = WIDTHS[block_of(name) - 1]
        kernel = random.standard_normal((3, 3, channels, width), np.float32)
        kernel *= np.float32((2 / (9 * channels)) ** 0.5)
        params[name] = {"kernel": kernel, "bias": np.zeros(width, np.float32)}
        channels = width
    return params


def canvases(size: tuple[int, int]) -> list[Any]:
    """Returns the example photo and painting, normalised, in one size."""
    from jaxstyle.images import picture_file
    from jaxstyle.images.canvas import normalize, resize

    pictures = [picture_file.load_picture(path) for path in (CONTENT, STYLE)]
    return [normalize(resize(p, size, resampling="bilinear")) for p in pictures]


def work(program: str, size: tuple[int, int], weights: str) -> None:
    """Is one of the programs: for every line on standard input does that many steps.

    Answers with JSON lines: first its readiness, then the seconds and losses of the steps.
    """
    from jaxstyle.machine.process import compile_leanly, keep_freed_memory

    if not program.startswith("torch"):
        compile_leanly()  # as the command line does, and what follows
        keep_freed_memory()
        from jaxstyle.machine.devices import call_in_this_thread

        call_in_this_thread()
    from jaxstyle import load_weights

    began = time.perf_counter()
    params = random_params() if weights == "random" else load_weights(weights)
    pictures = canvases(size)
    start = _torch_steps if program.startswith("torch") else _jaxstyle_steps
    stream = start(program, params, *pictures)
    next(stream)
    answer = {"ready": time.perf_counter() - began}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        turn = list(itertools.islice(stream, int(line)))
        answer = {
            "seconds": [seconds for seconds, _ in turn],
            "losses": [losses for _, losses in turn],
            "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        print(json.dumps(answer), flush=True)


def _jaxstyle_steps(program: str, params: Any, content: Any, style: Any) -> Iterator[Any]:
    """Yields once when compiled, then the seconds and losses of every step."""
    from jaxstyle import initial_state, make_problem, prepare, preset, steps
    from jaxstyle.machine.process import give_back

    _, conv, memory = program.split("-")
    recipe, hyper = preset("book", steps=2**30, conv=conv, memory=memory)
    problem = make_problem(
        prepare(params, conv=recipe.conv, size=content.shape[:2]),
        content,
        style,
        recipe=recipe,
        hyper=hyper,
        target_kernels=prepare(params, conv="direct", gradients=False),
    )
    for chunk in steps(problem, initial_state(content), pause_every=STEPS_A_TURN):
        count = len(chunk.learning_rate)
        if count == 0:
            give_back()
            yield None
        for losses in zip(*chunk.losses.by_name().values(), strict=True):
            yield chunk.seconds / count, [float(each) for each in losses]


def _torch_steps(program: str, params: Any, content: Any, style: Any) -> Iterator[Any]:
    from torch_blocks import Blocks
    from torch_programs import Listing, Tuned

    kinds = {"torch-tuned": Tuned, "torch-listing": Listing, "torch-blocks": Blocks}
    painter = kinds[program](params, content, style)
    yield None
    while True:
        began = time.perf_counter()
        losses = painter.step()
        yield time.perf_counter() - began, losses


class Worker:
    """A program in a process of its own."""

    def __init__(self, program: str, size: str, weights: str = "random") -> None:
        """Starts it and waits until it is compiled."""
        self.program, self.size, self.weights = program, size, weights
        began = time.perf_counter()
        command = [sys.executable, __file__, "--work", program, "--sizes", size]
        self._process = subprocess.Popen(
            [*command, "--weights", weights], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ready = self._answer()["ready"]
        self.start = time.perf_counter() - began
        self.seconds: list[float] = []
        self.losses: list[list[float]] = []
        self.peak = 0

    def _answer(self) -> Row:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.program} failed")
        answer: Row = json.loads(line)
        return answer

    def steps(self, count: int) -> None:
        """Has it do so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n".encode())
        self._process.stdin.flush()
        answer = self._answer()
        self.seconds.append(statistics.median(answer["seconds"]))
        self.losses += answer["losses"]
        self.peak = answer["peak_megabytes"]

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()

    def row(self) -> Row:
        """Returns what was measured; the first turn warms up and does not count."""
        return {
            "what": "step",
            "program": self.program,
            "size": self.size,
            "weights": self.weights,
            "compile_seconds": round(self.ready, 2),
            "seconds_per_step": round(statistics.median(self.seconds[1:]), 4),
            "peak_megabytes": self.peak,
            "first_total": self.losses[0][-1],
        }


def measure_steps(
    programs: list[str], size: str, weights: str, turns: int, count: int
) -> Iterator[Row]:
    """Yields a row per program, then the ratios of all to the first; `count` steps a turn."""
    workers = [Worker(program, size, weights) for program in programs]
    for turn in range(turns + 1):
        for worker in workers:
            worker.steps(count)
        if turn == 0:
            for worker in workers[1:]:
                _check_equal(workers[0], worker)
    for worker in workers:
        worker.close()
        yield worker.row()
    for worker in workers[1:]:
        pairs = zip(worker.seconds[1:], workers[0].seconds[1:], strict=True)
        ratio = statistics.median(theirs / ours for theirs, ours in pairs)
        name = f"{worker.program} / {programs[0]}"
        yield {"what": "ratio", "of": name, "size": size, "ratio": round(ratio, 2)}


def _check_equal(one: Worker, other: Worker) -> None:
    """Programs that compute something else must not be compared."""
    if not np.allclose(one.losses[0], other.losses[0], rtol=ROUNDING, atol=1e-6):
        raise SystemExit(f"{one.program} and {other.program} do not compute the same loss")


def time_to_loss(size: str, pair: tuple[Path, Path], listing_steps: int) -> Iterator[Row]:
    """Yields how long preset book-fast takes for the book's final loss, and the book's listing.

    Both resize the pictures as the book does, or their losses would be of other targets. The
    listing's steps are timed before and after the preset's run, as machines have their moods.
    """
    worker = Worker("torch-listing", size, "embedded")
    for _ in range(-(-listing_steps // 2)):
        worker.steps(1)
    ours, seconds = _run(size, pair, "--preset", "book-fast", "--resampling", "bilinear")
    for _ in range(listing_steps // 2):
        worker.steps(1)
    worker.close()
    listing = worker.start + 500 * statistics.median(worker.seconds)
    yield {
        "what": "ratio",
        "of": "torch-listing, 500 steps / jaxstyle, preset book-fast",
        "size": size,
        "weights": "embedded",
        "content": pair[0].stem,
        "listing_seconds": round(listing, 1),
        "listing_steps_measured": listing_steps,
        "fast_seconds": round(seconds, 1),
        "fast_total": ours,
        "ratio": round(listing / seconds, 2),
    }
    book, book_seconds = _run(size, pair, "--preset", "book")
    yield {
        "what": "loss",
        "size": size,
        "weights": "embedded",
        "content": pair[0].stem,
        "book_total": book,
        "fast_over_book": round(ours / book, 4),
        "book_preset_seconds": round(book_seconds, 1),
    }


def _run(size: str, pair: tuple[Path, Path], *more: str) -> tuple[float, float]:
    """Runs the command line with an empty cache; returns the final total and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--json", "-o", f"{folder}/result.png", *more]
        seconds, told = timed_run(pair, size, *given, cache=folder)
    return json.loads(told)["losses"]["total"], seconds


def measure_start(runs: int = 11) -> Iterator[Row]:
    """Yields how long the command line takes to answer what needs no computing."""
    for arguments in (["--help"], ["--stlye", "x.png"]):
        seconds = []
        for _ in range(runs):
            began = time.perf_counter()
            command = [sys.executable, "-m", "jaxstyle.run", *arguments]
            subprocess.run(command, capture_output=True, check=False)
            seconds.append(time.perf_counter() - began)
        median = round(statistics.median(seconds), 3)
        yield {"what": "start", "arguments": arguments, "seconds": median}


def main() -> None:
    """Reads the command line and prints rows."""
    options = _parser().parse_args()
    if options.sizes is None:
        options.sizes = ["320"] if options.against == "pastiche" else SIZES
    if options.work:
        height, width = map(int, options.sizes[0].split("x"))
        work(options.work, (height, width), options.weights)
        return
    for row in _rows(options):
        print(json.dumps(row | machine()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", help="HxW; beside pastiche the long side, 320")
    parser.add_argument("--conv", nargs="+", default=["auto"], help="auto, direct, winograd")
    parser.add_argument("--memory", nargs="+", default=["plain"], help="plain, strips")
    parser.add_argument("--weights", default="random", choices=["random", "embedded"])
    parser.add_argument("--against", choices=list(OTHERS))
    parser.add_argument("--peer", default="peer/bin/python", help="Python with pastiche")
    parser.add_argument("--peer-steps", type=int, default=300, help="of pastiche's L-BFGS")
    parser.add_argument("--flags", action="append", help="of ours beside pastiche; repeatable")
    parser.add_argument("-o", "--output", type=Path, default=Path("peer-pictures"), help="likewise")
    parser.add_argument("--turns", type=int, default=7, help="of steps, or of runs")
    parser.add_argument("--steps", type=int, default=STEPS_A_TURN, help="a turn")
    parser.add_argument("--time-to-loss", action="store_true")
    parser.add_argument("--content", type=Path, default=CONTENT, help="of a whole run")
    parser.add_argument("--style", type=Path, default=STYLE, help="of a whole run")
    parser.add_argument("--listing-steps", type=int, default=20, help="how many to time of its 500")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--cold", action="store_true", help="with --flags, of one run")
    parser.add_argument("--sweep", nargs="+", type=int, metavar="N", help="numbers of variants")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yields the rows of what was asked for, size by size."""
    if options.start:
        yield from measure_start()
        return
    pair = (options.content, options.style)
    programs = [f"jaxstyle-{conv}-{memory}" for conv in options.conv for memory in options.memory]
    programs += OTHERS.get(options.against, [])
    for size in options.sizes:
        if options.cold:
            yield from measure_cold(pair, size, " ".join(options.flags or []).split())
        elif options.sweep:
            yield from measure_sweeps(options.sweep, size, options.turns)
        elif options.against == "pastiche":
            yield from measure_against_pastiche(
                pair,
                int(size),
                peer=options.peer,
                steps=options.peer_steps,
                flags=options.flags or ["--preset draft", "--preset default"],
                out=options.output,
            )
        elif options.time_to_loss:
            yield from time_to_loss(size, pair, options.listing_steps)
        else:
            yield from measure_steps(programs, size, options.weights, options.turns, options.steps)


if __name__ == "__main__":
    main()
