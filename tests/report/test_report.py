"""The page about a study, its own W&B run, and the dashboard: from result files that are written here."""

import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from outcomes import COMMIT, whole_study, write_results
from PIL import Image
from project import HELPERS
from typer.testing import CliRunner
from waiting import LIMIT

from transferability.cli import app
from transferability.files import write_json
from transferability.report import figures
from transferability.report.dashboard import over_n, track_study
from transferability.report.figures import FIGURES, Figure
from transferability.report.gather import Report, gather
from transferability.report.page import page
from transferability.runs.paths import study_folder
from transferability.study import Study
from transferability.training.tracking import fragments, history

EXPERIMENT = """
import sys
sys.path.insert(0, {tests!r})
from outcomes import whole_study
study = whole_study()
"""


class Page(HTMLParser):
    """What a page consists of, as a reader of the file sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert self.open == []  # every element was closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "embed")
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


@pytest.fixture
def study(roots: Path) -> Study:
    return whole_study()


def gathered(study: Study, draw: bool = True) -> Report:
    return gather(study, study_folder(study.name), draw)


def failed(study: Study, name: str, reason: str) -> None:
    file = study_folder(study.name).fleet(name.replace("/", ".")).failed
    write_json(file, {"networks": [name], "reason": reason, "time": time.time()})


def test_the_page_has_the_results_and_what_is_missing_and_why(study: Study) -> None:
    missing = ("manmade-natural/baseA/seed-0", "manmade-natural/baseB/seed-0", "manmade-natural/B1A/seed-0")
    write_results(study, (*missing, "random-0/A1B/seed-2"))
    failed(study, "manmade-natural/baseB/seed-0", "the <disk> is full")
    text = page(gathered(study, draw=False))
    parsed = Page(text)
    assert all(link.startswith(("data:", "#")) for link in parsed.links)
    assert "@import" not in text and "url(" not in text

    rows = {tuple(row[:2]): row for row in parsed.rows}
    assert rows["base", ""][2:5] == ["6", "3", "50.0 ±0.0"]
    # Seeds -3, -4, -5 points: the t interval of three is 4.303 standard errors, 1 / sqrt(3) each; n = 1 lacks one.
    assert rows["AnB", "3"][2:8] == ["6", "3", "38.0 ±2.5", "−12.0 ±2.5", "below", "+0.0 ±0.0"]
    assert rows["AnB", "3"][8] == "−12.0 ±2.5"
    assert rows["AnB", "1"][2:4] == ["5", "3"]
    assert rows["AnB+", "2"][5:7] == ["+0.0 ±0.0", "same"]

    assert "<h3>How many layers can be kept?</h3><ul><li>Random splits, BnB: up to n = 3 within a point of its" in text
    assert "Random splits, AnB: at n = 1 to 3 more than a point below its base (lowest: −12.0 ±2.5" in text

    state = {row[2]: row for row in parsed.rows if len(row) == 4}
    assert state["manmade-natural/baseB"] == ["failed", "1", "manmade-natural/baseB", "the <disk> is full"]
    assert state["manmade-natural/B1A"][0] == "blocked" and "disk" in state["manmade-natural/B1A"][3]
    assert state["random-0/A1B/seed-2, manmade-natural/baseA"][0] == "missing"
    assert "small &lt;b&gt;" in text and "small <b>" not in text
    assert "abc123" in text and COMMIT in text and "A processor" in text
    verdicts = {row[0]: row[-1] for row in parsed.rows if len(row) == 8}
    assert verdicts["C16"] != "" and verdicts["C13"] != ""


def test_a_study_without_results_has_a_page(study: Study) -> None:
    parsed = Page(text := page(gathered(study)))
    assert "0 of 81 networks trained" in text
    assert "No network is trained yet" in text
    assert any(row[0] == "missing" and row[1] == "8" for row in parsed.rows)


def test_a_figure_that_fails_costs_the_page_no_other(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(study)

    def fail(table: object) -> None:
        raise ValueError("no such <colour>")

    monkeypatch.setattr("transferability.plots.paired.draw", fail)
    monkeypatch.setattr(figures, "FIGURES", {name: FIGURES[name] for name in ("paired", "table1", "figure1")})
    report = gathered(study)
    assert report.not_drawn == ["paired: ValueError: no such <colour>"]
    assert [figure.file.name for figure in report.figures] == ["table1.png", "figure1.png"]
    assert "no such &lt;colour&gt;" in page(report)


def test_facts_about_the_paper_are_no_findings(study: Study) -> None:
    write_results(study)
    parsed = Page(page(gathered(study, draw=False)))
    verdicts = {row[0]: row[-1] for row in parsed.rows if len(row) == 8}
    assert "C24" not in verdicts and "C04" not in verdicts and len(verdicts) > 20


def test_the_page_of_the_demo_says_that_it_is_no_evidence(study: Study) -> None:
    write_results(study)
    assert "no evidence" not in page(gathered(study, draw=False))
    demo = replace(study, name="demo_of_mine")
    write_results(demo)
    assert "no evidence" in page(gathered(demo, draw=False))


def test_groups_of_splits_that_the_paper_does_not_have_are_on_the_page(study: Study) -> None:
    write_results(study)
    report = gathered(study, draw=False)
    split = report.table["split"].where(report.table["split"] != "manmade-natural", "photo-<sketch>")
    text = page(replace(report, table=report.table.assign(split=split)))
    assert text.count("<h3>photo-&lt;sketch&gt;") == 2  # in the findings and in the results


def test_the_command_draws_and_a_browser_shows_it(study: Study, roots: Path) -> None:
    write_results(study, ("random-0/A3B/seed-1",))
    experiment = roots / "experiment.py"
    experiment.write_text(EXPERIMENT.format(tests=str(HELPERS)))
    done = CliRunner().invoke(app, ["report", str(experiment)])
    assert done.exit_code == 0, done.output
    path = study_folder(study.name).root / "report.html"
    assert done.output.splitlines()[-1] == str(path)
    text = path.read_text()
    shown = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,[^"]{1000}', text)
    assert len(shown) == len(re.findall("<figure>", text)) >= 5
    assert "Top-1 accuracy over the number of copied layers" in shown[0]
    assert shown[0].endswith("(Figure 2 of the paper): random splits")
    assert shown[-1] == "The treatments (Figure 1 of the paper)"
    # Every figure is drawn, as PDF too, or has a reason.
    files = list((path.parent / "figures").glob("*.png"))
    plots = {file.stem.partition("-")[0] for file in files}
    assert {"figure1", "figure2", "figure3", "paired", "table1", "training_curves", "trained_twice"} == plots
    assert [file for file in files if not file.with_suffix(".pdf").exists()] == []
    assert not [name for name in FIGURES if name not in plots and f"{name}: " not in text]

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here")
    picture = roots / "page.png"
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    words += [f"--user-data-dir={roots / 'browser'}", "--window-size=1180,1600", f"--screenshot={picture}"]
    ran = subprocess.run([*words, path.as_uri()], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert "CONSOLE" not in ran.stderr  # errors and warnings of the page
    image = Image.open(picture).convert("RGB")
    assert image.size == (1180, 1600)
    colours = {colour: count for count, colour in image.getcolors(1 << 24)}
    assert (47, 125, 79) in colours  # the bar of what is done
    assert colours[255, 255, 255] < 0.95 * 1180 * 1600


def test_the_study_has_a_run_of_its_own_that_is_refreshed(study: Study) -> None:
    pytest.importorskip("wandb")
    write_results(study, ("random-0/A3B/seed-1",))
    folder = study_folder(study.name).root
    track_study(gathered(study, draw=False), "offline")
    write_results(study)
    picture = folder / "figures" / "figure2.png"
    picture.parent.mkdir()
    Image.new("RGB", (20, 10), "white").save(picture)
    track_study(replace(gathered(study, draw=False), figures=[Figure(picture, "Figure 2")]), "offline")
    assert [file.stem for file in fragments(folder)] == [f"run-{study.name}"] * 2
    rows = [row for file in fragments(folder) for row in history(file)]
    assert [step for step, _ in rows] == [0, 1]
    before, after = (row for _, row in rows)
    assert before["headline/networks done"] == len(study.networks) - 1
    assert after["headline/networks done"] == len(study.networks)
    assert after["headline/random/base top-1"] == 0.5
    assert after["headline/random/AnB at n = 3, minus base"] == pytest.approx(-0.12)
    assert logged(after, "results/nrows") == len(study.networks)
    assert logged(after, "figures/figure2/_type") == "image-file"
    assert any(key.startswith(over_n("random-0")) for key in after)


def logged(row: dict[str, Any], name: str) -> Any:
    """A value in a row, however deep wandb's record of it nests."""
    if name in row:
        return row[name]
    first, _, rest = name.rpartition("/")
    return row[first][rest]


