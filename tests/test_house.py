"""The rules of the house, as CONTRIBUTING.md has them, enforced."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import jaxstyle

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxstyle"
FILES = sorted(PACKAGE.glob("*.py"))

ORDER = [
    *("errors", "layers", "limits", "recipe", "room", "need", "plan", "presets", "texts", "files"),
    *("colours", "images", "winograd", "conv", "vgg"),
    *("torchpickle", "torchfile", "faults", "activations", "conventions"),
    *("download", "weights", "pretrained"),
    *("distances", "judgeweights", "judge"),
    *("losses", "roots", "styles", "strips", "shards", "processes", "objective"),
    *("proximal", "state", "transfer", "levels", "interrupt", "ahead", "painting", "compilation"),
    *("record", "checkpoint"),
    *("places", "groups", "spread", "rounds", "sweeping"),
    *("settingflags", "checkpointflags", "deviceflags", "sweepflags"),
    *("cli", "checks", "values", "grid"),
    *("inputs", "resuming", "sweepfolder", "sweepinputs"),
    *("progress", "sweepprogress", "ending", "saving", "keeping"),
    *("device", "starting", "job", "dryrun", "trial"),
    *("layout", "lettering", "corner", "sheet", "curves", "page", "summary", "sweepjob", "run"),
]
"""A module imports only from its left."""

LIGHT = {"errors", "layers", "limits", "recipe", "presets", "texts", "cli", "checks", "interrupt"}
LIGHT |= {"room", "need", "plan", "checkpointflags", "sweepflags", "values", "grid", "sweepfolder"}
LIGHT |= {"settingflags", "deviceflags", "layout", "curves", "page"}
"""These import the standard library and each other alone, so that mistakes are answered at once."""

OWNERS = {
    "PIL": {"colours", "images", "lettering", "corner", "sheet"},
    "flax": {"vgg"},
    "h5py": {"weights"},
    "optax": {"state"},
    "requests": {"download"},
    "filelock": {"download"},
    "platformdirs": {"files"},
    "tqdm": {"download", "progress", "sweepprogress"},
    "argparse": {"cli", "texts", "values"},
    "lazy_loader": {"__init__"},
    "signal": {"interrupt"},
}


def imports_of(path: Path) -> set[str]:
    """Returns "package" or, of our own, "jaxstyle.module", wherever in the file it is imported."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "jaxstyle":
            found |= {f"jaxstyle.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def ours(path: Path) -> set[str]:
    modules = {name.split(".")[1] for name in imports_of(path) if name.startswith("jaxstyle.")}
    return modules - {"__version__"}


def test_the_map_names_every_module() -> None:
    modules = {path.stem for path in FILES} - {"__init__"}
    assert modules == set(ORDER)
    for text in (jaxstyle.__doc__, (ROOT / "CONTRIBUTING.md").read_text()):
        assert [name for name in ORDER if name not in text] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_point_one_way(path: Path) -> None:
    if path.stem == "__init__":
        assert ours(path) == set()
        return
    allowed = set(ORDER[: ORDER.index(path.stem)])
    assert ours(path) - allowed == set()
    if path.stem == "losses":
        assert ours(path) == set()  # it never sees the network


@pytest.mark.parametrize("package", OWNERS)
def test_every_dependency_has_one_owner(package: str) -> None:
    users = {
        path.stem
        for path in FILES
        if any(name.split(".")[0] == package for name in imports_of(path))
    }
    assert users == OWNERS[package]


def test_light_modules_import_nothing_heavy() -> None:
    for name in LIGHT:
        for imported in imports_of(PACKAGE / f"{name}.py"):
            top = imported.split(".")[0]
            assert top in sys.stdlib_module_names or top == "jaxstyle", (name, imported)


@pytest.mark.parametrize("arguments", [["--help"], ["--stlye", "x"], ["--style-layers", "relu9_1"]])
def test_help_and_mistakes_are_answered_before_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from jaxstyle.run import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'PIL', 'h5py', 'optax', 'requests'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_run_prints_and_exits(path: Path) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    if path.stem != "run":
        assert calls & {"print", "sys.exit", "exit", "quit", "os._exit"} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 320
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_public_names_are_documented_and_importable() -> None:
    for name in jaxstyle.__all__:
        value = getattr(jaxstyle, name)
        assert isinstance(value, (str, Mapping)) or inspect.getdoc(value), name
    assert set(jaxstyle.__all__) <= set(dir(jaxstyle))
    with pytest.raises(AttributeError, match="styliez"):
        _ = jaxstyle.styliez


@pytest.mark.parametrize("name", ORDER)
def test_public_functions_say_what_they_do(name: str) -> None:
    module = importlib.import_module(f"jaxstyle.{name}")
    assert module.__doc__
    for attribute, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if (
            is_own
            and not attribute.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
        ):
            assert value.__doc__, attribute
            if inspect.isfunction(value):
                hints = set(value.__annotations__)
                assert set(inspect.signature(value).parameters) | {"return"} == hints, attribute


def test_the_dependencies_are_those_that_are_imported() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {each.split(">")[0] for each in project["dependencies"]}
    imported = {name.split(".")[0] for path in FILES for name in imports_of(path)}
    third_party = imported - set(sys.stdlib_module_names) - {"jaxstyle", "", "__future__"}
    assert declared - {"jaxlib"} == {
        {"PIL": "pillow", "lazy_loader": "lazy-loader"}.get(name, name) for name in third_party
    }
