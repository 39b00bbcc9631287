"""What a run was, as one JSON text: settings, inputs, weights, versions, final losses.

It travels in the picture, so that `--from` can start from it. Nothing in it differs between two
equal runs: no times, no folders.
"""

import contextlib
import dataclasses
import hashlib
import json
import reprlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxstyle import __version__, files
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.settings.fields import field_names, later_defaults
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import change, preset
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.text import as_text

KEYWORD = "jaxstyle"
"""Keyword of the PNG text that holds the record."""

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
COMPILED = "jaxstyle-cpu"
"""Where it is installed CPUs round otherwise, see `network.native`."""

OTHER_SETTINGS = ("preset", "init", "seed")

EMBEDDED_BEFORE = "vgg16-hed"
EMBEDDED_BEFORE_SHA256 = "c15b920096dc518032303380e564bf0de16cc2a809a2d4b26b26cad0b4db14fe"
"""Name and sha256 of the VGG-16 that the package embedded before Oxford's VGG-19."""

MASKS = ("regions", "masks", "keep", "alpha")
"""Masks, of which a record has the facts if there are any."""

GIVEN_AGAIN = (*MASKS, "proof")
"""Files that a run which repeats another needs again: a record has their facts, if any."""

_OTHER_FILES = {
    "weights": "other weights",
    **dict.fromkeys(MASKS, "other masks"),
    "proof": "another proof",
}

Record = dict[str, Any]


def settings(recipe: Recipe, hyper: Hyperparams, **others: Any) -> Record:
    """Returns every setting by name; `others` are those of `OTHER_SETTINGS`.

    A field that came later, see `fields.came_later`, is left out while it has its default, so that
    records and fingerprints stay those written before there was such a field.
    """
    found = {**others, **dataclasses.asdict(recipe), **dataclasses.asdict(hyper)}
    for name, default in later_defaults(Recipe, Hyperparams).items():
        if found[name] == default:
            del found[name]
    return found


def versions() -> dict[str, str]:
    """Returns the installed version of every package on which results depend."""
    found = {"jaxstyle": __version__} | {name: metadata.version(name) for name in PACKAGES}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found[COMPILED] = metadata.version(COMPILED)
    return found


def file_facts(path: Path) -> dict[str, str]:
    """Returns a file's base name and sha256."""
    return {"name": path.name, "sha256": files.sha256(path)}


def facts_of_several(several: Sequence[dict[str, str]]) -> Record:
    """Returns the facts of several files in their order: joint name and sha256, and each's own."""
    joint = hashlib.sha256("".join(each["sha256"] for each in several).encode()).hexdigest()
    name = " + ".join(each["name"] for each in several)
    return {"name": name, "sha256": joint, "files": list(several)}


def _decisive(record: Record) -> dict[str, Record]:
    """Returns all in a record that decides the picture, as JSON has it."""
    inputs = ("content", "style", "weights", "init", *GIVEN_AGAIN)
    decisive = {
        "settings": {key: v for key, v in record["settings"].items() if key != "preset"},
        "versions": record["versions"],
        "inputs": {key: record[key]["sha256"] for key in inputs if key in record},
    }
    if "init" in record:
        decisive["settings"].pop("init")
    return as_json(decisive)


def as_json(record: Record) -> Record:
    """Returns a record as it is read again: JSON has lists alone."""
    found: Record = json.loads(json.dumps(record))
    return found


