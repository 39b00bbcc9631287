"""Pictures of a sweep's runs for its page: made from its folder, once for all who look."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxstyle.errors import InputError
from jaxstyle.images.canvas import fitted_size, resize
from jaxstyle.images.color import as_floats
from jaxstyle.images.picture_file import encode, load_picture
from jaxstyle.sweeps.folder import picture_path
from jaxstyle.view.live import LONGEST_SHOWN

THUMB_SIDE = 320
"""Long side of the small pictures on a page, in pixels."""


def small_copy(path: Path, side: int) -> bytes | None:
    """Returns a copy of a picture file with this long side at most, JPEG; None if it is no more."""
    try:
        picture = load_picture(path)
    except InputError:
        return None
    small = resize(picture, fitted_size(picture, side, 1.0), resampling="lanczos")
    return encode(as_floats(small), ".jpg", {})


def thumbs(folder: Path, names: Sequence[str]) -> Callable[[int, bool], bytes | None]:
    """Returns what makes the picture of a run of a sweep by its number, small or large."""
    made: dict[int, bytes] = {}
    making = threading.Lock()

    def thumb(number: int, large: bool) -> bytes | None:
        if not 0 <= number < len(names):
            return None
        path = picture_path(folder, names[number])
        with making:
            if large:
                return small_copy(path, LONGEST_SHOWN)
            data = made.get(number) or small_copy(path, THUMB_SIDE)
            if data is not None:
                made[number] = data
            return data

    return thumb
