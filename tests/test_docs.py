"""The documentation: all of it is on the site, and the site is whole and stands by itself."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import jaxstyle
from jaxstyle.settings.fields import field_names
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS
from jaxstyle.settings.recipe import Recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(menu) == len(set(menu))
    assert {path.name for path in DOCS.glob("*.md")} <= set(menu)


def test_the_api_page_has_every_public_name_once() -> None:
    told = re.findall(r"^::: (jaxstyle\.[\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    names = [name.rpartition(".")[2] for name in told]
    assert sorted(set(names) & set(jaxstyle.__all__)) == sorted(jaxstyle.__all__)
    assert len(names) == len(set(names))
    for module, name in (each.rsplit(".", 1) for each in told if not each.endswith("events")):
        assert hasattr(importlib.import_module(module), name)


def test_the_table_of_presets_has_all_of_them() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", (DOCS / "presets.md").read_text(), re.MULTILINE)
    assert sorted(name.strip("`") for row in rows for name in row.split(", ")) == sorted(PRESETS)


def test_the_table_of_extras_has_all_of_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "start.md").read_text(), re.MULTILINE)
    assert sorted([*rows, "reference"]) == sorted(project["optional-dependencies"])


class _Page(HTMLParser):
    """What a page of the site loads and links to, and the places that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        if tag in ("img", "script", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"] or "")
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(given["href"] or "")
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("material"), reason="needs the extra docs")
def test_the_site_is_built_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    """Its settings and formulas are there, its files too, and nothing comes from other hosts."""
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    result = subprocess.run([*mkdocs, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    pages = {path: _Page(path.read_text()) for path in tmp_path.rglob("*.html")}
    for path, page in pages.items():
        if path.name == "404.html":  # it may be shown at any address
            continue
        assert [each for each in page.loaded if each.startswith(("http", "//"))] == []
        inside = [each for each in page.links if not re.match(r"[a-z]+:", each)]
        for each in (*page.loaded, *inside):
            target, _, place = each.partition("#")
            there = (path.parent / target).resolve() if target else path
            assert there.exists(), (path, each)
            assert not place or there not in pages or place in pages[there].places, (path, each)
    settings = pages[tmp_path / "settings.html"].places
    named = {name.replace("_", "-") for kind in (Recipe, Hyperparams) for name in field_names(kind)}
    assert named - settings == {"content-layer-weights", "style-layer-weights"}
    formulas = (tmp_path / "formulas.html").read_text()
    assert formulas.count('display="block"') == (DOCS / "formulas.md").read_text().count("```math")
    assert "<msup>" in formulas
    assert "$" not in re.sub(r"<script.*?</script>", "", formulas, flags=re.DOTALL)
