"""A third term of the loss that the package does not know: all that shows losses shows it, too."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS

from jaxstyle.cli.main import main
from jaxstyle.images.canvas import normalize, resize
from jaxstyle.images.picture_file import load_picture
from jaxstyle.optimization import problem
from jaxstyle.runs import record

WEIGHT = 50.0
ROUNDING = 0.02
"""Of the picture to 8 bits: all values leave whole numbers by about as much, in one direction."""

TERMS = ["content", "style", "tv", "brightness"]


def brightness(canvas, sums, problem):
    """The mean square of the canvas, which is 0 where it has the mean color of photos."""
    return WEIGHT * jnp.mean(jnp.square(canvas))


def numpy_brightness(picture) -> float:
    """The same of a picture, 8-bit, in float64."""
    return WEIGHT * float(np.mean(np.square(normalize(picture).astype(np.float64))))


@pytest.fixture
def flags(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Adds the term, works in an empty folder; returns what every command is given."""
    added = {**problem.LOSS_TERMS, "brightness": brightness}
    monkeypatch.setattr(problem, "LOSS_TERMS", added)
    monkeypatch.chdir(tmp_path)
    pictures = ["--content", str(EXAMPLES / "coffee.png"), "--style", str(EXAMPLES / "strokes.png")]
    small = ["--size", "32", "--scales", "1", "--steps", "3", "--learning-rate", "0.05"]
    return [*pictures, "--weights", str(slim_file), *small, *SHALLOW_FLAGS]


@pytest.fixture
def expected() -> float:
    """The brightness of the first canvas, which is the photo."""
    photo = load_picture(EXAMPLES / "coffee.png")
    return numpy_brightness(resize(photo, (21, 32), resampling="lanczos"))


def test_log_progress_and_record_of_a_run_show_it(flags, expected, capsys) -> None:
    assert main([*flags, "-o", "out.png", "--log", "log.csv"]) == 0
    with Path("log.csv").open(newline="") as file:
        names, *rows = csv.reader(file)
    assert names == ["step", "size", *TERMS, "total", "learning_rate", "seconds"]
    values = np.array([row[2:7] for row in rows], float)
    assert values[0, 3] == pytest.approx(expected, rel=1e-5)
    assert values[:, 4] == pytest.approx(values[:, :4].sum(1), rel=1e-5)
    assert values[-1, 3] < 0.98 * values[0, 3]  # its gradient counts, beside proximal steps
    line = capsys.readouterr().err.splitlines()[-1]
    shown = [f"{name} {value:.3g}" for name, value in zip(TERMS, values[-1], strict=False)]
    assert f"step 3/3 at 21x32: {' '.join(shown)} total" in line
    losses = record.read(Path("out.png"))["losses"]
    assert set(losses) == {*TERMS, "total"}
    in_the_picture = numpy_brightness(load_picture(Path("out.png")))
    assert losses["brightness"] == pytest.approx(in_the_picture, rel=ROUNDING)


def test_records_table_and_page_of_a_sweep_show_it(flags, expected, capsys) -> None:
    assert main([*flags, "--sweep", "tv-weight", "0", "1", "-o", "out"]) == 0
    capsys.readouterr()
    with Path("out/sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = Path("out/index.html").read_text()
    assert "<th><button>brightness</button></th>" in page
    for row in rows:
        entry = json.loads(Path("out/records", row["file"]).with_suffix(".json").read_text())
        assert entry["curves"]["brightness"][0] == pytest.approx(expected, rel=1e-5)
        final = entry["run"]["losses"]["brightness"]
        painted = numpy_brightness(load_picture(Path("out", row["file"])))
        assert final == pytest.approx(painted, rel=ROUNDING)
        assert float(row["brightness_loss"]) == pytest.approx(final, rel=1e-8)
        assert f'data-key="{final:.4g}"' in page


def test_a_term_that_is_not_finite_is_named(flags, capsys, monkeypatch) -> None:
    added = {**problem.LOSS_TERMS, "brightness": lambda *given: brightness(*given) / 0}
    monkeypatch.setattr(problem, "LOSS_TERMS", added)
    assert main([*flags, "--size", "24", "--quiet"]) == 1  # another program than above
    assert "the brightness loss became NaN or infinite at step 1" in capsys.readouterr().err
