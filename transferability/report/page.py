"""One page about a study, `<runs>/<study>/report.html`.

The page has the figures, the results by split and treatment with n and intervals, the paper's claims, what is missing,
blocked or failed and why, recipes and provenance. It loads nothing from anywhere, so it can be mailed. Its template is
page.html, its style page.css. Nothing here needs torch.
"""

import base64
import datetime
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from transferability import __version__
from transferability.files import write_atomically
from transferability.names import counted, in_spans
from transferability.networks.caffenet import Architecture
from transferability.networks.facts import layer_facts
from transferability.plots.style import caution
from transferability.report.gather import Effect, Report, effects
from transferability.results.answers import sentences
from transferability.results.claims import (
    NOT_REPRODUCED,
    NOT_SUPPORTED,
    REPRODUCED,
    ClaimResult,
    claim_value,
    claims,
    statistic_of,
)
from transferability.results.show import OVERLAP, SummaryTable, footnotes, points, summary_tables
from transferability.results.statistics import MIN_UNITS, NOT_ENOUGH, STATISTICS, networks
from transferability.results.table import full_names
from transferability.runs.result import Result, read_result
from transferability.runs.status import NetworkStatus, remarks
from transferability.splits import group_title

FOLDER = Path(__file__).parent
# State of a network → what it means, in the order of the page's bar.
STATES = {
    "done": "trained",
    "diverged": "trained, but the loss was not a number",
    "running": "being trained now",
    "missing": "not trained, and nothing is in the way",
    "waiting": "waiting for the base that it copies from",
    "failed": "stopped by an error",
    "blocked": "its base failed or diverged",
}
MINUS = "\N{MINUS SIGN}"


def write_page(report: Report) -> Path:
    """Write the page, atomically, and return its path."""
    with write_atomically(report.folder.page, "w") as handle:
        handle.write(page(report))
    return report.folder.page


def page(report: Report) -> str:
    """The whole page as HTML."""
    answer = report.folder.answer
    contents = {
        "Answer": answer.read_text("utf-8") if answer.exists() else "",
        "Findings": findings(report),
        "Figures": figures(report),
        "Results": results(report),
        "Claims": claims_of(report),
        "State": state(report),
        "Recipes": recipes(report),
        "Provenance": provenance(report),
        "Networks": all_networks(report),
    }
    contents = {title: content for title, content in contents.items() if content}
    sections = [
        f'<section id="{title.lower()}"><h2>{title}</h2>{content}</section>' for title, content in contents.items()
    ]
    study = report.study
    done = sum(status.state in ("done", "diverged") for status in report.statuses)
    splits = listed(dict.fromkeys(network.split for network in study.networks))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Template((FOLDER / "page.html").read_text("utf-8")).substitute(
        study=escape(study.name),
        style=(FOLDER / "page.css").read_text("utf-8"),
        lead=f"{done} of {len(report.statuses)} networks trained: {escape(study.architecture.name)} on "
        f"{escape(study.data)}, {splits}",
        progress=progress(report.statuses),
        made=f"{now}, transferability {__version__}",
        links="".join(f'<a href="#{title.lower()}">{title}</a>' for title in contents),
        sections="".join(sections),
    )


def progress(statuses: Sequence[NetworkStatus]) -> str:
    """How many networks are in which state, as a bar with a legend."""
    count = Counter(status.state for status in statuses)
    present = [name for name in STATES if count[name]]
    parts = "".join(f'<i class="{name}" style="flex:{count[name]}"></i>' for name in present)
    legend = "".join(f'<span><i class="{name}"></i>{count[name]} {name}</span>' for name in present)
    return f'<div class="bar">{parts}</div><p class="legend">{legend}</p>'


# ------------------------------------------------------------------------------------------ findings and figures


