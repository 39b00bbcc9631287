"""--plot: what it shows, and that it is there however a run ends."""

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.runs import job, output_name, outputs, plot

LOG = """step,size,content,style,tv,total,learning_rate,seconds
1,16x24,0,8,1,9,0.1,0.5
2,16x24,1,4,1,6,0.2,1.0
3,32x48,2,2,1,5,0.1,2.0
"""


def test_it_shows_every_term_the_rate_and_the_levels() -> None:
    pytest.importorskip("matplotlib")
    losses, rate = plot.figure_of(LOG).axes
    lines = {each.get_label(): each for each in losses.lines}
    assert list(lines["style"].get_xdata()) == [1, 2, 3]
    assert list(lines["style"].get_ydata()) == [8, 4, 2]
    assert list(lines["total"].get_ydata()) == [9, 6, 5]
    assert [each.get_text() for each in losses.get_legend().get_texts()] == [
        *("content", "style", "tv", "total")
    ]
    assert list(rate.lines[0].get_ydata()) == [0.1, 0.2, 0.1]
    assert [(each.get_position()[0], each.get_text()) for each in losses.texts] == [
        *((1, "16x24"), (3, "32x48"))
    ]


def test_a_loss_near_nothing_does_not_flatten_the_others() -> None:
    pytest.importorskip("matplotlib")
    losses, _ = plot.figure_of(LOG.replace("16x24,0,8", "16x24,1e-13,8")).axes
    low, high = losses.get_ylim()
    assert high > 9
    assert 9e-5 < low < 2e-3  # of 9, five decades; the margin is another part of one
    losses, _ = plot.figure_of(LOG).axes
    assert 0.5 < losses.get_ylim()[0] < 1  # nothing is cut that is near the others


def test_of_several_runs_each_term_has_a_panel_and_each_run_a_line() -> None:
    pytest.importorskip("matplotlib")
    runs = {"a": {"style": [4.0, 2.0], "total": [5.0, 3.0]}, "b": {"style": [8.0], "total": [None]}}
    figure = plot.figure_of_runs(runs)
    style, total = figure.axes
    assert [each.get_title() for each in figure.axes] == ["style", "total"]
    assert [list(line.get_xdata()) for line in style.lines] == [[1, 2], [1]]
    assert [list(line.get_ydata()) for line in style.lines] == [[4, 2], [8]]
    assert list(total.lines[0].get_ydata()) == [5, 3]
    assert np.isnan(total.lines[1].get_ydata()[0])
    assert [each.get_text() for each in figure.legends[0].get_texts()] == ["a", "b"]
    many = {str(i): {"total": [1.0]} for i in range(plot.MOST_NAMED + 1)}
    assert plot.figure_of_runs(many).legends == []


def test_it_is_a_picture_beside_the_result(paint) -> None:
    pytest.importorskip("matplotlib")
    code, _, _ = paint("-o", "out.png", "--plot", "run.png")
    assert code == 0
    with Image.open("run.png") as picture:
        assert picture.size == (960, 720)
        assert len(set(picture.convert("L").tobytes())) > 2
    code, _, err = paint("-o", "other.png", "--plot", "run.png")
    assert code == 2
    assert "run.png exists" in err
    assert not Path("other.png").exists()


def test_it_is_kept_after_an_interruption(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")

    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outputs, "save_numbered", stop)
    code, _, _ = paint("-o", "out.png", "--plot", "run.svg", "--save-every", "2")
    assert code == 130
    assert Path("run.svg").read_text().startswith("<?xml")


def test_a_full_disk_is_told_and_leaves_nothing(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_plot", full)
    code, out, err = paint("-o", "out.png", "--plot", "run.png")
    assert (code, out) == (1, "out.png\n")
    assert "warning: the plot could not be written: No space left on device" in err
    assert not Path("run.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--plot", "run.gif"), "the plot run.gif must end in .png or .svg or .pdf"),
        (("--plot", "photo.png"), "is also an input"),
        (("--plot", "out.png"), "are the same file"),
        (
            ("--plot", "a/run.png", "--sweep", "seed", "1", "2"),
            "--plot a/run.png: in a sweep it is in the folder; give a name alone",
        ),
    ],
)
def test_what_cannot_be_is_refused(paint, flags: tuple[str, ...], message: str) -> None:
    code, _, err = paint("-o", "out.png", *flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_without_matplotlib_it_says_how_to_get_it(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_name.util, "find_spec", lambda name: None)
    code, _, err = paint("--plot", "run.png")
    assert code == 2
    assert err == "jaxstyle: error: --plot run.png needs matplotlib: pip install 'jaxstyle[plot]'\n"
