"""What the page of a study and its W&B run are made from: everything about the study, read from its files."""

import math
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from transferability.report.figures import Figure, draw_figures
from transferability.results.collect import collect
from transferability.results.statistics import Mean, mean_of, networks
from transferability.results.table import read_results
from transferability.runs.paths import StudyFolder
from transferability.runs.status import NetworkStatus, statuses
from transferability.splits import sorted_groups
from transferability.study import Study


@dataclass(frozen=True)
class Report:
    """A study at one moment. `table`: its results.csv. `figures`: in the page's order; `not_drawn`: lines."""

    study: Study
    folder: StudyFolder
    table: pd.DataFrame
    statuses: list[NetworkStatus]
    figures: list[Figure]
    not_drawn: list[str]

    @property
    def is_over(self) -> bool:
        """Whether every network is finished or stuck, so that nothing more happens by itself."""
        return all(status.state in ("done", "diverged", "failed", "blocked") for status in self.statuses)


@dataclass(frozen=True)
class Effect:
    """One of the few numbers that a group of splits comes down to: an accuracy, or a paired difference."""

    group: str
    name: str
    mean: Mean
    is_accuracy: bool = False


def gather(study: Study, folder: StudyFolder, draw: bool = True) -> Report:
    """Collect the results into results.csv, and draw what can be drawn into the study's folder of figures."""
    folder.root.mkdir(parents=True, exist_ok=True)
    collect(study, folder)
    table = read_results(folder.results)
    figures, not_drawn = draw_figures(study, folder, table) if draw and len(table) else ([], [])
    return Report(study, folder, table, statuses(study, folder, study.networks), figures, not_drawn)


def effects(report: Report) -> list[Effect]:
    """The numbers of the page's first section, group by group; those that have no network are left out."""
    if report.table.empty:
        return []
    rows = networks(report.table)
    depth = report.study.architecture.depth
    numbers = []
    for group in sorted_groups(rows["group"]):
        numbers += _effects_of(group, rows[rows["group"] == group], depth)
    return [effect for effect in numbers if effect.mean.units]


def _effects_of(group: str, rows: pd.DataFrame, depth: int) -> list[Effect]:
    numbers = [Effect(group, "base top-1", mean_of(rows[rows["treatment"] == "base"], "accuracy"), True)]
    frozen = rows[rows["treatment"] == "AnB"]
    if len(frozen):
        last = int(frozen["n"].max())
        numbers.append(Effect(group, f"AnB at n = {last}, minus base", mean_of(frozen[frozen["n"] == last])))
    selffer = rows[rows["treatment"] == "BnB"]
    means = {n: mean_of(selffer[selffer["n"] == n]) for n in sorted({int(n) for n in selffer["n"]})}
    means = {n: mean for n, mean in means.items() if not math.isnan(mean.value)}
    if means:
        lowest = min(means, key=lambda n: means[n].value)
        numbers.append(Effect(group, f"lowest BnB, at n = {lowest}, minus base", means[lowest]))
    for treatment in ("BnB+", "AnB+"):
        # Without B8B+, whose layers are all copied: AnB+ has no such network.
        tuned = rows[(rows["treatment"] == treatment) & (rows["n"] < depth)]
        if len(tuned):
            name = f"{treatment}, n = {tuned['n'].min()} to {tuned['n'].max()}, minus base"
            numbers.append(Effect(group, name, mean_of(tuned)))
    return numbers


def headlines(report: Report) -> dict[str, float]:
    """The headline numbers by name, as they go into the summary of the study's run. Fractions; without NaN."""
    numbers = {"networks": float(len(report.statuses))}
    for state, count in Counter(status.state for status in report.statuses).items():
        numbers[f"networks {state}"] = float(count)
    for effect in effects(report):
        name, mean = f"{effect.group}/{effect.name}", effect.mean
        numbers |= {name: mean.value, f"{name} low": mean.low, f"{name} high": mean.high}
        numbers[f"{name} units"] = float(mean.units)
    return {name: number for name, number in numbers.items() if not math.isnan(number)}
