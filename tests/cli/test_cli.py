"""Flags: that each setting has one, that values are read, and what is said of bad ones."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstyle import __version__, errors
from jaxstyle.cli.flags import build_parser, parse
from jaxstyle.cli.main import main
from jaxstyle.errors import InputError
from jaxstyle.runs.request import Request
from jaxstyle.settings import text as texts
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS, change
from jaxstyle.settings.recipe import Recipe

HEAVY = ("jax", "jaxlib", "numpy", "PIL", "flax", "optax", "h5py", "requests")
FILE_FLAGS = {
    "--regions",
    "--mask",
    "--keep",
    "--alpha",
    "--content",
    "--style",
    "--output",
    "--format",
    "--force",
    "--log",
    "--save-every",
}
START_FLAGS = {"--preset", "--list-presets", "--from", "--weights", "--init", "--seed"}
RUNNING_FLAGS = {"--device", "--quiet", "--json", "--version", "--help"}
RUNNING_FLAGS |= {"--plan", "--judge", "--print-completion"}
RUNNING_FLAGS |= {"--view", "--view-port", "--view-host"}
RUNNING_FLAGS |= {"--devices", "--distributed", "--deterministic", "--batch"}
START_FLAGS |= {"--config", "--print-config"}
RECIPE_FLAGS = {"--content-layers", "--style-layers", "--pooling", "--conv", "--memory"}
RECIPE_FLAGS |= {"--size", "--scales", "--steps"}
RECIPE_FLAGS |= {"--style-loss", "--balance", "--steps-power", "--full-depth", "--clip"}
RECIPE_FLAGS |= {"--average", "--upscale", "--style-scale", "--style-size", "--style-mix"}
RECIPE_FLAGS |= {"--propagation", "--colors", "--color-match", "--optimizer", "--history"}
RECIPE_FLAGS |= {"--extrapolate", "--precision", "--units", "--padding", "--tv-form"}
RECIPE_FLAGS |= {"--level-steps", "--line-search", "--carry"}
RECIPE_FLAGS |= {"--schedule", "--resampling", "--tv-step", "--beta2"}
NUMBER_FLAGS = {"--content-weight", "--style-weight", "--tv-weight", "--learning-rate"}
NUMBER_FLAGS |= {"--decay-every", "--decay-rate", "--coarse-content", "--content-decay"}
NUMBER_FLAGS |= {"--content-power", "--style-weights"}
SWEEP_FLAGS = {"--sweep", "--sweep-file", "--shard", "--yes"}
SWEEP_FLAGS |= {"--collect"}
FILE_FLAGS |= {"--plot", "--film"}
FILE_FLAGS |= {"--bits", "--profile", "--proof", "--dpi"}
CHECKPOINT_FLAGS = {"--checkpoint", "--checkpoint-every", "--resume"}
FLAGS = FILE_FLAGS | START_FLAGS | RUNNING_FLAGS | RECIPE_FLAGS | NUMBER_FLAGS | SWEEP_FLAGS
FLAGS |= CHECKPOINT_FLAGS
# for a package that is not installed
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(texts.__file__).parents[2])}


def parsed(*flags: str) -> Request:
    found = parse(["--content", "c.png", "--style", "s.png", *flags])
    assert found is not None
    return found


def refusal(*flags: str) -> str:
    with pytest.raises(InputError) as caught:
        parsed(*flags)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_flag_is_there_with_a_meaning() -> None:
    actions = build_parser()._actions
    assert {name for each in actions for name in each.option_strings if name[1] == "-"} == set(
        FLAGS
    )
    assert all(each.help for each in actions)


def test_every_value_has_its_default_in_the_help() -> None:
    for each in build_parser()._actions:
        if each.nargs != 0 and each.dest != "print_completion":  # which stands alone
            assert "default: " in str(each.help) or "must be given" in str(each.help), each


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--size", "448"),
        ("--scales", "auto"),
        ("--steps", "120"),
        ("--schedule", "hold-cosine"),
        ("--conv", "auto"),
        ("--pooling", "l2"),
        ("--style-loss", "covariance"),
        ("--balance", "relative"),
        ("--clip", "yes"),
        ("--average", "0"),
        ("--steps-power", "-0.75"),
        ("--content-weight", "0.22"),
        ("--style-weight", "1"),
        ("--tv-weight", "0.1"),
        ("--learning-rate", "0.1"),
        ("--coarse-content", "0.5"),
        ("--tv-step", "proximal"),
        ("--beta2", "increasing"),
        ("--decay-every", "50"),
        ("--decay-rate", "0.8"),
        ("--content-layers", "relu3_1,relu4_1"),
        ("--style-layers", "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1"),
    ],
)
def test_defaults_in_the_help_are_the_default_presets(flag: str, default: str) -> None:
    (action,) = (each for each in build_parser()._actions if flag in each.option_strings)
    assert str(action.help).endswith(f"; default: {default}")


def test_nothing_given_changes_nothing() -> None:
    assert parsed() == Request(
        content=Path("c.png"),
        styles=(Path("s.png"),),
        output=None,
        log=None,
        save_every=0,
        force=False,
        preset=None,
        settings={},
        from_picture=None,
        weights=None,
        init=None,
        seed=None,
        device=None,
        quiet=False,
        json=False,
        plan=False,
    )


@pytest.mark.parametrize(
    ("flag", "text", "name", "value"),
    [
        ("--size", "450", "size", 450),
        ("--size", "300x451", "size", (300, 451)),
        ("--size", "300X451", "size", (300, 451)),
        ("--size", "300\u00d7451", "size", (300, 451)),
        ("--scales", "0.25,.5,1", "scales", (0.25, 0.5, 1.0)),
        ("--steps", "7", "steps", 7),
        ("--style-weight", "1e3", "style_weight", 1000.0),
        ("--content-weight", "0", "content_weight", 0.0),
        ("--learning-rate", "1", "learning_rate", 1.0),
        ("--decay-every", "10", "decay_every", 10),
        ("--decay-rate", "0.5", "decay_rate", 0.5),
        ("--pooling", "avg", "pooling", "avg"),
        ("--schedule", "step", "schedule", "step"),
        ("--resampling", "bilinear", "resampling", "bilinear"),
    ],
)
def test_values_are_read(flag: str, text: str, name: str, value: Any) -> None:
    for flags in ((flag, text), (f"{flag}={text}",)):
        found = parsed(*flags).settings
        assert found == {name: value}
        assert type(found[name]) is type(value)


def test_layers_are_read_with_and_without_weights() -> None:
    found = parsed("--style-layers", "relu1_1, conv5_4:0.5 ,relu4_last:2e1").settings
    assert found == {
        "style_layers": ("relu1_1", "conv5_4", "relu4_last"),
        "style_layer_weights": (1.0, 0.5, 20.0),
    }


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        *(("--size", text, "must be a number of pixels") for text in ("0", "1x", "x", "", "-5")),
        *(
            ("--size", text, "must be a number of pixels")
            for text in ("1x2x3", "4.5", "1e3", "0x9")
        ),
        ("--size", "99999999999", "size must be a whole number from 1 to 2147483647"),
        ("--size", "100000x100000", "size 100000x100000 is too large: at most 178,956,970 pixels"),
        ("--size", "9" * 5000, "must be a number of pixels"),
        ("--steps", "1e3", "must be a whole number of 1 or more, got '1e3'"),
        ("--steps", "0", "must be a whole number"),
        ("--steps", "-3", "must be a whole number"),
        ("--steps", "99999999999", "steps must be a whole number from 1 to 2147483647"),
        ("--save-every", "0", "must be a whole number"),
        ("--seed", "-1", "must be a whole number from 0 to 4294967295"),
        ("--seed", "4294967296", "must be a whole number from 0 to 4294967295"),
        ("--seed", "1.0", "must be a whole number from 0 to 4294967295"),
        ("--learning-rate", "1e39", "learning_rate must be above 0 and at most 3.40282e+38"),
        ("--learning-rate", "nan", "learning_rate must be a finite number"),
        ("--learning-rate", "inf", "learning_rate must be a finite number"),
        ("--learning-rate", "0", "learning_rate must be above 0"),
        ("--learning-rate", "fast", "must be a number, got 'fast'"),
        ("--tv-weight", "0,5", "must be a number, got '0,5': write 0.5"),
        ("--dpi", "72,5", "must be a number, got '72,5': write 72.5"),
        ("--scales", "0,5", "must be numbers above 0, got '0,5': write 0.5"),
        ("--style-scale", "0,5", "must be numbers above 0, got '0,5': write 0.5"),
        ("--style-layers", "relu3_1:0,5", "a weight has a decimal point, as in relu4_1:0.5"),
        ("--tv-weight", "-1", "tv_weight must be 0 or more"),
        ("--coarse-content", "-1", "coarse_content must be 0 or more"),
        ("--clip", "maybe", "must be yes or no, got 'maybe'"),
        ("--average", "1", "average must be 0 or more and at most 0.9999"),
        ("--steps-power", "5", "steps_power must be -4 or more and at most 4"),
        ("--full-depth", "6", "full_depth must be a whole number from 1 to 5"),
        ("--style-loss", "gramm", "did you mean gram"),
        ("--balance", "relativ", "did you mean relative?"),
        ("--scales", "aut", "must be a number, got 'aut': give fractions, such as 0.5,1, or auto"),
        ("--tv-weight", "-inf", "tv"),
        ("--decay-rate", "2", "decay_rate must be above 0 and at most 1"),
        ("--decay-every", "0", "must be a whole number"),
        ("--scales", "1,0.5", "scales must rise and end with 1, such as 0.5,1, or be auto"),
        ("--scales", "", "must be a number"),
        ("--scales", "0.5,1,", "must be a number"),
        ("--content-layers", "", "unknown layer ''"),
        ("--content-layers", "relu3_1:", "must be a number, got ''"),
        ("--content-layers", "relu3_1:nan", "a weight in content_layers must be a finite number"),
        ("--content-layers", "relu3_1:-1", "a weight in content_layers must be 0 or more"),
        ("--content-layers", "relu3_1,relu3_1", "content_layers names relu3_1 twice"),
        ("--content-layers", "relu3_1,", "unknown layer ''"),
        ("--style-layers", "rely3_1", "did you mean relu3_1?"),
        ("--style-layers", "conv3_5", "unknown layer 'conv3_5'"),
        ("--pooling", "maxx", "pooling 'maxx' is none of max, avg, l2; did you mean max?"),
        ("--schedule", "cosin", "did you mean cosine?"),
        ("--resampling", "lanczo", "did you mean lanczos?"),
        ("--device", "gpuu", "'gpuu' is none of cpu, gpu, tpu; did you mean gpu?"),
        (
            "--preset",
            "bok",
            "unknown preset 'bok': there are default, draft, fine, book, book-fast, book-mxnet,"
            " gatys, crowson, spst, nnst, strotss",
        ),
        ("--sise", "450", "unrecognized arguments: --sise 450; did you mean --size? (see --help)"),
        ("--styl", "s.png", "did you mean --style?"),  # no abbreviations
    ],
)
def test_bad_values_are_answered_in_one_line(flag: str, text: str, message: str) -> None:
    assert message in refusal(*([flag, text] if flag.startswith("--") else [flag]))


def test_a_product_of_weights_that_overflows_is_refused() -> None:
    said = refusal("--content-weight", "3e38", "--coarse-content", "2")
    assert "content_weight times coarse_content must be 0 or more" in said


def test_clip_alone_is_yes() -> None:
    assert parsed("--preset", "book", "--clip").settings == {"clip": True}


def test_a_flag_without_its_value_is_named() -> None:
    assert "argument --steps: expected one argument" in refusal("--steps")
    assert "argument --size: expected one argument" in refusal("--size", "--quiet")


def test_pictures_must_be_given() -> None:
    for flags, message in (
        ([], "--content and --style must be given"),
        (["--style", "s.png"], "--content must be given"),
        (["--content", "c.png", "--size", "5"], "--style must be given"),
    ):
        with pytest.raises(InputError, match=message):
            parse(flags)


def test_a_value_that_reads_like_the_parsers_own_message_confuses_nobody() -> None:
    message = refusal("--steps", "unrecognized arguments: --sise")
    assert "did you mean" not in message


# texts


def test_texts_for_the_screen_are_one_line() -> None:
    assert errors.one_line("a photo ä🧀.png") == "a photo ä🧀.png"
    assert errors.one_line("a\nb\r\x1b[1m\u2028\udce9") == "a\\nb\\r\\x1b[1m\\u2028\\udce9"


def test_presets_on_the_screen_can_be_typed_again() -> None:
    """What --list-presets shows is what the flags read."""
    readers = {"size": texts.read_size, "scales": texts.read_scales}
    readers |= {"clip": texts.read_yes_or_no, "upscale": texts.read_yes_or_no}
    readers |= {"extrapolate": texts.read_yes_or_no, "style_scale": texts.read_numbers}
    readers |= {"carry": texts.read_yes_or_no, "level_steps": texts.read_level_steps}
    readers |= {"style_size": texts.read_whole_or_auto, "style_weights": texts.read_blend}
    for preset in PRESETS.values():
        for values in (preset.recipe, preset.hyper):
            for each in dataclasses.fields(values):
                value = getattr(values, each.name)
                if each.name.endswith("_layers"):
                    read = texts.read_layers(texts.as_text(value))
                    assert tuple(name for name, _ in read) == value
                elif each.metadata:
                    kinds = {int: texts.read_whole, float: texts.read_number, str: str}
                    reader = readers.get(each.name) or kinds[each.type]
                    assert reader(texts.as_text(value)) == value


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="0123456789xX.,:-+enaif _\n", max_size=12) | st.text(max_size=6))
@pytest.mark.parametrize(
    "reader",
    [texts.read_size, texts.read_whole, texts.read_seed, texts.read_scales, texts.read_layers],
)
def test_readers_read_or_refuse_any_text(reader: Any, text: str) -> None:
    try:
        value = reader(text)
    except InputError:
        return
    if value in ("full", "auto"):
        assert value in text
    elif reader is texts.read_size:
        assert all(side >= 1 for side in (value if isinstance(value, tuple) else (value,)))
    elif reader is texts.read_whole:
        assert value >= 1
    elif reader is texts.read_seed:
        assert 0 <= value < 2**32
    else:
        assert len(value) == text.count(",") + 1


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 9999) | st.tuples(st.integers(1, 999), st.integers(1, 999)),
    weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e4]), min_size=1, max_size=3),
)
def test_what_is_typed_is_what_is_set(size: Any, weights: list[float]) -> None:
    layers = ("relu1_1", "conv2_2", "relu4_last")[: len(weights)]
    typed = ",".join(f"{a}:{b}" for a, b in zip(layers, weights, strict=True))
    found = parsed("--size", texts.as_text(size), "--style-layers", typed).settings
    recipe, hyper = change(*PRESETS["default"][1:3], **found)
    assert (recipe.size, recipe.style_layers) == (size, layers)
    assert hyper.style_layer_weights == tuple(weights)


# what needs nothing heavy


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["--list-presets"], 0),
        (["--content", "c.png", "--style", "s.png", "--pooling", "maxx"], 2),
        (["--content", "c.png", "--style", "s.png"], 2),  # there are no such files
    ],
)
def test_quick_answers_import_nothing_heavy(flags: list[str], code: int, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom jaxstyle.cli.main import main\n"
        "try: code = main(sys.argv[1:])\nexcept SystemExit as leaving: code = leaving.code or 0\n"
        f"print('heavy:', [each for each in {HEAVY} if each in sys.modules])\nsys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert ran.returncode == code
    assert ran.stdout.endswith("heavy: []\n")
    assert len(ran.stderr.splitlines()) == (1 if code else 0)
    assert list(tmp_path.iterdir()) == []


def test_version_and_presets_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"jaxstyle {__version__}\n"
    assert main(["--list-presets"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for name, each in PRESETS.items():
        assert f"{name}: {each.about}" in shown.out
    assert "    --size 300x450\n" in shown.out
    assert shown.out.count("--learning-rate 0.9") == 1


def test_settings_are_all_flags() -> None:
    names = {each.name for kind in (Recipe, Hyperparams) for each in dataclasses.fields(kind)}
    flags = {flag.removeprefix("--").replace("-", "_") for flag in FLAGS}
    assert names - flags == {"content_layer_weights", "style_layer_weights"}
