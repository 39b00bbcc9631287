"""The command line's flags, most of them derived from the settings' fields, and their checks.

Imports nothing heavy, so that `--help`, a mistyped flag or a missing file are answered at once.
"""

import argparse
import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxstyle.cli.config import config_text, with_config
from jaxstyle.cli.flag_groups import (
    add_checkpoint_flags,
    add_device_flags,
    add_plot_flags,
    add_print_flags,
    add_running_flags,
    add_sweep_flags,
    add_view_flags,
    check_sweep_files,
    flag_reader,
    take_checkpoint_flags,
    take_device_flags,
    take_sweep_flags,
    take_view_flags,
)
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.runs.output_name import FORMATS
from jaxstyle.runs.paths import read_output, read_path, read_paths, read_word_or_path
from jaxstyle.runs.request import Request
from jaxstyle.settings.fields import has_flag
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS, preset
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.text import (
    as_text,
    converter,
    layer_settings,
    read_choice,
    read_seed,
    read_whole,
)

INPUTS = {"content": "content", "style": "styles"}
"""The flags of the pictures that a run is made from, and where they are in a request."""

PATHS = (
    "PATH",
    "MASK",
    "PATH.csv",
    "PATH.png",
    "PATH.mp4",
    "RESULT.png",
    "PATH.icc",
    "DIR",
    "FILE.toml",
)
"""What stands for a path in the help of flags."""

ALPHAS = ("white", "keep")


class FlagParser(argparse.ArgumentParser):
    """A parser that raises InputError instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError with what argparse says, and what was meant perhaps."""
        before, unknown, rest = message.partition("unrecognized arguments: ")
        flag = rest.split(" ")[0].split("=")[0]
        near = ""
        if unknown and not before:
            near = did_you_mean(flag, self._option_string_actions)
            if not flag.startswith("-"):
                near = "; pictures come after --content and --style; a name with spaces is quoted"
        raise InputError(f"{message}{near} (see --help)")


def parse(arguments: Sequence[str] | None = None) -> Request | None:
    """Reads the command line; None if it only asks for the list of presets.

    Raises:
      InputError: an unknown flag, or a value that cannot be used.
      SystemExit: after `--help` or `--version`.
    """
    parser = build_parser()
    parsed = vars(parser.parse_args(_words_of(arguments, parser)))
    del parsed["config"]
    if parsed.pop("print_completion") is not None:
        raise InputError("--print-completion stands alone: jaxstyle --print-completion bash")
    if parsed.pop("list_presets"):
        return None
    parsed["output"], parsed["into_folder"] = parsed["output"]
    view = take_view_flags(parsed)
    devices = take_device_flags(parsed)
    sweep = take_sweep_flags(parsed, distributed=devices.distributed is not None)
    checkpoints = take_checkpoint_flags(parsed, sweep=sweep is not None)
    if sweep is not None or parsed["collect"] is not None:
        check_sweep_files(parsed)
    missing = [f"--{flag}" for flag, name in INPUTS.items() if parsed[name] is None]
    if sweep is not None or parsed["collect"] is not None or parsed["print_config"]:
        parsed |= {"content": parsed["content"] or Path(), "styles": parsed["styles"] or ()}
    elif missing:
        raise InputError(f"{' and '.join(missing)} must be given: a picture file (see --help)")
    settings: dict[str, Any] = {}
    for each in dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams):
        if has_flag(each) and (value := parsed.pop(each.name)) is not None:
            settings |= layer_settings(each.name, value)
    preset(parsed["preset"] or "default", **settings)  # raises for what cannot be used
    if parsed["regions"] and parsed["masks"]:
        raise InputError("--regions and --mask contradict each other: give one of them")
    for name in ("styles", "regions", "masks"):
        parsed[name] = tuple(itertools.chain.from_iterable(parsed[name]))
    return Request(
        settings=settings,
        sweep=sweep,
        checkpoints=checkpoints,
        devices=devices,
        view=view,
        **parsed,
    )


