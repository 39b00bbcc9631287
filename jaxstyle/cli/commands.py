"""First words of the command line that ask for something else than a picture, and their flags."""

import argparse
from collections.abc import Callable, Sequence

from jaxstyle.cli.flags import FlagParser

DOCTOR = "doctor"
"""Asks what there is and what is wrong."""


def parse_doctor(arguments: Sequence[str]) -> bool:
    """Reads what follows `jaxstyle doctor`; returns whether JSON was asked for.

    Raises:
      InputError: an unknown flag.
      SystemExit: after `--help`.
    """
    return bool(doctor_parser().parse_args(arguments).json)


def doctor_parser() -> argparse.ArgumentParser:
    """Returns the parser of the flags of `jaxstyle doctor`."""
    parser = FlagParser(
        prog=f"jaxstyle {DOCTOR}",
        description="Say what there is (versions, devices, caches, weights, memory, extras) and"
        " what is wrong, to paste into a bug report.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="as JSON; default: as text")
    return parser


COMMANDS: dict[str, tuple[str, Callable[[], argparse.ArgumentParser]]] = {
    DOCTOR: ("say what is installed and what is wrong", doctor_parser)
}
"""By their names: a few words about each, and what makes the parser of its flags."""
