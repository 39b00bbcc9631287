"""The 3x3 convolution with frozen kernels: what it and its gradient need is prepared once.

Arrays are NHWC and float32 (or float64, for tests); kernels HWIO. Padding is one row and column
of zeros, stride 1, as everywhere in VGG.
"""

import itertools
import operator
from collections.abc import Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxstyle.errors import InputError
from jaxstyle.network import native, winograd
from jaxstyle.network.layers import CONVS, block_of
from jaxstyle.network.native import Native
from jaxstyle.network.precision import allowed, as_operand, platform

Params = Mapping[str, Mapping[str, ArrayLike]]
"""Parameters by layer: {"conv1_1": {"kernel": (3, 3, in, out), "bias": (out,)}, ...}."""

FEWEST_CHANNELS = 16
"""Below this Winograd's sums cost more than its products save."""

MOST_CHANNELS_F6 = 128
LEAST_SAVING_F6 = 0.83
LEAST_PIXELS_F6 = 50_000
"""F(6x6,3x3) instead of F(4x4,3x3) up to so many channels in, where its multiplications are
at most so many times the other's, for images of at least so many pixels: measured on two cores. At
150x225 steps took as long either way, and its program a third longer to compile."""


class Direct(NamedTuple):
    """One layer's weights for the plain convolution, in both directions."""

    forward: jax.Array
    """(3, 3, in, out)."""
    backward: jax.Array | None
    """(3, 3, out, in): turned by 180 degrees, channels swapped; carries gradients back. None where
    no gradient is wanted."""
    bias: jax.Array
    """(out,)."""


class Winograd(NamedTuple):
    """One layer's weights for Winograd's convolution; one set serves both directions."""

    transformed: tuple[jax.Array, ...]
    """n arrays (n, in, out): 4 or 7 times the size of the plain kernel."""
    bias: jax.Array
    """(out,)."""


Kernel = Direct | Winograd | Native
Kernels = dict[str, Kernel]


def prepare(
    params: Params,
    *,
    conv: str = "auto",
    size: tuple[int, int] | None = None,
    gradients: bool = True,
    like: Kernels | None = None,
) -> Kernels:
    """Returns the kernels that `features` takes, from plain parameters; to be done once.

    Half precision is raised to float32. Kernels work for images of any size; `size` only decides
    what is fastest.

    Args:
      params: by layer.
      conv: "direct", the plain convolution; "winograd", Winograd's in every layer; "auto",
        Winograd's on a CPU in every layer but conv1_1, compiled code's where that is installed (see
        `network.native`), and the plain one elsewhere: the libraries of GPUs and TPUs choose by
        themselves. They differ by rounding: some 1e-6 of a feature map, relative RMS.
      size: (H, W) of the images to come; None for about 300x450.
      gradients: whether any will be taken; if not, the plain convolution needs half the memory.
      like: kernels of the same parameters, prepared for another size; layers for which both sizes
        want the same are shared.

    Raises:
      InputError: another word.
    """
    kernels = {}
    for name, kind in _kinds(params, conv, size).items():
        layer, known = params[name], (like or {}).get(name)
        if known is not None and _fits(known, kind, gradients=gradients):
            kernels[name] = known
        else:
            kernels[name] = _prepare_layer(layer, kind, gradients=gradients)
    return kernels


def prepared_shapes(
    params: Params,
    *,
    conv: str = "auto",
    size: tuple[int, int] | None = None,
    gradients: bool = True,
) -> Kernels:
    """Returns what `prepare` does, with `jax.ShapeDtypeStruct`s for arrays, at once."""
    shapes: Kernels = {}
    for name, (kind, tile) in _kinds(params, conv, size).items():
        dtype = _dtype(params[name]["kernel"])
        *sides, channels, outputs = np.shape(params[name]["kernel"])
        struct: Any = partial(jax.ShapeDtypeStruct, dtype=dtype)  # which has no types
        bias = struct((outputs,))
        if kind is Native:
            row = struct(native.row_shape(channels, outputs, tile))
            shapes[name] = Native((row,) * (tile + 2), bias)
        elif kind is Winograd:
            row = struct((tile + 2, channels, outputs))
            shapes[name] = Winograd((row,) * (tile + 2), bias)
        else:
            turned = struct((*sides, outputs, channels)) if gradients else None
            shapes[name] = Direct(struct((*sides, channels, outputs)), turned, bias)
    return shapes


