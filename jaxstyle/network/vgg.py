"""VGG as a function of prepared kernels, and as a Flax module over the same parameters.

Images are (H, W, 3) in the network's input space (`canvas.normalize`); feature maps (h, w, C).
Depth and width are read off the parameters, so any VGG-shaped net runs through the same code.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxstyle.errors import InputError
from jaxstyle.network.convolution import (
    Kernels,
    Params,
    apply_compiled,
    apply_kernel,
    first_layer,
)
from jaxstyle.network.layers import block_of, conv_of, resolve_tap, smallest_side
from jaxstyle.network.native import Native
from jaxstyle.network.precision import network_input

Pool = Callable[..., jax.Array]

FIRST = "conv1_1"
"""The convolution that sees the picture itself."""


def features(
    kernels: Kernels,
    image: jax.Array,
    *,
    taps: Sequence[str],
    pooling: str = "max",
    precision: str = "highest",
    padding: str = "zeros",
) -> dict[str, jax.Array]:
    """Returns the feature maps of an image at the named taps.

    The network stops at the deepest of them. Works under jit, grad (with respect to the image)
    and vmap; gradients with respect to the kernels are zero, forward mode is not offered.

    Args:
      kernels: from `convolution.prepare`.
      image: (H, W, 3), normalized.
      taps: names such as "relu4_2", "conv5_1" or "relu4_last".
      pooling: "max", "avg" or "l2", 2x2 with stride 2; an odd side's last row or column is lost.
      precision: "highest", "tf32" or "bf16", see `network.precision`.
      padding: of the first convolution alone, see `convolution.first_layer`.

    Returns:
      By the names given: (h, w, C) with h = H // 2 ** (block - 1), w likewise; with "bf16" they are
      bfloat16.

    Raises:
      InputError: a tap is unknown or these weights do not reach it, another pooling, or an image
        of another shape or too small.
    """
    plain = {tap: resolve_tap(tap, sorted(kernels)) for tap in _as_taps(taps)}
    pool = _one_of(POOLS, pooling)
    _check_image(image, taps)
    found = {}
    x = network_input(image, kernels["conv1_1"].bias.dtype, precision)[None]
    for conv in up_to_deepest(kernels, plain.values()):
        if _starts_new_block(conv):
            x = pool(x)
        given: Any = {"padding": padding, "precision": precision}
        if conv in plain.values() or not is_native(conv, kernels):
            x = convolved(x, conv, kernels, **given)
            found[conv], x = x[0], relu(x)
        else:
            x = activated(x, conv, kernels, precision=precision)
        found[conv.replace("conv", "relu")] = x[0]
    return {tap: found[name] for tap, name in plain.items()}


def is_native(conv: str, kernels: Kernels) -> bool:
    """Says whether `activated` takes this layer."""
    return isinstance(kernels[conv], Native)


def activated(x: jax.Array, conv: str, kernels: Kernels, *, precision: str) -> jax.Array:
    """Returns max(what `convolved` does, 0), at once, of a layer that `is_native`."""
    kernel: Any = kernels[conv]
    return apply_compiled(x, kernel, precision, relu=True)


def convolved(
    x: jax.Array,
    conv: str,
    kernels: Kernels,
    *,
    padding: str,
    precision: str,
    rows: jax.Array | None = None,
) -> jax.Array:
    """Returns what a convolution, by its name, makes of (N, H, W, in), see `first_layer`."""
    if conv != FIRST:
        return apply_kernel(x, kernels[conv], precision)
    return first_layer(x, kernels[conv], precision, padding=padding, rows=rows)


class VGG(nn.Module):
    """The same network as a plain Flax module, for use and training in other Flax programs.

    `VGG(widths).apply({"params": params}, images, taps)` returns what `features` does, in a
    batch; `widths_of(params)` gives the widths. Here gradients reach the parameters as well.

    Attributes:
      widths: how many channels each convolution returns, by name.
      pooling: "max", "avg" or "l2".
    """

    widths: Mapping[str, int]
    pooling: str = "max"

    @nn.compact
    def __call__(self, images: jax.Array, taps: Sequence[str]) -> dict[str, jax.Array]:
        """Returns by tap the feature maps (N, h, w, C) of normalized images (N, H, W, 3)."""
        plain = {tap: resolve_tap(tap, sorted(self.widths)) for tap in _as_taps(taps)}
        pool = _one_of(_FLAX_POOLS, self.pooling)
        found = {}
        x = images
        for conv in up_to_deepest(self.widths, plain.values()):
            if _starts_new_block(conv):
                x = pool(x, (2, 2), strides=(2, 2))
            x = nn.Conv(self.widths[conv], (3, 3), precision="highest", name=conv)(x)
            found[conv] = x
            x = nn.relu(x)
            found[conv.replace("conv", "relu")] = x
        return {tap: found[name] for tap, name in plain.items()}


def _as_taps(taps: Sequence[str]) -> Sequence[str]:
    if isinstance(taps, str) or not taps:
        raise InputError(
            f"taps must be a sequence of layer names, such as ['relu4_2'], got {taps!r}"
        )
    return taps


def _one_of(choices: Mapping[str, Pool], name: str) -> Pool:
    if name not in choices:
        raise InputError(f"pooling {name!r} is none of {', '.join(choices)}")
    return choices[name]


def _check_image(image: jax.Array, taps: Sequence[str]) -> None:
    shape, least = jnp.shape(image), smallest_side(taps)
    if len(shape) != 3 or shape[-1] != 3:
        raise InputError(f"an image is (H, W, 3), got shape {shape}; for a batch use jax.vmap")
    if min(shape[:2]) < least:
        raise InputError(f"an image of {shape[0]}x{shape[1]} is too small: {least} pixels at least")


def widths_of(params: Params) -> dict[str, int]:
    """Returns by layer how many channels it returns: what `VGG` is built from."""
    return {name: np.shape(layer["bias"])[0] for name, layer in params.items()}


def up_to_deepest(convs: Iterable[str], taps: Iterable[str]) -> list[str]:
    """Returns the convolutions to compute for these taps; their names sort in network order."""
    deepest = max(conv_of(tap) for tap in taps)
    return [conv for conv in sorted(convs) if conv <= deepest]


def params_up_to(params: Params, taps: Sequence[str]) -> Params:
    """Returns the parameters up to the deepest of the taps.

    Raises:
      InputError: these weights have no such layer.
    """
    plain = [resolve_tap(tap, sorted(params)) for tap in taps]
    return {name: params[name] for name in up_to_deepest(params, plain)}


def _starts_new_block(conv: str) -> bool:
    return conv.endswith("_1") and block_of(conv) > 1


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """Returns max(x, 0); its gradient, 0 at 0, needs the result alone, which is kept anyway."""
    return jnp.maximum(x, 0)


def _relu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (lax.platform_dependent(y, gradient, cuda=_where_not_0, default=_where_above_0),)


def _where_above_0(y: jax.Array, gradient: jax.Array) -> jax.Array:
    return jnp.where(y > 0, gradient, 0)


def _where_not_0(y: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the same. XLA asks x what the above asks of max(x, 0), and so keeps x as well.

    On a GPU the convolution before does then not compute the ReLU as well, which takes 6 % of a
    step's time. On a CPU steps take 5 % longer so, for a fifth less memory.
    """
    return jnp.where(y == 0, 0, gradient)


