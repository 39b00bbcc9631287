"""How good is it? Judges pictures against photo and painting, by a network that none optimises.

    python scripts/quality.py --content PHOTO --style PAINTING [--size N] RESULT...
    python scripts/quality.py --pairs PAIRS.csv --flags "--preset default" [--flags ...] -o DIR

The first judges pictures that are there. The second paints each pair of a table with the command
line of jaxstyle, once for each --flags, and judges what comes of it; rows that name a `result`,
another program's picture, are only judged, and what was painted of the same pair is compared with
them. What the numbers mean is said in `jaxstyle.judging.verdict`. The network is fetched once, by
pip.

Exit codes: 0 done; 1 a run failed; 2 bad input.
"""

import argparse
import csv
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.judging import distances, network
from jaxstyle.judging import verdict as judge
from jaxstyle.machine.devices import keep_executables
from jaxstyle.network.convolution import Kernels
from jaxstyle.runs.request import check_is_file
from jaxstyle.sweeps import sheet_layout as layout
from jaxstyle.sweeps.sheet_layout import GAP, LABEL, PAPER, TITLE

HEADS = {
    "style_distance": "style",
    "content_distance": "content",
    "self_similarity": "self",
    "ssim": "ssim",
    "e_statistic": "E",
}
COLUMNS = {"content", "style", "result", "name"}
"""Of a table of pairs."""

SHEET_SIDE = 480
"""In pixels, the long side of a picture on a sheet."""

MOST_IN_A_ROW = 4


class Pair(NamedTuple):
    """One row of a table: a photo, a painting, and perhaps what another program made of them."""

    name: str
    content: Path
    style: Path
    result: Path | None


class Row(NamedTuple):
    """One picture and what the judge found."""

    pair: Pair
    label: str
    """Of the program or the flags."""
    path: Path
    verdict: judge.Verdict
    seconds: float | None
    """That painting took, from the start of the process to its end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    try:
        parsed = parse(arguments)
        jobs = jobs_of(parsed)
        kernels = judge.judge_kernels(network.judge_params(say=_say))
        keep_executables()
        table = Table(as_json=parsed.json)
        table.begin()
        for row in judged(jobs, kernels, parsed):
            table.add(row)
        for line in summary(table.rows):
            print(json.dumps(line) if parsed.json else told_summary(line), flush=True)
        if parsed.sheet is not None:
            files.write_whole(parsed.sheet, sheet(table.rows), overwrite=True)
    except InputError as error:
        _say(f"error: {error}")
        return 2
    except OSError as error:
        _say(f"error: {' '.join(str(error).split())}")
        return 1
    return 0 if len(table.rows) == len(jobs) else 1


class Job(NamedTuple):
    """A picture to judge, and to paint first if it has flags."""

    pair: Pair
    label: str
    path: Path
    flags: tuple[str, ...] | None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; raises InputError for what contradicts itself or is missing."""
    parser = _Parser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("results", nargs="*", type=Path, metavar="RESULT", help="pictures to judge")
    add("--content", type=Path, metavar="PATH", help="the photo that they show")
    add("--style", type=Path, metavar="PATH", help="the painting that they shall look like")
    add("--pairs", type=Path, metavar="PATH.csv", help="columns content, style, result, name")
    add("--flags", action="append", metavar='"FLAG ..."', help="how to paint each pair; repeatable")
    add("--label", action="append", metavar="TEXT", help="of each --flags; default: the flags")
    add("-o", "--output", type=Path, metavar="DIR", help="where what is painted is kept")
    add("--force", action="store_true", help="paint over files that exist; default: refuse")
    add("--size", type=int, default=distances.SIZE, help="pixels that the judge sees; default: 320")
    add("--json", action="store_true", help="a line of JSON for every picture")
    add("--sheet", type=Path, metavar="PATH.png", help="also draw all pictures on one sheet")
    parsed = parser.parse_args(arguments)
    if parsed.size < 32:
        raise InputError(f"--size {parsed.size} is too small: 32 pixels at least")
    one = [parsed.content, parsed.style, parsed.results]
    if parsed.pairs is not None and any(one):
        raise InputError("--pairs names all pictures: leave --content, --style and results out")
    if parsed.pairs is None and not all(one):
        raise InputError("give --content, --style and pictures to judge, or --pairs (see --help)")
    painting = [parsed.flags, parsed.label, parsed.output]
    if parsed.pairs is None and any(painting):
        raise InputError("--flags, --label and -o are for --pairs")
    if len(parsed.label or []) not in (0, len(parsed.flags or [])):
        raise InputError("give a --label for every --flags, or none")
    if parsed.flags and parsed.output is None:
        raise InputError("give -o DIR: where what is painted is kept")
    if parsed.sheet is not None:
        files.check_suffix("the sheet", parsed.sheet, [".png"])
        files.check_writable(parsed.sheet.parent)
    return parsed


class _Parser(argparse.ArgumentParser):
    """Raises InputError instead of printing the usage and leaving."""

    def error(self, message: str) -> Any:
        raise InputError(f"{message} (see --help)")


