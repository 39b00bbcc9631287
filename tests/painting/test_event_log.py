"""The observer that tells a logger: what it says of each event, and at which level."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxstyle.errors import InputError
from jaxstyle.painting.events import (
    CallDone,
    EventLog,
    LevelBegun,
    LevelEnded,
    RunEnded,
    RunRefused,
    StepsDone,
)

LEVEL: Any = SimpleNamespace(content=np.zeros((20, 30, 3)), steps=7)
LANE: Any = SimpleNamespace(steps_done=4)


def chunk(*totals: float) -> Any:
    return SimpleNamespace(first_step=2, losses=SimpleNamespace(total=np.array(totals)))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (LevelBegun(0, LEVEL, LANE), [("INFO", "run 0: 20x30 begun, 7 steps")]),
        (StepsDone(0, chunk(3.0, 1.5), LANE), [("DEBUG", "run 0: step 3, loss 1.5 before it")]),
        (StepsDone(0, chunk(), LANE), []),
        (LevelEnded(1, LEVEL, LANE), [("INFO", "run 1: 20x30 ended, 7 steps")]),
        (RunEnded(2, "finished", LANE), [("INFO", "run 2: finished after 4 steps")]),
        (RunEnded(2, "diverged", LANE), [("WARNING", "run 2: diverged after 4 steps")]),
        (RunRefused(3, InputError("a.png is gone")), [("ERROR", "run 3: a.png is gone")]),
        (CallDone((), 1, 0.1), []),
    ],
)
@pytest.mark.parametrize("name", ["jaxstyle", "mine"])
def test_events_are_told(event: Any, told: list[Any], name: str, caplog) -> None:
    log = EventLog() if name == "jaxstyle" else EventLog(logging.getLogger(name))
    with caplog.at_level(logging.DEBUG, logger=name):
        log.see(event)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == told
    assert {each.name for each in caplog.records} <= {name}
