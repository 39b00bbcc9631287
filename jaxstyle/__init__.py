"""jaxstyle paints a photo in the style of a picture: neural style transfer by optimization, in JAX.

    import jaxstyle
    params = jaxstyle.load_weights("embedded")
    picture = jaxstyle.stylize(params, content, style)    # arrays (H, W, 3)

The map, from the ground up; a wing imports only from those before it:

    errors        what can go wrong by the caller's doing, and how it is said
    files         files written whole, free names, hashes, the cache folder
    network       VGG: its tables, the convolutions, the features
    settings      what a run can be told, its texts, the presets
    images        picture files, sizes, canvases
    weights       the network's weights: files of several kinds, and where they come from
    losses        the losses, as functions of sums over features
    machine       memory, this process, devices, what is placed on them
    judging       how near a result is to its painting and photo
    optimization  one size: its problem, the optimizer, the jitted steps
    painting      from pictures to a painted one; sweeps on many devices
    notebook      live progress in a notebook
    runs          a run: what was asked for, what it reads, keeps, shows and writes
    sweeps        a sweep: its grid, its folder, its share of the work, its page
    view          a page that shows a run as it is painted
    cli           the command line
    run           `python -m jaxstyle.run`
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

# What is public stands in __init__.pyi. It is imported when first asked for: jax takes a second.
_lazy_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Imports what is asked for; with the settings also what makes a pytree of them."""
    if name in ("Hyperparams", "preset"):
        _lazy_getattr("Problem")
    return _lazy_getattr(name)
