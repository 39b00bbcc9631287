"""The 3x3 convolution with frozen kernels: what its gradient needs is prepared once.

Arrays are NHWC and float32 (or float64, for tests); kernels HWIO. Padding is one row and column
of zeros, stride 1, as everywhere in VGG.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

Params = Mapping[str, Mapping[str, ArrayLike]]
"""By layer: {"conv1_1": {"kernel": (3, 3, in, out), "bias": (out,)}, ...}."""


class Kernel(NamedTuple):
    """One layer's weights, ready for both directions."""

    forward: jax.Array
    """(3, 3, in, out)."""
    backward: jax.Array
    """(3, 3, out, in): turned by 180 degrees, channels swapped; carries gradients back."""
    bias: jax.Array
    """(out,)."""


Kernels = dict[str, Kernel]


def prepare(params: Params) -> Kernels:
    """Returns the kernels that `features` takes, from plain parameters; to be done once.

    Half precision is raised to float32.
    """
    return {name: _prepare_layer(layer) for name, layer in params.items()}


def _prepare_layer(layer: Mapping[str, ArrayLike]) -> Kernel:
    kernel = layer["kernel"]
    if not isinstance(kernel, np.ndarray):  # numpy turns it without compiling anything
        kernel = jnp.asarray(kernel)
    dtype = jnp.promote_types(jnp.result_type(kernel), jnp.float32)
    arrays = (kernel, kernel[::-1, ::-1].swapaxes(2, 3), layer["bias"])
    return Kernel(*(jnp.asarray(each, dtype) for each in arrays))


@jax.custom_vjp
def convolve(image: jax.Array, kernel: Kernel) -> jax.Array:
    """Convolves and adds the bias: (N, H, W, in) to (N, H, W, out).

    The gradient reaches the image only. The kernel is frozen: its gradient is reported as zero,
    and forward-mode differentiation is not offered. In return the way back is a plain
    convolution, which keeps its speed inside loops, where XLA's transposed one on CPUs does not.
    """
    return _same(image, kernel.forward) + kernel.bias


def _convolve_forward(image: jax.Array, kernel: Kernel) -> tuple[jax.Array, Kernel]:
    return convolve(image, kernel), kernel


def _convolve_backward(kernel: Kernel, gradient: jax.Array) -> tuple[jax.Array, None]:
    return _same(gradient, kernel.backward), None


convolve.defvjp(_convolve_forward, _convolve_backward)


def _same(image: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        image,
        kernel,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,  # accelerators would otherwise round to 8 or 10 bits
    )
