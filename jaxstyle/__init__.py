"""jaxstyle paints a photo in the style of a picture: neural style transfer by optimisation, in JAX.

    import jaxstyle
    params = jaxstyle.load_weights("embedded")
    picture = jaxstyle.stylize(params, content, style)    # arrays (H, W, 3)

The map, from the ground up; a module imports only from those before it:

    errors      what can go wrong by the caller's doing
    layers      VGG-16 and VGG-19 as tables of names
    recipe      the two kinds of settings
    presets     named sets of them
    files       files written whole, free names, hashes, the cache folder
    colours     any kind of image to 8-bit sRGB
    images      picture files and arrays
    winograd    Winograd's convolution: a quarter of the multiplications
    conv        the frozen 3x3 convolution, plain or Winograd's
    vgg         the network: `features` and the Flax module
    torchpickle the pickles of torch files, read without pickle
    torchfile   torchvision's .pth files, read without torch
    download    one file into the cache, resumed and checked
    faults      what can be wrong with the parameters of a VGG
    weights     weight files: read, write, check
    pretrained  which weights: find, download, convert
    losses      Gram matrices, content, style, total variation
    objective   what is optimised at one size
    transfer    the jitted steps
    painting    the sizes of a run, from two pictures to one
    compilation compiled programs, kept for the next run
    record      what a run was, kept in its picture
    texts       values of settings as texts
    cli         the command line's flags
    checks      what can be known to fail before any work
    inputs      all that is read before jax is imported
    interrupt   Ctrl-C and SIGTERM
    progress    what a person sees meanwhile
    saving      pictures and their records on the way to disk
    job         one run, from its inputs to its files
    run         `python -m jaxstyle.run`
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
