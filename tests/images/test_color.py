"""Colours before and after painting, held to float64 numpy and to what defines them."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxstyle.images import color
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.images.color import (
    ColorMoments,
    as_grey,
    color_moments,
    histogram_match,
    is_grey,
    linear_match,
    luma,
    paints_grey,
    picture_of,
    pictures_to_paint,
    recolored,
    with_chroma_of,
)
from jaxstyle.images.regions import WHOLE, Regions
from jaxstyle.painting.level import first_canvas, levels
from jaxstyle.runs import record
from jaxstyle.settings.presets import preset
from jaxstyle.settings.recipe import COLOR_MATCHES, COLORS

LINEAR = COLOR_MATCHES[:3]
WEIGHTS = np.array([0.299, 0.587, 0.114])


def recipe_of(**changes):
    return preset("default", size=48, **changes)[0]


def random_picture(seed: int, size=(40, 30), *, spread: float = 20.0):
    """Returns noise about grey whose channels go together, far from black and white."""
    random = np.random.default_rng(seed)
    mixed = random.uniform(-1, 1, (*size, 3)) @ random.normal(size=(3, 3))
    return np.rint(128 + spread * mixed / np.abs(mixed).max(axis=(0, 1))).astype(np.uint8)


def flat(*values: int):
    return np.full((9, 8, 3), values, np.uint8)


@pytest.fixture(params=[1, 1 << 18])
def any_bands(request, monkeypatch) -> None:
    """Rows one by one, or all at once."""
    monkeypatch.setattr(color, "PIXELS_A_BAND", request.param)


def test_luma_is_rec_601s() -> None:
    pixels = np.eye(3)[None]
    np.testing.assert_array_equal(luma(pixels), [[0.299, 0.587, 0.114]])
    assert luma(np.ones((1, 1, 3)))[0, 0] == pytest.approx(1, abs=1e-15)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=-1)
    np.testing.assert_array_equal(as_grey(grey), grey)
    np.testing.assert_array_equal(as_grey(flat(255, 0, 0))[0, 0], [76] * 3)  # 76.245


@pytest.mark.usefixtures("any_bands")
def test_moments_are_numpys(content) -> None:
    pixels = content.reshape(-1, 3) / 255
    found = color_moments(content)
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(pixels.T, bias=True), rtol=1e-11)
    assert not color_moments(flat(255, 3, 77)).covariance.any()


@pytest.mark.parametrize("how", LINEAR)
def test_a_linear_match_gives_the_photos_mean_and_covariance(how, content, style) -> None:
    """In float64, before clipping and rounding."""
    before, photo = color_moments(style), color_moments(content)
    matrix, offset = linear_match(before, photo, how)
    pixels = style.reshape(-1, 3) / 255 @ matrix.T + offset
    np.testing.assert_allclose(pixels.mean(0), (content / 255).mean((0, 1)), atol=1e-12)
    wanted = np.cov(content.reshape(-1, 3).T / 255, bias=True)
    np.testing.assert_allclose(np.cov(pixels.T, bias=True), wanted, atol=1e-12)


def test_what_sets_the_linear_matches_apart(content, style) -> None:
    """Each condition, beside T S T' = P, has one solution."""
    before, photo = color_moments(style), color_moments(content)
    found = {how: linear_match(before, photo, how).matrix for how in LINEAR}
    lower = found["cholesky"]
    np.testing.assert_allclose(np.triu(lower, 1), 0, atol=1e-12)
    assert (np.diag(lower) > 0).all()
    transport = found["optimal-transport"]
    np.testing.assert_allclose(transport, transport.T, atol=1e-12)
    assert (np.linalg.eigvalsh(transport) > 0).all()
    left, values, _ = np.linalg.svd(before.covariance)
    root = found["pca"] @ left @ np.diag(np.sqrt(values)) @ left.T  # of the photo's covariance
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    assert (np.linalg.eigvalsh(root) > 0).all()
    moved = {}
    for how, matrix in found.items():
        change = matrix - np.eye(3)
        moved[how] = np.trace(change @ before.covariance @ change.T)
    assert moved["optimal-transport"] < min(moved["cholesky"], moved["pca"])


