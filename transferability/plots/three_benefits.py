"""How training goes: is the start higher, the slope, the asymptote? Curves, and the three numbers with intervals.

    python plots/three_benefits.py runs/rules/curves.csv [--split random|manmade-natural|SPLIT] [--out figures]

Top: validation accuracy over epochs at up to four n, the mean over networks; one line for each treatment, the base
dashed. Bottom, over n and paired with the base of the same split, target and seed: the start (before the first step,
if it was validated there, else after one epoch), the slope (accuracy gained per epoch in the first quarter), the
asymptote (final accuracy). The table that is printed has them all, how many networks reach the base's final accuracy,
and how many steps and images sooner. `transferability/results/benefits.py` has the definitions. Bars are 95 % t
intervals over units, from three units on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, groups, lines_of_cells, means, with_half_width
from transferability.results import table
from transferability.results.benefits import MEASURES, Course, benefits, courses, summary
from transferability.results.statistics import networks
from transferability.splits import group_title

MOST_PANELS = 4


def mean_course(of: Sequence[Course]) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, mean accuracy) of networks that were validated at the same steps as the first one."""
    alike = [course for course in of if np.array_equal(course.steps, of[0].steps)]
    return alike[0].epochs, np.mean([course.accuracy for course in alike], axis=0)


def chosen_cuts(ns: Sequence[int]) -> list[int]:
    """At most four n, spread over all."""
    places = np.unique(np.linspace(0, len(ns) - 1, min(MOST_PANELS, len(ns))).round().astype(int))
    return [ns[place] for place in places]


def draw_courses(
    axes: Axes, rows: pd.DataFrame, known: dict[tuple[str, str, int], Course], n: int, looks: dict[str, Look]
) -> None:
    """Mean validation accuracy over epochs at one n, and the base's."""

    def line(members: pd.DataFrame, **look: object) -> None:
        keys = zip(members["split"], members["network"], members["seed"], strict=True)
        of = [known[key] for key in keys if key in known]
        if of:
            epochs, accuracy = mean_course(of)
            axes.plot(epochs, accuracy, lw=1.1, marker=".", markersize=3, **look)  # type: ignore[arg-type]

    line(rows[rows["treatment"] == "base"], color="black", ls="--", zorder=4)
    for treatment, look in looks.items():
        line(rows[(rows["treatment"] == treatment) & (rows["n"] == n)], color=look.line, gid=f"{treatment} {n}")
    axes.set_title(f"$n$ = {n}", fontsize=8)
    axes.set_xlabel("Epochs")


def draw_measure(axes: Axes, measured: pd.DataFrame, measure: str, looks: dict[str, Look], title: str) -> None:
    """One of the three numbers over n."""
    for treatment, look in looks.items():
        by_n = means(measured, measure, treatment)
        style.markers(axes, by_n["n"] + look.offset, by_n["value"], look, gid=f"{measure} {treatment}")
        style.bars(axes, by_n, look, shift=look.offset)
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    ns = sorted(measured["n"].unique())
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    axes.set_xticks(ns)
    axes.set_xlabel("Layer $n$")
    axes.set_title(title, fontsize=8)
    style.in_points(axes.yaxis)


def lines_of(measured: pd.DataFrame, group: str) -> tuple[str, ...]:
    """The table, as lines of text: accuracies in points, with the half-width of their interval."""
    cells = [("treatment", "n", *MEASURES[:3], "slope", "asymptote", "reached", "steps saved", "images saved", "units")]
    for (_, treatment, n), of in summary(measured).items():
        reached = of["reached"]
        count = round(float(measured[(measured["treatment"] == treatment) & (measured["n"] == n)]["reached"].sum()))
        points = [with_half_width(of[measure]) for measure in (*MEASURES[:3], "slope", "asymptote")]
        saved = [with_half_width(of[measure], 1, 0) for measure in ("steps saved", "images saved")]
        cells.append((treatment, str(n), *points, f"{count} of {reached.networks}", *saved, str(reached.units)))
    heading = f"{group_title(group)}: minus the base; accuracies in points, slope in points per epoch"
    return (heading, *lines_of_cells(cells))


def panels(
    rows: pd.DataFrame, measured: pd.DataFrame, known: dict[tuple[str, str, int], Course], title: str, page: Page
) -> Figure:
    """The figure of one group of splits."""
    treatments = list(dict.fromkeys(measured.sort_values(["kind", "plus"])["treatment"]))
    looks, ns = style.looks_of(treatments), sorted(int(n) for n in measured["n"].unique())
    cuts = chosen_cuts(ns)
    start = "start 0" if measured["start 0"].notna().any() else "start 1"
    when = "before the first step" if start == "start 0" else "after one epoch"
    bottom = {start: f"Start, {when}", "slope": "Slope, per epoch", "asymptote": "Asymptote"}
    top = [f"n {n}" for n in cuts for _ in range(12 // len(cuts))]
    mosaic: Any = [top, [measure for measure in bottom for _ in range(4)]]
    figure = style.new_figure(page, 4.6, style.WIDE)
    axes_of = figure.subplot_mosaic(mosaic)
    for n in cuts:
        draw_courses(axes_of[f"n {n}"], rows, known, n, looks)
        axes_of[f"n {n}"].sharey(axes_of[f"n {cuts[0]}"])
    axes_of[f"n {cuts[0]}"].set_ylabel("Validation accuracy")
    for measure, heading in bottom.items():
        draw_measure(axes_of[measure], measured, measure, looks, heading)
    axes_of[start].set_ylabel("Minus the base (points)")
    entries: list[style.Entry] = [(Line2D([], [], color="black", ls="--"), "base")]
    entries += [
        (Line2D([], [], color=look.line, marker=look.marker, markersize=4), treatment)
        for treatment, look in looks.items()
    ]
    style.legend(figure, figure.get_figwidth(), entries, title)
    return figure


def draw(curves: pd.DataFrame, rows: pd.DataFrame, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits, or of `split` alone. curves: of curves.csv. rows: of `networks`."""
    drawings: list[Drawn | NotDrawn] = []
    known = courses(curves, rows)
    for group, chosen in groups(rows, split).items():
        measured = benefits(curves, chosen)
        if measured.empty:
            drawings.append(NotDrawn("three_benefits", f"{group} has no network beside a base, with curves"))
            continue
        figure = panels(chosen, measured, known, group_title(group), page)
        style.caption(figure, page, chosen["study"], [style.INTERVALS_NOTE])
        drawings.append(Drawn("three_benefits", figure, group, lines_of(measured, group)))
    return drawings or [NotDrawn("three_benefits", "the table has no networks")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.add_split(command.parser(__doc__))
    parser.add_argument("table", type=Path, metavar="CURVES.CSV", help="the curves.csv of a study")
    parser.add_argument("--results", type=Path, help="the results.csv of the study (the one beside curves.csv)")
    options: argparse.Namespace = parser.parse_args(arguments)
    with style.settings(options.style):
        curves = table.read_curves(options.table)
        rows = networks(table.read_results(options.results or options.table.with_name("results.csv")))
        command.publish(draw(curves, rows, command.page_of(options), options.split), options)
