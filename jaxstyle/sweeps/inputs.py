"""All that a sweep reads before jax is imported, each file once, and what is done already."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from jaxstyle import files
from jaxstyle.errors import InputError, Say, silent
from jaxstyle.images.picture_file import PLAIN
from jaxstyle.images.print_file import Print
from jaxstyle.images.regions import check_regions
from jaxstyle.judging.network import read_judge
from jaxstyle.runs import record
from jaxstyle.runs.checkpoint import Resumption, find_resumption
from jaxstyle.runs.inputs import (
    check_has_layers,
    check_sizes,
    print_of,
    read_network,
    read_settings,
    run_record,
)
from jaxstyle.runs.reader import Inputs, Network, Reader, Settings
from jaxstyle.runs.request import (
    CheckpointRequest,
    Request,
    SweepRequest,
    check_inputs,
    goes_on,
    inputs_of,
)
from jaxstyle.settings.recipe import uses_seed
from jaxstyle.sweeps.folder import (
    SUMMARIES,
    Entry,
    check_curves,
    check_folder,
    own_output,
    picture_path,
    read_entry,
    record_path,
)
from jaxstyle.sweeps.grid import Run, expand, place_of, share
from jaxstyle.weights.activations import LayerArrays

WAY_OUT = "to begin this run anew, remove it; to begin all of them anew, add --force"

MOST_NOTICES = 8
"""So many of a sweep's notices are said."""

RESUME = CheckpointRequest(resume=True)


class Planned(NamedTuple):
    """One run of a sweep with all that it works on."""

    run: Run
    inputs: Inputs
    fingerprint: str
    resumption: Resumption | None = None
    """The checkpoint of the run, if it was interrupted, to go on from."""


class Sweep(NamedTuple):
    """A sweep that can begin."""

    flags: SweepRequest
    folder: Path
    force: bool
    runs: list[Planned]
    """All of the grid, not only this process's share."""
    judge: LayerArrays | None
    """The parameters of the judge's network, if the results are to be judged."""


def read_sweep(arguments: Request, *, say: Say, stream: TextIO | None) -> Sweep:
    """Reads and checks everything that a sweep will need; writes nothing.

    Args:
      arguments: with `sweep` given.
      say: is given a line before anything that takes long, and warnings.
      stream: where a download's progress goes; None shows none.

    Raises:
      InputError: anything that cannot be used.
      OSError: a download failed.
    """
    flags, folder = arguments.sweep, arguments.output
    if flags is None or folder is None:
        raise InputError("a sweep needs a folder for its pictures: give -o DIR")
    check_folder(folder, force=arguments.force)
    if arguments.log is not None:
        files.check_suffix("the log", arguments.log, [".csv"])
    runs = expand(arguments, flags)
    names = [run.name for run in runs]
    check_curves(folder, arguments.plot, names, force=arguments.force)
    for run in runs[:1]:
        check_inputs(run.arguments)
    how = print_of(arguments, picture_path(folder, names[0]))
    settings = _read_settings(runs, say)
    reader = Reader(keeps_files=True)  # as many as they may be
    _check_sizes(runs, settings, reader)
    network = read_network(settings[0].weights, say=say, stream=stream)
    _check_layers(runs, settings, network)
    planned = _plan(runs, settings, reader, network, how)
    _check_is_no_input(folder, runs, arguments.plot)
    if not arguments.force:
        _check_free(folder, planned)
    judge = _read_judge(planned, say) if arguments.judge else None
    _warn(runs, settings, say)
    if stream is not None:
        _say_notices(planned, say)
    sweep = Sweep(flags, folder, arguments.force, planned, judge)
    if arguments.force or arguments.devices.distributed is not None:
        return sweep
    return sweep._replace(runs=_with_resumptions(sweep, say))


def _with_resumptions(sweep: Sweep, say: Say) -> list[Planned]:
    """Returns all runs, those of this share that were interrupted with their checkpoints.

    Raises:
      InputError: a checkpoint is another run's, or cannot be used.
    """
    found, mine = [], {each.run.number for each in share(sweep.runs, sweep.flags.shard)}
    for each in sweep.runs:
        output, resumption = own_output(sweep.folder, each.run.name), None
        asked = dataclasses.replace(each.run.arguments, log=None, checkpoints=RESUME)
        if each.run.number in mine and goes_on(asked, output) and not is_done(sweep, each):
            resumption = find_resumption(asked, output, each.inputs, say=say, way_out=WAY_OUT)
        found.append(each._replace(resumption=resumption))
    return found


def _entry_there(sweep: Sweep, planned: Planned) -> Entry | None:
    """Returns the record of a run that is in the folder as it is to be, and to be written."""
    entry = read_entry(sweep.folder, planned.run.name)
    if entry is None or entry["fingerprint"] != planned.fingerprint:
        return None
    return entry if entry.get("print", PLAIN.facts()) == planned.inputs.how.facts() else None


def is_done(sweep: Sweep, planned: Planned) -> bool:
    """Returns whether a run is in the folder already, as it is to be and as it is to be written."""
    return _entry_there(sweep, planned) is not None


def are_done(sweep: Sweep, runs: Sequence[Planned]) -> list[bool]:
    """Returns which runs `run_sweep` leaves as they are."""
    return [not sweep.force and is_done(sweep, each) for each in runs]


