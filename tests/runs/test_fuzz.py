"""Random settings and damaged files through the front door: no traceback, and nothing is lost."""

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHALLOW_FLAGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interruption import KilledError
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.optimization import stepping
from jaxstyle.painting.events import StepsDone
from jaxstyle.runs import job

PRECIOUS = ("old.png", "old.csv", "old.checkpoint", "old.checkpoint.previous")
"""Files of somebody's, which the command line may name as outputs."""

BASE = ["--content", "content.png", "--style", "style.jpg", "--weights", "slim.h5", "--steps", "3"]
SHALLOW_BASE = [*BASE, *SHALLOW_FLAGS]
FEW = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, slim_file: Path) -> Path:
    """A folder with good inputs, a sweep's table, and the checkpoint of a killed run."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    for name, size in (("content.png", (32, 48, 3)), ("style.jpg", (32, 48, 3))):
        Image.fromarray(random.integers(0, 256, size, np.uint8)).save(folder / name)
    shutil.copy(slim_file, folder / "slim.h5")
    (folder / "table.csv").write_text('seed,style-layers\n1,"relu1_1,relu2_1"\n2,relu9_9\n')
    whole = job.paint_run

    def killed(*given, **settings):
        calls = 0
        for event in whole(*given, **settings):
            yield event
            calls += isinstance(event, StepsDone)
            if calls == 2:
                raise KilledError

    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(job, "paint_run", killed)
        with pytest.raises(KilledError):
            main([*SHALLOW_BASE, "--quiet", "-o", "out.png", "--checkpoint-every", "1e-9"])
    return folder


def run(folder: Path, *flags: str) -> tuple[int, str]:
    """Runs the command line there; returns exit code and standard error, which is checked."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    there = contextlib.chdir(folder)
    with there, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(flags))
    said = err.getvalue()
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    if code == 2:
        assert said.splitlines()[-1].startswith("jaxstyle: error: "), said
        assert said.count("error: ") == 1, said
    return code, said


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


@contextlib.contextmanager
def fresh(inputs: Path, factory: Any):
    folder = factory.mktemp("run")
    for each in inputs.iterdir():
        shutil.copy(each, folder)
    yield folder
    shutil.rmtree(folder)


def damage(draw: Any, data: bytes) -> bytes:
    """Cuts a file off, changes bytes, puts some in, or makes it something else."""
    kind = draw(st.sampled_from(("cut", "change", "insert", "other")))
    places = st.integers(0, max(len(data) - 1, 0))
    if kind == "cut":
        return data[: draw(places)]
    if kind == "insert":
        place = draw(places)
        return data[:place] + draw(st.binary(min_size=1, max_size=9)) + data[place:]
    if kind == "other":
        return draw(st.binary(max_size=99))
    changed = bytearray(data)
    for place in draw(st.lists(places, min_size=1, max_size=9)):
        # not only anywhere: heads of files are small and say most
        changed[draw(st.sampled_from((place, place % 200)))] = draw(st.integers(0, 255))
    return bytes(changed)


def damaged_file(inputs: Path, factory: Any, data: st.DataObject) -> None:
    """Runs with one damaged file; whatever comes of it, what was there is there."""
    names = ("content.png", "style.jpg", "slim.h5", "out.png.checkpoint", "table.csv")
    name = data.draw(st.sampled_from(names))
    with fresh(inputs, factory) as folder:
        (folder / name).write_bytes(damage(data.draw, (folder / name).read_bytes()))
        before = contents(folder)
        if name == "table.csv":
            code, _ = run(folder, *BASE, "--sweep-file", name, "-o", "sweep", "--size", "48")
        else:
            resume = ["--resume"] if name.endswith("checkpoint") else []
            output = "out.png" if resume else "other.png"
            code, said = run(folder, *SHALLOW_BASE, "-o", output, *resume)
            if resume and contents(folder).get(name) != before[name]:
                assert code == 0, said  # the one before was used, and both are done with
                before = {each: before[each] for each in before if "checkpoint" not in each}
        after = contents(folder)
        assert {each: after.get(each) for each in before} == before
        if code == 2:
            assert set(after) == set(before)


@settings(max_examples=12, **FEW)
@given(data=st.data())
def test_damaged_files(inputs, tmp_path_factory, data) -> None:
    damaged_file(inputs, tmp_path_factory, data)


@pytest.mark.slow
@settings(max_examples=200, **FEW)
@given(data=st.data())
def test_many_damaged_files(inputs, tmp_path_factory, data) -> None:
    damaged_file(inputs, tmp_path_factory, data)


