"""Sizes, first canvases, and `stylize` from array to array."""

import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import OTHER_VALUES, SHALLOW

from jaxstyle.errors import DivergedError, InputError
from jaxstyle.images.canvas import denormalize, normalize, resize, total_steps
from jaxstyle.machine import memory
from jaxstyle.machine.process import THREADS_AHEAD
from jaxstyle.optimization.problem import resolve
from jaxstyle.painting import engine
from jaxstyle.painting.engine import in_background
from jaxstyle.painting.level import (
    Level,
    first_canvas,
    kernels_at,
    levels,
    problem_shapes,
    whole_problem,
)
from jaxstyle.painting.painter import paint, stylize
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import Recipe

SHALLOW_CONTENT = {"content_layers": SHALLOW["content_layers"]}
PHOTO = np.zeros((400, 600, 3), np.uint8)
PAINTING = np.zeros((480, 360, 3), np.uint8)


def told(photo=PHOTO, painting=PAINTING, name="default", **changes):
    """Returns (content HxW, style HxW, first step, steps) of every size."""
    recipe, _ = preset(name, **{"steps_power": 1.0} | changes)
    return [
        (level.content.shape[:2], level.styles[0].shape[:2], level.first_step, level.steps)
        for level in levels(photo, painting, recipe=recipe)
    ]


def test_both_long_sides_become_the_size_and_steps_are_shared_by_it() -> None:
    assert told(size=300, scales=(0.5, 1.0), steps=11) == [
        ((100, 150), (150, 113), 0, 4),
        ((200, 300), (300, 225), 4, 7),
    ]
    starts_and_steps = [level[2:] for level in told(size=400, scales=(0.25, 0.5, 1.0), steps=700)]
    assert starts_and_steps == [(0, 100), (100, 200), (300, 400)]


@pytest.mark.parametrize(
    ("size", "long_sides"),
    [(127, [127]), (128, [64, 128]), (448, [112, 224, 448]), ((100, 600), [75, 150, 300, 600])],
)
def test_auto_scales_halve_down_to_64_pixels_or_more(size, long_sides) -> None:
    found = told(size=size, scales="auto", steps=1000, style_layers=("relu1_1",), **SHALLOW_CONTENT)
    assert [max(content) for content, *_ in found] == long_sides


def test_auto_scales_below_the_three_largest_add_as_many_steps_as_the_third() -> None:
    """Shares 1, 2 and 4 of 70 steps for the three largest, then 4 and 4: 150 in all."""
    changes = {"steps": 70, "steps_power": -1.0, "style_layers": ("relu1_1",), **SHALLOW_CONTENT}
    photo = np.zeros((800, 1200, 3), np.uint8)
    for size, steps in [(1024, [40, 40, 40, 20, 10]), (256, [40, 20, 10]), (128, [47, 23])]:
        found = told(photo, size=size, scales="auto", **changes)
        assert [count for *_, count in found] == steps
        recipe, _ = preset("book", size=size, scales="auto", **changes)
        assert total_steps(recipe, photo) == sum(steps)


@pytest.mark.parametrize(
    ("power", "steps"), [(1, [100, 200]), (0, [150, 150]), (-1, [200, 100]), (-0.5, [176, 124])]
)
def test_steps_are_shared_by_a_power_of_the_scale(power, steps) -> None:
    """At -0.5: 300 times the root of 2, by that and 1, is 175.7."""
    found = told(size=300, scales=(0.5, 1.0), steps=300, steps_power=power)
    assert [each[3] for each in found] == steps


def test_auto_scales_keep_the_relation_of_photo_and_painting() -> None:
    """A photo of 600 pixels is not enlarged to 900, the painting of 480 is, to the photo's 600."""
    found = told(size=900, scales="auto", steps=100)
    assert [each[:2] for each in found] == [
        ((50, 75), (75, 56)),
        ((100, 150), (150, 113)),
        ((200, 300), (300, 225)),
        ((400, 600), (600, 450)),
    ]


