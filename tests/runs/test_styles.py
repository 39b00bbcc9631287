"""Several styles on the command line: files, folders, weights, records, sweeps."""

import csv
import hashlib
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, SHALLOW_FLAGS
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import resize
from jaxstyle.runs import record

FAST = ["--size", "48", "--scales", "1", "--steps", "3", *SHALLOW_FLAGS]


@pytest.fixture
def run(tmp_path: Path, slim_file: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs the command line in a folder with a photo, a painting, and a folder of two."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "coffee.png", "photo.png")
    shutil.copy(EXAMPLES / "strokes.png", "a.png")
    Path("more").mkdir()
    shutil.copy(EXAMPLES / "mosaic.png", "more/m.png")
    shutil.copy(EXAMPLES / "woodcut.png", "more/w.PNG")
    Path("more", "notes.txt").write_text("not a picture")

    def run(*flags: str) -> tuple[int, str, str]:
        base = ["--content", "photo.png", "--weights", str(slim_file), "--quiet", *FAST]
        return main([*base, *flags]), *capfd.readouterr()

    return run


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_folder_is_all_its_pictures_and_has_its_weight_together(run) -> None:
    files = ["a.png", "more/m.png", "more/w.PNG"]
    weights = ["--style-weights", "2,1"]
    assert run("--style", "a.png", "more", *weights)[:2] == (0, "photo-a+more.png\n")
    code, _, _ = run("--style", *files, "--style-weights", "4,1,1", "-o", "same.png")
    assert code == 0
    pictures = [picture_file.load_picture(Path(p)) for p in ("photo-a+more.png", "same.png")]
    np.testing.assert_array_equal(*pictures)
    facts = record.read(Path("photo-a+more.png"))
    assert facts["settings"]["style_weights"] == [2.0, 0.5, 0.5]
    assert facts["style"]["name"] == "a.png + m.png + w.PNG"
    assert facts["style"]["files"] == [
        {"name": Path(each).name, "sha256": sha256(each)} for each in files
    ]
    run("--style", "a.png", "more", "--from", "same.png", "-o", "again.png")
    np.testing.assert_array_equal(picture_file.load_picture(Path("again.png")), pictures[1])


def test_another_order_of_styles_is_another_run(run) -> None:
    facts = []
    for styles in (("a.png", "more/m.png"), ("more/m.png", "a.png")):
        run("--style", *styles, "-o", "x.png", "--force")
        facts.append(record.read(Path("x.png")))
    assert record.changes(*facts) == ["another style picture"]
    assert "style_weights" not in facts[0]["settings"]


def test_blends_and_styles_are_swept(run) -> None:
    blends = ["--sweep", "style-weights", "1,0", "0.5,0.5", "--style", "a.png", "more/m.png"]
    assert run(*blends, "-o", "blends")[0] == 0
    with Path("blends", "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["style_weights"] for row in rows] == ["1,0", "0.5,0.5"]
    assert [row["style"] for row in rows] == ["a.png + m.png"] * 2
    assert run("--sweep", "style", "a.png", "more", "-o", "styles")[0] == 0
    assert sorted(path.name for path in Path("styles").glob("*=*.png")) == [
        "style=a.png",
        "style=more.png",
    ]
    entry = json.loads(Path("styles", "records", "style=more.json").read_text())
    assert entry["run"]["style"]["name"] == "m.png + w.PNG"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--style", "a.png", "b.png"), "b.png does not exist"),
        (("--style", "empty"), "the folder empty has no pictures (.avif .bmp"),
        (
            ("--style", "a.png", "more", "--style-weights", "1,1,1,1"),
            "--style-weights are 4 numbers for 2 styles",
        ),
        (("--style", "a.png", "more", "--style-weights=-1,2"), "style_weights must be 0 or more"),
        (("--style", "a.png", "more", "--style-weights", "1,x"), "must be a number, got 'x'"),
        (("--style", "a.png", "--style-scale", "17"), "style_scale must be above 0 and at most 16"),
        (("--style", "a.png", "--style-size", "small"), "must be a whole number of 1 or more"),
    ],
)
def test_styles_that_cannot_be_used_are_refused(run, flags, told) -> None:
    Path("empty").mkdir()
    assert told in refused(run(*flags))


