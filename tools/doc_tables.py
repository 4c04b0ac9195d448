"""Fills the tables of README.md and docs/ from the committed results and from the code; no number is typed by hand.

    python tools/doc_tables.py            # rewrites the tables in place
    python tools/doc_tables.py --check    # changes nothing; exit code 1 and a line for each page that is out of date

A table stands between `<!-- table NAME -->` and `<!-- end -->`; TABLES has the functions by NAME. Results come from
experiments/results/*.csv and from the paper's published accuracies, through `transferability.results`. Needs no torch.
"""

import csv
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from typer.main import get_command

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.cli import app
from transferability.jointly_translated import JointlyTranslated
from transferability.multitask import Multitask
from transferability.networks import Architecture, Chain, Conv, Linear
from transferability.networks.chain import Top
from transferability.plots import (
    aligned_layers,
    augmentation,
    backbones,
    domains,
    few_pictures,
    multitask,
    readout_against_retraining,
    regimes,
    trained_twice,
)
from transferability.plots.layer_times import read_layers
from transferability.plots.readout_by_layer import published as published_by_others
from transferability.plots.readout_by_layer import readouts
from transferability.plots.rules import FULL, beside_full
from transferability.plots.training_curves import read_curves as curves_in_letters
from transferability.pretext import Pretext
from transferability.published import Published
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.results.benefits import benefits, summary
from transferability.results.claims import CLAIMS, Claim, claim_value, judge
from transferability.results.paper import paper_results
from transferability.results.sources import network_of, published_accuracies, transferred
from transferability.results.statistics import (
    MARGIN,
    NO_MEAN,
    NOT_ENOUGH,
    Mean,
    boosts,
    mean_of,
    networks,
    networks_of_several,
    pooled_mean,
    treatment_order,
    verdict,
)
from transferability.results.strategies import WAYS, Field, crossings
from transferability.results.strategies import fields as best_ways
from transferability.results.table import read_curves, read_results
from transferability.results.taught import TAUGHT, taught, value_of
from transferability.splits import group_title, sorted_groups
from transferability.study import Network, Study
from transferability.translated import Translated
from transferability.zero_shot import ZeroShot

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RESULTS = ROOT / "experiments" / "results"
MARKED = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LAYERS = tuple(range(1, 8))  # n of the grid of a network of eight layers
RULES = ("AnB", "AnB+", "AnB+0.1", "AnB+probe", "AnB+chain", "AnB+gradual", "AnB+fall", "AnB+sp")
COMMANDS: dict[str, Any] = vars(get_command(app))["commands"]
CALTECH = "caltech101_readouts"
TITLES = {"random": "random splits", "manmade-natural": "man-made/natural"}


# ------------------------------------------------------------------------------------------ what a table is made of


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a table; its first `left` columns are aligned to the left, the others to the right."""
    rule = ["---" if i < left else "---:" for i in range(len(columns))]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]


def points(value: float) -> str:
    """A fraction as signed points: 0.0123 is +1.2."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def cell(mean: Mean, counted: bool = True) -> str:
    """A mean difference in points, its interval where it has one, and (networks, units)."""
    if not mean.networks:
        return "–"
    interval = "" if mean.low != mean.low else f" ±{100 * (mean.value - mean.low):.1f}"
    return points(mean.value) + interval + (f" ({mean.networks}, {mean.units})" if counted else "")


