"""The rules of the house, as CONTRIBUTING.md has them, enforced."""

import ast
import functools
import importlib
import inspect
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import jaxstyle

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxstyle"

MAP = runpy.run_path(str(ROOT / "scripts" / "make_map.py"))
WINGS: dict[str, tuple[str, ...]] = MAP["WINGS"]

ORDER = [
    f"{wing}.{name}" if name else wing for wing, names in WINGS.items() for name in names or [""]
]

LIGHT = {
    "errors",
    "files",
    "network.layers",
    "settings.validation",
    "settings.fields",
    "settings.hyperparams",
    "settings.recipe",
    "settings.presets",
}
LIGHT |= {"settings.checks", "settings.text", "machine.process", "machine.memory", "runs.request"}
LIGHT |= {"runs.paths", "runs.doctor", "runs.output_name", "cli.streams", "machine.worked_time"}
LIGHT |= {"machine.column_memory"}
LIGHT |= {
    "sweeps.grid",
    "sweeps.folder",
    "cli.flag_groups",
    "cli.config",
    "cli.flags",
    "cli.commands",
    "cli.studio",
    "cli.completion",
    "cli.main",
    "run",
    "__main__",
}
"""These import the standard library and each other alone, but for what a function imports when it
is called, so that mistakes are answered at once."""

OWNERS = {
    "PIL": {
        "images.bands",
        "images.canvas",
        "images.decoding",
        "images.file_bits",
        "images.depth",
        "images.picture_file",
        "images.print_file",
        "images.film_file",
        "images.proof",
        "sweeps.sheet_layout",
        "sweeps.sheet",
    },
    "flax": {"network.vgg"},
    "h5py": {"weights.weight_file"},
    "optax": {"optimization.optimizer"},
    "requests": {"weights.download"},
    "filelock": {"weights.download", "view.studio_folder"},
    "platformdirs": {"files"},
    "tqdm": {"weights.download", "runs.progress"},
    "argparse": {"cli.flag_groups", "cli.config", "cli.flags", "cli.commands", "cli.completion"},
    "lazy_loader": {"__init__"},
    "matplotlib": {"runs.plot"},
    "imageio_ffmpeg": {"images.film_file"},
    "shtab": {"cli.completion"},
    "starlette": {"view.guard", "view.server", "view.studio_server"},
    "uvicorn": {"view.server"},
    "signal": {"machine.process"},
}