def jobs_of(parsed: argparse.Namespace) -> list[Job]:
    """Returns all that is to be judged, pair by pair; every file is looked for first."""
    if parsed.pairs is None:
        pair = Pair(
            f"{parsed.content.stem}-{parsed.style.stem}", parsed.content, parsed.style, None
        )
        counts = Counter(path.name for path in parsed.results)
        labels = [str(path) if counts[path.name] > 1 else path.name for path in parsed.results]
        results = zip(labels, parsed.results, strict=True)
        jobs = [Job(pair, label, path, None) for label, path in results]
    else:
        jobs = _jobs_of_pairs(read_pairs(parsed.pairs), parsed)
    if not jobs:
        raise InputError(f"{parsed.pairs} names no result: give --flags to paint its pairs")
    results = [job.path for job in jobs if job.flags is None]
    for path in dict.fromkeys([*(path for job in jobs for path in job.pair[1:3]), *results]):
        check_is_file(path)
        picture = picture_file.load_picture(path)
        if path not in results:
            distances.size_to_judge(str(path), picture, parsed.size)
    for job in jobs:
        if job.flags is not None and job.path.exists() and not parsed.force:
            raise InputError(
                f"{job.path} exists: choose another folder, or --force to overwrite it"
            )
    return jobs


def _jobs_of_pairs(pairs: Sequence[Pair], parsed: argparse.Namespace) -> list[Job]:
    jobs = [Job(pair, pair.result.stem, pair.result, None) for pair in pairs if pair.result]
    settings = parsed.flags or []
    labels = parsed.label or [" ".join(flags.split()) or "default" for flags in settings]
    for number, (label, flags) in enumerate(zip(labels, settings, strict=True), 1):
        known: dict[tuple[Path, Path], Pair] = {}
        for pair in pairs:  # two rows of one pair are two results of others, painted once
            known.setdefault((pair.content, pair.style), pair)
        for pair in known.values():
            path = parsed.output / f"{files.short(pair.name)}-{number}.png"
            jobs.append(Job(pair, label, path, tuple(_split(flags))))
    order = {(pair.content, pair.style): i for i, pair in reversed(list(enumerate(pairs)))}
    return sorted(jobs, key=lambda job: order[job.pair.content, job.pair.style])