class _Kind(NamedTuple):
    """How a layer is convolved."""

    type: type[Kernel]
    tile: int
    """Winograd's m; 0 for the plain convolution."""


def _kinds(params: Params, conv: str, size: tuple[int, int] | None) -> dict[str, _Kind]:
    """Returns by layer how it is convolved.

    Raises:
      InputError: no such kind of convolution.
    """
    if conv not in CONVS:
        raise InputError(f"conv {conv!r} is none of {', '.join(CONVS)}")
    if conv == "auto" and platform() != "cpu":
        conv = "direct"
    compiled, found = conv == "auto" and native.is_available(), {}
    for name, layer in params.items():
        shape = np.shape(layer["kernel"])
        tile = _tile(name, shape, conv, size)
        kind: type[Kernel] = Winograd if tile else Direct
        if tile and compiled and native.takes(shape, _dtype(layer["kernel"])):
            kind = Native
        found[name] = _Kind(kind, tile)
    return found


def _dtype(kernel: ArrayLike) -> Any:
    """Half precision is raised to float32."""
    return jnp.promote_types(jnp.result_type(kernel), jnp.float32)


def _fits(kernel: Kernel, kind: _Kind, *, gradients: bool) -> bool:
    """Whether a layer prepared earlier is what would be prepared now."""
    if not isinstance(kernel, kind.type):
        return False
    if isinstance(kernel, Direct):
        return gradients == (kernel.backward is not None)
    return len(kernel[0]) == kind.tile + 2


def _tile(name: str, shape: tuple[int, ...], conv: str, size: tuple[int, int] | None) -> int:
    """Returns Winograd's m for a layer's kernel of a shape, 0 for the plain convolution."""
    channels, outputs = shape[2:]
    if conv == "direct" or (conv == "auto" and min(channels, outputs) < FEWEST_CHANNELS):
        return 0
    size = size or (300, 450)
    if size[0] * size[1] < LEAST_PIXELS_F6:
        return 4
    height, width = (max(1, side >> (block_of(name) - 1)) for side in size)
    four, six = (winograd.products_per_channel(m, height, width) for m in (4, 6))
    return 6 if channels <= MOST_CHANNELS_F6 and six <= LEAST_SAVING_F6 * four else 4


def _prepare_layer(layer: Mapping[str, ArrayLike], kind: _Kind, *, gradients: bool) -> Kernel:
    kernel = layer["kernel"]
    if kind.tile or not isinstance(kernel, jax.Array):
        kernel = np.asarray(kernel)  # numpy turns it without compiling anything
    dtype = _dtype(kernel)
    bias = jnp.asarray(layer["bias"], dtype)
    if kind.type is Native:
        return native.prepared(kernel, bias, kind.tile)
    if kind.type is Winograd:
        rows = winograd.transform(kernel, kind.tile, dtype)
        return Winograd(tuple(jax.device_put(row) for row in rows), bias)
    turned = jnp.asarray(kernel[::-1, ::-1].swapaxes(2, 3), dtype) if gradients else None
    return Direct(jnp.asarray(kernel, dtype), turned, bias)


def apply_kernel(image: jax.Array, kernel: Kernel, precision: str = "highest") -> jax.Array:
    """Convolves and adds the bias: (N, H, W, in) to (N, H, W, out).

    The gradient reaches the image only. The kernel is frozen: its gradient is reported as zero,
    and forward-mode differentiation is not offered (nor a gradient's own with compiled code).
    In return the way back is a convolution of the same kind, which keeps its speed inside loops,
    where XLA's transposed one on CPUs does not.

    Args:
      image: (N, H, W, in); the result has its type.
      kernel: from `prepare`.
      precision: in which to multiply, see `network.precision`; the gradient likewise.

    Raises:
      InputError: Winograd's kernels, whose sums need float32, with another precision.
    """
    if isinstance(kernel, Native):
        return apply_compiled(image, kernel, precision, relu=False)
    return _apply(image, kernel, precision)


