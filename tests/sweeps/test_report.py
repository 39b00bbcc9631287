"""A sweep's page: what is in it, and what it does in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.sweeps import folder as sweep_folder
from jaxstyle.sweeps import report
from jaxstyle.sweeps.report import gather, gather_and_summarize, summarize

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOTALS = {"b": 100.0, "a": 9.0, "c&<i>": 20.0, "nan": None}


def entry(number: int, label: str, total: float | None) -> sweep_folder.Entry:
    """A record as a sweep writes it."""
    losses = dict.fromkeys(("content", "style", "tv"), 1.0) | {"total": total}
    facts = {
        "settings": {"size": [40, 60], "steps": 3, "style_layers": ["relu1_1", "relu2_1"]},
        "losses": losses,
        "painted_size": "40x60",
        "steps_done": 3,
        **{
            kind: {"name": f"{kind}.png", "sha256": f"{kind}0" * 4}
            for kind in ("content", "style", "weights")
        },
    }
    scale = total or 1.0
    failed = total is None
    return {
        "name": f"style={label.replace('&<i>', '-')}",
        "number": number,
        "labels": [["style", label]],
        "on_axes": True,
        "fingerprint": "0",
        "failure": "the style loss became NaN" if failed else None,
        "failed_step": 2 if failed else None,
        "seconds": 2.5,
        "device": "cpu:0",
        "curves": {"total": [4 * scale, 2 * scale, None if failed else scale]},
        "run": facts,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a sweep with its summaries."""
    random = np.random.default_rng(0)
    sweep_folder.make_folder(tmp_path)
    for number, (label, total) in enumerate(TOTALS.items(), 1):
        each = entry(number, label, total)
        path = sweep_folder.picture_path(tmp_path, each["name"])
        Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        each["picture_sha256"] = sweep_folder.files.sha256(path)
        sweep_folder.record_path(tmp_path, each["name"]).write_text(json.dumps(each))
    for kind in ("content", "style"):
        path = sweep_folder.sample_path(tmp_path, f"{kind}0" * 4)
        Image.new("RGB", (30, 20), "red").save(path)
    entries = gather(tmp_path)
    assert [each["number"] for each in entries] == [1, 2, 3, 4]
    summarize(tmp_path, entries)
    return tmp_path


class Reader(HTMLParser):
    """Collects files that a page names, and its cells' sort keys."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.keys: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        named = dict(attrs)
        self.files += [named[each] for each in ("src", "href") if named.get(each)]
        if tag == "td":
            self.keys.append(named["data-key"])


def test_all_that_the_page_names_is_there_and_nothing_else_is_needed(folder) -> None:
    text = (folder / "index.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert len(reader.files) == 2 + 2 + 2 * len(TOTALS)
    for name in reader.files:
        assert (folder / html.unescape(name).replace("%3D", "=")).is_file(), name
    assert not re.search(r"https?:|//[a-z]", text)
    assert "$" not in text


def test_labels_and_keys(folder) -> None:
    text = (folder / "index.html").read_text()
    reader = Reader()
    reader.feed(text)
    columns = len(reader.keys) // len(TOTALS)
    assert reader.keys[1::columns] == list(TOTALS)
    assert reader.keys[5::columns] == ["100", "9", "20", ""]
    assert "<i>" not in text
    assert text.count("NaN at step 2") == 1


def test_what_the_judge_found_has_columns_to_sort_by(folder) -> None:
    """Of the four runs two were judged; the others' cells are empty, and come last."""
    for name, values in (("style=b", (0.25, 1.5)), ("style=a", (0.125, 2.0))):
        path = sweep_folder.record_path(folder, name)
        each = json.loads(path.read_text())
        each["judged"] = dict(zip(sweep_folder.JUDGED, values, strict=True))
        path.write_text(json.dumps(each))
    entries = gather(folder)
    summarize(folder, entries)
    text = (folder / "index.html").read_text()
    heads = re.findall("<th><button>([^<]*)</button></th>", text)
    place = heads.index("style_distance")
    assert heads[place - 1 : place + 3] == [
        *("total", "style_distance", "content_distance", "total by step")
    ]
    reader = Reader()
    reader.feed(text)
    assert reader.keys[place :: len(heads)] == ["0.25", "0.125", "", ""]
    assert reader.keys[place + 1 :: len(heads)] == ["1.5", "2", "", ""]
    rows = (folder / "sweep.csv").read_text().splitlines()
    assert "total_loss,style_distance,content_distance,painted_size" in rows[0]
    assert ",0.25,1.5,40x60," in rows[1]