def number(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@cache
def paper() -> pd.DataFrame:
    return networks(paper_results(), "val_top1_best10")


@cache
def study(name: str) -> pd.DataFrame:
    return networks(read_results(RESULTS / f"{name}.csv"))


def select(rows: pd.DataFrame, group: str, treatment: str, layers: Sequence[int] = ()) -> pd.DataFrame:
    """The networks of one treatment in a group of splits, at some n (all of them if `layers` is empty)."""
    chosen = rows[(rows["group"] == group) & (rows["treatment"] == treatment)]
    return chosen[chosen["n"].isin(layers)] if layers else chosen


# ------------------------------------------------------------------------------------------ the paper's claims


@dataclass(frozen=True)
class Effect:
    """A claim about a mean over some n: what the paper states, and the verdict that would confirm it.

    column: the paired difference of `transferability.results.statistics.networks` that is averaged.
    """

    text: str
    stated: str
    treatment: str
    layers: tuple[int, ...]
    expected: str  # same, above or below
    column: str = "difference"
    group: str = "random"

    def of(self, rows: pd.DataFrame) -> Mean:
        group = self.group
        if self.treatment == "RnB" and "RnB" not in set(rows[rows["group"] == group]["treatment"]):
            group = "whole"  # where the paper trained its random features
        return mean_of(select(rows, group, self.treatment, self.layers), self.column)


DIP = Effect("BnB at n = 4, 5 is worse than the base (co-adaptation)", "−2 to −3", "BnB", (4, 5), "below")
SHARED = Effect("AnB at n = 1, 2 is as good as the base", "~0", "AnB", (1, 2), "same")
LAST = Effect("AnB at n = 7 is worse (random split)", "−8", "AnB", (7,), "below")
DISTANT = Effect("AnB at n = 7 is worse (man-made/natural)", "−25", "AnB", (7,), "below", group="manmade-natural")
TUNED = Effect("AnB+ beats the base, n = 1 … 7", "+1.6", "AnB+", LAYERS, "above")
TWICE = Effect("BnB+ does not, n = 1 … 7", "~0", "BnB+", LAYERS, "same")
OVER = Effect("AnB+ beats BnB+, n = 1 … 7", "+1.4", "AnB+", LAYERS, "above", "specificity")
EFFECTS = (
    Effect("BnB at n = 1, 2 is as good as the base", "~0", "BnB", (1, 2), "same"),
    DIP,
    SHARED,
    LAST,
    Effect("most of it is specificity (AnB − BnB, n = 6, 7)", "most", "AnB", (6, 7), "below", "specificity"),
    DISTANT,
    TUNED,
    TWICE,
    OVER,
    Effect("random features at n = 4 … 7 are far worse than the base", "near chance", "RnB", (4, 5, 6, 7), "below"),
)


def confirmed(effect: Effect, mean: Mean) -> str:
    """Whether a mean shows what the paper claims, by the rules of `statistics.verdict`.

    What excludes 0 but may lie within the margin does not refute "the same": `claims` says so too.
    """
    if not mean.networks:
        return "–"
    outcome = verdict(mean)
    may_be_same = mean.low <= MARGIN and mean.high >= -MARGIN
    if outcome == NOT_ENOUGH or (effect.expected == "same" != outcome and may_be_same):
        return NOT_ENOUGH
    return "yes" if outcome == effect.expected else f"no: {outcome}"


def claims_short() -> list[str]:
    """For README.md: the main claims, the authors' networks and Tiny ImageNet."""
    rows = []
    for effect in (SHARED, DIP, LAST, DISTANT, TUNED, OVER):
        own = effect.of(study("tiny_imagenet_cpu"))
        rows.append([effect.text, effect.stated, cell(effect.of(paper())), cell(own), confirmed(effect, own)])
    return markdown(["claim of the paper", "the paper", "its logs, paired", "Tiny ImageNet", "shown here?"], rows)


def claims_all() -> list[str]:
    rows = []
    for effect in EFFECTS:
        own, demo = effect.of(study("tiny_imagenet_cpu")), effect.of(study("demo_seeds"))
        cells = [cell(effect.of(paper())), cell(own), confirmed(effect, own), cell(demo)]
        rows.append([effect.text, effect.stated, *cells])
    columns = ["claim of the paper", "the paper", "its logs, paired", "Tiny ImageNet", "shown?", "demo, seeds 1–3"]
    return markdown(columns, rows)


def verdicts(claims: Iterable[Claim]) -> list[str]:
    """What `transferability claims` says of Tiny ImageNet; without facts about the paper, and without the claims whose
    value belongs to ImageNet."""
    lines = []
    for claim in claims:
        if claim.rule in ("near", "count"):
            continue
        judged = judge(claim, study("tiny_imagenet_cpu"))
        values = (f"{each.label} {claim_value(claim, each.yours)}".strip() for each in judged.measured)
        counts = dict.fromkeys(f"({each.yours.networks}, {each.yours.units})" for each in judged.measured)
        measured = f"{', '.join(values)} {', '.join(counts)}".replace("-", "−")
        lines.append([claim.id, claim.text, claim.rule_text, measured, judged.verdict])
    return markdown(["", "claim", "rule", "Tiny ImageNet (networks, units)", "verdict"], lines, left=5)


# ------------------------------------------------------------------------------------------ one's own studies


def by_layer(name: str, group: str) -> list[str]:
    """Paired differences over n: what the lines of the figures show."""
    rows = study(name)
    shown = [(t, t, "difference") for t in ("BnB", "AnB", "BnB+", "AnB+", "RnB")]
    shown += [("AnB − BnB", "AnB", "specificity"), ("AnB+ − BnB+", "AnB+", "specificity")]
    lines = []
    for label, treatment, column in shown:
        means = [mean_of(select(rows, group, treatment, (n,)), column) for n in LAYERS]
        counts = dict.fromkeys(f"{mean.networks} ({mean.units})" for mean in means)
        label = label if column == "specificity" else f"{label} − base"
        lines.append([label, *(cell(mean, counted=False) for mean in means), ", ".join(counts)])
    return markdown([TITLES[group], *(f"n = {n}" for n in LAYERS), "networks (units)"], lines)


def twice_over_n(name: str) -> list[str]:
    """Fine-tuned networks minus each control for training twice, over n."""
    rows, lines = study(name), []
    for group, title in TITLES.items():
        tuned = trained_twice.with_controls(rows[rows["group"] == group])
        for column, treatment in trained_twice.COMPARED:
            means = [mean_of(select(tuned, group, treatment, (n,)), column) for n in LAYERS]
            label = f"{treatment} − {trained_twice.control_of(column, LAYERS[-1])}"
            counts = dict.fromkeys(f"{mean.networks} ({mean.units})" for mean in means)
            lines.append([title, label, *(cell(mean, counted=False) for mean in means), ", ".join(counts)])
    return markdown(["", "", *(f"n = {n}" for n in LAYERS), "networks (units)"], lines, left=2)


def twice(name: str) -> list[str]:
    """The same averaged over n, and the controls minus the base: verdicts, and the smallest difference shown."""
    rows, lines = study(name), []
    for group, title in TITLES.items():
        tuned = trained_twice.with_controls(rows[rows["group"] == group])
        means = [(line.label, f"{line.first} … {line.last}", line.mean) for line in trained_twice.comparisons(tuned)]
        means.append(("B8B+ − base", "", mean_of(select(rows, group, "BnB+", (8,)))))
        means.append(("base@long − base", "", mean_of(select(rows, group, "base@long"))))
        for label, where, mean in means:
            if mean.networks:
                shows = f"{100 * trained_twice.smallest_shown(mean):.1f}"
                lines.append([title, label, where, cell(mean), verdict(mean), shows])
    return markdown(["", "difference", "n", "points", "verdict", "shows"], lines, left=3)


def accuracy_range(rows: pd.DataFrame) -> str:
    values = 100 * rows["accuracy"]
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f}; {len(values)})"


def demo_seeds() -> list[str]:
    rows = study("demo_seeds")
    lines = [["bases, top-1 %: mean (lowest to highest; networks)"]]
    lines[0] += [accuracy_range(select(rows, group, "base")) for group in TITLES]
    for label, treatment, layers, column in (
        ("AnB+ − base, n = 1 … 7", "AnB+", LAYERS, "difference"),
        ("BnB+ − base, n = 1 … 7", "BnB+", LAYERS, "difference"),
        ("AnB+ − BnB+, n = 1 … 7", "AnB+", LAYERS, "specificity"),
        ("BnB − base, n = 4, 5", "BnB", (4, 5), "difference"),
        ("AnB − BnB, n = 6", "AnB", (6,), "specificity"),
        ("AnB − BnB, n = 7", "AnB", (7,), "specificity"),
        ("AnB − base, n = 7", "AnB", (7,), "difference"),
        ("RnB − base, n = 4", "RnB", (4,), "difference"),
        ("RnB − base, n = 7", "RnB", (7,), "difference"),
    ):
        lines.append([label, *(cell(mean_of(select(rows, group, treatment, layers), column)) for group in TITLES)])
    return markdown(["demo, seeds 1–3", *TITLES.values()], lines)


DIPS = {
    "plain": "the recipe of `tiny_imagenet_cpu.py`",
    "converged": "four times the steps",
    "unregular": "no dropout, no weight decay",
    "filler": "the paper's initialiser, its rate, inputs of 0 to 255",
    "deeper": "three more convolutions",
    "wider": "four times the channels and hidden units",
    "classes": "all 200 classes",
    "all": "converged, no dropout, no decay, deeper",
}


def dip() -> list[str]:
    """Of each study of experiments/dip.py: its cost; BnB, and B8B+ (all layers copied), minus the base; losses."""
    lines = []
    for word, change in DIPS.items():
        rows = study(f"dip-{word}")
        depth = int(rows["n"].max())
        places = [*(n if n < depth else None for n in range(1, 11)), depth]
        means = rows.groupby("n")[["accuracy", "difference", "train_loss", "val_loss"]].mean()
        seconds = rows["seconds"].unique().sum()  # networks that are trained together share theirs
        first = [f"`dip-{word}`: {change}", f"{len(rows)} × {rows['steps'].max():,}, {seconds:.0f} s"]
        gaps = ["–" if n is None else points(means["difference"][n]) for n in places]
        lines.append([*first, "minus base, points", f"{100 * means['accuracy'][0]:.1f} %", *gaps])
        for column, label in (("train_loss", "training loss"), ("val_loss", "validation loss")):
            losses = ["–" if n is None else f"{means[column][n]:.2f}" for n in (0, *places)]
            lines.append(["", "", label, *losses])
    heads = ["study", "networks × steps, time", "", "base", *(f"n = {n}" for n in range(1, 11)), "all copied"]
    return markdown(heads, lines, left=3)


