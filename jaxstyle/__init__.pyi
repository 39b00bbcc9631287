# The public names, for type checkers and, by lazy_loader, for the import itself.

__version__: str

from .errors import DivergedError, InputError
from .images.canvas import denormalize, normalize
from .images.picture_file import load_picture
from .losses.statistics import Moments, moments, squared_error
from .losses.style import gram, style_loss
from .losses.terms import Losses, content_loss
from .losses.variation import total_variation
from .network.convolution import Direct, Kernel, Winograd, prepare
from .network.native import Native
from .network.vgg import VGG, features, widths_of
from .optimization.optimizer import State, initial_state, learning_rate, shown
from .optimization.problem import Problem, canvas_losses, make_problem
from .optimization.stepping import Chunk, losses_of, steps
from .optimization.targets import Program, Targets
from .painting.level import levels
from .painting.painter import paint, stylize
from .painting.sweeping import Tick, paint_variants, sweep
from .painting.variants import Result, Variant
from .settings.hyperparams import Hyperparams
from .settings.presets import PRESETS, preset
from .settings.recipe import Recipe
from .weights.pretrained import load_weights

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
    "Native",
    "Problem",
    "Program",
    "Recipe",
    "Result",
    "State",
    "Targets",
    "Tick",
    "Variant",
    "Winograd",
    "canvas_losses",
    "content_loss",
    "denormalize",
    "features",
    "gram",
    "initial_state",
    "learning_rate",
    "levels",
    "load_picture",
    "load_weights",
    "losses_of",
    "make_problem",
    "moments",
    "normalize",
    "paint",
    "paint_variants",
    "prepare",
    "preset",
    "shown",
    "squared_error",
    "steps",
    "style_loss",
    "stylize",
    "sweep",
    "total_variation",
    "widths_of",
]
