"""Lines for a person about what is not, to the letter, as it was asked for."""

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

from jaxstyle.images.bands import Alpha
from jaxstyle.images.canvas import (
    LARGEST,
    Picture,
    parted_steps,
    scales_of,
    shortest_side,
    sizes_of,
    step_shares,
    total_steps,
)
from jaxstyle.images.regions import Regions, resize_keep
from jaxstyle.network.layers import block_of, smallest_side
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import SAMPLED_LOSS_NAMES, Recipe, Sides, uses_seed
from jaxstyle.settings.text import as_text

MUCH_ENLARGED = 1.5
"""A style that is enlarged more than so many times at full size is mentioned."""

MUCH_SQUASHED = 1.02
"""A picture whose aspect changes by more than this factor is mentioned."""


PHOTO = "photo"


INIT = "--init picture"


class Asked(NamedTuple):
    """What a run is made from, and what of it was asked for by flags."""

    content: Picture
    styles: Sequence[Picture]
    recipe: Recipe
    hyper: Hyperparams
    init: str
    names: Container[str]
    """The settings that were given as flags, "seed" and "alpha" among them; and "save_every" if it
    is beyond the last step."""
    chosen: Sequence[tuple[str, Any]] = ()
    """Settings that were not, but which those bring, with their values."""
    regions: Regions = Regions()
    alpha: Alpha | None = None
    """The transparency that the result has."""
    over_white: Sequence[str] = ()
    """Which pictures have transparent parts that count as white: "photo", or a style's name."""
    cut: Sequence[tuple[str, str]] = ()
    """Which pictures have more than 8 bits a channel of which 8 are read, and why: for want of an
    "extra", or since nothing reads more of files of such a "kind"."""


def notices_of(asked: Asked) -> tuple[str, ...]:
    """Returns a line for each thing that is painted otherwise than was asked for, or not at all."""
    return (
        *size_notices(asked.content, asked.styles, asked.recipe, asked=asked.names),
        *_squashed(asked),
        *_steps(asked),
        *_chosen(asked),
        *_kept(asked),
        *map(_over_white, asked.over_white),
        *(_cut(name, why) for name, why in asked.cut),
        *(f"--{name} {reason}" for name, reason in _without_effect(asked)),
    )


def size_notices(
    content: Picture, styles: Sequence[Picture], recipe: Recipe, *, asked: Container[str]
) -> list[str]:
    """Returns a line for each size that is not as asked: of the photo, of levels, of styles.

    Args:
      content: the photo.
      styles: the style pictures.
      recipe: of the run; it can be painted.
      asked: the settings that were given as flags; without `size` no photo is too small for it.
    """
    lines, (canvas, sizes) = [], sizes_of(content, styles, recipe)
    height, width = content.shape[:2]
    given = recipe.size if isinstance(recipe.size, int) and "size" in asked else 0
    if given > max(canvas):
        lines.append(
            f"the photo, {height}x{width}, has fewer pixels than --size {given}: it is painted at"
            " its own size; --upscale enlarges it"
        )
    least = smallest_side(recipe.content_layers + recipe.style_layers)
    for scale in scales_of(recipe, content):
        shortest = shortest_side(*sizes_of(content, styles, recipe, scale))
        if "scales" in asked and shortest < least:
            lines.append(
                f"{scale:g} of --scales is left out: these layers need {least} pixels each way"
            )
    for style, size in _each_style(styles, sizes, recipe):
        times = max(size) / max(style.shape[:2])
        if times > MUCH_ENLARGED:
            lines.append(
                f"the style picture, {style.shape[0]}x{style.shape[1]}, is enlarged {times:.1f}"
                " times: one with more pixels has finer strokes"
            )
    return lines


def _each_style(
    styles: Sequence[Picture], sizes: Sequence[Sides], recipe: Recipe
) -> Iterable[tuple[Picture, Sides]]:
    """Returns every style with each of its sizes, of which it has one by style scale."""
    return zip((style for style in styles for _ in recipe.style_scale), sizes, strict=True)


def _squashed(asked: Asked) -> list[str]:
    """Returns a line for each picture that an exact size brings to another aspect."""
    canvas, sizes = sizes_of(asked.content, asked.styles, asked.recipe)
    pictures = [("photo", asked.content, canvas)]
    pictures += [
        ("style picture", *each) for each in _each_style(asked.styles, sizes, asked.recipe)
    ]
    lines = []
    for name, picture, (height, width) in pictures:
        was = picture.shape[:2]
        aspect = height / width / (was[0] / was[1])
        if isinstance(asked.recipe.size, tuple) and max(aspect, 1 / aspect) > MUCH_SQUASHED:
            lines.append(
                f"the {name}, {was[0]}x{was[1]}, is brought to {height}x{width}, another aspect:"
                " --size N keeps it"
            )
    return list(dict.fromkeys(lines))


