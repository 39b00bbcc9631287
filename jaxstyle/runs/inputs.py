"""All that a run reads before jax is imported: settings, pictures, weights."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from jaxstyle import files
from jaxstyle.errors import InputError, Say, silent
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import (
    Picture,
    check_all_sizes,
    largest_style,
    sizes_of,
    total_steps,
)
from jaxstyle.images.picture_file import PLAIN
from jaxstyle.images.print_file import Print, check_kind, read_profile
from jaxstyle.images.regions import (
    WHOLE,
    Regions,
    grey,
    regions_of_colors,
    regions_of_masks,
    resize_keep,
    with_keep,
)
from jaxstyle.images.stored import PictureStore
from jaxstyle.judging.network import read_judge
from jaxstyle.machine.memory import check_fits, memory_left, on_cpu_surely
from jaxstyle.network.layers import resolve_taps, smallest_side
from jaxstyle.runs import record
from jaxstyle.runs.notices import size_notices
from jaxstyle.runs.request import (
    OPAQUE_SUFFIXES,
    Request,
    check_encodable,
    check_numbered,
    pictures_at,
    style_files,
)
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import change, preset
from jaxstyle.settings.recipe import INITS, Recipe, for_several_devices
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.pretrained import EMBEDDED, WeightFile, find_weights
from jaxstyle.weights.weight_file import read_weights


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
    content: Picture
    styles: tuple[Picture, ...]
    init: Picture | str
    weight_file: WeightFile
    params: LayerArrays
    facts: record.Record
    """Base names and sha256 of the files: content, style, weights, masks, and init if it is one."""
    regions: Regions = WHOLE
    alpha: NDArray[np.uint8] | None = None
    """How opaque the result is, (H, W) at the photo's size; None: all of it."""
    how: Print = PLAIN
    """How the result is written."""
    judge: LayerArrays | None = None
    """The parameters of the judge's network, where a single run's result is to be judged."""


def read_settings(arguments: Request, *, say: Say) -> Settings:
    """Returns the settings, later ones winning: preset or `--from`, then flags.

    Raises:
      InputError: a preset, setting or picture that cannot be used.
    """
    name, earlier = arguments.preset if arguments.preset is not None else "default", None
    recipe, hyper = preset(name)
    others: dict[str, Any] = {}
    if arguments.from_picture is not None:
        earlier = record.read(arguments.from_picture)
        old_recipe, old_hyper, others, unknown = record.restore(earlier)
        for setting in unknown:
            say(f"warning: {arguments.from_picture} has a setting {setting!r}, which is ignored")
        if arguments.preset is None:
            recipe, hyper, name = old_recipe, old_hyper, others.get("preset", name)
    recipe, hyper = change(recipe, hyper, **arguments.settings)
    hyper = _with_style_weights(hyper, arguments)
    init = arguments.init if arguments.init is not None else others.get("init", "content")
    begun_from_file = earlier is not None and "init" in earlier
    if arguments.init is None and (begun_from_file or init not in INITS):
        raise InputError(
            f"{arguments.from_picture} was begun from the picture {init}: name it with --init"
        )
    given = {*masks_of(arguments), *(["alpha"] if arguments.alpha == "keep" else [])}
    for name in (name for name in record.MASKS if earlier is not None and name in earlier):
        if name not in given:
            flag = "mask" if name == "masks" else name
            raise InputError(f"{arguments.from_picture} was painted with --{flag}: give it again")
    if arguments.init is not None and init not in INITS and "scales" not in arguments.settings:
        recipe = dataclasses.replace(recipe, scales=(1.0,))  # it goes on, in full
    seed = arguments.seed if arguments.seed is not None else others.get("seed", 0)
    return Settings(recipe, hyper, name, init, seed, _weights(arguments, earlier), earlier)


def _with_style_weights(hyper: Hyperparams, arguments: Request) -> Hyperparams:
    """Returns the hyperparameters with a style weight for each picture: a folder's is shared.

    Raises:
      InputError: there are neither as many weights as paths nor as pictures.
    """
    weights, counts = hyper.style_weights, [len(pictures_at(p)) for p in arguments.styles]
    if not weights or len(weights) == sum(counts):
        return hyper
    if len(weights) != len(counts):
        raise InputError(f"--style-weights are {len(weights)} numbers for {len(counts)} styles")
    shared = (w / n for w, n in zip(weights, counts, strict=True) for _ in range(n))
    return dataclasses.replace(hyper, style_weights=tuple(shared))


def _weights(arguments: Request, earlier: record.Record | None) -> str:
    """The flag; else what a record asks for that needs no network; else auto."""
    if arguments.weights is not None:
        return arguments.weights
    was_embedded = earlier is not None and (
        earlier["weights"].get("name") == EMBEDDED or record.was_embedded_before(earlier)
    )
    return "embedded" if was_embedded else "auto"


