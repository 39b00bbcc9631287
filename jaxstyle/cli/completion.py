"""Shell completion: a script for a shell, made from the flags, by which Tab completes a command."""

import argparse
import re
from collections.abc import Sequence

from jaxstyle.cli.commands import COMMANDS
from jaxstyle.cli.flags import PATHS, build_parser
from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.settings.presets import PRESETS
from jaxstyle.sweeps.grid import OTHERS, SETTING_FIELDS

COMPLETION = "--print-completion"
"""The flag that asks for such a script; it stands alone."""

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
CHOICES = {
    "preset": tuple(PRESETS),
    "print_completion": SHELLS,
    "sweep": tuple(name.replace("_", "-") for name in (*SETTING_FIELDS, *OTHERS)),
}
"""What may follow a flag whose help names no words, by where it is in a parser's result."""

LONGEST_HELP = 60
"""Of what a shell shows beside a flag, in characters."""


def read_shell(words: Sequence[str]) -> str:
    """Reads what follows `--print-completion`.

    Raises:
      InputError: it is not the name of a shell alone.
    """
    if len(words) == 1 and words[0] in SHELLS:
        return words[0]
    near = did_you_mean(words[0], SHELLS) if words else ""
    given = f"got {' '.join(words)!r}" if words else "got nothing"
    raise InputError(
        f"{COMPLETION} takes one of {', '.join(SHELLS)} and stands alone, {given}{near}"
    )


def script(shell: str) -> str:
    """Returns a script in the language of one of the SHELLS, to be read when it starts."""
    import shtab  # when it is asked for

    parser = build_parser()
    commands = parser.add_subparsers()
    for name, (about, make) in COMMANDS.items():
        commands.add_parser(name, help=about, parents=[make()], add_help=False)
    for each in parser._actions:
        _prepare(each)
    text: str = shtab.complete(parser, shell=shell, root_prefix="jaxstyle")
    return text


def _prepare(action: argparse.Action) -> None:
    """Tells of a flag what may follow it, and shortens its help to its first clause."""
    action.help = re.split(r"[:;(,]", action.help or "")[0].strip()[:LONGEST_HELP]
    if isinstance(action.metavar, str) and action.choices is None:
        if action.metavar in PATHS or action.metavar.endswith("|PATH"):
            vars(action)["complete"] = "directory" if action.metavar == "DIR" else "file"
        elif words := re.findall(r"(?<![^|])[a-z0-9+.-]+(?![^|])", action.metavar):
            action.choices = words
    if action.dest in CHOICES:
        action.choices = CHOICES[action.dest]
