"""Ctrl-C and SIGTERM: once means "finish this step and save", twice means "at once"."""

import contextlib
import signal
import socket
import threading
import types
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)

THREADS_AHEAD = "jaxstyle-ahead"
"""How the names of threads begin that do work ahead of time."""

_WRITING = threading.Lock()


class Interruption:
    """While entered, notes the first signal, and has the second end the process.

    A Python handler waits until a computation hands the main thread back. So the second signal is
    seen by a thread of its own, through the bytes that the system's handler writes to a socket.

    Attributes:
      received: the first signal's number, or 0.
    """

    def __init__(self, leave: Callable[[int], object]) -> None:
        """Takes `leave`, which ends the process at once with an exit code: `os._exit`."""
        self.received = 0
        self._leave = leave
        self._painting = False
        self._before: dict[signal.Signals, object] = {}
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._old_wakeup = -1

    def __enter__(self) -> "Interruption":
        threading.Thread(target=self._watch, daemon=True).start()
        self._old_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {
            each: signal.signal(each, self._note)
            for each in SIGNALS
            if signal.getsignal(each) != signal.SIG_IGN  # as under nohup: it shall stay ignored
        }
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup)
        self._writer.close()  # which ends the thread

    def _watch(self) -> None:
        count = 0
        with self._reader:
            while number := self._reader.recv(1):
                count += number[0] in SIGNALS
                if count == 2:
                    with _WRITING:
                        self._leave(128 + number[0])

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self.received = self.received or number
        if not self._painting:
            raise KeyboardInterrupt

    def note_other(self) -> None:
        """Takes note that another process, with which this one works, was told to stop."""
        self.received = self.received or signal.SIGINT

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


def works_ahead() -> bool:
    """Whether a thread is still at work for what may not be wanted any more, see `ahead`."""
    return any(each.name.startswith(THREADS_AHEAD) for each in threading.enumerate())


@contextlib.contextmanager
def unbreakable() -> Iterator[None]:
    """Lets a second signal wait while a file is written, so that no part stays behind."""
    with _WRITING:
        yield