NUMBERS = st.sampled_from(
    ("0", "1", "0.3", "1e4", "1e30", "3e38", "-1", "nan", "inf", "1e999", "x")
)
NUMERIC = ("content-weight", "style-weight", "tv-weight", "learning-rate", "decay-rate")
WHOLE = st.sampled_from(("1", "2", "0", "-3", "4294967295", "4294967296", "1.5", ""))
OUTPUTS = ("new.png", "new.jpg", "new.webp", "new.gif", "content.png", "gone/new.png", ".", "")
LIGHT = {
    **dict.fromkeys(NUMERIC, NUMBERS),
    "decay-every": WHOLE,
    "seed": WHOLE,
    "init": st.sampled_from(("content", "style", "noise", "style.jpg", "nosie", "slim.h5")),
    "output": st.sampled_from((*OUTPUTS, *PRECIOUS)),
    "log": st.sampled_from(("new.csv", "new.txt", *PRECIOUS)),
    "save-every": WHOLE,
    "checkpoint": st.sampled_from(("new.checkpoint", "new.png", "gone/x", *PRECIOUS)),
    "checkpoint-every": st.sampled_from(("1e-9", "0", "-1", "nan", "inf", "x")),
    "from": st.sampled_from(("content.png", "out.png.checkpoint", "old.png")),
    "device": st.sampled_from(("cpu", "gpu", "npu")),
}
"""Flags that take no new program."""

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70)).map(lambda pair: f"{pair[0]}x{pair[1]}")
HEAVY = {
    "size": SIZES | st.integers(-1, 70).map(str),
    "scales": st.sampled_from(("1", "0.5,1", "0.9,1", "1,0.5", "0.1", "0,1")),
    "pooling": st.sampled_from(("max", "avg", "min")),
    "conv": st.sampled_from(("auto", "direct", "winograd")),
    "schedule": st.sampled_from(("step", "cosine", "hold-cosine", "linear")),
    "resampling": st.sampled_from(("lanczos", "bilinear")),
    "preset": st.sampled_from(("default", "book", "book-mxnet", "boook")),
    "style-layers": st.sampled_from(("relu1_1", "conv1_1:0,relu2_1:2", "relu5_4", "relu9_9", ",")),
    "content-layers": st.sampled_from(("relu4_last", "conv1_1", "relu1_1,relu1_1", "relu1_1:nan")),
}
"""Flags that do."""

SWITCHES = ("--force", "--resume", "--json", "--quiet")


def random_flags(inputs: Path, factory: Any, data: st.DataObject, known: dict[str, Any]) -> None:
    """Runs with random flags; only --force lets a file be replaced, and then only by a success."""
    names = data.draw(st.lists(st.sampled_from(sorted(known)), max_size=5, unique=True))
    flags = [part for name in names for part in (f"--{name}", data.draw(known[name]))]
    flags += data.draw(st.lists(st.sampled_from(SWITCHES), max_size=2, unique=True))
    with fresh(inputs, factory) as folder:
        for name in PRECIOUS:
            (folder / name).write_bytes(b"precious")
        before = contents(folder)
        code, said = run(folder, *SHALLOW_BASE, *flags)
        after = contents(folder)
        for name, what in before.items():
            if "--force" not in flags or code == 2 or name not in PRECIOUS:
                assert after.get(name) == what, (name, flags, said)
        if code == 2:
            assert set(after) == set(before), (flags, said)


@settings(max_examples=15, **FEW)
@given(data=st.data())
def test_random_flags(inputs, tmp_path_factory, data) -> None:
    random_flags(inputs, tmp_path_factory, data, LIGHT)


@pytest.mark.slow
@settings(max_examples=120, **FEW)
@given(data=st.data())
def test_many_random_flags(inputs, tmp_path_factory, data) -> None:
    random_flags(inputs, tmp_path_factory, data, LIGHT)


@pytest.mark.slow
@settings(max_examples=40, **FEW)
@given(data=st.data())
def test_random_flags_of_all_kinds(inputs, tmp_path_factory, data) -> None:
    random_flags(inputs, tmp_path_factory, data, LIGHT | HEAVY)


@pytest.mark.slow
@settings(max_examples=3, **FEW)
@given(size=st.tuples(st.integers(16, 70), st.integers(16, 70)), chunk=st.integers(1, 64))
def test_any_size_is_painted_and_goes_on(inputs, tmp_path_factory, size, chunk) -> None:
    """Killed after any chunk, a run of any size ends with the picture of one that was not."""
    flags = [*BASE, "--size", f"{size[0]}x{size[1]}", "--scales", "0.8,1", "--steps", "7"]
    flags += ["--checkpoint-every", "1e-9", "--quiet"]
    whole = job.paint_run

    def killed(*given, **settings):
        calls = 0
        for event in whole(*given, **settings):
            yield event
            calls += isinstance(event, StepsDone)
            if calls == 1 + chunk % 4:
                raise KilledError

    with fresh(inputs, tmp_path_factory) as folder, pytest.MonkeyPatch.context() as patch:
        assert run(folder, *flags, "-o", "whole.png")[0] == 0
        patch.setattr(stepping, "MOST_STEPS_A_CALL", 2)
        with patch.context() as deadly, contextlib.suppress(KilledError):
            deadly.setattr(job, "paint_run", killed)
            run(folder, *flags, "-o", "cut.png")
        assert run(folder, *flags, "-o", "cut.png", "--resume")[0] == 0
        data = [(folder / name).read_bytes() for name in ("whole.png", "cut.png")]
        assert data[0] == data[1]
        assert not os.path.lexists(folder / "cut.png.checkpoint")
