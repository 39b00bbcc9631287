"""The file format of checkpoints: what is written is read, and nothing else is."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstyle.runs import checkpoint
from jaxstyle.runs.checkpoint import DamagedError, Header, read_arrays, read_header, remove, write

HEADER = Header(
    {"settings": {"steps": 9}}, 3, "4x5", 1.5, [[1.0, 2.0], 2], ["ab"], "a,b\r\n1,2\r\n"
)
ARRAYS = {
    "step": np.int32(3),
    "canvas": np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write(path, HEADER, ARRAYS)
    assert read_header(path) == HEADER
    found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert names(tmp_path) == ["c"]


def test_the_one_before_is_kept_unless_it_is_no_good(tmp_path: Path) -> None:
    path, before = tmp_path / "c", tmp_path / "c.previous"
    for step in (1, 2, 3):
        write(path, HEADER._replace(steps_done=step), ARRAYS)
    assert (read_header(path).steps_done, read_header(before).steps_done) == (3, 2)
    path.write_bytes(b"damaged")
    write(path, HEADER._replace(steps_done=4), ARRAYS, keep=False)
    assert (read_header(path).steps_done, read_header(before).steps_done) == (4, 2)
    (tmp_path / ".c.part").write_bytes(b"of a killed run")
    remove(path)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_both_as_they_were(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "c"
    for step in (1, 2):
        write(path, HEADER._replace(steps_done=step), ARRAYS)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, HEADER, ARRAYS)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "c"
    write(path, HEADER, ARRAYS)
    return path


def refused(path: Path, data: bytes) -> None:
    path.with_name("damaged").write_bytes(data)
    for read in (read_header, read_arrays):
        with pytest.raises(DamagedError, match=r"is not a checkpoint|is cut off or altered"):
            read(path.with_name("damaged"))


def test_every_truncation_is_noticed(written: Path) -> None:
    whole = written.read_bytes()
    for length in [*range(0, len(whole) - 1, 29), len(whole) - 1]:
        refused(written, whole[:length])
    refused(written, whole + b"\0")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_altered_byte_is_noticed(written: Path, data) -> None:
    whole = bytearray(written.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    refused(written, bytes(whole))


def test_what_is_not_there_is_another_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.read_header(tmp_path / "gone")
