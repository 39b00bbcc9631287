"""The command line's flags, most of them derived from the settings' fields, and their checks.

Imports nothing heavy, so that `--help`, a mistyped flag or a missing file are answered at once.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxstyle import __version__
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.runs.request import (
    MOST_RUNS,
    SECONDS_BETWEEN,
    CheckpointRequest,
    DeviceRequest,
    Request,
    SweepRequest,
)
from jaxstyle.settings.presets import PRESETS, preset
from jaxstyle.settings.recipe import Hyperparams, Recipe, has_flag
from jaxstyle.settings.text import (
    as_text,
    converter,
    layer_settings,
    read_choice,
    read_coordinator,
    read_seconds,
    read_seed,
    read_shard,
    read_whole,
)

INPUTS = {"content": "content", "style": "styles"}
"""The flags of the pictures that a run is made from, and where they are in a request."""

DEVICES = ("cpu", "gpu", "tpu")


class _Parser(argparse.ArgumentParser):
    """Raises InputError instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        before, unknown, rest = message.partition("unrecognized arguments: ")
        flag = rest.split(" ")[0].split("=")[0]
        near = did_you_mean(flag, self._option_string_actions) if unknown and not before else ""
        raise InputError(f"{message}{near} (see --help)")


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns what reads a text for argparse, which puts the error behind the flag's name."""

    def read_argument(text: str) -> Any:
        try:
            return read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_argument


def parse(arguments: Sequence[str] | None = None) -> Request | None:
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
    missing = [f"--{flag}" for flag, name in INPUTS.items() if parsed[name] is None]
    if sweep is not None or parsed["collect"] is not None:
        parsed |= {"content": parsed["content"] or Path(), "styles": parsed["styles"] or ()}
    elif missing:
        raise InputError(f"{' and '.join(missing)} must be given: a picture file (see --help)")
    settings: dict[str, Any] = {}
    for each in dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams):
        if has_flag(each) and (value := parsed.pop(each.name)) is not None:
            settings |= layer_settings(each.name, value)
    preset(parsed["preset"] or "default", **settings)  # raises for what cannot be used
    parsed["styles"] = tuple(parsed["styles"])
    return Request(
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
            if has_flag(each):
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
        dest="styles",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="the picture whose style to take, or several, or a folder of them, see"
        " --style-weights; must be given",
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
        " interpolated); in a sweep the name of a file in each run's folder, runs/NAME; default:"
        " none",
    )
    add(
        "--save-every",
        type=_reader(read_whole),
        default=0,
        metavar="N",
        help="also save the picture after every N steps, numbered, beside the output; in a sweep"
        " as runs/NAME/picture-N.png in its folder; default: never",
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
        type=_reader(read_seed),
        metavar="N",
        help="of the noise of --init noise; default: 0",
    )


def _add_running(group: Any) -> None:
    add = group.add_argument
    add(
        "--device",
        type=_reader(read_choice(DEVICES)),
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


def add_setting(group: Any, each: dataclasses.Field[Any], default: Any) -> None:
    """Adds the flag of a field to a group of an argument parser; its help says the default."""
    alone: dict[str, Any] = {"nargs": "?", "const": True} if each.type is bool else {}
    group.add_argument(
        f"--{each.name.replace('_', '-')}",
        type=_reader(converter(each)),
        metavar=each.metadata.get("metavar") or "|".join(each.metadata["choices"]),
        help=f"{each.metadata['help']}; default: {as_text(default)}",
        **alone,
    )


def add_checkpoint_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="keep in this file, from the start, all that --resume needs to go on; default:"
        " OUTPUT.checkpoint, if the run will take more than a minute",
    )
    add(
        "--checkpoint-every",
        type=_reader(read_seconds),
        metavar="SECONDS",
        help="how often to do so; the checkpoint before is kept as well; inf: only when"
        f" interrupted; for the runs of a sweep too; default: {SECONDS_BETWEEN:g}",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from the checkpoint that a run with the same settings and files has left; if"
        " there is none, begin with the first step; default: do not look for one",
    )


