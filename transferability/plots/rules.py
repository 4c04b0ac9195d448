"""Which rule for the copied layers? Accuracy minus the base, over n, for every rule that the table has.

    python plots/rules.py RESULTS.CSV [--split random|manmade-natural|SPLIT] [--out figures]

Transfer networks only, each compared with the base of its own split, target and seed; below it the differences
between each rule (or variant, as AnB+@dann) and fine-tuning at the full rate, at the same n. The table that is printed
has both. Bars are 95 % t intervals over units (split x seed, both directions averaged first), from three units on; the
shaded band is one point.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, groups, lines_of_cells, means, with_half_width
from transferability.results.statistics import MARGIN, mean_of, verdict
from transferability.splits import group_title

FULL = "AnB+"


def is_full(treatment: str) -> bool:
    """Whether it is fine-tuning at the full rate, on all images or on some (AnB+@5); no variant of it (AnB+@dann)."""
    name, _, suffix = treatment.partition("@")
    return name == FULL and (not suffix or suffix.isdigit())


def beside_full(rows: pd.DataFrame) -> pd.DataFrame:
    """Transfer networks, with a column `beside`: accuracy minus that of AnB+ of the same split, target, seed and n."""
    transfers = rows[rows["kind"] == "transfer"]
    key = ["split", "target", "seed", "n", "images_per_class"]
    full = transfers[transfers["treatment"].map(is_full)].set_index(key)["accuracy"].rename("full")
    joined = transfers.join(full[~full.index.duplicated()], on=key)
    return joined.assign(beside=joined["accuracy"] - joined["full"])


def draw_panel(axes: Axes, rows: pd.DataFrame, column: str, looks: dict[str, Look], title: str) -> None:
    """One difference over n: markers and intervals of each rule, a line through the means."""
    for treatment, look in looks.items():
        by_n = means(rows, column, treatment)
        x = by_n["n"] + look.offset
        style.curve(axes, x, by_n["value"], color=look.line, lw=0.8)
        style.markers(axes, x, by_n["value"], look, gid=f"{column} {treatment}")
        style.bars(axes, by_n, look, shift=look.offset)
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    ns = sorted(rows["n"].unique())
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    style.layer_ticks(axes, rows, ns)
    style.layer_axis(axes)
    axes.set_title(title, loc="left", fontsize=8)
    style.points_axis(axes)


def lines_of(rows: pd.DataFrame, treatments: Sequence[str], group: str) -> tuple[str, ...]:
    """The table, as lines of text: differences in points, with the half-width of their interval, and what they show."""
    cells = [("rule", "n", "minus the base", "", f"minus {FULL}", "", "units")]
    for treatment in treatments:
        for n in sorted(rows["n"].unique()):
            members = rows[(rows["treatment"] == treatment) & (rows["n"] == n)]
            if len(members):
                of = [mean_of(members, column) for column in ("difference", "beside")]
                spelled = [(with_half_width(mean), verdict(mean)) for mean in of]
                if is_full(treatment):
                    spelled[1] = ("", "")
                cells.append((treatment, str(n), *spelled[0], *spelled[1], str(of[0].units)))
    return (f"{group_title(group)}: differences in points", *lines_of_cells(cells))


def panels(rows: pd.DataFrame, looks: dict[str, Look], title: str, page: Page) -> Figure:
    figure = style.new_figure(page, 4.8, style.WIDE)
    upper, lower = figure.subplots(2, 1)
    draw_panel(upper, rows, "difference", looks, "Minus the base")
    others = {treatment: look for treatment, look in looks.items() if not is_full(treatment)}
    if rows["beside"].notna().any():
        draw_panel(lower, rows, "beside", others, f"Minus {FULL}, at the same $n$")
    handles: list[style.Entry] = [
        (Line2D([], [], color=look.line, marker=look.marker, markersize=4), treatment)
        for treatment, look in looks.items()
    ]
    style.legend(figure, figure.get_figwidth(), handles, title)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, chosen in groups(table.rows, split).items():
        rows = beside_full(chosen)
        rows = rows[rows["difference"].notna()]
        treatments = list(dict.fromkeys(rows.sort_values("plus")["treatment"]))
        if len(treatments) < 2:
            drawings.append(NotDrawn("rules", f"{group} has fewer than two rules beside a base"))
            continue
        figure = panels(rows, style.looks_of(treatments), group_title(group), page)
        style.caption(figure, page, chosen["study"], [style.INTERVALS_NOTE])
        drawings.append(Drawn("rules", figure, group, lines_of(rows, treatments, group)))
    return drawings or [NotDrawn("rules", "the table has no networks")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
