"""Which runs a sweep consists of, and what is said of sweeps that cannot be."""

import re
import shlex
from pathlib import Path

import pytest

from jaxstyle.cli.flags import parse
from jaxstyle.errors import InputError
from jaxstyle.sweeps.grid import expand, share


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("more").mkdir()
    for name in ("c.png", "s.png", "t.png", "more/s.png"):
        Path(name).touch()
    return tmp_path


BOTH = ("--content", "c.png", "--style", "s.png")


def runs(*flags: str, base: tuple[str, ...] = BOTH):
    arguments = parse([*base, "-o", "out", *flags])
    assert arguments is not None
    assert arguments.sweep is not None
    return expand(arguments, arguments.sweep)


def refusal(*flags: str, base: tuple[str, ...] = BOTH) -> str:
    with pytest.raises(InputError) as caught:
        runs(*flags, base=base)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def values(name: str, *texts: str) -> list:
    return [run.arguments.settings[name] for run in runs("--sweep", name, *texts)]


def test_all_combinations_the_last_axis_fastest() -> None:
    found = runs("--sweep", "style-weight", "1e3", "1e4", "--sweep", "tv_weight", "1", "10")
    assert [run.arguments.settings for run in found] == [
        {"style_weight": 1e3, "tv_weight": 1.0},
        {"style_weight": 1e3, "tv_weight": 10.0},
        {"style_weight": 1e4, "tv_weight": 1.0},
        {"style_weight": 1e4, "tv_weight": 10.0},
    ]
    assert [run.number for run in found] == [1, 2, 3, 4]
    assert found[1].name == "style-weight=1000,tv-weight=10"
    assert found[1].labels == {"style-weight": "1000", "tv-weight": "10"}


def test_each_run_is_a_command_line_of_its_own() -> None:
    flags = ("--steps", "7", "--style-layers", "relu1_1:2")
    (one, two) = runs("--sweep", "content-layers", "relu3_4", "relu4_4,relu3_1:0.5", *flags)
    given = {"steps": 7, "style_layers": ("relu1_1",), "style_layer_weights": (2.0,)}
    layers = {"content_layers": ("relu3_4",), "content_layer_weights": (1.0,)}
    assert one.arguments.settings == given | layers
    layers = {"content_layers": ("relu4_4", "relu3_1"), "content_layer_weights": (1.0, 0.5)}
    assert two.arguments.settings == given | layers
    assert two.name == "content-layers=relu4_4+relu3_1-0.5"


def test_ranges_by_hand() -> None:
    """0.03 * 10 ** (1/3) = 0.0646330..., * 10 ** (2/3) = 0.1392476...; to six digits."""
    assert values("learning_rate", "log:0.03:0.3:4") == [0.03, 0.064633, 0.139248, 0.3]
    assert values("tv_weight", "lin:1:10:4") == [1, 4, 7, 10]
    assert values("decay_every", "lin:1:10:4", "50") == [1, 4, 7, 10, 50]
    assert values("steps", "log:1:1000:4") == [1, 10, 100, 1000]
    assert values("tv_weight", "lin:5:0:2") == [5, 0]
    assert values("size", "lin:100:200:3", "30x40") == [100, 150, 200, (30, 40)]
    assert values("tv_weight", "log:2:9:1") == [2]


def test_what_is_no_setting_can_be_swept_too() -> None:
    found = runs("--sweep", "seed", "3", "4", "--sweep", "init", "noise", "t.png")
    assert [(run.arguments.seed, run.arguments.init) for run in found] == [
        (3, "noise"),
        (3, "t.png"),
        (4, "noise"),
        (4, "t.png"),
    ]
    (book, _) = runs("--sweep", "preset", "book", "default")
    assert book.arguments.preset == "book"


def test_pictures_of_equal_names_are_told_apart() -> None:
    pictures = ("s.png", "more/s.png", "t.png")
    found = runs("--sweep", "style", *pictures, base=("--content", "c.png"))
    assert [run.arguments.styles for run in found] == [(Path(each),) for each in pictures]
    assert [run.labels["style"] for run in found] == ["s.png", "more/s.png", "t"]
    assert [run.name for run in found] == ["style=s.png", "style=more-s.png", "style=t"]