def test_deep_style_layers_are_left_out_in_full_alone() -> None:
    layers = {"style_layers": ("relu5_1", "relu1_1", "relu4_1")}
    recipe, hyper = preset("default", full_depth=3, **layers, style_layer_weights=(5.0, 1.0, 4.0))
    *coarse, full = levels(PHOTO, PAINTING, recipe=recipe)
    assert full.own_recipe(recipe).style_layers == ("relu1_1",)
    assert full.own_hyper(hyper).style_layer_weights == (1.0,)
    for level in coarse:
        assert level.own_recipe(recipe).style_layers == recipe.style_layers
        assert level.own_hyper(hyper).style_layer_weights == (5.0, 1.0, 4.0)
    (only,) = levels(PHOTO, PAINTING, recipe=dataclasses.replace(recipe, scales=(1.0,)))
    assert only.own_recipe(recipe).style_layers == recipe.style_layers
    deep = dataclasses.replace(recipe, style_layers=("relu4_1", "relu5_1"))
    assert levels(PHOTO, PAINTING, recipe=deep)[-1].left_out == ()


@pytest.mark.parametrize("name", field_names(Recipe))
def test_the_guide_says_which_settings_compile_nothing(name: str, params, monkeypatch) -> None:
    """What jit sees of a run's levels: programs, and the shapes of canvases and kernels."""
    optimizers = dict.fromkeys(("adam", OTHER_VALUES["optimizer"]), 0)
    monkeypatch.setattr(memory, "OPTIMIZER_BYTES", optimizers)
    recipe, _ = preset("book", size=48, scales=(0.5, 1.0), **SHALLOW)
    found: list[list[Any]] = []
    photo = PHOTO[:36, :40] if name == "upscale" else PHOTO
    for each in (recipe, dataclasses.replace(recipe, **{name: OTHER_VALUES[name]})):
        found.append([])
        for level in levels(photo, PAINTING, recipe=each):
            kernels = kernels_at(level, params, recipe=each)
            shapes = jax.tree.flatten(jax.tree.map(np.shape, kernels))
            program = resolve(level.own_recipe(each), params)
            found[-1].append((level.content.shape, program, shapes))
    guide = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    (told,) = re.findall(r"style pictures, (.*) does not recompile it; any other setting", guide)
    assert (found[0] == found[1]) == (f"`--{name.replace('_', '-')}`" in told)


def test_content_weighs_more_at_coarse_sizes_alone() -> None:
    recipe, hyper = preset(
        "default", scales=(0.5, 1.0), full_depth=5, content_weight=2.0, coarse_content=3.0
    )
    coarse, full = levels(PHOTO, PAINTING, recipe=recipe)
    assert coarse.own_hyper(hyper) == dataclasses.replace(hyper, content_weight=6.0)
    assert full.own_hyper(hyper) == hyper


def test_content_weighs_less_from_size_to_size() -> None:
    recipe, hyper = preset("default", size=256, content_weight=16.0, content_decay=0.5)
    hyper = dataclasses.replace(hyper, coarse_content=1.0)
    found = [each.own_hyper(hyper) for each in levels(PHOTO, PAINTING, recipe=recipe)]
    assert [each.content_weight for each in found] == [16.0, 8.0, 4.0]


@pytest.mark.parametrize(("size", "weight"), [(256, 2.0), (511, 2.0), (512, 1.2), (600, 1.2)])
def test_content_weighs_less_in_full_of_a_large_picture(size: int, weight: float) -> None:
    """From 512 pixels on there are four sizes, 64 to 511 pixels before the last."""
    recipe, hyper = preset("default", size=size, content_weight=2.0, coarse_content=0.6)
    *coarse, full = levels(PHOTO, PAINTING, recipe=recipe)
    assert [each.own_hyper(hyper).content_weight for each in coarse] == [1.2] * len(coarse)
    assert full.own_hyper(hyper).content_weight == weight


