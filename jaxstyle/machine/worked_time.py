"""The time that this process worked: without that in which it was stopped, as by Ctrl-Z."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

BEAT = 0.25
"""Seconds after which a thread looks at the time, again and again."""

LEAST_STOP = 2.0
"""A process that has not looked at the time for so many seconds was stopped, or is very busy."""

BUSY = 0.1
"""It was busy if it had at least such a part of them on a processor."""


class WorkClock:
    """A clock that stands still while the process is stopped.

    No signal tells of SIGSTOP, and Python's handlers wait for the end of a step, so a thread looks
    at the time; without it the clock is the system's monotonic one, which nobody sets back.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        """Takes what returns the time, and the time on processors, both in seconds."""
        self._now, self._used = now, used
        self._stopped, self._looks = 0.0, 0
        self._last = (0.0, 0.0)
        self._lock = threading.Lock()

    def seconds(self) -> float:
        """Returns the seconds that were worked, since some moment."""
        with self._lock:
            now, used = self._now(), self._used()
            gap, busy = now - self._last[0], used - self._last[1]
            if self._looks and gap >= LEAST_STOP and busy < BUSY * gap:
                self._stopped += gap
            self._last = now, used
            return now - self._stopped

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Inside, a thread looks at the time, so that stops are noticed."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(BEAT):
                self.seconds()

        self.seconds()
        self._looks += 1
        threading.Thread(target=look, daemon=True).start()
        try:
            yield
        finally:
            self._looks -= 1
            ended.set()


CLOCK = WorkClock()
"""The process's."""