def test_names_are_files_names_and_unique() -> None:
    for name in ("a b.png", "a-b.png", "A-B.png", "x" * 200 + ".png", "x" * 199 + "y.png"):
        Path(name).touch()
    found = runs("--sweep", "style", *map(str, Path().glob("*.png")), base=BOTH[:2])
    names = [run.name.casefold() for run in found]
    assert len(set(names)) == len(names) == 8
    assert all(len(name) < 150 and not set(name) & set(' /:*?"<>|\\') for name in names)


def test_shares_are_every_nth_and_complete() -> None:
    found = runs("--sweep", "seed", "lin:0:10:11")
    shares = [share(found, (i, 4)) for i in (1, 2, 3, 4)]
    assert [[run.number for run in each] for each in shares] == [
        [1, 5, 9],
        [2, 6, 10],
        [3, 7, 11],
        [4, 8],
    ]
    names = [run.name for run in found]
    assert sorted(run.name for each in shares for run in each) == sorted(names)


def test_a_table_has_a_run_in_every_row() -> None:
    Path("t.csv").write_text(
        'style-weight,style,style_layers\n1e3,s.png,"relu1_1,relu2_1:3"\n\n2e3,t.png,relu1_1\n'
    )
    found = runs("--sweep-file", "t.csv", base=("--content", "c.png"))
    assert [run.arguments.styles for run in found] == [(Path("s.png"),), (Path("t.png"),)]
    assert found[0].arguments.settings == {
        "style_weight": 1e3,
        "style_layers": ("relu1_1", "relu2_1"),
        "style_layer_weights": (1.0, 3.0),
    }
    assert found[1].name == "style-weight=2000,style=t,style-layers=relu1_1"
    assert not found[0].on_axes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--sweep style-wieght 1", "'style-wieght' cannot be swept; did you mean style-weight?"),
        ("--sweep size=300", "'size=300' cannot be swept; did you mean size?"),
        ("--sweep weights embedded", "'weights' cannot be swept"),
        ("--sweep content-layer 1", "did you mean content-layers?"),
        ("--sweep tv-weight", "--sweep tv-weight has no values"),
        ("--sweep", "argument --sweep: expected at least one argument"),
        ("--sweep tv-weight 1 2 -1", "--sweep tv-weight, value 3 of 3: tv_weight must be 0 or"),
        ("--sweep tv-weight 1 x", "--sweep tv-weight, value 2 of 2: must be a number, got 'x'"),
        ("--sweep decay-rate 2", "value 1 of 1: decay_rate must be above 0 and at most 1"),
        ("--sweep seed -1", "value 1 of 1: must be a whole number from 0"),
        ("--sweep pooling max avgg", "value 2 of 2: pooling 'avgg' is none of max, avg, l2; did"),
        ("--sweep content-layers relu3_5", "value 1 of 1: unknown layer 'relu3_5'"),
        ("--sweep preset bok", "value 1 of 1: unknown preset 'bok'"),
        ("--sweep init noize", "value 1 of 1: noize does not exist"),
        ("--sweep tv-weight 10 1e1", "value 2 of 2: 10 is there already"),
        ("--sweep tv-weight 1 --sweep tv_weight 2", "--sweep tv-weight is given 2 times"),
        ("--sweep size 100 --size 200", "--size and a sweep of size contradict each other"),
        ("--sweep style t.png", "--style and a sweep of style contradict each other"),
        ("--sweep seed 1 --seed 2", "--seed and a sweep of seed contradict each other"),
        ("--sweep seed 1 --sweep-file t.csv", "--sweep and --sweep-file contradict each other"),
        ("--sweep seed 1 --shard 1/2 --distributed", "--shard and --distributed contradict"),
        ("--sweep seed 1 --collect d", "--collect only gathers"),
        ("--sweep seed 1 --log logs/l.csv", "in a sweep it is in each run's folder"),
        ("--sweep seed 1 --shard 0/4", "argument --shard: must be I/N"),
        ("--sweep seed 1 --shard 5/4", "argument --shard: must be I/N"),
        ("--sweep seed 1 --shard 1", "argument --shard: must be I/N"),
        ("--sweep seed 1 --distributed host", "argument --distributed: must be HOST:PORT,I/N"),
        ("--sweep seed 1 --distributed h:1,3/2", "argument --distributed: must be I/N"),
        ("--sweep seed 1 --devices 0", "argument --devices: must be a whole number"),
        ("--shard 1/2", "--shard is for sweeps"),
        ("--yes", "--yes is for sweeps"),
        ("--sweep tv-weight log:0:1:3", "equal ratios need both ends above 0"),
        ("--sweep tv-weight lin:0:x:3", "a range is lin:FIRST:LAST:COUNT, three numbers"),
        ("--sweep tv-weight lin:0:1:0", "the count must be 1 or more"),
        ("--sweep tv-weight lin:0:inf:2", "both ends finite"),
        ("--sweep pooling lin:0:1:2", "only numbers have ranges"),
        ("--sweep decay-every lin:1:2:3", "value 3 of 3: 2 is there already"),
        ("--sweep seed lin:0:1e9:1000000000", "more than 10,000 values; add --yes"),
        ("--sweep seed lin:0:99:100 --sweep steps lin:1:101:101", "10,100 combinations are many"),
    ],
)
def test_bad_sweeps_are_answered_in_one_line(flags: str, message: str) -> None:
    assert message in refusal(*flags.split())


