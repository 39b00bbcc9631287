"""Which values settings may have, and which of them go together: `validate`."""

import dataclasses

from jaxstyle.errors import InputError
from jaxstyle.network.layers import block_of
from jaxstyle.settings.checks import (
    check_choice,
    check_layers,
    check_level_steps,
    check_number,
    check_scales,
    check_size,
    check_style_scale,
    check_style_weights,
    check_whole,
    check_yes_or_no,
)
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import (
    COLUMN_LOSS_NAMES,
    SAMPLED_LOSS_NAMES,
    WINOGRAD_PRECISIONS,
    Recipe,
)

MOST_AVERAGE = 0.9999
MOST_HISTORY = 1000


def validate(recipe: Recipe, hyper: Hyperparams) -> None:
    """Raises InputError, naming field and value, for a setting out of its range or kind."""
    check_layers("content_layers", recipe.content_layers, hyper.content_layer_weights)
    check_layers("style_layers", recipe.style_layers, hyper.style_layer_weights)
    for each in dataclasses.fields(Recipe):
        if "choices" in each.metadata:
            check_choice(each.name, getattr(recipe, each.name), each.metadata["choices"])
        elif each.type is bool:
            check_yes_or_no(each.name, getattr(recipe, each.name))
    check_size(recipe.size)
    check_scales(recipe.scales)
    check_style_scale(recipe.style_scale)
    if recipe.style_size != "auto":
        check_whole("style_size", recipe.style_size)
    check_style_weights(hyper.style_weights, negative=recipe.extrapolate)
    check_whole("steps", recipe.steps)
    check_level_steps(recipe.level_steps)
    check_whole("history", recipe.history, most=MOST_HISTORY)
    _check_together(recipe)
    _check_columns(recipe, hyper)
    check_whole("full_depth", recipe.full_depth, most=5)
    check_number("steps_power", recipe.steps_power, least=-4.0, most=4.0)
    check_number("average", recipe.average, most=MOST_AVERAGE)
    for name in ("content_weight", "style_weight", "tv_weight", "coarse_content"):
        check_number(name, getattr(hyper, name))
    check_number("content_decay", hyper.content_decay, most=1.0)
    check_number("content_power", hyper.content_power, most=4.0)
    coarse = float(hyper.content_weight) * float(hyper.coarse_content)
    check_number("content_weight times coarse_content", coarse)
    check_number("learning_rate", hyper.learning_rate, above_zero=True)
    check_number("decay_rate", hyper.decay_rate, above_zero=True, most=1.0)
    check_whole("decay_every", hyper.decay_every)


def _check_together(recipe: Recipe) -> None:
    """Raises InputError for settings that do not go together."""
    if (recipe.optimizer, recipe.tv_step) == ("lbfgs", "proximal"):
        raise InputError(
            "optimizer 'lbfgs' has no proximal steps, which need a direction by pixel: give tv_step"
            " 'gradient', or optimizer 'adam'"
        )
    if recipe.conv == "winograd" and recipe.precision not in WINOGRAD_PRECISIONS:
        raise InputError(
            f"conv 'winograd' needs precision 'highest', not {recipe.precision!r}: leave --conv out"
        )
    if recipe.tv_form != "absolute" and recipe.tv_step == "proximal":
        raise InputError(
            f"tv_form {recipe.tv_form!r} has no proximal steps: give tv_step 'gradient', or"
            " tv_form 'absolute'"
        )
    if recipe.line_search == "zoom" and recipe.optimizer != "lbfgs":
        raise InputError("line_search 'zoom' is for optimizer 'lbfgs': give that, or 'none'")
    if recipe.line_search == "zoom" and (recipe.clip or recipe.average):
        raise InputError("line_search 'zoom' takes neither clip nor an average: give no and 0")
    if recipe.carry and recipe.optimizer != "adam":
        raise InputError(f"carry is for optimizer 'adam', got {recipe.optimizer!r}: give no")
    if (recipe.units, recipe.balance) == ("caffe", "relative"):
        raise InputError(
            "units 'caffe' are for balance 'book': in relative balance no weight has units"
        )


def _check_columns(recipe: Recipe, hyper: Hyperparams) -> None:
    """Raises InputError for what does not go with a style loss by columns."""
    if recipe.style_loss not in COLUMN_LOSS_NAMES + SAMPLED_LOSS_NAMES:
        return
    if recipe.style_loss in SAMPLED_LOSS_NAMES and recipe.optimizer == "lbfgs":
        raise InputError(
            f"style_loss {recipe.style_loss!r} compares other points at every step, from which"
            " optimizer 'lbfgs' learns nothing: give optimizer 'adam'"
        )
    if recipe.style_loss in COLUMN_LOSS_NAMES and max(map(block_of, recipe.style_layers)) < 3:
        raise InputError(
            f"style_loss {recipe.style_loss!r} compares at a quarter of the size: give a style"
            " layer of block 3 or deeper, such as relu3_1"
        )
    if recipe.style_mix == "sum" or len(set(hyper.style_weights)) > 1:
        raise InputError(
            f"style_loss {recipe.style_loss!r} takes the columns of all styles alike: give equal"
            " style_weights and style_mix 'blend', or a style_loss of moments, such as 'covariance'"
        )
    if recipe.units != "torchvision":
        raise InputError(
            f"style_loss {recipe.style_loss!r} compares angles, which have no units, and takes"
            " features as they are: give units 'torchvision'"
        )