def findings(report: Report) -> str:
    """A card for each headline number, by group of splits."""
    cards: dict[str, list[str]] = {}
    for effect in effects(report):
        cards.setdefault(effect.group, []).append(card(effect))
    if not cards:
        done = any(status.state == "done" for status in report.statuses)
        return f"<p>No network is {'compared with a base' if done else 'trained'} yet.</p>"
    note = (
        "Final top-1 accuracy on the validation images; differences in points, paired with the base of the same split, "
        "target and seed. A unit is a split with a seed, both directions averaged."
    )
    warning = caution([report.study.name])
    content = f'<p class="warning">{escape(warning)}</p>' if warning else ""
    for group, shown in cards.items():
        content += f'<h3>{escape(group_title(group))}</h3><div class="cards">{"".join(shown)}</div>'
    return content + f'<p class="small">{note}</p>'


def card(effect: Effect) -> str:
    mean, signed = effect.mean, not effect.is_accuracy
    interval = f"95 % interval {number(mean.low, signed)} to {number(mean.high, signed)}"
    if mean.units < MIN_UNITS:
        interval = "no interval below three units"
    unit = " points" if signed else " %"
    return (
        f'<div class="card"><p>{escape(effect.name)}</p>'
        f'<p class="number">{number(mean.value, signed)}<small>{unit}</small></p>'
        f'<p class="small">{interval}; {counted(mean.networks, "network")}, {counted(mean.units, "unit")}</p></div>'
    )


def figures(report: Report) -> str:
    """The figures, each with what it shows, and the reasons why others are not there."""
    shown = []
    for figure in report.figures:
        data = base64.b64encode(figure.file.read_bytes()).decode()
        title = escape(figure.title)
        image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
        shown.append(f"<figure>{image}<figcaption>{title}</figcaption></figure>")
    reasons = items(report.not_drawn)
    if not shown:
        return reasons
    summary = f"<summary>Not drawn ({len(report.not_drawn)})</summary>"
    return f'<div class="figures">{"".join(shown)}</div>' + (
        f"<details>{summary}{reasons}</details>" if reasons else ""
    )


# ------------------------------------------------------------------------------------------ results and claims


def results(report: Report) -> str:
    """The summary of each group of splits, of each split of a pooled group, and what the columns mean."""
    if report.table.empty:
        return ""
    rows = networks(report.table)
    content = ""
    for summary in summary_tables(rows, accuracy_interval=True):
        content += f"<h3>{escape(summary.title)} <small>{summary.about}</small></h3>{summary_table(summary)}"
    for split in dict.fromkeys(rows["split"]):
        chosen = rows[rows["split"] == split]
        if rows[rows["group"] == chosen["group"].iloc[0]]["split"].nunique() > 1:
            tables = "".join(map(summary_table, summary_tables(chosen, accuracy_interval=True)))
            content += f"<details><summary>{escape(str(split))} alone</summary>{tables}</details>"
    lines = [*footnotes(report.table, rows), *([OVERLAP] if report.study.validation is not None else [])]
    notes = "".join(f'<p class="small">{escape(note)}</p>' for note in lines)
    answer = items([re.sub(r"(?<=[( ])-(?=\d)", MINUS, sentence) for sentence in sentences(rows)])
    return content + notes + (f"<h3>How many layers can be kept?</h3>{answer}" if answer else "")


def summary_table(summary: SummaryTable) -> str:
    left = [i for i, column in enumerate(summary.columns) if column.left]
    heads = [column.head.replace("- ", f"{MINUS} ") for column in summary.columns]
    rows = [[text if i in left else text.replace("-", MINUS) for i, text in enumerate(texts)] for texts in summary.rows]
    return table(heads, rows, left=left, groups=True)