def random_features() -> list[str]:
    """Random layers that preserve the signal, and those with the paper's filler, over n."""
    rows, key = study("random_features"), ["unit", "target", "n"]
    preserved, filler = (rows[rows["treatment"] == treatment] for treatment in ("RnB", "RnB@filler"))
    other = filler[key].join(preserved.set_index(key)["accuracy"], on=key)["accuracy"]
    lines = []
    for label, networks_of_n, column, text in (
        ("signal preserved, top-1 %", preserved, "accuracy", percent),
        ("the paper's filler, top-1 %", filler, "accuracy", percent),
        ("signal preserved − base, points", preserved, "difference", cell),
        ("the paper's filler − base, points", filler, "difference", cell),
        ("the paper's filler − signal preserved, points", filler.assign(gap=filler["accuracy"] - other), "gap", cell),
    ):
        means = (mean_of(networks_of_n[networks_of_n["n"] == n], column) for n in LAYERS)
        lines.append([label, *(text(mean).partition(" (")[0] for mean in means)])
    authors = (mean_of(select(paper(), "whole", "RnB", (n,)), "accuracy") for n in LAYERS)
    lines.append(["the paper's networks on all 1,000 classes, top-1 %", *map(percent, authors)])
    base = percent(mean_of(select(rows, "random", "base"), "accuracy"))
    return markdown([f"base: {base} %", *(f"n = {n}" for n in LAYERS)], lines)


def residual() -> list[str]:
    """Of the residual network: differences to the base over n, and the training loss, which is what co-adaptation is
    about."""
    rows = study("resnet_halves")
    base = select(rows, "random", "base")
    layers = sorted({*rows["n"]} - {0})
    lines = []
    for treatment in ("BnB", "AnB", "AnB@target", "BnB+", "AnB+"):
        chosen = [select(rows, "random", treatment, (n,)) for n in layers]
        lines.append([f"{treatment} − base, points", *(cell(mean_of(part), counted=False) for part in chosen)])
        losses = [part["train_loss"].mean() for part in chosen]
        lines.append([f"{treatment}, training loss", *("–" if loss != loss else f"{loss:.2f}" for loss in losses)])
    loss = base[base["target"] == "B"]["train_loss"].mean()
    head = f"baseB: {100 * base[base['target'] == 'B']['accuracy'].mean():.1f} %, training loss {loss:.2f}"
    return markdown([head, *(f"n = {n}" for n in layers)], lines)


def rules() -> list[str]:
    """Of the study of all rules: differences to the base, and to fine-tuning at the full rate, over n."""
    rows = beside_full(study("rules"))
    layers, lines = sorted({*rows["n"]}), []
    for treatment in RULES:
        of_rule = rows[rows["treatment"] == treatment]
        for heading, column in (("the base", "difference"), (FULL, "beside")):
            if (treatment, column) != (FULL, "beside"):
                means = (mean_of(of_rule[of_rule["n"] == n], column) for n in layers)
                lines.append([treatment, f"minus {heading}", *(cell(mean, counted=False) for mean in means)])
    return markdown(["rule", "", *(f"n = {n}" for n in layers)], lines, left=2)


def accuracies(name: str) -> list[str]:
    """Accuracy over n of every treatment of a study with one target, with the interval over units."""
    rows = study(name)
    layers, lines = sorted({*rows["n"]}), []
    for treatment in sorted(set(rows["treatment"]) - {"published"}, key=treatment_order):
        of = rows[rows["treatment"] == treatment]
        means = [mean_of(of[of["n"] == n], "accuracy") for n in layers]
        lines.append([treatment, *(cell(mean, False).lstrip("+–") for mean in means)])
    return markdown(["", *(f"n = {n}" for n in layers)], lines, left=1)


def three_benefits() -> list[str]:
    """Of the same study: how training goes."""
    rows = study("rules")
    measured = benefits(read_curves(RESULTS / "rules_curves.csv"), rows)
    means, lines = summary(measured), []
    for treatment in RULES:
        for n in sorted({*measured["n"]}):
            of = means["random", treatment, n]
            members = measured[(measured["treatment"] == treatment) & (measured["n"] == n)]
            shown = (cell(of[name], counted=False) for name in ("start 0", "start 1", "slope", "asymptote"))
            saved = of["steps saved"]
            steps = "–" if saved.networks == 0 else f"{saved.value:+.0f}".replace("-", "−")
            lines.append([treatment, str(n), *shown, f"{members['reached'].sum():.0f} of {len(members)}", steps])
    columns = ["rule", "n", "start 0", "start 1", "slope", "asymptote", "reached", "steps saved"]
    return markdown(columns, lines)


def by_seed(name: str) -> list[str]:
    """AnB − base at n = 7 for each seed, so that the splits can be compared seed by seed."""
    rows, lines = study(name), []
    for seed in sorted(set(rows["seed"])):
        of_seed = rows[rows["seed"] == seed]
        lines.append([str(seed), *(cell(mean_of(select(of_seed, group, "AnB", (7,)))) for group in TITLES)])
    return markdown(["AnB − base at n = 7, seed", *TITLES.values()], lines)