def _split(flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise InputError(f"--flags {flags!r}: {error}") from None


def read_pairs(path: Path) -> list[Pair]:
    """Reads a table of pairs; paths in it are relative to its folder.

    Raises:
      InputError: it cannot be read, or a column is unknown or missing.
    """
    check_is_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            rows, columns = list(table), set(table.fieldnames or ())
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None
    if not {"content", "style"} <= columns <= COLUMNS:
        raise InputError(f"{path}: its columns must be content, style and perhaps result and name")
    pairs = []
    for number, row in enumerate(rows, 2):
        if None in row or not row["content"] or not row["style"]:
            raise InputError(f"{path}, line {number} does not have content and style alone")
        content, style = (path.parent / row[name] for name in ("content", "style"))
        result = path.parent / row["result"] if row.get("result") else None
        name = (row.get("name") or f"{content.stem}-{style.stem}").replace("/", "-")
        pairs.append(Pair(name, content, style, result))
    for one in pairs:
        for other in pairs:
            if one.name == other.name and one[1:3] != other[1:3]:
                raise InputError(f"{path}: two pairs are called {one.name}: give names to them")
    return pairs


def judged(jobs: Sequence[Job], kernels: Kernels, parsed: argparse.Namespace) -> Iterator[Row]:
    """Paints what is to be painted and judges it; what fails is said and left out."""
    now: tuple[Any, judge.Standard, distances.Maps] | None = None
    for job in jobs:
        seconds = None
        if job.flags is not None:
            seconds = paint(job)
            if seconds is None:
                continue
        what = job.pair.content, job.pair.style
        if now is None or now[0] != what:
            content, style = map(picture_file.load_picture, what)
            pair = judge.standard(kernels, content, style, size=parsed.size)
            now = what, pair, distances.main_axes(pair.content_maps)
        found = judge.verdict(kernels, picture_file.load_picture(job.path), now[1], axes=now[2])
        yield Row(job.pair, job.label, job.path, found, seconds)


def paint(job: Job) -> float | None:
    """Paints a pair in a process of its own; returns its seconds, None if it failed."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "jaxstyle.run", "--content", str(job.pair.content)]
    command += ["--style", str(job.pair.style), "-o", str(job.path), "--force", "--quiet"]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, *(job.flags or ())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    seconds = time.perf_counter() - begun
    told = done.stderr.strip().splitlines()
    if done.returncode == 2:
        raise InputError(f"{job.label}: {told[-1] if told else 'refused'}")
    if done.returncode != 0:
        _say(f"{job.pair.name}, {job.label}: failed: {told[-1] if told else done.returncode}")
        return None
    return seconds


class Table:
    """Prints a row as soon as it is known."""

    def __init__(self, *, as_json: bool) -> None:
        self.rows: list[Row] = []
        self.as_json = as_json

    def begin(self) -> None:
        """Prints the heads."""
        if not self.as_json:
            print("".join(f"{each:>9}" for each in [*HEADS.values(), "seconds"]), " picture")

    def add(self, row: Row) -> None:
        """Prints and keeps a row."""
        self.rows.append(row)
        print(as_json(row) if self.as_json else as_text(row), flush=True)


def as_json(row: Row) -> str:
    """Returns a row as a line of JSON."""
    facts = {"pair": row.pair.name, "label": row.label, "file": str(row.path)}
    seconds = None if row.seconds is None else round(row.seconds, 2)
    return json.dumps({**facts, **row.verdict._asdict(), "seconds": seconds})


def as_text(row: Row) -> str:
    """Returns a row as aligned text."""
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    numbers = "".join(f"{value:9.3f}" for value in row.verdict)
    return f"{numbers}{seconds:>9}  {row.pair.name}: {row.label}"


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns for each label of painted pictures medians over its pairs.

    They are of the seconds, and, where there are other programs' results of some of the pairs
    (`references` says of how many), of the ratios of both distances to those of these results.
    """
    references = {row.pair[1:3]: row.verdict for row in rows if row.seconds is None}
    painted = [row for row in rows if row.seconds is not None]
    lines = []
    for label in dict.fromkeys(row.label for row in painted):
        mine = [row for row in painted if row.label == label]
        seconds = statistics.median(row.seconds or 0.0 for row in mine)
        line = {"label": label, "pairs": len(mine), "median_seconds": round(seconds, 2)}
        found = [
            (row.verdict, references[row.pair[1:3]]) for row in mine if row.pair[1:3] in references
        ]
        line["references"] = len(found)
        for name in ("style_distance", "content_distance") if found else ():
            ratios = [_ratio(getattr(ours, name), getattr(other, name)) for ours, other in found]
            line[f"{name}_ratio"] = statistics.median(ratios)
        lines.append(line)
    return lines


def _ratio(value: float, reference: float) -> float:
    """Infinite where the reference is the photo or the painting itself."""
    return value / reference if reference else math.inf


def told_summary(line: dict[str, Any]) -> str:
    """Returns a line of the summary as text."""
    told = f"{line['label']}: {line['pairs']} pairs, median {line['median_seconds']:.1f} s"
    if line["references"]:
        style, content = line["style_distance_ratio"], line["content_distance_ratio"]
        told += f"; of {line['references']} reference results' distances, by the median: style"
        told += f" {style:.3f}, content {content:.3f}"
    return told


def sheet(rows: Sequence[Row]) -> bytes:
    """Returns a PNG file of every pair: photo, painting and results, with names and numbers."""
    strips = []
    for what in dict.fromkeys((row.pair.content, row.pair.style) for row in rows):
        mine = [row for row in rows if (row.pair.content, row.pair.style) == what]
        cells = [(what[0], "photo", what[0].name), (what[1], "painting", what[1].name)]
        cells += [(row.path, row.label, _numbers(row)) for row in mine]
        for start in range(0, len(cells), MOST_IN_A_ROW):
            strips.append([_cell(*cell) for cell in cells[start : start + MOST_IN_A_ROW]])
    width = (SHEET_SIDE + GAP) * max(map(len, strips)) + GAP
    heights = [max(cell.height for cell in strip) + GAP for strip in strips]
    whole = Image.new("RGB", (width, sum(heights) + GAP), PAPER)
    top = GAP
    for strip, height in zip(strips, heights, strict=True):
        for i, cell in enumerate(strip):
            whole.paste(cell, (GAP + i * (SHEET_SIDE + GAP), top))
        top += height
    return picture_file.encode(np.asarray(whole, "float32") / 255, ".png", {})


def _numbers(row: Row) -> str:
    told = ", ".join(f"{HEADS[name]} {getattr(row.verdict, name):.3f}" for name in HEADS)
    told = told.replace("E -", "E \N{MINUS SIGN}")  # at a hyphen a line may end
    return told if row.seconds is None else f"{told}, {row.seconds:.0f} s"


def _cell(path: Path, label: str, told: str) -> Image.Image:
    picture = layout.fitted(path, SHEET_SIDE, SHEET_SIDE)
    names = layout.wrapped(label, TITLE, SHEET_SIDE, most=2)
    numbers = layout.wrapped(told, LABEL, SHEET_SIDE)
    height_of_names = len(names) * layout.line_height(TITLE)
    room = height_of_names + len(numbers) * layout.line_height(LABEL) + GAP
    cell = Image.new("RGB", (SHEET_SIDE, picture.height + room), PAPER)
    cell.paste(picture, (0, 0))
    draw = ImageDraw.Draw(cell)
    top = picture.height + GAP // 2
    layout.write_lines(draw, names, (0, top), size=TITLE, color=layout.INK)
    top += height_of_names
    layout.write_lines(draw, numbers, (0, top), size=LABEL, color=layout.PALE)
    return cell


def _say(line: str) -> None:
    print(f"quality: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