def test_what_another_process_finishes_meanwhile_is_in_the_summaries(folder, monkeypatch) -> None:
    record = sweep_folder.record_path(folder, "style=a")
    hidden = record.rename(folder / "later")
    contact_sheet = report.contact_sheet

    def meanwhile(*given) -> bytes:
        if hidden.exists():
            hidden.rename(record)
        return contact_sheet(*given)

    monkeypatch.setattr(report, "contact_sheet", meanwhile)
    assert len(gather_and_summarize(folder)) == len(TOTALS)
    assert len((folder / "sweep.csv").read_text().splitlines()) == 1 + len(TOTALS)


def test_a_curve_by_hand() -> None:
    """Totals 4000, 40, 0.4: two decades each, so the middle step lies in the middle."""
    one = entry(1, "a", 1.0)
    one["curves"]["total"] = [4000.0, 40.0, 0.4]
    points = re.search(r'points="([^"]*)"', report.chart([one]))
    assert points is not None
    (x1, y1), (x2, y2), (x3, y3) = (map(float, each.split(",")) for each in points[1].split())
    assert (x1, x2, x3) == (0, pytest.approx(x3 / 2), report.WIDTH - report.LEFT)
    assert y2 == pytest.approx((y1 + y3) / 2, abs=0.1)
    assert 0 < y1 < y3 < report.HEIGHT


def test_no_curve_without_losses() -> None:
    one = entry(1, "a", None)
    one["curves"]["total"] = [None]
    assert report.chart([one]) == ""
    assert report.small_charts([one]) == [""]


SCRIPT = """
<script>
const result = {errors: []};
addEventListener("load", () => {
  // nothing here waits: the browser leaves soon after this event
  addEventListener("error", event => result.errors.push(event.message));
  const names = () => [...document.querySelectorAll("tbody tr")].map(row => row.dataset.name);
  const head = text => [...document.querySelectorAll("th")].find(each => each.textContent === text);
  result.before = names();
  head("total").querySelector("button").click();
  result.up = names();
  result.aria = head("total").getAttribute("aria-sort");
  head("total").querySelector("button").click();
  result.down = names();
  head("style").querySelector("button").click();
  result.byStyle = names();
  const images = [...document.images].filter(each => each.getAttribute("src"));
  result.widths = images.map(each => each.naturalWidth);
  document.querySelector("tbody tr a").click();
  const dialog = document.querySelector("dialog");
  result.open = dialog.open;
  result.first = dialog.querySelector("p").textContent;
  result.fullWidth = dialog.querySelector("img").naturalWidth;
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"}));
  result.last = dialog.querySelector("p").textContent;
  dialog.click();
  result.closed = !dialog.open;
  const row = document.querySelector("tbody tr");
  row.dispatchEvent(new MouseEvent("mouseenter"));
  result.lit = document.querySelector("#curves polyline.on").dataset.run === row.dataset.run;
  document.body.dataset.result = JSON.stringify(result);
});
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)")
def test_in_a_browser(folder, tmp_path_factory) -> None:
    page = folder / "test.html"
    text = (folder / "index.html").read_text().replace(' loading="lazy"', "")
    page.write_text(text.replace("</body>", SCRIPT + "</body>"))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    flags += " --disable-background-networking --disable-component-update --disable-sync"
    profile = tmp_path_factory.mktemp("profile")
    more = [f"--user-data-dir={profile}", "--dump-dom"]
    more += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    shown = subprocess.run(
        [str(CHROMIUM), *flags.split(), *more, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    match = re.search(r'data-result="([^"]*)"', shown.stdout)
    assert match is not None, shown.stderr
    found = json.loads(html.unescape(match[1]))
    assert found["errors"] == []
    assert found["before"] == ["style=b", "style=a", "style=c-", "style=nan"]
    assert found["up"] == ["style=a", "style=c-", "style=b", "style=nan"]
    assert found["aria"] == "ascending"
    assert found["down"] == ["style=b", "style=c-", "style=a", "style=nan"]
    assert found["byStyle"] == ["style=a", "style=b", "style=c-", "style=nan"]
    assert found["widths"] == [30, 30] + [60] * 4
    assert found["open"]
    assert found["first"] == "style=a: total loss 9, 2.5 s"
    assert found["fullWidth"] == 60
    assert found["last"] == "style=nan: total loss unknown, 2.5 s"
    assert found["closed"]
    assert found["lit"]


def test_no_two_columns_of_the_table_have_one_name() -> None:
    judged = entry(0, "a", 9.0) | {"judged": dict.fromkeys(report.JUDGED, 0.5)}
    columns = report.table([judged]).decode().splitlines()[0].split(",")
    assert {"style_loss", "style_loss_kind", "style_distance", "device"} <= set(columns)
    assert len(set(columns)) == len(columns)
