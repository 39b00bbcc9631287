"""The style sheet of all pages: its colors are far enough from each other to be read."""

import re
from importlib import resources

import pytest

LOOK = resources.files("jaxstyle.sweeps").joinpath("look.css").read_text("utf-8")
SCHEMES = dict(
    zip(("light", "dark"), LOOK.split("@media (prefers-color-scheme: dark)"), strict=True)
)
TEXTS = ("ink", "pale", "alarm", "accent")
GRAPHICS = ("edge", "curve", "term-1", "term-2", "term-3", "term-4")


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance of #rrggbb."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def colors(scheme: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", SCHEMES[scheme]))


def test_the_formula() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # just too little


@pytest.mark.parametrize("scheme", SCHEMES)
def test_contrast(scheme: str) -> None:
    """At least 4.5 for text and 3 for what is drawn, as WCAG's level AA asks."""
    found = colors(scheme)
    assert set(TEXTS + GRAPHICS) < set(found)
    for ground in ("paper", "faint"):
        assert [n for n in TEXTS if contrast(found[n], found[ground]) < 4.5] == []
        assert [n for n in GRAPHICS if contrast(found[n], found[ground]) < 3] == []
    assert contrast(found["on-accent"], found["accent"]) >= 4.5


def test_both_schemes_have_the_same_colors() -> None:
    assert colors("light").keys() == colors("dark").keys()
