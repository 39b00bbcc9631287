"""How a setting is declared: as a field of a dataclass, whose metadata says all about it.

There are two kinds of settings. `recipe.Recipe` says what a run does; its fields that are marked
decide the *program*: changing one compiles another. `hyperparams.Hyperparams` holds the
*hyperparameters*: changing one never does. Each field carries its own help text, from which the
command line's flags are made. So a setting is declared in one place; its range is checked in
`validation`, and one that decides the program has a field in `targets.Program`.
"""

import dataclasses
from typing import Any


def about(text: str, **more: Any) -> dict[str, Any]:
    """Returns the metadata of a field: its help, and marks such as choices or later."""
    return {"help": text, **more}


def program(text: str, **more: Any) -> dict[str, Any]:
    """Returns the metadata of a field that decides the program, see `recipe.program_names`."""
    return about(text, program=True, **more)


def field_names(settings: type) -> tuple[str, ...]:
    """Returns the names of the fields of one of the two kinds of settings, in order."""
    return tuple(each.name for each in dataclasses.fields(settings))


def has_flag(setting: dataclasses.Field[Any]) -> bool:
    """Whether a setting can be given on the command line: it then has a text that explains it."""
    return "help" in setting.metadata


def came_later(setting: dataclasses.Field[Any]) -> bool:
    """Whether a setting is younger than the records of results: its metadata then says "later".

    Its default must mean that all is done as before there was such a setting.
    """
    return bool(setting.metadata.get("later"))


def later_defaults(*kinds: type) -> dict[str, Any]:
    """Returns by name the default of every setting of these kinds that `came_later`."""
    fields = [each for kind in kinds for each in dataclasses.fields(kind)]
    return {each.name: each.default for each in fields if came_later(each)}
