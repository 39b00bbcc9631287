"""Runs in a process of its own with eight virtual devices: sweeps against single runs.

Prints a JSON text of findings, which test_rounds.py judges.
"""

import dataclasses
import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
from conftest import EXAMPLES, SHALLOW, slim_params
from evaluation import rows_of

import jaxstyle
from jaxstyle.images import picture_file
from jaxstyle.machine import placement
from jaxstyle.optimization import stepping
from jaxstyle.painting import sweep_rounds
from jaxstyle.painting.events import Event, StepsDone, watched
from jaxstyle.painting.sweeping import paint_variants, ticks
from jaxstyle.painting.variants import Unfinished, Variant

PARAMS = slim_params("vgg19")
CONTENT = picture_file.load_picture(EXAMPLES / "coffee.png")[100:167, 250:343]
STROKES = picture_file.load_picture(EXAMPLES / "strokes.png")
STYLES = [STROKES[40:109, 500:571], STROKES[:60, :50]]
WINOGRAD = {"conv": "winograd", "size": 40, "scales": (0.5, 1.0)}
WINOGRAD |= {"content_layers": ("relu1_1",), "style_layers": ("relu1_1",)}
"""Two sizes, the smaller one with tiles of 4x4, the larger one with 6x6."""

COLLECTIVE = r"(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)"


def variants_of(count: int) -> dict:
    """Returns lists for `sweep`: other numbers, steps, seeds and styles, all of one program.

    Three variants are painted at two sizes, with Winograd's convolution, other numbers of them at
    one with the plain one, to save time.
    """
    program = WINOGRAD if count == 3 else {"size": 48, "scales": (1.0,), "clip": False, **SHALLOW}
    program = {**program, "memory": "plain"}  # which auto is depends on how much is free just now
    grid = itertools.cycle(itertools.product((0.3, 0.1), (1e3, 1e4, 1e5)))
    pairs = [
        jaxstyle.preset(
            **program,
            style_weight=weight,
            learning_rate=rate,
            steps=6 + i % 3,
            tv_weight=float(i),
        )
        for i, (rate, weight) in zip(range(count), grid, strict=False)
    ]
    return {
        "styles": [STYLES[i % 2] for i in range(count)],
        "recipe": [recipe for recipe, _ in pairs],
        "hypers": [hyper for _, hyper in pairs],
        "seeds": list(range(count)),
    }


def swept(given: dict) -> list:
    results = jaxstyle.sweep(PARAMS, CONTENT, init="noise", **given)
    return sorted(results, key=lambda result: result.number)


def alone(given: dict, i: int):
    """Returns picture, losses of every step and closing losses of a run of its own."""
    chunks = []

    def see(chunk) -> None:
        chunks.append(chunk._replace(state=None))

    picture = jaxstyle.stylize(
        PARAMS,
        CONTENT,
        given["styles"][i],
        recipe=given["recipe"][i],
        hyper=given["hypers"][i],
        init="noise",
        seed=given["seeds"][i],
        report=see,
    )
    rows = np.concatenate([rows_of(chunk.losses) for chunk in chunks])
    return picture, rows, chunks[-1].closing


def same(result, other) -> bool:
    return all(
        map(
            np.array_equal,
            (result.picture, rows_of(result.history)),
            (other.picture, rows_of(other.history)),
        )
    )


def equal_to_single_runs(count: int) -> bool:
    given = variants_of(count)
    results = swept(given)
    good = [result.number for result in results] == list(range(count))
    for i, result in enumerate(results):
        picture, rows, closing = alone(given, i)
        good &= np.array_equal(result.picture, picture)
        good &= np.array_equal(rows_of(result.history), rows)
        good &= np.array_equal(rows_of(result.losses), rows_of(closing))
        good &= result.steps_done == given["recipe"][i].steps == len(rows)
    return bool(good)