def take_checkpoint_flags(parsed: dict[str, Any], *, sweep: bool) -> CheckpointRequest:
    """Takes these flags out of a parser's result.

    Raises:
      InputError: those that are not for sweeps were given to one.
    """
    names = ("checkpoint", "checkpoint_every", "resume")
    path, every, resume = (parsed.pop(name) for name in names)
    given = [name for name, value in (("checkpoint", path), ("resume", resume)) if value]
    if sweep and given:
        raise InputError(f"--{given[0]} is for single runs; a sweep goes on by itself where it was")
    return CheckpointRequest(path=path, every=every, resume=resume)


def add_device_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--devices",
        type=_reader(read_whole),
        metavar="N",
        help="of the devices that are there, use no more than N: a sweep paints a setting on each,"
        " one picture has its rows shared among them; default: all for a sweep or with"
        " --distributed, else 1",
    )
    add(
        "--distributed",
        nargs="?",
        const="auto",
        type=_reader(read_coordinator),
        metavar="HOST:PORT,I/N",
        help="run as one program with other hosts' processes, all of them given the same command"
        " and files: found by itself on TPU pods and under Slurm, else the coordinator and that"
        " this is process I of N; default: alone",
    )


def take_device_flags(parsed: dict[str, Any]) -> DeviceRequest:
    """Takes these flags out of a parser's result.

    Raises:
      InputError: they were given with a flag that does not paint.
    """
    given = {name: parsed.pop(name) for name in ("devices", "distributed")}
    for name in (name for name, value in given.items() if value is not None):
        if parsed["collect"] is not None:
            raise InputError(f"--collect only gathers what is there: leave --{name} out")
        if parsed["plan"]:
            raise InputError(
                f"--plan is for one device: leave --{name} out; of N that share a picture each"
                " needs about an N-th of what the plain way takes"
            )
    return DeviceRequest(most=given["devices"], distributed=given["distributed"])


def add_sweep_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    _add_what(group.add_argument)
    _add_where(group.add_argument)


def _add_what(add: Callable[..., Any]) -> None:
    add(
        "--sweep",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="paint once with each value of a setting (any flag under 'settings', or content,"
        " style, init, seed, preset; log:0.03:0.3:4 and lin:1:10:4 are four values in equal ratios"
        " or distances); given several times, paint all combinations. The output is then a folder."
        " default: one run",
    )
    add(
        "--sweep-file",
        type=Path,
        metavar="PATH.csv",
        help="paint once for each row of a table with such names as its header; default: none",
    )
    add(
        "--yes",
        action="store_true",
        help=f"paint more than {MOST_RUNS:,} combinations; default: refuse",
    )
    add(
        "--collect",
        type=Path,
        metavar="DIR",
        help="only gather the table, the contact sheet and the page of a sweep from what is in its"
        " folder; default: none",
    )


def _add_where(add: Callable[..., Any]) -> None:
    add(
        "--shard",
        type=_reader(read_shard),
        metavar="I/N",
        help="paint only every N-th setting of the sweep, from the I-th: one of N machines that"
        " share the work without knowing of each other; default: all",
    )


def take_sweep_flags(parsed: dict[str, Any], *, distributed: bool) -> SweepRequest | None:
    """Takes these flags out of a parser's result; None if they ask for no sweep.

    Raises:
      InputError: they contradict each other or ask for nothing.
    """
    axes, file = parsed.pop("sweep"), parsed.pop("sweep_file")
    names = ("shard", "yes")
    others = {name: parsed.pop(name) for name in names}
    if parsed["collect"] is not None and (axes or file is not None):
        raise InputError("--collect only gathers what is there: leave --sweep and --sweep-file out")
    if parsed["collect"] is not None and parsed["judge"]:
        raise InputError("--collect only gathers what is there: what was judged is in the records")
    if axes and file is not None:
        raise InputError("--sweep and --sweep-file contradict each other: give one of them")
    if others["shard"] is not None and distributed:
        raise InputError("--shard and --distributed contradict each other: give one of them")
    if not axes and file is None:
        needless = [name for name, value in others.items() if value]
        if needless:
            raise InputError(f"--{needless[0]} is for sweeps: give --sweep or --sweep-file too")
        return None
    log = parsed["log"]
    if log is not None and Path(log.name) != log:
        raise InputError(f"--log {log}: in a sweep it is in each run's folder; give a name alone")
    shard = others.pop("shard") or (1, 1)
    return SweepRequest(axes=tuple(map(tuple, axes)), file=file, shard=shard, **others)