def states(sweep: Sweep, runs: Sequence[Planned]) -> dict[str, str]:
    """Returns by name how runs ended that are left as they are; of the others "waiting"."""
    found = {}
    for each in runs:
        entry = None if sweep.force else _entry_there(sweep, each)
        ended = entry is not None and ("diverged" if entry["failure"] else "finished")
        found[each.run.name] = ended or "waiting"
    return found


def _read_settings(runs: Sequence[Run], say: Say) -> list[Settings]:
    if runs[0].arguments.from_picture is None:
        return [read_settings(run.arguments, say=say) for run in runs]
    found = [read_settings(runs[0].arguments, say=say)]
    return found + [read_settings(run.arguments, say=silent) for run in runs[1:]]


def _check_sizes(runs: Sequence[Run], settings: Sequence[Settings], reader: Reader) -> None:
    """Raises InputError for pictures too small for a run, or regions that it cannot have."""
    seen = set()
    for run, each in zip(runs, settings, strict=True):
        arguments = run.arguments
        what = (arguments.content, arguments.styles, each.recipe)
        if what in seen:
            continue
        seen.add(what)
        content, styles = reader.picture(arguments.content), reader.styles(arguments)
        try:
            path = picture_path(Path(), run.name)
            check_sizes(content, styles, each.recipe, path, device=arguments.device)
            check_regions(reader.regions(arguments, say=silent), each.recipe)
        except InputError as error:
            raise InputError(f"{place_of(run.number, len(runs), run.labels)}: {error}") from None


def _check_layers(runs: Sequence[Run], settings: Sequence[Settings], network: Network) -> None:
    for run, each in zip(runs, settings, strict=True):
        try:
            check_has_layers(each.recipe, network)
        except InputError as error:
            raise InputError(f"{place_of(run.number, len(runs), run.labels)}: {error}") from None


def _plan(
    runs: Sequence[Run],
    settings: Sequence[Settings],
    reader: Reader,
    network: Network,
    how: Print,
) -> list[Planned]:
    versions, found = record.versions(), []
    for run, each in zip(runs, settings, strict=True):
        inputs = reader.inputs(run.arguments, each, network)._replace(how=how)
        whole = run_record(inputs, versions)
        found.append(Planned(run, inputs, record.fingerprint(whole)))
    return found


def _read_judge(planned: Sequence[Planned], say: Say) -> LayerArrays:
    inputs = [each.inputs for each in planned]
    pictures = {
        "content": list({id(each.content): each.content for each in inputs}.values()),
        "style": list({id(s): s for each in inputs for s in each.styles}.values()),
    }
    return read_judge(pictures, say=say)


def _check_is_no_input(folder: Path, runs: Sequence[Run], plot: Path | None) -> None:
    """Raises InputError if a file of the sweep would replace a picture that it is made from."""
    written = {picture_path(folder, run.name).resolve() for run in runs}
    written |= {(folder / name).resolve() for name in SUMMARIES}
    if plot is not None:
        written.add((folder / plot).resolve())
    for path in {path for run in runs for path in inputs_of(run.arguments)}:
        if path.resolve() in written:
            raise InputError(f"{path} would be both read and written: choose another folder")


def _check_free(folder: Path, planned: Sequence[Planned]) -> None:
    """Raises InputError if something else than a run's own picture has its name."""
    for each in planned:
        path = picture_path(folder, each.run.name)
        if os.path.lexists(path) and _fingerprint_at(folder, each.run.name) != each.fingerprint:
            raise InputError(
                f"{path} was changed, or made with other settings, pictures, weights or versions:"
                " choose another folder, or --force to paint it anew"
            )


def _fingerprint_at(folder: Path, name: str) -> str | None:
    """Returns that of a run's record; if it has none yet, of what the picture itself says."""
    if record_path(folder, name).exists():
        entry = read_entry(folder, name)
        return None if entry is None else str(entry["fingerprint"])
    try:
        return record.fingerprint(record.read(picture_path(folder, name)))
    except (InputError, KeyError, TypeError):
        return None


def _warn(runs: Sequence[Run], settings: Sequence[Settings], say: Say) -> None:
    """Mentions values that are swept without a consequence."""
    swept = runs[0].labels.keys()
    if "seed" in swept and not any(uses_seed(each.recipe, each.init) for each in settings):
        say("warning: the seed changes nothing without --init noise")
    decays = swept & {"decay-every", "decay-rate"}
    schedules = sorted({each.recipe.schedule for each in settings})
    if decays and "step" not in schedules:
        say(f"warning: {min(decays)} changes nothing with --schedule {' or '.join(schedules)}")


def _say_notices(planned: Sequence[Planned], say: Say) -> None:
    """Says each notice of the runs once, without those that `_warn` has, and the first few."""
    lines = {
        line: None
        for each in planned
        for line in each.inputs.notices
        if not line.startswith(("--seed", "--decay"))
    }
    for line in list(lines)[:MOST_NOTICES]:
        say(line)
    if len(lines) > MOST_NOTICES:
        say(f"and {len(lines) - MOST_NOTICES} more like these: they are in the runs' records")
