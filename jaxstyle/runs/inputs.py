"""All that a run reads before jax is imported: settings, pictures, weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from jaxstyle import files
from jaxstyle.errors import InputError, Say
from jaxstyle.images.canvas import (
    Picture,
    check_all_sizes,
    largest_style,
    sizes_of,
    total_steps,
)
from jaxstyle.images.print_file import Print, check_kind, read_profile
from jaxstyle.images.regions import check_regions
from jaxstyle.judging.network import read_judge
from jaxstyle.machine.memory import check_fits, memory_left, on_cpu_surely
from jaxstyle.network.layers import resolve_taps, smallest_side
from jaxstyle.runs import record
from jaxstyle.runs.output_name import LONGEST_SIDES, OPAQUE_SUFFIXES, check_encodable
from jaxstyle.runs.reader import Inputs, Network, Reader, Settings, masks_of
from jaxstyle.runs.request import (
    Request,
    check_numbered,
    listed_pictures,
)
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS, change, preset
from jaxstyle.settings.recipe import INITS, Recipe, for_several_devices
from jaxstyle.weights.pretrained import EMBEDDED, find_weights
from jaxstyle.weights.weight_file import read_weights


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
    before, (recipe, hyper) = (recipe, hyper), change(recipe, hyper, **arguments.settings)
    chosen = _chosen(before, (recipe, hyper), arguments)
    hyper = _with_style_weights(hyper, arguments)
    init = arguments.init if arguments.init is not None else others.get("init")
    if init is None:
        init = PRESETS[name].init if name in PRESETS else "content"
    begun_from_file = earlier is not None and "init" in earlier
    if arguments.init is None and (begun_from_file or init not in INITS):
        raise InputError(
            f"{arguments.from_picture} was begun from the picture {init}: name it with --init"
        )
    given = {*masks_of(arguments), *(["alpha"] if arguments.alpha == "keep" else [])}
    given |= set() if arguments.proof is None else {"proof"}
    for role in record.GIVEN_AGAIN:
        if earlier is not None and role in earlier and role not in given:
            flag = "mask" if role == "masks" else role
            raise InputError(f"{arguments.from_picture} was painted with --{flag}: give it again")
    if arguments.init is not None and init not in INITS and "scales" not in arguments.settings:
        chosen += [("scales", (1.0,))] if recipe.scales != (1.0,) else []
        recipe = dataclasses.replace(recipe, scales=(1.0,))  # it goes on, in full
    seed = arguments.seed if arguments.seed is not None else others.get("seed", 0)
    return Settings(recipe, hyper, name, init, seed, _weights(arguments, earlier), earlier, chosen)


def _chosen(
    before: tuple[Recipe, Hyperparams], after: tuple[Recipe, Hyperparams], arguments: Request
) -> list[tuple[str, Any]]:
    """Returns the settings, with their values, that were changed without having been given."""
    old, new = ({**vars(recipe), **vars(hyper)} for recipe, hyper in (before, after))
    return [
        (name, value)
        for name, value in new.items()
        if value != old[name] and name not in arguments.settings
    ]


def _with_style_weights(hyper: Hyperparams, arguments: Request) -> Hyperparams:
    """Returns the hyperparameters with a style weight for each picture: a folder's is shared.

    Raises:
      InputError: there are neither as many weights as paths nor as pictures.
    """
    weights = hyper.style_weights
    counts = [len(listed_pictures(arguments, path)) for path in arguments.styles]
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
    check_regions(reader.regions(arguments, say=say), settings.recipe)  # before a download
    if reader.alpha(arguments) is not None and output.suffix.lower() in OPAQUE_SUFFIXES:
        ways = ", ".join(each for each in LONGEST_SIDES if each not in OPAQUE_SUFFIXES)
        raise InputError(f"a {output.suffix} file cannot be transparent: choose {ways}")
    how = print_of(arguments, output)
    if arguments.proof is not None:
        reader.proof(arguments.proof)  # only to refuse it before a download
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


def print_of(arguments: Request, output: Path) -> Print:
    """Returns how the result is written; raises InputError if it cannot be."""
    check_kind(output.suffix.lower(), bits=arguments.bits, dpi=arguments.dpi)
    profile = None if arguments.profile is None else read_profile(arguments.profile)
    return Print(bits=arguments.bits, profile=profile, dpi=arguments.dpi)


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
    found = record.settings(settings.recipe, settings.hyper, **others)
    notices = list(inputs.notices)
    if settings.earlier is not None and record.as_json(found) == settings.earlier["settings"]:
        notices = settings.earlier.get("notices", [])  # it repeats what was asked for there
    return {
        **inputs.facts,
        **({"notices": notices} if notices else {}),
        "versions": versions or record.versions(),
        "settings": found,
    }
