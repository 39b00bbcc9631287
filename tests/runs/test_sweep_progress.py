"""What a person sees while a sweep paints."""

import io

import pytest

from jaxstyle.painting.events import CallDone, RunEnded
from jaxstyle.runs import progress
from jaxstyle.runs.progress import SweepDisplay

NAMES = ["a=1", "a=2", "a=3"]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def see(show: SweepDisplay, pixel_steps: int, seconds: float, *running, finished: int = 0) -> None:
    """Shows what one call brought, and how many runs ended by it."""
    for _ in range(finished):
        show.see(RunEnded(0, "finished", None))  # type: ignore[arg-type]
    show.see(CallDone(running, pixel_steps, seconds))


@pytest.fixture
def display(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    return SweepDisplay(NAMES, [10, 10, 20], 4000, stream), stream


def test_lines_say_how_many_the_losses_and_the_time_left(display) -> None:
    """1000 of 4000 pixel-steps took 30 s, compilation aside: 90 s are left."""
    show, stream = display
    see(show, 0, 99.0, (0, 0, float("nan")))
    assert stream.getvalue() == ""
    see(show, 1000, 30.0, (0, 10, 1.25), (1, 4, 33333.0), finished=1)
    assert stream.getvalue() == (
        "1/3 done, 1:30 left; a=1 step 10/10 total 1.25; a=2 step 4/10 total 3.33e+04\n"
    )


def test_of_many_devices_a_few_are_shown(display) -> None:
    show, stream = display
    see(show, 10, 1.0, *((0, i, 1.0) for i in range(9)))
    assert stream.getvalue().count("step") == progress.MOST_SHOWN
    assert stream.getvalue().endswith("; ...\n")


def test_a_bar_on_a_terminal_and_nothing_without_a_stream() -> None:
    stream = Terminal()
    show = SweepDisplay(NAMES, [10, 10, 20], 4000, stream)
    assert "compiling" in stream.getvalue()
    see(show, 2000, 1.0, (0, 10, 1.25), finished=1)
    show.close()
    assert "50%" in stream.getvalue()
    assert "1/3 done, 0:01 left" in stream.getvalue()
    silent = SweepDisplay(NAMES, [10, 10, 20], 4000, None)
    see(silent, 2000, 1.0, (0, 10, 1.25))
    silent.close()


def test_a_stream_that_is_gone_stops_nothing(display) -> None:
    show, stream = display
    stream.close()
    see(show, 1000, 30.0, (0, 10, 1.25))
    show.close()
