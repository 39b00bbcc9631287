"""Checks of single settings; they raise InputError with the setting's name and value."""

import math
import numbers
import reprlib
from typing import Any, NamedTuple

from jaxstyle.errors import InputError, did_you_mean
from jaxstyle.network.layers import check_tap

LARGEST_FLOAT32 = 3.4028235e38
MOST_STYLE_SCALE = 16.0
MOST_STYLE_WEIGHT = 1e6
COARSEST = 64
"""Least long side, in pixels, at which a pyramid of "auto" scales begins."""

MOST_PIXELS = 178_956_970
"""Most pixels of a picture; beyond this Pillow takes a file for a decompression bomb."""


def check_layers(name: str, layers: Any, weights: Any) -> None:
    """Raises InputError unless layers are names of taps, each once, with a weight of its own."""
    _check_tuple(name, layers, "names of layers")
    _check_tuple(f"the weights of {name}", weights, "numbers")
    if not layers:
        raise InputError(f"{name} is empty: name at least one layer (a weight may be 0)")
    for layer in layers:
        if not isinstance(layer, str):
            raise InputError(f"{name} must be names of layers, got {reprlib.repr(layer)}")
        check_tap(layer)
        if layers.count(layer) > 1:
            raise InputError(f"{name} names {layer} twice: name it once, with a weight")
    if len(weights) != len(layers):
        raise InputError(f"{name}: {len(layers)} layers, but {len(weights)} weights")
    for weight in weights:
        check_number(f"a weight in {name}", weight)


def check_size(size: Any) -> None:
    """Raises InputError unless a size is "full", N or (H, W), whole and of not too many pixels."""
    if isinstance(size, str) and size == "full":
        return
    sides = size if isinstance(size, tuple) else (size,)
    if isinstance(size, tuple) and len(size) != 2:
        raise InputError(f"size must be N or HEIGHT and WIDTH, got {reprlib.repr(size)}")
    for side in sides:
        check_whole("size", side)
    if math.prod(sides) > MOST_PIXELS:
        given = "x".join(map(str, sides))
        raise InputError(f"size {given} is too large: at most {MOST_PIXELS:,} pixels are painted")


def check_scales(scales: Any) -> None:
    """Raises InputError unless scales are fractions that rise and end with 1, or "auto...".

    See `pyramid_of` for what may follow.
    """
    if isinstance(scales, str) and (scales == "auto" or scales.startswith("auto:")):
        pyramid_of(scales)
        return
    _check_tuple("scales", scales, 'numbers, or "auto"')
    for scale in scales:
        check_number("scales", scale, above_zero=True, most=1.0)
    if not scales or scales[-1] != 1.0 or list(scales) != sorted(set(scales)):
        given = reprlib.repr(scales)
        raise InputError(f"scales must rise and end with 1, such as 0.5,1, or be auto; got {given}")


class Pyramid(NamedTuple):
    """What scales by a factor are, see `pyramid_of`."""

    factor: float
    """By how much each size is larger than the one before, above 1."""
    least: int
    """Fewest pixels of the coarsest."""
    short: bool
    """Whether these are of the short side."""


def pyramid_of(text: str) -> Pyramid:
    """Returns what scales "auto", "auto:FACTOR:PIXELS" or "auto:FACTOR:PIXELS:short" mean.

    Raises:
      InputError: it is none of these, or a number is out of range.
    """
    word, *parts = text.split(":")
    if text == "auto":
        return Pyramid(2.0, COARSEST, short=False)
    short = len(parts) == 3 and parts[2] == "short"
    try:
        factor, least = float(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        factor, least = 0.0, 0
    if word != "auto" or not (short or len(parts) == 2) or not (1.05 <= factor <= 16 and least > 0):
        given = reprlib.repr(text)
        raise InputError(
            "scales must be fractions, auto, or auto:FACTOR:PIXELS with a factor from 1.05 to 16,"
            f" such as auto:1.414:128; got {given}"
        )
    return Pyramid(factor, least, short)


def check_level_steps(steps: Any) -> None:
    """Raises InputError unless these are whole numbers of 1 or more, or "auto"."""
    if isinstance(steps, str) and steps == "auto":
        return
    _check_tuple("level_steps", steps, 'whole numbers, or "auto"')
    if not steps:
        raise InputError("level_steps is empty: give a number of steps for each of the scales")
    for each in steps:
        check_number("level_steps", each, least=1.0, most=2**31 - 1)
        if each != int(each):
            raise InputError(f"level_steps must be whole numbers, got {reprlib.repr(steps)}")


def check_style_scale(scales: Any) -> None:
    """Raises InputError unless these are numbers above 0, each once."""
    _check_tuple("style_scale", scales, "numbers")
    for scale in scales:
        check_number("style_scale", scale, above_zero=True, most=MOST_STYLE_SCALE)
    if not scales or len(set(scales)) != len(scales):
        given = reprlib.repr(scales)
        raise InputError(f"style_scale must be one number or several different ones, got {given}")


def check_style_weights(weights: Any, *, negative: bool) -> None:
    """Raises InputError unless these are numbers whose sum is above 0, or none at all."""
    _check_tuple("style_weights", weights, "numbers")
    least = -MOST_STYLE_WEIGHT if negative else 0.0
    for weight in weights:
        check_number("style_weights", weight, least=least, most=MOST_STYLE_WEIGHT)
    if weights and not sum(weights) > 0:
        given = reprlib.repr(weights)
        raise InputError(f"style_weights must have a sum above 0, got {given}")


def _check_tuple(name: str, value: Any, what: str) -> None:
    if not isinstance(value, tuple):
        raise InputError(f"{name} must be a tuple of {what}, got {reprlib.repr(value)}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises InputError, with a choice that is spelled nearly so, for a value that is none."""
    if value not in choices:
        given = reprlib.repr(value)
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise InputError(f"{name} {given} is none of {', '.join(choices)}{near}")


def check_yes_or_no(name: str, value: Any) -> None:
    """Raises InputError unless a value is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {reprlib.repr(value)}")


def check_number(
    name: str,
    value: Any,
    *,
    least: float = 0.0,
    above_zero: bool = False,
    most: float = LARGEST_FLOAT32,
) -> None:
    """Raises InputError unless a value is a finite number from `least`, or above 0, to `most`."""
    given = reprlib.repr(value)  # a number in a file may have thousands of digits
    if not _is_a(numbers.Real, value) or value != value or value in (math.inf, -math.inf):
        raise InputError(f"{name} must be a finite number, got {given}")
    if value < least or (above_zero and value == 0) or value > most:
        lowest = "above 0" if above_zero else f"{least:g} or more"
        raise InputError(f"{name} must be {lowest} and at most {most:g}, got {given}")


def check_whole(name: str, value: Any, *, most: int = 2**31 - 1) -> None:
    """Raises InputError unless a value is a whole number from 1 to `most`, the largest int32."""
    if not _is_a(numbers.Integral, value) or not 1 <= value <= most:
        given = reprlib.repr(value)
        raise InputError(f"{name} must be a whole number from 1 to {most}, got {given}")


def _is_a(kind: type, value: Any) -> bool:
    """True and False are numbers to Python; as settings they are mistakes."""
    return isinstance(value, kind) and not isinstance(value, bool)
