"""The cases of `scripts/field.py`: what is run, what is expected of it, and who looks."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import measures
import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
PAINT = ["--size", "96", "--steps", "30", "--quiet", "--force"]
FAST = ["--size", "64", "--steps", "2", "--scales", "1", "--quiet", "--force"]


class Seen(NamedTuple):
    """What a run did."""

    code: int
    err: str
    out: str
    folder: Path

    def record(self, name: str) -> dict[str, Any]:
        """Returns the record in a picture."""
        return json.loads(Image.open(self.folder / name).text["jaxstyle"])  # type: ignore[attr-defined,no-any-return]

    def picture(self, name: str) -> Any:
        """Returns a picture as numbers."""
        return measures.load(self.folder / name)


Check = Callable[[Seen], tuple[bool, str]]


class Case(NamedTuple):
    """Something that people do."""

    ids: str
    """Of the field's report."""
    what: str
    expected: str
    flags: list[str]
    check: Check
    quick: bool = False
    style: str = "strokes.png"
    deny: str = ""
    hang_up: bool = False


def well(seen: Seen) -> tuple[bool, str]:
    """The run ended well and there is a picture, or a folder of them."""
    return seen.code == 0, f"exit code {seen.code}"


def refused(*words: str) -> Check:
    """Returns a check that there is one line of error, exit code 2, which has all the words."""

    def check(seen: Seen) -> tuple[bool, str]:
        lines = seen.err.strip().splitlines()
        last = lines[-1] if lines else ""
        is_one = seen.code == 2 and seen.err.count("error: ") == 1 and "Traceback" not in seen.err
        return is_one and all(word in last for word in words), f"{seen.code}: {last[-90:]}"

    return check


def says(*words: str) -> Check:
    """Returns a check that the run ended well and said all the words."""
    return lambda seen: (
        seen.code == 0 and all(word in seen.err for word in words),
        f"{seen.code}: {' / '.join(seen.err.strip().splitlines())[-90:]}",
    )


def number(name: str, what: Callable[[Any], float], least: float, most: float) -> Check:
    """Returns a check that a number of a picture lies between two."""

    def check(seen: Seen) -> tuple[bool, str]:
        if seen.code:
            return False, f"exit code {seen.code}"
        found = what(seen.picture(name))
        return least <= found <= most, f"{found:.3g}"

    return check


def _finite(seen: Seen) -> tuple[bool, str]:
    if seen.code:
        return False, f"exit code {seen.code}"
    losses = seen.record("out.png")["losses"]
    return all(np.isfinite(list(losses.values()))), f"total {losses['total']:.3g}"


def _hung_up(seen: Seen) -> tuple[bool, str]:
    there = (seen.folder / "out.png").exists()
    return seen.code == 129 and there, f"exit code {seen.code}, picture {there}"


def _same_size(seen: Seen) -> tuple[bool, str]:
    sizes = {Image.open(each).size for each in seen.folder.glob("out*.png")}
    return seen.code == 0 and len(sizes) == 1, f"{seen.code}, {sizes}"


def _transparent(seen: Seen) -> tuple[bool, str]:
    mode = Image.open(seen.folder / "out.png").mode if not seen.code else ""
    return mode == "RGBA", f"{seen.code} {mode}"


def _saved_losses(seen: Seen) -> tuple[bool, str]:
    if seen.code:
        return False, f"exit code {seen.code}"
    facts = seen.record("out.png")
    ratio = facts["saved_losses"]["total"] / facts["losses"]["total"]
    return ratio < 1.02, f"saved / canvas {ratio:.4f}"


def _goes_on(seen: Seen) -> tuple[bool, str]:
    if seen.code:
        return False, f"exit code {seen.code}"
    start = measures.load(
        seen.folder.parent / "in" / "coffee.png", seen.picture("out.png").shape[:2]
    )
    found = measures.psnr(seen.picture("out.png"), start)
    return found > 18, f"{found:.1f} dB"


def _balanced(seen: Seen) -> tuple[bool, str]:
    """Neither photo nor painting has next to no part in what is left of the loss."""
    if seen.code:
        return False, f"exit code {seen.code}"
    losses = seen.record("out.png")["losses"]
    parts = [losses[name] / losses["total"] for name in ("content", "style")]
    return min(parts) > 0.05, f"content {parts[0]:.2f}, style {parts[1]:.2f}"


def _chroma_checkers(picture: Any) -> float:
    return measures.checkers(picture)[1]


def _like_strokes(picture: Any) -> float:
    start = measures.load(EXAMPLES / "strokes.png", picture.shape[:2])
    return measures.psnr(picture, start)


def _edges(picture: Any) -> float:
    return max(measures.borders(picture))


def cases() -> list[Case]:
    """Returns all cases; those of one program come one after another."""
    return [*_refusals(), *_files(), *_places(), *_flaws(), *_pairs()]


def _refusals() -> list[Case]:
    kinds = {"IMG_1.HEIC": "HEIC", "IMG_2.jpg": "HEIC", "x.jxl": "JPEG XL", "x.svg": "SVG"}
    kinds |= {"x.pdf": "PDF", "x.dng": "raw file"}
    found = [
        Case("R08", f"{name} as a photo", kind, ["--content", name], refused(kind), quick=True)
        for name, kind in kinds.items()
    ]
    return [
        *found,
        Case("R07", "an address", "a hint", ["--content", "https://x/p.png"], refused(), True),
        Case("R14 F7", "weights of zeros", "refused", [*FAST, "--weights", "zeros.h5"], refused()),
        Case("R28", "a photo of 15x15", "one line", ["--content", "s15.png"], refused("16"), True),
        Case(
            *("R03 F4", "64 megapixels, 200 MB left", "memory, not damage"),
            *(["--content", "large16.png"], refused("memory"), True),
            deny="200",
        ),
        Case(
            *("F8", "HxW that does not fit", "HxW that does"),
            *(["--size", "9000x6000"], refused("choose --size", "x")),
            deny="3500",
        ),
    ]


