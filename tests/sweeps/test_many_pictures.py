"""Sweeps over pictures: only a few are in memory, and one that is gone costs its own run alone."""

import signal
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import SHALLOW_FLAGS
from PIL import Image

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file, stored
from jaxstyle.images.canvas import alpha_at, resize
from jaxstyle.images.regions import Regions
from jaxstyle.images.stored import PictureStore
from jaxstyle.machine.process import Interruption
from jaxstyle.runs import reader
from jaxstyle.runs.request import DeviceRequest
from jaxstyle.sweeps.folder import picture_path
from jaxstyle.sweeps.inputs import Sweep, read_sweep
from jaxstyle.sweeps.job import SweepJob, run_sweep

BYTES = 60 * 80 * 3
"""Of a photo below, decoded."""

COUNT = 6


@pytest.fixture
def photos(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reader, "PictureStore", partial(PictureStore, 2 * BYTES))
    random = np.random.default_rng(0)
    names = [f"p{i}.png" for i in range(COUNT)]
    for name in [*names, "style.png"]:
        Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).save(name)
    return names


@pytest.fixture
def sweep_of(slim_file: Path):
    def read(*flags: str) -> Sweep:
        fast = ["--size", "32", "--scales", "1", "--steps", "2", *SHALLOW_FLAGS]
        base = ["--weights", str(slim_file), "-o", "out", "--preset", "book-fast", *fast]
        arguments = parse([*base, *flags])
        assert arguments is not None
        return read_sweep(arguments, say=lambda _: None, stream=None)

    return read


def painted(sweep: Sweep) -> tuple[bool, list[str], list[bool]]:
    """Returns whether all is well, what was said, and which pictures are there."""
    said: list[str] = []
    with Interruption(lambda _: signal.raise_signal(signal.SIGABRT)) as interruption:
        job = SweepJob(sweep, None, DeviceRequest(), interruption, said.append, None)
        is_whole = run_sweep(job)
    there = [picture_path(sweep.folder, each.run.name).exists() for each in sweep.runs]
    return is_whole, said, there


def test_few_of_many_photos_are_in_memory(photos, sweep_of, monkeypatch) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def counted(path: Path) -> np.ndarray:
        nonlocal most
        picture = np.array(Image.open(path).convert("RGB"))
        alive.append(weakref.ref(picture))
        most = max(most, sum(each() is not None for each in alive))
        return picture

    monkeypatch.setattr(stored, "load_picture", counted)
    sweep = sweep_of("--style", "style.png", "--sweep", "content", *photos)
    is_whole, _, there = painted(sweep)
    assert (is_whole, there) == (True, [True] * COUNT)
    assert len(alive) >= COUNT + 1
    assert most <= 3  # two that are kept, and the one just decoded
    assert len({each.fingerprint for each in sweep.runs}) == COUNT


def test_few_of_many_transparent_photos_are_in_memory(photos, sweep_of, monkeypatch) -> None:
    """What is read of a photo's transparency, and the regions made of it, go again, too."""
    alive: list[weakref.ref[np.ndarray]] = []
    most, read = 0, picture_file.load_alpha

    def counted(found: np.ndarray) -> np.ndarray:
        nonlocal most
        alive.append(weakref.ref(found))
        most = max(most, sum(each() is not None for each in alive))
        return found

    def with_keep(regions: Regions, keep: np.ndarray) -> Regions:
        guides = counted(np.array(~keep, np.float32)[..., None])
        return Regions(guides, (), keep)

    for name in photos:
        image = Image.open(name)
        image.putalpha(Image.new("L", image.size, 255))
        image.paste((0, 0, 0, 0), (0, 0, 40, 60))
        image.save(name)
    monkeypatch.setattr(picture_file, "load_alpha", lambda path: counted(read(path)))
    monkeypatch.setattr(reader, "with_keep", with_keep)
    flags = ["--style", "style.png", "--alpha", "keep", "--sweep", "content", *photos]
    sweep = sweep_of(*flags)
    for each in sweep.runs:
        small = each.inputs.regions.resized((30, 40), [(30, 40)])
        assert small.keep is not None
        assert small.content is not None
        assert small.keep[:, :20].all()
        assert not small.content[:, :19].any()
        opaque = alpha_at(each.inputs.alpha, (30, 40))
        assert opaque is not None
        assert (opaque[:, 21:] == 255).all()
    assert len(alive) > 2 * COUNT
    assert most <= 6  # of each kind one that is made, one that is used, and what is kept of both
    Path(photos[0]).write_bytes(Path("style.png").read_bytes())
    with pytest.raises(InputError, match="was changed since"):
        np.asarray(sweep.runs[0].inputs.alpha)


@pytest.mark.parametrize("name", ["content", "style", "init"])
def test_a_picture_that_is_gone_or_another_costs_its_own_run_alone(
    name, photos, sweep_of, monkeypatch
) -> None:
    monkeypatch.setattr(reader, "PictureStore", partial(PictureStore, 0))
    given = {"content": "style.png", "style": "style.png"}
    given.pop(name, None)
    flags = [part for key, value in given.items() for part in (f"--{key}", value)]
    sweep = sweep_of(*flags, "--sweep", name, *photos[:4])
    Path(photos[1]).unlink()
    Path(photos[2]).write_bytes(Path(photos[0]).read_bytes())
    is_whole, said, there = painted(sweep)
    assert (is_whole, there) == (False, [True, False, False, True])
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 2
    assert "p1" in errors[0]
    assert errors[0].endswith("p1.png can no longer be read: No such file or directory")
    assert errors[1].endswith("p2.png was changed since it was read first")


def test_a_stored_picture_is_an_array_once_it_is_looked_at(photos) -> None:
    path = Path(photos[0])
    picture = PictureStore(0).open(path, reader.record.file_facts(path)["sha256"])
    expected = np.array(Image.open(path))
    assert picture.shape == (60, 80, 3)
    np.testing.assert_array_equal(np.asarray(picture), expected)
    np.testing.assert_array_equal(resize(picture, (60, 80), resampling="lanczos"), expected)
    path.write_bytes(b"another")
    with pytest.raises(InputError, match="was changed since"):
        np.asarray(picture)
