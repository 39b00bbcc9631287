"""What is shown meanwhile: the bar on a terminal, lines elsewhere, the time left."""

import io
import os

import numpy as np
import pytest

from jaxstyle.losses.terms import losses_by_name
from jaxstyle.optimization.optimizer import initial_state
from jaxstyle.optimization.stepping import Chunk
from jaxstyle.painting.events import StepsDone
from jaxstyle.painting.level import Level
from jaxstyle.runs.progress import Clock, Display, progress_text


def chunk_of(shape: tuple[int, int], *, done: int, count: int, seconds: float) -> Chunk:
    values = {"content": 1.5, "style": 2.5, "tv": 3.5, "total": 7.5}
    losses = losses_by_name({name: np.full(count, each) for name, each in values.items()})
    state = initial_state(np.zeros((*shape, 3), np.float32), step=done)
    return Chunk(state, None, done - count + 1, losses, np.full(count, 0.3), seconds, None)


def level(height: int, width: int, first_step: int, steps: int) -> Level:
    picture = np.zeros((height, width, 3), np.uint8)
    return Level(picture, (picture,), first_step, steps)


def test_time_left_goes_by_pixels() -> None:
    """1 s a step at 10x10: 5 more of these, and 4 of four times the pixels: 5 + 16."""
    clock = Clock([level(10, 10, 0, 10), level(20, 20, 10, 4)])
    clock.tick(chunk_of((10, 10), done=5, count=5, seconds=5.0))
    assert clock.left(5) == pytest.approx(21)
    assert clock.left(12) == pytest.approx(8)
    assert clock.left(14) == 0


def test_time_begins_with_the_first_step_not_with_the_compilation() -> None:
    clock = Clock([level(10, 10, 0, 10)])
    clock.tick(chunk_of((10, 10), done=0, count=0, seconds=100.0))
    assert clock.seconds == 0
    clock.tick(chunk_of((10, 10), done=2, count=2, seconds=3.0))
    assert clock.seconds == pytest.approx(3, abs=0.1)


def test_a_line() -> None:
    chunk = chunk_of((30, 40), done=7, count=2, seconds=3.0)
    assert progress_text(chunk, 10, 75.4) == (
        "step 7/10 at 30x40: content 1.5 style 2.5 tv 3.5 total 7.5, 1.50 s/step, 1:15 left"
    )


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_that_is_gone_has_no_bar() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    display = Display(10, Gone(), Clock([]))
    display.see(StepsDone(0, chunk_of((30, 40), done=7, count=2, seconds=3.0), None))
    display.close()


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    display = Display(10, stream, Clock([]))
    display.show(chunk_of((30, 40), done=7, count=2, seconds=3.0), 75.0)
    shown = stream.getvalue()
    display.close()
    assert " 70%" in shown
    assert "7, 1:15 left, 1.50 s/step, content 1.5 style 2.5 tv 3.5 total 7.5" in shown
    assert "compiling" in shown
    assert "\r" in shown
    assert "\x1b" not in stream.getvalue()  # no color, with NO_COLOR and without


def test_a_terminal_without_columns_has_lines(monkeypatch) -> None:
    """As `script`, `expect` and containers make them; a bar of no columns shows nothing."""

    class Narrow(Terminal):
        def fileno(self) -> int:
            return 99

    sizes = {99: os.terminal_size((0, 0))}
    monkeypatch.setattr("os.get_terminal_size", lambda number: sizes[number])
    stream = Narrow()
    display = Display(10, stream, Clock([]))
    display.show(chunk_of((30, 40), done=7, count=2, seconds=3.0), 75.0)
    display.close()
    assert stream.getvalue().startswith("step 7/10 at 30x40")
    assert "\r" not in stream.getvalue()


def test_few_lines_elsewhere() -> None:
    stream = io.StringIO()
    display = Display(10, stream, Clock([]))
    for done in range(1, 11):
        display.show(chunk_of((30, 40), done=done, count=1, seconds=0.1), 1.0)
    display.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/10", "10/10"]
    assert not {"\r", "\x1b"} & set(stream.getvalue())