def bases(name: str) -> list[str]:
    """Final top-1 of the bases, by split and seed."""
    rows = study(name)
    rows = rows[rows["treatment"] == "base"]
    table = rows.pivot_table(index=["split", "seed"], columns="target", values="accuracy", sort=False)
    lines = [
        [split, str(seed), *(f"{100 * value:.1f}" for value in row)]
        for (split, seed), row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return markdown(["split", "seed", *(f"base{target}, top-1 %" for target in table.columns)], lines)


# ------------------------------------------------------------------------------------------ regimes

NOT_YET = "Not trained yet"
BACKBONES = ("squeezenet1_0", *(f"tf_efficientnet_lite{number}" for number in range(3)))
ADVICE = {
    ("random", "few"): "features of the top layers",
    ("random", "many"): "fine-tuning",
    ("manmade-natural", "few"): "features of lower layers",
    ("manmade-natural", "many"): "fine-tuning, or from scratch",
}


def tables_of(*studies: str) -> list[Path]:
    """The committed results of these studies, and of those whose names begin so and go on with `-`."""
    names = (*studies, *(f"{study}-*" for study in studies))
    return sorted({path for name in names for path in RESULTS.glob(f"{name}.csv")})


@cache
def several(*studies: str) -> pd.DataFrame:
    return networks_of_several([read_results(path) for path in tables_of(*studies)])


def not_yet(experiment: str) -> list[str]:
    return [f"{NOT_YET}: `transferability run experiments/{experiment}.py`."]


def taught_sentences() -> list[str]:
    """What is taught, the rule, what was measured, and the verdict."""
    studies = dict.fromkeys(each.study for each in TAUGHT)
    lines = []
    for judged in taught(several(*studies)):
        each = judged.taught
        counts = f" ({judged.measured.networks}, {judged.measured.units})" if judged.measured.networks else ""
        measured = value_of(judged).replace("-", "−") + counts
        lines.append([each.id, each.text, f"{each.source}: {each.stated}", each.rule_text, measured, judged.verdict])
    return markdown(["", "what is taught", "by whom", "rule", "measured", "verdict"], lines, left=4)


def percent(mean: Mean) -> str:
    return "–" if not mean.networks else cell(mean, counted=False).lstrip("+")


def panels_of(study: str) -> dict[str, pd.DataFrame]:
    """Group of splits → the ways of one study."""
    panels = regimes.panels_of(several(study)) if tables_of(study) else {}
    return {group: panel for (name, group), panel in panels.items() if name == study}


def regimes_table(study: str) -> list[str]:
    """Accuracy of each way over images per class, near and far, and where ways cross."""
    panels = panels_of(study)
    if not panels:
        return not_yet("regimes")
    numbers = sorted({images for panel in panels.values() for images in panel["images"]})
    lines, remarks = [], []
    for group, panel in panels.items():
        where = regimes.DISTANCES.get(group, group)
        of_ways = regimes.means(panel)
        for way, of_way in of_ways.items():
            means = (of_way.get(images, NO_MEAN) for images in numbers)
            lines.append([where, WAYS[way], *(percent(mean) for mean in means)])
        pairs = [(left, right) for left in of_ways for right in of_ways if left < right]
        found = [str(crossing) for pair in pairs for crossing in crossings(panel, *pair)]
        remarks += ["", f"Crossings, {where}, in images per class: {'; '.join(found) or 'none'}."]
        best = [f"{field.images}: {best_way(field)}" for field in best_ways(panel)]
        remarks += ["", f"Best, {where}, at images per class: {'; '.join(best)}."]
    heads = ["target", "top-1 %, images per class", *map(str, numbers)]
    return [*markdown(heads, lines, left=2), *remarks, ""]


def best_way(field: Field) -> str:
    beside = f" (not told from it: {', '.join(WAYS[way] for way in field.beside)})" if field.beside else ""
    return WAYS[field.best] + beside


def four_fields() -> list[str]:
    """Few and many images, near and far: the usual advice, and the best way that was measured."""
    panels = panels_of("regimes")
    if not panels:
        return not_yet("regimes")
    lines = []
    for group, panel in panels.items():
        found = best_ways(panel)
        for amount, field in zip(("few", "many"), (found[0], found[-1]), strict=True):
            where = regimes.DISTANCES.get(group, group)
            images = f"{amount}: {field.images} per class"
            lines.append([images, where, ADVICE[group, amount], WAYS[field.best],
                          ", ".join(WAYS[way] for way in field.beside)])  # fmt: skip
    return markdown(["images", "target", "the usual advice", "best here", "not told from it"], lines, left=5)


def backbones_table(study: str) -> list[str]:
    """Each source: its accuracy, what became of it on each target at the most images, and the rank correlations."""
    found = [each for each in transferred(several(study)) if each.source == each.source] if tables_of(study) else []
    if not found:
        return not_yet(study)
    lines, remarks = [], []
    for group in sorted_groups(each.group for each in found):
        chosen = backbones.most(found, group)
        for each in sorted(chosen, key=lambda each: (each.way, each.source)):
            gap = cell(each.gap) if each.way != "scratch" else ""
            source = f"{100 * each.source:.1f}"
            lines.append([network_of(each.study), group, backbones.NAMES[each.way], source, percent(each.mean), gap])
        for way, correlation in backbones.correlations(chosen).items():
            remarks += ["", f"Rank correlation, {group}, {backbones.NAMES[way]}: {backbones.said(correlation)}."]
    heads = ["source", "target", "way", "its top-1 %", "on the target", "minus scratch"]
    return [*markdown(heads, lines, left=3), *remarks, ""]


def backbones_speed(study: str) -> list[str]:
    """Each source, worse ones first: how much sooner it is at scratch's accuracy, and its time per image."""
    if tables_of(study):
        ups = backbones.sooner([RESULTS / f"{study}_curves.csv"], several(study))
        accuracies = {each.study: each.source for each in transferred(several(study)) if each.source == each.source}
    else:  # what was published
        known = published_accuracies()
        ups, accuracies = {}, {f"{study}-{network}": known[network] for network in BACKBONES}
    paths = sorted(RESULTS.glob("layers_*.csv"))
    times = backbones.times_of(paths)
    operations = {str(layers["network"].iloc[0]): layers["operations"].sum() for layers in map(read_layers, paths)}
    lines = []
    for name in sorted(accuracies, key=lambda name: accuracies[name]):
        network = network_of(name)
        time = f"{times[network]:.1f}" if network in times else "–"
        up = f"{ups[name]:.1f}" if name in ups else "–"
        work = f"{operations[network] / 1e6:.0f}" if network in times else "–"
        lines.append([network, f"{100 * accuracies[name]:.1f}", up, time, work])
    heads = ["source", "its top-1 %", "times sooner at scratch's final accuracy, median", "ms per image", "MFLOP"]
    shown = len(heads) - 2 * all(line[-1] == "–" for line in lines)
    return markdown(heads[:shown], [line[:shown] for line in lines])


def rules_table(study: str) -> list[str]:
    """Accuracy of each rule by n, minus scratch, and minus fine-tuning at a tenth, paired."""
    if not tables_of(study):
        return not_yet("rules_flowers17")
    rows = several(study)
    tenth = rows[rows["plus"] == "0.1"].set_index(["unit", "target", "n"])["accuracy"].rename("tenth")
    rows = rows.join(tenth, on=["unit", "target", "n"])
    rows["beside"] = rows["accuracy"] - rows["tenth"]
    lines = []
    for (treatment, n), members in rows.groupby(["treatment", "n"]):
        if members["accuracy"].notna().any():
            means = [mean_of(members, column) for column in ("accuracy", "difference", "beside")]
            is_tenth = (members["plus"] == "0.1").all()
            beside = "" if is_tenth or not means[2].networks else cell(means[2], counted=False)
            shown = "" if not beside else verdict(means[2])
            lines.append([str(treatment), str(n), percent(means[0]), cell(means[1], counted=False), beside, shown])
    heads = ["network", "n", "top-1 %", "minus scratch", "minus fine-tuning at a tenth", ""]
    return markdown(heads, lines)


def treatments_table(study: str, experiment: str, loss: bool = False) -> list[str]:
    """Accuracy and the difference to scratch of each treatment of a study, by n. loss: the last training loss, too."""
    if not tables_of(study):
        return not_yet(experiment)
    rows = several(study)
    lines = []
    for (treatment, n), members in rows.groupby(["treatment", "n"]):
        if members["accuracy"].notna().any():
            line = [str(treatment), str(n), percent(mean_of(members, "accuracy")), cell(mean_of(members))]
            lines.append([*line, f"{members['train_loss'].mean():.2f}"] if loss else line)
    return markdown(["network", "n", "top-1 %", "minus scratch", *(["training loss"] if loss else [])], lines)


def shared_layers() -> list[str]:
    """What sharing n layers is worth to each task."""
    if not tables_of("multitask"):
        return not_yet("multitask")
    lines = []
    rows = multitask.together(several("multitask"), "multitask")
    for (group, task, n), members in rows.groupby(["group", "task", "n"]):
        gain = mean_of(members)
        accuracy = mean_of(members, "accuracy")
        lines.append([group_title(str(group)), str(task), str(n), percent(accuracy), cell(gain), verdict(gain)])
    return markdown(["halves", "task", "layers shared", "top-1 %", "minus the own base", ""], lines, left=3)


def unseen_classes(name: str) -> list[str]:
    """How well classes never seen are recognised from each layer."""
    if not tables_of(name):
        return not_yet(name)
    lines = []
    rows = several(name)
    for (method, n), members in rows[rows["by_class"] != ""].groupby(["treatment", "n"]):
        means = [mean_of(members, key) for key in ("val_class_top1", "val_seen", "val_unseen", "val_harmonic")]
        lines.append([str(method), str(n), *(cell(mean, False).lstrip("+") for mean in means), str(means[0].units)])
    heads = ["method", "n", "unseen classes alone", "seen, among all", "unseen, among all", "harmonic mean", "units"]
    return markdown(heads, lines, left=2)


# ------------------------------------------------------------------------------------------ domains

# (pair, method, n) → top-1 %: Ganin and Lempitsky 2015, table 1 (MNIST-M); Tzeng et al. 2017, table 2 (USPS), both from
# MNIST's networks of their own. Of the subspaces n is that of the last hidden layer.
PUBLISHED = {
    ("mnist → mnistm", domains.SOURCE_ONLY, 0): "52.3",
    ("mnist → mnistm", "AnB@aligned", 4): "56.9",
    ("mnist → mnistm", "AnB+@dann", 2): "76.7",
    ("mnist → mnistm", domains.TARGET, 0): "96.0",
    ("mnist → usps", domains.SOURCE_ONLY, 0): "75.2",
    ("mnist → usps", "AnB+@dann", 4): "77.1",
    ("mnist → usps", "AnB+@adda", 4): "89.4",
    ("mnist → usps", "AnB+@joint", 2): "92.1",
    ("usps → mnist", domains.SOURCE_ONLY, 0): "57.1",
    ("usps → mnist", "AnB+@dann", 4): "73.0",
    ("usps → mnist", "AnB+@adda", 4): "90.1",
}


def domains_table(study: str) -> list[str]:
    """Of each pair of domains: the bounds, each method at each n, the share of the gap, the published accuracy."""
    if not tables_of(study):
        return not_yet(study)
    lines = []
    for pair, rows in domains.pairs_of(several(study)).items():
        name = domains.name_of(pair)
        for method in (domains.SOURCE_ONLY, *domains.methods_of(rows), domains.TARGET):
            own = rows[rows["method"] == method]
            is_bound = method in domains.BOUNDS
            for n in [0] if is_bound else sorted(own["n"].unique()):
                members = own if is_bound else own[own["n"] == n]
                covered = mean_of(members, "covered")
                share = "" if is_bound else f"{100 * covered.value:.0f}{half_width(covered, 0)}".replace("-", "−")
                published = PUBLISHED.get((name, method, n), "")
                top1 = percent(mean_of(members, "accuracy"))
                lines.append([name, method, "" if is_bound else str(n), top1, share, published])
    heads = ["pair", "method", "n", "top-1 %", "gap covered %", "published %"]
    shown = len(heads) - (not any(line[-1] for line in lines))  # without the last where nothing is published
    return markdown(heads[:shown], [line[:shown] for line in lines], left=2)


def half_width(mean: Mean, digits: int) -> str:
    return "" if mean.low != mean.low else f" ±{100 * (mean.value - mean.low):.{digits}f}"


def office_table(study: str) -> list[str]:
    """Over all pairs of domains, at each n: both subspaces, and their paired difference."""
    if not tables_of(study):
        return not_yet(study)
    rows = several(study)
    lines = []
    for n in sorted(rows[rows["n"] > 0]["n"].unique()):
        aligned, unaligned = (
            rows[(rows["n"] == n) & (rows["treatment"] == f"AnB@{word}")].set_index(["unit", "target"])
            for word in ("aligned", "unaligned")
        )
        gap = (aligned["accuracy"] - unaligned["accuracy"]).rename("difference").reset_index()
        of_both = (percent(mean_of(side.reset_index(), "accuracy")) for side in (unaligned, aligned))
        lines.append([str(n), *of_both, cell(mean_of(gap))])
    return markdown(["n", "A's subspace for both, top-1 %", "aligned, top-1 %", "aligned minus A's, points"], lines)


def aligned_layers_table() -> list[str]:
    """At each distance and n: how well domains are told apart without and with DANN, and what DANN is worth."""
    distances = {"0": "none", "1": "drawn"}
    if not tables_of(*(f"aligned_layers-{word}" for word in distances)):
        return not_yet("aligned_layers")
    lines = []
    for word, distance in distances.items():
        last = aligned_layers.last_of(curves_in_letters(RESULTS / f"aligned_layers_curves-{word}.csv"))
        rows = study(f"aligned_layers-{word}")
        for n in sorted(rows[rows["plus"] != ""]["n"].unique()):
            chosen = {
                method: rows[(rows["treatment"] == f"AnB+@{method}") & (rows["n"] == n)] for method in ("off", "dann")
            }
            told = [
                last[(last["treatment"] == f"AnB+@{method}") & (last["n"] == n)]["domain_top1"].mean()
                for method in chosen
            ]
            off, dann = (own.set_index(["unit", "target"])["accuracy"] for own in chosen.values())
            gap = mean_of((dann - off).rename("difference").reset_index())
            accuracies = (percent(mean_of(own, "accuracy")) for own in chosen.values())
            lines.append([distance, str(n), *(f"{100 * share:.0f}" for share in told), *accuracies, cell(gap)])
    heads = ["distance", "n", "told apart %, @off", "@dann", "top-1 %, @off", "@dann", "@dann minus @off, points"]
    return markdown(heads, lines)


# ------------------------------------------------------------------------------------------ readouts


def readouts_table(study: str, experiment: str, measure: str, images: str = "") -> list[str]:
    """The measure of each readout by layer, in %; handmade features in rows of their own. images: per class."""
    if not tables_of(study):
        return not_yet(experiment)
    rows = readouts(several(study))
    rows = rows[(rows["images_per_class"] == images) & rows[measure].notna()]
    kinds = [kind for kind in dict.fromkeys(rows["treatment"]) if (rows[rows["treatment"] == kind]["n"] > 0).any()]
    lines = []
    for n in sorted(rows["n"].unique()):
        here = rows[rows["n"] == n]
        for name in sorted(here["variant"].unique()) if n == 0 else [""]:
            members = here[here["variant"] == name] if name else here
            label = [f"{name}, handmade" if name else f"{n}: {members['layer'].iloc[0]}"]
            columns = [mean_of(members[members["treatment"] == kind], measure) for kind in kinds]
            columns = [mean_of(members, measure), *columns[1:]] if name else columns
            lines.append(label + [percent(mean) for mean in columns])
    return markdown(["layer", *kinds], lines)


def larger_minus(smallest: str, *larger: str) -> list[str]:
    """Readouts of larger networks minus those of the smallest at the layer of the same name, paired by seed."""
    if not all(map(tables_of, larger)):
        return not_yet(CALTECH)
    variants, place = ("svm", "softmax"), ["layer", "variant", "unit"]
    rows = readouts(several(smallest, *larger))
    rows = rows[(rows["kind"] == "transfer") & rows["variant"].isin(variants) & (rows["images_per_class"] == "30")]
    own = rows[rows["study"] == smallest].set_index(place)["val_class_top1"]
    rows = rows.join(own.rename("of_smallest"), on=place)
    rows["difference"] = rows["val_class_top1"] - rows["of_smallest"]
    cells = {where: cell(mean_of(members), False) for where, members in rows.groupby(["study", "variant", "layer"])}
    columns = [(name, variant) for name in larger for variant in variants]
    layers = dict.fromkeys(own.index.get_level_values("layer"))
    names = [f"{name.rpartition('-')[2].capitalize()}, {variant}" for name, variant in columns]
    return markdown(["layer", *names], [[layer, *(cells[*column, layer] for column in columns)] for layer in layers])


def published_readouts(data: str) -> list[str]:
    """What others have published on the same data, by layer of their network."""
    rows = published_by_others()
    rows = rows[rows["data"] == data]
    kinds = list(dict.fromkeys(rows["classifier"]))
    lines = []
    for (source, n), own in rows.groupby(["source", "n"]):
        values = {row.classifier: f"{row.accuracy:.1f} ± {row.spread:.1f}" for row in own.itertuples()}
        lines.append([f"{source}, {n}", *(values.get(kind, "–") for kind in kinds)])
    return markdown(["layer", *kinds], lines)


def few_pictures_table(study: str, experiment: str) -> list[str]:
    """Accuracy over images per class, by layer and classifier."""
    if not tables_of(study):
        return not_yet(experiment)
    rows = few_pictures.of_few(several(study))
    images = sorted(rows["images"].unique())
    lines = []
    for (n, variant), own in rows.groupby(["n", "variant"]):
        means = [mean_of(own[own["images"] == count], "val_class_top1") for count in images]
        lines.append([f"{n}: {own['layer'].iloc[0]}, {variant}", *map(percent, means)])
    return markdown(["layer and classifier", *map(str, images)], lines)


def retraining_table(study: str) -> list[str]:
    """A frozen network, the softmax on its layer, and what frozen dropout has to do with their difference."""
    if not tables_of(study):
        return not_yet(study)
    rows = readout_against_retraining.paired(several(study), "softmax")
    lines = []
    for (treatment, n), own in rows.groupby(["treatment", "n"]):
        means = (mean_of(own, column) for column in ("beyond", "dropout"))
        accuracies = (percent(mean_of(own, column)) for column in ("accuracy", "read"))
        lines.append([f"{treatment}, n = {n}", *accuracies, *map(cell, means)])
    heads = ["network", "retrained, top-1 %", "softmax, top-1 %", "softmax minus retrained", "resting minus retrained"]
    return markdown(heads, lines)


def tuned_table(study: str) -> list[str]:
    """Softmax on the layers of a base and of a fine-tuned network, on the same images: one unit."""
    if not tables_of(study):
        return not_yet(study)
    rows = readouts(several(study)).set_index(["split", "source", "target", "seed", "n", "variant"])["val_top1"]
    tuned = rows.xs("tuned", level="variant")
    heads = ["n", "base B", "A4B+, fine-tuned on B"]
    return markdown(
        heads,
        [[str(place[-1]), percent_of(rows[(*place, "softmax")]), percent_of(value)] for place, value in tuned.items()],
    )


def percent_of(share: float) -> str:
    return f"{100 * share:.1f}"


def office_readouts() -> list[str]:
    """By layer, the mean over the pairs of domains; then each pair at the last layer."""
    if not tables_of("office_readouts"):
        return not_yet("office_readouts")
    rows = readouts(several("office_readouts"))
    words = ("source", "both", "target")

    def values(members: pd.DataFrame) -> list[str]:
        return [f"{100 * members[members['variant'] == word]['val_class_top1'].mean():.1f}" for word in words]

    last = rows["n"].max()
    pairs = [
        (f"n = {n}, mean of {rows['split'].nunique()} pairs", rows[rows["n"] == n]) for n in sorted(set(rows["n"]))
    ]
    pairs += [(f"n = {last}, {split}", members) for split, members in rows[rows["n"] == last].groupby("split")]
    heads = ["mean over classes, %", "source", "both", "target, three per class"]
    return markdown(heads, [[name, *values(members)] for name, members in pairs])


def views_table() -> list[str]:
    """What more views bring, against the centre alone."""
    if not tables_of("flowers17_views"):
        return not_yet("flowers17_views")
    rows = augmentation.compared(several("flowers17_views"))
    lines = []
    for way in dict.fromkeys(rows["variant"]):
        own = rows[rows["variant"] == way]
        gain = "" if way == augmentation.PLAIN_WAY else cell(mean_of(own, "beyond"))
        lines.append([augmentation.in_words(way), percent(mean_of(own, "accuracy")), gain])
    return markdown(["views in training / validation", "mean over classes, %", "minus the centre alone"], lines)


# ------------------------------------------------------------------------------------------ the published networks


def published_boosts() -> list[str]:
    """The paper's Table 1, and what is left of it when networks are paired with the base of their own target."""
    lines = []
    for boost in boosts(paper()):
        means = (
            boost.transfer_over_base_pooled,
            boost.transfer_over_selffer_pooled,
            boost.transfer_over_base_by_network,
            boost.selffer_over_base_by_network,
        )
        lines.append([f"n = {boost.layers.replace('-', ' … ')}", *map(cell, means)])
    heads = ["AnB+ − base, pooled", "AnB+ − BnB+, pooled", "AnB+ − base, paired", "BnB+ − base, paired"]
    return markdown(["", *heads], lines)


def published_bases() -> list[str]:
    """How far apart the published bases are: among each other, and from the AnB at n = 1, 2 on the same target."""
    bases, transfers = select(paper(), "random", "base"), select(paper(), "random", "AnB", (1, 2))
    lines = []
    for target, rows in bases.groupby("target"):
        cells = [f"{100 * value:.1f}" for value in rows.sort_values("split")["accuracy"]]
        lines.append([f"base{target}, top-1 %", *cells, f"{100 * rows['accuracy'].std():.2f}"])
    gaps = -transfers.groupby(["target", "split"])["difference"].mean()
    for target in "AB":
        lines.append([f"base{target} − AnB at n = 1, 2", *map(points, gaps[target].sort_index()), ""])
    lines[-1][-1] = f"{100 * gaps.std():.2f} (all eight)"
    return markdown(["", *(f"random-{split}" for split in range(4)), "standard deviation"], lines)


def published_targets() -> list[str]:
    """On which halves the published fine-tuned networks were trained."""
    lines = []
    for treatment in ("BnB+", "AnB+"):
        rows = select(paper(), "random", treatment)
        counts = rows.groupby(["split", "target"]).size()
        on = ", ".join(f"{count} on {target} of {split}" for (split, target), count in counts.items())
        lines.append([treatment, on, f"{100 * pooled_mean(rows).value:.1f}", cell(pooled_mean(rows, "difference"))])
    return markdown(["", "networks", "top-1 %, pooled", "− base, paired"], lines, left=2)


# ------------------------------------------------------------------------------------------ speed


@cache
def benchmark() -> tuple[dict[str, str], ...]:
    with (RESULTS / "benchmark_two_cores.csv").open(newline="", encoding="utf-8") as handle:
        return tuple(csv.DictReader(handle))


def span(row: dict[str, str], middle: str, low: str, high: str) -> str:
    """A median with its lowest and highest value, which are left out where nothing was repeated."""
    values = [number(float(row[name])) for name in (middle, low, high)]
    return values[0] if len(set(values)) == 1 else f"{values[0]} ({values[1]} to {values[2]})"


def compared(*names: str) -> list[str]:
    """Rows of the benchmark in which this package is set against another way."""
    lines, ours = [], ""
    for row in benchmark():
        if row["row"] not in names:
            continue
        if not row["times"]:
            ours, unit = f"{number(float(row['median']))} {row['unit']}", row["unit"]
            case = f"{row['case']}: {row['way']}" if row["way"] != "this package" else row["case"]
            continue
        other = f"{row['way']}: {number(float(row['median']))} {unit}"
        lines.append([case, ours, other, span(row, "times", "times_low", "times_high")])
        case = ours = ""
    return markdown(["", "here", "otherwise", "ratio"], lines, left=3)


def side_by_side() -> list[str]:
    """Two fleets with a process each, against one after the other with both processes (DDP)."""
    cells: dict[str, dict[str, str]] = {}
    for row in benchmark():
        if row["row"] == "ddp" and row["times"]:
            fleet, batch = row["case"].split(", batch ")
            cells.setdefault(fleet.replace(" a fleet", " per fleet"), {})[batch] = span(
                row, "times", "times_low", "times_high"
            )
    batches = list(next(iter(cells.values())))
    columns = ["images/s side by side, relative to DDP", *(f"batch {batch}" for batch in batches)]
    return markdown(columns, [[fleet, *(values[batch] for batch in batches)] for fleet, values in cells.items()])


def measured(name: str) -> list[str]:
    """Rows of the benchmark that are set against nothing. Its MB are 2^20 bytes."""
    lines = []
    for row in benchmark():
        if row["row"] == name:
            unit = row["unit"].replace("MB", "MiB").replace("a step a network", "per step and network")
            lines.append([f"{row['case']}: {row['way']}", f"{span(row, 'median', 'low', 'high')} {unit}"])
    return markdown(["", "median (lowest to highest)"], lines)


def prefixes() -> list[str]:
    """The frozen layers of networks in other forms: how many times as fast as the plain one, and how far from it."""
    rows = [row for row in benchmark() if row["row"] == "prefix"]
    differences = {(row["case"], row["way"]): f"{float(row['median']):.1e}" for row in rows if "differ" in row["case"]}
    lines, plain = [], ""
    for row in rows:
        if "differ" in row["case"]:
            continue
        if not row["times"]:
            plain = f"{row['case']}: {number(float(row['median']))} images/s"
            continue
        times = [number(1 / float(row[name])) for name in ("times", "times_high", "times_low")]
        off = [differences[f"{row['case']}: {what} differ by", row["way"]] for what in ("features", "losses")]
        lines.append([plain, row["way"], f"{times[0]} ({times[1]} to {times[2]})", *off])
        plain = ""
    heads = ["the plain form", "otherwise", "times as fast", "features differ by", "losses differ by"]
    return markdown(heads, lines, left=2)


# ------------------------------------------------------------------------------------------ the code


def documented(kind: Any) -> dict[str, str]:
    """Field → what the docstring of a dataclass says of it: lines `field: text`, or `field, field: text`, continued by
    indented ones."""
    texts: dict[str, str] = {}
    current: list[str] = []
    for line in (kind.__doc__ or "").splitlines():
        match = re.fullmatch(r"    (\w+(?:, \w+)*): (.*)", line)
        if match:
            current = match[1].split(", ")
            texts |= dict.fromkeys(current, match[2])
        elif current and line.startswith(" " * 8):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in current}
        else:
            current = []
    return texts


