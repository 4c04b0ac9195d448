"""How the domain classifier fares: what is learned and how well domains are told apart, over the steps and over n.

    python plots/aligned_layers.py runs/STUDY/curves.csv [--split SPLIT] [--out figures]

A column for each method (treatment and variant), a line for each n. From the top: the network's own training loss, the
domain classifier's loss, its accuracy (1/2 is chance: the domains are alike at layer n), the accuracy on the target. In
the end the domain classifier should struggle. The bottom row has the last values over n: where the domains could still
be told apart, and what that was worth. A method without strength (`Adversarial(strength=0)`) shows how far apart they
are when nothing makes them alike. Means over seeds and directions; networks that diverged are in the curves alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, groups, lines_of_cells
from transferability.plots.training_curves import draw_mean, read_curves
from transferability.splits import group_title

ROWS = {
    "train_loss": "Own training\nloss",
    "domain_loss": "Domain classifier's\nloss",
    "domain_top1": "Domain classifier's\naccuracy",
    "val_top1": "Accuracy\non the target",
}
LAST = {"domain_top1": "Domain classifier's accuracy, last", "val_top1": "Accuracy on the target, last"}
CHANCE = 0.5


def last_of(curves: pd.DataFrame) -> pd.DataFrame:
    """The last validation of each network of the curves that has not diverged."""
    last = curves.sort_values("step").groupby(["split", "network", "seed"], sort=False).tail(1)
    return last[last["val_loss"].notna()]


def draw_last(axes: Axes, last: pd.DataFrame, column: str, looks: dict[str, Look]) -> None:
    """The mean of the last values over n, a line for each method."""
    for method, look in looks.items():
        by_n = last[last["treatment"] == method].groupby("n")[column].mean()
        x = by_n.index + look.offset
        style.curve(axes, x, by_n, color=look.line, lw=0.8)
        style.markers(axes, x, by_n, look, gid=f"last {column} {method}")
    axes.set_xlabel("Layer $n$")
    axes.set_title(LAST[column], loc="left", fontsize=8)
    axes.set_xticks(sorted(last["n"].unique()))


def panels(curves: pd.DataFrame, methods: Sequence[str], title: str, page: Page) -> Figure:
    ns = sorted(curves["n"].unique())
    colours = {n: matplotlib.colormaps["viridis"](0.95 * i / max(len(ns) - 1, 1)) for i, n in enumerate(ns)}
    looks, last = style.looks_of(methods), last_of(curves)
    figure = style.new_figure(page, 1.5 * len(ROWS) + 2.4, style.WIDE)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.5 * len(ROWS), 2.0))
    upper, lower = parts
    axes = upper.subplots(len(ROWS), len(methods), squeeze=False, sharex="col", sharey="row")
    for row, (column, label) in enumerate(ROWS.items()):
        for place, method in enumerate(methods):
            for n in ns:
                own = curves[(curves["treatment"] == method) & (curves["n"] == n)]
                if own[column].notna().any():
                    draw_mean(axes[row, place], own, column, color=colours[n], gid=f"{method} {n} {column}")
            if column == "domain_top1":
                axes[row, place].axhline(CHANCE, color="black", ls=":", lw=0.8, zorder=1)
        axes[row, 0].set_ylabel(label)
    for place, method in enumerate(methods):
        axes[0, place].set_title(method, fontsize=8)
        axes[-1, place].set_xlabel("Step")
        axes[-1, place].locator_params(axis="x", nbins=3)
    beneath = lower.subplots(1, len(LAST), squeeze=False)[0]
    for where, column in zip(beneath, LAST, strict=True):
        draw_last(where, last, column, looks)
    beneath[0].axhline(CHANCE, color="black", ls=":", lw=0.8, zorder=1)
    entries: list[style.Entry] = [(Line2D([], [], color=colours[n]), f"n = {n}") for n in ns]
    entries += [(Line2D([], [], color=look.line, marker=look.marker, markersize=4), m) for m, look in looks.items()]
    style.legend(figure, figure.get_figwidth(), entries, title)
    return figure


def lines_of(curves: pd.DataFrame, methods: Sequence[str], group: str) -> tuple[str, ...]:
    """The bottom row in numbers, as lines of text."""
    cells: list[tuple[str, ...]] = [("method", "n", "domains told apart %", "top-1 %", "networks")]
    last = last_of(curves)
    for method in methods:
        for n, own in last[last["treatment"] == method].groupby("n"):
            shares = (f"{100 * own[column].mean():.1f}" for column in LAST)
            cells.append((method, str(n), *shares, str(len(own))))
    return (group_title(group), *lines_of_cells(cells))


def draw(curves: pd.DataFrame, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each split with domain classifiers, or of `split` alone. curves: of `read_curves`."""
    drawings: list[Drawn | NotDrawn] = []
    for group, chosen in groups(curves[curves["domain_loss"].notna()], split).items():
        methods = list(dict.fromkeys(chosen["treatment"]))
        figure = panels(chosen, methods, group_title(group), page)
        style.caption(figure, page, chosen["study"])
        drawings.append(Drawn("aligned_layers", figure, group, lines_of(chosen, methods, group)))
    return drawings or [NotDrawn("aligned_layers", "the table has no network with a domain classifier")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser: argparse.ArgumentParser = command.add_split(command.parser(__doc__))
    parser.add_argument("table", type=Path, metavar="CURVES.CSV", help="the curves.csv of a study")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        command.publish(draw(read_curves(options.table), command.page_of(options), options.split), options)
