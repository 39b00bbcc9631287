"""The flags of settings: each follows from a field of `Recipe` or `Hyperparams`."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxstyle.texts import (
    read_layers,
    read_number,
    read_scales,
    read_size,
    read_whole,
    read_yes_or_no,
    shown,
)


def layer_settings(name: str, value: Any) -> dict[str, Any]:
    """Splits layers with weights into two settings; any other setting is itself."""
    if not name.endswith("_layers"):
        return {name: value}
    layers, weights = zip(*value, strict=True)
    return {name: layers, name.replace("_layers", "_layer_weights"): weights}


def add_setting(group: Any, each: dataclasses.Field[Any], default: Any) -> None:
    """Adds the flag of a field to a group of an argument parser; its help says the default."""
    alone: dict[str, Any] = {"nargs": "?", "const": True} if each.type is bool else {}
    group.add_argument(
        f"--{each.name.replace('_', '-')}",
        type=converter(each),
        metavar=each.metadata.get("metavar") or "|".join(each.metadata["choices"]),
        help=f"{each.metadata['help']}; default: {shown(default)}",
        **alone,
    )


def converter(each: dataclasses.Field[Any]) -> Callable[[str], Any]:
    """Returns what reads a field's value from the command line, by the field's name or type."""
    by_name = {
        "size": read_size,
        "scales": read_scales,
        "content_layers": read_layers,
        "style_layers": read_layers,
    }
    by_type: dict[Any, Callable[[str], Any]] = {
        int: read_whole,
        float: read_number,
        str: str,
        bool: read_yes_or_no,
    }
    return by_name.get(each.name) or by_type[each.type]
