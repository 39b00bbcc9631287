"""Records: what is in them, what comes back, and what a manipulated one does."""

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import slim_params
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstyle import __version__, files
from jaxstyle.cli.flags import parse
from jaxstyle.cli.main import main
from jaxstyle.errors import InputError
from jaxstyle.images import picture_file
from jaxstyle.images.canvas import Picture
from jaxstyle.runs import record
from jaxstyle.runs.inputs import read_inputs, read_settings
from jaxstyle.runs.reader import Settings
from jaxstyle.settings.fields import field_names, later_defaults
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS, preset
from jaxstyle.settings.recipe import Recipe
from jaxstyle.weights.weight_file import weight_bytes

SHA = "ab" * 32
FIELDS = field_names(Recipe) + field_names(Hyperparams)


def some_record(**changes: Any) -> record.Record:
    """Returns a record as a run writes it; `changes` are to its settings."""
    recipe, hyper = preset("book", scales=(0.5, 1.0), style_weight=3.0, pooling="avg")
    values = record.settings(recipe, hyper, preset="book", init="noise", seed=7)
    return {
        "settings": {**values, **changes},
        "weights": {"name": "slim.h5", "sha256": SHA},
        "versions": record.versions(),
        "content": {"name": "a.jpg", "sha256": SHA},
    }


def write(path: Path, facts: Any) -> Path:
    text = facts if isinstance(facts, str) else json.dumps(facts)
    picture = np.zeros((2, 2, 3), np.float32)
    path.write_bytes(picture_file.encode(picture, ".png", {record.KEYWORD: text}))
    return path


def from_picture(path: Path, *flags: str) -> tuple[Settings, list[str]]:
    """Returns what `--from` makes of a picture, and what it says."""
    said: list[str] = []
    arguments = parse(["--content", "c", "--style", "s", "--from", str(path), *flags])
    assert arguments is not None
    return read_settings(arguments, say=said.append), said


@pytest.mark.parametrize("name", PRESETS)
def test_every_setting_comes_back(name: str, tmp_path: Path) -> None:
    recipe, hyper = PRESETS[name].recipe, PRESETS[name].hyper
    facts = {**some_record(), "settings": record.settings(recipe, hyper, preset=name)}
    path = write(tmp_path / "a.png", record.to_text(facts)[record.KEYWORD])
    assert record.restore(record.read(path)) == (recipe, hyper, {"preset": name}, [])


def test_settings_holds_every_field_and_the_others() -> None:
    """But for those that came later and have their defaults; another value is in it."""
    every = {*FIELDS, *record.OTHER_SETTINGS}
    assert set(some_record()["settings"]) == every - set(later_defaults(Recipe, Hyperparams))
    recipe, hyper = PRESETS["book"].recipe, PRESETS["book"].hyper
    other = dataclasses.replace(recipe, optimizer="another")
    assert record.settings(other, hyper)["optimizer"] == "another"
    assert {"optimizer", "colors", "color_match"} <= set(later_defaults(Recipe, Hyperparams))


def test_texts_are_those_of_the_record_and_its_maker() -> None:
    text = record.to_text(some_record())
    assert text["Software"] == f"jaxstyle {__version__}"
    assert json.loads(text["jaxstyle"])["settings"]["size"] == [300, 450]
    assert record.to_text(dict(reversed(some_record().items()))) == text