def _words_of(arguments: Sequence[str] | None, parser: argparse.ArgumentParser) -> list[str]:
    """Returns the words of the command line, those of the --config file first."""
    given = sys.argv[1:] if arguments is None else arguments
    return _with_dashed_names(with_config(_with_dashed_names(given, parser), parser), parser)


def printed_config(arguments: Sequence[str], request: Request) -> str:
    """Returns a command line as a file for --config; `request` is what `parse` made of it.

    Raises:
      InputError: it cannot be written as such.
    """
    parser = build_parser()
    settings: dict[str, str] = {}
    if request.from_picture is None:  # else they are the picture's
        for kind in preset(request.preset or "default", **request.settings):
            for each in dataclasses.fields(kind):
                if has_flag(each):
                    settings[each.name.replace("_", "-")] = as_text(getattr(kind, each.name))
    return config_text(_words_of(arguments, parser), parser, settings)


def _with_dashed_names(given: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Returns the words of a command line; to file names that begin with - they have ./ before.

    Raises:
      InputError: a flag that is given -- for its value.
    """
    flags = parser._option_string_actions
    found: list[str] = []
    for before, word in zip(["", *given], given, strict=False):
        flag, _, value = word.partition("=")
        if (value == "--" and flag in flags) or (word[2:] == "--" and word[:2] in flags):
            raise InputError(f"{word}: -- is no value (see --help)")  # for some argparse it is a []
        takes_path = before in flags and flags[before].metavar in PATHS
        is_name = word.startswith("-") and word != "-" and flag not in flags
        if is_name and (os.path.lexists(word) or (takes_path and "." in word)):
            word = f"./{word}"
        found.append(word)
    return found


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all flags; those of settings have no default of their own."""
    parser = FlagParser(
        prog="jaxstyle",
        description="Paint a photo in the style of a picture.",
        epilog="Defaults of settings are those of preset 'default'; see --list-presets. `jaxstyle"
        " doctor` says what is installed and what is wrong; `jaxstyle studio` is a page to paint"
        " on.",
        allow_abbrev=False,
    )
    _add_files(parser.add_argument_group("pictures and files"))
    add_print_flags(parser.add_argument_group("for print"))
    _add_start(parser.add_argument_group("where to start from"))
    group = parser.add_argument_group("settings")
    for kind, defaults in zip((Recipe, Hyperparams), PRESETS["default"][1:3], strict=True):
        for each in dataclasses.fields(kind):
            if has_flag(each):
                add_setting(group, each, getattr(defaults, each.name))
    add_checkpoint_flags(parser.add_argument_group("interrupted runs"))
    add_sweep_flags(parser.add_argument_group("sweeps: many settings at once"))
    running = parser.add_argument_group("running")
    add_running_flags(running)
    add_device_flags(running)
    add_view_flags(running)
    return parser


def _add_files(group: Any) -> None:
    add = group.add_argument
    add(
        "--content",
        type=flag_reader(read_path),
        metavar="PATH",
        help="the photo; -: from standard input, as --style may be; must be given",
    )
    add(
        "--style",
        dest="styles",
        nargs="+",
        type=flag_reader(read_paths),
        metavar="PATH",
        help="the picture whose style to take, or several, or a folder of them, see"
        " --style-weights; must be given",
    )
    _add_regions(add)
    _add_outputs(add)


def _add_outputs(add: Callable[..., Any]) -> None:
    add(
        "-o",
        "--output",
        type=flag_reader(read_output),
        default=(None, False),
        metavar="PATH",
        help=".png and .tif (which carry every setting), .jpg, .webp or .avif; a folder, or FOLDER/"
        " which is made: a new name in it; -: standard output; default: a new name,"
        " CONTENT-STYLE[-n].png, in the working directory",
    )
    add(
        "--format",
        type=flag_reader(read_choice(tuple(FORMATS))),
        metavar="|".join(FORMATS),
        help="what file a result is that is not named: in a folder, or on standard output;"
        " default: png",
    )
    add("--force", action="store_true", help="overwrite files that exist; default: refuse")
    _add_beside(add)


def _add_beside(add: Callable[..., Any]) -> None:
    add(
        "--log",
        type=flag_reader(read_path),
        metavar="PATH.csv",
        help="write a row for every step: step, size, the weighted losses before the step,"
        " learning rate, and seconds since the first step began (inside a call of several steps"
        " interpolated); in a sweep the name of a file in each run's folder, runs/NAME; default:"
        " none",
    )
    add_plot_flags(add)
    add(
        "--save-every",
        type=flag_reader(read_whole),
        default=0,
        metavar="N",
        help="also save the picture after every N steps, numbered, beside the output; in a sweep"
        " as runs/NAME/picture-N.png in its folder; default: never",
    )


def _add_regions(add: Callable[..., Any]) -> None:
    add(
        "--regions",
        nargs="+",
        type=flag_reader(read_paths),
        default=(),
        metavar="MASK",
        help="masks in which the same color means the same region: the photo's, then one for each"
        " style; each region of the photo is painted like that of the style; default: one region",
    )
    add(
        "--mask",
        dest="masks",
        nargs="+",
        type=flag_reader(read_paths),
        default=(),
        metavar="MASK",
        help="a grey mask of the photo for each style: white where it is painted in that one;"
        " default: everywhere",
    )
    add(
        "--keep",
        type=flag_reader(read_path),
        metavar="MASK",
        help="leave the photo as it is where this mask of it is white: there it is neither painted"
        " nor counted; default: paint all",
    )
    add(
        "--alpha",
        type=flag_reader(read_choice(ALPHAS)),
        default="white",
        metavar="|".join(ALPHAS),
        help="a transparent photo: white, paint it over white; keep, the result is as transparent,"
        " and what is more than half so is neither painted nor counted; default: white",
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
        "--config",
        type=flag_reader(read_path),
        metavar="FILE.toml",
        help="take flags from a TOML file, whose keys are their names without dashes; flags on the"
        " command line win; default: none",
    )
    add(
        "--print-config",
        action="store_true",
        help="print the command line as such a file, the other settings as comments, and leave",
    )
    add(
        "--from",
        dest="from_picture",
        type=flag_reader(read_path),
        metavar="RESULT.png",
        help="start from the settings in a picture made earlier; --preset and other flags"
        " override; default: from a preset",
    )
    add(
        "--weights",
        type=flag_reader(read_word_or_path),
        metavar="auto|embedded|vgg19|PATH",
        help="the network: embedded is Oxford's VGG-19, which comes along; vgg19 is torchvision's,"
        " downloaded the first time (575 MB); PATH is an .h5 or torchvision's .pth file; default:"
        " auto, torchvision's if it is on this machine already, else embedded",
    )
    add(
        "--init",
        type=flag_reader(read_word_or_path),
        metavar="content|style|noise|grey|PATH",
        help="what the canvas is at first; PATH is a picture, from which the run goes on at full"
        " size unless --scales is given; default: content",
    )
    add(
        "--seed",
        type=flag_reader(read_seed),
        metavar="N",
        help="of the noise of --init noise and grey, of --style-loss strotss's points; default: 0",
    )


def add_setting(group: Any, each: dataclasses.Field[Any], default: Any) -> None:
    """Adds the flag of a field to a group of an argument parser; its help says the default."""
    alone: dict[str, Any] = {"nargs": "?", "const": True} if each.type is bool else {}
    group.add_argument(
        f"--{each.name.replace('_', '-')}",
        type=flag_reader(converter(each)),
        metavar=each.metadata.get("metavar") or "|".join(each.metadata["choices"]),
        help=f"{each.metadata['help']}; default: {as_text(default)}",
        **alone,
    )
