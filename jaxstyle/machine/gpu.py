"""NVIDIA GPUs: whose memory it is, and what is promised of their bits."""

import os
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from jaxstyle.machine.process import computes_deterministically

PLATFORMS = ("gpu", "cuda")
"""How jax calls them."""

FRACTIONS = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
"""Environment variables, the first of which counts, for the part of a card that jax takes."""

USUAL_FRACTION = "0.75"

CONTEXT = 1_000_000_000
"""Bytes that a process may hold beside what its allocator knows: CUDA's context, libraries."""

SECONDS = 5.0
"""How long the driver's tool is waited for."""


class Card(NamedTuple):
    """A card's memory, in bytes, as the driver says."""

    used: int
    """By all processes."""
    total: int


def fraction() -> str:
    """Returns the part of a card's memory that jax takes, as it was given."""
    return next((os.environ[name] for name in FRACTIONS if name in os.environ), USUAL_FRACTION)


def card_of(number: int) -> Card | None:
    """Returns the memory of a card, by its number among those that this process sees, if known."""
    seen = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    card = seen[number] if number < len(seen) else str(number)
    ask = ["--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(
            ["nvidia-smi", "-i", card, *ask], capture_output=True, text=True, timeout=SECONDS
        )
        used, total = (int(each) for each in told.stdout.splitlines()[0].split(","))
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    return Card(used * 2**20, total * 2**20)


def held_by_others(card: Card | None, stats: Mapping[str, int]) -> int:
    """Returns about how many bytes of a card other processes hold; 0 if none, or unknown.

    Args:
      card: from `card_of`.
      stats: what jax says of the device's memory: what its allocator has taken.
    """
    if card is None:
        return 0
    own = stats.get("pool_bytes", stats.get("bytes_in_use", 0))
    return max(0, card.used - own - CONTEXT)


def bits_notice(platform: str, *, goes_on: bool) -> str | None:
    """Returns what a person is told of the bits of a run on such a device, if anything.

    Args:
      platform: of the device.
      goes_on: whether the run goes on from a checkpoint.
    """
    if platform not in PLATFORMS:
        return None
    if computes_deterministically():
        return "deterministic kernels: the same bits in every process, up to twice the time a step"
    if goes_on:
        return (
            "on a GPU a run that goes on is not promised to be, bit for bit, what it would have"
            " been: that takes --deterministic from its first step on"
        )
    return None
