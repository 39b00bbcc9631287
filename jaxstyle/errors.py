"""What can go wrong by the caller's doing, and how it is said: one line for a person.

The library raises these; `cli.main` alone turns them into messages and exit codes.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

Say = Callable[[str], None]
"""A function that shows the person a line."""


def silent(line: str) -> None:
    """Shows nobody a line; a `Say` for those who were told, or are not to be."""


class InputError(ValueError):
    """Something that was given cannot be used; the message is one line that says what to do."""


class DivergedError(ArithmeticError):
    """A loss or the gradient became NaN or infinite, so the run stopped.

    Attributes:
      step: the step, counted from 1, whose loss or gradient is not finite.
      term: the name of a term of the loss, such as "style", or "gradient".
      picture: the last good one, (H, W, 3) float32 in [0, 1], where `stylize` raised this.
    """

    def __init__(self, step: int, term: str) -> None:
        what = "gradient" if term == "gradient" else f"{term} loss"
        super().__init__(
            f"the {what} became NaN or infinite at step {step}: try a smaller learning rate or"
            " smaller weights"
        )
        self.step = step
        self.term = term
        self.picture: Any = None


class ExhaustedError(MemoryError):
    """A device has not enough memory; the message is one line that says what to do."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Returns "; did you mean X?" for the choice nearest to `name`, or nothing if none is near."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_line(text: str) -> str:
    r"""Returns a text for the screen: what cannot be printed, such as a line's end, becomes \n."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def quote(text: str) -> str:
    """Returns a text from a file for a message: on one line, 80 characters at most."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
