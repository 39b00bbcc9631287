"""Where the time of a run goes when nothing is kept yet, by level; for `benchmark.py --cold`.

A process of its own, with no cache of programs, does what a run does, one thing after another: the
command line's threads compile a level while another is painted. So the sum is more than a run
takes, and what a thread does is seen.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRACE = ("/jax/core/compile/jaxpr_trace_duration", "jaxpr_to_mlir_module_duration")
COMPILE = ("backend_compile_duration",)
"""How jax's events of what tracing and compiling took end."""

Row = dict[str, Any]


def measure_cold(pair: tuple[Path, Path], size: str, flags: list[str]) -> Iterator[Row]:
    """Yields a row for the start, one for every level, and one for all.

    Args:
      pair: photo and painting.
      size: as `--size` takes it.
      flags: settings, such as `--preset draft --steps 20`.
    """
    command = [sys.executable, __file__, *map(str, pair), size, *flags]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[Row] = [json.loads(line) for line in done.stdout.splitlines()]
    yield from ({"what": "cold", "size": size, **row} for row in rows)
    total = round(time.perf_counter() - began, 2)
    yield {"what": "cold", "size": size, "level": "all", "seconds": total}


class Spent:
    """Seconds by what they were spent for; tracing and compiling as jax reports them."""

    def __init__(self) -> None:
        """Listens to jax from now on."""
        import jax

        self._seconds: Counter[str] = Counter()
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, seconds: float, **_: Any) -> None:
        for name, ends in (("trace", TRACE), ("compile", COMPILE)):
            if event.endswith(ends):
                self._seconds[name] += seconds

    def during(self, began: float, rest: str) -> Row:
        """Returns what was spent since then: traced, compiled, and what is left under a name."""
        found = dict(self._seconds)
        self._seconds.clear()
        left = time.perf_counter() - began - sum(found.values())
        return {name: round(each, 3) for name, each in {**found, rest: left}.items()}


def work(content: str, style: str, size: str, flags: list[str]) -> Iterator[Row]:
    """Is the process: yields a row for the start, and one for every level."""
    from jaxstyle.machine.process import compile_leanly, give_back, keep_freed_memory

    compile_leanly()  # as the command line does, and what follows
    keep_freed_memory()
    began = time.perf_counter()
    import jax

    from jaxstyle.cli.flags import parse
    from jaxstyle.machine.devices import call_in_this_thread
    from jaxstyle.optimization.optimizer import initial_state
    from jaxstyle.optimization.stepping import compile_steps, steps
    from jaxstyle.painting.level import levels, whole_problem
    from jaxstyle.runs.inputs import read_inputs

    call_in_this_thread()
    jax.devices()
    imported = time.perf_counter() - began
    began = time.perf_counter()
    files = ["--content", content, "--style", style, "--weights", "embedded", "--size", size]
    asked = parse([*files, *flags])
    assert asked is not None
    inputs = read_inputs(asked, Path("cold.png"), say=lambda line: None, stream=None)
    recipe, hyper = inputs.settings.recipe, inputs.settings.hyper
    found = levels(inputs.content, inputs.styles, recipe=recipe, regions=inputs.regions)
    read = time.perf_counter() - began
    yield {"level": "start", "import": round(imported, 3), "read": round(read, 3)}
    spent, problem = Spent(), None
    for level in found:
        shape = level.content.shape
        row: Row = {"level": f"{shape[0]}x{shape[1]}", "memory": level.memory_mode}
        began = time.perf_counter()
        like = None if problem is None else problem.kernels
        given: Any = {"recipe": recipe, "hyper": hyper, "mesh": None, "like": like}
        problem = whole_problem(inputs.params, level, **given)
        jax.block_until_ready(problem.targets)
        row["prepare"] = spent.during(began, "run")
        began = time.perf_counter()
        compile_steps(problem, shape)
        give_back()
        row["program"] = spent.during(began, "rest")
        began, count = time.perf_counter(), 0
        for chunk in steps(problem, initial_state(jax.numpy.zeros(shape), step=level.first_step)):
            count += len(chunk.learning_rate)
        yield row | {"steps": count, "stepping": spent.during(began, "run")}


if __name__ == "__main__":
    for each in work(*sys.argv[1:4], sys.argv[4:]):
        print(json.dumps(each), flush=True)
