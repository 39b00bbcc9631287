"""The clock stands still while the process is stopped, and only then."""

import contextlib

import pytest

from jaxstyle.machine import worked_time
from jaxstyle.machine.worked_time import WorkClock


class Machine:
    """A time, and the time on processors, that a test moves on."""

    def __init__(self) -> None:
        self.now, self.used = 1000.0, 5.0

    def clock(self) -> WorkClock:
        return WorkClock(lambda: self.now, lambda: self.used)

    def goes_on(self, seconds: float, *, used: float) -> None:
        self.now, self.used = self.now + seconds, self.used + used


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which no thread looks at the time by itself."""
    monkeypatch.setattr(worked_time, "BEAT", 1e6)
    return Machine()


def test_a_stop_is_not_counted_and_work_is(machine: Machine) -> None:
    clock = machine.clock()
    with clock.looking():
        began = clock.seconds()
        machine.goes_on(0.3, used=0.0)  # waiting, as for a GPU, between two looks
        assert clock.seconds() - began == pytest.approx(0.3)
        machine.goes_on(3600, used=0.1)  # stopped
        assert clock.seconds() - began == pytest.approx(0.3)
        machine.goes_on(20, used=19.0)  # a computation that let nobody look
        assert clock.seconds() - began == pytest.approx(20.3)
        machine.goes_on(1.5, used=0.0)  # a short stop, or a busy machine
        assert clock.seconds() - began == pytest.approx(21.8)


def test_where_nobody_looks_it_is_a_plain_clock(machine: Machine) -> None:
    clock = machine.clock()
    with contextlib.ExitStack() as until:
        until.enter_context(clock.looking())
    began = clock.seconds()
    machine.goes_on(3600, used=0.1)
    assert clock.seconds() - began == pytest.approx(3600)
