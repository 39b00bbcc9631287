"""GPUs, without one: whose memory it is, what is said when it is used up, and of bits."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from jaxstyle.cli.flags import parse
from jaxstyle.errors import ExhaustedError, InputError
from jaxstyle.machine import devices, gpu, memory
from jaxstyle.machine.gpu import Card
from jaxstyle.machine.memory import Memory
from jaxstyle.machine.process import DETERMINISTIC_FLAG, compute_deterministically
from jaxstyle.settings.presets import preset
from jaxstyle.sweeps import job

GB = 10**9
RECIPE, _ = preset("book")


def device(limit: int, in_use: int = 0, pool: int = 0) -> Any:
    stats = {"bytes_limit": limit, "bytes_in_use": in_use, "pool_bytes": pool}
    told = SimpleNamespace(platform="gpu", device_kind="a card", local_hardware_id=0)
    told.memory_stats = lambda: stats
    told.process_index = 0
    return told


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[Card | None]:
    """What the driver says: the first of the list."""
    told: list[Card | None] = [Card(GB // 2, 80 * GB)]
    monkeypatch.setattr(devices, "card_of", lambda number: told[0])
    return told


def test_what_jax_may_take_counts_and_the_setting_is_named(card, monkeypatch) -> None:
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".5")
    found = devices.device_memory(device(40 * GB, in_use=GB))
    assert found.bytes == 39 * GB
    assert "part .5 of the memory of a card, XLA_CLIENT_MEM_FRACTION" in found.limit
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", ".6")
    assert gpu.fraction() == ".6"


def test_what_another_process_holds_is_not_free(card) -> None:
    """70 GB are used, of which 2 are the own pool's and 1 the context's; 10 are free, and 1.5."""
    card[0] = Card(70 * GB, 80 * GB)
    found = devices.device_memory(device(60 * GB, in_use=GB // 2, pool=2 * GB))
    assert found.bytes == 10 * GB + 3 * GB // 2
    assert found.limit == "a card, of which another process holds 67.0 GB"
    card[0] = None  # a driver that says nothing
    assert devices.device_memory(device(60 * GB)).bytes == 60 * GB


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (70 * GB, "another process holds 69.0 GB of this GPU's: wait for it, or choose less"),
        (GB, "not enough memory: choose less"),
    ],
)
def test_memory_that_is_used_up_is_told_in_one_line(card, used: int, expected: str) -> None:
    card[0] = Card(used, 80 * GB)
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmany\nlines")
    found = devices.of_the_system(error, device(60 * GB), lambda: "choose less")
    assert isinstance(found, ExhaustedError)
    assert str(found).endswith(expected)
    assert "\n" not in str(found)


def test_the_advice_is_a_size_that_needs_three_quarters() -> None:
    """By the formula; and strips, where maps were whole."""
    sides, free = ((2048, 2048), (2048, 2048)), Memory(2**62, "")
    how: Any = {"recipe": RECIPE, "mode": "plain", "memory": free, "started": True}
    need = memory.bytes_needed(*sides, **how)
    exact, _ = preset("book", size=2048)
    given: Any = {"recipe": exact, "mode": "plain"}
    advice = memory.advice_if_exhausted(*sides, **given, memory=free)
    size = int(advice.split("--size ")[1].split()[0])
    asked = memory.bytes_needed((size, size), (size, size), **how)
    assert 0.74 * need < asked <= 0.75 * need
    assert advice.endswith("or smaller, or --memory strips")
    small = (64, 64), (64, 64)
    assert memory.advice_if_exhausted(*small, **given, memory=free) == "choose a smaller --size"


def test_the_driver_is_asked_for_the_card_that_is_seen(tmp_path: Path, monkeypatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$2" = 3 ] && echo "1000, 81559"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,3")
    assert gpu.card_of(1) == Card(1000 * 2**20, 81559 * 2**20)
    assert gpu.card_of(0) is None  # it says nothing of that one
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert gpu.card_of(1) is None


def test_what_is_said_of_bits(monkeypatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_x=1")
    assert gpu.bits_notice("cpu", goes_on=True) is None
    assert gpu.bits_notice("gpu", goes_on=False) is None
    told = gpu.bits_notice("gpu", goes_on=True)
    assert told is not None
    assert "not promised" in told
    assert "--deterministic" in told
    monkeypatch.delitem(sys.modules, "jax")
    compute_deterministically()
    compute_deterministically()
    assert os.environ["XLA_FLAGS"] == f"--xla_x=1 {DETERMINISTIC_FLAG}=true"
    told = gpu.bits_notice("gpu", goes_on=True)
    assert told is not None
    assert "up to twice the time" in told
    monkeypatch.setenv("XLA_FLAGS", f"{DETERMINISTIC_FLAG}=false")
    compute_deterministically()
    assert os.environ["XLA_FLAGS"] == f"{DETERMINISTIC_FLAG}=false"


def test_the_flag_of_bits() -> None:
    given = ["--content", "c.png", "--style", "s.png"]
    for flags, expected in (([], False), (["--deterministic"], True)):
        parsed = parse([*given, *flags])
        assert parsed is not None
        assert parsed.devices.deterministic is expected


def test_a_sweep_is_held_to_the_memory_of_its_device(card) -> None:
    """On a GPU; a run too large is named before anything is painted."""
    recipe, _ = preset("book", size=(900, 900))
    picture = SimpleNamespace(shape=(1000, 1000, 3))
    settings = SimpleNamespace(recipe=recipe)
    inputs = SimpleNamespace(settings=settings, content=picture, styles=(picture,))
    run = SimpleNamespace(run=SimpleNamespace(name="a-run"), inputs=inputs)
    check: Any = job._check_fits
    check([run], [device(40 * GB)])
    with pytest.raises(InputError, match=r"a-run: 900x900 needs about .*can be used"):
        check([run], [device(GB)])
