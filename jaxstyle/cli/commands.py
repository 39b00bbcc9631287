"""First words of the command line that ask for something else than a picture, and their flags."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxstyle.cli.flag_groups import flag_reader
from jaxstyle.cli.flags import FlagParser
from jaxstyle.errors import InputError
from jaxstyle.runs.paths import read_path
from jaxstyle.settings.text import read_whole

DOCTOR = "doctor"
"""Asks what there is and what is wrong."""

STUDIO = "studio"
"""Asks for the page on which pictures are painted."""


def parse_doctor(arguments: Sequence[str]) -> bool:
    """Reads what follows `jaxstyle doctor`; returns whether JSON was asked for.

    Raises:
      InputError: an unknown flag.
      SystemExit: after `--help`.
    """
    return bool(doctor_parser().parse_args(arguments).json)


def doctor_parser() -> argparse.ArgumentParser:
    """Returns the parser of the flags of `jaxstyle doctor`."""
    parser = _parser_of(
        DOCTOR,
        "Say what there is (versions, devices, caches, weights, memory, extras) and what is wrong,"
        " to paste into a bug report.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON; default: as text")
    return parser


class StudioRequest(NamedTuple):
    """What was asked for of the studio."""

    folder: Path
    host: str
    port: int


def parse_studio(arguments: Sequence[str]) -> StudioRequest:
    """Reads what follows `jaxstyle studio`.

    Raises:
      InputError: an unknown flag, or no such port.
      SystemExit: after `--help`.
    """
    parsed = studio_parser().parse_args(arguments)
    if parsed.port > 65535:
        raise InputError(f"--port is a number from 1 to 65535, not {parsed.port}")
    return StudioRequest(parsed.folder, parsed.host, parsed.port)


def studio_parser() -> argparse.ArgumentParser:
    """Returns the parser of the flags of `jaxstyle studio`."""
    parser = _parser_of(
        STUDIO,
        "Serve a page on which photo and painting are chosen, painted, watched, compared and kept,"
        " with the extra jaxstyle[view].",
    )
    add = parser.add_argument
    add(
        "--folder",
        type=flag_reader(read_path),
        default=Path("jaxstyle-studio"),
        metavar="DIR",
        help="where pictures and results are kept; default: jaxstyle-studio, here",
    )
    add(
        "--port",
        type=flag_reader(read_whole),
        default=0,
        metavar="N",
        help="the page's port; default: a free one",
    )
    add("--host", default="127.0.0.1", metavar="HOST", help="the page's host; default: 127.0.0.1")
    return parser


def _parser_of(name: str, description: str) -> FlagParser:
    return FlagParser(prog=f"jaxstyle {name}", description=description, allow_abbrev=False)


COMMANDS: dict[str, tuple[str, Callable[[], argparse.ArgumentParser]]] = {
    DOCTOR: ("say what is installed and what is wrong", doctor_parser),
    STUDIO: ("paint in the browser, one picture after another", studio_parser),
}
"""By their names: a few words about each, and what makes the parser of its flags."""