def field_table(*kinds: Any) -> list[str]:
    """The fields of dataclasses, with their types, defaults and docstrings; without those that they inherit."""
    lines = []
    for kind in kinds:
        texts = documented(kind)
        inherited = {f.name for base in kind.__bases__ if is_dataclass(base) for f in fields(base)}
        for field in (field for field in fields(kind) if field.name not in inherited):
            kind_of = field.type.__name__ if isinstance(field.type, type) else str(field.type)
            kind_of = re.sub(r"(transferability\.[\w.]+|collections\.abc|typing)\.", "", kind_of).replace("|", "or")
            default = "" if field.default is MISSING else f"`{field.default!r}`"
            text = texts[field.name].replace("|", "\\|")
            lines.append([kind.__name__, f"`{field.name}`", kind_of, default, text])
    if len(kinds) == 1:
        return markdown(["field", "type", "default", "meaning"], [line[1:] for line in lines], left=4)
    return markdown(["", "field", "type", "default", "meaning"], lines, left=5)


def commands() -> list[str]:
    """Every command with the first line of its help."""
    lines = [[f"`{name}`", command.help.splitlines()[0]] for name, command in COMMANDS.items()]
    return markdown(["command", "what it does"], lines, left=2)


def options(command: str) -> list[str]:
    """The options of one command."""
    lines = []
    for option in COMMANDS[command].params:
        if option.param_type_name != "option":
            continue
        default = option.show_default if isinstance(option.show_default, str) else option.default
        default = "" if default in (None, "", False) or callable(default) else str(default)
        lines.append([f"`{option.opts[0]}`", default, option.help or ""])
    return markdown(["option", "default", "meaning"], lines, left=3)


