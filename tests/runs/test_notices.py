"""What is not, to the letter, as it was asked for is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.images.regions import Regions
from jaxstyle.runs import record
from jaxstyle.runs.notices import Asked, notices_of, size_notices
from jaxstyle.settings.presets import preset

PHOTO, PAINTING = np.zeros((150, 200, 3), np.uint8), np.zeros((90, 120, 3), np.uint8)
SMALL = (
    "the photo, 150x200, has fewer pixels than --size 1000: it is painted at its own size;"
    " --upscale enlarges it"
)
LARGER = "the style picture, 90x120, is enlarged 1.7 times: one with more pixels has finer strokes"
LEFT_OUT = "0.05 of --scales is left out: these layers need 16 pixels each way"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, [LARGER]),
        ({"size": 1000}, [SMALL, LARGER]),
        ({"size": 150}, []),
        ({"size": 200, "style_size": 60, "upscale": True}, []),
        ({"size": 180, "scales": (0.05, 0.5, 1.0)}, [LEFT_OUT]),
    ],
)
def test_a_line_says_what_is_otherwise(asked, told) -> None:
    recipe, _ = preset(**asked)
    assert size_notices(PHOTO, [PAINTING], recipe, asked=asked) == told


def told(*also: str, init: str = "content", styles: int = 1, **asked) -> tuple[str, ...]:
    """Returns the notices of settings that were all given as flags, and of others `also` given."""
    recipe, hyper = preset("default", **asked)
    pictures = [np.zeros((150, 200, 3), np.uint8)] * styles
    return notices_of(Asked(PHOTO, pictures, recipe, hyper, init, {*asked, *also}))


def test_nothing_is_told_where_all_is_as_asked() -> None:
    assert told(size=128, steps=30, content_weight=1.0, full_depth=3, tv_weight=0.0) == ()
    assert told("seed", size=128, init="noise") == told("seed", size=128, init="grey") == ()
    assert told(size=128, decay_every=10, decay_rate=0.5) == ()
    assert told(size=128, styles=2, style_weights=(1.0, 2.0), style_mix="sum") == ()
    assert told(size=(150, 200), color_match="pca", balance="relative") == ()
    assert told("seed", size=128, style_loss="strotss") == ()


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"decay_every": 500}, "--decay-every has no effect in 120 steps"),
        ({"decay_rate": 0.5, "schedule": "cosine"}, "--decay-rate has no effect with --schedule c"),
        ({"color_match": "pca", "colors": "photo"}, "--color-match has no effect with --colors ph"),
        ({"history": 5}, "--history has no effect with --optimizer adam"),
        ({"beta2": "constant", "optimizer": "lbfgs"}, "--beta2 has no effect with --optimizer lb"),
        ({"style_weights": (2.0,)}, "--style-weights has no effect with one style picture"),
        ({"style_mix": "sum"}, "--style-mix has no effect with one style picture"),
        ({"propagation": "all"}, "--propagation has no effect without regions"),
        ({"extrapolate": True}, "--extrapolate has no effect without a weight below 0"),
        ({"steps_power": 1.0, "scales": (1.0,)}, "--steps-power has no effect with a single size"),
        ({"full_depth": 5}, "--full-depth has no effect with these --style-layers"),
        ({"content_power": 1.0, "balance": "book"}, "--content-power has no effect with --balance"),
        ({"save_every": 500}, "--save-every has no effect in 120 steps"),
        ({"content_decay": 0.5, "scales": (1.0,)}, "--content-decay has no effect with a single"),
        (
            {"content_layers": ("relu3_1",), "style_loss": "strotss"},
            "--content-layers has no effect with --style-loss strotss",
        ),
        ({"seed": 3}, "--seed has no effect without --init noise"),
        ({"alpha": "keep"}, "--alpha has no effect with a photo that is not transparent"),
        ({"steps": 1, "size": 128}, "1 of 2 --scales have no step: --steps 1 are too few"),
        ({"size": (100, 200)}, "the photo, 150x200, is brought to 100x200, another aspect"),
    ],
)
def test_what_is_otherwise_or_has_no_effect_is_told(asked, line: str) -> None:
    others = {"seed", "alpha", "save_every"} & set(asked)
    settings = {"size": 128, **{name: value for name, value in asked.items() if name not in others}}
    (found,) = told(*others, **settings)
    assert found.startswith(line)


def test_steps_of_sizes_beyond_the_three_largest_are_told() -> None:
    """Four sizes, 64 to 512: with equal shares the coarsest adds a third."""
    photo = np.zeros((512, 512, 3), np.uint8)
    recipe, hyper = preset("default", size=512, steps=30, steps_power=0.0)
    (line,) = notices_of(Asked(photo, [photo], recipe, hyper, "content", {"steps"}))
    assert line == (
        "--steps 30 are those of the 3 largest sizes; with the 1 coarser ones the run has 40"
    )


def test_what_is_kept_and_lost_at_the_size_is_told() -> None:
    keep = np.zeros((150, 200), bool)
    keep[7, 9] = True
    recipe, hyper = preset("default", size=64)
    asked = Asked(PHOTO, [PHOTO], recipe, hyper, "content", {"size"}, regions=Regions(keep=keep))
    assert notices_of(asked) == ("at 48x64 nothing is left of what was to be kept of the photo",)


def test_notices_are_said_and_recorded(paint) -> None:
    flags = ["--decay-every", "2", "--seed", "3", "-o", "r.png"]
    code, out, err = paint(*flags, "--json")
    brought = "what was given brings --schedule step"
    idle = "--seed has no effect without --init noise"
    assert code == 0
    assert json.loads(out)["notices"] == record.read(Path("r.png"))["notices"] == [brought, idle]
    assert f"jaxstyle: {brought}\njaxstyle: {idle}\n" in err
    code, out, err = paint("--from", "r.png", "-o", "s.png", "--json", "--quiet")
    assert (code, json.loads(out)["notices"], err) == (0, [brought, idle], "")
    assert Path("s.png").read_bytes() == Path("r.png").read_bytes()
    assert paint("--from", "r.png", "--steps", "3", "-o", "t.png")[0] == 0
    assert "notices" not in record.read(Path("t.png"))
    sweep = ["--sweep", "tv-weight", "0", "1", "--seed", "3", "-o", "out", "--json"]
    code, out, err = paint(*sweep, "--devices", "1")
    assert [each["notices"] for each in json.loads(out)["results"]] == [[idle]] * 2


def transparent(name: str, *, size: tuple[int, int] = (40, 30)) -> None:
    """Writes a picture whose left half is not there."""
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    alpha = Image.new("L", size, 255)
    alpha.paste(0, (0, 0, size[0] // 2, size[1]))
    image.putalpha(alpha)
    image.save(name)


def test_what_counts_as_white_is_told(paint) -> None:
    transparent("t.png")
    Image.open("photo.png").convert("RGBA").save("opaque.png")
    few = ["--size", "32", "--steps", "1", "-o", "x.png", "--force"]
    _, out, err = paint("--content", "t.png", "--style", "painting.png", "t.png", "--json", *few)
    lines = json.loads(out)["notices"]
    assert [line for line in lines if "transparent" in line] == [
        "the photo is transparent in part, which is painted as white: --alpha keep leaves it",
        "the style picture t.png is transparent in part, which counts as white",
    ]
    assert "--alpha keep leaves it" in err
    assert record.read(Path("x.png"))["notices"] == lines
    for flags in (["--content", "t.png", "--alpha", "keep"], ["--content", "opaque.png"]):
        assert "transparent in part" not in paint(*flags, *few)[2]
