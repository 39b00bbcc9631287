"""What mkdocs does beside its own work when it builds the site (mkdocs.yml names this file).

Pages link as they do in the repository: README is the site's first page, and what a page links to
outside of docs/ becomes part of the site. Formulas between dollars, or in a block ```math, become
MathML, which browsers show without a script. Places marked `<!-- site: NAME -->` are filled from
the code, so that they say what it does.
"""

import argparse
import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from jaxstyle.cli.flags import build_parser
from jaxstyle.settings.fields import has_flag
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.presets import PRESETS
from jaxstyle.settings.recipe import Recipe
from jaxstyle.settings.text import as_text

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "weights/README.md": "weights/README.md",
    "examples/README.md": "examples/README.md",
    "packaging/cpu/README.md": "packaging/cpu/README.md",
}
"""Pages of the site that lie outside of docs/, and what they are called there."""

LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
MATH = r"(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?![\w$])"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds formulas to the markdown that pages are written in."""
    config.markdown_extensions.append(_Formulas())  # type: ignore[arg-type]  # or its name
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "math", "format": _formula_block}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds pages and pictures of the repository that lie outside of docs/."""
    inside = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
    for page, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / page)))
    for page in [*PAGES, *inside]:
        for target in _targets((ROOT / page).read_text()):
            path = _in_repository(page, target)
            outside = not path.startswith(("docs/", "..")) and path not in PAGES
            if outside and (ROOT / path).is_file() and files.get_file_from_path(path) is None:
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills the marked places of a page, and turns its links from repository's into site's."""
    place = page.file.src_uri
    back = {there: here for here, there in PAGES.items()}
    source = back.get(place, f"docs/{place}")
    for name, made in MADE.items():
        if f"<!-- site: {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- site: {name} -->", made())

    def turned(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match.group()
        path, mark, anchor = target.partition("#")
        there = _on_site(_in_repository(source, path))
        return f"{before}{posixpath.relpath(there, posixpath.dirname(place))}{mark}{anchor}{after}"

    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else LINK.sub(turned, part) for i, part in enumerate(parts))


def _targets(text: str) -> Iterator[str]:
    """Yields what a page links to, other than addresses and places on itself."""
    for match in LINK.finditer(FENCE.sub("", text)):
        if not re.match(r"[a-z]+:|#", match.group(2)):
            yield match.group(2).partition("#")[0]


def _in_repository(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _on_site(path: str) -> str:
    return PAGES.get(path, path.removeprefix("docs/"))


class _Formula(InlineProcessor):
    """Takes a formula between dollars."""

    def handleMatch(self, match: re.Match[str], data: str) -> Any:  # noqa: N802  (its name there)
        """Returns a placeholder of the formula as MathML, and where it begins and ends."""
        made = latex2mathml.converter.convert(match.group(1), display="inline")
        return self.md.htmlStash.store(made), match.start(), match.end()


class _Formulas(Extension):
    """Formulas in pages."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Adds what reads them, after code, in which dollars are dollars."""
        md.inlinePatterns.register(_Formula(MATH, md), "formula", 185)


def _formula_block(source: str, *_: Any, **__: Any) -> str:
    """Returns a formula that stands alone."""
    made: str = latex2mathml.converter.convert(source.strip(), display="block")
    return made


def settings_page() -> str:
    """Returns every setting, in the order in which it is declared."""
    kinds = (
        ("What a run does", Recipe, "recipe"),
        ("Hyperparameters", Hyperparams, "hyper"),
    )
    parts = []
    for title, kind, name in kinds:
        parts.append(f"## {title}\n")
        parts += [_setting(kind, name, each) for each in _flagged(kind)]
    return "\n".join(parts)


def _setting(kind: type, part: str, setting: dataclasses.Field[Any]) -> str:
    flag = setting.name.replace("_", "-")
    values = {name: as_text(getattr(getattr(p, part), setting.name)) for name, p in PRESETS.items()}
    usual = values["default"]
    others: dict[str, list[str]] = {}
    for name, value in values.items():
        if value != usual:
            others.setdefault(value, []).append(f"`{name}`")
    takes = setting.metadata.get("metavar") or "|".join(setting.metadata["choices"])
    presets = "; ".join(f"`{value}` in {', '.join(names)}" for value, names in others.items())
    marked = setting.metadata.get("program")
    return (
        f"### `--{flag}` {{#{flag}}}\n\n"
        f"{_prose(setting.metadata['help'])}\n\n"
        f"- takes `{takes}`; default `{usual}`{'; ' if presets else ''}{presets}\n"
        f"- in Python `{kind.__name__}.{setting.name}`"
        f"{'; part of the program: another value is compiled anew' if marked else ''}\n"
    )


def flags_page() -> str:
    """Returns all flags that are not settings, by group."""
    parts = []
    for group in build_parser()._action_groups:
        actions = [each for each in group._group_actions if each.help != argparse.SUPPRESS]
        if group.title == "settings" or not actions:
            continue
        parts.append(f"### {str(group.title).capitalize()}\n\n| flag | what it does |\n|---|---|")
        for each in actions:
            takes = f" {each.metavar}" if each.metavar else ""
            names = ", ".join(each.option_strings)
            parts.append(f"| `{names}{takes}` | {_prose(each.help or '')} |")
        parts.append("")
    return "\n".join(parts)


def _prose(text: str) -> str:
    """Returns a help text as markdown, with links to the settings that it names."""
    text = re.sub(r"([*_<>\[\]|])", r"\\\1", text.replace("%%", "%"))
    names = {
        each.name.replace("_", "-") for kind in (Recipe, Hyperparams) for each in _flagged(kind)
    }

    def linked(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"[`--{name}`](settings.md#{name})" if name in names else f"`--{name}`"

    text = re.sub(r"--([a-z][a-z0-9-]*[a-z0-9])", linked, text)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _flagged(kind: type) -> list[dataclasses.Field[Any]]:
    return [each for each in dataclasses.fields(kind) if has_flag(each)]


MADE: dict[str, Callable[[], str]] = {"settings": settings_page, "flags": flags_page}
"""What fills the marked places, by their names."""
