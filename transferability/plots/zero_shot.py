"""Classes never seen: from which layer are they recognised, beside seen ones, and which of them?

    python plots/zero_shot.py RESULTS.CSV [--split SPLIT] [--out figures]

Above, over n, a line for each method (treatment and variant). Left: the mean over the unseen classes of their accuracy
when the class is known to be one of them; dotted: chance. Right: when an image may be of any class, seen or not: the
harmonic mean of the accuracies of seen (faint, dashed) and unseen (faint, dotted) classes. Below, for each method, the
accuracy of single classes at each n, those that are recognised best, averaged over splits and seeds. ± and bars: the
95 % t interval over units (split x seed), from three on. Of classes with the same description the first gets all hits.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.classes import ilsvrc_classes
from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, groups, lines_of_cells, means, with_half_width
from transferability.results.statistics import mean_of
from transferability.splits import group_title

MOST = 20  # classes that are shown one by one
SHARE = re.compile(r"(\S.*?)=(\d\S*)(?: |$)")  # an id may have spaces, as a folder of pictures
FAINT = "Above, right: faint and dashed, seen classes alone; faint and dotted, unseen ones."


def by_class(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each network and class: columns treatment, n, id, share."""
    parts = [
        {"treatment": treatment, "n": n, "id": name, "share": float(share)}
        for treatment, n, cell in zip(rows["treatment"], rows["n"], rows["by_class"], strict=True)
        for name, share in SHARE.findall(cell)
    ]
    return pd.DataFrame(parts, columns=["treatment", "n", "id", "share"])


def draw_lines(axes: Axes, rows: pd.DataFrame, column: str, looks: dict[str, Look], faint: str = "") -> None:
    """The mean of a column over n, a line for each method. faint: dashes of a faint line without markers."""
    for method, look in looks.items():
        by_n = means(rows[rows["treatment"] == method], column)
        if faint:
            axes.plot(by_n["n"], by_n["value"], color=look.line, ls=faint, lw=0.8, alpha=0.6, gid=f"{column} {method}")
            continue
        x = by_n["n"] + look.offset / 2
        style.curve(axes, x, by_n["value"], color=look.line, lw=0.8)
        style.markers(axes, x, by_n["value"], look, size=4.5, gid=f"{column} {method}")
        style.bars(axes, by_n, look, shift=look.offset / 2)


def finish(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    ns = sorted(rows["n"].unique())
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    axes.set_ylim(bottom=0)
    style.layer_ticks(axes, rows, ns)
    axes.set_xlabel("Layer $n$")
    axes.set_title(title, loc="left", fontsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}")


def draw_classes(axes: Axes, shares: pd.DataFrame, names: Sequence[str], most: float, title: str) -> None:
    """A square for each class and n. shares: index the classes, columns n."""
    axes.imshow(shares.to_numpy(), cmap="viridis", vmin=0, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(shares.columns)), [str(n) for n in shares.columns])
    axes.set_yticks(range(len(names)), list(names), fontsize=6)
    axes.set_xlabel("Layer $n$")
    axes.set_title(title, loc="left", fontsize=8)


def panels(rows: pd.DataFrame, title: str, page: Page) -> Figure:
    looks = style.looks_of(list(dict.fromkeys(rows["treatment"])))
    single = by_class(rows)
    best = single.groupby("id")["share"].mean().sort_values(ascending=False, kind="stable").index[:MOST]
    tables = {
        method: single[single["treatment"] == method].pivot_table(index="id", columns="n", values="share").reindex(best)
        for method in looks
    }
    known = {c.id: c.name for c in ilsvrc_classes()}
    figure = style.new_figure(page, 2.6 + 0.14 * len(best) + 0.6, style.WIDE)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.6, 0.14 * len(best) + 0.6])[:, 0]
    left, right = upper.subplots(1, 2)
    draw_lines(left, rows, "val_class_top1", looks)
    left.axhline((1 / rows["classes"]).mean(), color="black", ls=":", lw=0.8, zorder=1)
    left.set_ylabel("Mean accuracy of classes, %")
    finish(left, rows, "Among unseen classes")
    draw_lines(right, rows, "val_harmonic", looks)
    draw_lines(right, rows, "val_seen", looks, "--")
    draw_lines(right, rows, "val_unseen", looks, ":")
    finish(right, rows, "Among all classes: harmonic mean")
    beneath = lower.subplots(1, len(looks), squeeze=False, sharey=True)[0]
    most = float(np.nanmax([np.nanmax(table.to_numpy()) for table in tables.values()]))
    for axes, (method, table) in zip(beneath, tables.items(), strict=True):
        draw_classes(axes, table, [known.get(name, name)[:24] for name in best], most, method)
    lower.colorbar(beneath[-1].images[0], ax=list(beneath), format=lambda value, _: f"{100 * value:.0f} %")
    entries = [(Line2D([], [], color=look.line, marker=look.marker, markersize=4), m) for m, look in looks.items()]
    style.legend(figure, figure.get_figwidth(), entries, title)
    return figure


def lines_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """The table, as lines of text, in per cent; and how many classes no network of a method recognises."""
    cells: list[Sequence[str]] = [("method", "n", "unseen alone", "seen", "unseen", "harmonic", "units")]
    columns = ("val_class_top1", "val_seen", "val_unseen", "val_harmonic")
    for (method, n), members in rows.groupby(["treatment", "n"], sort=False):
        values = [with_half_width(mean_of(members, column)).lstrip("+") for column in columns]
        cells.append((str(method), str(n), *values, str(mean_of(members, columns[0]).units)))
    highest = by_class(rows).groupby(["treatment", "id"], sort=False)["share"].max()
    never = [
        f"{method}: {int((own == 0).sum())} of {len(own)} classes are recognised at no n"
        for method, own in highest.groupby(level=0, sort=False)
    ]
    return (*lines_of_cells(cells), *never)


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """A figure of each group of splits, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, chosen in groups(table.rows, split).items():
        rows = chosen[chosen["by_class"] != ""].sort_values(["treatment", "n"])
        if rows.empty:
            continue
        figure = panels(rows, group_title(group), page)
        style.caption(figure, page, rows["study"], [FAINT, style.INTERVALS_NOTE])
        drawings.append(Drawn("zero_shot", figure, group, lines_of(rows)))
    return drawings or [NotDrawn("zero_shot", "the table has no networks that are judged on classes never seen")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
