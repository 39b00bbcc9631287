"""The parts of scripts/accelerator.py that run whole commands, or several processes."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from accelerator_parts import ROOT, How, Row, problem_of

CONTENT, STYLE = ROOT / "examples/coffee.png", ROOT / "examples/strokes.png"
STATE = "state.pickle"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def rows_of_part(kind: str, rest: str, how: How) -> Iterator[Row]:
    """Returns the rows of a part, by the two halves of its name in `accelerator.parts_of`."""
    if kind == "picture":
        return picture(how, rest)
    if kind == "repeat":
        return repeat(how, deterministic=rest == "deterministic")
    return memory(how, rest) if kind == "memory" else two(how)


def memory(how: How, name: str) -> Iterator[Row]:
    """A run that cannot fit: in how many lines it ends, and what it says."""
    flags = ["--size", name, "--memory", "plain", "--steps", "1", "--preset", "book"]
    share = {"XLA_CLIENT_MEM_FRACTION": ".05", "XLA_PYTHON_CLIENT_MEM_FRACTION": ".05"}
    seconds, done = _command(how, "memory.png", *flags, environment=share)
    said = done.stderr.strip().splitlines()
    yield {"what": "too large", "exit": done.returncode, "lines": len(said)} | {
        "said": said[-1][:300] if said else "",
        "seconds": round(seconds, 1),
    }


def _command(
    how: How, output: str, *flags: str, environment: dict[str, str] | None = None
) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Runs the command line with the embedded weights."""
    command = [sys.executable, "-m", "jaxstyle.run", "--weights", "embedded", "--quiet"]
    command += ["--content", str(CONTENT), "--style", str(STYLE), "--force", "--json"]
    given = {**os.environ, **(environment or {})}
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "-o", str(how.scratch / output), *flags],
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - began, done


def picture(how: How, size: str) -> Iterator[Row]:
    """The default's whole picture, from the start of Python to the file; then once more, warm."""
    flags = ["--size", how.pick(size, "64"), "--upscale", *how.pick([], ["--steps", "3"])]
    for cache in ("cold", "warm"):
        seconds, done = _command(how, f"picture-{size}.png", *flags)
        row = {"what": "picture", "size": size, "cache": cache, "exit": done.returncode}
        yield row | {"seconds": round(seconds, 2), "said": done.stderr[-200:].strip()}


REPEAT = """
import sys
sys.path.insert(0, {folder!r})
import accelerator_runs as runs
runs.repeated(runs.How({tiny!r}, runs.Path({scratch!r})), {begin!r}, {end!r})
"""


def repeat(how: How, *, deterministic: bool) -> Iterator[Row]:
    """Whether equal runs are equal bit for bit in several processes, and one that goes on."""
    (how.scratch / STATE).unlink(missing_ok=True)
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    if deterministic:
        import jax

        if jax.default_backend() == "cpu":  # the flag is for GPUs; a CPU is so by itself
            yield {"what": "repeat", "deterministic": True, "left_out": "for GPUs alone"}
            return
        environment["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()
    found: list[dict[str, Any]] = []
    for begin, end in ((0, 20), (0, 20), (10, 20)):
        folder = str(Path(__file__).parent)
        code = REPEAT.format(
            folder=folder, tiny=how.tiny, scratch=str(how.scratch), begin=begin, end=end
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stderr[-300:])
        found.append(json.loads(done.stdout))
    first, second, resumed = found
    yield {
        "what": "repeat",
        "deterministic": deterministic,
        "same_bits": first["canvas"] == second["canvas"],
        "same_bits_resumed": first["canvas"] == resumed["canvas"],
        "totals": [each["total"] for each in found],
        "seconds_a_step": [each["seconds"] for each in found],
    }


def repeated(how: How, begin: int, end: int) -> None:
    """Is a process of `repeat`: does the steps from `begin`, whose state is kept, to `end`."""
    import jax

    from jaxstyle.optimization.optimizer import initial_state, with_program_state
    from jaxstyle.optimization.stepping import run_steps

    size = how.pick((256, 256), (32, 40))
    problem, canvas = problem_of(how, size, mode="plain", precision="highest")
    state = with_program_state(initial_state(canvas), problem.program)
    kept = how.scratch / STATE
    if begin:
        leaves = pickle.loads(kept.read_bytes())
        state = jax.tree.unflatten(jax.tree.structure(state), list(map(jax.numpy.asarray, leaves)))
    for done in range(begin, end, 5):
        began = time.perf_counter()
        state, table = run_steps(state, 5, problem)
        rows = np.asarray(table)
        seconds = (time.perf_counter() - began) / 5
        if done + 5 == 10 and not kept.exists():
            kept.write_bytes(pickle.dumps(list(map(np.asarray, jax.tree.leaves(state)))))
    digest = hashlib.sha256(np.asarray(state.canvas).tobytes()).hexdigest()
    print(json.dumps({"canvas": digest, "total": float(rows[4][-2]), "seconds": seconds}))


def two(how: How) -> Iterator[Row]:
    """Two processes at once on one device: how each ends."""
    from concurrent.futures import ThreadPoolExecutor

    flags = ["--preset", "book", "--size", how.pick("256x256", "64x64")]
    flags += ["--steps", how.pick("60", "2")]
    taking_all = {"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}  # as jax does by itself
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(_command, how, f"two-{i}.png", *flags, environment=taking_all)
            for i in range(2)
        ]
        for run in runs:
            seconds, done = run.result()
            yield {"what": "two at once", "exit": done.returncode, "seconds": round(seconds, 1)} | {
                "said": done.stderr[-200:].strip()
            }
