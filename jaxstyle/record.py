"""What a run was, as one JSON text: settings, inputs, weights, versions, final losses.

It travels in the picture, so that `--from` can start from it. Nothing in it differs between two
equal runs: no times, no folders.
"""

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxstyle import __version__, files, images
from jaxstyle.errors import InputError
from jaxstyle.presets import change, preset
from jaxstyle.recipe import Hyperparams, Recipe, field_names

KEYWORD = "jaxstyle"
"""Of the PNG text that holds the record."""

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
OTHER_SETTINGS = ("preset", "init", "seed")

Record = dict[str, Any]


def settings(recipe: Recipe, hyper: Hyperparams, **others: Any) -> Record:
    """Returns every setting by name; `others` are those of `OTHER_SETTINGS`."""
    return {**others, **dataclasses.asdict(recipe), **dataclasses.asdict(hyper)}


def versions() -> dict[str, str]:
    """Returns the installed version of every package that has a say in the numbers."""
    return {"jaxstyle": __version__} | {name: metadata.version(name) for name in PACKAGES}


def file_facts(path: Path) -> dict[str, str]:
    """Returns a file's base name and sha256."""
    return {"name": path.name, "sha256": files.sha256(path)}


def to_text(record: Record) -> dict[str, str]:
    """Returns the PNG texts of a record."""
    return {
        "Software": f"jaxstyle {record['versions']['jaxstyle']}",
        KEYWORD: json.dumps(record, sort_keys=True, ensure_ascii=False),
    }


def read(path: Path) -> Record:
    """Returns the record in a picture.

    Raises:
      InputError: no such file, not a picture, or one without a readable record.
    """
    text = images.read_text(path).get(KEYWORD)
    if text is None:
        raise InputError(f"{path} carries no settings: only PNG files that jaxstyle wrote do")
    try:
        record = json.loads(text)
        known = isinstance(record, dict) and isinstance(record["settings"], dict)
    except (ValueError, KeyError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{path}: its settings cannot be read; the file was changed")
    return dict(record)


def restore(record: Record) -> tuple[Recipe, Hyperparams, dict[str, Any], list[str]]:
    """Returns a record's settings, ready for use.

    Returns:
      The recipe, the hyperparameters, the `OTHER_SETTINGS` that it has, and the names of settings
      that this version does not know.

    Raises:
      InputError: a value that is out of its range or of the wrong kind.
    """
    stored = {name: _tuples(value) for name, value in record["settings"].items()}
    known = field_names(Recipe) + field_names(Hyperparams)
    changes = {name: stored[name] for name in known if name in stored}
    recipe, hyper = preset("default")
    # every field is given explicitly, so that none is chosen as a consequence of another
    full = {**dataclasses.asdict(recipe), **dataclasses.asdict(hyper), **changes}
    try:
        recipe, hyper = change(recipe, hyper, **full)
    except (TypeError, AttributeError) as error:
        raise InputError(f"the settings in this picture cannot be used: {error}") from None
    others = {name: stored[name] for name in OTHER_SETTINGS if name in stored}
    return recipe, hyper, others, sorted(stored.keys() - set(known) - set(OTHER_SETTINGS))


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def differences(record: Record, weights_sha256: str) -> list[str]:
    """Returns a line for each thing that will keep a run from repeating this record exactly."""
    lines = []
    weights, packages = record.get("weights", {}), record.get("versions", {})
    if weights.get("sha256") != weights_sha256:
        name, start = weights.get("name"), str(weights.get("sha256"))[:12]
        lines.append(
            f"that picture was made with other weights: {name}, sha256 {start}..., not"
            f" {weights_sha256[:12]}..."
        )
    if packages.get("jax") != metadata.version("jax"):
        lines.append(
            f"that picture was made with jax {packages.get('jax')}, this is"
            f" {metadata.version('jax')}"
        )
    return lines
