"""Memory before a run: limits as the system states them, the formula, refusals in one line."""

import dataclasses
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from conftest import EXAMPLES

from jaxstyle.errors import InputError
from jaxstyle.machine import column_memory, memory
from jaxstyle.machine.memory import Memory
from jaxstyle.machine.process import LEAN_FLAG, compile_leanly, compiles_leanly
from jaxstyle.optimization import strip_loop, strips
from jaxstyle.settings.presets import preset

RECIPE, _ = preset()
SQUARE = ((1000, 1000), (1000, 1000))


def test_a_cgroup_says_what_is_left(tmp_path: Path) -> None:
    """Its limit less what is used, but for file cache that can be given back."""
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("700000000\n")
    (tmp_path / "memory.stat").write_text("anon 500000000\ninactive_file 200000000\n")
    (found,) = memory.cgroup_memory(tmp_path)
    assert found == Memory(1_500_000_000, "the limit 2.0 GB of its cgroup")
    (tmp_path / "memory.max").write_text("max\n")
    assert list(memory.cgroup_memory(tmp_path)) == []


def test_memory_is_by_the_pixel_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """1024 rows more are so many pixels, in as even strips.

    Each has a state of four images, what proximal steps need, and its part of the content's maps,
    256 channels at 1/4 and 512 at 1/8.
    """
    monkeypatch.setenv("XLA_FLAGS", "")
    for mode in memory.MEMORY_MODES:
        one, two = (
            memory.memory_of((height, 1000), SQUARE[1], recipe=RECIPE, mode=mode)
            for height in (6144, 7168)
        )
        a_pixel = (
            memory.COSTS[mode, False].per_pixel
            + 4 * 12
            + memory.DUALS
            + memory.PICTURES
            + 4 * 256 // 16
            + 4 * 512 // 64
            + (memory.L2_POOLS if mode == "plain" else 0)
        )
        assert two - one == 1_024_000 * a_pixel


def test_heights_are_cut_evenly_as_strips_are_cut() -> None:
    for height in range(16, 700):
        cut = strip_loop.cut_rows(height, 2, strips.ROWS)
        assert memory._cuts_evenly(height) == (cut.strips * cut.rows == height)
    assert memory._cuts_evenly(0)


def test_more_and_larger_taps_need_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more of block 1, of 64 channels: 2 x 256 bytes a pixel, in strips of 72 rows' alone."""
    monkeypatch.setenv("XLA_FLAGS", "")
    layers = ("relu1_1", "relu1_2", "conv1_2", "relu2_1", "relu3_1", "relu4_1", "conv5_1")
    book, more = preset("book")[0], preset("book", style_layers=layers)[0]
    for mode, rows in (("plain", 1000), ("strips", 72)):
        few, many = (memory.step_memory(SQUARE[0], recipe=each, mode=mode) for each in (book, more))
        assert many - few == 2 * 256 * rows * 1000


def test_needs_are_rounded_up_and_free_memory_down() -> None:
    assert memory.gigabytes(2_300_000_001) == "2.4 GB"
    assert memory.gigabytes(2_399_999_999, up=False) == "2.3 GB"


def test_auto_is_plain_where_that_fits() -> None:
    needs = {
        mode: memory.memory_of(*SQUARE, recipe=RECIPE, mode=mode, started=True)
        for mode in ("plain", "strips")
    }
    assert memory.memory_mode_of(RECIPE, *SQUARE, Memory(needs["plain"], "")) == "plain"
    assert memory.memory_mode_of(RECIPE, *SQUARE, Memory(needs["plain"] - 1, "")) == "strips"
    for mode in ("plain", "strips"):
        recipe, _ = preset(memory=mode)
        assert memory.memory_mode_of(recipe, *SQUARE, Memory(0, "")) == mode


def test_of_address_space_nothing_is_given_back() -> None:
    """So the compiler's and the steps' add up, and what is never used counts too."""
    small = (16, 16), (16, 16)
    how = {"recipe": RECIPE, "mode": "plain"}
    used, asked = (
        memory.bytes_needed(*small, **how, memory=Memory(0, "", kind)) for kind in (False, True)
    )
    assert asked > used + memory.ADDRESSES
    steps = memory.step_memory(small[0], **how)
    started = memory.bytes_needed(*small, **how, memory=Memory(0, "", True), started=True)
    assert memory.COMPILING + steps < started < asked


@pytest.mark.parametrize("mode", ["plain", "strips"])
def test_the_largest_size_fits_and_the_next_does_not(mode: str) -> None:
    recipe, _ = preset(memory=mode)
    sides = (800, 1000), (700, 900)
    size = memory.largest_size(*sides, recipe=recipe, mode=mode, memory=Memory(4 * 10**9, ""))

    def check(long_side: int) -> None:
        canvas = round(0.8 * long_side), long_side
        style = round(7 / 9 * long_side), long_side
        memory.check_fits(canvas, style, recipe=recipe, memory=Memory(4 * 10**9, "a test"))

    check(size)
    with pytest.raises(InputError, match=r"can be used \(a test\): choose --size"):
        check(size + 1)


def test_below_the_largest_size_every_size_fits() -> None:
    """Heights that are cut evenly need less; what is advised leaves room for those that are not."""
    for bytes_free in (20_005_000_000, 5_000_000_000, 2_400_000_000):
        free = Memory(bytes_free, "a test")
        largest = memory.largest_size(*SQUARE, recipe=RECIPE, mode="strips", memory=free)
        for size in range(largest - 300, largest + 1):
            sides = (size, size), (size, size)
            assert memory.fits(*sides, recipe=RECIPE, mode="strips", memory=free, started=False), (
                size
            )