def _files() -> list[Case]:
    good = ["wf.png", "icc2mb.png"]
    found = [
        Case("R04 F3", f"{name} as a photo", "painted", [*FAST, "--content", name], well)
        for name in good
    ]
    return [
        *found,
        Case("R07", "--content=-p.png", "painted", [*FAST, "--content=-p.png"], well),
        Case("R07", "~/p.png", "painted", [*FAST, "--content", "~/p.png"], well),
        Case("R03", "64 megapixels, 16 bits", "painted", [*FAST, "--content", "large16.png"], well),
        Case(
            "R13",
            "transparent, over white",
            "a line",
            [*_loud(FAST), "--content", "cut.png"],
            says("transparent in part"),
        ),
        Case(
            "R13",
            "--alpha keep",
            "transparent",
            [*FAST, "--content", "cut.png", "--alpha", "keep"],
            _transparent,
        ),
        Case("R28", "16x16", "painted", [*FAST, "--content", "s16.png"], well),
        Case(
            "R28", "2000x16", "painted", [*FAST, "--content", "s2000.png", "--size", "2000"], well
        ),
        Case(
            "R12",
            "HxW, style of another aspect",
            "painted",
            [*FAST, "--size", "48x96"],
            well,
            style="bars.png",
        ),
        Case(
            "R11",
            "--size above the photo's",
            "a line",
            [*_loud(FAST), "--content", "s40.png", "--size", "200"],
            says("40"),
        ),
    ]


def _places() -> list[Case]:
    sweep = ["--sweep", "content", "frames/*.jpg", "-o", "sweep"]
    return [
        Case("R01 F2", "chmod refused", "saved where asked", FAST, well, deny="chmod"),
        Case("R06", "no locks", "at most one warning", FAST, _one_warning, deny="flock"),
        Case(
            "R09",
            "--save-every",
            "one size",
            [*PAINT, "--steps", "8", "--save-every", "2"],
            _same_size,
        ),
        Case(
            "R05 F6",
            "SIGHUP",
            "129, saved",
            ["--size", "96", "--steps", "20000", "--force"],
            _hung_up,
            hang_up=True,
        ),
        Case("R02 F5", "a sweep over 24 photos", "memory", [*FAST, *sweep], _flat, deny="peak"),
    ]


def _flat(seen: Seen) -> tuple[bool, str]:
    """All 24 photos, decoded, are 0.86 GB; without them a run needs about 1 GB."""
    peak = int(seen.err.rpartition("peak ")[2].partition(" ")[0])
    return seen.code == 0 and peak < 1500, f"{seen.code}, peak {peak} MB"


def _one_warning(seen: Seen) -> tuple[bool, str]:
    lines = len(seen.err.strip().splitlines())
    return seen.code == 0 and lines <= 1, f"{seen.code}, {lines} lines"


def _flaws() -> list[Case]:
    return [
        Case("R25 F9", "clipped colors", "saved as told", PAINT, _saved_losses),
        Case(
            "R25 R18", "clipped values", "few", PAINT, number("out.png", measures.clipped, 0, 0.12)
        ),
        Case(
            "R18",
            "checkers in chroma",
            "no more than the painting",
            PAINT,
            number("out.png", _chroma_checkers, 0, 0.12),
        ),
        Case(
            "R19",
            "borders, odd sizes",
            "like the inside",
            [*PAINT, "--size", "61x93", "--init", "noise"],
            number("out.png", _edges, 0, 2),
        ),
        Case(
            "R17",
            "haze in a flat photo",
            "none",
            [*PAINT, "--content", "sky.png"],
            number("out.png", measures.haze, 0, 0.1),
        ),
        Case(
            "R21",
            "dead blocks",
            "none",
            [*PAINT, "--content", "logo.png"],
            number("out.png", measures.dead_blocks, 0, 0.5),
        ),
        Case(
            "R24",
            "grey in grey",
            "grey",
            [*PAINT, "--content", "g.png"],
            number("out.png", measures.saturation, 0, 0),
            style="gs.png",
        ),
    ]


def _pairs() -> list[Case]:
    found = [
        Case(
            "R29", f"{name}, style too", "finite", [*PAINT, "--content", name], _finite, style=name
        )
        for name in ("black.png", "white.png", "checks.png")
    ]
    return [
        Case(
            "R10",
            "--init PICTURE",
            "goes on",
            [*PAINT, "--steps", "1", "--init", "coffee.png"],
            _goes_on,
        ),
        *(
            Case(
                "R26",
                f"balance, {photo} in {style}",
                "comparable parts",
                [*PAINT, "--content", photo],
                _balanced,
                style=style,
            )
            for photo, style in (("strokes.png", "coffee.png"), ("sky.png", "strokes.png"))
        ),
        Case(
            "R27",
            "style = content",
            "like it",
            [*PAINT, "--content", "strokes.png"],
            number("out.png", _like_strokes, 15, 99),
        ),
        *found,
    ]


def _loud(flags: Sequence[str]) -> list[str]:
    return [each for each in flags if each != "--quiet"]
