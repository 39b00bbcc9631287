"""jaxstyle paints a photo in the style of a picture: neural style transfer by optimisation, in JAX.

    import jaxstyle
    params = jaxstyle.load_weights("embedded")
    picture = jaxstyle.stylize(params, content, style)    # arrays (H, W, 3)

The map, from the ground up; a module imports only from those before it:

    errors      what can go wrong by the caller's doing
    layers      VGG-16 and VGG-19 as tables of names
    limits      what values settings may have
    recipe      the two kinds of settings
    room        how much memory there is
    plan        how much a run needs, and what fits
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
    activations how large they are, and how to scale them
    conventions what a first layer takes: Caffe's and Keras' networks made ours
    weights     weight files: read, write, check
    pretrained  which weights: find, download, convert
    distances   how near pictures are to each other
    judgeweights the judge's network: fetched, converted, kept
    judge       what it finds of a result
    losses      Gram matrices, content, style, total variation
    roots       square roots of covariances
    styles      the style losses by name
    strips      the sums of big pictures, in strips of rows
    shards      the same with the rows on several devices
    processes   several processes as one program
    objective   what is optimised at one size
    proximal    the proximal step of total variation
    state       where the optimiser stands
    transfer    the jitted steps
    levels      the sizes of a run
    ahead       work done ahead of time by a thread
    painting    the loop over sizes, from two pictures to one
    compilation compiled programs, kept for the next run
    record      what a run was, kept in its picture
    checkpoint  the file from which an interrupted run goes on
    places      one setting of a sweep, on one device
    groups      which settings share a program, and what else they share
    spread      values on many devices, and the program that works on them
    rounds      many settings on all devices
    sweeping    `sweep`
    texts       values of settings as texts
    settingflags the flags of settings
    checkpointflags the flags of checkpoints
    deviceflags the flags that say on how many devices
    sweepflags  the flags of sweeps
    cli         the command line's flags
    checks      what can be known to fail before any work
    values      the values of a sweep, from texts
    grid        which runs a sweep consists of
    inputs      all that is read before jax is imported
    resuming    which checkpoint to go on from, and whether it is this run's
    sweepfolder the files of a sweep
    sweepinputs all that a sweep reads, and what is done already
    interrupt   Ctrl-C and SIGTERM
    progress    what a person sees meanwhile
    sweepprogress the same of a sweep
    ending      how the loop of a run ended, and its last good canvas
    saving      pictures and their records on the way to disk
    keeping     checkpoints while a run goes on
    device      choosing it, its memory, its errors
    starting    the sizes of a run, and whether it can begin
    job         one run, from its inputs to its files
    layout      what lies where on the contact sheet of a sweep
    lettering   colours, sizes and text of the sheet
    corner      its corner: what is equal in all pictures
    sheet       the contact sheet
    curves      loss curves as SVG
    page        a sweep's page for a browser
    summary     sheet, page and table, from what is in a sweep's folder
    sweepjob    a process's share of a sweep, from its inputs to its files
    dryrun      the steps of one size, compiled, weighed and timed
    trial       what a run would take, by compiling it and doing a step
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
