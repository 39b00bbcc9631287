"""What the parts of scripts/accelerator.py do; each is called in a process of its own.

    python scripts/accelerator_parts.py NAME --scratch FOLDER [--tiny]

Prints rows as JSON lines. Parts that run whole commands or several processes are in
`accelerator_runs`. Programs are those of preset `book`, with the embedded VGG-19, whose
photo and painting are noise: step times do not depend on what is painted.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = (64, 128, 256, 512, 512)
TINY_WIDTHS = (4, 6, 8, 8, 8)
SHALLOW = {"content_layers": ("relu2_2",), "style_layers": ("relu1_1", "relu2_1")}
"""Of tiny problems, which compile in a second."""

PRECISIONS = ("highest", "tf32", "bf16")
AT_ALL_PRECISIONS = ("300x450", "1024x1024")
"""Sizes; the others are measured in one alone, as each takes seconds to compile."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class How:
    """What every part is given."""

    tiny: bool
    scratch: Path

    def pick(self, full: Any, tiny: Any) -> Any:
        """Returns one of two values."""
        return tiny if self.tiny else full


def params_of(how: How) -> dict[str, dict[str, Any]]:
    """Returns the embedded VGG-19 up to conv5_1, or a random one of few channels."""
    from jaxstyle.network.layers import block_of, required_conv_names

    names = required_conv_names("vgg19")
    if not how.tiny:
        from jaxstyle.weights.weight_file import read_weights

        params = read_weights(ROOT / "weights/vgg19-oxford.h5")
        return {name: dict(params[name]) for name in names}
    random, channels, found = np.random.default_rng(0), 3, {}
    for name in names:
        width = TINY_WIDTHS[block_of(name) - 1]
        kernel = random.standard_normal((3, 3, channels, width), np.float32)
        kernel *= np.float32((2 / (9 * channels)) ** 0.5)
        found[name] = {"kernel": kernel, "bias": np.zeros(width, np.float32)}
        channels = width
    return found


