"""Winograd's convolution in compiled code, on CPUs, where package jaxstyle-cpu is installed.

It is the method of `winograd`, whose kernels it takes, with all of a tile in a processor's cache,
where XLA's program writes every step of it to memory; ReLU is part of it. There is little to
compile, so a picture begins sooner. packaging/cpu has its source.
"""

import ctypes
import importlib
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxstyle.network import winograd

PACKAGE = "jaxstyle_cpu"
INTERFACE = 1
"""Of the compiled functions; a package with another one is not used."""

FAILURES = (AttributeError, OSError, RuntimeError, ValueError)
"""Of loading a library of another machine or jaxlib, or of registering its functions."""

FUNCTIONS = ("jaxstyle_forward", "jaxstyle_backward")

PANEL = 32
"""Channels out that lie together in a kernel: channels in and out are multiples of it."""

LARGEST_APART = 12_000_000
"""Bytes of a kernel up to which each worker does all of a few tiles: those of a large cache."""

SCRATCH_TOGETHER = 12_000_000
"""Bytes of values and products that all workers have together, for larger kernels."""

FEWEST_TOGETHER = 48
"""Tiles at least, so that a kernel need not be read for fewer."""

SPACE = 16
"""Floats between the rows of values and products."""


class Native(NamedTuple):
    """One layer's weights for compiled Winograd; one set serves both directions."""

    panels: tuple[jax.Array, ...]
    """n arrays (n, out / PANEL, in, PANEL)."""
    bias: jax.Array
    """(out,)."""


def is_available() -> bool:
    """Says whether the package can be used; XLA then knows its functions."""
    return obstacle() is None


@cache
def obstacle() -> str | None:
    """Returns why the package cannot be used, None if it can.

    jax would put the functions aside until a first program is compiled, and fail at that if its
    jaxlib refuses them; so its CPU is asked for before.
    """
    try:
        package: Any = importlib.import_module(PACKAGE)
    except ImportError:
        return "is not installed"
    library = getattr(package, "LIBRARY", None)
    if getattr(package, "INTERFACE", None) != INTERFACE or library is None:
        return "is of another version of jaxstyle, or was not built"
    try:
        jax.devices("cpu")
        functions = ctypes.CDLL(str(library))
        functions.jaxstyle_runs_here.restype = ctypes.c_bool
        if not functions.jaxstyle_runs_here():
            return "needs a processor with AVX2"
        for name in FUNCTIONS:
            capsule: Any = jax.ffi.pycapsule  # which has no types
            jax.ffi.register_ffi_target(name, capsule(functions[name]), platform="cpu")
    except FAILURES as error:
        return f"cannot be loaded: {' '.join(str(error).split())}"
    return None


def takes(shape: tuple[int, ...], dtype: Any) -> bool:
    """Says whether it takes a kernel of a shape (3, 3, in, out) and type."""
    return dtype == jnp.float32 and not any(each % PANEL for each in shape[2:])


def row_shape(channels: int, outputs: int, m: int) -> tuple[int, ...]:
    """Returns (n, out / PANEL, in, PANEL)."""
    return m + 2, outputs // PANEL, channels, PANEL


def prepared(kernel: ArrayLike, bias: jax.Array, m: int) -> Native:
    """Returns the weights of a layer from its plain kernel, (3, 3, in, out)."""
    return Native(tuple(jax.device_put(row) for row in _transformed(np.asarray(kernel), m)), bias)


def _transformed(kernel: NDArray[Any], m: int) -> NDArray[Any]:
    """Returns (n, n, out / PANEL, in, PANEL)."""
    *sides, channels, outputs = kernel.shape
    panels = kernel.reshape(*sides, channels, outputs // PANEL, PANEL).swapaxes(2, 3)
    return winograd.transform(panels, m, np.float32)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def apply_native(image: jax.Array, kernel: Native, relu: bool) -> jax.Array:
    """Convolves and adds the bias: (N, H, W, in) to (N, H, W, out), both float32.

    The gradient reaches the image only, and has none of its own.

    Args:
      image: (N, H, W, in).
      kernel: from `prepared`.
      relu: whether the result is max(that, 0).
    """
    return _called("jaxstyle_forward", image, kernel.bias, kernel, turned=False, relu=relu)


def _forward(image: jax.Array, kernel: Native, relu: bool) -> tuple[jax.Array, Any]:
    result = apply_native(image, kernel, relu)
    return result, (kernel, result if relu else None)


def _backward(relu: bool, saved: Any, gradient: jax.Array) -> tuple[jax.Array, None]:
    kernel, result = saved
    second = gradient if result is None else result
    found = _called("jaxstyle_backward", gradient, second, kernel, turned=True, relu=relu)
    return found, None


apply_native.defvjp(_forward, _backward)


def _called(
    name: str, image: jax.Array, second: jax.Array, kernel: Native, *, turned: bool, relu: bool
) -> jax.Array:
    channels = kernel.panels[0].shape[2] if turned else len(kernel.bias)
    together, floats = _scratch(image.shape, kernel, turned=turned)
    struct: Any = jax.ShapeDtypeStruct  # which has no types
    shapes = struct((*image.shape[:3], channels), jnp.float32), struct((floats,), jnp.float32)
    call: Any = jax.ffi.ffi_call(name, shapes, vmap_method="sequential")
    found: jax.Array
    found, _ = call(image, second, *kernel.panels, together=together, relu=relu)
    return found


def _scratch(shape: tuple[int, ...], kernel: Native, *, turned: bool) -> tuple[bool, int]:
    """Returns whether workers share their tiles, and how many floats they need."""
    n, panels, channels, _ = kernel.panels[0].shape
    outputs = panels * PANEL
    weights = n * n * channels * outputs
    if 4 * weights <= LARGEST_APART:
        return False, weights if turned else 1
    count, height, width, _ = shape
    tiles = count * -(-height // (n - 2)) * -(-width // (n - 2))
    each = n * n * (channels + outputs + 2 * SPACE)
    most = max(FEWEST_TOGETHER, SCRATCH_TOGETHER // (4 * each))
    blocks = max(1, -(-tiles // most))
    return True, -(-tiles // blocks) * each
