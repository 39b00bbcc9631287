"""Sweeps: bit for bit the single runs, one program a size, nothing between devices."""

import os
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import HASTE, SHALLOW, findings_of

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import fitted_size, resize
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.optimization import stepping
from jaxstyle.painting.sweeping import most_at_once
from jaxstyle.painting.variants import Variant
from jaxstyle.settings.presets import preset


@pytest.fixture(scope="module")
def found() -> dict:
    """What sweep_worker.py finds with eight virtual devices, compiled as for users."""
    flags = os.environ.get("XLA_FLAGS", "").replace(HASTE, "")
    return findings_of("painting/sweep_worker.py", flags=flags)


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_equal_to_single_runs_bit_for_bit(found, count: int) -> None:
    assert found[f"equal {count}"]


def test_runs_that_were_cut_off_go_on_bit_for_bit(found) -> None:
    assert found["goes on"]


def test_each_size_compiles_once_for_each_number_of_devices(found) -> None:
    """Numbers, seeds, steps and style pictures of two sizes are data; three have two sizes."""
    assert found["programs"] == {"3": 2, "8": 1}
    assert found["programs in the end"] == 1


def test_nothing_goes_from_device_to_device(found) -> None:
    assert found["partitions"] == ["8"]
    assert found["collectives"] == []


def test_a_device_needs_the_memory_of_one_setting(found) -> None:
    swept, alone = found["memory"]
    assert 0 < swept <= alone * 1.01 + 1e5


def test_a_setting_that_becomes_nan_harms_no_other(found) -> None:
    assert found["failures"] == [2, 7]


def changes(**each):
    return preset("default", size=48, scales=(1.0,), **SHALLOW | each)


def sweep(params, content, style, pairs, **given):
    recipes, hypers = map(list, zip(*pairs, strict=True))
    return list(jaxstyle.sweep(params, content, style, recipe=recipes, hypers=hypers, **given))


def test_variants_are_grouped_by_program(params, content, style) -> None:
    """Pooling and layers decide the program, numbers do not: two groups of two."""
    program = stepping._run_steps  # on one device
    before = program._cache_size()
    kinds = ({}, {"pooling": "avg", "content_layers": ("relu1_2",)})
    pairs = [changes(steps=2, tv_weight=tv, **kind) for tv in (1.0, 2.0) for kind in kinds]
    results = sweep(params, content, style, pairs, devices=jax.devices()[:1])
    assert program._cache_size() - before == 2
    assert [result.number for result in results] == [0, 2, 1, 3]


def test_results_come_as_they_end_shorter_ones_first(params, content, style) -> None:
    pairs = [changes(steps=steps) for steps in (5, 2, 3)]
    ticks = []
    results = sweep(params, content, style, pairs, report=ticks.append)
    assert [(each.number, each.steps_done) for each in results] == [(1, 2), (2, 3), (0, 5)]
    assert [len(each.history.total) for each in results] == [2, 3, 5]
    pixels = results[0].picture.shape[0] * results[0].picture.shape[1]
    assert sum(tick.pixel_steps for tick in ticks) == 10 * pixels
    assert all(result.seconds > 0 for result in results)


def test_a_failure_keeps_the_last_good_picture(params, content, style) -> None:
    """As `stylize` does, and without stopping what comes after."""
    pairs = [changes(steps=4, learning_rate=rate, clip=False) for rate in (1e30, 0.3)]
    failed, good = sweep(params, content, style, pairs)
    assert (failed.failure.step, failed.steps_done, good.failure) == (2, 0, None)
    size = fitted_size(content, 48, 1.0)
    resized = resize(content, size, resampling="lanczos")
    np.testing.assert_allclose(failed.picture, resized / 255, atol=1e-6)
    assert failed.losses.total == failed.history.total[0] == good.history.total[0]


