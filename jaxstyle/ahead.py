"""Work that a thread does ahead of time, while the main one paints."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax

from jaxstyle.interrupt import THREADS_AHEAD

Result = TypeVar("Result")


def begun(call: Callable[[], Result]) -> Callable[[], Result]:
    """Has a thread do a call, and returns what waits for its result, or raises its error.

    jax's default device is that of the caller. Python waits for the thread when the process ends,
    as XLA cannot be told to give up; the command line does not.
    """
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # a thread begins without

    def work() -> Result:
        with jax.default_device(device):
            return call()

    threads = ThreadPoolExecutor(1, THREADS_AHEAD)
    future = threads.submit(work)
    threads.shutdown(wait=False)
    return future.result