def test_the_dashboard_is_written_without_a_login(study: Study, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(roots / "netrc"))
    experiment, file = roots / "experiment.py", roots / "dashboard.json"
    experiment.write_text(EXPERIMENT.format(tests=str(HELPERS)))
    done = CliRunner().invoke(app, ["dashboard", str(experiment), "--file", str(file)])
    assert done.exit_code == 0, done.output
    view = json.loads(file.read_text())
    sections = {each["name"]: each["panels"] for each in view["spec"]["section"]["panelBankConfig"]["sections"]}
    assert list(sections) == ["The study", "random-0", "manmade-natural", "Networks", "Throughput", "Failures"]
    scatter = [panel["config"] for panel in sections["random-0"] if panel["viewType"] == "Scatter Plot"]
    assert sorted(each["yAxis"] for each in scatter) == [
        f"summary:random-0/val_top1/{treatment}" for treatment in ("AnB", "AnB+", "BnB", "BnB+", "base")
    ]
    assert {each["xAxis"] for each in scatter} == {"config:n.value"}
    lines = {panel["config"]["chartTitle"]: panel["config"] for panel in sections["manmade-natural"][3:]}
    loss = lines["manmade-natural: validation loss by treatment"]
    assert loss["metrics"] == ["manmade-natural/val_loss/base", "manmade-natural/val_loss/AnB"]
    assert loss["groupBy"].startswith("treatment")
    only = view["spec"]["section"]["runSets"][0]["filters"]["filters"][0]
    assert only["key"] == {"section": "config", "name": "study"} and only["value"] == study.name
    refused = CliRunner().invoke(app, ["dashboard", str(experiment)])
    assert "the dashboard needs a key for" in str(refused.exception)
