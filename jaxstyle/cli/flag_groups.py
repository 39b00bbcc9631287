"""The flags of interrupted runs, of devices and of sweeps: how they are added, and their checks."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxstyle import __version__
from jaxstyle.errors import InputError
from jaxstyle.runs.paths import read_path
from jaxstyle.runs.request import (
    MOST_RUNS,
    SECONDS_BETWEEN,
    CheckpointRequest,
    DeviceRequest,
    SweepRequest,
)
from jaxstyle.settings.text import (
    read_choice,
    read_coordinator,
    read_number,
    read_seconds,
    read_shard,
    read_whole,
)

DEVICES = ("cpu", "gpu", "tpu")


def flag_reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns what reads a text for argparse, which puts the error behind the flag's name."""

    def read_argument(text: str) -> Any:
        try:
            return read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_argument


def add_checkpoint_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--checkpoint",
        type=flag_reader(read_path),
        metavar="PATH",
        help="keep in this file, from the start, all that --resume needs to go on; default:"
        " OUTPUT.checkpoint, if the run will take more than a minute",
    )
    add(
        "--checkpoint-every",
        type=flag_reader(read_seconds),
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


def add_plot_flags(add: Callable[..., Any]) -> None:
    """Adds the flags of what is drawn of a run, by a parser's or a group's `add_argument`."""
    add(
        "--plot",
        type=flag_reader(read_path),
        metavar="PATH.png",
        help="draw losses and learning rate by step when the run has ended or was stopped; .png,"
        " .svg or .pdf, with the extra jaxstyle[plot]; of a sweep the losses of all its runs, a"
        " name in its folder; default: none",
    )
    add(
        "--film",
        type=flag_reader(read_path),
        metavar="PATH.mp4",
        help="make a film of the canvas, at most 120 frames evenly in log time, when the run has"
        " ended or was stopped; .mp4 with the extra jaxstyle[film], .gif or .webp without; for"
        " single runs; default: none",
    )


def add_print_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--bits",
        type=flag_reader(_read_bits),
        default=8,
        metavar="8|16",
        help="of each channel of the result; 16 in .png and .tif, with the extra jaxstyle[print];"
        " for single runs; default: 8",
    )
    add(
        "--profile",
        type=flag_reader(read_path),
        metavar="PATH.icc",
        help="convert the result to this ICC profile of RGB and embed it; for single runs;"
        " default: sRGB",
    )
    add(
        "--proof",
        type=flag_reader(read_path),
        metavar="PATH.icc",
        help="paint from photo and style as the press of this ICC profile shows them (CMYK, RGB or"
        " grey), so that the result has colors that can be printed; default: as they are",
    )
    add(
        "--dpi",
        type=flag_reader(_read_dpi),
        metavar="N",
        help="dots per inch, written into .png, .jpg and .tif; for single runs; default: none",
    )


def check_sweep_files(parsed: dict[str, Any]) -> None:
    """Raises InputError for files that a sweep cannot have as they are named."""
    if parsed["format"] is not None:
        raise InputError(
            "--format is for single runs, a sweep writes PNG files: paint the one that you choose"
            " again, with --from DIR/NAME.png and --format"
        )
    if parsed["film"] is not None:
        raise InputError("--film is for single runs; in a sweep use --save-every")
    plot = parsed["plot"]
    if plot is not None and Path(plot.name) != plot:
        raise InputError(f"--plot {plot}: in a sweep it is in the folder; give a name alone")


def _read_bits(text: str) -> int:
    return int(read_choice(("8", "16"))(text))


def _read_dpi(text: str) -> float:
    value = read_number(text)
    if not 1 <= value <= 65535:
        raise InputError(f"{text!r} is not a number from 1 to 65535")
    return value


