"""The precision in which the network convolves: what becomes of operands, and what is allowed.

highest: float32 throughout. tf32: the operands of convolutions keep 10 bits of their mantissa, as
NVIDIA's tensor cores read them; products, sums and what is stored are float32. A CPU, which has no
such arithmetic, emulates it by rounding, to the nearest. bf16: feature maps and kernels are
bfloat16, with 7 bits; a convolution's sums are rounded once. Where feature maps are multiplied with
one another for their moments, a GPU rounds them likewise. All sums over feature maps, the losses,
the canvas and the optimizer are float32 in every precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

TF32_EXPONENT, TF32_MANTISSA = 8, 10
"""Bits of a TF32 operand, beside the sign: NVIDIA, "A100 Tensor Core GPU Architecture"."""


def platform() -> str:
    """Returns jax's name for where arrays go unless told otherwise: "cpu", "gpu", "tpu"."""
    with jax.ensure_compile_time_eval():
        return str(next(iter(jnp.zeros(()).devices())).platform)


def meant_by(precision: str, *, exact: bool) -> str:
    """Returns what a recipe's precision means here: "auto" is tf32 on NVIDIA's GPUs, else highest.

    Args:
      precision: a name from `PRECISIONS`, or "auto".
      exact: whether "auto" is highest on GPUs too.
    """
    if precision != "auto":
        return precision
    return "tf32" if not exact and platform() == "gpu" else "highest"


def network_input(image: Any, dtype: Any, precision: str) -> jax.Array:
    """Returns an image in the type of the feature maps to come.

    Args:
      image: of any shape.
      dtype: the type of the network's biases.
      precision: a name from `PRECISIONS`.
    """
    x = jnp.asarray(image, dtype)
    return x.astype(jnp.bfloat16) if precision == "bf16" else x


def as_operand(x: jax.Array, precision: str) -> jax.Array:
    """Returns what a convolution reads of its image or kernel."""
    if precision == "bf16":
        return x.astype(jnp.bfloat16)
    if precision == "tf32":
        rounded: jax.Array = lax.platform_dependent(x, cpu=_as_tf32, default=_unchanged)
        return rounded
    return x


def _as_tf32(x: jax.Array) -> jax.Array:
    return lax.reduce_precision(x, TF32_EXPONENT, TF32_MANTISSA)


def _unchanged(x: jax.Array) -> jax.Array:
    return x


def allowed(precision: str) -> lax.Precision:
    """Returns what XLA may do to operands; by default GPUs and TPUs round to 10 or 7 bits."""
    return lax.Precision.HIGHEST if precision == "highest" else lax.Precision.HIGH
