"""The command line itself: the only place that prints and exits.

Exit codes: 0 done; 1 the run failed (a loss became NaN, a disk is full, no network); 2 bad input;
128 and a signal's number where one stopped it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from jaxstyle.cli import commands, completion, flags
from jaxstyle.cli.streams import (
    as_given,
    check_standard_output,
    with_standard_input,
    write_standard_output,
)
from jaxstyle.cli.studio import keep_studio
from jaxstyle.errors import ExhaustedError, InputError, one_line
from jaxstyle.machine.memory import on_cpu_surely
from jaxstyle.machine.process import (
    Interruption,
    compile_leanly,
    compute_deterministically,
    keep_freed_memory,
    works_ahead,
)
from jaxstyle.machine.worked_time import CLOCK
from jaxstyle.runs import request
from jaxstyle.runs.paths import STANDARD
from jaxstyle.runs.request import check_files
from jaxstyle.settings.fields import has_flag
from jaxstyle.settings.presets import PRESETS
from jaxstyle.settings.text import as_text


def command() -> NoReturn:
    """Is the process: runs the command line and ends with its exit code, at once.

    Python would wait for a thread that still compiles what nobody wants any more, and put away
    piece by piece, in most of a second, what jax has. Of several processes each says that it ends.
    """
    try:
        code = main()
    except SystemExit as leaving:  # after --help
        code = int(leaving.code or 0)
    jax = sys.modules.get("jax")
    if works_ahead() or jax is None or not jax.distributed.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or never there
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; `arguments` default to the process's."""
    until = contextlib.ExitStack()
    with Interruption(partial(_leave, until)) as interruption, until:
        until.enter_context(CLOCK.looking())
        try:
            given = sys.argv[1:] if arguments is None else arguments
            if (code := _other_command(given, interruption)) is not None:
                return code
            parsed = flags.parse(given)
            if parsed is None:
                return _list_presets()
            if parsed.print_config:
                _print(flags.printed_config(given, parsed).encode())
                return 0
            if parsed.collect is not None:
                return _collect(parsed, parsed.collect)
            check_standard_output(parsed)
            parsed = with_standard_input(parsed, until)
            compile_leanly()
            keep_freed_memory()
            if parsed.devices.deterministic and not on_cpu_surely(parsed.device):
                compute_deterministically()
            if parsed.sweep is not None:
                return _sweep(parsed, interruption)
            return _run(parsed, interruption)
        except InputError as error:
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            say("stopped before the first step was finished: nothing to save")
            return interruption.exit_code
        except BrokenPipeError:  # whoever read what is printed has left
            return 1
        except (OSError, MemoryError) as error:
            say(f"error: {_reason(error)}")
            return 1


def _leave(until: contextlib.ExitStack, code: int) -> None:
    """Ends the process at once, without what it keeps in temporary files."""
    try:
        until.close()
    finally:
        os._exit(code)


def _other_command(given: Sequence[str], interruption: Interruption) -> int | None:
    """Does what the first word asks for; returns the exit code, or None where it is no command."""
    if given[:1] == [commands.DOCTOR]:
        return _doctor(as_json=commands.parse_doctor(given[1:]))
    if given[:1] == [commands.STUDIO]:
        return keep_studio(commands.parse_studio(given[1:]), interruption, say)
    if given[:1] == [completion.COMPLETION]:
        _print(completion.script(completion.read_shell(given[1:])).encode())
        return 0
    return None


