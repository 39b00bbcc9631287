"""Compiled code for jaxstyle on CPUs: a library of functions for XLA.

jaxstyle finds this package by itself and uses it, see `jaxstyle.network.native`.
"""

from pathlib import Path

__version__ = "0.1.0"

INTERFACE = 1
"""Grows when the functions take or return something else."""

LIBRARY = next(Path(__file__).parent.glob("library.*"), None)
"""Where the library is; None where it was not built."""
