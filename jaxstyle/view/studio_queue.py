"""The studio's queue: one run at a time, each a process of its own.

So a run that crashes, or for which memory is too little, does not take the studio down.
"""

import contextlib
import csv
import dataclasses
import io
import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxstyle.machine.process import STOP_SIGNAL
from jaxstyle.runs.log import OTHER_COLUMNS
from jaxstyle.runs.output_name import numbered_step
from jaxstyle.view.live import as_told
from jaxstyle.view.studio_folder import PICTURE, Order, StudioFolder, number_of, words_of

PICTURE_EVERY = 10
"""Steps between two pictures of a run."""

RUN = [sys.executable, "-m", "jaxstyle.run"]
"""The command that paints."""

ENDS = {0: "finished", 130: "stopped", 143: "stopped", -int(STOP_SIGNAL): "stopped"}
"""How a run ended by its exit code; the last is one that was stopped as it began."""

NOTHING_SAVED = "stopped before the first step was finished: nothing to save"

_PROGRESS = re.compile(r"step (\d+)/(\d+) at .* ([\d:]+) left")
_SAID = re.compile(r"jaxstyle: (?:error: )?(.*)")


class Queue:
    """Orders that wait, and the one that is painted."""

    def __init__(self, folder: StudioFolder) -> None:
        """Takes the folder of the studio; what was painted when it ended is noted as lost."""
        self._folder, self._waiting = folder, deque[tuple[str, Order]]()
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._facts: dict[str, dict[str, Any]] = {each["name"]: each for each in folder.history()}
        self._steps, self._said, self._is_open = 0, deque[str](maxlen=20), True
        self._is_noted = threading.Event()
        """That the end of the run is on disk."""
        self._is_noted.set()
        for name, facts in self._facts.items():
            if facts["state"] in ("waiting", "painting"):
                self._note(name, state="failed", why="the studio ended before this run did")
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, order: Order) -> str:
        """Puts an order at the end; returns the name of its result."""
        with self._news:
            name, path = self._folder.begin(order)
            words = words_of(order, self._folder)
            command = shlex.join(["jaxstyle", *words, "-o", str(path / PICTURE)])
            asked = dataclasses.asdict(order)
            facts = {"name": name, "asked": asked, "command": command, "state": "waiting"}
            self._facts[name] = {**facts, "why": "", "seconds": 0.0}
            self._note(name)
            self._waiting.append((name, order))
            self._news.notify()
        return name

    def stop(self, name: str) -> bool:
        """Stops a run, which saves its picture, or takes it out; returns whether there was one."""
        with self._news:
            for each in [each for each in self._waiting if each[0] == name]:
                self._waiting.remove(each)
                self._note(name, state="stopped", why="it was taken out of the queue")
                return True
            running = self._facts.get(name, {}).get("state") == "painting"
            if running and self._process is not None:
                self._process.send_signal(STOP_SIGNAL)
            return running

    def close(self, seconds: float = 20.0) -> None:
        """Stops the run that is painted, and waits until its end is noted, at most so long."""
        with self._news:  # else a run that begins just now would go on without a studio
            self._is_open = False
            process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(STOP_SIGNAL)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        self._is_noted.wait(2)

    def history(self) -> list[dict[str, Any]]:
        """Returns what is known of all results, the latest first."""
        return [self._facts[name] for name in sorted(self._facts, key=number_of, reverse=True)]

    def _note(self, name: str, **more: Any) -> None:
        self._facts[name] = {**self._facts[name], **more}
        self._folder.write(name, self._facts[name])

    def _work(self) -> None:
        while True:
            with self._news:
                while not (self._waiting and self._is_open):
                    self._news.wait()
                name, order = self._waiting.popleft()
                self._is_noted.clear()
                with self._trouble_noted(name):
                    self._said.clear()
                    self._steps = 0
                    self._note(name, state="painting")
                    self._process = self._start(name, order)
            if self._facts[name]["state"] == "painting" and self._process is not None:
                with self._trouble_noted(name):
                    self._watch(name, self._process)
            self._is_noted.set()

    @contextlib.contextmanager
    def _trouble_noted(self, name: str) -> Iterator[None]:
        """Notes, in memory, what the system refuses, such as a full disk: the queue goes on."""
        try:
            yield
        except OSError as error:
            facts = self._facts[name]
            is_open = facts["state"] in ("waiting", "painting")
            state = "failed" if is_open else facts["state"]
            why = f"its folder cannot be used: {error.strerror or error}"
            self._facts[name] = {**facts, "state": state, "why": why}

    def _start(self, name: str, order: Order) -> subprocess.Popen[str]:
        path = self._folder.results / name
        own = ["-o", str(path / PICTURE), "--log", str(path / "log.csv"), "--json", "--force"]
        own += ["--save-every", str(PICTURE_EVERY), "--checkpoint-every", "inf"]
        words = [*RUN, *words_of(order, self._folder), *own]
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # the studio's own Ctrl-C is not the run's
        )

    def _watch(self, name: str, process: subprocess.Popen[str]) -> None:
        """Reads what a run says until it ends, and notes how it did."""
        began, out = time.monotonic(), ""
        with process:
            for line in process.stderr or ():  # on standard output is one line, at the end
                self._said.append(line.strip())
                if match := _PROGRESS.search(line):
                    self._steps = int(match[2])
            out = "" if process.stdout is None else process.stdout.read()
        state = ENDS.get(process.returncode, "failed")
        path = self._folder.results / name
        why = "" if state == "finished" else self._last_words()
        seconds = round(time.monotonic() - began, 1)
        if not (path / PICTURE).exists():
            why = NOTHING_SAVED if state == "stopped" else why
            if not self._is_open:
                state, why = "failed", "the studio ended before this run did"
        self._note(name, state=state, why=why, seconds=seconds, **_told(out))
        _tidy(path)

    def _last_words(self) -> str:
        said = [match[1] for each in self._said if (match := _SAID.match(each))]
        return said[-1] if said else "it ended without a word, as where memory is used up"

    def progress(self) -> dict[str, Any] | None:
        """Returns what a page shows of the run that is painted; None if there is none."""
        name = next((n for n, f in self._facts.items() if f["state"] == "painting"), None)
        if name is None:
            return None
        path = self._folder.results / name
        left = next((m[3] for m in map(_PROGRESS.search, reversed(self._said)) if m), "")
        return {
            "name": name,
            "steps": self._steps,
            "left": left,
            "picture": latest_step(path),
            **read_curves(path / "log.csv"),
        }