def steps_of(inputs: Inputs) -> int:
    """Returns how many steps the run takes in all."""
    return total_steps(inputs.settings.recipe, inputs.content)


def read_inputs(arguments: Request, output: Path, *, say: Say, stream: TextIO | None) -> Inputs:
    """Reads everything that the command line names.

    Args:
      arguments: with the paths checked already.
      output: where the result will go.
      say: is given a line before anything that takes long, and warnings.
      stream: where a download's progress goes; None shows none.

    Raises:
      InputError: a file or setting that cannot be used.
      OSError: a download failed.
    """
    settings, reader = read_settings(arguments, say=say), Reader()
    if arguments.devices.several:
        for_several_devices(settings.recipe)  # only to refuse now what these do not do
    content, styles = reader.picture(arguments.content), reader.styles(arguments)
    check_numbered(arguments, output, steps=total_steps(settings.recipe, content))
    check_sizes(
        *(content, styles, settings.recipe, output),
        device=arguments.device,
        processes=arguments.devices.processes,
    )
    reader.regions(arguments, say=say)  # only to refuse it before a download
    if reader.alpha(arguments) is not None and output.suffix.lower() in OPAQUE_SUFFIXES:
        raise InputError(f"a {output.suffix} file cannot be transparent: choose .png or .webp")
    how = _print_of(arguments, output)
    if stream is not None:
        for line in size_notices(content, styles, settings.recipe, asked=arguments.settings):
            say(line)
    reader.init(settings)  # only to refuse it before a download
    network = read_network(settings.weights, say=say, stream=stream)
    check_has_layers(settings.recipe, network)
    inputs = reader.inputs(arguments, settings, network)._replace(how=how)
    if settings.earlier is not None:
        for line in record.differences(settings.earlier, network.facts["sha256"]):
            say(line)
    if not arguments.judge or arguments.plan:
        return inputs
    return inputs._replace(judge=read_judge({"content": [content], "style": list(styles)}, say=say))


def _print_of(arguments: Request, output: Path) -> Print:
    """Returns how the result is written; raises InputError if it cannot be."""
    check_kind(output.suffix.lower(), bits=arguments.bits, dpi=arguments.dpi)
    profile = None if arguments.profile is None else read_profile(arguments.profile)
    return Print(bits=arguments.bits, profile=profile, dpi=arguments.dpi)


def masks_of(arguments: Request) -> dict[str, tuple[Path, ...]]:
    """Returns the masks of a request by what they are for, if there are any."""
    keep = () if arguments.keep is None else (arguments.keep,)
    found = {"regions": arguments.regions, "masks": arguments.masks, "keep": keep}
    return {name: paths for name, paths in found.items() if paths}


class Network(NamedTuple):
    """The network's weights, as they were read."""

    file: WeightFile
    params: LayerArrays
    facts: record.Record
    """Name and sha256. Taken now: the file may be gone or changed when the picture is saved."""


def read_network(weights: str, *, say: Say, stream: TextIO | None) -> Network:
    """Finds the weights that a setting names and reads them.

    Raises:
      InputError: a file that cannot be used.
      OSError: a download failed.
    """
    file = find_weights(weights, say=say, stream=stream)
    facts = {"name": file.name, "sha256": files.sha256(file.path)}
    return Network(file, read_weights(file.path), facts)


def check_has_layers(recipe: Recipe, network: Network) -> None:
    """Raises InputError if the weights lack a layer."""
    for layers in (recipe.content_layers, recipe.style_layers):
        resolve_taps(layers, sorted(network.params))


