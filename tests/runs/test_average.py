"""With an average of canvases, every picture that a run or a sweep leaves is of the average."""

import shutil
import signal
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW, SHALLOW_FLAGS, relative_rms

import jaxstyle
from jaxstyle.cli.main import main
from jaxstyle.images.picture_file import load_picture
from jaxstyle.painting.events import StepsDone
from jaxstyle.runs import checkpoint, job
from jaxstyle.runs.checkpoint import Resumption
from jaxstyle.runs.checkpointer import restored_state

DECAY = 0.8
STEPS = 5


@pytest.fixture
def averages(params) -> list[np.ndarray]:
    """The average after every step, from the canvases of a longer run, in float64.

    Each canvas weighs DECAY times as much as the next. The last canvas of a run is its average, so
    this one has a step more; with the learning rate of preset `book` the others are the same.
    """
    photo, painting = pictures()
    recipe, hyper = jaxstyle.preset("book", **settings(steps=STEPS + 1))
    levels = jaxstyle.levels(photo, painting, recipe=recipe)
    canvases, found = [], []
    for chunk in jaxstyle.paint(params, levels, recipe=recipe, hyper=hyper, pause_every=1):
        canvases.append(np.array(chunk.state.canvas, np.float64))
    for done in range(STEPS + 1):
        weights = DECAY ** np.arange(done, -1, -1)
        found.append(np.tensordot(weights / weights.sum(), canvases[: done + 1], 1))
    assert relative_rms(canvases[STEPS], found[STEPS]) > 0.05
    return found


def pictures():
    return [load_picture(EXAMPLES / f"{name}.png") for name in ("coffee", "strokes")]


def settings(steps: int) -> dict:
    return {"size": 32, "steps": steps, "average": DECAY, "conv": "direct", **SHALLOW}


@pytest.fixture
def interrupted(tmp_path, slim_file, monkeypatch):
    """Runs the command line in an empty folder, interrupted after so many steps, if given."""
    monkeypatch.chdir(tmp_path)
    for name in ("coffee.png", "strokes.png"):
        shutil.copy(EXAMPLES / name, name)
    given = ["--content", "coffee.png", "--style", "strokes.png", "--weights", str(slim_file)]
    given += ["--preset", "book", "--size", "32", "--steps", str(STEPS), "--average", str(DECAY)]
    given += ["--conv", "direct", *SHALLOW_FLAGS, "--save-every", "1", "--checkpoint", "kept"]
    whole = job.paint_run

    def run(*flags: str, after: int | None = None) -> int:
        def cut(*given, **settings):
            for event in whole(*given, **settings):
                if isinstance(event, StepsDone) and event.lane.steps_done == after:
                    signal.raise_signal(signal.SIGINT)
                yield event

        monkeypatch.setattr(job, "paint_run", cut)
        return main([*given, *flags, "--quiet", "-o", "out.png"])

    return run


def assert_shows(name: str, average: np.ndarray) -> None:
    """Asserts that a picture is of a canvas, to the rounding of 8 bits."""
    expected = 255.0 * jaxstyle.denormalize(average)
    assert np.abs(load_picture(Path(name)) - expected).max() < 0.51


def test_numbered_pictures_results_and_checkpoints_show_it(averages, interrupted, capsys) -> None:
    assert interrupted(after=3) == 130
    assert_shows("out.png", averages[3])
    state, _ = restored_state(Resumption(Path("kept"), checkpoint.read_header(Path("kept")), False))
    assert relative_rms(jaxstyle.shown(state), averages[3]) < 1e-5
    assert relative_rms(state.canvas, averages[3]) > 0.01
    assert interrupted("--resume") == 0
    assert_shows("out.png", averages[STEPS])
    for step in range(1, STEPS + 1):
        assert_shows(f"out-{step:04d}.png", averages[step])
    capsys.readouterr()


def test_sweeps_show_it(params, averages) -> None:
    recipe, hyper = jaxstyle.preset("book", **settings(STEPS))
    (swept,) = jaxstyle.sweep(params, *pictures(), recipe=recipe, hypers=[hyper])
    assert relative_rms(swept.picture, jaxstyle.denormalize(averages[STEPS])) < 1e-5


def test_the_next_level_goes_on_from_what_the_last_one_shows(params) -> None:
    """A state at a level's end whose average is another picture, as no run leaves it."""
    recipe, hyper = jaxstyle.preset("book", **settings(2) | {"scales": (0.7, 1.0)})
    levels = jaxstyle.levels(*pictures(), recipe=recipe)
    start = jaxstyle.initial_state(jnp.zeros(levels[0].content.shape), step=levels[1].first_step)
    start = start._replace(average=jnp.ones(levels[0].content.shape))
    chunks = jaxstyle.paint(params, levels, recipe=recipe, hyper=hyper, start=start)
    np.testing.assert_allclose(next(chunks).state.canvas, 1, rtol=1e-5)
