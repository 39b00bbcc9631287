"""The style loss "strotss": against float64 numpy, in strips, in sweeps, resumed, refused."""

import functools

import jax
import numpy as np
import pytest
from conftest import QUICK, relative_rms
from evaluation import rows_of
from numpy_network import numpy_features

import jaxstyle
from jaxstyle.errors import InputError
from jaxstyle.images.canvas import MEAN, STD, normalize
from jaxstyle.images.regions import Regions
from jaxstyle.network.convolution import prepare
from jaxstyle.network.layers import block_of, conv_of
from jaxstyle.optimization import strips
from jaxstyle.optimization.problem import canvas_losses, make_problem
from jaxstyle.optimization.samples import grid_of, one_of_each_band, points_of_step
from jaxstyle.settings.presets import preset
from jaxstyle.weights.activations import CAFFE_SCALE

LAYERS, DEEPER = ("relu1_1", "relu2_1"), ("relu1_1", "relu3_1")
WEIGHTS = (1.0, 2.0)
STROTSS = {"name": "strotss", "content_layers": ("relu2_1",), "style_layers": LAYERS}
STROTSS |= {"style_layer_weights": WEIGHTS, "content_weight": 3.0, "style_weight": 2.0}
STROTSS |= {"pooling": "max", "conv": "direct", "tv_weight": 0.0, "clip": False}
STEP = 7


