"""Presets, changes to them, and what values settings may have."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from jaxstyle.errors import InputError
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS, change, preset
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.validation import validate

BOOK_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1")


def test_book_is_the_books() -> None:
    """Dive into Deep Learning, "Neural Style Transfer", the PyTorch listing."""
    recipe, hyper = preset("book")
    assert recipe.content_layers == ("relu4_last",)
    assert recipe.style_layers == BOOK_STYLE
    assert (recipe.size, recipe.steps, recipe.scales) == ((300, 450), 500, (1.0,))
    assert (recipe.pooling, recipe.schedule, recipe.resampling) == ("max", "step", "bilinear")
    assert (hyper.content_weight, hyper.style_weight, hyper.tv_weight) == (1, 1e4, 10)
    assert (hyper.learning_rate, hyper.decay_every, hyper.decay_rate) == (0.3, 50, 0.8)
    assert hyper.style_layer_weights == (1,) * 5


def test_book_mxnet_differs_from_book_in_taps_and_learning_rate_alone() -> None:
    (recipe, hyper), (book, book_hyper) = preset("book-mxnet"), preset("book")
    assert recipe.content_layers == ("conv4_last",)
    assert recipe.style_layers == tuple(f"conv{block}_1" for block in range(1, 6))
    taps = {"content_layers": book.content_layers, "style_layers": book.style_layers}
    assert dataclasses.replace(recipe, **taps) == book
    assert hyper.learning_rate == 0.9
    assert dataclasses.replace(hyper, learning_rate=0.3) == book_hyper


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_says_what_it_is(name: str) -> None:
    validate(PRESETS[name].recipe, PRESETS[name].hyper)
    assert len(PRESETS[name].about) > 40
    assert "\n" not in PRESETS[name].about
    hash(PRESETS[name].recipe)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown preset 'bok'.*did you mean book"):
        preset("bok")
    with pytest.raises(InputError, match=r"unknown setting 'poolin'.*did you mean pooling"):
        preset(poolin="avg")
    with pytest.raises(InputError, match="unknown setting 'epochs'"):
        preset(epochs=3)


def test_changes_reach_the_dataclass_that_has_the_field() -> None:
    recipe, hyper = preset("book", steps=7, tv_weight=3.0)
    assert (recipe.steps, hyper.tv_weight) == (7, 3.0)
    assert recipe.size == (300, 450)
    assert hyper.style_weight == 1e4


def test_new_layers_weigh_one_each_unless_weights_are_given() -> None:
    _, hyper = preset(style_layers=("relu1_1", "relu2_2"))
    assert hyper.style_layer_weights == (1.0, 1.0)
    _, hyper = preset(style_layers=("relu1_1", "relu2_2"), style_layer_weights=(0.5, 2))
    assert hyper.style_layer_weights == (0.5, 2.0)
    with pytest.raises(InputError, match="2 layers, but 1 weights"):
        preset(content_layers=("relu1_1", "relu2_2"), content_layer_weights=(1.0,))


@pytest.mark.parametrize("setting", [{"decay_every": 10}, {"decay_rate": 0.5}])
def test_a_decay_setting_chooses_the_step_schedule(setting: dict[str, Any]) -> None:
    assert preset("default")[0].schedule == "hold-cosine"
    assert preset("default", **setting)[0].schedule == "step"
    assert preset("default", schedule="cosine", **setting)[0].schedule == "cosine"


def test_another_balance_brings_weights_of_its_units() -> None:
    _, hyper = preset("default", balance="book", tv_weight=2.0)
    assert (hyper.content_weight, hyper.style_weight, hyper.tv_weight) == (1.0, 1e4, 2.0)
    _, hyper = preset("book", balance="relative")
    assert (hyper.style_weight, hyper.tv_weight) == (1.0, 0.1)
    assert preset("book", balance="book")[1] == preset("book")[1]


def test_lists_and_numpy_numbers_become_plain_ones() -> None:
    recipe, hyper = preset(
        content_layers=["relu4_2"],
        scales=[0.5, 1],
        size=[np.int64(30), 45],
        steps=np.int32(7),
        style_weight=10**10,
        learning_rate=np.float32(0.5),
        style_layer_weights=[1, 2, 3, 4, np.float64(5)],
    )
    hash(recipe)
    assert (recipe.size, recipe.scales, recipe.steps) == ((30, 45), (0.5, 1.0), 7)
    values = [*recipe.size, recipe.steps, hyper.style_weight, hyper.learning_rate]
    assert [type(each) for each in values] == [int, int, int, float, float]
    assert {type(each) for each in hyper.style_layer_weights} == {float}
    assert hyper.style_weight == 1e10


NUMBERS = ("content_weight", "style_weight", "tv_weight", "learning_rate", "decay_rate")
NO_NUMBERS = (float("nan"), float("inf"), -1.0, "1", None, True, (1.0,), 10**400, 1e39, 1j, {})
WHOLE = ("steps", "decay_every")
NOT_WHOLE = (0, -1, 2**31, 1.5, "3", None, True, (3,), float("nan"), 10**4000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(NUMBERS, NO_NUMBERS),
        *itertools.product(WHOLE, NOT_WHOLE),
        ("learning_rate", 0),
        ("decay_rate", 0.0),
        ("decay_rate", 1.01),
        *(("size", each) for each in NOT_WHOLE if each != (3,)),
        ("size", (300,)),
        ("size", (300, 450, 3)),
        ("size", ()),
        ("size", (300, 0)),
        ("size", (300, "450")),
        ("size", (True, 450)),
        ("size", (13378, 13378)),
        ("size", 178_956_971),
        *(("scales", each) for each in ((), (0.5,), (1.0, 0.5), (0.5, 0.5, 1.0), (0.0, 1.0))),
        *(("scales", each) for each in ((1.5, 1.0), 1.0, "1", (True,), (float("nan"), 1.0))),
        *(("pooling", each) for each in ("maxx", "", None, 1, [], {}, ("max",))),
        ("schedule", "linear"),
        ("scales", "automatic"),
        *(("style_loss", each) for each in ("gramm", "", None, 1, [])),
        *(("balance", each) for each in ("books", None, 1, [], {})),
        *(("clip", each) for each in (1, "yes", None)),
        *(("average", each) for each in (-0.1, 1, "x", float("nan"), True)),
        *(("steps_power", each) for each in (-4.1, 5, "x", float("inf"), None)),
        *(("full_depth", each) for each in (0, 6, 1.5, "4", True)),
        *(("content_power", each) for each in (-1, 4.5, float("nan"))),
        ("resampling", "nearest"),
        *(("colors", each) for each in ("colours", "", None, 1, [], True)),
        *(("color_match", each) for each in ("pcaa", None, 2, ("pca",))),
        *(("style_layers", each) for each in ((), "relu4_1", None, 5, ("relu6_1",), (5,), ([],))),
        ("content_layers", ("relu4_1", "relu4_1")),
        ("content_layers", ("RELU4_1",)),
        ("content_layer_weights", (-1.0,)),
        ("content_layer_weights", (float("nan"),)),
        ("content_layer_weights", ("1",)),
        ("content_layer_weights", 1.0),
        ("style_layer_weights", (1.0,)),
    ],
)
def test_values_out_of_range_are_refused_in_one_short_line(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        preset(**{name: value})
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 220
    about = name.removesuffix("_layer_weights") if "layer" in name else name
    assert about.removesuffix("_layers") in message or "unknown layer" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content_weight", 0),
        ("style_weight", 0.0),
        ("tv_weight", 3.4028234e38),
        ("decay_rate", 1),
        ("decay_every", 1),
        ("steps", 2**31 - 1),
        ("size", 1),
        ("size", (13377, 13377)),
        ("scales", (1,)),
        ("scales", (0.25, 0.5, 1.0)),
        ("content_layers", ("conv5_4", "relu1_last")),
        ("content_layer_weights", (0.0, 0.0)),
        ("scales", "auto"),
        ("steps_power", -4.0),
        ("average", 0.9999),
        ("full_depth", 1),
        ("clip", False),
    ],
)
def test_values_at_the_ends_of_their_ranges_are_taken(name: str, value: Any) -> None:
    recipe, hyper = preset(**{name: value})
    assert getattr(recipe if name in field_names(Recipe) else hyper, name) == value


def test_the_misspelt_are_told_what_was_meant() -> None:
    with pytest.raises(InputError, match="'maxx' is none of max, avg, l2; did you mean max"):
        preset(pooling="maxx")
    with pytest.raises(InputError, match=r"'rely3_1'.*did you mean relu3_1"):
        preset(style_layers=["rely3_1"])
    with pytest.raises(InputError, match=r"""numbers, or "auto", got 'automatic'"""):
        preset(scales="automatic")


def test_validate_alone_refuses_what_change_would_have_repaired() -> None:
    recipe, hyper = preset()
    with pytest.raises(InputError, match="scales must be a tuple"):
        validate(dataclasses.replace(recipe, scales=[1.0]), hyper)
    with pytest.raises(InputError, match="style_layers must be a tuple"):
        validate(dataclasses.replace(recipe, style_layers=list(BOOK_STYLE)), hyper)


def test_change_leaves_what_it_was_given() -> None:
    recipe, hyper = preset("book")
    changed, _ = change(recipe, hyper, steps=3)
    assert (recipe.steps, changed.steps) == (500, 3)


def test_every_setting_on_the_command_line_has_a_help_text() -> None:
    for each in dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams):
        if not each.name.endswith("_layer_weights"):
            assert each.metadata["help"]
            assert each.metadata.get("metavar") or each.metadata.get("choices")
