"""The command line: flags, most of them derived from the settings' fields, and their checks.

Imports nothing heavy, so that `--help`, a mistyped flag or a missing file are answered at once.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jaxstyle import __version__
from jaxstyle.checkpointflags import CheckpointFlags, add_checkpoint_flags, take_checkpoint_flags
from jaxstyle.deviceflags import DeviceFlags, add_device_flags, take_device_flags
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.presets import PRESETS, preset
from jaxstyle.recipe import Hyperparams, Recipe
from jaxstyle.settingflags import add_setting, layer_settings
from jaxstyle.sweepflags import SweepFlags, add_sweep_flags, take_sweep_flags
from jaxstyle.texts import read_choice, read_seed, read_whole

DEVICES = ("cpu", "gpu", "tpu")
WEIGHT_WORDS = ("auto", "embedded", "vgg19")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What was asked for on the command line."""

    content: Path
    style: Path
    output: Path | None
    log: Path | None
    save_every: int
    force: bool
    preset: str | None
    settings: dict[str, Any]
    """The settings that were given as flags, by field name."""
    from_picture: Path | None
    weights: str | None
    init: str | None
    seed: int | None
    device: str | None
    quiet: bool
    json: bool
    plan: bool
    sweep: SweepFlags | None = None
    """If given, `content` and `style` may be empty paths, as they come from the sweep."""
    collect: Path | None = None
    judge: bool = False
    checkpoints: CheckpointFlags = dataclasses.field(default_factory=CheckpointFlags)
    devices: DeviceFlags = dataclasses.field(default_factory=DeviceFlags)


class _Parser(argparse.ArgumentParser):
    """Raises InputError instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        before, unknown, rest = message.partition("unrecognized arguments: ")
        flag = rest.split(" ")[0].split("=")[0]
        near = did_you_mean(flag, self._option_string_actions) if unknown and not before else ""
        raise InputError(f"{message}{near} (see --help)")


def parse(arguments: Sequence[str] | None = None) -> Arguments | None:
    """Reads the command line; None if it only asks for the list of presets.

    Raises:
      InputError: an unknown flag, or a value that cannot be used.
      SystemExit: after `--help` or `--version`.
    """
    parsed = vars(build_parser().parse_args(arguments))
    if parsed.pop("list_presets"):
        return None
    devices = take_device_flags(parsed)
    sweep = take_sweep_flags(parsed, distributed=devices.distributed is not None)
    checkpoints = take_checkpoint_flags(parsed, sweep=sweep is not None)
    missing = [f"--{name}" for name in ("content", "style") if parsed[name] is None]
    if sweep is not None or parsed["collect"] is not None:
        parsed |= {name[2:]: Path() for name in missing}
    elif missing:
        raise InputError(f"{' and '.join(missing)} must be given: a picture file (see --help)")
    settings: dict[str, Any] = {}
    for each in dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams):
        if each.metadata and (value := parsed.pop(each.name)) is not None:
            settings |= layer_settings(each.name, value)
    preset(parsed["preset"] or "default", **settings)  # raises for what cannot be used
    return Arguments(
        settings=settings, sweep=sweep, checkpoints=checkpoints, devices=devices, **parsed
    )


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all flags; those of settings have no default of their own."""
    parser = _Parser(
        prog="jaxstyle",
        description="Paint a photo in the style of a picture.",
        epilog="Defaults of settings are those of preset 'default'; see --list-presets.",
        allow_abbrev=False,
    )
    _add_files(parser.add_argument_group("pictures and files"))
    _add_start(parser.add_argument_group("where to start from"))
    group = parser.add_argument_group("settings")
    for kind, defaults in zip((Recipe, Hyperparams), PRESETS["default"][1:], strict=True):
        for each in dataclasses.fields(kind):
            if each.metadata:
                add_setting(group, each, getattr(defaults, each.name))
    add_checkpoint_flags(parser.add_argument_group("interrupted runs"))
    add_sweep_flags(parser.add_argument_group("sweeps: many settings at once"))
    running = parser.add_argument_group("running")
    _add_running(running)
    add_device_flags(running)
    return parser


def _add_files(group: Any) -> None:
    add = group.add_argument
    add("--content", type=Path, metavar="PATH", help="the photo; must be given")
    add(
        "--style",
        type=Path,
        metavar="PATH",
        help="the picture whose style to take; must be given",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help=".png (which carries every setting), .jpg or .webp; default: a new name,"
        " CONTENT-STYLE[-n].png, in the working directory",
    )
    add("--force", action="store_true", help="overwrite files that exist; default: refuse")
    add(
        "--log",
        type=Path,
        metavar="PATH.csv",
        help="write a row for every step: step, size, the weighted losses before the step,"
        " learning rate, and seconds since the first step began (inside a call of several steps"
        " interpolated); default: none",
    )
    add(
        "--save-every",
        type=read_whole,
        default=0,
        metavar="N",
        help="also save the picture after every N steps, numbered, beside the output;"
        " default: never",
    )


def _add_start(group: Any) -> None:
    add = group.add_argument
    add(
        "--preset",
        metavar="NAME",
        help=f"{', '.join(PRESETS)}: a named set of settings, which flags then change;"
        " default: default",
    )
    add("--list-presets", action="store_true", help="describe the presets and leave")
    add(
        "--from",
        dest="from_picture",
        type=Path,
        metavar="RESULT.png",
        help="start from the settings in a picture made earlier; --preset and other flags"
        " override; default: from a preset",
    )
    add(
        "--weights",
        metavar="auto|embedded|vgg19|PATH",
        help="the network: embedded is Oxford's VGG-19, which comes along; vgg19 is torchvision's,"
        " downloaded the first time (575 MB); PATH is an .h5 or torchvision's .pth file; default:"
        " auto, torchvision's if it is on this machine already, else embedded",
    )
    add(
        "--init",
        metavar="content|style|noise|PATH",
        help="what the canvas is at first; PATH is a picture, from which the run goes on at full"
        " size unless --scales is given; default: content",
    )
    add(
        "--seed",
        type=read_seed,
        metavar="N",
        help="of the noise of --init noise; default: 0",
    )


def _add_running(group: Any) -> None:
    add = group.add_argument
    add(
        "--device",
        type=read_choice(DEVICES),
        metavar="|".join(DEVICES),
        help="what to compute on; default: the best that jax finds",
    )
    add("--quiet", action="store_true", help="no progress, only warnings; default: progress")
    add(
        "--json",
        action="store_true",
        help="print what was done as JSON on standard output; default: the picture's path",
    )
    add(
        "--plan",
        action="store_true",
        help="print memory and time that the run would take, and the largest size that fits, and"
        " leave; default: paint",
    )
    add(
        "--judge",
        action="store_true",
        help="say of every result how far it is from the painting's style and from the photo's"
        " content, as a network finds that no run optimises (fetched with pip the first time,"
        " 55 MB); in sweeps two more columns; default: no",
    )
    add("--version", action="version", version=f"jaxstyle {__version__}")
