"""Tests of jaxstyle.weights.pretrained: which file is found, how VGG-19 comes onto a machine."""

import errno
import hashlib
import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import platformdirs
import pytest
from conftest import attributes, slim_params
from local_server import Page, Site, serve

from jaxstyle import files
from jaxstyle.errors import InputError
from jaxstyle.weights import download, pretrained
from jaxstyle.weights.download import DownloadError
from jaxstyle.weights.pretrained import WeightFile, convert, find_weights, load_weights
from jaxstyle.weights.weight_file import read_weights, weight_bytes

ROOT = Path(__file__).parents[2]
REFERENCES = Path(__file__).parents[1] / "references"
TORCH_VGG19 = REFERENCES / "slim_vgg19_legacy.pth"
DATA = TORCH_VGG19.read_bytes()
NAME = f"vgg19-{hashlib.sha256(DATA).hexdigest()[:8]}.pth"
PUBLISHED = pretrained.VGG19_URL
EMBEDDED = WeightFile(ROOT / "weights" / "vgg19-oxford.h5", "vgg19-oxford")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, where torch would keep the slim VGG-19 under the name it looks for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "JAXSTYLE_VGG19_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pretrained, "VGG19_URL", f"https://models.example/{NAME}")
    return tmp_path


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "vgg19.h5"


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "SECONDS_BETWEEN_TRIES", 0)
    with serve() as site:
        site.pages[f"/{NAME}"] = Page(DATA)
        monkeypatch.setenv("JAXSTYLE_VGG19_URL", site.url(f"/{NAME}"))
        yield site


offline = pytest.mark.usefixtures("_offline")


def put_into_hub(folder: Path, data: bytes = DATA) -> Path:
    """Puts a file where torch.hub keeps it, below torch's own folder."""
    path = folder / "hub" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@offline
def test_nothing_there_gives_the_embedded_and_says_how_to_get_vgg19() -> None:
    found = find_weights("auto")
    assert found[:2] == EMBEDDED[:2]
    assert "--weights vgg19 downloads" in found.note
    assert "575 MB" in found.note


@offline
def test_the_converted_file_comes_first(home: Path, cached: Path) -> None:
    put_into_hub(home / ".cache" / "torch")
    convert(TORCH_VGG19)
    before = cached.stat()
    assert find_weights("auto") == WeightFile(cached, "vgg19")
    assert cached.stat() == before


@offline
@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, ".cache/torch"),
        ({"XDG_CACHE_HOME": "{home}/xdg"}, "xdg/torch"),
        ({"XDG_CACHE_HOME": "~/xdg"}, "xdg/torch"),
        ({"TORCH_HOME": "{home}/torches"}, "torches"),
        ({"TORCH_HOME": "~/torches", "XDG_CACHE_HOME": "{home}/xdg"}, "torches"),
    ],
)
def test_torchs_copy_comes_next_and_is_converted_once(
    home: Path,
    cached: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    folder: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=home))
    hub = put_into_hub(home / folder)
    said: list[str] = []
    assert find_weights("auto", say=said.append) == WeightFile(cached, "vgg19")
    assert said == [f"converting {hub}, once"]
    assert find_weights("auto", say=said.append) == WeightFile(cached, "vgg19")
    assert len(said) == 1
    assert hub.read_bytes() == DATA


@offline
@pytest.mark.parametrize("data", [DATA[:-5], b"", b"<html>"])
def test_a_damaged_copy_of_torchs_is_left_aside(home: Path, cached: Path, data: bytes) -> None:
    hub = put_into_hub(home / ".cache" / "torch", data)
    said: list[str] = []
    assert find_weights("auto", say=said.append)[:2] == EMBEDDED[:2]
    assert said[1].startswith(f"left aside: {hub} is damaged: its sha256 does not begin with")
    assert len(said) == 2
    assert not cached.exists()


@offline
@pytest.mark.parametrize("hub", [True, False])
def test_a_damaged_conversion_is_left_aside(home: Path, cached: Path, hub: bool) -> None:
    convert(TORCH_VGG19)
    os.truncate(cached, 5000)
    if hub:
        put_into_hub(home / ".cache" / "torch")
    said: list[str] = []
    found = find_weights("auto", say=said.append)
    assert found.name == ("vgg19" if hub else "vgg19-oxford")
    assert said[0].startswith(f"left aside: {cached} is damaged")
    read_weights(found.path)


