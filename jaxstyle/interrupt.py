"""Ctrl-C and SIGTERM: once means "finish this step and save", twice means "at once"."""

import contextlib
import signal
import types
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, notes the first signal; the second ends the process by the system's hand.

    A Python handler cannot run while a computation holds the main thread, so after the first
    signal the system's default action, which needs no handler, is put back.

    Attributes:
      received: the signal's number, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._painting = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self.received = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self._painting:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def noted_only(self) -> Iterator[None]:
        """Inside, a signal is noted for the caller to look at; outside it raises at once."""
        self._painting = True
        try:
            yield
        finally:
            self._painting = False

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as shells report them."""
        return 128 + (self.received or signal.SIGINT)


@contextlib.contextmanager
def unbreakable() -> Iterator[None]:
    """Holds signals back while a file is written, so that no part stays; then lets them go."""
    held: list[int] = []
    before = {each: signal.signal(each, lambda n, _: held.append(n)) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in held:
            signal.raise_signal(number)