def test_one_of_each_or_a_list(params, content, style) -> None:
    _, hyper = changes(steps=1)
    recipe, _ = changes(steps=1)
    results = list(jaxstyle.sweep(params, [content, content[::-1]], style, recipe=recipe))
    assert len(results) == 2
    assert not np.array_equal(results[0].picture, results[1].picture)
    with pytest.raises(InputError, match="of one length, not empty; got content 2, hypers 3"):
        next(jaxstyle.sweep(params, [content] * 2, style, hypers=[hyper] * 3))
    with pytest.raises(InputError, match="got hypers 0"):
        next(jaxstyle.sweep(params, content, style, hypers=[]))


def test_all_is_checked_before_the_first_step(params, content, style) -> None:
    pairs = [changes(steps=1), changes(steps=1)]
    with pytest.raises(InputError, match="style picture, 1x48"):
        sweep(params, content, [style, style[:1, :50]], pairs)
    with pytest.raises(InputError, match="have no layer conv5_4"):
        sweep(params, content, style, [pairs[0], changes(steps=1, style_layers=("conv5_4",))])


def test_every_variant_has_regions_of_its_own(params, content, style) -> None:
    keep = np.zeros(content.shape[:2], bool)
    keep[:, :40] = True
    recipe, hyper = preset(**{"size": 93, "steps": 2, "scales": (1.0,), **SHALLOW})
    given = {"recipe": recipe, "hypers": hyper, "devices": jax.devices()[:1]}
    both = [WHOLE, Regions(keep=keep)]
    whole, kept = (
        next(r for r in jaxstyle.sweep(params, content, style, regions=each, **given))
        for each in both
    )
    swept = jaxstyle.sweep(params, content, style, regions=both, **given)
    results = sorted(swept, key=lambda result: result.number)
    for found, alone in zip(results, (whole, kept), strict=True):
        np.testing.assert_array_equal(found.picture, alone.picture)
    np.testing.assert_array_equal(np.rint(255 * kept.picture)[keep], content[keep])
    assert (np.rint(255 * whole.picture)[keep] != content[keep]).any()


def test_a_batch_on_one_device_paints_what_single_runs_do(params, content, style) -> None:
    """Three of four at once, then one with two that repeat it; one becomes NaN, one is shorter."""
    rates = (0.1, 1e30, 0.1, 0.2)
    pairs = [
        changes(steps=steps, learning_rate=rate, clip=False, tv_weight=tv)
        for steps, rate, tv in zip((4, 4, 2, 4), rates, (0.1, 0.1, 0.1, 0.5), strict=True)
    ]
    given = {"devices": jax.devices()[:1]}
    alone = {each.number: each for each in sweep(params, content, style, pairs, **given)}
    ticks: list[jaxstyle.Tick] = []
    found = sweep(params, content, style, pairs, batch=3, report=ticks.append, **given)
    assert {len(tick.running) for tick in ticks} >= {3, 1}
    assert sorted(each.number for each in found) == [0, 1, 2, 3]
    for each in found:
        own = alone[each.number]
        assert (each.steps_done, each.failure is None) == (own.steps_done, own.failure is None)
        np.testing.assert_allclose(each.history.total, own.history.total, rtol=1e-4)
        assert np.abs(each.picture - own.picture).mean() < 1e-3
    assert np.abs(found[0].picture - found[-1].picture).max() > 0.02


def test_how_many_are_painted_at_once(params, content, style) -> None:
    """By itself on a GPU as many as make a megapixel, 16 at most; on a CPU one."""
    photo = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (600, 800, 3))
    variants = [
        Variant(photo, (style,), *preset("default", size=size, upscale=True), "content", 0)
        for size in (64, 512, 2000)
    ]
    gpu = SimpleNamespace(platform="gpu")
    assert most_at_once(4, variants, gpu) == 4
    assert [most_at_once(None, variants[:n], gpu) for n in (1, 2, 3)] == [16, 5, 1]
    assert most_at_once(None, variants, jax.devices("cpu")[0]) == 1
    with pytest.raises(InputError, match="batch must be a whole number from 1"):
        next(jaxstyle.sweep(params, content, style, batch=0))