@offline
def test_another_network_in_the_conversions_place_is_left_aside(cached: Path) -> None:
    cached.parent.mkdir()
    origin = {"source": "", "source_sha256": "", "licence": ""}
    cached.write_bytes(weight_bytes(slim_params("vgg16"), **origin))
    said: list[str] = []
    assert find_weights("auto", say=said.append)[:2] == EMBEDDED[:2]
    assert said == [f"left aside: {cached} holds a vgg16, not a vgg19"]


@offline
def test_a_cache_that_cannot_be_written_does_not_matter(home: Path) -> None:
    hub = put_into_hub(home / ".cache" / "torch")
    (home / "cache").write_bytes(b"a file where the folder should be")
    said: list[str] = []
    assert find_weights("auto", say=said.append) == WeightFile(hub, "vgg19")
    assert "the conversion is not kept: cannot write" in said[1]
    assert "conv5_4" in load_weights("auto")


@offline
def test_a_full_disk_does_not_matter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    hub = put_into_hub(home / ".cache" / "torch")
    monkeypatch.setattr(files, "write_whole", full)
    said: list[str] = []
    assert find_weights("auto", say=said.append) == WeightFile(hub, "vgg19")
    assert said[1].endswith("vgg19.h5: No space left on device")


@offline
@pytest.mark.parametrize("name", ["JAXSTYLE_CACHE", "TORCH_HOME"])
def test_an_impossible_folder_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/" + "n" * 300)
    assert find_weights("auto")[:2] == EMBEDDED[:2]