def _run(arguments: request.Request, interruption: Interruption) -> int:
    stream = None if arguments.quiet else sys.stderr
    try:
        output = check_files(arguments)
        page = _page(arguments)
        from jaxstyle.runs.checkpoint import find_resumption
        from jaxstyle.runs.inputs import read_inputs

        inputs = read_inputs(arguments, output, say=say, stream=stream)
        if arguments.plan:
            return _plan(inputs, arguments)
        resumption = find_resumption(arguments, output, inputs, say=say)
        for line in inputs.notices if stream is not None else ():
            say(line)
    except InputError as error:
        if arguments.devices.distributed is None:
            raise
        say(f"error: {error}; telling the other processes")
        from jaxstyle.runs.job import tell_refusal  # imports jax

        tell_refusal(arguments)
        return 2
    from jaxstyle.runs.job import run_job  # jax is imported here, after all that can be refused
    from jaxstyle.runs.observers import Job

    if arguments.into_folder:
        output.parent.mkdir(parents=True, exist_ok=True)
    job = Job(arguments, inputs, output, resumption, interruption, say, stream)
    if arguments.output == STANDARD:
        job = job._replace(deliver=write_standard_output)
    alone = arguments.devices.distributed is None
    if page is not None:
        outcome = _viewed(run_job, job, page)
    else:
        outcome = run_job(job) if alone else _run_with_others(run_job, job)
    if outcome.is_told:
        judged = {} if outcome.judged is None else {"judged": outcome.judged}
        facts = {"notices": list(inputs.notices), **outcome.record, **judged}
        try:
            _print_outcome(outcome.path, outcome.seconds, facts, as_json=arguments.json)
        except OSError:
            if not interruption.received:  # a closed terminal takes no line
                raise
    code: int = outcome.exit_code
    return code


def _page(arguments: request.Request) -> Any:
    """Returns the socket of the page that was asked for, if one was; warns if others reach it."""
    if arguments.view is None:
        return None
    from jaxstyle.view.address import LOCAL, bound

    at = bound(*arguments.view)
    if arguments.view[0] not in LOCAL:
        say("warning: whoever is told the page's address can see and stop what it shows")
    return at


def _viewed(run_job: Callable[[Any], Any], job: Any, page: Any) -> Any:
    """Does a run that a page shows."""
    from jaxstyle.view.live import Live
    from jaxstyle.view.saving import saver

    live = Live(job.interruption.note_other, save=saver(job))
    _show_page(live, page)
    outcome = run_job(job._replace(observers=[*job.observers, live]))
    live.linger()
    return outcome


def _show_page(live: Any, page: Any, **more: Any) -> None:
    """Serves a page, says where, and opens it where someone sits."""
    from jaxstyle.view.address import open_browser
    from jaxstyle.view.server import serve

    address = serve(live, page, **more)
    say(f"the page of this run: {address}")
    open_browser(address)


