"""--film: which frames it has, and that it is there however a run ends."""

import gc
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.images.film_file import encode_film
from jaxstyle.images.picture_file import load_picture
from jaxstyle.runs import film, output_name, outputs


def test_frames_are_evenly_in_log_time_and_bounded() -> None:
    assert film.due_steps(1) == [1]
    assert film.due_steps(4) == [1, 2, 3, 4]
    due = film.due_steps(100_000)
    assert (due[0], due[-1]) == (1, 100_000)
    assert len(due) <= 120
    late = np.array(due[60:], float)
    np.testing.assert_allclose(late[1:] / late[:-1], 100_000 ** (1 / 119), rtol=5e-3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 451), (300, 452)), ((4096, 2048), (720, 360)), ((32, 48), (32, 48)), ((1, 9), (2, 8))],
)
def test_frames_are_even_and_not_large(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert film.frame_size(size) == expected


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_film_has_its_frames_and_holds_the_last(suffix: str, tmp_path: Path) -> None:
    frames = [np.full((16, 24, 3), value, np.uint8) for value in (0, 120, 250)]
    path = tmp_path / f"film{suffix}"
    path.write_bytes(encode_film(frames, suffix))
    with Image.open(path) as picture:
        assert (picture.size, picture.n_frames) == ((24, 16), 3)
        for number, frame in enumerate(frames):
            picture.seek(number)
            shown = np.asarray(picture.convert("RGB"), int)
            assert np.abs(shown - frame).max() <= 6
            assert picture.info["duration"] == pytest.approx((41, 41, 2000)[number], abs=2)


def test_mp4_is_written_by_ffmpeg(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    path.write_bytes(encode_film([np.full((32, 48, 3), 90, np.uint8)] * 3, ".mp4"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of its pipes, which it leaves open
        reader = ffmpeg.read_frames(str(path))
        facts, frames = next(reader), list(reader)
        del reader
        gc.collect()
    assert (facts["size"], facts["fps"], len(frames)) == ((48, 32), 24, 3 + 2 * 24)
    assert abs(np.frombuffer(frames[-1], np.uint8).astype(int) - 90).max() <= 4


def test_the_last_frame_is_the_result(paint) -> None:
    code, _, _ = paint("-o", "out.png", "--film", "run.webp", "--scales", "0.5,1")
    assert code == 0
    with Image.open("run.webp") as picture:
        assert picture.size == (48, 32)
        assert picture.n_frames >= 2
        picture.seek(picture.n_frames - 1)
        shown = np.asarray(picture.convert("RGB"), int)
    assert np.abs(shown - load_picture(Path("out.png"))).mean() < 6
    code, _, err = paint("-o", "other.png", "--film", "run.webp")
    assert (code, Path("other.png").exists()) == (2, False)
    assert "run.webp exists" in err


def test_it_is_kept_after_an_interruption(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outputs, "save_numbered", stop)
    code, _, _ = paint("-o", "out.png", "--film", "run.gif", "--save-every", "2")
    assert code == 130
    with Image.open("run.gif") as picture:
        assert picture.size == (48, 32)


def test_a_film_that_cannot_be_written_is_told(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(film, "encode_film", full)
    code, out, err = paint("-o", "out.png", "--film", "run.gif")
    assert (code, out) == (1, "out.png\n")
    assert "warning: the film could not be written: No space left on device" in err
    assert not Path("run.gif").exists()


def test_what_cannot_be_is_refused(paint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must end in .mp4 or .gif or .webp" in paint("--film", "run.avi")[2]
    assert "--film is for single runs" in paint("--film", "r.gif", "--sweep", "seed", "1", "2")[2]
    monkeypatch.setattr(output_name.util, "find_spec", lambda name: None)
    code, _, err = paint("--film", "run.mp4")
    assert code == 2
    assert err.endswith("run.mp4 needs imageio_ffmpeg: pip install 'jaxstyle[film]'\n")