def noise(size: tuple[int, int], seed: int) -> Any:
    """Returns a canvas (H, W, 3), normalized, smooth enough to have features in all layers."""
    coarse = np.random.default_rng(seed).standard_normal((size[0] // 8 + 2, size[1] // 8 + 2, 3))
    rows, columns = (np.arange(side) // 8 for side in size)
    fine = np.random.default_rng(seed + 1).standard_normal((*size, 3))
    return (coarse[rows][:, columns] + 0.1 * fine).astype(np.float32)


def problem_of(how: How, size: tuple[int, int], *, mode: str, precision: str, mesh: Any = None):
    """Returns a problem of preset `book`, and the canvas with which it begins."""
    from jaxstyle.network.convolution import prepare
    from jaxstyle.network.vgg import params_up_to
    from jaxstyle.optimization.problem import make_problem
    from jaxstyle.settings.presets import preset

    given = {"memory": mode, "precision": precision, "steps": 2**30, **how.pick({}, SHALLOW)}
    recipe, hyper = preset("book", **given)
    content, style = noise(size, 0), noise(size, 2)
    params = params_up_to(params_of(how), recipe.content_layers + recipe.style_layers)
    kernels = prepare(params, conv="direct")
    problem = make_problem(kernels, content, style, recipe=recipe, hyper=hyper, mesh=mesh)
    return problem, content


def device(how: How) -> Iterator[Row]:
    """What this is: the device, its memory, versions, flags."""
    import jax

    there = jax.devices()
    names = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "torch", "numpy")
    installed = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    yield {
        "what": "device",
        "date": time.strftime("%Y-%m-%d"),
        "kind": there[0].device_kind,
        "platform": there[0].platform,
        "devices": len(there),
        "memory": (there[0].memory_stats() or {}).get("bytes_limit"),
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in names if name in installed},
        "flags": os.environ.get("XLA_FLAGS", ""),
    }


def timed(call: Callable[[], Any], *, least: float = 0.3, most: int = 64) -> float:
    """Returns the seconds of a call, the best of three turns of many; its result is waited for."""
    import jax

    began = time.perf_counter()
    jax.block_until_ready(call())
    count = max(1, min(most, int(least / max(time.perf_counter() - began, 1e-6))))
    turns = []
    for _ in range(3):
        began = time.perf_counter()
        found = [call() for _ in range(count)][-1]
        jax.block_until_ready(found)
        turns.append((time.perf_counter() - began) / count)
    return min(turns)


def roofline(how: How) -> Iterator[Row]:
    """The most that there is: a large matrix product at each precision, and a copy."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    side = how.pick(8192 if jax.default_backend() != "cpu" else 1024, 128)
    allowed = {"highest": lax.Precision.HIGHEST, "tf32": lax.Precision.HIGH, "bf16": None}
    for precision, one in allowed.items():
        dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
        a, b = (jax.random.normal(jax.random.key(i), (side, side), dtype) for i in range(2))
        seconds = timed(partial(jax.jit(partial(jnp.matmul, precision=one)), a, b))
        tflops = 2 * side**3 / seconds / 1e12
        yield {"what": "matmul", "precision": precision, "side": side, "tflops": round(tflops, 3)}
    count = how.pick(2**28 if jax.default_backend() != "cpu" else 2**24, 2**16)
    x = jnp.ones(count, jnp.float32)
    seconds = timed(partial(jax.jit(lambda x: x + 1), x))
    yield {"what": "copy", "bytes": 8 * count, "gb_per_s": round(8 * count / seconds / 1e9, 1)}


def correct(how: How) -> Iterator[Row]:
    """Features, losses and gradients at each precision, beside float32's on this machine's CPU."""
    import jax

    from jaxstyle.network.vgg import features
    from jaxstyle.optimization.problem import canvas_losses

    size = how.pick((128, 192), (32, 40))
    taps = ("relu1_1", "relu2_1", *how.pick(("relu3_1", "relu4_1", "conv5_1"), ()))

    def found(precision: str, mode: str) -> tuple[Any, ...]:
        problem, _ = problem_of(how, size, mode=mode, precision=precision)
        canvas = noise(size, 4)

        def total(canvas: Any) -> tuple[Any, Any]:
            losses = canvas_losses(canvas, problem)
            return losses.total, losses.terms

        (_, terms), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(canvas)
        maps = jax.jit(partial(features, taps=taps, precision=precision))(problem.kernels, canvas)
        return tuple(jax.tree.map(np.asarray, (terms, gradient, maps)))

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        terms, gradient, maps = found("highest", "plain")
    for precision in PRECISIONS:
        for mode in how.pick(("plain", "strips"), ("strips",)):
            if not how.tiny and (precision, mode) == ("highest", "strips"):
                continue  # found equal by the default tests
            own_terms, own_gradient, own_maps = found(precision, mode)
            yield {
                "what": "difference",
                "precision": precision,
                "mode": mode,
                "losses": max(_relative(own_terms[name], terms[name]) for name in terms),
                "gradient": _relative(own_gradient, gradient),
                "features": {tap: _relative(own_maps[tap], maps[tap]) for tap in taps},
            }


def _relative(value: Any, reference: Any) -> float:
    """Returns the root mean square of the difference, relative to that of the reference."""
    value, reference = (np.asarray(each, np.float64) for each in (value, reference))
    scale = np.sqrt(np.mean(reference**2))
    return float(f"{np.sqrt(np.mean((value - reference) ** 2)) / max(scale, 1e-30):.3g}")


def flops_of(widths: tuple[int, ...], size: tuple[int, int]) -> float:
    """Returns the operations of a step's convolutions up to conv5_1: forward, and back again."""
    from jaxstyle.network.layers import block_of, required_conv_names

    total, channels = 0.0, 3
    for name in required_conv_names("vgg19"):
        block = block_of(name) - 1
        total += 2 * 9 * channels * widths[block] * (size[0] >> block) * (size[1] >> block)
        channels = widths[block]
    return 2 * total


def step(how: How, name: str, mode: str) -> Iterator[Row]:
    """Times the steps of a size at each precision, the first losses and the memory beside it."""
    for precision in how.pick(_precisions_at(name, mode), ("highest", "bf16")):
        try:
            yield _step(how, name, mode, precision)
        except Exception as error:  # one that does not fit must not stop the others
            reason = " ".join(str(error).split())[:200]
            yield {"what": "failed", "size": name, "mode": mode, "precision": precision} | {
                "error": f"{type(error).__name__}: {reason}"
            }


def _precisions_at(name: str, mode: str) -> tuple[str, ...]:
    """Returns in what to measure a size: the one that is asked for most first."""
    every = name in AT_ALL_PRECISIONS and mode == "plain"
    return ("tf32", "bf16", "highest") if every else ("tf32",)


def peak(how: How, name: str, mode: str) -> Iterator[Row]:
    """The memory of a step whose program was compiled before: no kernels are tried beside it."""
    yield {**_step(how, name, mode, how.pick("tf32", "highest")), "what": "peak"}


def _step(how: How, name: str, mode: str, precision: str) -> Row:
    import jax

    from jaxstyle.machine.memory import step_memory
    from jaxstyle.optimization.optimizer import initial_state, with_program_state
    from jaxstyle.optimization.stepping import compile_steps, losses_in
    from jaxstyle.settings.presets import preset

    height, width = map(int, name.split("x"))
    size, pixels = (height, width), height * width
    problem, canvas = problem_of(how, size, mode=mode, precision=precision)
    began = time.perf_counter()
    executable = compile_steps(problem, (*size, 3))
    compiling = time.perf_counter() - began
    state = with_program_state(initial_state(canvas), problem.program)
    state, table = executable(state, 1, problem)
    first = losses_in(np.asarray(table)[0], problem.program.terms)
    seconds, count = [], 1
    for _ in range(4):
        began = time.perf_counter()
        state, table = executable(state, count, problem)
        np.asarray(table)
        seconds.append((time.perf_counter() - began) / count)
        count = max(1, min(64, int(how.pick(1.0, 0.1) / seconds[-1])))
    best = min(seconds)
    recipe, _ = preset("book", precision=precision)
    stats, said = jax.local_devices()[0].memory_stats() or {}, executable.memory_analysis()
    return {
        "what": "step",
        "program": "jaxstyle",
        "size": name,
        "mode": mode,
        "precision": precision,
        "seconds": best,
        "megapixels": round(pixels / best / 1e6, 3),
        "tflops": round(flops_of(how.pick(WIDTHS, TINY_WIDTHS), size) / best / 1e12, 4),
        "compile_seconds": round(compiling, 2),
        "first_total": float(first.total),
        "peak_bytes": int(stats.get("peak_bytes_in_use", 0)),
        "formula_bytes": step_memory(size, recipe=recipe, mode=mode),
        "compiler_bytes": int(said.temp_size_in_bytes + said.argument_size_in_bytes),
    }


def sweep(how: How) -> Iterator[Row]:
    """Steps of 16 variants at 256 pixels: one after another, and several in one program."""
    import jax

    from jaxstyle.optimization.optimizer import initial_state, with_program_state
    from jaxstyle.optimization.stepping import run_steps

    size = how.pick((256, 256), (32, 40))
    problem, canvas = problem_of(how, size, mode="plain", precision="tf32")
    for batch in how.pick((1, 4, 8, 16), (2,)):
        one = with_program_state(initial_state(canvas), problem.program)
        state = jax.tree.map(lambda x, n=batch: np.broadcast_to(x, (n, *np.shape(x))), one)
        call = jax.jit(jax.vmap(lambda s, p: run_steps(s, 4, p)[1], in_axes=(0, None)))
        seconds = timed(partial(call, state, problem), most=8) / 4 / batch
        yield {"what": "sweep", "at_once": batch, "seconds_a_step_and_variant": seconds}


def rows(how: How, count: int) -> Iterator[Row]:
    """Steps of one picture whose rows several devices share, beside one device's."""
    import jax

    from jaxstyle.machine.placement import rows_mesh
    from jaxstyle.optimization.optimizer import initial_state
    from jaxstyle.optimization.stepping import steps

    size = how.pick((2048, 2048), (64, 40))
    for devices in (1, count):
        mesh = rows_mesh(jax.devices()[:devices]) if devices > 1 else None
        problem, canvas = problem_of(how, size, mode="plain", precision="tf32", mesh=mesh)
        problem = dataclasses.replace(problem, steps=how.pick(40, 3))
        seconds = [
            chunk.seconds / len(chunk.learning_rate)
            for chunk in steps(problem, initial_state(canvas))
            if len(chunk.learning_rate)
        ]
        yield {"what": "rows", "devices": devices, "size": size, "seconds_a_step": min(seconds)}


def rows_of_part(part: str, how: How) -> Iterator[Row]:
    """Returns the rows of a part, by its name in `accelerator.parts_of`."""
    kind, _, rest = part.partition("-")
    if kind in ("step", "peak"):
        return (step if kind == "step" else peak)(how, *rest.split("-"))
    if kind == "torch":
        from accelerator_torch import torch_steps  # torch need not be there

        size = tuple(map(int, rest.split("x")))
        return torch_steps(params_of(how), noise(size, 0), noise(size, 2), seconds=how.pick(1, 0.1))
    if kind == "rows":
        return rows(how, int(rest))
    if kind in ("picture", "repeat", "memory", "two"):
        import accelerator_runs as runs

        return runs.rows_of_part(kind, rest, how)
    plain = {"device": device, "roofline": roofline, "correct": correct, "sweep": sweep}
    return plain[kind](how)


def main() -> None:
    """Does one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    for row in rows_of_part(options.part, How(options.tiny, options.scratch)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
