"""One page about a study, `<runs>/<study>/report.html`, that needs nothing else; and the same for W&B.

The page has the figures, the results by split and treatment with n and intervals, the paper's claims, what is missing,
blocked or failed and why, recipes and provenance. It loads nothing from anywhere, so it can be mailed. Everything on
it is read from the study's files; nothing here needs torch.
"""

import base64
import datetime
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from transferability import __version__
from transferability.files import Refused, read_json, write_atomically
from transferability.networks.caffenet import shapes
from transferability.results import statistics as results
from transferability.results.claims import NOT_REPRODUCED, NOT_SUPPORTED, REPRODUCED, Claim, claims, statistic_of
from transferability.results.collect import collect
from transferability.results.statistics import MARGIN, MIN_UNITS, NOT_ENOUGH, STATISTICS, Mean, mean_of
from transferability.runs.paths import StudyFolder, study_folder
from transferability.runs.status import NetworkStatus, at_chance, statuses
from transferability.study import Study
from transferability.training.tracking import (
    entity,
    keep_files_in,
    last_logged,
    open_run,
    project,
    remove_empty,
    say,
    treatment_of,
    wait_for,
)

TITLES = {"random": "Random splits", "manmade-natural": "Man-made / natural", "whole": "All classes"}
# In the page's order: the file's name (and, after a hyphen, a split's) → what it shows.
FIGURES = {
    "figure2": "Top-1 accuracy over the number of copied layers n, by treatment (Figure 2 of the paper)",
    "paired": "The same networks paired with the base of their own split, target and seed",
    "figure3": "Transfer from similar and dissimilar tasks, and random features (Figure 3 of the paper)",
    "table1": "What fine-tuned transfer adds to a base, pooled as in the paper's Table 1 and paired",
    "reduced_data": "Accuracy with fewer images per class (the paper's supplement)",
    "preserved": "Further layers copied and trained on above the frozen ones",
    "training_curves": "Losses over training, by treatment, and the final training loss over n",
    "filters": "First-layer filters of the bases",
    "figure1": "The treatments (Figure 1 of the paper)",
}
STATE_WORDS = {
    "done": "trained",
    "diverged": "trained, but the loss was not a number",
    "running": "being trained now",
    "missing": "not trained, and nothing is in the way",
    "waiting": "waiting for the base that it copies from",
    "failed": "stopped by an error",
    "blocked": "its base failed or diverged",
}


@dataclass(frozen=True)
class Report:
    """What the page and the study's own run of W&B are made from. figures: files, in the page's order."""

    study: Study
    folder: StudyFolder
    table: pd.DataFrame
    found: list[NetworkStatus]
    figures: list[Path]
    not_drawn: list[str]

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more without somebody's doing."""
        return all(status.state in ("done", "diverged", "failed", "blocked") for status in self.found)


def gather(study: Study, draw: bool = True) -> Report:
    """Collects the results into results.csv and draws what can be drawn, into <runs>/<study>/figures."""
    folder = study_folder(study.name)
    folder.root.mkdir(parents=True, exist_ok=True)
    collect(study, folder)
    table = results.read_results(folder.results)
    figures, not_drawn = _draw(folder, table) if draw and len(table) else ([], [])
    return Report(study, folder, table, statuses(study, folder, study.networks), figures, not_drawn)


def write_report(report: Report) -> Path:
    """Writes the page, atomically; where it is."""
    path = report.folder.root / "report.html"
    with write_atomically(path, "w") as handle:
        handle.write(page(report))
    return path


# ------------------------------------------------------------------------------------------ figures


def plots_folder() -> Path | None:
    """Where the plots are: they are scripts beside the package, not in it. None where there is no clone."""
    chosen = os.environ.get("TRANSFERABILITY_PLOTS")
    places = [Path(chosen)] if chosen else [Path(__file__).parents[2] / "plots", Path("plots")]
    return next((place for place in places if (place / "figure2.py").is_file()), None)


