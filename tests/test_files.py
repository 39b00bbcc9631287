"""Files written whole, free names, folders, hashes."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from jaxstyle import files
from jaxstyle.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def refuse(number: int):
    """Returns what a share answers that refuses."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def writes_unless_there(path: Path) -> None:
    """Asserts that a new file is written, and one that is there is not replaced."""
    files.write_whole(path, b"one", overwrite=False)
    with pytest.raises(FileExistsError):
        files.write_whole(path, b"two", overwrite=False)
    assert path.read_bytes() == b"one"


def test_a_file_is_written_whole_and_nothing_else(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "a.png", b"data", overwrite=False)
    assert (tmp_path / "a.png").read_bytes() == b"data"
    assert names(tmp_path) == ["a.png"]


def test_an_existing_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        files.write_whole(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    files.write_whole(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.png"]


def test_a_failed_write_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    for overwrite in (True, False):
        with pytest.raises(OSError, match="No space"):
            files.write_whole(path, b"new", overwrite=overwrite)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.png"]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    writes_unless_there(tmp_path / "a.png")
    assert names(tmp_path) == ["a.png"]


REFUSED = ("chmod", "fsync", "link", "replace")
"""What is done to a file beside writing it."""


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_folder_that_refuses_all_but_writing_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.png"
    for name in REFUSED:
        monkeypatch.setattr(os, name, refuse(number))
    monkeypatch.setattr(Path, "chmod", refuse(number))
    files.check_writable(tmp_path)
    writes_unless_there(path)
    files.write_whole(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["a.png"]


def test_what_cannot_be_removed_again_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder to which can only be added: the check before a run and the save agree."""
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse(errno.EPERM))
    for name in (*REFUSED, "unlink"):
        monkeypatch.setattr(os, name, refuse(errno.EPERM))
    monkeypatch.setattr(Path, "unlink", refuse(errno.EPERM))
    files.check_writable(tmp_path)
    files.write_whole(tmp_path / "a.png", b"one", overwrite=False)
    assert (tmp_path / "a.png").read_bytes() == b"one"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_is_full_or_fails_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse(number))
            with pytest.raises(OSError, match=re.escape(os.strerror(number))):
                files.write_whole(tmp_path / "a.png", b"one", overwrite=True)
    assert names(tmp_path) == []


def test_a_folder_without_locks_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    assert files.takes_locks(tmp_path)
    assert files.takes_locks(tmp_path / "missing")  # what fails there is said by who writes
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    assert not files.takes_locks(tmp_path)
    assert names(tmp_path) == []


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_whole(tmp_path / "a.png", b"", overwrite=False)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".png", "ä" * 125 + ".png"):
        files.write_whole(tmp_path / name, b"data", overwrite=False)
    assert len(names(tmp_path)) == 2


def test_a_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "a.png").symlink_to("target")
    files.write_whole(tmp_path / "a.png", b"new", overwrite=True)
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert not (tmp_path / "a.png").is_symlink()


def test_fresh_path_counts_up_past_what_is_taken(tmp_path: Path) -> None:
    assert files.fresh_path(tmp_path, "a-b", ".png") == tmp_path / "a-b.png"
    (tmp_path / "a-b.png").touch()
    assert files.fresh_path(tmp_path, "a-b", ".png") == tmp_path / "a-b-2.png"
    (tmp_path / "a-b-2.png").mkdir()
    assert files.fresh_path(tmp_path, "a-b", ".png") == tmp_path / "a-b-3.png"
    (tmp_path / "a-b-3.png").symlink_to("nowhere")
    assert files.fresh_path(tmp_path, "a-b", ".png") == tmp_path / "a-b-4.png"


@pytest.mark.parametrize("letter", ["x", "ä", "🎨"])
def test_fresh_path_shortens_what_no_file_can_be_called(tmp_path: Path, letter: str) -> None:
    path = files.fresh_path(tmp_path, letter * 300, ".png")
    path.touch()
    again = files.fresh_path(tmp_path, letter * 300, ".png")
    again.touch()
    assert path.stem == letter * (200 // len(letter.encode()))
    assert again.stem == path.stem + "-2"


def test_check_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.check_writable(tmp_path)
    assert names(tmp_path) == []
    with pytest.raises(InputError, match="missing does not exist: make it first"):
        files.check_writable(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, not a folder"):
        files.check_writable(tmp_path / "file")

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot write in the folder .*: Read-only file system"):
        files.check_writable(tmp_path)


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    """Of "abc": FIPS 180-2, appendix B.1."""
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_cache_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path))
    assert files.cache_folder() == tmp_path
    monkeypatch.setenv("JAXSTYLE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert "jaxstyle" in files.cache_folder().name