def test_content_weighs_more_again_with_every_further_size() -> None:
    """2048 pixels are painted in six sizes: the third root."""
    photo = np.zeros((16, 2048, 3), np.uint8) + np.arange(2048)[:, None].astype(np.uint8)
    shallow = {"style_layers": ("relu1_1",), "content_layers": ("relu1_1",)}
    recipe, hyper = preset("default", size=2048, content_weight=2.0, coarse_content=0.5, **shallow)
    found = levels(photo, photo, recipe=recipe)[-1].own_hyper(hyper)
    assert found.content_weight == pytest.approx(2 * 0.5 ** (1 / 3))
    assert levels(photo, photo, recipe=recipe)[-1].own_hyper(
        dataclasses.replace(hyper, coarse_content=3.0)
    ) == dataclasses.replace(hyper, coarse_content=3.0)


def test_nothing_is_enlarged_unless_both_sides_are_given() -> None:
    assert told(size=9999, scales=(1.0,), steps=2) == [((400, 600), (480, 360), 0, 2)]
    assert told(name="book", size=(500, 700), steps=2) == [((500, 700), (500, 700), 0, 2)]


def test_sizes_too_small_for_the_layers_are_left_out() -> None:
    """conv5_1 needs 16 pixels; the photo's short side is 2/3 of the long one."""
    assert told(size=60, scales=(0.25, 0.5, 1.0), steps=4) == [
        ((20, 30), (30, 23), 0, 1),
        ((40, 60), (60, 45), 1, 3),
    ]


def test_fewer_steps_than_sizes() -> None:
    assert told(size=300, scales=(0.5, 1.0), steps=1) == [((200, 300), (300, 225), 0, 1)]
    three = told(size=300, scales=(0.8, 0.9, 1.0), steps=2)
    assert [(level[0], level[3]) for level in three] == [((160, 240), 1), ((200, 300), 1)]


@pytest.mark.parametrize("which", ["content", "style"])
def test_too_small_is_said_with_the_picture_and_the_least_side(which) -> None:
    pictures = {"content": PHOTO, "style": PAINTING} | {which: PHOTO[:15]}
    with pytest.raises(InputError, match=f"the {which} picture.*need 16 pixels"):
        told(pictures["content"], pictures["style"])


def level(content, style) -> Level:
    return Level(content, (style,), 0, 1)


