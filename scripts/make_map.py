"""Writes the map of the package into CONTRIBUTING.md, from the first lines of its docstrings.

Below it comes a figure of what the wings have of each other.

    python scripts/make_map.py

A test holds the map to what this makes.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxstyle"
PAGE = ROOT / "CONTRIBUTING.md"

WINGS = {
    "errors": (),
    "files": (),
    "network": ("layers", "precision", "winograd", "native", "convolution", "vgg"),
    "settings": ("checks", "fields", "recipe", "hyperparams", "validation", "presets", "text"),
    "images": (
        *("bands", "canvas", "regions", "color"),
        *("png_chunks", "print_file", "proof", "film_file", "decoding", "file_bits"),
        *("depth", "file_kinds", "picture_file", "stored"),
    ),
    "weights": (
        *("torch_pickle", "torch_file", "activations", "conventions"),
        *("weight_file", "download", "pretrained"),
    ),
    "losses": (
        *("statistics", "roots", "style", "columns", "matching", "lattice", "transport"),
        *("variation", "terms"),
    ),
    "machine": ("process", "worked_time", "gpu", "column_memory", "memory", "devices", "placement"),
    "judging": ("distances", "network", "verdict"),
    "optimization": (
        *("strip_loop", "strips", "rows", "guides", "matches", "samples", "targets", "problem"),
        *("lbfgs", "line_search", "optimizer", "stepping"),
    ),
    "painting": (
        *("level", "variants", "events", "engine", "painter"),
        *("shared", "sweep_rounds", "sweeping"),
    ),
    "notebook": (),
    "runs": (
        *("paths", "output_name", "request", "record", "notices", "reader", "inputs", "checkpoint"),
        *("progress", "log", "plot", "film", "outputs", "checkpointer", "observers", "job", "plan"),
        "doctor",
    ),
    "sweeps": ("grid", "folder", "inputs", "job", "sheet_layout", "sheet", "report"),
    "view": (
        *("address", "guard", "live", "saving", "thumbs", "server"),
        *("studio_folder", "studio_queue", "studio_server"),
    ),
    "cli": (
        "flag_groups",
        "config",
        "flags",
        "commands",
        "completion",
        "streams",
        "studio",
        "main",
    ),
    "run": (),
    "__main__": (),
}
"""The wings and their modules, in order: a module imports only from wings before its own, and from
modules before it in its own. `tests/test_house.py` enforces it."""

FLOWS = {
    ("settings", "optimization"): ("Recipe", "Hyperparams"),
    ("network", "optimization"): ("Kernels", "features"),
    ("losses", "optimization"): ("Sums", "Losses"),
    ("machine", "optimization"): ("Rows",),
    ("machine", "painting"): ("Memory",),
    ("images", "painting"): ("normalize", "picture_of"),
    ("optimization", "painting"): ("Problem", "State", "Chunk"),
    ("images", "runs"): ("load_picture", "encode"),
    ("weights", "runs"): ("WeightFile",),
    ("judging", "runs"): ("judge_of",),
    ("painting", "notebook"): ("Event", "Lane"),
    ("painting", "runs"): ("Level", "Event"),
    ("painting", "sweeps"): ("Variant", "Result"),
    ("runs", "sweeps"): ("Request", "Inputs"),
    ("runs", "cli"): ("Request", "Job"),
    ("sweeps", "cli"): ("SweepJob",),
    ("painting", "view"): ("Event", "Lane"),
    ("view", "cli"): ("Live",),
}
"""The arrows of the figure: a wing, one that uses it, and what that one has of it above all.
`tests/test_house.py` holds them to the code."""

START, END = "<!-- made by scripts/make_map.py -->\n", "<!-- end of the map -->\n"


def first_line(path: Path) -> str:
    """Returns the first line of a module's docstring, without the stop at its end."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0].removesuffix(".")


def made_map() -> str:
    """Returns the map: a row for every wing, and one for each of its modules below it."""
    rows = ["| wing, module | what it is |\n|---|---|\n"]
    for wing, names in WINGS.items():
        path = PACKAGE / wing / "__init__.py" if names else PACKAGE / f"{wing}.py"
        rows.append(f"| **`{wing}`** | {first_line(path)} |\n")
        rows += [
            f"| `{wing}.{name}` | {first_line(PACKAGE / wing / f'{name}.py')} |\n" for name in names
        ]
    return "".join(rows)


def made_figure() -> str:
    """Returns the figure of the wings, in mermaid's language."""
    arrows = [f"  {wing} -->|{', '.join(names)}| {user}\n" for (wing, user), names in FLOWS.items()]
    return f"```mermaid\nflowchart LR\n{''.join(arrows)}```\n"


def with_map(page: str) -> str:
    """Returns the text of CONTRIBUTING.md with today's map in the place of the one that it has."""
    place, made = re.escape(START) + ".*?" + re.escape(END), f"{made_map()}\n{made_figure()}"
    return re.sub(place, lambda _: f"{START}{made}{END}", page, count=1, flags=re.DOTALL)


def main() -> None:
    """Writes the map."""
    PAGE.write_text(with_map(PAGE.read_text()))


if __name__ == "__main__":
    main()
