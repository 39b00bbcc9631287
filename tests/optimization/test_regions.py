"""Regions: each has its own style, and what is kept of the photo is neither painted nor counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK
from evaluation import losses_with_gradient
from numpy_network import numpy_features

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import normalize
from jaxstyle.images.regions import (
    Regions,
    main_colors,
    regions_of_colors,
    regions_of_masks,
    with_keep,
)
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization import strips
from jaxstyle.optimization.guides import guides_at
from jaxstyle.optimization.problem import make_problem
from jaxstyle.settings.presets import preset

LAYERS = ("relu1_2", "relu2_1")
SETTINGS = {"name": "book", "content_layers": ("relu2_1",), "style_layers": LAYERS}
SETTINGS |= {"conv": "direct", "style_weight": 1.0}
RED, BLUE = (255, 0, 0), (0, 0, 255)


def left_and_right(height: int, width: int, edge: int) -> np.ndarray:
    """Guides (H, W, 2) of what is left and right of a column."""
    left = (np.arange(width) < edge).astype(np.float32)
    return np.broadcast_to(np.stack([left, 1 - left], -1), (height, width, 2)).copy()


@functools.partial(jax.jit, static_argnames="recipe", compiler_options=QUICK)
def evaluated(kernels, pictures, guides, hyper, *, recipe):
    content, canvas, *styles = pictures
    regions = Regions(guides[0], tuple(guides[1:]))
    given = {"recipe": recipe, "hyper": hyper, "regions": regions}
    return losses_with_gradient(canvas, make_problem(kernels, content, styles, **given))


def style_term(params, content, canvas, styles, guides, **changes) -> float:
    recipe, hyper = preset(**SETTINGS | changes)
    kernels = prepare(jax.tree.map(np.float64, params))
    pictures = [np.float64(normalize(each)) for each in (content, canvas, *styles)]
    losses, gradient = evaluated(kernels, pictures, guides, hyper, recipe=recipe)
    assert np.isfinite(gradient).all()
    return float(losses.terms["style"])


def guided_grams(params, picture, guides) -> list[dict[str, np.ndarray]]:
    """Returns the Gram matrices of every region by layer, from the formula, in float64."""
    maps = numpy_features(params, normalize(picture), np.max)
    height, width = guides.shape[0] // 2 * 2, guides.shape[1] // 2 * 2
    halves = guides[:height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean((1, 3))
    found = []
    for region in range(guides.shape[-1]):
        grams = {}
        for layer, mask in zip(LAYERS, (guides, halves), strict=True):
            guide = np.float64(mask[..., region])
            guide = guide / np.sqrt(np.mean(guide**2))  # mean T^2 = 1
            features = (maps[layer] * guide[..., None]).reshape(-1, maps[layer].shape[-1])
            grams[layer] = features.T @ features / features.size
        found.append(grams)
    return found


def distance(one, other) -> float:
    return sum(np.mean((one[layer] - other[layer]) ** 2) for layer in LAYERS)


@pytest.mark.parametrize("memory", ["plain", "strips"])
@pytest.mark.usefixtures("double_precision")
def test_every_region_has_the_guided_gram_matrices_of_its_own(
    params, content, style, memory, monkeypatch
) -> None:
    short = functools.partial(strips.strip_sums, rows=8)
    monkeypatch.setattr("jaxstyle.optimization.targets.strip_sums", short)
    photo, canvas, painting = content[:25, :28], content[8:33, 4:32], style[:20, :31]
    guides = left_and_right(25, 28, 9), left_and_right(20, 31, 17)
    found = style_term(params, photo, canvas, [painting], guides, memory=memory)
    pairs = zip(
        guided_grams(params, canvas, guides[0]),
        guided_grams(params, painting, guides[1]),
        strict=True,
    )
    expected = np.mean([distance(*pair) for pair in pairs])
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_a_region_too_small_for_a_layer_does_not_count_there(params, content, style) -> None:
    photo, canvas, painting = content[:24, :28], content[8:32, 4:32], style[:20, :31]
    guides = np.zeros((24, 28, 2), np.float32)
    guides[..., 0], guides[0, 0, 1] = 1, 1e-4  # mean T^2 below what counts
    own = left_and_right(20, 31, 17)
    found = style_term(params, photo, canvas, [painting], (guides, own))
    first = guided_grams(params, canvas, guides[..., :1])[0]
    expected = distance(first, guided_grams(params, painting, own)[0]) / 2
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_a_mask_for_each_style_takes_that_region_from_all_of_it(params, content, style) -> None:
    photo, canvas = content[:24, :28], content[8:32, 4:32]
    paintings = [style[:20, :32], content[30:54, 5:29, ::-1]]
    masks = [np.zeros((24, 28, 3), np.uint8) for _ in paintings]
    masks[0][:, :10], masks[1][:, 10:] = 255, 255
    regions = regions_of_masks(masks, paintings)
    guides = [regions.content, *regions.styles]
    found = style_term(params, photo, canvas, paintings, guides)
    grams = guided_grams(params, canvas, left_and_right(24, 28, 10))
    whole = [np.ones((*each.shape[:2], 1), np.float32) for each in paintings]
    own = [guided_grams(params, p, mask)[0] for p, mask in zip(paintings, whole, strict=True)]
    expected = np.mean([distance(*pair) for pair in zip(grams, own, strict=True)])
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
def test_what_is_kept_is_the_photo_bit_for_bit_and_does_not_count(params, content, style) -> None:
    keep = np.zeros(content.shape[:2], bool)
    keep[10:40, 20:60] = True
    settings = {"size": max(content.shape), "steps": 4}
    settings |= {"content_layers": ("relu2_1",), "style_layers": LAYERS}
    # gradient and proximal total variation, without and with clip, in one size and two
    for name, scales in (("book", (1.0,)), ("default", (0.5, 1.0))):
        recipe, hyper = preset(name, **settings, scales=scales)
        given = {"recipe": recipe, "hyper": hyper, "regions": with_keep(None, keep)}
        picture = jaxstyle.stylize(params, content, style, init="noise", **given)
        rounded = np.rint(picture * 255).astype(np.uint8)
        np.testing.assert_array_equal(rounded[keep], content[keep])
        assert (rounded[~keep] != content[~keep]).mean() > 0.9
    canvas = np.float32(normalize(content))
    recipe, hyper = preset(**SETTINGS)
    problem = make_problem(
        prepare(params),
        canvas,
        normalize(style),
        recipe=recipe,
        hyper=hyper,
        regions=with_keep(None, keep),
    )
    changed = jnp.where(keep[..., None] & (np.arange(93) > 30)[:, None], 2.0, canvas)
    inside = np.zeros_like(keep)
    inside[16:34, 26:54] = True  # as deep as these layers see
    one, other = (
        jaxstyle.canvas_losses(each, problem).terms["style"] for each in (canvas, changed)
    )
    changed_inside = jnp.where(inside[..., None], 2.0, canvas)
    same = jaxstyle.canvas_losses(changed_inside, problem).terms["style"]
    assert abs(float(other - one)) > 1e-3 * float(one)  # the edge is seen from outside
    np.testing.assert_allclose(same, one, rtol=1e-5)


def test_guides_shrink_grow_or_are_averaged_as_the_network_sees() -> None:
    guides = jnp.asarray(left_and_right(8, 16, 7)[..., :1])
    convs = ["conv1_1", "conv1_2", "conv2_1"]
    given = {"convs": convs}
    rows = {}
    for propagation in ("simple", "inside", "all"):
        found = guides_at(guides, ("relu1_1", "relu2_1"), propagation=propagation, **given)
        assert [each.shape for each in found.values()] == [(8, 16, 1), (4, 8, 1)]
        rows[propagation] = [np.asarray(each[1, :, 0] > 0) for each in found.values()]
        for each in found.values():
            np.testing.assert_allclose(np.mean(each), 1, rtol=1e-6)
    counts = {name: [int(row.sum()) for row in each] for name, each in rows.items()}
    # relu1_1 sees a pixel to each side; relu2_1 two, then pairs, then a pair to each side
    assert counts == {"simple": [7, 4], "inside": [6, 1], "all": [8, 6]}
    half = guides_at(guides, ("relu2_1",), propagation="simple", **given)["relu2_1"][0, :, 0]
    np.testing.assert_allclose(
        half[3] / half[0], 0.25, rtol=1e-6
    )  # T is a half there, T^2 a quarter


def test_a_region_of_which_nothing_is_inside_has_its_simple_guide() -> None:
    guides = jnp.asarray(left_and_right(8, 12, 2))
    given = {"convs": ["conv1_1", "conv1_2", "conv2_1"]}
    simple, inside = (
        guides_at(guides, ("relu2_1",), propagation=each, **given)["relu2_1"]
        for each in ("simple", "inside")
    )
    np.testing.assert_array_equal(inside[..., 0], simple[..., 0])
    assert (np.asarray(inside[..., 1]) != np.asarray(simple[..., 1])).any()


def mask_of(*colors, height: int = 20) -> np.ndarray:
    """Returns a mask of vertical stripes, ten pixels wide each."""
    row = np.repeat(np.array(colors, np.uint8), 10, axis=0)
    return np.broadcast_to(row, (height, *row.shape)).copy()


def test_the_same_color_is_the_same_region() -> None:
    photo, painting = mask_of(RED, BLUE, RED), mask_of(BLUE, RED, (0, 255, 0))
    photo[0, 0] = (250, 4, 1)  # smoothed by another program: it belongs to the nearest color
    regions, unused = regions_of_colors(photo, [painting], names=["p.png", "s.png"])
    assert main_colors(photo) == [RED, BLUE]
    np.testing.assert_array_equal(regions.content[0, :, 0], np.repeat([1, 0, 1], 10))
    np.testing.assert_array_equal(regions.content[0, :, 1], np.repeat([0, 1, 0], 10))
    np.testing.assert_array_equal(regions.styles[0][0, :, 0], np.repeat([0, 1, 0], 10))
    assert unused == ["warning: the region #00ff00 of s.png is not in p.png: it is not used"]


def test_regions_that_cannot_be_used_are_refused() -> None:
    names = ["p.png", "s.png"]
    with pytest.raises(InputError, match=r"the region #0000ff of p\.png is not in s\.png"):
        regions_of_colors(mask_of(RED, BLUE), [mask_of(RED, RED)], names=names)
    many = mask_of(*[(i, 0, 0) for i in range(13)])
    with pytest.raises(InputError, match=r"p\.png has 13 colors: a mask has at most 12"):
        regions_of_colors(many, [many], names=names)
    with pytest.raises(InputError, match="2 masks for 1 styles"):
        regions_of_masks([many, many], [many])
    with pytest.raises(InputError, match="of several sizes: 20x20, 20x30"):
        regions_of_masks([mask_of(RED, BLUE, RED), mask_of(RED, BLUE)], [many, many])
    red = Regions(np.ones((4, 4, 2), np.float32) * [1, 0])
    with pytest.raises(InputError, match="region 2 of the photo has no pixel to paint"):
        with_keep(red, np.arange(16).reshape(4, 4) < 8)
    for keep, what in ((np.ones((4, 4), bool), "all"), (np.zeros((4, 4), bool), "nothing")):
        with pytest.raises(InputError, match=f"the mask keeps {what} of the photo"):
            with_keep(None, keep)