def test_what_a_refusal_advises_is_accepted_and_can_be_painted() -> None:
    exact, _ = preset(size=(1500, 1000))
    free = Memory(2_200_000_000, "a test")
    with pytest.raises(InputError, match=r"choose --size \d+x\d+ or smaller$") as caught:
        memory.check_fits((6000, 4000), (6000, 4000), recipe=exact, memory=free)
    height, width = map(int, str(caught.value).split()[-3].split("x"))
    assert abs(height / width - 1.5) < 0.01
    memory.check_fits((height, width), (height, width), recipe=exact, memory=free)
    wide = (100, 20_000)  # at the size that fits it has too few rows for conv5_1
    with pytest.raises(InputError, match="no size fits"):
        memory.check_fits(wide, wide, recipe=RECIPE, memory=Memory(1_850_000_000, "a test"))


def test_a_memory_mode_that_does_not_fit_names_the_one_that_does() -> None:
    recipe, _ = preset(memory="plain")
    with pytest.raises(InputError, match=r"or --memory strips, which needs \d"):
        memory.check_fits(
            (2000, 2000), (2000, 2000), recipe=recipe, memory=Memory(4 * 10**9, "a test")
        )


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
def test_too_big_a_picture_is_refused_before_jax_is_imported() -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9,) * 2)\n"
        "from jaxstyle.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "assert 'jax' not in sys.modules\n"
        "sys.exit(code)"
    )
    pictures = ("--content", EXAMPLES / "coffee.png", "--style", EXAMPLES / "strokes.png")
    result = subprocess.run(
        [sys.executable, "-c", code, *pictures, "--size", "3000x3000", "--device", "cpu"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("jaxstyle: error: 3000x3000 needs about ")
    assert "of its address space): choose --size " in line


def test_the_compilers_flag_is_set_for_tested_versions_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    for version, given, expected in (
        ("0.10.2", "--xla_x=1", f"--xla_x=1 {LEAN_FLAG}=false"),
        ("0.10.2", f"{LEAN_FLAG}=true", f"{LEAN_FLAG}=true"),
        ("99.0", "", ""),
    ):
        monkeypatch.setenv("XLA_FLAGS", given)
        monkeypatch.setattr(metadata, "version", lambda _, found=version: found)
        compile_leanly()
        assert os.environ["XLA_FLAGS"] == expected
        assert compiles_leanly() == expected.endswith("=false")


def test_the_search_for_the_nearest_columns_is_counted() -> None:
    """Columns of 64 + 128 + 256 + 512 + 512 channels at a sixteenth of the pixels.

    A step has its targets and one layer of the canvas after another, what is doubled twice. The
    search has three of the canvas's and two of the style's, and 2^23 similarities thrice; in
    very large pictures 16 for each position.
    """
    columns = 4 * (64 + 128 + 256 + 512 + 512) // 16
    nearest = preset(style_loss="nearest")[0]
    assert (
        column_memory.step_column_bytes(RECIPE)
        == column_memory.matching_bytes(*SQUARE, recipe=RECIPE)
        == 0
    )
    assert column_memory.step_column_bytes(nearest) == 2 * columns + 2 * 4 * 1024 // 16
    found = column_memory.matching_bytes((1000, 1000), (500, 600), recipe=nearest)
    assert found == columns * (3 * 1_000_000 + 2 * 300_000) + 3 * 4 * 2**23
    large = column_memory.matching_bytes((8192, 8192), (500, 600), recipe=nearest)
    assert large == columns * (3 * 2**26 + 2 * 300_000) + 3 * 4 * 16 * 2**22
    least = memory.step_memory(SQUARE[0], recipe=RECIPE, mode="strips")
    assert memory.step_memory(SQUARE[0], recipe=nearest, mode="strips") > least + 700 * 10**6
    assert column_memory.copied_bytes(*SQUARE, recipe=RECIPE) == 0
    small = memory.memory_of((64, 64), (4000, 4000), recipe=nearest, mode="strips")
    assert small > memory.KERNELS + 2 * columns * 16_000_000


def test_what_points_need_is_counted_and_does_not_grow() -> None:
    """The photo's columns at 128 x 128 points, four times the style's 5000, six the canvas's 1024.

    And six products of channels with channels, and of points with points.
    """
    sampled = preset("strotss", style_layers=("relu1_1", "relu5_1"))[0]
    found = column_memory.sample_bytes((1000, 1000), recipe=sampled)
    columns = 576 * (128**2 + 4 * 5000 + 6 * 1024 + 6 * 576)
    assert found == 4 * (columns + 6 * 1024 * 5000)
    assert column_memory.sample_bytes((9000, 9000), recipe=sampled) == found
    assert column_memory.sample_bytes((10, 10), recipe=sampled) == found - 4 * 576 * (128**2 - 100)
    assert column_memory.sample_bytes((1000, 1000), recipe=RECIPE) == 0
    assert column_memory.copied_bytes((1000, 1000), (9, 9), recipe=sampled) == found
    gram = dataclasses.replace(sampled, style_loss="gram")
    needs = [memory.step_memory((64, 64), recipe=r, mode="strips") for r in (sampled, gram)]
    assert needs[0] - needs[1] == column_memory.sample_bytes((64, 64), recipe=sampled)
