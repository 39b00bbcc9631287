"""What people who do this job ran into, as runs of the command line: a table of what is seen.

    python scripts/field.py [--quick] [--only ID] [FOLDER]

makes its inputs in FOLDER (by default a temporary one), runs every case in a process of its own and
prints a row for each: what it is, what is expected, what was seen. A FOLDER that is given again
goes on: a case that was well is not run again. `--quick`: those that take no painting. `--only`:
those of one row of the report, such as R02.
Exit code 1 if something was not as expected.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from field_cases import EXAMPLES, Case, Seen, cases
from PIL import Image, ImageDraw, PngImagePlugin

LONGEST = 400
"""Seconds that a case may take."""

DONE = "done.jsonl"
"""The file of what was well."""

DENY = """
import errno, os, pathlib, sys
def no(*a, **k): raise OSError(NUMBER, os.strerror(NUMBER))
if sys.argv[1] == "chmod":
    NUMBER = errno.EPERM
    os.chmod = pathlib.Path.chmod = no
elif sys.argv[1] == "peak":
    import atexit, resource
    def told():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"peak {peak} MB", file=sys.stderr, flush=True)
    atexit.register(told)
elif sys.argv[1] == "flock":
    import fcntl
    NUMBER = errno.ENOLCK
    fcntl.flock = no
else:
    import resource
    import jaxstyle.cli.main, jaxstyle.runs.inputs
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    most = now + int(sys.argv[1]) * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
from jaxstyle.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
"""A process that is refused something, tells its peak of memory, or has so many megabytes more."""


def make_inputs(folder: Path) -> None:
    """Writes the input files, unless they are there."""
    if (folder / "made").exists():
        return
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    coffee, strokes = (
        Image.open(EXAMPLES / f"{n}.png").convert("RGB") for n in ("coffee", "strokes")
    )
    coffee, strokes = coffee.resize((150, 100)), strokes.resize((150, 150))
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    coffee.save(folder / "wf.png", pnginfo=text)
    coffee.save(folder / "icc2mb.png", icc_profile=bytes(2_000_000))
    for name in ("coffee.png", "p.png", "-p.png"):
        coffee.save(folder / name)
    strokes.save(folder / "strokes.png")
    Image.fromarray(np.full((8000, 8000), 30000, np.uint16)).save(
        folder / "large16.png", compress_level=1
    )
    cut = coffee.copy()
    cut.putalpha(Image.radial_gradient("L").resize(coffee.size))
    cut.save(folder / "cut.png")
    for width, height in ((15, 15), (16, 16), (40, 30), (2000, 16)):
        coffee.resize((width, height)).save(folder / f"s{width}.png")
    coffee.convert("L").save(folder / "g.png")
    strokes.convert("L").save(folder / "gs.png")
    for name, color in (("black", 0), ("white", 255)):
        Image.new("RGB", (96, 64), (color,) * 3).save(folder / f"{name}.png")
    _save(np.indices((64, 96)).sum(0) % 2 * 255, folder / "checks.png")
    _save(np.tile(np.arange(96) // 8 % 2 * 255, (96, 1)), folder / "bars.png")
    ramp = np.linspace(0, 1, 100)[:, None, None] * [90, 60, 20] + np.array([110, 160, 220])
    _save(np.broadcast_to(ramp, (100, 150, 3)), folder / "sky.png")
    logo = Image.new("RGB", (150, 100), "white")
    ImageDraw.Draw(logo).ellipse((50, 25, 100, 75), fill="black")
    logo.save(folder / "logo.png")
    large = Image.open(EXAMPLES / "coffee.png").convert("RGB").resize((4000, 3000))
    large.save(folder / "frames" / "0.jpg")
    for i in range(1, 24):
        shutil.copy(folder / "frames" / "0.jpg", folder / "frames" / f"{i}.jpg")
    heic = bytes([0, 0, 0, 24]) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(400)
    starts = {"IMG_1.HEIC": heic, "IMG_2.jpg": heic, "x.jxl": b"\xff\x0a" + bytes(99)}
    starts |= {"x.svg": b"<svg/>", "x.pdf": b"%PDF-1.7\n", "x.dng": b"II*\0" + bytes(200)}
    for name, data in starts.items():
        (folder / name).write_bytes(data)
    _zero_weights(folder / "zeros.h5")
    (folder / "made").touch()


def _save(values: Any, path: Path) -> None:
    Image.fromarray(np.asarray(values).clip(0, 255).astype(np.uint8)).convert("RGB").save(path)


def _zero_weights(path: Path) -> None:
    import jaxstyle
    from jaxstyle.weights.weight_file import weight_bytes

    good = jaxstyle.load_weights("embedded")
    zeros = {layer: {k: np.zeros_like(v) for k, v in each.items()} for layer, each in good.items()}
    path.write_bytes(weight_bytes(zeros, source="x", source_sha256="0" * 64, licence="x"))


def flags_of(case: Case, folder: Path) -> list[str]:
    """Returns the whole command line of a case whose results go to a folder."""
    photo = [] if "--sweep" in case.flags else ["--content", "coffee.png"]  # it sweeps photos
    flags = ["--weights", "embedded", *photo, "--style", case.style]
    flags += ["-o", str(folder / "out.png"), *case.flags]
    if "-o" in case.flags:
        flags[flags.index("sweep")] = str(folder / "sweep")
    return flags


def run_case(case: Case, folder: Path, inputs: Path) -> tuple[bool, str]:
    """Runs a case in a folder of its own; returns whether all was well, and what was seen."""
    folder.mkdir(exist_ok=True)
    start = ["-c", DENY, case.deny] if case.deny else ["-m", "jaxstyle"]
    process = subprocess.Popen(
        [sys.executable, *start, *flags_of(case, folder)],
        **{"cwd": inputs, "env": os.environ | {"HOME": str(inputs)}, "text": True},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
    )
    try:
        if case.hang_up:
            time.sleep(45)
            process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return False, f"not done after {LONGEST} s"
    finally:
        process.kill()
    try:
        return case.check(Seen(process.returncode, err, out, folder))
    except Exception as error:  # what a case cannot find is a fault to be shown, too
        return False, f"{process.returncode}: {error!r} {err[-90:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases that are not known to be well, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="only what takes no painting")
    parser.add_argument("--only", metavar="ID", help="only one row's cases, such as R02")
    parsed = parser.parse_args(arguments)
    folder = parsed.folder or Path(tempfile.mkdtemp(prefix="jaxstyle-field-"))
    folder = folder.absolute()
    make_inputs(folder / "in")
    done = {}
    if (folder / DONE).exists():
        lines = (folder / DONE).read_text("utf-8").splitlines()
        done = dict(map(json.loads, lines))
    failed = 0
    for number_, case in enumerate(cases()):
        if (parsed.quick and not case.quick) or parsed.only not in (None, *case.ids.split()):
            continue
        name = f"{case.ids}: {case.what}"
        is_well, seen = (
            (True, done[name])
            if name in done
            else run_case(case, folder / str(number_), folder / "in")
        )
        if is_well and name not in done:
            with (folder / DONE).open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, seen]) + "\n")
        failed += not is_well
        mark = "ok " if is_well else "BAD"
        print(f"{mark} {case.ids:8} {case.what:32} {case.expected:26} {seen}", flush=True)
    print(f"{failed} not as expected; {folder}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
