"""What is known to fail before any work: inputs, outputs and their numbered companions."""

import os
import socket
from pathlib import Path

import pytest

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.runs.output_name import numbered
from jaxstyle.runs.request import Request, check_files, check_is_file, check_numbered


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a content and a style; what is in them does not matter here."""
    (tmp_path / "c.png").write_bytes(b"content")
    (tmp_path / "s.png").write_bytes(b"style")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(*flags: str) -> Request:
    found = parse(["--content", "c.png", "--style", "s.png", *flags])
    assert found is not None
    return found


def refusal(*flags: str) -> str:
    with pytest.raises(InputError) as caught:
        check_files(arguments(*flags))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-o", "r.png"),
        ("-o", "R.PNG"),
        ("-o", "r.jpeg", "--log", "r.csv"),
        ("-o", "r.webp"),
        ("-o", "../r.png"),
        ("-o", "no.de.png", "--weights", "vgg19", "--init", "noise"),
        ("--init", "./c.png"),
        ("--from", "c.png"),
        ("--content", "s.png"),
    ],
)
def test_good_paths_pass_and_nothing_is_written(folder: Path, flags: tuple[str, ...]) -> None:
    check_files(arguments(*flags))
    assert sorted(each.name for each in folder.iterdir()) == ["c.png", "s.png"]


@pytest.mark.parametrize("flag", ["--content", "--style", "--from", "--init", "--weights"])
def test_missing_inputs_and_folders_are_refused(folder: Path, flag: str) -> None:
    assert "gone.png does not exist" in refusal(flag, "gone.png")
    told = "has no pictures" if flag == "--style" else "is a folder, not a file"
    assert told in refusal(flag, "..")
    assert "Not a directory" in refusal(flag, "c.png/x.png")
    assert "File name too long" in refusal(flag, "x" * 300 + ".png")
    (folder / "loop").symlink_to("loop")
    assert "cannot be read" in refusal(flag, "loop")


def test_pipes_and_sockets_are_refused_without_waiting(folder: Path) -> None:
    os.mkfifo("pipe")
    assert "pipe is not a regular file" in refusal("--content", "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert "socket is not a regular file" in refusal("--content", "socket")


def test_a_file_that_may_not_be_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"c\.png cannot be read: Permission denied"):
        check_is_file(Path("c.png"))


def test_misspelt_words_are_told_what_was_meant(folder: Path) -> None:
    words = "content, style, noise, grey"
    assert refusal("--init", "nois") == (
        f"--init takes {words} or a file: nois does not exist; did you mean noise?"
    )
    assert "did you mean embedded?" in refusal("--weights", "embeded")


def test_weights_must_have_a_known_ending(folder: Path) -> None:
    assert "c.png must end in .h5 or .hdf5 or .pth or .pt" in refusal("--weights", "c.png")


@pytest.mark.parametrize("output", ["r", "r.bmp", "r.png.txt", ".png", "r."])
def test_outputs_of_unknown_kinds_are_refused(folder: Path, output: str) -> None:
    assert "must end in .png or .jpg or .jpeg or .webp" in refusal("-o", output)


def test_in_a_folder_the_result_has_a_new_name(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "c-s.png").touch()
    for flags, path in {
        ("-o", "there"): "there/c-s-2.png",
        ("-o", "there/", "--format", "jpeg"): "there/c-s.jpg",
        ("-o", "new/deep/"): "new/deep/c-s.png",
        ("-o", "."): "c-s.png",
        ("--format", "tiff"): "c-s.tif",
        ("-o", "-", "--format", "webp"): "c-s.webp",
        ("-o", "r.jpeg", "--format", "jpg"): "r.jpeg",
    }.items():
        assert check_files(arguments(*flags)) == Path(path)
    (folder / "there" / "c-s-7.jpg.checkpoint").touch()
    resumed = arguments("-o", "there", "--format", "jpg", "--resume")
    assert check_files(resumed) == Path("there/c-s-7.jpg")
    assert not (folder / "new").exists()
    assert "--format png and the name r.jpg contradict" in refusal("-o", "r.jpg", "--format", "png")
    assert "is a file, not a folder" in refusal("-o", "c.png/")
    assert "'gif' is none of png, jpeg" in refusal("--format", "gif")


@pytest.mark.parametrize(("flag", "name"), [("-o", "output"), ("--log", "log")])
def test_outputs_in_impossible_places_are_refused(folder: Path, flag: str, name: str) -> None:
    assert "gone does not exist: make it first" in refusal(flag, "gone/r.png")
    assert "c.png is a file, not a folder" in refusal(flag, "c.png/r.png")
    if name == "log":
        assert "the log .. is a folder: name a file in it" in refusal(flag, "..")
    else:
        assert "has no name: give one, or a folder" in refusal(flag, "")
    assert "File name too long" in refusal(flag, "x" * 300 + ".png")


@pytest.mark.parametrize("flag", ["-o", "--log"])
def test_a_folder_that_takes_no_files_is_refused(
    folder: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert "cannot write in the folder" in refusal(flag, "r.png")
    assert "cannot write in the folder" in refusal()  # the default output


@pytest.mark.parametrize(("flag", "suffix"), [("-o", ".png"), ("--log", ".csv")])
def test_an_existing_output_needs_force(folder: Path, flag: str, suffix: str) -> None:
    old, link, loop = (folder / f"{stem}{suffix}" for stem in ("r", "link", "loop"))
    old.write_bytes(b"old")
    assert f"r{suffix} exists: choose another name, or --force" in refusal(flag, old.name)
    check_files(arguments(flag, old.name, "--force"))
    link.symlink_to("nowhere")
    assert f"link{suffix} exists" in refusal(flag, link.name)
    loop.symlink_to(loop.name)
    assert f"loop{suffix} exists" in refusal(flag, loop.name)
    assert old.read_bytes() == b"old"


def test_a_log_ends_in_csv(folder: Path) -> None:
    assert "the log l.txt must end in .csv" in refusal("--log", "l.txt")


INPUT_FLAGS = [
    (),
    ("--style", "c.png", "--content", "s.png"),
    ("--content", "s.png", "--from", "c.png"),
    ("--content", "s.png", "--init", "c.png"),
    ("--content", "s.png", "--weights", "c.h5"),
]


@pytest.mark.parametrize("flag", ["-o", "--log"])
@pytest.mark.parametrize("inputs", INPUT_FLAGS)
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_input_is_never_overwritten(
    folder: Path, flag: str, inputs: tuple[str, ...], force: tuple[str, ...]
) -> None:
    os.link("c.png", "c.h5")
    (folder / "sub").mkdir()
    (folder / "sub" / "symbolic.png").symlink_to("../c.png")
    os.link("c.png", "hard.png")
    (folder / "here").symlink_to(".")
    for path in ("c.png", "./c.png", "sub/../c.png", str(folder / "c.png"), "here/c.png"):
        assert "is also an input: choose another name" in refusal(*inputs, flag, path, *force)
    for path in ("sub/symbolic.png", "hard.png"):
        assert "is also an input: choose another name" in refusal(*inputs, flag, path, *force)
    assert (folder / "c.png").read_bytes() == b"content"


def test_an_input_that_is_a_link_to_the_output_counts_as_well(folder: Path) -> None:
    (folder / "link.png").symlink_to("c.png")
    assert "is also an input" in refusal("--content", "link.png", "-o", "c.png", "--force")


def test_log_and_output_must_differ(folder: Path) -> None:
    assert "the log and the output are the same file" in refusal("-o", "r.png", "--log", "r.png")
    assert "the same file" in refusal("-o", "r.png", "--log", str(folder / "r.png"), "--force")
    (folder / "r.csv").touch()
    (folder / "r.png").symlink_to("r.csv")
    assert "the same file" in refusal("-o", "r.png", "--log", "r.csv", "--force")


def test_numbers_have_four_digits_or_more() -> None:
    assert numbered(Path("a/r.png"), 50) == Path("a/r-0050.png")
    assert numbered(Path("r.x.jpg"), 12345) == Path("r.x-12345.jpg")


def test_numbered_pictures_that_exist_need_force(folder: Path) -> None:
    for name in ("r-0005.png", "r-0040.png", "r-00010.png", "r-0010.jpg", "rr-0010.png"):
        (folder / name).touch()
    flags = arguments("-o", "r.png", "--save-every", "10")
    check_numbered(flags, Path("r.png"), steps=39)  # 5 is no multiple, 40 comes after the end
    with pytest.raises(InputError, match=r"r-0040\.png exists"):
        check_numbered(flags, Path("r.png"), steps=40)
    check_numbered(arguments("--save-every", "10", "--force"), Path("r.png"), steps=40)
    check_numbered(arguments(), Path("r.png"), steps=40)


def test_a_numbered_picture_never_replaces_an_input_or_the_log(folder: Path) -> None:
    (folder / "r-0010.png").write_bytes(b"photo")
    flags = arguments("--content", "r-0010.png", "--save-every", "10", "--force")
    with pytest.raises(InputError, match="also an input"):
        check_numbered(flags, Path("r.png"), steps=10)
    flags = arguments("--log", "r-0020.png", "--save-every", "10", "--force")
    with pytest.raises(InputError, match=r"the log r-0020\.png is also a numbered picture"):
        check_numbered(flags, Path("r.png"), steps=20)


def test_billions_of_numbers_are_checked_at_once(folder: Path) -> None:
    (folder / "r-2147483647.png").touch()
    with pytest.raises(InputError, match=r"r-2147483647\.png exists"):
        check_numbered(arguments("--save-every", "1"), Path("r.png"), steps=2**31 - 1)


def test_special_characters_in_names_are_taken_literally(folder: Path) -> None:
    (folder / "ab-0001.png").touch()
    check_numbered(arguments("--save-every", "1"), Path("a.-0001.png"), steps=1)
    check_numbered(arguments("--save-every", "1"), Path("a[b].png"), steps=1)
    (folder / "a[b]-0001.png").touch()
    with pytest.raises(InputError, match="exists"):
        check_numbered(arguments("--save-every", "1"), Path("a[b].png"), steps=1)