@pytest.mark.usefixtures("any_bands")
@pytest.mark.parametrize("how", LINEAR)
def test_a_matched_picture_has_the_photos_moments(how) -> None:
    """Where nothing clips: within what rounding to 8 bits does, (1/255)^2 / 12 = 1.3e-6."""
    photo, style = random_picture(1), random_picture(2, (25, 64), spread=60)
    matched = recolored(style, linear_match(color_moments(style), color_moments(photo), how))
    pixels, wanted = (each.reshape(-1, 3) / 255 for each in (matched, photo))
    assert 0 < matched.min() < matched.max() < 255
    np.testing.assert_allclose(pixels.mean(0), wanted.mean(0), atol=2e-4)
    both = [np.cov(each.T, bias=True) for each in (pixels, wanted)]
    np.testing.assert_allclose(*both, atol=4e-6)
    assert both[1].max() > 5e-4


def test_a_change_of_colours_is_clipped_and_rounded() -> None:
    matrix = np.array([[2.0, 0, 0], [0, -1, 0], [0.5, 0, 0.1]])
    change = color.AffineColors(matrix, np.array([-0.2, 0.5, 0]))
    found = recolored(np.array([[[100, 100, 3], [20, 200, 255], [250, 0, 0]]], np.uint8), change)
    # 2 * 100 - 51 = 149; 127.5 - 100 = 27.5, to even; 50.3; and so on
    np.testing.assert_array_equal(found, [[[149, 28, 50], [0, 0, 36], [255, 128, 125]]])


DEGENERATE = {
    "black": flat(0, 0, 0),
    "white": flat(255, 255, 255),
    "flat": flat(200, 30, 90),
    "grey": as_grey(random_picture(3)),
    "two colours": np.concatenate([flat(255, 0, 0), flat(0, 0, 255)]),
    "one pixel": flat(9, 8, 7)[:1, :1],
    "noisy grey": as_grey(random_picture(4)) ^ (random_picture(5) & 1),
}


