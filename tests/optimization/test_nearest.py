"""The style loss "nearest": whole, in strips, with regions, in sweeps, of flat pictures."""

import functools

import jax
import numpy as np
import pytest
from conftest import QUICK, relative_rms
from evaluation import losses_with_gradient, rows_of
from numpy_network import numpy_features

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import normalize
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.network.convolution import prepare
from jaxstyle.optimization import strips
from jaxstyle.optimization.problem import make_problem
from jaxstyle.settings.presets import preset

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
NEAREST = {"name": "book", "balance": "relative", "style_loss": "nearest", "conv": "direct"}
NEAREST |= {"content_layers": ("relu2_1",), "style_layers": LAYERS, "style_weight": 2.0}
NEAREST |= {"style_layer_weights": (1.0, 2.0, 0.5)}


@functools.partial(jax.jit, static_argnames="recipe", compiler_options=QUICK)
def evaluated(kernels, content, styles, canvas, hyper, regions, *, recipe):
    given = {"recipe": recipe, "hyper": hyper, "regions": regions}
    return losses_with_gradient(canvas, make_problem(kernels, content, styles, **given))


def losses_of(params, pictures, regions=WHOLE, **changes):
    """Returns the losses of a canvas in float64, and the gradient of their total."""
    recipe, hyper = preset(**NEAREST | changes)
    wide = jax.tree.map(np.float64, params)
    photo, paintings, canvas = pictures
    as_canvas = functools.partial(jax.tree.map, lambda each: np.float64(normalize(each)))
    given = prepare(wide), *as_canvas((photo, paintings, canvas)), hyper, regions
    return evaluated(*given, recipe=recipe)


def columns(params, picture) -> list[np.ndarray]:
    """Returns by layer (h, w, C): means of windows of the maps, in float64 numpy."""
    maps, found = numpy_features(params, normalize(picture), np.max), []
    for layer, window in zip(LAYERS, (4, 2, 1), strict=True):
        height, width = picture.shape[0] // 4, picture.shape[1] // 4
        whole = maps[layer][: height * window, : width * window]
        windows = whole.reshape(height, window, width, window, -1)
        found.append(windows.mean((1, 3)))
    return found


