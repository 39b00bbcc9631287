"""One picture on several devices: what one device gives, in a part of the memory."""

import jax
import numpy as np
import pytest
from conftest import SHALLOW, findings_of

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.losses.variation import total_variation
from jaxstyle.machine import placement
from jaxstyle.machine.process import LEAN_FLAG
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import for_several_devices

THOROUGH = pytest.param("thorough", marks=pytest.mark.slow)

ONLY_THOROUGH = pytest.mark.parametrize("found", [THOROUGH], indirect=True)
"""What takes long to compile, such as VGG-19's widths for every number of devices."""


@pytest.fixture(scope="module", params=["quick", THOROUGH])
def found(request) -> dict:
    """What rows_worker.py finds with eight virtual devices."""
    # optimised little, to compile sooner, and lean as on the command line
    flags = f"--xla_backend_optimization_level=0 {LEAN_FLAG}=false"
    return findings_of("optimization/rows_worker.py", request.param, flags=flags)


def test_losses_and_gradients_are_those_of_one_device(found) -> None:
    """In float64, to 1e-12, also at the first and the last row; padding has no gradient."""
    for (height, _), _, devices, each in found["differences"]:
        assert (height + each["padded"]) % (16 * devices) == 0
        assert max(each[name] for name in ("losses", "gradient", "edges")) < 1e-12
        assert each["padding"] == 0


@ONLY_THOROUGH
def test_masked_sums_add_up_and_are_those_of_one_device(found) -> None:
    """In float64, to 1e-12, and so is the gradient; rows of padding count nothing."""
    assert all(found["masked"][name] < 1e-12 for name in ("parts", "sums", "gradient"))
    assert found["masked"]["padding"] == 0


def test_steps_in_float64_are_those_of_one_device(found) -> None:
    """To 1e-12, the whole canvas: all that several devices may change is rounding."""
    assert all(each < 1e-12 for each in found["exact steps"].values())


def test_steps_are_those_of_one_device(found) -> None:
    """In float32, to 1e-4; who looks on sees the picture without padding.

    Single values may differ by more: Adam divides a gradient by its own size, so that rounding
    is all that counts where a gradient is nearly zero.
    """
    for each in found["trajectory"].values():
        assert 0 <= max(each["most of it"], each["losses"]) < 1e-4
        assert each["picture"] < 1e-2
        shapes, shared = each["shapes"]
        assert shapes[-1] == [75, 50, 3]
        assert shared == shapes


@ONLY_THOROUGH
def test_a_style_loss_of_the_tests_own_paints_on_devices_and_in_a_sweep(found) -> None:
    """See test_own_style_loss.py: on two devices one picture is that of one of two variants."""
    each = found["own loss"]
    assert each["losses"] < 1e-4
    assert each["picture"] < 1e-3 < each["other"]


@ONLY_THOROUGH
def test_an_optimizer_of_the_tests_own_is_shared_out_by_rows(found) -> None:
    """See test_own_optimizer.py: each of two devices has its rows of all five gradients.

    37 rows are padded to 64. The canvas is one device's, and goes on to the same bits.
    """
    each = found["own optimizer"]
    assert each["parts"] == [[5, 32, 33, 3]] * 2
    assert each["canvas"] < 1e-6 < 1e-3 < each["moved"]
    assert each["goes on"]


def test_a_run_goes_on_bit_for_bit(found) -> None:
    assert found["goes on"]


@ONLY_THOROUGH
def test_a_device_needs_nearly_its_part_of_the_memory(found) -> None:
    """Besides the layers' covariances and what comes of them: up to 24 MB, which every one has."""
    alone = found["compiled"]["1"]["bytes"]
    for devices, each in found["compiled"].items():
        assert 0 < each["bytes"] < 1.15 * alone / int(devices) + 24e6


@ONLY_THOROUGH
def test_devices_exchange_edges_and_sums_alone(found) -> None:
    alone, *shared = (each["collectives"] for each in found["compiled"].values())
    assert alone == []
    assert shared
    assert all(each == ["all-reduce", "collective-permute"] for each in shared)


def test_total_variation_leaves_padding_out() -> None:
    """By hand: below the picture's last row of ones there are zeros, which do not count."""
    canvas = np.ones((3, 2, 3), np.float32)
    canvas[0] = 0.25
    padded = np.pad(canvas, ((0, 5), (0, 0), (0, 0)))
    assert float(total_variation(canvas)) == 0.5 * 0.75 / 2
    assert float(total_variation(padded, height=3)) == 0.5 * 0.75 / 2
    one_row = np.pad(canvas[:1], ((0, 1), (0, 0), (0, 0)))
    assert float(total_variation(one_row, height=1)) == 0


def test_a_picture_is_padded_and_seen_without() -> None:
    mesh = placement.rows_mesh(jax.devices()[:1])
    picture = np.arange(21 * 2 * 3, dtype=np.float32).reshape(21, 2, 3)
    padded = placement.share_out(picture, mesh)
    assert padded.shape == (32, 2, 3)
    assert not np.asarray(padded)[21:].any()
    seen = placement.SharedPicture(padded, 21)
    assert (seen.shape, seen.dtype) == (picture.shape, picture.dtype)
    np.testing.assert_array_equal(np.array(seen), picture)
    np.testing.assert_array_equal(jax.numpy.asarray(seen), picture)


def test_pictures_are_shared_out_by_shape_and_all_else_is_copied() -> None:
    """Several pictures by their rows; matrices along a third axis, such as Grams, not at all."""
    rows = placement.Rows(placement.rows_mesh(jax.devices()[:1]), 21)
    history = np.arange(5 * 21 * 2 * 3, dtype=np.float32).reshape(5, 21, 2, 3)
    tree = {"canvas": history[0], "history": history, "grams": np.ones((21, 3, 3))}
    shared = placement.share_out_all(tree, rows, history[0])
    shapes = {name: each.shape for name, each in shared.items()}
    assert shapes == {"canvas": (32, 2, 3), "history": (5, 32, 2, 3), "grams": (21, 3, 3)}
    assert not np.asarray(shared["history"])[:, 21:].any()
    seen = placement.as_seen(shared, rows, shared["canvas"])
    assert seen["history"].shape == (5, 21, 2, 3)
    for name, each in tree.items():
        np.testing.assert_array_equal(np.array(seen[name]), each)


@pytest.mark.parametrize("changes", [{"memory": "strips"}, {"conv": "winograd"}])
def test_what_only_one_device_does_is_refused(params, content, style, changes) -> None:
    recipe, hyper = preset(**changes, **SHALLOW)
    with pytest.raises(InputError, match="is for one device: several that share a picture take"):
        jaxstyle.stylize(
            params, content, style, recipe=recipe, hyper=hyper, devices=[jax.devices()[0]] * 2
        )


def test_several_devices_take_the_plain_way_and_convolution() -> None:
    recipe = for_several_devices(preset()[0])
    assert (recipe.memory, recipe.conv) == ("plain", "direct")