@pytest.mark.parametrize("how", COLOR_MATCHES)
def test_degenerate_colours_fail_nowhere(how) -> None:
    """Warnings, such as those of NaN cast to a whole number, are errors here."""
    pictures = [*DEGENERATE.values(), random_picture(6)]
    for photo, style in itertools.product(pictures, pictures):
        recipe = recipe_of(color_match=how)
        _, (matched,) = pictures_to_paint(photo, [style], recipe)
        assert (matched.dtype, matched.shape) == (np.uint8, style.shape)
        if style.reshape(-1, 3).std(0).max() == 0 and how != "histogram":
            mean = photo.reshape(-1, 3).mean(0)
            np.testing.assert_allclose(matched.reshape(-1, 3), [mean] * (style.size // 3), atol=0.5)
        if (photo == photo[..., :1]).all():
            assert (matched == matched[..., :1]).all() or how == "histogram"
        if how != "histogram":
            moments = color_moments(style), color_moments(photo)
            matrix, offset = linear_match(*moments, how)
            reached = matrix @ moments[0].covariance @ matrix.T
            excess = np.linalg.eigvalsh(moments[1].covariance - reached).min()
            assert excess > -1e-9  # it varies no more than the photo
            assert np.isfinite(offset).all()
        grey_photo, (grey_style,) = pictures_to_paint(photo, [style], recipe_of(colors="luminance"))
        for each in (grey_photo, grey_style):
            np.testing.assert_array_equal(each, each[..., :1].repeat(3, -1))


def test_noise_is_not_enlarged_to_blotches() -> None:
    """A style without colour but for single bits takes fewer of a colourful photo's."""
    colourful = random_picture(7, spread=120)
    recipe = recipe_of(color_match="pca")
    _, (matched,) = pictures_to_paint(colourful, [DEGENERATE["noisy grey"]], recipe)
    chroma = matched - luma(matched.astype(float))[..., None]
    wanted = colourful - luma(colourful.astype(float))[..., None]
    assert chroma.std() < wanted.std()


@pytest.mark.usefixtures("any_bands")
def test_a_histogram_match_goes_by_rank(content) -> None:
    np.testing.assert_array_equal(histogram_match(content, content), content)
    shuffled = np.random.default_rng(0).permutation(content.reshape(-1, 3)).reshape(content.shape)
    np.testing.assert_array_equal(histogram_match(255 - content, 255 - shuffled), 255 - content)
    style = np.array([[10, 10, 20, 30]], np.uint8)[..., None].repeat(3, -1)
    photo = np.array([[100], [200]], np.uint8)[..., None].repeat(3, -1)
    # ranks 1/4, 5/8, 7/8; the photo's are 1/4 for 100, 3/4 for 200
    np.testing.assert_array_equal(histogram_match(style, photo)[0, :, 0], [100, 100, 175, 200])
    np.testing.assert_array_equal(histogram_match(flat(7, 7, 7), photo), flat(150, 150, 150))
    found = histogram_match(random_picture(8, (300, 200), spread=90), content)
    levels_of = [
        np.quantile(each, np.linspace(0.1, 0.9, 9), axis=(0, 1)) for each in (found, content)
    ]
    np.testing.assert_allclose(*levels_of, atol=3)


def test_luminance_moves_the_styles_luma_to_the_photos() -> None:
    photo, style = random_picture(9), random_picture(10, (25, 64), spread=60)
    grey_photo, (grey_style,) = pictures_to_paint(photo, [style], recipe_of(colors="luminance"))
    wanted = photo @ WEIGHTS
    np.testing.assert_allclose(grey_photo[..., 0], wanted, atol=0.5 + 1e-9)
    assert grey_style[..., 1].mean() == pytest.approx(wanted.mean(), abs=0.05)
    assert grey_style[..., 1].std() == pytest.approx(wanted.std(), abs=0.05)
    order = np.argsort((style @ WEIGHTS).ravel())
    assert (np.diff(grey_style[..., 0].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.usefixtures("any_bands")
def test_chroma_of_the_photo_beside_the_painted_luma(content) -> None:
    random = np.random.default_rng(11)
    painted = random.uniform(0, 1, content.shape).astype(np.float32)
    painted[0], painted[1] = 0, 1
    found = with_chroma_of(painted, content).astype(np.float64)
    assert 0 <= found.min() <= found.max() <= 1
    wanted_luma, photo = painted.astype(np.float64) @ WEIGHTS, content / 255
    np.testing.assert_allclose(found @ WEIGHTS, wanted_luma, atol=3e-7)
    whole = wanted_luma[..., None] + photo - (photo @ WEIGHTS)[..., None]
    fits = ((whole >= 0) & (whole <= 1)).all(-1)
    assert 0.2 < fits.mean() < 0.95
    np.testing.assert_allclose(found[fits], whole[fits], atol=3e-7)
    # elsewhere the same chroma, paler, as far as there is room
    chroma = photo - (photo @ WEIGHTS)[..., None]
    reached = (found - wanted_luma[..., None])[~fits]
    part = (reached * chroma[~fits]).sum(-1) / (chroma[~fits] ** 2).sum(-1)
    assert part.min() >= -1e-6
    assert part.max() < 1
    np.testing.assert_allclose(reached, part[:, None] * chroma[~fits], atol=1e-6)
    edge = np.minimum(found, 1 - found).min(-1)[~fits]
    np.testing.assert_allclose(edge, 0, atol=1e-6)


@pytest.mark.parametrize("colors", COLORS)
def test_the_picture_of_a_canvas(colors, content, style) -> None:
    """With the photo's colours it has these at its own size; else it is the canvas."""
    painted = resize(style, (48, 66), resampling="lanczos")
    photo = resize(content, (48, 66), resampling="lanczos")
    found = picture_of(normalize(painted), content, recipe=recipe_of(colors=colors))
    plain = (normalize(painted) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]).clip(0, 1)
    if colors in ("photo", "luminance"):
        plain = with_chroma_of(plain.astype(np.float32), photo)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    larger = picture_of(
        normalize(painted), content, recipe=recipe_of(colors=colors), size=(96, 132)
    )
    assert larger.shape == (96, 132, 3)


@pytest.mark.parametrize(
    ("colors", "photo_is_grey", "style_is_grey", "wanted"),
    [
        *(("auto", photo, style, photo and style) for photo in (0, 1) for style in (0, 1)),
        *(("match", 1, style, True) for style in (0, 1)),
        *(("match", 0, style, False) for style in (0, 1)),
        ("style", 1, 1, False),  # as in all records that are older than auto
    ],
)
def test_what_is_painted_from_grey_alone_is_grey(
    colors, photo_is_grey, style_is_grey, wanted, content, style, any_bands
) -> None:
    """And its luma is that of what was painted."""
    photo = as_grey(content) if photo_is_grey else content
    others = [as_grey(style) if style_is_grey else style, as_grey(style)]
    painted = resize(style, (48, 66), resampling="lanczos")
    recipe = recipe_of(colors=colors)
    grey = paints_grey(recipe, photo, others)
    assert grey == wanted
    found = picture_of(normalize(painted), photo, recipe=recipe, grey=grey)
    assert (np.ptp(found, axis=-1).max() == 0) == wanted
    np.testing.assert_allclose(found @ WEIGHTS, painted / 255 @ WEIGHTS, atol=1e-6)


def test_a_picture_is_grey_up_to_what_a_jpeg_leaves(any_bands) -> None:
    picture = np.repeat(np.arange(240, dtype=np.uint8).reshape(20, 12, 1), 3, axis=-1)
    picture[13, 5, 1] += 4
    assert is_grey(picture)
    picture[13, 5, 1] += 1
    assert not is_grey(picture)


@pytest.mark.parametrize(
    "changes", [{"colors": "luminance"}, {"color_match": "histogram"}, {"color_match": "pca"}]
)
def test_what_is_kept_of_the_photo_does_not_count(changes, content, style) -> None:
    recipe, keep = recipe_of(**changes), np.zeros(content.shape[:2], bool)
    keep[:, 40:] = True
    other = content.copy()
    other[keep] = 255 - other[keep]
    found, same, whole = (
        levels(photo, style, recipe=recipe, regions=regions)[-1].styles[0]
        for photo, regions in (
            (content, Regions(keep=keep)),
            (other, Regions(keep=keep)),
            (other, WHOLE),
        )
    )
    np.testing.assert_array_equal(found, same)
    assert not np.array_equal(found, whole)
    _, (painted,) = pictures_to_paint(content[:, :40], [style], recipe)
    _, (wanted,) = pictures_to_paint(content, [style], recipe, Regions(keep=keep))
    np.testing.assert_array_equal(painted, wanted)


@pytest.mark.parametrize("colors", COLORS)
def test_what_is_kept_of_the_photo_is_the_photos_to_the_bit(colors, content, style) -> None:
    """Where it is painted in grey, its luma was rounded."""
    recipe, keep = recipe_of(colors=colors, scales=(1.0,)), np.zeros((20, 30), bool)
    keep[5:, :12] = True
    regions = Regions(keep=keep)
    (level,) = levels(content, style, recipe=recipe, regions=regions)
    here = level.regions.keep
    canvas = np.array(normalize(resize(style, here.shape, resampling="lanczos")))
    canvas[here] = normalize(level.content)[here]
    found = np.rint(255 * picture_of(canvas, content, recipe=recipe, regions=regions))
    photo = resize(content, here.shape, resampling="lanczos")
    assert 0.1 < here.mean() < 0.5
    np.testing.assert_array_equal(found[here], photo[here])
    assert not np.array_equal(found[~here], photo[~here])


@pytest.mark.parametrize(
    "changes", [{"colors": "luminance"}, *({"color_match": how} for how in COLOR_MATCHES)]
)
def test_levels_are_those_of_pictures_changed_before(changes, content, style) -> None:
    recipe = recipe_of(**changes, scales=(0.5, 1.0))
    styles = [style, style[::-1] // 2]
    changed = pictures_to_paint(content, styles, recipe)
    plain = levels(*changed, recipe=dataclasses.replace(recipe, colors="style"))
    found = levels(content, styles, recipe=recipe)
    assert len(found) == len(plain) == 2
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one.content, other.content)
        for mine, wanted in zip(one.styles, other.styles, strict=True):
            np.testing.assert_array_equal(mine, wanted)
        assert one[2:] == other[2:]
    for before, after in zip(styles, changed[1], strict=True):
        assert not np.array_equal(after, before)
    init = first_canvas(found[0], init=style, seed=0, resampling="lanczos", colors=recipe.colors)
    is_grey = (
        np.ptp(np.asarray(init) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406], -1).max() < 1e-6
    )
    assert is_grey == (recipe.colors == "luminance")


def test_a_color_match_chooses_match_unless_colors_are_given() -> None:
    assert recipe_of().colors == "auto"
    assert recipe_of(color_match="pca").colors == "match"
    assert recipe_of(color_match="pca", colors="photo").colors == "photo"


def test_records_have_colours_only_where_they_are_others() -> None:
    plain = record.settings(*preset("book"))
    assert not {"colors", "color_match"} & plain.keys()
    recipe, hyper = preset("default", color_match="cholesky")
    facts = {"settings": record.settings(recipe, hyper), "weights": {}, "versions": {}}
    assert facts["settings"]["colors"] == "match"
    assert record.restore(facts)[0] == recipe


def test_moments_of_two_pixels() -> None:
    mean, covariance = color_moments(np.array([[[0, 0, 255], [255, 0, 255]]], np.uint8))
    np.testing.assert_array_equal(mean, [0.5, 0, 1])
    np.testing.assert_array_equal(covariance, np.diag([0.25, 0, 0]))
    assert isinstance(ColorMoments(mean, covariance), tuple)
