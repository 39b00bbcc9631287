"""Observers: one that is defined here sees everything that happens in runs and sweeps."""

import logging

import jax
import numpy as np
import pytest
from conftest import SHALLOW

import jaxstyle
from jaxstyle.machine.process import THREADS_AHEAD
from jaxstyle.optimization import stepping
from jaxstyle.painting.events import (
    Event,
    LevelBegun,
    LevelEnded,
    RunEnded,
    StepsDone,
    watched,
)
from jaxstyle.painting.sweeping import paint_variants
from jaxstyle.painting.variants import Variant
from jaxstyle.settings.presets import preset


class Notes:
    """An observer that writes down what it sees, in a few words."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def see(self, event: Event) -> None:
        if isinstance(event, LevelBegun):
            note = ("begun", event.run, event.level.content.shape[:2])
        elif isinstance(event, StepsDone):
            note = ("steps", event.run, len(event.chunk.learning_rate))
        elif isinstance(event, LevelEnded):
            note = ("ended", event.run, event.snapshot.steps_done)
        elif isinstance(event, RunEnded):
            note = (event.how, event.run)
        else:
            note = ("call", len(event.running))
        self.seen.append(note)


@pytest.fixture(autouse=True)
def three_steps_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "steps_a_call", lambda count, seconds: 3)


def settings(**changes):
    return preset(**{"size": 48, "steps": 4, "scales": (1.0,), **SHALLOW, **changes})


def test_of_a_run(params, content, style) -> None:
    """Two steps at 17x24, four at 35x48, in calls of three; each level is compiled first."""
    recipe, hyper = settings(scales=(0.5, 1.0), steps=6, steps_power=1.0)
    notes, quiet = Notes(), Notes()
    given = {"recipe": recipe, "hyper": hyper, "observers": [notes, quiet]}
    picture = jaxstyle.stylize(params, content, style, **given)
    coarse = [("begun", 0, (17, 24)), ("steps", 0, 0), ("call", 1), ("steps", 0, 2)]
    coarse += [("ended", 0, 2), ("call", 1)]
    fine = [("begun", 0, (35, 48)), ("steps", 0, 0), ("call", 1), ("steps", 0, 3), ("call", 1)]
    fine += [("steps", 0, 1), ("ended", 0, 6), ("finished", 0), ("call", 1)]
    assert notes.seen == coarse + fine
    assert quiet.seen == notes.seen
    plain = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    np.testing.assert_array_equal(picture, plain)


def test_of_a_sweep_with_a_run_that_diverges(params, content, style) -> None:
    """Of the second, step 1 leads to a canvas whose loss is known to be infinite in step 2."""
    pairs = [settings(), settings(learning_rate=1e30, clip=False)]
    recipes, hypers = map(list, zip(*pairs, strict=True))
    notes = Notes()
    given = {"recipe": recipes, "hypers": hypers, "observers": [notes]}
    results = list(jaxstyle.sweep(params, content, style, devices=jax.devices()[:1], **given))
    size = (35, 48)
    first = [("begun", 0, size), ("steps", 0, 0), ("call", 1), ("steps", 0, 3), ("call", 1)]
    first += [("steps", 0, 1), ("ended", 0, 4), ("finished", 0), ("call", 1)]
    second = [("begun", 1, size), ("steps", 1, 0), ("call", 1), ("steps", 1, 2), ("diverged", 1)]
    assert notes.seen == [*first, *second, ("call", 1)]
    assert [each.failure is None for each in results] == [True, False]


def test_what_is_stopped_is_seen_as_interrupted_and_nothing_comes_after(
    params, content, style
) -> None:
    recipe, hyper = settings()
    variants = [Variant(content, (style,), recipe, hyper, seed=seed) for seed in range(2)]
    notes = Notes()
    given = {"devices": jax.devices()[:1], "stop": lambda: ("steps", 0, 3) in notes.seen}
    for event in watched(paint_variants(params, variants, **given), [notes]):
        last = event
    assert notes.seen[-2:] == [("call", 1), ("interrupted", 0)]
    assert {note[1] for note in notes.seen if note[0] != "call"} == {0}
    snapshot = last.lane.snapshot()
    assert snapshot.steps_done == 3
    assert np.isfinite(snapshot.losses.total)


@pytest.mark.slow
def test_the_next_program_is_compiled_while_one_is_painted(params, content, style, caplog) -> None:
    """Two programs of two levels: all but the very first level are compiled in threads."""
    pairs = [
        settings(scales=(0.5, 1.0), size=57, pooling=pooling, tv_weight=weight)
        for pooling in ("max", "avg")
        for weight in (1.0, 2.0)
    ]
    recipes, hypers = map(list, zip(*pairs, strict=True))
    jax.clear_caches()
    with caplog.at_level(logging.DEBUG, "jax._src.interpreters.pxla"):
        given = {"recipe": recipes, "hypers": hypers, "devices": jax.devices()[:1]}
        results = list(jaxstyle.sweep(params, content, style, **given))
    lines = [each for each in caplog.records if "Compiling jit(_run_steps)" in each.message]
    threads = [str(each.threadName).startswith(THREADS_AHEAD) for each in lines]
    assert sorted(threads[:2]) == [False, True]  # the two are compiled at once
    assert threads[2:] == [True, True]
    assert [each.number for each in results] == [0, 1, 2, 3]


@pytest.mark.parametrize(("memory", "expected"), [("plain", 0), ("strips", 4)])
def test_in_strips_the_memory_of_every_call_is_given_back(
    params, content, style, memory: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one that compiles, of those with three steps and with one, and of the closing one."""
    given: list[None] = []
    monkeypatch.setattr(stepping, "give_back", lambda: given.append(None))
    recipe, hyper = settings(memory=memory)
    jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    assert len(given) == expected