# ------------------------------------------------------------------------------------------ the pages

TABLES: dict[str, Callable[[], list[str]]] = {
    "claims-short": claims_short,
    "claims": claims_all,
    "tiny-random": lambda: by_layer("tiny_imagenet_cpu", "random"),
    "tiny-manmade-natural": lambda: by_layer("tiny_imagenet_cpu", "manmade-natural"),
    "verdicts": lambda: verdicts(CLAIMS),
    "verdicts-fine-tuned": lambda: verdicts([claim for claim in CLAIMS if claim.treatment in ("AnB+", "BnB+")]),
    "twice-over-n": lambda: twice_over_n("tiny_imagenet_cpu"),
    "twice": lambda: twice("tiny_imagenet_cpu"),
    "dip": dip,
    "random-features": random_features,
    "tiny-bases": lambda: bases("tiny_imagenet_cpu"),
    "demo-seeds": demo_seeds,
    "demo-by-seed": lambda: by_seed("demo_seeds"),
    "demo-bases": lambda: bases("demo_seeds"),
    "demo-twice": lambda: twice("demo_seeds"),
    "residual": residual,
    "rules": rules,
    "flowers17-lite0": lambda: accuracies("flowers17_lite0"),
    "flowers17-squeezenet": lambda: accuracies("flowers17_squeezenet"),
    "benefits": three_benefits,
    "taught": taught_sentences,
    "regimes-fields": four_fields,
    "backbones-speed": lambda: backbones_speed("backbones"),
    "better-bases-speed": lambda: backbones_speed("better_bases"),
    "regimes-tiny": lambda: regimes_table("regimes"),
    "regimes-flowers": lambda: regimes_table("regimes-flowers17"),
    "backbones": lambda: backbones_table("backbones"),
    "better-bases": lambda: backbones_table("better_bases"),
    "four-models": lambda: treatments_table("four_models", "four_models", loss=True),
    "rules-flowers-few": lambda: rules_table("rules_flowers17-5"),
    "rules-flowers-many": lambda: rules_table("rules_flowers17-40"),
    "multitask": shared_layers,
    "multitask-fields": lambda: field_table(Multitask),
    "zero-shot": lambda: unseen_classes("zero_shot"),
    "zero-shot-awa2": lambda: unseen_classes("zero_shot_awa2"),
    "zero-shot-fields": lambda: field_table(ZeroShot),
    "digits": lambda: domains_table("digits"),
    "demo-domains": lambda: domains_table("demo_domains"),
    "office-domains": lambda: office_table("office_domains"),
    "aligned-layers": aligned_layers_table,
    "readouts-caltech101-lite0": lambda: readouts_table("caltech101-lite0", CALTECH, "val_class_top1", "30"),
    "readouts-caltech101-lite1": lambda: readouts_table("caltech101-lite1", CALTECH, "val_class_top1", "30"),
    "readouts-caltech101-lite2": lambda: readouts_table("caltech101-lite2", CALTECH, "val_class_top1", "30"),
    "readouts-caltech101-squeezenet": lambda: readouts_table("caltech101-squeezenet", CALTECH, "val_class_top1", "30"),
    "readouts-caltech101-larger": lambda: larger_minus("caltech101-lite0", "caltech101-lite1", "caltech101-lite2"),
    "readouts-caltech101-published": lambda: published_readouts("caltech101"),
    "readouts-caltech101-few": lambda: few_pictures_table("caltech101-lite0", CALTECH),
    "readouts-retraining": lambda: retraining_table("tiny_imagenet_cpu_readouts"),
    "readouts-tuned": lambda: tuned_table("tiny_imagenet_cpu_readouts"),
    "readouts-office": office_readouts,
    "readouts-retrieval": lambda: readouts_table("retrieval", "retrieval", "val_map"),
    "readouts-several": lambda: readouts_table("several_labels", "several_labels", "val_map_eleven"),
    "readouts-views": views_table,
    "published-boosts": published_boosts,
    "published-bases": published_bases,
    "published-targets": published_targets,
    "speed-input": lambda: compared("input"),
    "speed-training": lambda: compared("fleet", "step", "study"),
    "speed-chain": lambda: compared("chain-step", "chain-fleet"),
    "speed-prefix": prefixes,
    "speed-growth": lambda: measured("growth"),
    "speed-logging": lambda: measured("logging"),
    "ddp": side_by_side,
    "recipe": lambda: field_table(Recipe),
    "architecture": lambda: field_table(Architecture, Conv, Linear),
    "chain": lambda: field_table(Chain, Top),
    "study": lambda: field_table(Study, Network),
    "published": lambda: field_table(Published),
    "pretext-fields": lambda: field_table(Pretext),
    "pretext": lambda: treatments_table("pretext", "pretext"),
    "translated-fields": lambda: field_table(Translated),
    "jointly-translated-fields": lambda: field_table(JointlyTranslated),
    "translated": lambda: domains_table("translated"),
    "domains": lambda: field_table(Adversarial, Adda, Aligned),
    "readout": lambda: field_table(Readout),
    "commands": commands,
    "submit": lambda: options("submit"),
    "pack": lambda: options("pack"),
}


def filled(text: str) -> str:
    """A page with every marked table made anew."""
    return MARKED.sub(lambda match: "\n".join([match[1].rstrip(), *TABLES[match["name"]](), match[3]]), text)


def out_of_date() -> list[Path]:
    """The pages whose tables are not what the results and the code say now."""
    return [page for page in PAGES if filled(page.read_text()) != page.read_text()]


def main() -> None:
    pages = out_of_date()
    for page in pages:
        print(f"{page.relative_to(ROOT)}: {'tables are out of date' if '--check' in sys.argv else 'tables written'}")
        if "--check" not in sys.argv:
            page.write_text(filled(page.read_text()))
    if pages and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