def nan_harms_no_other() -> list[int]:
    """Returns which variants fail, of eight with two that must; [-1] if another one changed."""
    given = variants_of(8)
    before = swept(given)
    for i in (2, 7):
        given["hypers"][i] = dataclasses.replace(given["hypers"][i], learning_rate=1e30)
    after = swept(given)
    changed = [i for i in range(8) if i not in (2, 7) and not same(before[i], after[i])]
    return [-1] if changed else [r.number for r in after if r.failure is not None]


def goes_on_inside() -> bool:
    """Whether three runs cut off at steps 1, 3 and 5, at two sizes, end as if they were whole."""
    given = variants_of(3)
    columns = (given["styles"], given["recipe"], given["hypers"], given["seeds"])
    variants = [
        Variant(CONTENT, (style,), recipe, hyper, "noise", seed)
        for style, recipe, hyper, seed in zip(*columns, strict=True)
    ]
    kept: dict[int, Unfinished] = {}

    class Keep:
        def see(self, event: Event) -> None:
            if isinstance(event, StepsDone) and event.lane.steps_done == 1 + 2 * event.run:
                kept[event.run] = left_by(event)

    def results(those: list[Variant], observers: list) -> list:
        events = paint_variants(PARAMS, those, devices=jax.devices(), pause_every=1)
        found = [tick.finished for tick in ticks(watched(events, observers))]
        return sorted(itertools.chain(*found), key=lambda result: result.number)

    whole = results(variants, [Keep()])
    cut = [each._replace(unfinished=kept[i]) for i, each in enumerate(variants)]
    return all(map(same, results(cut, []), whole))


def left_by(event: StepsDone) -> Unfinished:
    """Returns what a checkpoint after a call would hold."""
    state, lane = jax.tree.map(np.array, event.chunk.state), event.lane
    finished, modes = lane.finished, tuple(level.memory_mode for level in lane.levels)
    history = jax.tree.map(lambda *parts: np.concatenate(parts), *lane.history)

    def restore() -> tuple:
        return jax.tree.map(jnp.array, state), finished

    return Unfinished(lane.steps_done, modes, restore, history, lane.seconds)


def compiled() -> tuple[str, int, int]:
    """Returns the program's text, its temporary memory and that of a single run's, in bytes."""
    seen = []
    original = sweep_rounds.run_steps_on_each

    def spy(state, counts, problem, mesh):
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
            (state, counts, problem.kernels, dataclasses.replace(problem, kernels={})),
        )
        seen.append((mesh, shapes))
        return original(state, counts, problem, mesh)

    sweep_rounds.run_steps_on_each = spy
    swept(variants_of(8))
    sweep_rounds.run_steps_on_each = original
    mesh, shapes = seen[-1]
    program = sweep_rounds.steps_on_each(mesh).lower(*shapes).compile()
    state, count, rest = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), (*shapes[:2], shapes[3])
    )
    kernels = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), shapes[2])
    problem = dataclasses.replace(rest, kernels=kernels)
    single = stepping._run_steps.lower(state, count, problem).compile()
    sizes = [each.memory_analysis().temp_size_in_bytes for each in (program, single)]
    return program.as_text(), *sizes


def main() -> None:
    found = {"devices": len(jax.devices())}
    for count in (1, 3, 8, 11):
        found[f"equal {count}"] = equal_to_single_runs(count)
    meshes = {
        n: sweep_rounds.steps_on_each(placement.sweep_mesh(jax.devices()[:n])) for n in (3, 8)
    }
    found["programs"] = {n: each._cache_size() for n, each in meshes.items()}
    found["goes on"] = goes_on_inside()
    found["failures"] = nan_harms_no_other()
    text, *sizes = compiled()
    found["collectives"] = re.findall(COLLECTIVE, text)
    found["partitions"] = re.findall(r"num_partitions=(\d+)", text)
    found["memory"] = sizes
    found["programs in the end"] = meshes[8]._cache_size()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