def test_first_canvases(content, style) -> None:
    start = level(content, style)
    make = lambda **given: first_canvas(start, **{"seed": 0, "resampling": "lanczos"} | given)  # noqa: E731
    np.testing.assert_array_equal(make(init="content"), normalize(content))
    resized = resize(style, content.shape[:2], resampling="lanczos")
    np.testing.assert_array_equal(make(init="style"), normalize(resized))
    np.testing.assert_array_equal(make(init=content[::-1]), normalize(content[::-1]))
    noise = [denormalize(make(init="noise", seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(noise[0], noise[1])
    assert np.abs(noise[0] - noise[2]).mean() > 0.2
    assert abs(noise[0].mean() - 0.5) < 0.02
    with pytest.raises(InputError, match="'sytle' is none of"):
        make(init="sytle")


def test_stylize_paints_and_reports(params, content, style) -> None:
    recipe, hyper = preset("default", size=64, scales=(0.5, 1.0), steps=6, **SHALLOW)
    seen = []
    picture = stylize(
        params,
        content,
        style / 255,
        recipe=recipe,
        hyper=hyper,
        report=lambda chunk: seen.append((chunk.state.canvas.shape[:2], len(chunk.learning_rate))),
    )
    assert picture.shape == (46, 64, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert {size for size, _ in seen} == {(23, 32), (46, 64)}
    assert sum(count for _, count in seen) == 6
    again = stylize(params, content, style, recipe=recipe, hyper=hyper)
    np.testing.assert_array_equal(picture, again)


def test_stylize_that_diverges_hands_over_the_last_good_picture(params, content, style) -> None:
    changes = {"size": (48, 48), "steps": 3, "scales": (1.0,), "learning_rate": 1e30}
    changes |= {"clip": False, **SHALLOW}
    recipe, hyper = preset("default", **changes)
    with pytest.raises(DivergedError) as caught:
        stylize(params, content, style, recipe=recipe, hyper=hyper)
    resized = resize(content, (48, 48), resampling="lanczos")
    np.testing.assert_allclose(caught.value.picture, resized / 255, atol=1e-6)


def test_stylize_refuses_settings_made_by_hand(params, content, style) -> None:
    recipe, hyper = preset("default")
    broken = dataclasses.replace(hyper, style_weight=-1.0)
    with pytest.raises(InputError, match="style_weight must be 0 or more"):
        stylize(params, content, style, recipe=recipe, hyper=broken)


def test_each_size_goes_on_from_the_one_before(params, content, style) -> None:
    """With no steps to speak of at full size, the result is the coarse one, enlarged."""
    recipe, hyper = preset("default", size=64, scales=(0.5, 1.0), steps=8, clip=False, **SHALLOW)
    all_levels = levels(content, style, recipe=recipe)
    coarse, fine = all_levels[0], all_levels[1]._replace(steps=0)
    chunks = []
    for chunk in paint(params, [coarse, fine], recipe=recipe, hyper=hyper):
        chunks.append((chunk.state.canvas.shape, np.array(chunk.state.canvas)))
    small = [canvas for shape, canvas in chunks if shape[1] == 32][-1]
    shape, large = chunks[-1]
    assert shape == (46, 64, 3)
    np.testing.assert_allclose(large, jax.image.resize(small, shape, "cubic"), atol=1e-5)
    assert np.abs(small - normalize(coarse.content)).mean() > 0.1  # it had been painted


@pytest.mark.slow
def test_the_next_size_is_compiled_meanwhile_and_once(
    params, content, style, caplog, monkeypatch
) -> None:
    """Each size once; if the first is small, both in threads, and that while it is made."""
    recipe, hyper = preset("default", size=61, scales=(0.5, 1.0), steps=6, **SHALLOW)
    all_levels = levels(content, style, recipe=recipe)
    pictures, threads = [], []
    for times in (1, 100):
        monkeypatch.setattr(engine, "TIMES_THE_PIXELS", times)
        jax.clear_caches()
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "jax._src.interpreters.pxla"):
            *_, chunk = paint(params, all_levels, recipe=recipe, hyper=hyper)
        pictures.append(np.array(chunk.state.canvas))
        lines = [each for each in caplog.records if "Compiling jit(_run_steps)" in each.message]
        threads.append([str(each.threadName).startswith(THREADS_AHEAD) for each in lines])
    assert threads == [[True, True], [False, False]]
    np.testing.assert_array_equal(*pictures)


def test_an_error_in_the_thread_reaches_the_caller() -> None:
    def fail() -> None:
        raise InputError("no such layer")

    with pytest.raises(InputError, match="no such layer"):
        in_background(fail)()


def test_stylize_takes_other_layers_without_numbers(params, content, style) -> None:
    recipe, _ = preset("default", size=48, steps=1, **SHALLOW | {"style_layers": ("relu1_1",)})
    assert stylize(params, content, style, recipe=recipe).shape == (35, 48, 3)


@pytest.mark.parametrize("wrong", ["embedded", {"params": {}}, {"conv1_1": np.zeros(3)}])
def test_stylize_says_what_params_are(wrong, content, style) -> None:
    with pytest.raises(InputError, match="load_weights"):
        stylize(wrong, content, style)


@pytest.mark.parametrize("conv", ["direct", "winograd"])
def test_shapes_of_a_problem_compile_what_the_run_calls(conv: str, params) -> None:
    recipe, hyper = preset("default", size=32, steps=2, conv=conv, **SHALLOW)
    level = levels(PHOTO, PAINTING, recipe=recipe)[-1]
    settings = {"recipe": recipe, "hyper": hyper}
    shapes = problem_shapes(params, level, **settings)
    problem = whole_problem(params, level, **settings, mesh=None)
    assert jax.tree.map(_kind, shapes) == jax.tree.map(_kind, problem)


def _kind(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf
