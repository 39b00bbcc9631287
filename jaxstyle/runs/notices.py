"""Lines for a person about sizes that are not, to the letter, what was asked for."""

from collections.abc import Container, Sequence

from jaxstyle.images.canvas import Picture, scales_of, shortest_side, sizes_of
from jaxstyle.network.layers import smallest_side
from jaxstyle.settings.recipe import Recipe

MUCH_ENLARGED = 1.5
"""A style that is enlarged more than so many times at full size is mentioned."""


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
    each_style = (style for style in styles for _ in recipe.style_scale)
    for style, size in zip(each_style, sizes, strict=True):
        times = max(size) / max(style.shape[:2])
        if times > MUCH_ENLARGED:
            lines.append(
                f"the style picture, {style.shape[0]}x{style.shape[1]}, is enlarged {times:.1f}"
                " times: one with more pixels has finer strokes"
            )
    return lines