def _run_with_others(run_job: Callable[[Any], Any], job: Any) -> Any:
    """Does this process's part of a run; if it fails, ends it at once.

    The others learn of it by that. Python's own way out waits for them, and they for this process.
    """
    try:
        with _own_output():
            return run_job(job)
    except (OSError, MemoryError) as error:
        say(f"error: {_reason(error)}")
        os._exit(1)


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Keeps from standard output what gloo, which connects processes on CPUs, prints there."""
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):
            kept = os.dup(1)
            undo.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            undo.callback(os.close, nowhere)
            os.dup2(nowhere, 1)
            undo.callback(os.dup2, kept, 1)
        yield


def _plan(inputs: Any, arguments: request.Request) -> int:
    """Prints what a run would take."""
    from jaxstyle.runs.plan import (
        explained,
        trial,  # imports jax
    )

    note = _say_nothing if arguments.quiet else say
    found = trial(inputs, arguments.device, say=say, note=note)
    if arguments.json:
        ways = [each._asdict() for each in found.ways]
        _print(json.dumps({**found._asdict(), "ways": ways, "notices": inputs.notices}).encode())
    else:
        _print("\n".join(explained(found)).encode())
    return 0


def _sweep(arguments: request.Request, interruption: Interruption) -> int:
    """Paints a sweep, or what is missing of it, and gathers the results."""
    stream = None if arguments.quiet else sys.stderr
    from jaxstyle.sweeps.inputs import is_done, read_sweep

    if arguments.plan:
        raise InputError("--plan is for one run: leave out --sweep and --sweep-file")

    page = _page(arguments)
    sweep = read_sweep(arguments, say=say, stream=stream)
    from jaxstyle.sweeps.job import (
        SweepJob,
        run_sweep,  # imports jax
    )

    job = SweepJob(sweep, arguments.device, arguments.devices, interruption, say, stream)
    are_whole = run_sweep(job) if page is None else _viewed_sweep(run_sweep, job, page)
    names = [each.run.name for each in sweep.runs]
    done = sum(is_done(sweep, each) for each in sweep.runs)
    if not done and interruption.received:
        raise KeyboardInterrupt
    if not (done or are_whole):
        return 1
    if not done:  # a share of a sweep that has fewer variants than shares
        say("nothing of this sweep was to be done here, and nothing is done yet")
        return 0
    code = _collect(arguments, sweep.folder, names)
    if not interruption.received:
        return max(code, int(not are_whole))
    say(f"stopped with {done} of {len(names)} done; the same command paints the others")
    return interruption.exit_code


def _viewed_sweep(run_sweep: Callable[[Any], Any], job: Any, page: Any) -> Any:
    """Paints a sweep that a page shows."""
    from jaxstyle.sweeps.grid import share
    from jaxstyle.sweeps.inputs import states
    from jaxstyle.view.live import Live
    from jaxstyle.view.thumbs import thumbs

    runs = states(job.sweep, share(job.sweep.runs, job.sweep.flags.shard))
    live = Live(job.interruption.note_other, runs=runs)
    _show_page(live, page, thumb=thumbs(job.sweep.folder, list(runs)))
    are_whole = run_sweep(job._replace(observers=[*job.observers, live]))
    live.end("interrupted" if job.interruption.received else "finished")
    live.linger()
    return are_whole


def _doctor(*, as_json: bool) -> int:
    """Prints what there is and what is wrong; returns 1 if something is."""
    from jaxstyle.runs.doctor import diagnose, report_lines

    report = diagnose()
    text = json.dumps(report) if as_json else "\n".join(map(one_line, report_lines(report)))
    _print(text.encode(errors="backslashreplace"))
    return int(bool(report["wrong"]))


def _collect(asked: request.Request, folder: Path, names: Sequence[str] | None = None) -> int:
    """Gathers the runs that are in a sweep's folder, draws their losses; says which failed."""
    from jaxstyle.sweeps.folder import SUMMARIES, check_curves, names_in
    from jaxstyle.sweeps.report import gather_and_summarize, overview

    runs = names_in(folder) if names is None else names
    check_curves(folder, asked.plot, runs, force=asked.force)
    entries = gather_and_summarize(folder, names)
    if asked.plot is not None:
        from jaxstyle.runs.plot import write_curves

        try:
            write_curves(folder / asked.plot, {each["name"]: each["curves"] for each in entries})
        except OSError as error:
            say(f"warning: the plot could not be written: {error.strerror or error}")
    if asked.json:
        _print(json.dumps({"output": str(folder), "results": overview(entries)}).encode())
    else:
        _print(b"\n".join(os.fsencode(folder / name) for name in SUMMARIES))
    failed = [each["name"] for each in entries if each["failure"] is not None]
    if failed:
        shown_names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        say(f"{len(failed)} of {len(entries)} failed: {shown_names}")
    return int(bool(failed))


def _print_outcome(
    path: Path | None, seconds: float, facts: dict[str, Any], *, as_json: bool
) -> None:
    """Prints where the picture is, or all that is known of the run as JSON."""
    if as_json:
        output = None if path is None else str(path)
        _print(json.dumps({"output": output, "seconds": round(seconds, 3), **facts}).encode())
    elif path is not None:
        _print(os.fsencode(path))  # a name need not be valid text


def _print(line: bytes) -> None:
    """Prints a line for programs, on standard output, unless the caller has closed it."""
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()


def say(line: str) -> None:
    """Prints a line for the person, on standard error; that nobody can read it is no error."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"jaxstyle: {as_given(one_line(line))}", file=sys.stderr, flush=True)


def _say_nothing(line: str) -> None:
    """Is given what `--quiet` keeps silent."""


def _reason(error: BaseException) -> str:
    """Returns an error of the system as one line."""
    if isinstance(error, MemoryError) and not isinstance(error, ExhaustedError):
        return "not enough memory: choose a smaller --size"
    return " ".join(str(error).split())


def _list_presets() -> int:
    for name, preset in PRESETS.items():
        print(f"{name}: {preset.about}")
        for settings in (preset.recipe, preset.hyper):
            for each in dataclasses.fields(settings):
                if has_flag(each):
                    flag = each.name.replace("_", "-")
                    print(f"    --{flag} {as_text(getattr(settings, each.name))}")
    return 0


if __name__ == "__main__":
    command()
