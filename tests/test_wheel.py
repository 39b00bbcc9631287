"""The installed wheel, not only the checkout, has all that it needs."""

import ast
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import EXAMPLES

import jaxstyle
from jaxstyle.images import picture_file

ROOT = Path(__file__).parents[1]
EMBEDDED = ROOT / "weights" / "vgg19-oxford.h5"


def test_the_embedded_weights_are_those_that_their_readme_describes() -> None:
    digest = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    assert f"sha256: `{digest}`" in (ROOT / "weights" / "README.md").read_text()


def test_pages_name_files_that_exist() -> None:
    folders = (ROOT, ROOT / "docs", ROOT / "examples", ROOT / "weights")
    for page in (page for folder in folders for page in folder.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        weights = archive.read("jaxstyle/data/vgg19-oxford.h5")
    assert weights == EMBEDDED.read_bytes()
    assert {
        "jaxstyle/py.typed",
        "jaxstyle/__init__.pyi",
        "jaxstyle/sweeps/page.html",
        "jaxstyle/data/README.md",
    } <= names
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"jaxstyle"}


@pytest.mark.slow
def test_it_paints_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    command = [sys.executable, "-m", "jaxstyle.run", "--content", str(EXAMPLES / "coffee.png")]
    command += ["--style", str(EXAMPLES / "strokes.png"), "--weights", "embedded"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = subprocess.run(
        [*command, "--size", "64", "--steps", "2"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "coffee-strokes.png\n"
    code = "import jaxstyle.weights.pretrained as p; print(p.find_weights('embedded').path)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(site / "jaxstyle" / "data" / "vgg19-oxford.h5")


@pytest.mark.slow
def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """And it has what tests and the documentation need, beside the package."""
    code = "import sys, hatchling.build as b; b.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "mkdocs.yml", "docs/start.md", "examples/coffee.png"}
    needed |= {"weights/vgg19-oxford.h5", "scripts/docs_hooks.py", "tests/conftest.py", ".ci/run"}
    assert needed <= names
    assert not [name for name in names if name.startswith(("build/", ".venv", ".git/"))]
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    with zipfile.ZipFile(wheel) as archive:
        package = [name for name in archive.namelist() if name.startswith("jaxstyle/")]
        assert [name for name in package if (site / name).read_bytes() != archive.read(name)] == []
    installed = {path.relative_to(site).as_posix() for path in (site / "jaxstyle").rglob("*.*")}
    assert {name for name in installed if "__pycache__" not in name} == set(package)


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text()
    run = recipe.partition("\n  run:\n")[2].partition("\n\n")[0]
    needed = [line.strip().removeprefix("- ").replace(" ", "") for line in run.splitlines()]
    assert needed[1:] == project["dependencies"]
    assert f'version: "{jaxstyle.__version__}"' in recipe


def test_a_typed_program_uses_every_public_name() -> None:
    """What mypy and pyright find in it is seen by .ci/run."""
    tree = ast.parse((ROOT / "tests" / "public_api.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in nodes if ast.unparse(node.value) == "jaxstyle"}
    assert used == {*jaxstyle.__all__, "__version__"}


@pytest.mark.slow
def test_python_in_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer steps and pixels, so that it takes a moment only."""
    monkeypatch.chdir(tmp_path)
    pages = [ROOT / "README.md", ROOT / "docs" / "python.md"]
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    source = "".join(blocks).replace("size=300", "size=48").replace("steps=100", "steps=2")
    for name, file in (("coffee.png", "photo.jpg"), ("strokes.png", "painting.jpg")):
        picture_file.Image.open(EXAMPLES / name).save(file)
    exec(compile(source, "documentation", "exec"), {})
    for name in ("result", *range(6)):
        assert picture_file.load_picture(tmp_path / f"{name}.png").shape == (32, 48, 3)


def test_nothing_is_left_to_fill_in() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        assert not re.search(r"README_[A-Z]|TODO|FIXME", page.read_text())