@offline
def test_without_a_cache_of_its_own_the_users_is_taken(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv("JAXSTYLE_CACHE")
    found = convert(TORCH_VGG19)
    assert found == Path(platformdirs.user_cache_dir("jaxstyle", appauthor=False), "vgg19.h5")
    assert found.is_relative_to(home)
    assert find_weights("auto").path == found


@offline
def test_embedded_is_the_file_that_comes_along() -> None:
    convert(TORCH_VGG19)
    assert find_weights("embedded") == EMBEDDED
    assert load_weights("embedded")["conv5_4"]["kernel"].shape == (3, 3, 512, 512)


def test_a_missing_embedded_file_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = home / "site" / "jaxstyle" / "weights" / "pretrained.py"
    monkeypatch.setattr(pretrained, "__file__", str(module))
    with pytest.raises(InputError, match=r"vgg19-oxford\.h5 is missing .*: install jaxstyle again"):
        find_weights("embedded")


def test_an_installed_package_brings_the_embedded_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = home / "site" / "jaxstyle" / "data" / "vgg19-oxford.h5"
    data.parent.mkdir(parents=True)
    data.touch()
    module = home / "site" / "jaxstyle" / "weights" / "pretrained.py"
    monkeypatch.setattr(pretrained, "__file__", str(module))
    assert find_weights("embedded").path == data


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_taken_as_it_is(kind: type) -> None:
    path = REFERENCES / "slim_vgg16_zip.pth"
    assert find_weights(kind(path)) == WeightFile(path, "slim_vgg16_zip.pth")
    assert "conv5_3" in load_weights(kind(path))
    with pytest.raises(InputError, match=r"none\.h5 does not exist; --weights takes auto"):
        find_weights(kind("none.h5"))


def test_a_conversion_says_where_it_comes_from(home: Path) -> None:
    target = convert(TORCH_VGG19, home / "a.h5")
    with h5py.File(target) as file:
        assert attributes(file) == {
            "format_version": 1,
            "architecture": "vgg19",
            "source": "slim_vgg19_legacy.pth",
            "source_sha256": hashlib.sha256(DATA).hexdigest(),
            "licence": "BSD-3-Clause (torchvision)",
        }
    before = read_weights(TORCH_VGG19)["conv3_4"]["kernel"]
    assert (read_weights(target)["conv3_4"]["kernel"] == before).all()
    with pytest.raises(FileExistsError, match=r"a\.h5 exists"):
        convert(TORCH_VGG19, target)


def test_it_is_downloaded_converted_and_kept(
    site: Site, cached: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site.pages[f"/{NAME}"].cuts = [len(DATA) // 2]
    said: list[str] = []
    stream = io.StringIO()
    found = find_weights("vgg19", say=said.append, stream=stream)
    assert found == WeightFile(cached, "vgg19")
    assert said == [
        f"downloading {site.url(f'/{NAME}')} (575 MB) to {cached.parent}",
        f"converting {NAME}",
    ]
    assert "download" in stream.getvalue()
    kernel = read_weights(cached)["conv1_1"]["kernel"] * 2**21
    assert kernel[2, 1, 0, 1] == 1021  # 1000 o + 10 y + x
    assert [p.name for p in cached.parent.iterdir() if p.suffix != ".lock"] == ["vgg19.h5"]
    asked = len(site.requests)
    assert find_weights("vgg19", say=said.append) == found
    assert "conv5_4" in load_weights("vgg19")
    assert len(site.requests) == asked
    assert len(said) == 2
    assert capfd.readouterr() == ("", "")


def test_torchs_copy_saves_the_download(site: Site, home: Path, cached: Path) -> None:
    put_into_hub(home / ".cache" / "torch")
    assert find_weights("vgg19") == WeightFile(cached, "vgg19")
    assert site.requests == []


def test_a_damaged_conversion_is_replaced(site: Site, cached: Path) -> None:
    cached.parent.mkdir()
    cached.write_bytes(b"damaged")
    said: list[str] = []
    assert find_weights("vgg19", say=said.append) == WeightFile(cached, "vgg19")
    assert [line.split()[0] for line in said] == ["left", "downloading", "converting"]
    assert "conv5_4" in read_weights(cached)
    assert len(site.requests) == 1


def test_two_processes_at_once_download_once(site: Site, cached: Path) -> None:
    site.pages[f"/{NAME}"].seconds = 1.0
    program = "from jaxstyle.weights.pretrained import find_weights as find\n"
    program += "print(find('vgg19', say=print))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=30)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert all(f"WeightFile(path=PosixPath('{cached}')" in output for output in outputs)
    assert outputs[0].startswith("downloading")
    assert outputs[1].startswith("waiting for another process that is getting vgg19.h5")
    assert len(site.requests) == 1


def test_another_file_under_the_name_is_refused(site: Site, cached: Path) -> None:
    site.pages[f"/{NAME}"] = Page(DATA[:-1] + b"x")
    with pytest.raises(DownloadError, match="is not the file it should be"):
        find_weights("vgg19")
    assert {path.suffix for path in cached.parent.iterdir()} == {".lock"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no network at all", "not a torch weight file"),
        ((REFERENCES / "slim_vgg16_zip.pth").read_bytes(), "holds a vgg16, not a vgg19"),
    ],
)
def test_a_file_that_is_no_vgg19_is_not_kept(
    site: Site,
    cached: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    reason: str,
) -> None:
    site.pages["/vgg.pth"] = Page(data)
    monkeypatch.setenv("JAXSTYLE_VGG19_URL", site.url("/vgg.pth?a=b"))
    site.pages["/vgg.pth?a=b"] = site.pages["/vgg.pth"]
    for _ in range(2):
        with pytest.raises(InputError, match=reason):
            find_weights("vgg19")
    assert len(site.requests) == 2
    assert not cached.exists()
    assert not (cached.parent / "vgg.pth").exists()


def test_a_disk_that_is_full_after_the_download_keeps_it(
    site: Site, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", full)
        with pytest.raises(OSError, match=r"^cannot write .*vgg19\.h5: No space left"):
            find_weights("vgg19")
    assert find_weights("vgg19") == WeightFile(cached, "vgg19")
    assert len(site.requests) == 1


def test_an_address_without_a_files_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXSTYLE_VGG19_URL", "http://127.0.0.1/")
    with pytest.raises(InputError, match=r"JAXSTYLE_VGG19_URL must be .* \.pth file"):
        find_weights("vgg19")


def test_a_cache_that_cannot_be_made_is_said(site: Site, home: Path) -> None:
    (home / "cache").write_bytes(b"")
    with pytest.raises(DownloadError, match="JAXSTYLE_CACHE names another folder"):
        find_weights("vgg19")
    assert site.requests == []


def test_the_published_file_is_the_one_torchvision_names() -> None:
    assert PUBLISHED == "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
