"""Which method reaches across to another domain, and at which layer? Accuracy over n, between two bounds.

    python plots/domains.py RESULTS.CSV [--split SPLIT] [--out figures]

A panel for each pair of domains and each direction. The lower bound is the source's network judged on the target as it
is (A8B of eight layers), the upper one the base of the target, which was trained on its labels. A line for each method
(treatment and variant), at each n at which it makes the domains alike. The table that is printed has, as in Ganin and
Lempitsky 2015, the share of the gap between the bounds that a method covers: per seed, then averaged. ± is the
half-width of the 95 % t interval over seeds, from three on. Where bases are published, neither bound is known.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import (
    Drawn,
    NotDrawn,
    Table,
    is_as_it_was,
    lines_of_cells,
    means,
    with_half_width,
)
from transferability.results.statistics import mean_of

SOURCE_ONLY, TARGET = "source only", "target trained"
BOUNDS = {SOURCE_ONLY: ":", TARGET: "--"}
Pair = tuple[str, str]  # split, target


def pairs_of(rows: pd.DataFrame, split: str = "") -> dict[Pair, pd.DataFrame]:
    """The networks of each (split, target) that has both bounds, or neither in both directions (bases published).

    With columns `method` and `covered`.

    method: "source only", "target trained", or the treatment in the paper's letters. covered: the share of the gap
    between the bounds of the same seed that the network covers; NaN of the bounds, and where there is no gap.
    """
    rows = rows.assign(method=rows["treatment"])
    rows.loc[is_as_it_was(rows), "method"] = SOURCE_ONLY
    rows.loc[(rows["treatment"] == "base"), "method"] = TARGET
    found = {}
    for key, chosen in rows.groupby(["split", "target"], sort=False):
        low, high = (
            chosen[chosen["method"] == bound].drop_duplicates("seed").set_index("seed")["accuracy"] for bound in BOUNDS
        )
        has_none = not len(low) and not len(high) and rows.loc[rows["split"] == key[0], "target"].nunique() == 2
        if ((len(low) and len(high)) or has_none) and (not split or key[0] == split):
            below, above = (chosen["seed"].map(bound) for bound in (low, high))
            gap = (above - below).where(above > below)
            covered = (chosen["accuracy"] - below) / gap
            found[str(key[0]), str(key[1])] = chosen.assign(covered=covered.mask(chosen["method"].isin([*BOUNDS])))
    return found


def name_of(pair: Pair) -> str:
    """mnist → usps; where the split's name has other than two words, the name and the target's letter."""
    split, target = pair
    words = split.split("-")
    if len(words) != 2:
        return f"{split}, target {target}"
    return " → ".join(words if target == "B" else words[::-1])


def methods_of(rows: pd.DataFrame) -> list[str]:
    """The methods of a pair, the bounds left out, in the order of the table."""
    return [method for method in dict.fromkeys(rows["method"]) if method not in BOUNDS]


def draw_pair(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look], title: str) -> None:
    """One pair: the bounds as horizontal lines, a line over n for each method."""
    for bound, dashes in BOUNDS.items():
        height = mean_of(rows[rows["method"] == bound], "accuracy").value  # NaN, and not drawn, of published bases
        axes.axhline(100 * height, color="black", ls=dashes, lw=0.8, zorder=1, gid=f"{bound} {title}")
    for method in methods_of(rows):
        by_n, look = means(rows[rows["method"] == method], "accuracy"), looks[method]
        x = by_n["n"] + look.offset
        style.curve(axes, x, 100 * by_n["value"], color=look.line, lw=0.8)
        style.markers(axes, x, 100 * by_n["value"], look, gid=f"{method} {title}")
        for place, low, high in zip(x, 100 * by_n["low"], 100 * by_n["high"], strict=True):
            axes.plot([place, place], [low, high], color=look.line, lw=0.8, zorder=2)
    shown = rows[~rows["method"].isin([*BOUNDS])]
    ns = sorted(shown["n"].unique())
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    style.layer_ticks(axes, shown, ns)
    axes.set_xlabel("Layer $n$")
    axes.set_title(title, loc="left", fontsize=8)


def lines_of(pairs: dict[Pair, pd.DataFrame]) -> tuple[str, ...]:
    """The table, as lines of text: accuracies in per cent, and shares of the gap in per cent."""
    cells = [("pair", "method", "n", "top-1 %", "gap covered %", "seeds")]
    for pair, rows in pairs.items():
        for method in (SOURCE_ONLY, *methods_of(rows), TARGET):
            own = rows[rows["method"] == method]
            for n in sorted(own["n"].unique()) if method not in BOUNDS else [None]:
                members = own if n is None else own[own["n"] == n]
                if members["accuracy"].isna().all():
                    continue
                accuracy, covered = mean_of(members, "accuracy"), mean_of(members, "covered")
                share = "" if method in BOUNDS else with_half_width(covered, digits=0)
                top1 = with_half_width(accuracy).lstrip("+")
                cells.append((name_of(pair), method, "" if n is None else str(n), top1, share, str(accuracy.units)))
    return lines_of_cells(cells)


def panels(pairs: dict[Pair, pd.DataFrame], page: Page) -> Figure:
    methods = list(dict.fromkeys(method for rows in pairs.values() for method in methods_of(rows)))
    looks, columns = style.looks_of(methods), min(2, len(pairs))
    titles = [name_of(pair) for pair in pairs]
    mosaic = style.in_rows(titles, columns)
    figure = style.new_figure(page, 2.4 * len(mosaic) + 0.4, style.WIDE)
    axes_of = figure.subplot_mosaic(mosaic)
    for title, rows in zip(titles, pairs.values(), strict=True):
        draw_pair(axes_of[title], rows, looks, title)
    for row in mosaic:
        axes_of[row[0]].set_ylabel("Top-1 accuracy on the target, %")
    known = {method for rows in pairs.values() for method in rows["method"][rows["accuracy"].notna()]}
    bounds = {bound: dashes for bound, dashes in BOUNDS.items() if bound in known}
    entries: list[style.Entry] = [(Line2D([], [], color="black", ls=dashes), bound) for bound, dashes in bounds.items()]
    entries += [(Line2D([], [], color=look.line, marker=look.marker, markersize=4), m) for m, look in looks.items()]
    style.legend(figure, figure.get_figwidth(), entries)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """One figure of all pairs of domains of a table, or of the split `split` alone."""
    pairs = {pair: rows for pair, rows in pairs_of(table.rows, split).items() if methods_of(rows)}
    if not pairs:
        reason = "the table has no pair of domains with the source's network as it is, the target's base and a method"
        return [NotDrawn("domains", reason)]
    figure = panels(pairs, page)
    studies = pd.concat([rows["study"] for rows in pairs.values()])
    style.caption(figure, page, studies, [style.INTERVALS_NOTE])
    return [Drawn("domains", figure, split, lines_of(pairs))]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