def save_mask(path: str, *colors: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> None:
    """Writes a mask of as many stripes side by side as colors."""
    stripes = np.repeat(np.array([colors], np.uint8), size[1], axis=0)
    Image.fromarray(stripes).resize(size, Image.Resampling.NEAREST).save(path)


@pytest.mark.slow
def test_masks_say_what_is_painted_like_what_and_what_is_kept(run) -> None:
    red, blue, black, white = (255, 0, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)
    save_mask("p.png", red, blue)
    save_mask("s.png", blue, red)
    save_mask("k.png", black, white, size=(480, 320))
    save_mask("left.png", white, black)
    save_mask("right.png", black, white)
    save_mask("other.png", red, white)
    save_mask("black.png", black)
    styles = ["--style", "a.png", "more/m.png"]
    painted = {}
    for name, flags in {
        "whole": ["--style", "a.png"],
        "regions": ["--style", "a.png", "--regions", "p.png", "s.png"],
        "masks": [*styles, "--mask", "left.png", "right.png"],
        "keep": ["--style", "a.png", "--keep", "k.png"],
    }.items():
        code, _, err = run(*flags, "-o", f"{name}.png")
        assert (code, err) == (0, "")
        painted[name] = picture_file.load_picture(Path(f"{name}.png"))
    for one, other in itertools.combinations(painted.values(), 2):
        assert (one != other).any()
    photo = resize(picture_file.load_picture(Path("photo.png")), (32, 48), resampling="lanczos")
    np.testing.assert_array_equal(painted["keep"][:, 24:], photo[:, 24:])
    assert (painted["keep"][:, :20] != photo[:, :20]).any()
    facts = record.read(Path("regions.png"))
    assert facts["regions"]["name"] == "p.png + s.png"
    assert record.changes(facts, record.read(Path("whole.png"))) == ["other masks"]
    again = ["--style", "a.png", "--from", "regions.png", "-o", "again.png"]
    told = "regions.png was painted with --regions: give it again"
    assert told in refused(run(*again))
    assert run(*again, "--regions", "p.png", "s.png")[0] == 0
    np.testing.assert_array_equal(picture_file.load_picture(Path("again.png")), painted["regions"])
    swept = ["--sweep", "tv-weight", "0", "1", "--keep", "k.png", "--style", "a.png"]
    assert run(*swept, "-o", "out", "--devices", "1")[0] == 0
    for path in Path("out").glob("tv-weight*.png"):
        swept_picture = picture_file.load_picture(path)
        np.testing.assert_array_equal(swept_picture[:, 24:], photo[:, 24:])
    for flags, told in (
        (["--regions", "p.png"], "--regions are 1 masks: give the photo's, then one for each of 1"),
        (["--regions", "p.png", "other.png"], "the region #0000ff of p.png is not in other.png"),
        (["--mask", "left.png", "right.png"], "2 masks for 1 styles: give one for each style"),
        (["--keep", "none.png"], "none.png does not exist"),
        (["--keep", "black.png"], "the mask keeps nothing of the photo"),
        (["--keep", "p.png", "--mask", "left.png", "--regions", "p.png"], "contradict each other"),
    ):
        assert told in refused(run("--style", "a.png", *flags))


def refused(outcome: tuple[int, str, str]) -> str:
    """Returns the one line of a refusal."""
    code, out, err = outcome
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_a_transparent_photo_stays_so(run) -> None:
    photo = np.asarray(Image.open("photo.png").convert("RGBA")).copy()
    half, more = photo.shape[1] // 2, photo.shape[1] * 5 // 8
    photo[:, :half, 3], photo[:, half:more, 3] = 0, 200
    Image.fromarray(photo).save("cut.png")
    settings = ["--content", "cut.png", "--style", "a.png", "--alpha", "keep", "--save-every", "2"]
    assert run(*settings, "-o", "kept.png")[0] == 0
    for name in ("kept.png", "kept-0002.png"):
        with Image.open(name) as image:
            assert image.mode == "RGBA"
            alpha = np.asarray(image)[..., 3]
        assert (alpha[:, :23] == 0).all()
        assert (alpha[:, 25:29] == 200).all()
        assert (alpha[:, 32:] == 255).all()
    run("--content", "cut.png", "--style", "a.png", "-o", "white.png")
    with Image.open("white.png") as image:
        assert image.mode == "RGB"
    kept, white = (picture_file.load_picture(Path(f"{n}.png")) for n in ("kept", "white"))
    assert (kept[:, :23] == 255).all()  # seen over white, as it was not painted
    assert (white[:, :23] != 255).any()
    assert "was painted with --alpha: give it again" in refused(
        run("--style", "a.png", "--from", "kept.png", "-o", "x.png")
    )
    swept = ["--sweep", "tv-weight", "0", "1", "--devices", "1", "-o", "out"]
    assert run(*settings[:6], *swept)[0] == 0
    with Image.open("out/tv-weight=0.png") as image:
        assert image.mode == "RGBA"
    told = "a .jpg file cannot be transparent: choose .png, .webp, .tif, .tiff, .avif"
    assert told in refused(run(*settings, "-o", "kept.jpg"))
    assert run("--style", "a.png", "--alpha", "keep", "-o", "opaque.jpg")[0] == 0


def test_a_folder_is_listed_once(run, monkeypatch) -> None:
    """A file that appears meanwhile changes nothing, and hidden files are no pictures."""
    Path("more", "._m.png").write_bytes(b"a Mac's note")
    read, read_folder, listed = picture_file.load_picture, Path.iterdir, []

    def load_picture(path: Path):
        shutil.copy("a.png", "more/new.png")
        return read(path)

    def iterdir(folder: Path):
        listed.extend([folder] * (folder.name == "more"))
        return read_folder(folder)

    monkeypatch.setattr(picture_file, "load_picture", load_picture)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert run("--style", "more", "--style-weights", "1", "-o", "x.png")[0] == 0
    assert record.read(Path("x.png"))["style"]["name"] == "m.png + w.PNG"
    assert len(listed) == 1
