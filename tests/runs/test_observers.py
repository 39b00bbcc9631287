"""One's own observer of a job, beside those that every run and sweep has."""

import os
import signal
from pathlib import Path

import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS

from jaxstyle.cli.flags import parse
from jaxstyle.machine.process import Interruption
from jaxstyle.painting.events import Event, RunEnded, StepsDone
from jaxstyle.runs.inputs import read_inputs
from jaxstyle.runs.job import run_job
from jaxstyle.runs.observers import Job
from jaxstyle.sweeps.inputs import read_sweep
from jaxstyle.sweeps.job import SweepJob, run_sweep


class Notes:
    """An observer that counts steps by run, and sends a signal after so many of the first's."""

    def __init__(self, *, stop_after: int = 99) -> None:
        self.steps: dict[int, int] = {}
        self.ends: list[tuple[int, str]] = []
        self._stop_after = stop_after

    def see(self, event: Event) -> None:
        if isinstance(event, StepsDone):
            done = self.steps.get(event.run, 0) + len(event.chunk.learning_rate)
            self.steps[event.run] = done
            if done >= self._stop_after:
                signal.raise_signal(signal.SIGTERM)
        if isinstance(event, RunEnded):
            self.ends.append((event.run, event.how))


@pytest.fixture
def asked(slim_file: Path):
    """Reads a command line of five steps."""

    def asked(*flags: str):
        given = ["--content", str(EXAMPLES / "coffee.png"), "--weights", str(slim_file)]
        given += ["--style", str(EXAMPLES / "strokes.png"), "--size", "32", "--scales", "1"]
        found = parse([*given, "--steps", "5", *SHALLOW_FLAGS, *flags])
        assert found is not None
        return found

    return asked


@pytest.mark.parametrize(
    ("stop_after", "end", "code"), [(99, "finished", 0), (1, "interrupted", 143)]
)
def test_of_a_run(asked, tmp_path: Path, stop_after: int, end: str, code: int) -> None:
    notes, said, output = Notes(stop_after=stop_after), [], tmp_path / "out.png"
    arguments = asked("-o", str(output))
    inputs = read_inputs(arguments, output, say=said.append, stream=None)
    with Interruption(os._exit) as interruption:
        job = Job(arguments, inputs, output, None, interruption, said.append, None)
        outcome = run_job(job._replace(observers=[notes]))
    assert (outcome.path, outcome.exit_code) == (output, code)
    assert notes.ends == [(0, end)]
    assert notes.steps == {0: outcome.record["steps_done"]}


def test_of_a_sweep(asked, tmp_path: Path) -> None:
    notes, folder = Notes(), tmp_path / "out"
    arguments = asked("-o", str(folder), "--sweep", "tv-weight", "1", "2")
    sweep = read_sweep(arguments, say=print, stream=None)
    with Interruption(os._exit) as interruption:
        given = arguments.device, arguments.devices, interruption, print, None
        assert run_sweep(SweepJob(sweep, *given, observers=[notes]))
    assert notes.ends == [(0, "finished"), (1, "finished")]
    assert notes.steps == {0: 5, 1: 5}
    assert sorted(path.name for path in folder.glob("*.png")) == [
        "tv-weight=1.png",
        "tv-weight=2.png",
    ]
