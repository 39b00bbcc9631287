"""Adam carried over levels, steps by level, and pyramids by any factor."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import SHALLOW

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import scales_of, step_shares, total_steps
from jaxstyle.optimization.optimizer import initial_state, next_level_state
from jaxstyle.painting.level import first_canvas, levels
from jaxstyle.painting.variants import Lane, Unfinished, Variant
from jaxstyle.settings.presets import preset
from jaxstyle.settings.text import as_text, read_level_steps, read_scales

CARRIED = {**SHALLOW, "size": 40, "scales": (0.5, 1.0), "steps": 6, "conv": "direct"}


def moments(shape: tuple[int, ...], mean: float, square: float) -> optax.ScaleByAdamState:
    full = [jnp.full(shape, value, jnp.float32) for value in (mean, square)]
    return optax.ScaleByAdamState(jnp.int32(7), *full)


def test_moments_are_enlarged_and_their_steps_counted_on() -> None:
    """Flat ones stay what they are; a mean square never falls below 0; without any all begins."""
    canvas = np.ones((4, 3, 3), np.float32)
    carried = moments(canvas.shape, -0.5, 0.25)
    spiked = carried._replace(nu=carried.nu.at[0, 0].set(-1.0))
    state = next_level_state(canvas, (8, 6, 3), step=9, carried=carried)
    assert int(state.step) == 9
    assert int(state.optimizer.count) == 7
    np.testing.assert_allclose(state.optimizer.mu, np.full((8, 6, 3), -0.5), rtol=1e-6)
    np.testing.assert_allclose(state.optimizer.nu, np.full((8, 6, 3), 0.25), rtol=1e-6)
    state = next_level_state(canvas, (8, 6, 3), step=9, carried=spiked)
    assert float(state.optimizer.nu.min()) == 0
    assert next_level_state(canvas, (8, 6, 3), step=9).optimizer == ()


def test_a_carried_run_is_another_and_the_same_in_a_sweep(params, content, style) -> None:
    recipe, hyper = preset("book", **CARRIED, carry=True)
    picture = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, picture)
    fresh = dataclasses.replace(recipe, carry=False)
    other = jaxstyle.stylize(params, content, style, recipe=fresh, hyper=hyper)
    assert np.abs(other - picture).max() > 0.01


def test_a_run_that_goes_on_between_levels_carries_on(content, style) -> None:
    """As from a checkpoint of a level's end, whose state has the moments."""
    recipe, hyper = preset("book", **CARRIED, carry=True)
    both = levels(content, style, recipe=recipe)
    shape = both[0].content.shape
    state = initial_state(np.zeros(shape, np.float32), step=both[1].first_step)
    state = state._replace(optimizer=moments(shape, 0.5, 0.25))
    left = Unfinished(both[1].first_step, ("plain",) * 2, lambda: (state, None), None, 1.0)
    variant = Variant(content, (style,), recipe, hyper, unfinished=left)
    lane = Lane(number=0, variant=variant, levels=both, device=None)
    found = lane.begin_level(1)
    assert found.canvas.shape == both[1].content.shape == found.optimizer.mu.shape
    assert int(found.optimizer.count) == 7


PHOTO = np.zeros((384, 512, 3), np.uint8)


def sides_of(name: str, photo: np.ndarray, **changes) -> list[int]:
    recipe, _ = preset(name, **changes)
    return [round(scale * max(photo.shape)) for scale in scales_of(recipe, photo)]


def test_pyramids_and_steps_of_the_published_presets() -> None:
    """style-transfer-pytorch: 128, 181, 256, 362, 512, of 1000 and then 500 steps; SPST: halves."""
    recipe, _ = preset("crowson")
    assert sides_of("crowson", PHOTO) == [128, 181, 256, 362, 512]
    assert step_shares(recipe, scales_of(recipe, PHOTO)) == [1000, 500, 500, 500, 500]
    assert total_steps(recipe, PHOTO) == 3000
    assert [each.steps for each in levels(PHOTO, PHOTO, recipe=recipe)] == [1000] + 4 * [500]
    large = np.zeros((2046, 4000, 3), np.uint8)
    assert sides_of("spst", large, size="full") == [2000, 4000]
    large = np.zeros((4096, 4400, 3), np.uint8)
    assert sides_of("spst", large, size="full") == [550, 1100, 2200, 4400]
    recipe, _ = preset("spst", size="full")
    assert total_steps(recipe, large) == 600 + 200 + 66 + 30
    assert total_steps(preset("spst")[0], PHOTO) == 600
    assert total_steps(preset("spst", steps=7)[0], PHOTO) == 7


def test_texts_of_both_are_read_and_written() -> None:
    assert read_level_steps("1000,500") == (1000.0, 500.0)
    assert as_text((1000.0, 500.0)) == "1000,500"
    assert read_scales("auto:1.414:128") == "auto:1.414:128"
    for text in ("auto:1:128", "auto:2", "auto:2:0", "auto:2:64:long", "auto:x:1", "auto:2:64:1:1"):
        with pytest.raises(InputError, match="auto:FACTOR:PIXELS"):
            preset(scales=text)
    for steps in ((), (0.0,), (1.5,), "many"):
        with pytest.raises(InputError, match="level_steps"):
            preset(level_steps=steps)


def test_a_grey_canvas_is_nearly_flat_and_another_for_another_seed(content, style) -> None:
    """Neural-style's "random": a thousandth of a level around the mean that the network knows."""
    (level,) = levels(content, style, recipe=preset("book", size=48, **SHALLOW)[0])
    one, other = (
        np.asarray(first_canvas(level, init="grey", seed=seed, resampling="lanczos"))
        for seed in (1, 2)
    )
    assert one.std() * 0.226 * 255 == pytest.approx(0.001, rel=0.1)
    assert abs(one.mean()) < 1e-5
    assert not np.array_equal(one, other)