def module_of(path: Path) -> str:
    """Returns "wing.module", or "wing.__init__"."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text())


@functools.cache
def imports_of(name: str, *, late: bool = True) -> frozenset[str]:
    """Returns "package" or, of our own, "jaxstyle.wing.module".

    Args:
      name: "wing.module".
      late: whether to return what functions import, too.
    """
    tree = tree_of(name)
    found = set()
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxstyle"):
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part if part[9:] in ORDER else str(node.module) for part in parts}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return frozenset(found)


def ours(name: str, *, late: bool = True) -> set[str]:
    """Returns the modules of our own that a module imports: "wing.module"."""
    mine = {each for each in imports_of(name, late=late) if each.split(".")[0] == "jaxstyle"}
    return {each[9:] for each in mine - {"jaxstyle"}}


def test_the_wings_hold_every_module() -> None:
    inits = {"__init__"} | {f"{wing}.__init__" for wing, names in WINGS.items() if names}
    assert set(FILES) == set(ORDER) | inits
    told = re.findall(r"^    (\w+)  ", str(jaxstyle.__doc__), re.MULTILINE)
    assert told == [wing for wing in WINGS if wing != "__main__"]


def test_the_map_in_contributing_is_the_one_that_the_script_makes() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    assert MAP["made_map"]() in page
    assert MAP["with_map"](page) == page  # else: python scripts/make_map.py


def names_read(name: str) -> set[str]:
    """Returns the names that a module imports, and those that it reads from something."""
    nodes = list(ast.walk(tree_of(name)))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return read | {each.name for node in imports for each in node.names}


def test_the_figure_in_contributing_shows_what_wings_have_of_each_other() -> None:
    assert MAP["made_figure"]() in (ROOT / "CONTRIBUTING.md").read_text()
    modules = {wing: [each for each in ORDER if each.split(".")[0] == wing] for wing in WINGS}
    for (wing, user), names in MAP["FLOWS"].items():
        trees = [tree_of(name) for name in modules[wing]]
        users = [name for name in modules[user] if ours(name) & set(modules[wing])]
        assert set(names) <= {name for tree in trees for name in public_names(tree)}
        assert set(names) <= {read for name in users for read in names_read(name)}
    shown = {wing for arrow in MAP["FLOWS"] for wing in arrow}
    assert shown | {"errors", "files", "run", "__main__"} == set(WINGS)


def test_no_wing_and_no_module_has_the_name_of_something_public() -> None:
    names = {part for name in ORDER for part in name.split(".")}
    assert names & set(jaxstyle.__all__) == set()  # an import of the module would hide it
    for name in set(ORDER) - {"__main__"}:
        importlib.import_module(f"jaxstyle.{name}")
    assert [name for name in jaxstyle.__all__ if inspect.ismodule(getattr(jaxstyle, name))] == []


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name: str) -> None:
    assert ours(name) - set(ORDER[: ORDER.index(name)]) == set()
    if name.startswith("losses."):  # it never sees the network
        assert {each.split(".")[0] for each in ours(name)} <= {"losses"}
    if name not in ("run", "__main__"):
        assert {"cli.main"} & ours(name) == set()


@pytest.mark.parametrize("wing", [wing for wing, names in WINGS.items() if names])
def test_a_wing_itself_is_one_docstring(wing: str) -> None:
    tree = tree_of(f"{wing}.__init__")
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("package", OWNERS)
def test_every_dependency_has_one_owner(package: str) -> None:
    users = {
        name for name in FILES if any(each.split(".")[0] == package for each in imports_of(name))
    }
    assert users == OWNERS[package]


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_light_modules_import_nothing_heavy(name: str) -> None:
    assert ours(name, late=False) <= LIGHT
    tops = {each.split(".")[0] for each in imports_of(name, late=False)}
    assert tops - set(sys.stdlib_module_names) <= {"jaxstyle"}


@pytest.mark.parametrize("arguments", [["--help"], ["--stlye", "x"], ["--style-layers", "relu9_1"]])
def test_help_and_mistakes_are_answered_before_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from jaxstyle.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'PIL', 'h5py', 'optax', 'requests'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", FILES)
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    calls = {
        ast.unparse(node.func) for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)
    }
    if name != "cli.main":
        assert calls & {"print", "sys.exit", "exit", "quit", "os._exit"} == set()


def private_uses(tree: ast.Module) -> set[str]:
    """Returns the private names of other modules of ours that a module imports or reads."""
    found, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxstyle"):
            found |= {each.name for each in node.names if is_private(each.name)}
            modules |= {
                each.asname or each.name
                for each in node.names
                if f"{node.module}.{each.name}"[9:] in ORDER
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            value = node.value
            if isinstance(value, ast.Name) and value.id in modules:
                found.add(f"{value.id}.{node.attr}")
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("name", FILES)
def test_no_module_uses_a_private_name_of_another(name: str) -> None:
    assert private_uses(tree_of(name)) == set()


def test_private_uses_are_found() -> None:
    text = "from jaxstyle.machine import memory\nfrom jaxstyle.files import _a, b\nmemory._c(b._d)"
    assert private_uses(ast.parse(text)) == {"_a", "memory._c"}


def canvases_read(tree: ast.Module) -> list[str]:
    """Returns where a module reads the canvas of a state, other than its shape."""
    shapes = [
        each.value
        for each in ast.walk(tree)
        if isinstance(each, ast.Attribute) and each.attr == "shape"
    ]
    return [
        ast.unparse(each)
        for each in ast.walk(tree)
        if isinstance(each, ast.Attribute)
        and each.attr == "canvas"
        and ast.unparse(each.value).endswith("state")
        and each not in shapes
    ]


@pytest.mark.parametrize("name", FILES)
def test_pictures_of_a_state_are_of_what_it_shows(name: str) -> None:
    """Not always its canvas: `optimizer.shown`. Only who steps, and keeps states, reads that."""
    if name not in ("optimization.optimizer", "optimization.stepping", "runs.checkpointer"):
        assert canvases_read(tree_of(name)) == []


def test_reads_of_canvases_are_found() -> None:
    tree = ast.parse("a(chunk.state.canvas)\nb(state.canvas.shape)\nc(snapshot.canvas)")
    assert canvases_read(tree) == ["chunk.state.canvas"]


def public_names(tree: ast.Module) -> set[str]:
    """Returns the public classes, functions and values that a module defines at its top level."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        inside = [part for each in targets for part in ast.walk(each)]
        names |= {each.id for each in inside if isinstance(each, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_means_one_thing() -> None:
    """No two modules define the same one."""
    owners: dict[str, list[str]] = {}
    for module in FILES:
        for name in public_names(tree_of(module)):
            owners.setdefault(name, []).append(module)
    assert {name: where for name, where in owners.items() if len(where) > 1} == {}


@pytest.mark.parametrize(
    "path",
    [*FILES.values(), *sorted((ROOT / "scripts").glob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def test_public_names_are_documented_and_importable() -> None:
    for name in jaxstyle.__all__:
        value = getattr(jaxstyle, name)
        assert isinstance(value, (str, Mapping)) or inspect.getdoc(value), name
    assert set(jaxstyle.__all__) <= set(dir(jaxstyle))
    with pytest.raises(AttributeError, match="styliez"):
        _ = jaxstyle.styliez


@pytest.mark.parametrize("name", [name for name in ORDER if name != "__main__"])
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


_PACKAGES = {"PIL": "pillow", "lazy_loader": "lazy-loader", "pillow_heif": "pillow-heif"}
_PACKAGES |= {"imageio_ffmpeg": "imageio-ffmpeg"}


def test_the_dependencies_are_those_that_are_imported() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["print"], *extras["heif"], *extras["plot"]]
    needed += extras["film"] + extras["view"]
    declared = {each.split(">")[0] for each in needed}
    imported = {each.split(".")[0] for name in FILES for each in imports_of(name)}
    third_party = imported - set(sys.stdlib_module_names) - {"jaxstyle", "", "__future__"}
    assert declared - {"jaxlib"} == {_PACKAGES.get(name, name) for name in third_party}
