"""Values of settings as texts on the command line, there and back.

The readers raise InputError, whose message goes behind the name of the flag.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.settings.recipe import Size

COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number with a comma where a decimal point belongs."""

EQUAL = "equal"
"""No weights at all."""


def as_text(value: Any) -> str:
    """Returns a setting's value as it would be written on the command line."""
    if value == ():
        return EQUAL
    if isinstance(value, tuple):
        separator = "x" if all(isinstance(each, int) for each in value) else ","
        return separator.join(map(as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_whole(text: str) -> int:
    """Reads a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise InputError(f"must be a whole number of 1 or more, got {text!r}")
    return value


def read_seed(text: str) -> int:
    """Reads a seed, 0 to 2**32 - 1."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise InputError(f"must be a whole number from 0 to 4294967295, got {text!r}")
    return value


def read_number(text: str) -> float:
    """Reads a number."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"must be a number, got {text!r}{_point_for_comma(text)}") from None


def _point_for_comma(text: str) -> str:
    """Returns what to write instead of a number with a comma, to be put behind an error."""
    return f": write {text.replace(',', '.')}" if COMMA.fullmatch(text.strip()) else ""


def read_seconds(text: str) -> float:
    """Reads a number above 0, which may be inf."""
    value = read_number(text)
    if not value > 0:
        raise InputError(f"must be a number of seconds above 0, got {text!r}")
    return value


def read_scales(text: str) -> tuple[float, ...] | str:
    """Reads numbers with commas between them, or auto, or auto:FACTOR:PIXELS."""
    if text.startswith("auto"):
        return text
    try:
        return read_sizes(text)
    except InputError as error:
        raise InputError(f"{error}: give fractions, such as 0.5,1, or auto") from None


def read_level_steps(text: str) -> tuple[float, ...] | str:
    """Reads whole numbers with commas between them, or auto."""
    if text == "auto":
        return text
    try:
        return tuple(float(read_whole(part)) for part in text.split(","))
    except OverflowError:  # more than a float can be
        raise InputError(f"must be whole numbers below 2**31, got {text!r}") from None


def read_numbers(text: str) -> tuple[float, ...]:
    """Reads numbers with commas between them."""
    return tuple(read_number(part) for part in text.split(","))


def read_sizes(text: str) -> tuple[float, ...]:
    """Reads numbers above 0 with commas between them: 0,5 would be one with a comma for a point."""
    if COMMA.fullmatch(text) and text.startswith(("0,", ",")):
        raise InputError(f"must be numbers above 0, got {text!r}{_point_for_comma(text)}")
    return read_numbers(text)


def read_blend(text: str) -> tuple[float, ...]:
    """Reads numbers with commas between them, or equal, which is none."""
    return () if text == EQUAL else read_numbers(text)


def read_whole_or_auto(text: str) -> int | str:
    """Reads a whole number of 1 or more, or auto."""
    return text if text == "auto" else read_whole(text)


def read_yes_or_no(text: str) -> bool:
    """Reads yes or no."""
    if text not in ("yes", "no"):
        raise InputError(f"must be yes or no, got {text!r}")
    return text == "yes"


def read_size(text: str) -> Size:
    """Reads N, HxW or full."""
    if text == "full":
        return text
    sides = text.lower().replace("\u00d7", "x").split("x")
    try:
        values = tuple(read_whole(side) for side in sides)
    except InputError:
        values = ()
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return (values[0], values[1])
    raise InputError(
        "must be a number of pixels, such as 450, or HEIGHTxWIDTH, such as 300x450, or full, got"
        f" {text!r}"
    )


def read_layers(text: str) -> list[tuple[str, float]]:
    """Reads layers with optional weights: "relu3_1:0.5,conv5_1"."""
    layers: list[tuple[str, float]] = []
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        if name.isdigit() and layers:
            raise InputError(f"{text!r}: a weight has a decimal point, as in relu4_1:0.5")
        layers.append((name, read_number(weight) if colon else 1.0))
    return layers


def read_choice(choices: Sequence[str]) -> Callable[[str], str]:
    """Returns what reads one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            near = did_you_mean(text, choices)
            raise InputError(f"{text!r} is none of {', '.join(choices)}{near}")
        return text

    return read


def read_shard(text: str) -> tuple[int, int]:
    """Reads I/N: the I-th of N, counted from 1."""
    try:
        share, count = (int(part) for part in text.split("/"))
    except ValueError:
        share, count = 0, 0
    if not 1 <= share <= count:
        raise InputError(f"must be I/N, the I-th of N counted from 1, such as 1/4, got {text!r}")
    return share, count


def read_coordinator(text: str) -> str:
    """Reads HOST:PORT,I/N, or auto."""
    address, comma, place = text.rpartition(",")
    host, _, port = address.rpartition(":")
    if text == "auto":
        return text
    if not (comma and host and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(f"must be HOST:PORT,I/N, such as node1:1234,1/2, or nothing, got {text!r}")
    read_shard(place)
    return text


def layer_settings(name: str, value: Any) -> dict[str, Any]:
    """Splits layers with weights into two settings; any other setting is itself."""
    if not name.endswith("_layers"):
        return {name: value}
    layers, weights = zip(*value, strict=True)
    return {name: layers, name.replace("_layers", "_layer_weights"): weights}


def converter(each: dataclasses.Field[Any]) -> Callable[[str], Any]:
    """Returns what reads a field's value from the command line, by the field's name or type."""
    by_name = {
        "size": read_size,
        "scales": read_scales,
        "level_steps": read_level_steps,
        "style_scale": read_sizes,
        "style_size": read_whole_or_auto,
        "style_weights": read_blend,
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