def add_device_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--devices",
        type=flag_reader(read_whole),
        metavar="N",
        help="of the devices that are there, use no more than N: a sweep paints a setting on each,"
        " one picture has its rows shared among them; default: all for a sweep or with"
        " --distributed, else 1",
    )
    add(
        "--distributed",
        nargs="?",
        const="auto",
        type=flag_reader(read_coordinator),
        metavar="HOST:PORT,I/N",
        help="run as one program with other hosts' processes, all of them given the same command"
        " and files: found by itself on TPU pods and under Slurm, else the coordinator and that"
        " this is process I of N; default: alone",
    )
    add(
        "--batch",
        type=flag_reader(_read_batch),
        metavar="auto|N",
        help="how many pictures of a sweep each device paints at once: of use on GPUs, which small"
        " ones leave idle; they are rounded otherwise than single runs; auto, as many as make a"
        " megapixel, and on a CPU one; default: 1",
    )
    add(
        "--deterministic",
        action="store_true",
        help="have a GPU give the same bits in every process, with --resume too, in up to twice"
        " the time; a CPU does so anyway; default: the quickest kernels",
    )


def add_running_flags(group: Any) -> None:
    """Adds the flags of what to compute on and what to tell to a group of an argument parser."""
    add = group.add_argument
    add(
        "--device",
        type=flag_reader(read_choice(DEVICES)),
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
    add(
        "--print-completion",
        metavar="SHELL",
        help="print a script by which a shell completes commands at Tab (bash, zsh, fish, tcsh,"
        " powershell), and leave",
    )
    add("--version", action="version", version=f"jaxstyle {__version__}")


def add_view_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--view",
        action="store_true",
        help="serve a page that shows the canvas as it is painted, or a sweep's pictures, with the"
        " extra jaxstyle[view]; default: none",
    )
    add(
        "--view-port",
        type=flag_reader(read_whole),
        metavar="N",
        help="the page's port; default: a free one",
    )
    add("--view-host", metavar="HOST", help="the page's host; default: 127.0.0.1")


def take_view_flags(parsed: dict[str, Any]) -> tuple[str, int] | None:
    """Takes these flags out of a parser's result; None if they ask for no page.

    Raises:
      InputError: no such port, or a flag with which there is no page.
    """
    view, port, host = (parsed.pop(name) for name in ("view", "view_port", "view_host"))
    if not view:
        if port is not None or host is not None:
            raise InputError("--view-port and --view-host are for --view: give it too")
        return None
    is_sweep = parsed["sweep"] or parsed["sweep_file"]
    several = parsed["distributed"] is not None or (parsed["devices"] or 1) > 1
    if parsed["plan"] or parsed["collect"] or (several and not is_sweep) or parsed["distributed"]:
        raise InputError("--view is for a single run that paints on one device, or a sweep")
    if port is not None and port > 65535:
        raise InputError(f"--view-port is a number from 1 to 65535, not {port}")
    return host or "127.0.0.1", port or 0


def take_device_flags(parsed: dict[str, Any]) -> DeviceRequest:
    """Takes these flags out of a parser's result.

    Raises:
      InputError: they were given with a flag that does not paint.
    """
    deterministic, is_sweep = parsed.pop("deterministic"), parsed["sweep"] or parsed["sweep_file"]
    given = {name: parsed.pop(name) for name in ("devices", "distributed", "batch")}
    if given["batch"] is not None and not (is_sweep or parsed["collect"]):
        raise InputError("--batch is for sweeps: give --sweep too, or leave it out")
    for name in (name for name, value in given.items() if value is not None):
        if parsed["collect"] is not None:
            raise InputError(f"--collect only gathers what is there: leave --{name} out")
        if parsed["plan"]:
            raise InputError(
                f"--plan is for one device: leave --{name} out; of N that share a picture each"
                " needs about an N-th of what the plain way takes"
            )
    return DeviceRequest(
        most=given["devices"],
        distributed=given["distributed"],
        deterministic=deterministic,
        batch=None if given["batch"] == "auto" else given["batch"] or 1,
    )


def _read_batch(text: str) -> int | str:
    try:
        return text if text == "auto" else read_whole(text)
    except InputError:
        raise InputError(f"must be auto or a whole number of 1 or more, got {text!r}") from None


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
        type=flag_reader(read_path),
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
        type=flag_reader(read_path),
        metavar="DIR",
        help="only gather the table, the contact sheet and the page of a sweep from what is in its"
        " folder; default: none",
    )


def _add_where(add: Callable[..., Any]) -> None:
    add(
        "--shard",
        type=flag_reader(read_shard),
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
