"""What the page's button "save now" does: a numbered picture beside the run's output."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxstyle.machine.devices import kind_of
from jaxstyle.painting.variants import Lane
from jaxstyle.runs.observers import Job
from jaxstyle.runs.outputs import save_numbered
from jaxstyle.view.live import Save


def saver(job: Job) -> Save:
    """Returns what saves a canvas of this run as --save-every does."""

    def save(lane: Lane, canvas: NDArray[np.float32], done: int) -> str | None:
        given: Any = {"device": kind_of([lane.device]), "force": job.arguments.force}
        return save_numbered(lane, canvas, done, job.output, job.inputs, **given, say=job.say)

    return save
