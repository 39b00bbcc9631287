"""The command line as a TOML file: a key for every flag, read by --config, made by --print-config.

A key is a flag without its dashes. Paths are, as on the command line, from the working directory.
"""

import argparse
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.runs.request import check_is_file

NOT_IN_FILES = ("help", "version", "list-presets", "config", "print-config", "print-completion")
"""Flags that ask for something else than a run."""

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?")
"""Texts that TOML reads as the number that they are."""


def with_config(given: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Returns a command line with that of its --config file, if it names one, before it.

    What is given as a flag is left out of the file's.

    Raises:
      InputError: a flag that cannot be used; or the file cannot be read, is not TOML, or has a key
        or a value that cannot be used.
    """
    flags = vars(parser.parse_args(given))
    path = flags["config"]
    if path is None:
        return list(given)
    words: list[str] = []
    actions = _actions(parser)
    for key, value in _read(path).items():
        name = key.replace("_", "-")
        if name not in actions:
            raise InputError(f"{path}: there is no flag --{name}{did_you_mean(name, actions)}")
        try:
            own = _words(name, value, actions[name])
            parser.parse_args(own)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if flags[actions[name].dest] == actions[name].default:
            words += own
    return [*words, *given]


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Returns what is done with each flag, by its long name without dashes."""
    found = {each.option_strings[-1].lstrip("-"): each for each in parser._actions}
    return {name: each for name, each in found.items() if name not in NOT_IN_FILES}


def _read(path: Path) -> dict[str, Any]:
    check_is_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also what is no UTF-8
        raise InputError(f"{path} is not TOML: {' '.join(str(error).split())}") from None


def _words(name: str, value: Any, action: argparse.Action) -> list[str]:
    """Returns a key and its value as words of a command line."""
    flag = f"--{name}"
    if isinstance(action, argparse._AppendAction):
        if not isinstance(value, dict):
            raise InputError(f"{name} must be a table of settings with their values")
        axes = [(each, _texts(f"{name}.{each}", value[each])) for each in value]
        return [word for each, texts in axes for word in (flag, each, *texts)]
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false")
        return [flag] * value
    texts = _texts(name, value)
    if action.nargs == "+":  # of paths: a name that begins with - would be taken for a flag
        return [flag, *(f"./{each}" if each.startswith("-") else each for each in texts)]
    return [f"{flag}={','.join(texts)}"]


def _texts(name: str, value: Any) -> list[str]:
    """Returns a value, or each of a list, as it is typed."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):  # bool is an int
        raise InputError(f"{name} must be a text, a number, true, false, or a list of these")
    return [("no", "yes")[each] if isinstance(each, bool) else str(each) for each in values]


def config_text(
    given: Sequence[str], parser: argparse.ArgumentParser, settings: dict[str, str]
) -> str:
    """Returns a command line as such a file, which asks for the very same.

    Args:
      given: the words, which can be parsed.
      parser: is used up: its flags keep their texts from now on.
      settings: every setting by flag as it will be; what was not given is among the comments.

    Raises:
      InputError: a name of a file is no text, or a setting is swept twice.
    """
    for action in parser._actions:
        action.type = None
    flags = vars(parser.parse_args(given))
    actions = _actions(parser)
    values: dict[str, Any] = {
        name: "yes" if each.nargs == "?" and flags[each.dest] is True else flags[each.dest]
        for name, each in actions.items()
        if flags[each.dest] != each.default
    }
    lines = [*_lines({name: value for name, value in values.items() if name != "sweep"})]
    lines += [
        f"# {line}" for line in _lines({k: v for k, v in settings.items() if k not in values})
    ]
    if "sweep" in values:
        axes = {name: texts for name, *texts in values["sweep"]}
        if len(axes) < len(values["sweep"]):
            raise InputError("--sweep: a setting is there twice")
        lines += ["", "[sweep]", *_lines(axes)]
    text = "\n".join(lines)
    if text != text.encode(errors="replace").decode():
        raise InputError("--print-config: the name of a file is not valid text")
    return text


def _lines(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        texts = value if isinstance(value, list) else [value]
        shown = ", ".join(map(_toml, texts))
        yield f"{name} = [{shown}]" if isinstance(value, list) else f"{name} = {shown}"


def _toml(value: str | bool) -> str:
    """Returns a text in TOML's notation: a number as such, else a basic string, JSON's but DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if NUMBER.fullmatch(value) and str(tomllib.loads(f"x = {value}")["x"]) == value:
        return value
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