def fingerprint(record: Record) -> str:
    """Returns the sha256 of all in a record that decides the picture.

    Two runs of one fingerprint give the same picture on the same kind of device; names of files
    and of the preset do not matter, what is in them does.

    Args:
      record: with settings, versions, and the facts of content, style, weights and, if it is a
        picture, init.
    """
    text = json.dumps(_decisive(record), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def changes(then: Record, now: Record) -> list[str]:
    """Returns a few words for each thing in which the fingerprints of two records differ."""
    old, new = _decisive(then), _decisive(now)
    lines = []
    for kind in ("inputs", "settings", "versions"):
        for name in sorted(old[kind].keys() | new[kind].keys()):
            before, after = old[kind].get(name), new[kind].get(name)
            if before == after:
                continue
            if kind == "inputs":
                lines.append(_OTHER_FILES.get(name, f"another {name} picture"))
            else:
                lines.append(f"{name.replace('_', '-')} {_said(before)} then, {_said(after)} now")
    return lines


def _said(value: Any) -> str:
    return as_text(tuple(value)) if isinstance(value, list) else as_text(value)


def to_text(record: Record) -> dict[str, str]:
    """Returns the PNG texts of a record."""
    return {
        "Software": f"jaxstyle {record['versions']['jaxstyle']}",
        # in ASCII: a file's name need not be Unicode
        KEYWORD: json.dumps(record, sort_keys=True),
    }


def read(path: Path) -> Record:
    """Returns the record in a picture; its settings are not checked yet, see `restore`.

    Raises:
      InputError: no such file, not a picture, or one without a readable record.
    """
    text = picture_file.read_text(path).get(KEYWORD)
    if text is None:
        raise InputError(f"{path} carries no settings: only our PNG and TIFF files do")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not all(
        isinstance(record.get(name), dict) for name in ("settings", "weights", "versions")
    ):
        raise InputError(
            f"{path}: its settings cannot be read, as the file was changed: leave --from out"
        )
    return record


def restore(record: Record) -> tuple[Recipe, Hyperparams, dict[str, Any], list[str]]:
    """Returns a record's settings, ready for use.

    A setting that the record lacks was added later, or was left out, see `settings`. It gets the
    default of its field, which must mean that all is done as before. A field without a default gets
    the value of preset "default".

    Returns:
      The recipe, the hyperparameters, the `OTHER_SETTINGS` that it has, and the names of settings
      that this version does not know.

    Raises:
      InputError: a value that is out of its range or of the wrong kind.
    """
    stored = record["settings"]
    known = field_names(Recipe) + field_names(Hyperparams)
    changes = {name: stored[name] for name in known if name in stored}
    recipe, hyper = preset("default")
    # every field is given explicitly, so that none is chosen as a consequence of another
    full = {**dataclasses.asdict(recipe), **dataclasses.asdict(hyper), **own_defaults(), **changes}
    try:
        recipe, hyper = change(recipe, hyper, **full)
    except InputError as error:
        raise InputError(f"the settings in that picture cannot be used: {error}") from None
    others = {name: stored[name] for name in OTHER_SETTINGS if name in stored}
    _check_others(others)
    return recipe, hyper, others, sorted(stored.keys() - set(known) - set(OTHER_SETTINGS))


def own_defaults() -> dict[str, Any]:
    """Returns by setting the default of its field, where it has one."""
    fields = dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams)
    return {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}


def _check_others(others: dict[str, Any]) -> None:
    for name, value in others.items():
        if name == "seed":
            good = type(value) is int and 0 <= value < 2**32
        else:
            good = isinstance(value, str)
        if not good:
            given = reprlib.repr(value)
            raise InputError(f"the {name} in that picture cannot be used: {given}")


def was_embedded_before(record: Record) -> bool:
    """Returns whether a record's weights are those that were embedded before today's."""
    weights = record["weights"]
    known = {"name": EMBEDDED_BEFORE, "sha256": EMBEDDED_BEFORE_SHA256}
    return any(weights.get(key) == value for key, value in known.items())


def differences(record: Record, weights_sha256: str) -> list[str]:
    """Returns a line for each thing that will keep a run from repeating this record exactly."""
    lines = []
    weights, then, own = record["weights"], record["versions"], versions()
    if weights.get("sha256") != weights_sha256:
        name, start = (str(weights.get(key)) for key in ("name", "sha256"))
        said = f"{name[:80]}, sha256 {start[:12]}..., not {weights_sha256[:12]}..."
        if was_embedded_before(record):
            said += (
                "; those were the VGG-16 that jaxstyle embedded before and no longer brings, so the"
                " settings are the same, and the picture will be another"
            )
        lines.append(f"that picture was made with other weights: {said}")
    if then.get("jax") != own["jax"]:
        lines.append(
            f"that picture was made with jax {str(then.get('jax'))[:20]}, this is {own['jax']}"
        )
    if then.get(COMPILED) != own.get(COMPILED):
        lines.append(
            f"that picture was made where {_compiled_in(then)} was installed,"
            f" here {_compiled_in(own)} is"
        )
    return lines


def _compiled_in(versions: dict[str, Any]) -> str:
    version = versions.get(COMPILED)
    return f"no {COMPILED}" if version is None else f"{COMPILED} {str(version)[:20]}"