def apply_compiled(
    image: jax.Array, kernel: Native, precision: str = "highest", *, relu: bool
) -> jax.Array:
    """Returns what `apply_kernel` does, or max(that, 0), by compiled code, which does both."""
    _check_float32(precision)
    return native.apply_native(image.astype(jnp.float32), kernel, relu).astype(image.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _apply(image: jax.Array, kernel: Direct | Winograd, precision: str) -> jax.Array:
    result = _same(image, kernel, turned=False, precision=precision)
    return (result + kernel.bias.astype(result.dtype)).astype(image.dtype)


def _apply_forward(image: jax.Array, kernel: Any, precision: str) -> tuple[jax.Array, Any]:
    return _apply(image, kernel, precision), kernel


def _apply_backward(precision: str, kernel: Any, gradient: jax.Array) -> tuple[jax.Array, None]:
    found = _same(gradient, kernel, turned=True, precision=precision)
    return found.astype(gradient.dtype), None


_apply.defvjp(_apply_forward, _apply_backward)


def first_layer(
    image: jax.Array,
    kernel: Kernel,
    precision: str = "highest",
    *,
    padding: str,
    rows: ArrayLike | None = None,
) -> jax.Array:
    """Convolves a picture and adds the bias: (N, H, W, in) to (N, H, W, out).

    Args:
      image: (N, H, W, in), all of a picture or some of its rows.
      kernel: of conv1_1.
      precision: see `apply_kernel`.
      padding: "zeros", as in every other layer, which normalized are the grey of ImageNet's mean;
        "replicate", the outermost pixels once more, so that a border is no edge.
      rows: (H + 2,), which row of the image lies above the first, is each one, and lies below the
        last; where padding is replicated and the image is no whole picture.
    """
    if padding == "zeros":
        return apply_kernel(image, kernel, precision)
    height = image.shape[1]
    below = jnp.clip(jnp.arange(-1, height + 1), 0, height - 1) if rows is None else rows
    longer = jnp.take(image, jnp.asarray(below), axis=1, mode="clip")
    bordered = jnp.pad(longer, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    return apply_kernel(bordered, kernel, precision)[:, 1:-1, 1:-1]


def _check_float32(precision: str) -> None:
    """Raises InputError in another precision than that of Winograd's sums."""
    if precision != "highest":
        raise InputError(f"precision {precision!r} needs kernels of conv 'direct'")


def _same(
    image: jax.Array, kernel: Direct | Winograd, *, turned: bool, precision: str
) -> jax.Array:
    if isinstance(kernel, Winograd):
        _check_float32(precision)
        result: jax.Array = winograd.convolve(image, kernel.transformed, turned=turned)
        return result
    weights = kernel.backward if turned else kernel.forward
    if weights is None:
        raise ValueError("these kernels were prepared without gradients")
    plain = partial(_convolved, precision=precision)
    if weights.shape[-1] < FEWEST_CHANNELS and precision != "bf16":
        own = partial(by_positions, precision=precision)
        found: jax.Array = lax.platform_dependent(image, weights, cuda=own, default=plain)
        return found
    return plain(image, weights)


def _convolved(image: jax.Array, weights: jax.Array, *, precision: str) -> jax.Array:
    return lax.conv_general_dilated(
        as_operand(image, precision),
        as_operand(weights, precision),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=allowed(precision),
    )


def by_positions(image: jax.Array, weights: jax.Array, *, precision: str) -> jax.Array:
    """Returns a convolution with few channels out: one product at each position, nine shifted sums.

    cuDNN's kernels multiply as if there were 64 of them: on an H200 the way back through conv1_1 at
    1024x1024 takes 0.23 ms instead of 0.38 in TF32, and 0.26 instead of 1.5 in float32.
    """
    channels, few = weights.shape[2:]
    columns = weights.transpose(2, 0, 1, 3).reshape(channels, -1)
    products = jnp.matmul(image, columns, precision=allowed(precision))
    zero = jnp.zeros((), products.dtype)

    def shifted(row: int, column: int) -> jax.Array:
        first = few * (3 * row + column)
        own = products[..., first : first + few]
        down, right = (1 - row, row - 1, 0), (1 - column, column - 1, 0)
        return lax.pad(own, zero, ((0, 0, 0), down, right, (0, 0, 0)))

    return reduce(operator.add, itertools.starmap(shifted, np.ndindex(3, 3)))
