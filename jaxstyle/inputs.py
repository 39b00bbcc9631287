"""All that a run reads before jax is imported: settings, pictures, weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxstyle import images, record
from jaxstyle.checks import check_numbered
from jaxstyle.cli import INIT_WORDS, Arguments
from jaxstyle.errors import InputError
from jaxstyle.presets import change, preset
from jaxstyle.pretrained import EMBEDDED, WeightFile, find_weights
from jaxstyle.recipe import Hyperparams, Recipe
from jaxstyle.weights import Arrays, read_weights

Say = Callable[[str], None]


class Settings(NamedTuple):
    """The settings of a run, from preset or picture, with the flags' changes."""

    recipe: Recipe
    hyper: Hyperparams
    preset: str
    init: str
    """A word, or a picture's path."""
    seed: int
    weights: str
    earlier: record.Record | None
    """The record that `--from` names."""


class Inputs(NamedTuple):
    """What a run works on."""

    settings: Settings
    content: images.Picture
    style: images.Picture
    init: images.Picture | str
    weight_file: WeightFile
    params: Arrays


def read_settings(arguments: Arguments, *, say: Say) -> Settings:
    """Returns the settings, later ones winning: preset or `--from`, then flags.

    Raises:
      InputError: a preset, setting or picture that cannot be used.
    """
    name, earlier = arguments.preset or "default", None
    recipe, hyper = preset(name)
    others: dict[str, Any] = {}
    if arguments.from_picture is not None:
        earlier = record.read(arguments.from_picture)
        old_recipe, old_hyper, others, unknown = record.restore(earlier)
        for setting in unknown:
            say(f"warning: {arguments.from_picture} has a setting {setting!r}, which is ignored")
        if arguments.preset is None:
            recipe, hyper, name = old_recipe, old_hyper, str(others.get("preset", name))
    recipe, hyper = change(recipe, hyper, **arguments.settings)
    init = arguments.init or str(others.get("init", "content"))
    if arguments.init is None and init not in INIT_WORDS:
        raise InputError(
            f"{arguments.from_picture} was begun from the picture {init}: name it with --init"
        )
    seed = arguments.seed if arguments.seed is not None else _old_seed(others.get("seed", 0))
    return Settings(recipe, hyper, name, init, seed, _weights(arguments, earlier), earlier)


def _old_seed(seed: object) -> int:
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"the seed in this picture cannot be used: {seed!r}")
    return seed


def _weights(arguments: Arguments, earlier: record.Record | None) -> str:
    """The flag; else what a record asks for that needs no network; else auto."""
    if arguments.weights is not None:
        return arguments.weights
    was_embedded = earlier is not None and earlier.get("weights", {}).get("name") == EMBEDDED
    return "embedded" if was_embedded else "auto"


def read_inputs(arguments: Arguments, output: Path, *, say: Say) -> Inputs:
    """Reads everything that the command line names.

    Args:
      arguments: with the paths checked already.
      output: where the result will go.
      say: is given a line before anything that takes long, and warnings.

    Raises:
      InputError: a file or setting that cannot be used.
      OSError: a download failed.
    """
    settings = read_settings(arguments, say=say)
    check_numbered(
        output, every=arguments.save_every, steps=settings.recipe.steps, force=arguments.force
    )
    content, style = images.load(arguments.content), images.load(arguments.style)
    init = settings.init if settings.init in INIT_WORDS else images.load(Path(settings.init))
    weight_file = find_weights(settings.weights, say=say)
    params = read_weights(weight_file.path)
    return Inputs(settings, content, style, init, weight_file, params)