def have_compiled(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has jaxstyle-cpu be installed in a version, or not, whatever is."""
    real = metadata.version

    def version_of(name: str) -> str:
        if name != record.COMPILED:
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", version_of)


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    have_compiled(None, monkeypatch)


@pytest.mark.usefixtures("nothing_compiled")
def test_versions_name_every_package_that_counts() -> None:
    import jax
    import PIL

    versions = record.versions()
    assert set(versions) == {"jaxstyle", "jax", "jaxlib", "flax", "optax", "numpy", "pillow"}
    assert versions["jax"] == jax.__version__
    assert versions["numpy"] == np.__version__
    assert versions["pillow"] == PIL.__version__


def test_a_file_is_known_by_its_base_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    assert record.file_facts(path) == {"name": "a.jpg", "sha256": files.sha256(path)}


def test_names_that_are_not_unicode_survive(tmp_path: Path) -> None:
    facts = some_record()
    facts["content"]["name"] = "caf\udce9 🧀\n.jpg"
    path = tmp_path / "a.png"
    path.write_bytes(picture_file.encode(np.zeros((2, 2, 3)), ".png", record.to_text(facts)))
    assert record.read(path)["content"]["name"] == "caf\udce9 🧀\n.jpg"


def test_from_takes_everything(tmp_path: Path) -> None:
    found, said = from_picture(write(tmp_path / "a.png", some_record()))
    assert found.recipe.size == (300, 450)
    assert found.recipe.scales == (0.5, 1.0)
    assert (found.recipe.pooling, found.hyper.style_weight) == ("avg", 3.0)
    assert (found.preset, found.init, found.seed) == ("book", "noise", 7)
    assert (found.weights, said) == ("auto", [])


def test_flags_override_what_the_picture_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", some_record())
    flags = ("--pooling", "max", "--seed", "0", "--init", "style", "--weights", "vgg19")
    found, _ = from_picture(path, *flags)
    assert (found.recipe.pooling, found.seed, found.init) == ("max", 0, "style")
    assert found.weights == "vgg19"
    assert found.hyper.style_weight == 3.0
    found, _ = from_picture(path, "--preset", "book-mxnet")
    assert (found.preset, found.hyper.style_weight, found.seed) == ("book-mxnet", 1e4, 7)


def test_schedule_and_layer_weights_come_back_as_they_were(tmp_path: Path) -> None:
    """And are not chosen anew because decay_rate and layers are "given"."""
    changes = {"schedule": "cosine", "style_layer_weights": [1, 2, 3, 4, 0.5]}
    found, _ = from_picture(write(tmp_path / "a.png", some_record(**changes)))
    assert found.recipe.schedule == "cosine"
    assert found.hyper.style_layer_weights == (1, 2, 3, 4, 0.5)


def test_embedded_weights_are_taken_again(tmp_path: Path) -> None:
    facts = {**some_record(), "weights": {"name": "vgg19-oxford", "sha256": SHA}}
    assert from_picture(write(tmp_path / "a.png", facts))[0].weights == "embedded"


OLD_SHA = "c15b920096dc518032303380e564bf0de16cc2a809a2d4b26b26cad0b4db14fe"
"""Of weights/vgg16-hed.h5, which the package brought before."""


@pytest.mark.parametrize(("name", "sha"), [("vgg16-hed", OLD_SHA), ("copy.h5", OLD_SHA)])
def test_the_weights_embedded_before_are_said_to_be_gone(
    tmp_path: Path, name: str, sha: str
) -> None:
    facts = {**some_record(), "weights": {"name": name, "sha256": sha}}
    assert from_picture(write(tmp_path / "a.png", facts))[0].weights == "embedded"
    (line,) = record.differences(facts, SHA)
    assert f"made with other weights: {name}, sha256 c15b920096dc..., not abababababab" in line
    assert "the VGG-16 that jaxstyle embedded before and no longer brings" in line
    assert line.endswith("the settings are the same, and the picture will be another")
    assert record.differences(facts, OLD_SHA) == []  # given as a path, they are still taken
    (line,) = record.differences(some_record(), OLD_SHA)
    assert "embedded before" not in line


def test_an_unknown_setting_is_ignored_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", some_record(zeal=3, **{"new\nline": 1}))
    found, said = from_picture(path)
    assert found.hyper.style_weight == 3.0
    assert len(said) == 2
    assert all(line.startswith("warning: ") and "ignored" in line for line in said)
    assert "'new\\nline'" in said[0]
    assert "'zeal'" in said[1]


def test_a_setting_that_is_missing_is_the_defaults(tmp_path: Path) -> None:
    facts = some_record()
    del facts["settings"]["tv_weight"], facts["settings"]["seed"], facts["settings"]["init"]
    found, _ = from_picture(write(tmp_path / "a.png", facts))
    assert (found.hyper.tv_weight, found.seed, found.init) == (10.0, 0, "content")


@pytest.mark.parametrize("name", ["portrait.png", "noise"])
def test_a_picture_that_the_run_began_from_must_be_named_again(tmp_path: Path, name: str) -> None:
    facts = {**some_record(init=name), "init": {"name": name, "sha256": SHA}}
    path = write(tmp_path / "a.png", facts)
    with pytest.raises(InputError, match=f"begun from the picture {name}: name it with --init"):
        from_picture(path)
    assert from_picture(path, "--init", "content")[0].init == "content"


def without(name: str) -> record.Record:
    return {key: value for key, value in some_record().items() if key != name}


@pytest.mark.parametrize(
    "facts",
    [
        "",
        "no json",
        "[" * 100_000,
        "[]",
        "null",
        '"text"',
        "{}",
        '{"settings": [], "weights": {}, "versions": {}}',
        '{"settings": {"steps": 1' + "0" * 5000 + '}, "weights": {}, "versions": {}}',
        without("settings"),
        without("weights"),
        without("versions"),
        {**some_record(), "weights": []},
        {**some_record(), "weights": "vgg19"},
        {**some_record(), "versions": None},
    ],
)
def test_what_is_no_record_is_refused(facts: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: its settings cannot be read"):
        from_picture(write(tmp_path / "a.png", facts))


def test_a_picture_without_record_is_refused(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(picture_file.encode(np.zeros((2, 2, 3)), suffix, {}))
        with pytest.raises(InputError, match="carries no settings"):
            from_picture(path)


WRONG = (None, True, float("nan"), float("-inf"), "x", "1\n2", [], {}, [[1, 2], [3]], 10**300, -1)


@pytest.mark.parametrize("name", [*FIELDS, *record.OTHER_SETTINGS])
@pytest.mark.parametrize("value", WRONG)
def test_a_setting_of_the_wrong_kind_is_refused_in_one_line(name: str, value: Any) -> None:
    if name in ("preset", "init") and isinstance(value, str):
        return
    right = (
        ("clip", True),
        ("upscale", True),
        ("extrapolate", True),
        ("carry", True),
        ("style_weights", []),
    )
    if (name, value) in (*right, ("steps_power", -1)):
        return  # of the right kind
    with pytest.raises(InputError) as caught:
        record.restore(json.loads(json.dumps(some_record(**{name: value}))))
    assert "in that picture cannot be used" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*FIELDS, *record.OTHER_SETTINGS]), JSON))
def test_whatever_a_record_holds_it_is_used_or_refused(changes: dict[str, Any]) -> None:
    try:
        recipe, hyper, others, unknown = record.restore(some_record(**changes))
    except InputError as error:
        message = str(error)
    else:
        message = "fine"
        assert unknown == []
        assert type(others["seed"]) is int
        assert {type(each) for each in dataclasses.astuple(hyper)} == {float, int, tuple}
        hash(recipe)
    assert len(message.splitlines()) == 1


def test_a_setting_that_was_not_there_yet_leaves_all_as_it_was() -> None:
    """Whatever the default preset says of it today."""
    facts = some_record()
    for name in ("tv_step", "beta2", "coarse_content"):
        del facts["settings"][name]
    recipe, hyper, _, _ = record.restore(facts)
    assert (recipe.tv_step, recipe.beta2) == ("gradient", "constant")
    assert hyper.coarse_content == 1.0
    assert (recipe, hyper) == record.restore(some_record())[:2]


@pytest.mark.usefixtures("nothing_compiled")
def test_differences_are_said() -> None:
    facts = some_record()
    assert record.differences(facts, SHA) == []
    (line,) = record.differences(facts, "cd" * 32)
    assert "other weights: slim.h5, sha256 abababababab..., not cdcdcdcdcdcd..." in line
    facts["versions"]["jax"] = "0.1.2"
    (line,) = record.differences(facts, SHA)
    assert "jax 0.1.2, this is " in line
    facts["weights"], facts["versions"] = {"name": ["x"] * 99}, {"jax": {"a": "b" * 99}}
    assert [len(line) < 200 for line in record.differences(facts, SHA)] == [True, True]


def test_compiled_convolutions_of_one_of_two_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    have_compiled("9.9", monkeypatch)
    facts = some_record()
    assert facts["versions"]["jaxstyle-cpu"] == "9.9"
    assert record.differences(facts, SHA) == []
    have_compiled(None, monkeypatch)
    assert record.differences(facts, SHA) == [
        "that picture was made where jaxstyle-cpu 9.9 was installed, here no jaxstyle-cpu is"
    ]


# a whole run


@pytest.fixture(scope="module")
def first_run(
    tmp_path_factory: pytest.TempPathFactory,
    slim_file: Path,
    content: Picture,
    style: Picture,
) -> Path:
    """A folder with two pictures and what became of them: result.png."""
    folder = tmp_path_factory.mktemp("secret-place")
    for name, picture in (("content", content), ("style", style)):
        (folder / f"{name}.png").write_bytes(
            picture_file.encode(picture / np.float32(255), ".png", {})
        )
    flags = (
        "--size",
        "24",
        "--scales",
        "1",
        "--steps",
        "3",
        "--style-layers",
        "relu1_1:0.5,relu2_1",
    )
    assert run(folder, slim_file, "result.png", "--pooling", "avg", "--seed", "5", *flags) == 0
    return folder


def run(folder: Path, weights: Path, output: str, *flags: str) -> int:
    pictures = ["--content", str(folder / "content.png"), "--style", str(folder / "style.png")]
    given = ["--weights", str(weights), "-o", str(folder / output), "--device", "cpu", "--quiet"]
    return main([*pictures, *given, *flags])


def test_a_run_leaves_its_whole_record(first_run: Path, slim_file: Path) -> None:
    facts = record.read(first_run / "result.png")
    for role in ("content", "style"):
        path = first_run / f"{role}.png"
        assert facts[role] == {"name": path.name, "sha256": files.sha256(path)}
    assert facts["weights"] == {"name": "slim.h5", "sha256": files.sha256(slim_file)}
    assert facts["versions"] == record.versions()
    assert facts["device"] == "cpu"
    assert set(facts["losses"]) == {"content", "style", "tv", "total"}
    assert facts["losses"]["total"] > 0
    told = {*FIELDS, *record.OTHER_SETTINGS} - set(later_defaults(Recipe, Hyperparams))
    told |= {"colors"}  # of which the default's is not that of older records
    assert set(facts["settings"]) == told
    assert facts["settings"]["style_layer_weights"] == [0.5, 1.0]
    assert facts["settings"]["seed"] == 5
    text = picture_file.read_text(first_run / "result.png")[record.KEYWORD]
    assert "secret-place" not in text


def test_from_repeats_a_run_to_the_byte(
    first_run: Path, slim_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(first_run, slim_file, "again.png", "--from", str(first_run / "result.png")) == 0
    assert (first_run / "again.png").read_bytes() == (first_run / "result.png").read_bytes()
    assert capsys.readouterr().err == ""


def test_other_weights_and_another_jax_are_said(first_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(weight_bytes(slim_params("vgg16"), source="x", source_sha256="", licence="x"))
    facts = record.read(first_run / "result.png")
    facts["versions"]["jax"] = "0.0.1"
    path = write(tmp_path / "old.png", facts)
    pictures = ["--content", str(first_run / "content.png"), "--style", str(path)]
    arguments = parse([*pictures, "--from", str(path), "--size", "24x24", "--weights", str(other)])
    said: list[str] = []
    assert arguments is not None
    inputs = read_inputs(arguments, tmp_path / "r.png", say=said.append, stream=None)
    assert inputs.facts["weights"] == {"name": "other.h5", "sha256": files.sha256(other)}
    assert inputs.facts["style"] == {"name": "old.png", "sha256": files.sha256(path)}
    assert [line.split(":")[0] for line in said] == [
        "that picture was made with other weights",
        f"that picture was made with jax 0.0.1, this is {record.versions()['jax']}",
    ]
