"""This process: how it is told to stop, how XLA compiles, what becomes of freed memory.

One signal means "finish this step and save", two mean "at once": Ctrl-C, SIGTERM, SIGHUP where a
terminal was closed, or what batch systems send.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

_STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in _STOPS if hasattr(signal, name))
"""What stops a run: Ctrl-C, the system, a closed terminal, or a batch system before it kills, by a
limit of time or as Slurm's --signal=USR1 has it. Windows has the first two."""

REPEATED = getattr(signal, "SIGXCPU", None)
"""Comes again every second, so it is never a second stop."""

STOP_SIGNAL = signal.SIGTERM
"""Stops a run of ours in another process, which saves its picture; on Windows it ends at once."""

SAME_STOP = 0.25
"""Seconds after a signal in which others are of the same stop: `timeout` and other parents send one
to the process and one to its group."""

THREADS_AHEAD = "jaxstyle-ahead"
"""How the names of threads begin that do work ahead of time."""

_WRITING = threading.Lock()

LEAN_FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
"""With this flag off, XLA schedules CPU programs for low memory; in strips that halves it."""

DETERMINISTIC_FLAG = "--xla_gpu_deterministic_ops"
"""With this flag on, XLA takes such kernels for GPUs alone that give equal bits every time, and
chooses them without measuring."""

TESTED_JAXLIBS = ("0.10.2",)
"""A flag that a jaxlib does not know aborts the process."""


class Interruption:
    """While entered, notes the first signal, and has the second, after SAME_STOP, end the process.

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
        self._before = {each: signal.signal(each, self._note) for each in SIGNALS if _is_free(each)}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup)
        self._writer.close()  # which ends the thread

    def _watch(self) -> None:
        with self._reader:
            if not self._next_stop():
                return
            time.sleep(SAME_STOP)
            with contextlib.suppress(BlockingIOError):
                self._reader.setblocking(False)
                self._reader.recv(2**16)
            self._reader.setblocking(True)
            number = self._next_stop()
            while number and number == REPEATED:
                number = self._next_stop()
            if number:
                with _WRITING:
                    self._leave(128 + number)

    def _next_stop(self) -> int:
        """Waits for a signal that stops, and returns its number; 0 once this is left."""
        while number := self._reader.recv(1):
            if number[0] in SIGNALS:
                return number[0]
        return 0

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        is_first, self.received = not self.received, self.received or number
        if is_first and not self._painting:
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
        """128 and the signal's number, as shells report it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.received or signal.SIGINT)


def _is_free(number: signal.Signals) -> bool:
    """Whether nobody else wants a signal: none is ignored, as under nohup, or a program's own."""
    there = signal.getsignal(number)
    if number.name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Python or jax may handle these
        return there != signal.SIG_IGN
    return there == signal.SIG_DFL


def works_ahead() -> bool:
    """Whether a thread of `engine.in_background` still works, perhaps for nobody any more."""
    return any(each.name.startswith(THREADS_AHEAD) for each in threading.enumerate())


@contextlib.contextmanager
def unbreakable() -> Iterator[None]:
    """Lets a second signal wait while a file is written, so that no part stays behind."""
    with _WRITING:
        yield


def compile_leanly() -> None:
    """Sets `LEAN_FLAG` for this process, before jax is imported; an own XLA_FLAGS wins."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "jax" in sys.modules or LEAN_FLAG in flags:
        return
    from importlib import metadata  # 20 ms that --help need not wait for

    with contextlib.suppress(metadata.PackageNotFoundError):
        if metadata.version("jaxlib") in TESTED_JAXLIBS:
            os.environ["XLA_FLAGS"] = f"{flags} {LEAN_FLAG}=false".strip()


def compiles_leanly() -> bool:
    """Whether `LEAN_FLAG` is set for this process."""
    return f"{LEAN_FLAG}=false" in os.environ.get("XLA_FLAGS", "")


def compute_deterministically() -> None:
    """Sets `DETERMINISTIC_FLAG` for this process, before jax is imported; an own one wins."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "jax" not in sys.modules and DETERMINISTIC_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_FLAG}=true".strip()


def computes_deterministically() -> bool:
    """Whether `DETERMINISTIC_FLAG` is set for this process."""
    return f"{DETERMINISTIC_FLAG}=true" in os.environ.get("XLA_FLAGS", "")


def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next call, until `give_back`.

    A call on the device frees its working memory at its end, and takes as much for the next one.
    From the system it would come as pages of zeros, one by one: a quarter of a step at 300x450.
    Of use where the main thread itself does the call, see `devices.call_in_this_thread`.
    """
    mmap_max, trim_threshold, never = -4, -1, -1  # glibc's malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, never)


def give_back() -> None:
    """Has the C library give freed memory back: a compiler leaves half a gigabyte of it."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has this
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Returns how much memory this process uses now, or used at most; 0 where nobody tells."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        with contextlib.suppress(OSError):
            pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * resource.getpagesize()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return 0