def _draw(folder: StudyFolder, table: pd.DataFrame) -> tuple[list[Path], list[str]]:
    """The figures drawn now, in order, and a line for each that could not be."""
    plots = plots_folder()
    if plots is None:
        return [], [
            "no figures: there is no plots/ here; run this in a clone of the project, or set TRANSFERABILITY_PLOTS"
        ]
    out, began = folder.root / "figures", datetime.datetime.now().timestamp()
    out.mkdir(exist_ok=True)
    beside = ["--paper"] if statistic_of(table) == "val_top1_best10" else []
    commands = [["all.py", str(folder.results), *beside], ["training_curves.py", str(folder.curves)]]
    if any(folder.root.glob("*/base*/seed-*/weights.safetensors")):
        commands.append(["filters.py", str(folder.root)])
    not_drawn = []
    for script, *words in commands:
        command = [sys.executable, str(plots / script), *words, "--out", str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except subprocess.TimeoutExpired:
            not_drawn.append(f"{script}: took more than ten minutes")
            continue
        lines = done.stdout.splitlines()
        not_drawn += [line.replace("not drawn: ", "") for line in lines if ": not drawn: " in line]
        if done.returncode:
            not_drawn.append(f"{Path(script).stem}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    names = list(FIGURES)
    drawn = [file for file in out.glob("*.png") if file.stat().st_mtime >= began - 2 and _stem(file) in FIGURES]
    return sorted(drawn, key=lambda file: (names.index(_stem(file)), len(file.stem), file.stem)), not_drawn


def _stem(figure: Path) -> str:
    return figure.stem.partition("-")[0]


# ------------------------------------------------------------------------------------------ numbers


def headlines(report: Report) -> dict[str, float]:
    """The headline numbers by name, as they go into the summary of the study's run. Fractions; without NaN."""
    out: dict[str, float] = {
        "networks": float(len(report.found)),
        **{f"networks {state}": float(n) for state, n in Counter(s.state for s in report.found).items()},
    }
    for group, name, mean in _effects(report):
        out |= {f"{group}/{name}": mean.value, f"{group}/{name} low": mean.low, f"{group}/{name} high": mean.high}
        out[f"{group}/{name} units"] = float(mean.units)
    return {key: value for key, value in out.items() if not math.isnan(value)}


def _effects(report: Report) -> list[tuple[str, str, Mean]]:
    """(group, what, mean) of the few numbers that a group of splits comes down to."""
    if not len(report.table):
        return []
    rows = results.networks(report.table)
    out = []
    for group in (each for each in TITLES if each in set(rows["group"])):
        some = rows[rows["group"] == group]
        out.append((group, "base top-1", mean_of(some[some["treatment"] == "base"], "accuracy")))
        frozen = some[some["treatment"] == "AnB"]
        if len(frozen):
            last = int(frozen["n"].max())
            out.append((group, f"AnB at n = {last}, minus base", mean_of(frozen[frozen["n"] == last])))
        selffer = some[some["treatment"] == "BnB"]
        means = {n: mean_of(selffer[selffer["n"] == n]).value for n in selffer["n"].unique().tolist()}
        means = {n: value for n, value in means.items() if not math.isnan(value)}
        if means:
            lowest = min(means, key=lambda n: means[n])
            out.append((group, f"lowest BnB, at n = {lowest}, minus base", mean_of(selffer[selffer["n"] == lowest])))
        for treatment in ("BnB+", "AnB+"):
            # Without the network that copies all layers: there is none of AnB+.
            tuned = some[(some["treatment"] == treatment) & (some["n"] < len(report.study.architecture.layers))]
            if len(tuned):
                n = f"n = {tuned['n'].min()} to {tuned['n'].max()}"
                out.append((group, f"{treatment}, {n}, minus base", mean_of(tuned)))
    return [(group, name, mean) for group, name, mean in out if mean.units]


# ------------------------------------------------------------------------------------------ the page


def page(report: Report) -> str:
    """The whole page as HTML."""
    study, found = report.study, report.found
    done = sum(status.state in ("done", "diverged") for status in found)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    sections = {
        "Findings": _findings(report),
        "Figures": _figures(report),
        "Results": _results(report),
        "Claims": _claims(report),
        "State": _state(report),
        "Recipes": _recipes(report),
        "Provenance": _provenance(report),
        "Networks": _networks(report),
    }
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in sections)
    body = "".join(
        f'<section id="{title.lower()}"><h2>{title}</h2>{body}</section>' for title, body in sections.items()
    )
    title = f"{escape(study.name)}: how transferable are the features of layer n?"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="kicker">How transferable are the features of layer n?</p>
<h1>{escape(study.name)}</h1>
<p class="lead">{done} of {len(found)} networks trained: {escape(study.architecture.name)} on
{escape(study.data)}, {_listed(dict.fromkeys(status.network.split for status in found))}</p>
{_bar(found)}
<p class="small">{now}, transferability {__version__}</p>
</header>
<nav>{links}</nav>
<main>{body}</main>
</body>
</html>
"""


def _bar(found: Sequence[NetworkStatus]) -> str:
    """How many networks are in which state, as a bar with a legend."""
    count = Counter(status.state for status in found)
    present = [state for state in STATE_WORDS if count[state]]
    parts = "".join(f'<i class="{state}" style="flex:{count[state]}"></i>' for state in present)
    legend = "".join(f'<span><i class="{state}"></i>{count[state]} {state}</span>' for state in present)
    return f'<div class="bar">{parts}</div><p class="legend">{legend}</p>'


def _findings(report: Report) -> str:
    cards: dict[str, list[str]] = {}
    for group, name, mean in _effects(report):
        accuracy = name.endswith("top-1")
        interval = f"95 % interval {_points(mean.low, accuracy)} to {_points(mean.high, accuracy)}"
        if mean.units < MIN_UNITS:
            interval = "no interval below three units"
        cards.setdefault(group, []).append(
            f'<div class="card"><p>{escape(name)}</p><p class="number">{_points(mean.value, accuracy)}'
            f"<small>{' %' if accuracy else ' points'}</small></p>"
            f'<p class="small">{interval}; {_count(mean.networks, "network")}, {_count(mean.units, "unit")}</p></div>'
        )
    if not cards:
        return "<p>No network is trained yet.</p>"
    note = (
        "Final top-1 accuracy on the validation images; differences in points, paired with the base of the same split, "
        "target and seed. A unit is a split with a seed, both directions averaged."
    )
    warning = ""
    if report.study.name.startswith("demo"):
        warning = (
            '<p class="warning">The demo\'s pictures were drawn, and its recipe chosen, so that the effects show: this '
            "study illustrates the method and is no evidence for them.</p>"
        )
    groups = "".join(f'<h3>{TITLES[group]}</h3><div class="cards">{"".join(its)}</div>' for group, its in cards.items())
    return f'{warning}{groups}<p class="small">{note}</p>'


def _figures(report: Report) -> str:
    out = []
    for file in report.figures:
        data = base64.b64encode(file.read_bytes()).decode()
        split = file.stem.partition("-")[2]
        words = FIGURES[_stem(file)] + (f": {TITLES.get(split, split).lower()}" if split else "")
        out.append(
            f'<figure><img alt="{escape(words)}" src="data:image/png;base64,{data}"><figcaption>{escape(words)}'
            f"</figcaption></figure>"
        )
    notes = _items(report.not_drawn)
    left_out = f"<details><summary>Not drawn ({len(report.not_drawn)})</summary>{notes}</details>" if notes else ""
    if not out:
        return notes
    return f'<div class="figures">{"".join(out)}</div>{left_out}'


def _results(report: Report) -> str:
    if not len(report.table):
        return ""
    rows = results.networks(report.table)
    lines = results.summary(report.table)
    out = []
    for group in lines["group"].unique():
        some = rows[rows["group"] == group]
        varies = mean_of(some, "accuracy").varies
        about = f"units differ in {varies}" if varies else "one unit, so no intervals"
        out.append(f"<h3>{TITLES[group]} <small>{about}</small></h3>{_summary_table(lines[lines['group'] == group])}")
    notes = [
        f"Top-1: {STATISTICS['val_top1']}, in %. Differences in points, paired within split, target and seed. "
        "Co-adaptation: BnB − base; specificity: AnB − BnB (AnB+ − BnB+) on the same target.",
        f"±: half-width of the 95 % t interval over units (split × seed), from {MIN_UNITS} units on. same: it lies "
        f"within {100 * MARGIN:g} point; above, below: it excludes 0; ?: not enough networks.",
    ]
    if names := results.unpaired(rows):
        notes.append(f"No base to compare with: {', '.join(names)}.")
    if names := results.diverged(report.table):
        notes.append(f"Diverged, in no mean: {', '.join(names)}.")
    splits = report.table["split"].unique()
    if len(splits) > len(lines["group"].unique()):
        for split in splits:
            its = results.summary(report.table[report.table["split"] == split])
            out.append(f"<details><summary>{escape(split)} alone</summary>{_summary_table(its)}</details>")
    return "".join(out) + "".join(f'<p class="small">{escape(note)}</p>' for note in notes)


def _summary_table(lines: pd.DataFrame) -> str:
    columns = [
        "treatment",
        "n",
        "networks",
        "units",
        "top-1 %",
        "− base",
        "",
        "co-adaptation",
        "specificity",
        "train loss",
    ]
    rows = []
    for line in lines.to_dict("records"):
        verdict = {NOT_ENOUGH: "?"}.get(line["verdict"], line["verdict"])
        half = line["accuracy"] - line["accuracy_low"]
        rows.append(
            [
                line["treatment"],
                str(line["n"] or ""),
                str(line["accuracy_networks"]),
                str(line["accuracy_units"]),
                _points(line["accuracy"], True) + ("" if math.isnan(half) else f" ± {100 * half:.1f}"),
                _difference(line, "difference"),
                verdict,
                _difference(line, "coadaptation"),
                _difference(line, "specificity"),
                "" if math.isnan(line["train_loss"]) else f"{line['train_loss']:.2f}",
            ]
        )
    return _table(columns, rows, left=(0, 6), groups=True)


def _claims(report: Report) -> str:
    if not len(report.table):
        return ""
    judged = claims(report.table)
    count = Counter(each.verdict for each in judged)
    colours = {REPRODUCED: "good", NOT_REPRODUCED: "bad", NOT_SUPPORTED: "odd"}
    rows: list[list[str]] = []
    open_rows: list[list[str]] = []
    for each in judged:
        claim = each.claim
        row = [
            escape(claim.id),
            f"{escape(claim.text)}<br><small>{escape(claim.where)}; {escape(claim.rule_text)}</small>",
            escape(claim.stated),
            "<br>".join(escape(at.label) for at in each.measured),
            "<br>".join(_claimed(claim, at.authors) for at in each.measured),
            "<br>".join(_claimed(claim, at.yours) for at in each.measured),
            "<br>".join(f"{at.yours.networks} / {at.yours.units}" for at in each.measured),
            f'<b class="{colours.get(each.verdict, "")}">{escape(each.verdict)}</b>',
        ]
        (open_rows if each.verdict == NOT_ENOUGH else rows).append(row)
    columns = ["", "claim", "paper", "", "authors, paired", "this study", "networks / units", "verdict"]
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in count.most_common())
    out = f"<p>{len(judged)} statements of the paper, each with a rule that was fixed before any run: {verdicts}.</p>"
    if rows:
        out += _table(columns, rows, left=(0, 1, 2, 3, 7), raw=True)
    if open_rows:
        inside = _table(columns, open_rows, left=(0, 1, 2, 3, 7), raw=True)
        title = f"{len(open_rows)} that this study has not enough networks for"
        out += f"<details><summary>{title}</summary>{inside}</details>"
    note = (
        "In %, differences in points. Authors: their published networks by the mean of the ten highest validations. "
        f"This study: {STATISTICS[statistic_of(report.table)]}. Only networks by the paper's recipe are held against "
        "its values."
    )
    return out + f'<p class="small">{escape(note)}</p>'


def _claimed(claim: Claim, mean: Mean) -> str:
    if math.isnan(mean.value):
        return "–"
    if claim.rule == "count":
        return f"{mean.value:.0f}"
    half = "" if math.isnan(mean.low) else f" ± {100 * (mean.value - mean.low):.1f}"
    return _points(mean.value, claim.quantity in ("accuracy", "error")) + half


def _state(report: Report) -> str:
    """What is not trained, and why: one line for the networks that share a state and a reason."""
    reasons: dict[tuple[str, str], list[NetworkStatus]] = {}
    for status in report.found:
        if status.state != "done":
            detail = status.detail or STATE_WORDS[status.state]
            if status.state == "running" and status.steps:
                detail = f"step {status.step:,} of {status.steps:,}" + (f", {status.detail}" if status.detail else "")
            reasons.setdefault((status.state, detail), []).append(status)
    rows = []
    order = list(STATE_WORDS)
    for (state, why), group in sorted(reasons.items(), key=lambda item: -order.index(item[0][0])):
        names = [status.network.name.removesuffix("/seed-0") for status in group]
        shown = escape(", ".join(names[:6]))
        if names[6:]:
            shown += f"<details><summary>and {len(names) - 6} more</summary>{escape(', '.join(names[6:]))}</details>"
        rows.append([f'<i class="{state}"></i>{state}', str(len(group)), shown, escape(why)])
    lines = at_chance(
        report.study, report.folder, [status.network for status in report.found if status.state == "done"]
    )
    if not rows:
        return "<p>Every network of the study is trained.</p>" + _items(lines)
    return _table(["state", "networks", "which", "why"], rows, left=(0, 2, 3), raw=True) + _items(lines)


def _recipes(report: Report) -> str:
    recipes = Counter(status.network.recipe for status in report.found)
    fields = [key for key in asdict(next(iter(recipes))) if key != "name"]
    used = [field for field in fields if any(getattr(recipe, field) not in (0, None) for recipe in recipes)]
    columns = ["recipe", *(recipe.name for recipe in recipes)]
    rows = [["networks", *(str(n) for n in recipes.values())]]
    rows += [[field.replace("_", " "), *(_value(getattr(recipe, field)) for recipe in recipes)] for field in used]
    architecture = report.study.architecture
    layers = [
        [
            name,
            type(spec).__name__,
            ", ".join(f"{k} {_value(v)}" for k, v in asdict(spec).items() if v),
            f"{c} × {s} × {s}",
        ]
        for (name, spec), (c, s) in zip(architecture.layers, shapes(architecture)[1:], strict=True)
    ]
    title = f"Architecture: {escape(architecture.name)}, {architecture.crop} × {architecture.crop} pixels"
    table = _table(["layer", "kind", "settings", "output"], layers, left=(0, 1, 2))
    return f"{_table(columns, rows, left=range(len(columns)))}<details><summary>{title}</summary>{table}</details>"


def _provenance(report: Report) -> str:
    """Commit, versions and hardware of the results, from the files of the networks."""
    kept: dict[str, Counter[str]] = {}
    seconds = images = 0.0
    sets: Counter[str] = Counter()
    for status in report.found:
        if status.state not in ("done", "diverged"):
            continue
        result = read_json(report.folder.result(status.network.name))
        its = result["provenance"]
        seconds += result["seconds"] / max(1, len(its["fleet"]))
        images += result["images_seen"]
        sets[result["record"]["data"]] += 1
        versions, hardware = its["versions"], its["hardware"]
        for key, value in {
            "commit": its["git_commit"],
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "device": f"{its['devices']} × {hardware['gpu'] if its['accelerator'] != 'cpu' else hardware['cpu']}",
            "host": hardware["host"],
        }.items():
            kept.setdefault(key, Counter())[str(value)] += 1
    if not kept:
        return ""
    rows = [["data", report.study.data, ""]]
    rows += [["checksum of the data", value, str(n)] for value, n in sets.items()]
    rows += [[key, value, str(n)] for key, count in kept.items() for value, n in count.most_common()]
    rows.append(["training time", f"{seconds / 3600:.2f} hours of fleets, {images:,.0f} images seen by networks", ""])
    return _table(["", "", "networks"], rows, left=(0, 1))


def _networks(report: Report) -> str:
    if not len(report.table):
        return ""
    columns = ["network", "top-1 %", "top-5 %", "val loss", "train loss", "train %", "steps", "images/s", "commit"]
    rows = []
    names = results.full_names(report.table)
    for name, row in zip(names, report.table.to_dict("records"), strict=True):
        rows.append(
            [
                name,
                *(f"{100 * row[key]:.1f}" for key in ("val_top1", "val_top5")),
                *(f"{row[key]:.3f}" for key in ("val_loss", "train_loss")),
                f"{100 * row['train_top1']:.1f}",
                f"{row['steps']:,}",
                f"{row['images_per_second']:,.0f}",
                row["git_commit"][:7] + (" +" if " " in row["git_commit"] else ""),
            ]
        )
    note = '<p class="small">images/s: of the whole fleet. +: with changes that were not committed.</p>'
    return f"<details><summary>All {len(rows)} networks</summary>{_table(columns, rows, left=(0,))}{note}</details>"


# ------------------------------------------------------------------------------------------ pieces of HTML


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Iterable[int] = (),
    raw: bool = False,
    groups: bool = False,
) -> str:
    """left: columns of words; the others are numbers, to the right. groups: a line where the first cell changes."""
    aligned = set(left)

    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=l' if i in aligned else ''}>{value if raw else escape(value)}</{tag}>"
            for i, value in enumerate(values)
        )

    body, above = [], ""
    for row in rows:
        begins = groups and above and above != row[0]
        body.append(f"<tr{' class=group' if begins else ''}>{cells(row, 'td')}</tr>")
        above = row[0]
    head = f"<thead><tr>{cells(columns, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(body)}</tbody></table></div>'


def _items(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    return escape(", ".join(every[:-1]) + f" and {every[-1]}" if len(every) > 1 else every[0])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _points(value: float, accuracy: bool = False) -> str:
    if math.isnan(value):
        return ""
    return f"{round(100 * value, 1) + 0.0:{'' if accuracy else '+'}.1f}".replace("-", "−")


def _difference(line: Mapping[Any, Any], column: str) -> str:
    half = line[column] - line[f"{column}_low"]
    return _points(line[column]) + ("" if math.isnan(half) else f" ± {100 * half:.1f}")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, (int, float)) else str(value)


STYLE = """
:root { --ink: #1d2430; --soft: #5c6675; --line: #e3e6eb; --page: #fff; --tint: #f6f7f9; --accent: #1f4e9e;
  --done: #2f7d4f; --diverged: #8a2be2; --running: #2f6fd0; --missing: #c9ced6; --waiting: #9aa5b4; --failed: #c0392b;
  --blocked: #e08e2b; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.2rem; }
body { margin: 0; color: var(--ink); background: var(--page); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.6rem; }
.kicker { margin: 0; color: var(--soft); font-size: .85rem; letter-spacing: .02em; }
h1 { margin: .1rem 0 .2rem; font-size: 2.1rem; line-height: 1.15; letter-spacing: -.02em; }
.lead { margin: 0 0 1.1rem; font-size: 1.05rem; color: var(--soft); }
h2 { margin: 0 0 1rem; font-size: 1.35rem; letter-spacing: -.01em; }
h3 { margin: 1.8rem 0 .6rem; font-size: 1.02rem; }
h3:first-child { margin-top: 0; }
h3 small { color: var(--soft); font-weight: normal; margin-left: .4rem; }
section { padding: 2.2rem 0 2rem; border-bottom: 1px solid var(--line); }
section:last-child { border: 0; }
nav { position: sticky; top: 0; z-index: 2; background: rgba(255, 255, 255, .95); border-bottom: 1px solid var(--line);
  margin-top: 1.4rem; display: flex; flex-wrap: wrap; gap: .2rem 1.3rem;
  padding: .65rem max(1.5rem, calc((100% - 1080px) / 2 + 1.5rem)); }
nav a { color: var(--soft); text-decoration: none; font-size: .88rem; }
nav a:hover { color: var(--accent); }
.small, figcaption { color: var(--soft); font-size: .82rem; }
.bar { display: flex; height: .55rem; border-radius: .3rem; overflow: hidden; gap: 1px; background: var(--line); }
.legend { margin: .45rem 0 .2rem; font-size: .82rem; color: var(--soft); }
.legend span { margin-right: 1.1rem; }
i.done { background: var(--done); } i.diverged { background: var(--diverged); }
i.running { background: var(--running); }
i.missing { background: var(--missing); } i.waiting { background: var(--waiting); }
i.failed { background: var(--failed); } i.blocked { background: var(--blocked); }
.legend i, td i { display: inline-block; width: .65rem; height: .65rem; border-radius: .15rem; margin-right: .4rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: .9rem; margin-bottom: 1rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem .95rem; background: var(--tint); }
.card p { margin: 0; }
.number { font-size: 1.75rem; font-weight: 600; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.number small { font-size: .85rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.card p:first-child { font-size: .88rem; min-height: 2.6em; line-height: 1.3; }
.card p:last-child { margin-top: .35rem; }
.warning { border-left: 3px solid var(--blocked); background: #fdf6ec; margin: 0 0 1.2rem; padding: .6rem .9rem;
  font-size: .9rem; }
.figures { columns: 2 440px; column-gap: 1.6rem; }
figure { margin: 0 0 1.6rem; border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: .7rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { text-align: right; padding: .28rem .8rem .28rem 0; vertical-align: top; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--ink); vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); }
tr.group td { border-top: 1px solid #b9c0ca; }
tbody tr:hover { background: var(--tint); }
.l { text-align: left; }
#claims td:nth-child(2), #state td:nth-child(3), #state td:nth-child(4), #recipes td:nth-child(3),
#provenance td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; min-width: 15rem; }
#claims td:nth-child(8), #claims td:nth-child(3) { white-space: normal; }
td small { color: var(--soft); }
.good { color: var(--done); } .bad { color: var(--failed); } .odd { color: #8a6d1d; }
b { font-weight: 600; }
details { margin: 1rem 0 0; }
td details { margin: 0; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; }
details[open] > summary { margin-bottom: .6rem; }
ul { padding-left: 1.1rem; font-size: .9rem; }
@media print { nav { display: none; } section { break-inside: avoid-page; } }
"""


# ------------------------------------------------------------------------------------------ W&B


def track_study(report: Report, mode: str) -> None:
    """Logs the table, the figures and the headline numbers to the study's own run; the newest call is what it shows.

    Each call is one step of the run. What W&B refuses is said in one line, and stops nothing.
    """
    import wandb

    folder = report.folder.root
    try:
        keep_files_in(folder)
        remove_empty(folder)
        step = 1 + last_logged(folder)
        identity = {
            "id": report.study.name,
            "name": f"{report.study.name} (study)",
            "job_type": "study",
            "tags": [report.study.name, "study"],
            "config": {
                "study": report.study.name,
                "data": report.study.data,
                "architecture": report.study.architecture.name,
                "networks": len(report.study.networks),
            },
        }
        run = open_run(mode, folder, **identity)
        if mode == "online" and run.resumed:
            step = max(step, run.starting_step)
        shown: dict[str, Any] = {f"figures/{file.stem}": wandb.Image(str(file)) for file in report.figures}
        if len(report.table):
            shown["results"] = wandb.Table(dataframe=report.table)
            shown["summary"] = wandb.Table(dataframe=results.summary(report.table))
            for split, its in results.networks(report.table).groupby("split"):
                shown[over_n(str(split))] = _chart(wandb, str(split), its)
        numbers = headlines(report)
        run.log({**shown, **{f"headline/{key}": value for key, value in numbers.items()}}, step=step, commit=True)
        run.summary.update(numbers)
        run.finish()
        wait_for(folder, step)
    except Exception as error:
        say(f"the study's run is not logged: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def over_n(split: str) -> str:
    """The name of the chart of top-1 over n of one split, in the study's run."""
    return f"top-1 over n/{split}"


def _chart(wandb: Any, split: str, rows: pd.DataFrame) -> Any:
    """Mean top-1 over n, a line for each treatment; the base is the line's start at n = 0."""
    base = rows[rows["treatment"] == "base"]["accuracy"].mean()
    xs, ys, keys = [], [], []
    for treatment, its in rows[rows["n"] > 0].groupby("treatment"):
        means = its.groupby("n")["accuracy"].mean()
        xs.append([0, *means.index.tolist()])
        ys.append([base, *means.tolist()])
        keys.append(str(treatment))
    return wandb.plot.line_series(xs or [[0]], ys or [[base]], keys or ["base"], f"{split}: top-1 over n", "n")


def dashboard(study: Study, entity: str = "") -> Any:
    """The study's workspace: a section for each split, then single networks, throughput and failures.

    Refused without wandb-workspaces.
    """
    try:
        import wandb_workspaces.expr as expr
        import wandb_workspaces.reports.v2
        import wandb_workspaces.workspaces as workspaces
    except ImportError:
        raise Refused("the dashboard needs wandb-workspaces: pip install '.[dashboard]' in the project") from None
    panels: Any = wandb_workspaces.reports.v2
    groups: dict[str, list[str]] = {}  # split → its treatments
    for network in study.networks:
        its = groups.setdefault(network.split, [])
        if treatment_of(network) not in its:
            its.append(treatment_of(network))

    def lines(title: str, keys: Sequence[str], by_treatment: bool, log: bool = False) -> Any:
        grouped = {"groupby": panels.Config("treatment"), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
        return panels.LinePlot(title=title, y=list(keys), log_y=log or None, **(grouped if by_treatment else {}))

    sections = [
        workspaces.Section(
            name="The study",
            is_open=True,
            panels=[panels.MediaBrowser(title="Figures", media_keys=["figures/figure2"])],
        )
    ]
    for split, its in groups.items():
        chart = panels.CustomChart(
            query={"summaryTable": {"tableKey": f"{over_n(split)}_table"}},
            chart_name="wandb/lineseries/v0",
            chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
            chart_strings={"title": f"{split}: top-1 over n, by treatment", "xname": "n"},
        )
        now = [
            panels.ScatterPlot(
                title=f"{split}: {treatment}, top-1 over n",
                x=panels.Config("n"),
                y=panels.SummaryMetric(f"{split}/val_top1/{treatment}"),
            )
            for treatment in its
        ]
        course = [
            lines(f"{split}: {title}", [f"{split}/{key}/{treatment}" for treatment in its], True)
            for key, title in (
                ("val_top1", "top-1 by treatment"),
                ("val_loss", "validation loss by treatment"),
                ("train_loss", "training loss by treatment"),
            )
        ]
        sections.append(workspaces.Section(name=split, is_open=True, panels=[chart, *now, *course]))
    one = {
        "training loss": ["train_loss"],
        "validation loss": ["val_loss"],
        "top-1": ["val_top1"],
        "top-5": ["val_top5"],
        "learning rate": ["learning_rate"],
        "epoch": ["epoch"],
    }
    sections += [
        workspaces.Section(name="Networks", panels=[lines(title, keys, False) for title, keys in one.items()]),
        workspaces.Section(
            name="Throughput",
            panels=[
                lines("images/s of a network's fleet", ["images_per_second"], False),
                lines("images/s by treatment", ["images_per_second"], True),
            ],
        ),
        workspaces.Section(
            name="Failures",
            panels=[
                lines("loss is not a number", ["diverged"], False),
                panels.ScalarChart(title="networks diverged", metric=panels.Metric("diverged"), groupby_aggfunc="sum"),
                panels.ScalarChart(title="networks failed", metric=panels.SummaryMetric("networks failed")),
                panels.ScalarChart(title="networks blocked", metric=panels.SummaryMetric("networks blocked")),
            ],
        ),
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project(),
        name=f"{study.name}: how transferable are the features of layer n?",
        sections=sections,
        settings=workspaces.WorkspaceSettings(max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=[expr.Config("study") == study.name],
            groupby=[],
            pinned_columns=["summary:val_top1", "summary:diverged", "config:treatment", "config:n", "config:split"],
        ),
    )


def save_dashboard(study: Study, file: Path | None) -> str:
    """Saves the workspace at W&B, or writes it to `file` as JSON, for which no login is needed; where it is."""
    if file is None:
        import wandb

        try:
            workspace = dashboard(study, entity() or wandb.Api().default_entity or "")
            return str(workspace.save().url)
        except Refused:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            raise Refused(
                f"W&B does not take the dashboard ({words}); `wandb login`, or write it with --file"
            ) from None
    workspace = dashboard(study, entity())
    with write_atomically(file, "w") as handle:
        json.dump(json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True)), handle, indent=1)
        handle.write("\n")
    return str(file)