def test_sweeps_in_the_documentation_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the book's exercises are of the examples, with 9 pictures each."""
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages).replace("$SLURM_ARRAY_TASK_ID", "3")
    commands = re.findall(r"^ *jaxstyle (.*--sweep .*)$", text, re.MULTILINE)
    counts = []
    for command in commands:
        arguments = parse(shlex.split(command))
        assert arguments is not None
        assert arguments.sweep is not None
        if "examples/" in command:
            counts.append(len(expand(arguments, arguments.sweep)))
    assert (len(commands), counts) == (8, [9, 9, 9])


def test_pictures_must_come_from_somewhere() -> None:
    assert "--content must be given, or swept" in refusal("--sweep", "seed", "1", base=BOTH[2:])
    assert "--style must be given, or swept" in refusal("--sweep", "seed", "1", base=BOTH[:2])
    message = refusal("--sweep", "style", "s.png", "no.png", base=BOTH[:2])
    assert message == "--sweep style, value 2 of 2: no.png does not exist"


def test_many_are_painted_if_that_is_meant() -> None:
    flags = ("--sweep", "seed", "lin:0:100:101", "--sweep", "steps", "lin:1:100:100")
    assert len(runs(*flags, "--yes")) == 10_100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no runs"),
        ("seed\n", "has no runs"),
        ("sede\n1\n", "t.csv, line 1: 'sede' cannot be swept; did you mean seed?"),
        ("seed,\n1,2\n", "t.csv, line 1: '' cannot be swept"),
        ("seed,seed\n1,2\n", "has 2 columns seed"),
        ("seed,tv-weight\n1,2\n3\n", "t.csv, line 3: 1 values for 2 columns"),
        ("seed\n1\n2,3\n", "t.csv, line 3: 2 values for 1 columns"),
        ("seed,tv-weight\n1,\n", "t.csv, line 2, tv-weight: must be a number, got ''"),
        ("seed\n1\n-1\n", "t.csv, line 3, seed: must be a whole number"),
        ("seed\n1\n2\n1\n", "t.csv, line 4 says the same as another line"),
        ('seed\n"1\n', "cannot be read as a table"),
        ("size\n100\n", "--size and a sweep of size contradict each other"),
    ],
)
def test_bad_tables_are_answered_in_one_line(text: str, message: str) -> None:
    Path("t.csv").write_text(text)
    assert message in refusal("--sweep-file", "t.csv", "--size", "50")


def test_a_table_without_a_picture_or_that_is_none() -> None:
    Path("t.csv").write_text("seed\n1\n")
    assert "--style must be given, or swept" in refusal("--sweep-file", "t.csv", base=BOTH[:2])
    assert "more is a folder, not a file" in refusal("--sweep-file", "more")
    Path("t.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as a table" in refusal("--sweep-file", "t.csv")
