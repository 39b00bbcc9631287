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

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whole_runs import timed_run

AS_NEAR = 1.01
"""A picture is as near to the painting as the last one if its distance is no more times that."""

SAVE_EVERY = 10
"""Of pastiche's steps, the pictures that are judged."""


def measure_against_pastiche(
    pair: tuple[Path, Path], size: int, *, peer: str, steps: int, flags: Sequence[str], out: Path
) -> Iterator[dict[str, Any]]:
    """Yields a row for pastiche and one for each set of flags.

    Args:
      pair: photo and painting.
      size: in pixels, the long side.
      peer: Python of an environment that has pastiche.
      steps: of pastiche.
      flags: of jaxstyle, each a text such as "--preset draft".
      out: a folder for the pictures.
    """
    judged = _judge(pair)  # which may have to be fetched
    out.mkdir(parents=True, exist_ok=True)
    paths = {each: out / f"jaxstyle-{i}.png" for i, each in enumerate(flags, 1)}
    with tempfile.TemporaryDirectory() as folder:
        empty = _seconds_of_ours(pair, size, paths, Path(folder))
        shots = _pastiche(pair, size, peer, steps, out)
        compiled = _seconds_of_ours(pair, size, paths, Path(folder))
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
    for (text, path), cold, warm in zip(paths.items(), empty, compiled, strict=True):
        found_style, found_content = judged(path)
        yield {
            "what": "picture",
            "program": f"jaxstyle {text}".strip(),
            **base,
            "seconds": round(cold, 1),
            "compiled_seconds": round(warm, 1),
            "style_distance": round(found_style, 4),
            "content_distance": round(found_content, 4),
            "as_near": found_style <= AS_NEAR * style and found_content <= content,
            "ratio": round(nearest / cold, 2),
            "compiled_ratio": round(nearest / warm, 2),
        }


def _judge(pair: tuple[Path, Path]) -> Callable[[Path], tuple[float, float]]:
    """Returns what gives the style and the content distance of a result of this pair."""
    from jaxstyle.images.picture_file import load_picture
    from jaxstyle.judging.network import judge_params
    from jaxstyle.judging.verdict import judge_of

    judge = judge_of(judge_params(say=lambda line: print(line, file=sys.stderr)))
    photo, painting = (load_picture(path) for path in pair)

    def judged(path: Path) -> tuple[float, float]:
        found = judge(load_picture(path), photo, [painting])
        return found["style_distance"], found["content_distance"]

    return judged


def _seconds_of_ours(
    pair: tuple[Path, Path], size: int, paths: Mapping[str, Path], caches: Path
) -> list[float]:
    """Paints with each set of flags, and its own cache; returns the seconds."""
    return [
        timed_run(
            *(pair, size, *shlex.split(each), "--force", "-o", str(path)),
            cache=caches / path.stem,
        )[0]
        for each, path in paths.items()
    ]


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
