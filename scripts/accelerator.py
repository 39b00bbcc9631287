"""Measure and check this version on an accelerator: one command, offline, at most nine minutes.

    python scripts/accelerator.py                  everything, on the device that jax finds
    python scripts/accelerator.py --parts device roofline step-512-plain
    python scripts/accelerator.py --devices 4      also one picture whose rows several devices share
    python scripts/accelerator.py --tiny           the same in small, to try the script on a CPU

Every part is a process of its own with a time limit, prints its rows as JSON lines as soon as they
are known, and may fail or be stopped without harm to the others. A short table comes last, also
after Ctrl-C. Nothing is fetched: the weights are the embedded ones. torch is measured where it is
installed. What the parts do is in `accelerator_parts`.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 530.0
"""All parts together; what they are stopped for leaves time for the table."""

SIZES = ("128x128", "300x450", "512x512", "1024x1024", "2048x2048", "4096x4096")
TINY_SIZES = ("32x40", "40x48")

PRECISIONS = {"highest": "f32", "tf32": "tf32", "bf16": "bf16"}
"""Ours by the torch program that multiplies alike."""

SAME_LOSS = {"f32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}
"""How far the first losses of two programs may differ, relatively, to be compared."""

Row = dict[str, Any]


def parts_of(sizes: tuple[str, ...], devices: int) -> dict[str, float]:
    """Returns the parts in their order, each with its limit in seconds.

    Most of their time is compiling: XLA and torch choose their kernels by trying them. What comes
    first is what the time is enough for; `--parts` does the rest.
    """
    parts = {"device": 30.0, "roofline": 30.0}
    modes = {"1024x1024": ("plain", "strips"), "2048x2048": ("plain", "strips")}
    for size in sizes:
        for mode in ("strips",) if size == "4096x4096" else modes.get(size, ("plain",)):
            parts[f"step-{size}-{mode}"] = 75.0
        if size != "4096x4096":
            parts[f"torch-{size}"] = 75.0
    parts |= {f"rows-{devices}": 60.0} if devices > 1 else {}
    parts |= {"correct": 90.0, "sweep": 60.0, "repeat": 90.0, "repeat-deterministic": 90.0}
    parts |= {f"peak-{size}-strips": 45.0 for size in sizes[-2:]}
    parts |= {"memory-2048x2048": 45.0, "two": 60.0, "picture-512": 90.0, "picture-2048": 150.0}
    return parts


def run_part(part: str, limit: float, options: argparse.Namespace, scratch: str) -> Iterator[Row]:
    """Runs a part in a process and yields its rows, then one that says how it ended."""
    command = [sys.executable, str(ROOT / "scripts/accelerator_parts.py"), part]
    command += ["--tiny"] if options.tiny else []
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"JAXSTYLE_CACHE": scratch, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment |= {"JAX_COMPILATION_CACHE_DIR": scratch, "TORCHINDUCTOR_CACHE_DIR": scratch}
    environment |= {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--scratch", scratch],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    stopped, said = threading.Event(), list[str]()
    timer = threading.Timer(limit, lambda: (stopped.set(), _kill(process)))
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    timer.start()
    reader.start()
    try:
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                yield {"part": part, **json.loads(line)}
        process.wait()
    finally:
        timer.cancel()
        _kill(process)
    reader.join(5)
    process.stdout.close()
    process.stderr.close()
    how = "stopped at its limit" if stopped.is_set() else "done" if not process.returncode else ""
    end = {"part": part, "what": "end", "how": how or f"failed, exit code {process.returncode}"}
    if how != "done" and said:
        end["said"] = " ".join(said[-1].split())[:300]
    yield {**end, "seconds": round(time.perf_counter() - began, 1)}


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends a part and whatever it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, 9)  # its own group, see start_new_session
        else:
            process.kill()


def ratios(rows: list[Row]) -> Iterator[Row]:
    """Yields how many times as long torch takes, where both compute the same loss."""
    steps = [row for row in rows if row.get("what") == "step"]
    theirs = [row for row in steps if row["program"] != "jaxstyle"]
    for ours in (row for row in steps if row["program"] == "jaxstyle"):
        kind = PRECISIONS[ours["precision"]]
        same = [t for t in theirs if (t["size"], t["precision"]) == (ours["size"], kind)]
        equal = [t for t in same if _close(t["first_total"], ours["first_total"], SAME_LOSS[kind])]
        row = {"what": "ratio", "size": ours["size"], "mode": ours["mode"], "precision": kind}
        if not same:
            continue
        if not equal:
            yield {**row, "refused": "the first losses differ: nothing is compared"}
            continue
        best = min(equal, key=lambda each: float(each["seconds"]))
        ratio = round(best["seconds"] / ours["seconds"], 3)
        yield {**row, "of": best["program"], "ratio": ratio}


def _close(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def table(rows: list[Row]) -> list[str]:
    """Returns what was found as a few lines for a person."""
    lines = [" ".join(f"{k}={v}" for k, v in r.items() if k != "part") for r in _short(rows)]
    peaks = {r["precision"]: r["tflops"] for r in rows if r.get("what") == "matmul"}
    for row in rows:
        if row.get("what") != "step":
            continue
        part = row.get("tflops", 0) / peaks[row["precision"]] if row["precision"] in peaks else 0
        lines.append(
            f"{row['program']:14} {row['size']:>10} {row['mode']:6} {row['precision']:8}"
            f" {1e3 * row['seconds']:9.2f} ms {row['megapixels']:8.2f} MP/s"
            f" {100 * part:5.1f}% of matmul  peak {row.get('peak_bytes', 0) / 1e9:.2f} GB"
            f"  formula {row.get('formula_bytes', 0) / 1e9:.2f} GB"
        )
    bad = [f"{r['part']}: {r['how']} {r.get('said', '')}" for r in rows if _is_bad_end(r)]
    return lines + bad


def _short(rows: list[Row]) -> Iterator[Row]:
    """Yields the rows that a line each can show."""
    hidden = ("step", "end")
    yield from (row for row in rows if row.get("what") not in hidden)


def _is_bad_end(row: Row) -> bool:
    return bool(row.get("what") == "end" and row["how"] != "done")


def wanted(options: argparse.Namespace) -> dict[str, float]:
    """Returns the parts that were asked for, each with its limit; an unknown one ends all."""
    known = parts_of(TINY_SIZES if options.tiny else SIZES, options.devices)
    if importlib.util.find_spec("torch") is None:
        known = {name: limit for name, limit in known.items() if not name.startswith("torch-")}
    unknown = [each for each in options.parts or () if each not in known]
    if unknown:
        raise SystemExit(f"no part {unknown[0]!r}: there are {', '.join(known)}")
    return {name: known[name] for name in options.parts or known}


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yields the rows of all parts, until the time is up."""
    end = time.perf_counter() + options.seconds
    with tempfile.TemporaryDirectory(prefix="jaxstyle-accelerator-") as scratch:
        for part, limit in wanted(options).items():
            left = end - time.perf_counter()
            if left < 5:
                yield {"part": part, "what": "end", "how": "left out: no time", "seconds": 0.0}
                continue
            yield from run_part(part, min(limit, left), options, scratch)


def main() -> None:
    """Reads the command line, prints rows as they come, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--devices", type=int, default=1, help="that share one picture")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="all parts together")
    parser.add_argument("--tiny", action="store_true", help="a small network, few pixels")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        for row in measure(options):
            rows.append(row)
            print(json.dumps(row), flush=True)
        for row in ratios(rows):
            rows.append(row)
            print(json.dumps(row), flush=True)
    except KeyboardInterrupt:
        print(json.dumps({"what": "end", "part": "all", "how": "interrupted"}), flush=True)
    print("\n".join(table(rows)), flush=True)
    sys.exit(int(any(map(_is_bad_end, rows))))


if __name__ == "__main__":
    main()