def read_curves(log: Path) -> dict[str, Any]:
    """Returns "step", "size" and the losses by term of a log that is being written."""
    try:
        text = log.read_text("utf-8")
    except OSError:
        return {"step": 0, "size": "", "terms": {}}
    whole = text[: text.rfind("\n") + 1]  # its last line may be there in part
    rows = list(csv.DictReader(io.StringIO(whole)))
    if not rows:
        return {"step": 0, "size": "", "terms": {}}
    names = [name for name in rows[0] if name not in OTHER_COLUMNS]
    terms = {name: [as_told(float(row[name])) for row in rows] for name in names}
    return {"step": int(rows[-1]["step"]), "size": rows[-1]["size"], "terms": terms}


def latest_step(path: Path) -> int:
    """Returns the step of the latest numbered picture in the folder of a result; 0 if none."""
    output = path / PICTURE
    return max((numbered_step(each.name, output) for each in path.iterdir()), default=0)


def _told(out: str) -> dict[str, Any]:
    """Returns what a run's JSON says of its losses and steps."""
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return {key: found[key] for key in ("losses", "steps_done", "painted_size") if key in found}


def _tidy(path: Path) -> None:
    """Removes what a run has left beside its result."""
    output = path / PICTURE
    for each in list(path.iterdir()):
        if numbered_step(each.name, output) or ".checkpoint" in each.name:
            each.unlink(missing_ok=True)