def _steps(asked: Asked) -> list[str]:
    """Returns a line where the steps are not as many as asked, or too few for all sizes."""
    recipe, content = asked.recipe, asked.content
    steps, scales = total_steps(recipe, content), _painted(asked)
    lines = []
    if "steps" in asked.names and steps != recipe.steps:
        lines.append(
            f"--steps {recipe.steps} are those of the {LARGEST} largest sizes; with the"
            f" {len(scales_of(recipe, content)) - LARGEST} coarser ones the run has {steps}"
        )
    parts = parted_steps(scales, step_shares(recipe, scales), steps)
    idle = sum(not count for _, _, count in parts)
    if idle:
        lines.append(f"{idle} of {len(parts)} --scales have no step: --steps {steps} are too few")
    return lines


def _painted(asked: Asked) -> list[float]:
    """Returns the scales whose pictures are large enough."""
    recipe = asked.recipe
    least = smallest_side(recipe.content_layers + recipe.style_layers)
    scales = scales_of(recipe, asked.content)
    return [each for each in scales if shortest_side(*_sizes_at(asked, each)) >= least]


def _sizes_at(asked: Asked, scale: float) -> tuple[Sides, tuple[Sides, ...]]:
    return sizes_of(asked.content, asked.styles, asked.recipe, scale)


def _chosen(asked: Asked) -> list[str]:
    """Returns a line with the settings that others brought, if there are any."""
    told = ", ".join(f"--{_flag(name)} {as_text(value)}" for name, value in asked.chosen)
    return [f"what was given brings {told}"] if told else []


def _kept(asked: Asked) -> list[str]:
    """Returns a line where nothing of what is kept is left at the size that is painted."""
    keep, (canvas, _) = asked.regions.keep, _sizes_at(asked, 1.0)
    if keep is None or resize_keep(keep, canvas).any():
        return []
    return [f"at {canvas[0]}x{canvas[1]} nothing is left of what was to be kept of the photo"]


def _over_white(name: str) -> str:
    if name == PHOTO:
        return "the photo is transparent in part, which is painted as white: --alpha keep leaves it"
    return f"the style picture {name} is transparent in part, which counts as white"


def _cut(name: str, why: str) -> str:
    keeps = "pip install 'jaxstyle[print]' keeps them"
    if why == "kind":
        keeps = "as PNG or TIFF of 16 bits, grey or RGB, it keeps them"
    return f"the {name} has more than 8 bits a channel, of which 8 are read: {keeps}"


def _without_effect(asked: Asked) -> list[tuple[str, str]]:
    """Returns what was given and changes nothing: the flag's name, and why."""
    recipe, several = asked.recipe, len(_painted(asked)) > 1
    one_style = len(asked.styles) == 1
    is_sampled = recipe.style_loss in SAMPLED_LOSS_NAMES
    sampled = f"with --style-loss {recipe.style_loss}" if is_sampled else None
    decay, alone = _no_decay(asked), None if several else "with a single size"
    optimizer = f"with --optimizer {recipe.optimizer}"
    blends = not one_style or len(recipe.style_scale) > 1
    subtracts = min(asked.hyper.style_weights, default=0.0) < 0
    is_deep = max(map(block_of, recipe.style_layers)) > recipe.full_depth
    when = {
        "decay_every": decay,
        "decay_rate": decay,
        "color_match": None if recipe.colors == "match" else f"with --colors {recipe.colors}",
        "history": None if recipe.optimizer == "lbfgs" else optimizer,
        "beta2": None if recipe.optimizer == "adam" else optimizer,
        "style_weights": "with one style picture" if one_style else None,
        "style_mix": None if blends else "with one style picture",
        "propagation": "without regions" if asked.regions.content is None else None,
        "extrapolate": None if subtracts else "without a weight below 0",
        "steps_power": alone,
        "coarse_content": alone,
        "content_decay": alone,
        "full_depth": alone or (None if is_deep else "with these --style-layers"),
        "content_power": sampled
        or (None if recipe.balance == "relative" else "with --balance book"),
        "content_layers": sampled,
        "seed": None if uses_seed(recipe, asked.init) else "without --init noise",
        "save_every": f"in {total_steps(recipe, asked.content)} steps",
        "alpha": "with a photo that is not transparent" if asked.alpha is None else None,
    }
    return [
        (_flag(name), f"has no effect {why}")
        for name, why in when.items()
        if name in asked.names and why is not None
    ]


def _no_decay(asked: Asked) -> str | None:
    """Returns why the learning rate never drops by steps; None if it does."""
    steps = total_steps(asked.recipe, asked.content)
    if asked.recipe.schedule != "step":
        return f"with --schedule {asked.recipe.schedule}"
    return f"in {steps} steps" if asked.hyper.decay_every >= steps else None


def _flag(name: str) -> str:
    return name.replace("_", "-")