def claims_of(report: Report) -> str:
    """The paper's claims that are about networks, each with its verdict; the undecided ones folded away."""
    if report.table.empty:
        return ""
    judged = [result for result in claims(report.table) if not result.claim.is_fact]
    columns = ["", "claim", "paper", "", "authors, paired", "this study", "networks / units", "verdict"]
    left = (0, 1, 2, 3, 7)
    count = Counter(result.verdict for result in judged)
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in count.most_common())
    content = f"<p>{len(judged)} claims of the paper, each with a rule that was fixed before any run: {verdicts}.</p>"
    decided = [claim_row(result) for result in judged if result.verdict != NOT_ENOUGH]
    undecided = [claim_row(result) for result in judged if result.verdict == NOT_ENOUGH]
    if decided:
        content += table(columns, decided, left=left, raw=True)
    if undecided:
        title = f"{len(undecided)} that this study has not enough networks for"
        inside = table(columns, undecided, left=left, raw=True)
        content += f"<details><summary>{title}</summary>{inside}</details>"
    note = (
        "In %, differences in points. Authors: their published networks by the mean of the ten highest validations. "
        f"This study: {STATISTICS[statistic_of(report.table)]}. Only networks by the paper's recipe are held against "
        "its values."
    )
    return content + f'<p class="small">{escape(note)}</p>'


def claim_row(result: ClaimResult) -> list[str]:
    """The cells of a claim, as HTML: a line for each layer that it is about."""
    claim, measured = result.claim, result.measured
    colour = {REPRODUCED: "good", NOT_REPRODUCED: "bad", NOT_SUPPORTED: "odd"}.get(result.verdict, "")
    return [
        escape(claim.id),
        f"{escape(claim.text)}<br><small>{escape(claim.where)}; {escape(claim.rule_text)}</small>",
        escape(claim.stated),
        "<br>".join(escape(at.label) for at in measured),
        "<br>".join(claim_value(claim, at.authors, "–").replace("-", MINUS) for at in measured),
        "<br>".join(claim_value(claim, at.yours, "–").replace("-", MINUS) for at in measured),
        "<br>".join(f"{at.yours.networks} / {at.yours.units}" for at in measured),
        f'<b class="{colour}">{escape(result.verdict)}</b>',
    ]


# ------------------------------------------------------------------------------------------ state


