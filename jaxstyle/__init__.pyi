# The public names, for type checkers and, by lazy_loader, for the import itself.

__version__: str

from .conv import Direct, Kernel, Winograd, prepare
from .errors import DivergedError, InputError
from .images import denormalise, load_picture, normalise
from .levels import levels
from .losses import (
    Losses,
    Moments,
    content_loss,
    gram,
    moments,
    squared_error,
    style_loss,
    total_variation,
    weighted_losses,
)
from .objective import Problem, Program, Targets, canvas_losses, learning_rate, make_problem
from .painting import paint, stylize
from .places import Result, Setting
from .presets import PRESETS, preset
from .pretrained import load_weights
from .recipe import Hyperparams, Recipe
from .rounds import Tick, paint_settings
from .state import State, begin
from .sweeping import sweep
from .transfer import Chunk, losses_of, steps
from .vgg import VGG, features, widths_of

__all__ = [
    "PRESETS",
    "VGG",
    "Chunk",
    "Direct",
    "DivergedError",
    "Hyperparams",
    "InputError",
    "Kernel",
    "Losses",
    "Moments",
    "Problem",
    "Program",
    "Recipe",
    "Result",
    "Setting",
    "State",
    "Targets",
    "Tick",
    "Winograd",
    "begin",
    "canvas_losses",
    "content_loss",
    "denormalise",
    "features",
    "gram",
    "learning_rate",
    "levels",
    "load_picture",
    "load_weights",
    "losses_of",
    "make_problem",
    "moments",
    "normalise",
    "paint",
    "paint_settings",
    "prepare",
    "preset",
    "squared_error",
    "steps",
    "style_loss",
    "stylize",
    "sweep",
    "total_variation",
    "weighted_losses",
    "widths_of",
]
