"""What the page's button "save now" does: a numbered picture beside the run's output."""

import numpy as np
from numpy.typing import NDArray

from jaxstyle.machine.devices import kind_of
from jaxstyle.painting.variants import Lane
from jaxstyle.runs.observers import Job
from jaxstyle.runs.output_name import numbered
from jaxstyle.runs.outputs import make_record, save_numbered
from jaxstyle.view.live import Save


def saver(job: Job) -> Save:
    """Returns what saves a canvas of this run as --save-every does."""

    def save(lane: Lane, canvas: NDArray[np.float32], done: int) -> str | None:
        path = numbered(job.output, done)
        facts = make_record(job.inputs, kind_of([lane.device]), canvas, None, done)
        picture = lane.picture_of(canvas, size=lane.levels[-1].content.shape[:2])
        force, say = job.arguments.force, job.say
        is_saved = save_numbered(picture, job.output, job.inputs, facts, force=force, say=say)
        return path.name if is_saved else None

    return save