def state(report: Report) -> str:
    """What is not trained, and why: one line for the networks that share a state and a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for status in report.statuses:
        if status.state != "done":
            reasons.setdefault((status.state, reason(status)), []).append(status.network.name)
    done = [status.network for status in report.statuses if status.state == "done"]
    lines = items(remarks(report.study, report.folder, done))
    if not reasons:
        return "<p>Every network of the study is trained.</p>" + lines
    order = list(STATES)
    rows = []
    for (name, why), names in sorted(reasons.items(), key=lambda item: -order.index(item[0][0])):
        spans = [span.removesuffix("/seed-0") for span in in_spans(names)]
        listing = escape(", ".join(spans[:6]))
        if spans[6:]:
            listing += f"<details><summary>and {len(spans) - 6} more</summary>{escape(', '.join(spans[6:]))}</details>"
        rows.append([f'<i class="{name}"></i>{name}', str(len(names)), listing, escape(why)])
    return table(["state", "networks", "which", "why"], rows, left=(0, 2, 3), raw=True) + lines


def reason(status: NetworkStatus) -> str:
    """Why a network is in its state, in words."""
    if status.state == "running" and status.steps:
        detail = f", {status.detail}" if status.detail else ""
        return f"step {status.step:,} of {status.steps:,}{detail}"
    return status.detail or STATES[status.state]


# ------------------------------------------------------------------------------------------ recipes and provenance


def recipes(report: Report) -> str:
    """The fields of the recipes that are in use, and the layers of the architecture."""
    count = Counter(network.recipe for network in report.study.networks)
    fields = dict.fromkeys(field for recipe in count for field in asdict(recipe) if field != "name")
    used = [field for field in fields if any(getattr(recipe, field, None) not in (0, None) for recipe in count)]
    columns = ["recipe", *(recipe.name for recipe in count)]
    rows = [["networks", *map(str, count.values())]]
    rows += [[field.replace("_", " "), *(value(getattr(recipe, field, "")) for recipe in count)] for field in used]
    architecture = report.study.architecture
    layers = []
    specs = architecture.layers if isinstance(architecture, Architecture) else ()
    kinds = {name: type(spec).__name__ for name, spec in specs}
    settings = {
        name: ", ".join(f"{key} {value(setting)}" for key, setting in asdict(spec).items() if setting)
        for name, spec in specs
    }
    for layer in layer_facts(architecture, 1000):
        size = "one per class" if layer.name == architecture.layer_names[-1] else " × ".join(map(str, layer.shape))
        layers.append([layer.name, kinds.get(layer.name, ""), settings.get(layer.name, ""), size])
    title = f"Architecture: {escape(architecture.name)}, {architecture.crop} × {architecture.crop} pixels"
    inside = table(["layer", "kind", "settings", "output"], layers, left=(0, 1, 2))
    return f"{table(columns, rows, left=range(len(columns)))}<details><summary>{title}</summary>{inside}</details>"


def provenance(report: Report) -> str:
    """Commit, versions and hardware of the results, and what training took, from the files of the networks."""
    trained = [status.network.name for status in report.statuses if status.state in ("done", "diverged")]
    if not trained:
        return ""
    count: dict[str, Counter[str]] = {}
    seconds = images = 0.0
    for name in trained:
        result = read_result(report.folder.result(name))
        seconds += result.seconds / max(1, len(result.provenance.get("fleet", ())))
        images += result.images_seen
        for key, text in origin(result).items():
            count.setdefault(key, Counter())[text] += 1
    rows = [["data", report.study.data, ""]]
    rows += [[key, text, str(number)] for key, texts in count.items() for text, number in texts.most_common()]
    rows.append(["training time", f"{seconds / 3600:.2f} hours of fleets, {images:,.0f} images seen by networks", ""])
    return table(["", "", "networks"], rows, left=(0, 1))


def origin(result: Result) -> dict[str, str]:
    """Where a result comes from, in words."""
    made = result.provenance
    device = made["hardware"]["cpu" if made["accelerator"] == "cpu" else "gpu"]
    return {
        "checksum of the data": str(result.record.get("data", "none: its weights are published")),
        "commit": str(made["git_commit"]),
        "versions": ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "device": f"{made['devices']} × {device}",
        "host": str(made["hardware"]["host"]),
    }


def all_networks(report: Report) -> str:
    """Every network that has a result, folded away."""
    if report.table.empty:
        return ""
    columns = ["network", "top-1 %", "top-5 %", "val loss", "train loss", "train %", "steps", "images/s", "commit"]
    rows = []
    for name, row in zip(full_names(report.table), report.table.to_dict("records"), strict=True):
        commit = row["git_commit"]
        rows.append(
            [
                name,
                *(f"{100 * row[key]:.1f}" for key in ("val_top1", "val_top5")),
                *(f"{row[key]:.3f}" for key in ("val_loss", "train_loss")),
                f"{100 * row['train_top1']:.1f}",
                f"{row['steps']:,}",
                f"{row['images_per_second']:,.0f}",
                commit[:7] + (" +" if " " in commit else ""),
            ]
        )
    note = '<p class="small">images/s: of the whole fleet. +: with changes that were not committed.</p>'
    return f"<details><summary>All {len(rows)} networks</summary>{table(columns, rows, left=(0,))}{note}</details>"


# ------------------------------------------------------------------------------------------ pieces of HTML


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Iterable[int] = (),
    raw: bool = False,
    groups: bool = False,
) -> str:
    """A table. `left`: columns of words; the others are numbers, aligned to the right.

    raw: the cells are HTML. groups: a line is drawn where the first cell changes.
    """
    aligned = set(left)

    def cells(texts: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=l' if i in aligned else ''}>{text if raw else escape(text)}</{tag}>"
            for i, text in enumerate(texts)
        )

    body, above = [], ""
    for row in rows:
        begins = groups and above and above != row[0]
        body.append(f"<tr{' class=group' if begins else ''}>{cells(row, 'td')}</tr>")
        above = row[0]
    head = f"<thead><tr>{cells(columns, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(body)}</tbody></table></div>'


def items(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: a, b and c."""
    *others, last = names
    return escape(f"{', '.join(others)} and {last}" if others else last)


def number(fraction: float, signed: bool) -> str:
    return points(fraction, sign=signed).replace("-", MINUS)


def value(setting: Any) -> str:
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    return f"{setting:,.6g}" if isinstance(setting, (int, float)) else str(setting)
