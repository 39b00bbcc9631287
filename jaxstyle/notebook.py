"""Live progress in a notebook: the picture as it is painted, beside its losses.

It needs IPython, which every notebook (Jupyter, Colab, VS Code) has, and no widget.
"""

import base64
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import floats_within
from jaxstyle.images.picture_file import encode
from jaxstyle.losses.terms import Losses
from jaxstyle.optimization.optimizer import shown
from jaxstyle.painting.events import Event, Observer, RunEnded, StepsDone
from jaxstyle.painting.variants import Lane

Show = Callable[[str], None]
"""Shows a page's part, HTML, in place of what it showed before."""


def watch(*, seconds: float = 1.0, side: int = 480, show: Show | None = None) -> Observer:
    """Returns an observer of a run that shows its canvas below the notebook's cell.

        jaxstyle.stylize(params, content, style, observers=[jaxstyle.notebook.watch()])

    Args:
      seconds: least time between two pictures; the last one of a run always comes.
      side: a larger picture is shown with this long side, in pixels.
      show: is given what to show; by default IPython shows it.

    Raises:
      InputError: a number that cannot be used, or IPython is not there.
    """
    if not seconds >= 0 or not side >= 1:
        raise InputError(f"seconds must be at least 0, side at least 1; got {seconds}, {side}")
    return _Watch(seconds, int(side), _ipython() if show is None else show)


class _Watch:
    def __init__(self, seconds: float, side: int, show: Show) -> None:
        self._seconds, self._side, self._show = seconds, side, show
        self._next = -np.inf

    def see(self, event: Event) -> None:
        """Shows the canvas, if it is time."""
        if not isinstance(event, StepsDone | RunEnded) or event.lane.chunk is None:
            return
        if isinstance(event, StepsDone) and time.monotonic() < self._next:
            return
        self._show(page_of(event.lane, side=self._side))
        self._next = time.monotonic() + self._seconds


def page_of(lane: Lane, *, side: int) -> str:
    """Returns HTML that shows a run's canvas, with a caption: step, size, losses by term."""
    chunk = lane.chunk
    if chunk is None:
        return "<p>not begun</p>"
    picture = lane.picture_of(shown(chunk.state))
    height, width = picture.shape[:2]
    total = sum(level.steps for level in lane.levels)
    words = f"step {lane.steps_done} of {total} at {height}x{width}{_told(chunk.losses)}"
    data = base64.b64encode(encode(floats_within(picture, side), ".png", {})).decode("ascii")
    image = f'<img alt="the picture: {words}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def _told(losses: Losses) -> str:
    """Returns the losses before the last step, to three digits; nothing before the first."""
    if not len(losses.total):
        return ""
    each = {**losses.terms, "total": losses.total}
    return ": " + ", ".join(f"{name} {float(values[-1]):.3g}" for name, values in each.items())


def _ipython() -> Show:
    if importlib.util.find_spec("IPython") is None:
        raise InputError("live progress needs IPython: pip install ipython")
    display: Any = importlib.import_module("IPython.display")
    handle = display.display(display.HTML("<p>compiling</p>"), display_id=True)

    def show(page: str) -> None:
        if handle is not None:
            handle.update(display.HTML(page))

    return show
