"""Preserved layers: n layers copied and frozen, m more copied and trained (A3Bp2). Unpublished, by the authors.

    python plots/preserved.py [RESULTS.CSV] [--paper] [--split random|manmade-natural|SPLIT] [--out figures]

If co-adaptation between layers n and n + 1 is what is lost, keeping the next one or two layers brings it back only
where those layers are the partners. Means are over the targets that have all of the treatments of a panel.
The authors' numbers (their notebook, random-0) are single accuracies, not means of ten.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import LOOKS, PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, file_name, groups, lacking, means, missing
from transferability.results import statistics as results
from transferability.results.paper import paper_preserved
from transferability.splits import group_title

SHADES = {"BnB": ("#00008b", "#5a6fd6", "#a9b8f5"), "AnB": ("#8b0000", "#d65a5a", "#f5b0a9")}
MARKERS = "o^s"
BESIDE = "Faint and dotted: the authors' networks (their notebook, random-0, single accuracies)."
ALONE = "random-0, one network each, as in the authors' notebook."


def comparable(rows: pd.DataFrame, treatment: str) -> pd.DataFrame:
    """The networks of a treatment with m = 0, 1, 2 preserved layers, on the targets that have preserved ones."""
    networks = rows[rows["treatment"].isin([treatment, f"{treatment}p1", f"{treatment}p2"])]
    most = networks.groupby(["split", "seed", "target"])["preserved"].transform("max")
    return networks[most > 0]


def look_of(treatment: str, m: int) -> Look:
    colour = SHADES[treatment][m]
    return Look(f"m = {m}", colour, colour, MARKERS[m], False, 0.06 * (m - 1))


def draw_treatment(axes: Axes, networks: pd.DataFrame, treatment: str, owner: str) -> list[tuple[str, pd.DataFrame]]:
    """The lines of m = 0, 1, 2; returns the means of each m."""
    by_m = [(m, means(networks, "accuracy", treatment + (f"p{m}" if m else ""))) for m in range(3)]
    for m, by_n in by_m:
        look = look_of(treatment, m)
        dashes = {"ls": "-" if owner == "own" else ":", "lw": 1.3, "zorder": 3 - m, "gid": f"{owner} {treatment}p{m}"}
        style.curve(axes, by_n["n"], by_n["value"], color=look.line, **dashes)
        if owner == "own":
            style.markers(axes, by_n["n"], by_n["value"], look, size=5, zorder=4 - m)
            style.bars(axes, by_n, look, shift=look.offset)
    return [(f"m = {m}", by_n) for m, by_n in by_m]


def panels(rows: pd.DataFrame, published: pd.DataFrame | None, title: str, page: Page) -> Figure:
    """A panel for BnB and one for AnB, where there are any; `published` is dotted."""
    treatments = [treatment for treatment in SHADES if len(comparable(rows, treatment))]
    columns = page.columns(len(treatments))
    height, width = 3.1 * -(-len(treatments) // columns), style.WIDE if columns > 1 else style.WIDTH
    figure = style.new_figure(page, height, width)
    grid = figure.subplots(len(treatments) // columns, columns, sharey=True, squeeze=False)
    shown = pd.concat([comparable(rows, treatment) for treatment in treatments])
    for axes, treatment in zip(grid.ravel(), treatments, strict=True):
        if published is not None:
            draw_treatment(axes, comparable(published, treatment), treatment, "paper")
        labelled = draw_treatment(axes, comparable(rows, treatment), treatment, "own")
        axes.set_title(LOOKS[treatment].label)
        axes.set_xlabel("Frozen layers $n$")
        axes.set_xlim(0.5, shown["n"].max() + 0.5)
        style.layer_ticks(axes, shown, range(1, int(shown["n"].max()) + 1))
        style.counts(axes, page, labelled)
        entries = [style.handle(look_of(treatment, m), line=True) for m, (_, by_n) in enumerate(labelled) if len(by_n)]
        axes.legend(*zip(*entries, strict=True), fontsize=7)
    for axes in grid[:, 0]:
        axes.set_ylabel("Top-1 accuracy")
        style.accuracy_axis(axes)
    figure.suptitle(title, fontsize=9)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """Preserved layers for each group of splits, or for `split` alone, by final accuracies.

    The paper's networks are those of the authors' notebook.
    """
    notebook = results.networks(paper_preserved())
    alone = set(table.rows["study"]) == {results.PUBLISHED}
    # As the authors' numbers are: whatever statistic the table was read with.
    rows = notebook if alone else table.rows.assign(accuracy=table.rows["val_top1"])
    published = None if alone or table.published is None else notebook
    drawings: list[Drawn | NotDrawn] = []
    for group, chosen in groups(rows, split).items():
        units = chosen[chosen["unit"].isin(chosen[chosen["preserved"] > 0]["unit"])]
        if units.empty:
            continue
        others = published if group == "random" else None
        figure = panels(units, others, group_title(group), page)
        note = f"m: copied layers above the frozen ones, trained. {style.counted(page, 'Below each panel')}"
        notes = [ALONE if alone else "", note, BESIDE if others is not None else ""]
        style.caption(figure, page, units["study"], notes)
        treatments = [f"{treatment}{m}" for treatment in SHADES for m in ("", "p1", "p2")]
        lines = lacking(file_name("preserved", group), missing(units, treatments))
        drawings.append(Drawn("preserved", figure, group, tuple(lines)))
    return drawings or [NotDrawn("preserved", "the table has no network with preserved layers (A3Bp1)")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