def numpy_distances(params, pictures, allowed, *, balance="relative") -> np.ndarray:
    """Returns (h, w): each column's cosine distance from its target; `allowed` is (P, N)."""
    photo, paintings, canvas = pictures

    def flat(parts):
        return [each.reshape(-1, each.shape[-1]) for each in parts]

    each_style = [flat(columns(params, painting)) for painting in paintings]
    styles = [np.concatenate(parts) for parts in zip(*each_style, strict=True)]
    own, painted = flat(columns(params, photo)), flat(columns(params, canvas))
    scales = [1 / np.mean(np.sum(s**2, -1)) for s in styles]
    if balance == "book":
        scales = [1 / s.shape[-1] ** 2 for s in styles]
    centred = [
        np.concatenate(
            [(x - x.mean(0)) * np.sqrt(k) for x, k in zip(parts, scales, strict=True)], 1
        )
        for parts in (own, styles)
    ]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in centred]
    index = np.where(allowed, unit[0] @ unit[1].T, -np.inf).argmax(1)
    factors = [k * w for k, w in zip(scales, NEAREST["style_layer_weights"], strict=True)]
    x, t = (
        np.concatenate([part * np.sqrt(f) for part, f in zip(parts, factors, strict=True)], 1)
        for parts in (painted, [s[index] for s in styles])
    )
    cosines = (x * t).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(t, axis=1)
    return (1 - cosines).reshape(photo.shape[0] // 4, photo.shape[1] // 4)


@pytest.fixture
def pictures(content, style):
    """A photo whose sides are no multiples of 4, two paintings of other sizes, and a canvas."""
    return content[:27, :33], [style[:22, :37], content[10:42, 5:29, ::-1]], content[9:36, 4:37]


@pytest.mark.parametrize("balance", ["relative", pytest.param("book", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("double_precision")
def test_columns_are_led_to_the_nearest_of_all_styles(params, pictures, balance) -> None:
    found, _ = losses_of(params, pictures, balance=balance)
    expected = 2 * numpy_distances(params, pictures, True, balance=balance).mean()
    assert found.terms["style"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_a_region_takes_the_columns_of_its_own(params, pictures) -> None:
    """The left of the photo from the first painting, its right from the second.

    Its last rows are of no region and do not count.
    """
    paintings = pictures[1]
    left = np.zeros((27, 33, 2), np.float32)
    left[:20, :16, 0] = left[:20, 16:, 1] = 1
    masks = [np.zeros((*p.shape[:2], 2), np.float32) for p in paintings]
    masks[0][..., 0] = masks[1][..., 1] = 1
    found, gradient = losses_of(params, pictures, Regions(left, tuple(masks), None), tv_weight=0.0)
    counts = [p.shape[0] // 4 * (p.shape[1] // 4) for p in paintings]
    of_second = np.repeat([False, True], counts)
    at_right = np.tile(np.arange(8) >= 4, 6)
    distances = numpy_distances(params, pictures, at_right[:, None] == of_second)
    assert found.terms["style"] == pytest.approx(2 * distances[:5].mean(), rel=1e-10)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("rows", "layers"),
    [pytest.param(8, LAYERS, marks=pytest.mark.slow), (16, ("relu1_2", "relu2_1", "relu4_1"))],
)
def test_strips_are_the_plain_losses_and_gradients(
    monkeypatch, double_precision, params, pictures, rows, layers
) -> None:
    """In float64, to 1e-12: maps of block 4 are doubled across the strips' edges."""
    for name in ("targets.strip_sums", "targets.strip_features", "matches.strip_features"):
        cut = functools.partial(getattr(strips, name.split(".")[1]), rows=rows)
        monkeypatch.setattr(f"jaxstyle.optimization.{name}", cut)
    (plain, expected), (found, gradient) = (
        losses_of(params, pictures, style_layers=layers, memory=memory)
        for memory in ("plain", "strips")
    )
    np.testing.assert_allclose(rows_of(found), rows_of(plain), rtol=1e-12)
    assert relative_rms(gradient, expected) < 1e-12


@pytest.mark.parametrize("memory", ["plain", "strips"])
def test_flat_and_black_pictures_yield_finite_numbers(params, memory) -> None:
    flat = np.full((24, 24, 3), 90, np.uint8)
    for photo, style, canvas in (
        (flat, flat, flat),
        (0 * flat, flat, 0 * flat),
        (flat, 0 * flat, flat),
    ):
        losses, gradient = losses_of(params, (photo, [style], canvas), memory=memory)
        assert np.isfinite(rows_of(losses)).all()
        assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_a_sweep_paints_the_same_and_it_comes_closer(params, content, style) -> None:
    settings = {
        **NEAREST,
        "size": (24, 24),
        "steps": 3,
        "scales": (0.7, 1.0),
        "learning_rate": 0.05,
    }
    recipe, hyper = preset(**settings)
    alone = jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper)
    (swept,) = jaxstyle.sweep(params, content, style, recipe=recipe, hypers=[hyper])
    np.testing.assert_array_equal(swept.picture, alone)
    assert swept.losses.terms["style"] < swept.history.terms["style"][0]


def test_what_does_not_go_with_it_is_refused() -> None:
    for changes, said in (
        ({"style_mix": "sum"}, "takes the columns of all styles alike"),
        ({"style_weights": (1.0, 2.0)}, "takes the columns of all styles alike"),
        ({"style_layers": ("relu1_1",)}, "give a style layer of block 3 or deeper"),
    ):
        with pytest.raises(InputError, match=said):
            preset(style_loss="nearest", **changes)
    assert preset(style_loss="nearest", style_weights=(2.0, 2.0))