class Reader:
    """Reads the files of one run or of many, each once."""

    def __init__(self, *, keeps_files: bool = False) -> None:
        """Takes whether pictures stay in their files, see `images.stored`."""
        self._store = PictureStore() if keeps_files else None
        self.picture = functools.cache(self._picture)
        self._facts = functools.cache(record.file_facts)
        self._regions: dict[Any, Regions] = {}
        self._alpha = functools.cache(picture_file.load_alpha)

    def _picture(self, path: Path) -> Picture:
        if self._store is None:
            return picture_file.load_picture(path)
        try:
            sha256 = self._facts(path)["sha256"]
        except OSError:
            return picture_file.load_picture(path)  # which says what is wrong
        return self._store.open(path, sha256)

    def styles(self, arguments: Request) -> tuple[Picture, ...]:
        """Returns all style pictures of a run."""
        return tuple(map(self.picture, style_files(arguments)))

    def _style_facts(self, arguments: Request) -> record.Record:
        """Returns the facts of the style, of several as if they were one, and of each of them."""
        several = list(map(self._facts, style_files(arguments)))
        return several[0] if len(several) == 1 else record.facts_of_several(several)

    def init(self, settings: Settings) -> Picture | str:
        """Returns what the canvas is at first: a word, or a picture."""
        return settings.init if settings.init in INITS else self.picture(Path(settings.init))

    def inputs(self, arguments: Request, settings: Settings, network: Network) -> Inputs:
        """Returns all that a run works on, with the facts of the files as they are now.

        Raises:
          InputError: a picture that cannot be used.
        """
        facts: record.Record = {
            "content": self._facts(arguments.content),
            "style": self._style_facts(arguments),
            "weights": network.facts,
        }
        if settings.init not in INITS:
            facts["init"] = self._facts(Path(settings.init))
        for name, paths in masks_of(arguments).items():
            facts[name] = record.facts_of_several([self._facts(path) for path in paths])
        pictures = self.picture(arguments.content), self.styles(arguments)
        regions = self.regions(arguments, say=silent)
        init = self.init(settings)
        alpha = self.alpha(arguments)
        if alpha is not None:
            facts["alpha"] = {"name": "keep", "sha256": facts["content"]["sha256"]}
        return Inputs(
            *(settings, *pictures, init, network.file, network.params, facts),
            regions=regions,
            alpha=alpha,
        )

    def regions(self, arguments: Request, *, say: Say) -> Regions:
        """Returns the regions that a request's masks say; `say` is told once what is not used.

        Equal masks have one object, by which sweeps share.

        Raises:
          InputError: masks that cannot be used.
        """
        masks = arguments.regions, arguments.masks, arguments.keep
        photo = arguments.content if arguments.alpha == "keep" else None
        key = *masks, tuple(style_files(arguments)), photo
        if not any(masks) and photo is None:
            return WHOLE
        if key not in self._regions:
            self._regions[key] = self._read_regions(arguments, say)
        return self._regions[key]

    def _read_regions(self, arguments: Request, say: Say) -> Regions:
        styles, found = style_files(arguments), WHOLE
        if arguments.regions:
            paths = arguments.regions
            if len(paths) != 1 + len(styles):
                raise InputError(
                    f"--regions are {len(paths)} masks: give the photo's, then one for each of"
                    f" {len(styles)} style pictures"
                )
            photo, *others = map(self._mask, paths)
            found, unused = regions_of_colors(photo, others, names=[str(path) for path in paths])
            for line in unused:
                say(line)
        if arguments.masks:
            masks = [self._mask(path) for path in arguments.masks]
            found = regions_of_masks(masks, [self.picture(path) for path in styles])
        keep, alpha = None, self.alpha(arguments)
        if arguments.keep is not None:
            keep = grey(self._mask(arguments.keep)) >= 0.5
        if alpha is not None:
            keep = (alpha < 128) if keep is None else (alpha < 128) | resize_keep(keep, alpha.shape)
        return found if keep is None or not keep.any() else with_keep(found, keep)

    def _mask(self, path: Path) -> Picture:
        return np.asarray(self.picture(path))

    def alpha(self, arguments: Request) -> NDArray[np.uint8] | None:
        """Returns how opaque the photo is, if the result is to be so, and if it is not all."""
        return self._alpha(arguments.content) if arguments.alpha == "keep" else None


def check_sizes(
    content: Picture,
    styles: Sequence[Picture],
    recipe: Recipe,
    output: Path,
    *,
    device: str | None,
    processes: int | None = 1,
) -> None:
    """Raises InputError, before weights are downloaded, for sizes that cannot be painted.

    Memory is checked here only for a CPU and a known number of processes. jax alone knows the
    memory of a GPU or TPU; for single runs `job.fitting_levels` checks every device's later.
    """
    least = smallest_side(recipe.content_layers + recipe.style_layers)
    canvas, paintings = sizes_of(content, styles, recipe)
    check_encodable(canvas, output)
    check_all_sizes(canvas, paintings, least)
    if on_cpu_surely(device) and processes is not None:
        sides = canvas, largest_style(paintings)
        check_fits(*sides, recipe=recipe, memory=memory_left()._replace(parts=processes))


def run_record(inputs: Inputs, versions: dict[str, str] | None = None) -> record.Record:
    """Returns all that is known of a run before it begins: settings, files, versions.

    `versions` are those of `record.versions`, for whom they take too long to find again.
    """
    settings = inputs.settings
    others = {"preset": settings.preset, "init": settings.init, "seed": settings.seed}
    if not isinstance(inputs.init, str):
        others["init"] = Path(settings.init).name
    return {
        **inputs.facts,
        "versions": versions or record.versions(),
        "settings": record.settings(settings.recipe, settings.hyper, **others),
    }
