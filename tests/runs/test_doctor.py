"""`doctor`: what it finds, and that it says so where something is broken."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import pytest

from jaxstyle.cli.main import main
from jaxstyle.runs import doctor

NO_DEVICES = "print('[]')"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with an empty cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No devices are looked for, no weights read, no compiled code loaded."""
    monkeypatch.setattr(doctor, "PROBE", NO_DEVICES)
    monkeypatch.setattr(doctor, "_compiled", lambda wrong: [])
    monkeypatch.setattr(doctor, "_weights", lambda wrong: {"some": "file"})


def test_it_finds_what_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert code == int(bool(found["wrong"]))
    assert found["packages"]["jax"] == jax.__version__
    assert {"pillow", "numpy", "optax"} <= set(found["packages"])
    assert "cuda" in found["extras"]
    assert not {"test", "reference"} & set(found["extras"])
    kinds = [each for each in found["devices"] if "(cpu" in each or "GB" in each]
    assert len(kinds) == len(found["devices"]) > 0
    assert found["weights"]["vgg19-oxford"].endswith("vgg19-oxford.h5")
    assert found["weights"]["vgg19"].startswith("not here")
    assert found["cache"] == {"folder": "~/cache", "state": "not made yet"}


@pytest.mark.parametrize(
    ("probe", "line"),
    [
        ("raise RuntimeError('no driver')", "jax finds no devices: RuntimeError: no driver"),
        ("import os; os.abort()", "jax finds no devices: exit code -6"),
        ("import time; time.sleep(60)", "jax has not found its devices in 0.3 s"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_jax_that_fails_crashes_or_hangs_is_told(
    probe: str, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "PROBE", probe)
    monkeypatch.setattr(doctor, "SECONDS_FOR_DEVICES", 0.3 if "sleep" in probe else 60)
    assert main(["doctor"]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[said.index("wrong:") + 1 :] == [f"  {line}"]
    assert said.index("packages:") < said.index("weights:")


@pytest.mark.parametrize(
    ("probe", "found", "line"),
    [
        ("print('null')", ["by jaxstyle-cpu"], None),
        ("print('\"is broken\"')", ["not used"], "jaxstyle-cpu is not used, it is broken: "),
        ("import os; os.abort()", ["not used"], "jaxstyle-cpu is not used, exit code -6: "),
    ],
)
def test_compiled_convolutions_that_cannot_be_used_are_told(
    probe: str, found: list[str], line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROBE", NO_DEVICES)
    monkeypatch.setattr(doctor, "PROBE_COMPILED", probe)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: name)
    report = doctor.diagnose()
    assert report["compiled convolutions"] == found
    told = [each for each in report["wrong"] if each.startswith("jaxstyle-cpu")]
    assert [each.partition("see")[0] for each in told] == ([] if line is None else [line])


@pytest.mark.usefixtures("quick")
def test_a_check_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no\nsuch file")

    monkeypatch.setattr(doctor, "memory_left", broken)
    found = doctor.diagnose()
    assert found["wrong"] == ["memory: OSError: no such file"]
    assert found["memory"] is None
    assert found["weights"]
    assert "memory:" not in doctor.report_lines(found)


@pytest.mark.usefixtures("quick")
def test_packages_that_are_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"a": "1.10.0", "b": "1.9", "c": "2.0rc1"}
    needs = ["a>=1.9", "b>=1.10", "c>=2.0", "d", 'e>=3; extra == "more"', 'a; extra == "some"']
    needs += ['jax[cuda13]; extra == "cuda"', 'x; extra == "test"']

    def version(name: str) -> str:
        try:
            return versions[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    monkeypatch.setattr(metadata, "version", version)
    found = doctor.diagnose()
    assert found["packages"] == {
        **{"a": "1.10.0", "b": "1.9, too old: at least 1.10", "c": "2.0rc1", "d": "missing"}
    }
    assert found["wrong"] == [
        "b is 1.9, too old: at least 1.10: pip install -U 'b>=1.10'",
        "d is missing: pip install -U 'd'",
    ]
    assert found["extras"] == {
        "cuda": "jax-cuda13-plugin missing; pip install 'jaxstyle[cuda]'",
        "more": "e missing; pip install 'jaxstyle[more]'",
        "some": "installed",
    }


@pytest.mark.usefixtures("quick")
def test_a_checkout_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert [line.partition(",")[0] for line in doctor.diagnose()["wrong"]] == [
        "jaxstyle itself is not installed"
    ]


def test_damaged_weights_in_the_cache_are_told(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "cache").mkdir()
    (own_home / "cache" / "vgg19.h5").write_bytes(b"half")
    monkeypatch.setattr(doctor, "PROBE", NO_DEVICES)
    found = doctor.diagnose()
    assert found["weights"]["vgg19"] == "cannot be used"
    assert [str(own_home / "cache" / "vgg19.h5") in line for line in found["wrong"]] == [True]
    assert found["cache"]["other files"] == "1, 0.0 MB"


def test_a_mistyped_flag_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--jsno"]) == 2
    said = capfd.readouterr().err
    assert "did you mean --json?" in said
    assert said.count("\n") == 1