@functools.partial(jax.jit, static_argnames="recipe", compiler_options=QUICK)
def evaluated(kernels, content, styles, canvas, hyper, *, recipe):
    """Returns the problem, and the losses of a canvas at STEP with their total's gradient."""
    problem = make_problem(kernels, content, styles, recipe=recipe, hyper=hyper, seed=5)

    def total(canvas):
        losses = canvas_losses(canvas, problem, STEP)
        return losses.total, losses

    (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(canvas)
    return problem.targets, losses, gradient


def losses_of(params, pictures, **changes):
    """Returns what `evaluated` does, in the type of the parameters."""
    recipe, hyper = preset(**STROTSS | changes)
    dtype = params["conv1_1"]["kernel"].dtype.type
    as_given = jax.tree.map(dtype, pictures)
    return evaluated(prepare(params), *as_given, hyper, recipe=recipe)


@pytest.fixture
def pictures(content, style):
    """A photo of odd sides, two paintings of other sizes, and a canvas, normalized."""
    found = content[:27, :33], [style[:22, :37], content[10:42, 5:29, ::-1]], content[9:36, 4:37]
    return jax.tree.map(lambda each: np.float64(normalize(each)), found)


@pytest.fixture
def few_points(monkeypatch) -> None:
    """Twenty points of a canvas, from a pool of 9 x 9, and eighty of the styles."""
    for name, number in (("CANVAS_POINTS", 20), ("STYLE_POINTS", 80), ("POOL_SIDE", 9)):
        monkeypatch.setattr(f"jaxstyle.optimization.samples.{name}", number)


def read_at(params, picture, rows, columns, layers=LAYERS) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns by layer (n, C), and colours (n, 3), at crossings of a picture's rows and columns."""
    maps, found = numpy_features(params, picture, np.max), []
    for layer in layers:
        values, halvings = [], block_of(layer) - 1
        for y, x in ((y, x) for y in rows for x in columns):
            feature = maps[layer]
            for place in (y, x):
                place = np.clip((place + 0.5) / 2**halvings - 0.5, 0, len(feature) - 1)
                low = int(place)
                high, part = min(low + 1, len(feature) - 1), place - low
                feature = (1 - part) * feature[low] + part * feature[high]
            values.append(feature)
        found.append(np.array(values))
    return found, picture[np.ix_(rows, columns)].reshape(-1, 3) * STD + MEAN


def cosine(x, y) -> np.ndarray:
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
    return 1 - x @ y.T


def relaxed(distances) -> float:
    return max(distances.min(1).mean(), distances.min(0).mean())


def numpy_terms(params, pictures, points, styles, scaled, layers) -> tuple[float, float]:
    """Returns self-similarity and style, of the columns at points, from the paper's formulas.

    `styles` are the styles' own columns by layer and their colours.
    """
    photo, _, canvas = pictures
    own, colors = read_at(params, canvas, *points, layers)
    aim, _ = read_at(params, photo, *points, layers)
    columns, style_colors = styles
    scales = [1 / np.sqrt(np.mean(s**2)) if scaled else 1 for s in columns]
    mean = np.mean(WEIGHTS) if scaled else 1
    factors = [k * np.sqrt(w / mean) for k, w in zip(scales, WEIGHTS, strict=True)]
    x, y, c = (
        np.concatenate([f * part for f, part in zip(factors, parts, strict=True)], 1)
        for parts in (own, columns, aim)
    )
    moments = np.abs(x.mean(0) - y.mean(0)).mean()
    moments += np.abs(np.cov(x, rowvar=False) - np.cov(y, rowvar=False)).mean()
    palette = np.linalg.norm(colors[:, None] - style_colors[None], axis=-1)
    similarity = [d / d.sum(0) for d in (cosine(x, x), cosine(c, c))]
    content = np.abs(similarity[0] - similarity[1]).sum(0).mean()
    return content, relaxed(cosine(x, y)) + moments + relaxed(palette) / 3


@pytest.mark.parametrize(
    ("balance", "layers"),
    [("book", LAYERS), pytest.param("relative", DEEPER, marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("double_precision", "few_points")
def test_each_term_is_that_of_the_formulas(params, pictures, balance, layers) -> None:
    """And the gradient, along a random direction, is that of central differences."""
    wide = jax.tree.map(np.float64, params)
    targets, losses, gradient = losses_of(
        wide, pictures, balance=balance, style_layers=layers, style_layer_weights=WEIGHTS
    )
    samples, kept = targets.samples, targets.style[0]
    chosen = points_of_step(samples, STEP, (27, 33))
    points = samples.pool.rows[chosen.rows], samples.pool.columns[chosen.columns]
    assert [each.size for each in points] == [4, 5]
    styles = [kept.columns[tap] for tap in layers], np.asarray(kept.colors)
    given = points, styles, balance == "relative", layers
    content, style = numpy_terms(params, pictures, *given)
    assert losses.terms["content"] == pytest.approx(3 * content, rel=1e-9)
    assert losses.terms["style"] == pytest.approx(2 * style, rel=1e-9)
    photo, paintings, canvas = pictures
    direction, ends = np.random.default_rng(0).normal(size=canvas.shape), []
    for step in (1e-6, -1e-6):
        terms = numpy_terms(params, (photo, paintings, canvas + step * direction), *given)
        ends.append(3 * terms[0] + 2 * terms[1])
    slope = np.sum(gradient * direction)
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


@pytest.mark.usefixtures("double_precision", "few_points")
def test_the_styles_columns_are_those_at_their_points(params, pictures) -> None:
    """Forty points of each painting, 5 x 8 and 7 x 5, where their colours, all unlike, say."""
    random, (photo, paintings, canvas) = np.random.default_rng(1), pictures
    pictures = photo, [random.normal(size=each.shape) for each in paintings], canvas
    targets, *_ = losses_of(jax.tree.map(np.float64, params), pictures)
    kept, first = targets.style[0], 0
    for painting, (rows, columns) in zip(pictures[1], ((5, 8), (7, 5)), strict=True):
        some = slice(first, first + rows * columns)
        wanted = np.asarray(kept.colors[some]).reshape(rows, columns, 3)
        apart = np.abs(painting * STD + MEAN - wanted[:, :, None, None]).max(-1)
        at = [np.argwhere(apart[i, i % columns] < 1e-12)[0] for i in range(rows)]
        across = [np.argwhere(apart[i % rows, i] < 1e-12)[0] for i in range(columns)]
        points = [y for y, _ in at], [x for _, x in across]
        found, colors = read_at(params, painting, *points)
        np.testing.assert_allclose(colors, wanted.reshape(-1, 3), atol=1e-12)
        for tap, each in zip(LAYERS, found, strict=True):
            np.testing.assert_allclose(kept.columns[tap][some], each, atol=1e-12)
        first = some.stop
    assert first == len(kept.colors)


@pytest.mark.parametrize(
    ("rows", "layers"),
    [(8, ("relu1_2", "relu2_1")), pytest.param(16, ("relu1_1", "relu4_1"), marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("few_points")
def test_strips_are_the_plain_losses_and_gradients(
    monkeypatch, double_precision, params, pictures, rows, layers
) -> None:
    cut = functools.partial(strips.strip_sums, rows=rows)
    monkeypatch.setattr("jaxstyle.optimization.targets.strip_sums", cut)
    wide, (photo, paintings, canvas) = jax.tree.map(np.float64, params), pictures
    settings = {"style_layers": layers, "style_layer_weights": (1.0, 2.0)}
    (_, plain, expected), (_, found, gradient) = (
        losses_of(wide, (photo, paintings[:1], canvas), memory=memory, **settings)
        for memory in ("plain", "strips")
    )
    np.testing.assert_allclose(rows_of(found), rows_of(plain), rtol=1e-12)
    assert relative_rms(gradient, expected) < 1e-12


def test_flat_and_black_pictures_yield_finite_numbers(params) -> None:
    flat = np.full((16, 16, 3), 0.4)
    for photo, style, canvas in (
        (flat, flat, flat),
        (0 * flat - 2, flat, 0 * flat - 2),
        (flat, 0 * flat - 2, flat),
    ):
        _, losses, gradient = losses_of(
            params, (photo, [style], canvas), style_layers=("relu1_1",), style_layer_weights=(1.0,)
        )
        assert np.isfinite(rows_of(losses)).all()
        assert np.isfinite(gradient).all()


def test_of_each_band_one_is_drawn_and_of_all_some_time() -> None:
    """Bands of 0 to 9 are 0-2, 3-5 and 6-9."""
    bits = np.random.default_rng(0).integers(2**32, size=(60, 3), dtype=np.uint32)
    drawn = np.array([one_of_each_band(each, 10) for each in bits])
    assert {*drawn[:, 0]} == {0, 1, 2}
    assert {*drawn[:, 1]} == {3, 4, 5}
    assert {*drawn[:, 2]} == {6, 7, 8, 9}
    np.testing.assert_array_equal(one_of_each_band(bits[0], 3), range(3))


def test_a_grid_is_about_as_dense_either_way() -> None:
    assert grid_of((300, 300), 1024) == (32, 32)
    assert grid_of((300, 1200), 1024) == (16, 64)
    assert grid_of((5, 1000), 1024) == (2, 512)
    assert grid_of((2000, 3), 1024) == (826, 1)
    assert grid_of((7, 9), 1024) == (7, 9)


@pytest.mark.usefixtures("few_points")
@pytest.mark.slow
def test_a_sweep_paints_the_same_resumed_too_and_a_seed_counts(params, content, style) -> None:
    """What goes on from the first of two steps of a size ends in the same canvas."""
    settings = {**STROTSS, "size": (24, 24), "scales": (1.0,), "learning_rate": 0.05}
    recipe, hyper = preset(**settings, level_steps=(2.0,))
    given = {"recipe": recipe, "hyper": hyper}
    alone = jaxstyle.stylize(params, content, style, **given, seed=3)
    several = jaxstyle.sweep(
        params, content, style, recipe=recipe, hypers=[hyper] * 2, seeds=[3, 4]
    )
    first, second = (each.picture for each in several)
    np.testing.assert_array_equal(first, alone)
    assert np.abs(first - second).max() > 0
    levels, state = jaxstyle.levels(content, style, recipe=recipe), None
    for chunk in jaxstyle.paint(params, levels, **given, seed=3, pause_every=1):
        canvas = np.array(jaxstyle.shown(chunk.state))
        if chunk.state.step == 1:
            state = jax.tree.map(np.array, chunk.state)
    *_, last = jaxstyle.paint(params, levels, **given, seed=3, start=state)
    np.testing.assert_array_equal(jaxstyle.shown(last.state), canvas)


def test_the_presets_layers_are_as_strong_as_in_oxfords_network() -> None:
    """A weight is the square of a factor; of relu4_3 an eighth."""
    recipe, hyper = preset("strotss")
    for tap, weight in zip(recipe.style_layers, hyper.style_layer_weights, strict=True):
        factor = CAFFE_SCALE[conv_of(tap)] / CAFFE_SCALE["conv4_3"]
        assert weight == pytest.approx(factor**2 / 8, rel=0.02), tap


def test_what_does_not_go_with_it_is_refused(params, content, style) -> None:
    for changes, said in (
        ({"style_mix": "sum"}, "takes the columns of all styles alike"),
        ({"style_weights": (1.0, 2.0)}, "takes the columns of all styles alike"),
        ({"optimizer": "lbfgs"}, "other points at every step.*give optimizer 'adam'"),
        ({"units": "caffe"}, "give units 'torchvision'"),
    ):
        with pytest.raises(InputError, match=said):
            preset("strotss", **changes)
    recipe, hyper = preset(**STROTSS, size=(24, 24))
    keep = Regions(keep=np.eye(len(content), content.shape[1]) > 0)
    with pytest.raises(InputError, match="without regions or a part that is kept"):
        jaxstyle.stylize(params, content, style, recipe=recipe, hyper=hyper, regions=keep)