relu.defvjp(_relu_forward, _relu_backward)


def _quarters(x: jax.Array) -> list[jax.Array]:
    """Cuts (N, H, W, C) into the four corners (N, h, w, C) of its 2x2 windows, in row order."""
    count, height, width, channels = x.shape
    ends, strides = (count, height // 2 * 2, width // 2 * 2, channels), (1, 2, 2, 1)
    # in older versions of jax x[:, ::2] is a gather, which devices cannot share without waste
    return [lax.slice(x, (0, row, column, 0), ends, strides) for row in (0, 1) for column in (0, 1)]


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Returns the maxima of 2x2 windows; (N, H, W, C) to (N, H // 2, W // 2, C).

    Of equal maxima the first, in row order, receives the gradient, as in PyTorch.
    """
    a, b, c, d = _quarters(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = max_pool(x)
    return y, (x, y)


def _max_pool_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    x, y = saved
    taken = jnp.zeros(y.shape, bool)
    shares = []
    for quarter in _quarters(x):
        wins = (quarter == y) & ~taken
        taken |= wins
        shares.append(jnp.where(wins, gradient, 0))
    return (_weave(shares, x.shape),)


def _weave(quarters: list[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """The inverse of `_quarters`: an odd last row or column becomes zero."""
    count, height, width, channels = quarters[0].shape
    windows = jnp.stack(quarters).reshape(2, 2, count, height, width, channels)
    whole = windows.transpose(2, 3, 0, 4, 1, 5).reshape(count, 2 * height, 2 * width, channels)
    odd = ((0, 0), (0, shape[1] - 2 * height), (0, shape[2] - 2 * width), (0, 0))
    return jnp.pad(whole, odd)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


AVG_SCALE, L2_SCALE = 1.56, 0.78
"""What average and L2 pools are multiplied by, so that maps stay about as strong as with the
maximum, for which the weights were trained. 0.78: crowsonkb's style-transfer-pytorch."""


def avg_pool(x: jax.Array) -> jax.Array:
    """Returns AVG_SCALE times the means of 2x2 windows; (N, H, W, C) to (N, H // 2, W // 2, C)."""
    a, b, c, d = _quarters(x)
    return (AVG_SCALE / 4) * (a + b + c + d)


@jax.custom_vjp
def l2_pool(x: jax.Array) -> jax.Array:
    """Returns L2_SCALE times the root of the sum of squares of 2x2 windows, as `avg_pool`.

    Where all four are 0, so is the gradient.
    """
    return L2_SCALE * jnp.sqrt(sum(jnp.square(each) for each in _quarters(x)))


def _l2_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = l2_pool(x)
    return y, (x, y)


def _l2_pool_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    x, y = saved
    factor = jnp.where(y > 0, L2_SCALE**2 * gradient / jnp.where(y > 0, y, 1), 0)
    return (_weave([factor * each for each in _quarters(x)], x.shape),)


l2_pool.defvjp(_l2_pool_forward, _l2_pool_backward)

POOLS: dict[str, Pool] = {"max": max_pool, "avg": avg_pool, "l2": l2_pool}

_flax_avg: Any = nn.avg_pool  # which has no types
_FLAX_POOLS: dict[str, Pool] = {
    "max": nn.max_pool,
    "avg": lambda x, *window, **more: AVG_SCALE * _flax_avg(x, *window, **more),
    "l2": lambda x, *window, **more: (
        L2_SCALE * 2 * jnp.sqrt(_flax_avg(jnp.square(x), *window, **more))
    ),
}
