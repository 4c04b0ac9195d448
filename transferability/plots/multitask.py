"""Two tasks, or all labels, that share their first n layers: does it help or hurt, and whom? The gain over n.

    python plots/multitask.py RESULTS.CSV [--split SPLIT] [--variant multitask] [--out figures]

A panel for each group of splits. A line for each task, and for each number of images per class: the accuracy of the
network that was trained together with the other task's, minus that of its own base, in points. n = 0, where nothing is
shared, is the base. Of networks with a head for each label (`--variant heads`), the base shares all layers but the
last, and n = 0 is a network for each label. The table that is printed has the accuracies, the gains with half the width
of their 95 % interval over units (split x seed), and what they show: grey is the margin within which two are the same.
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


def together(rows: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The networks that share layers and have a base, with a column `task`: "man-made", "B, 50 images per class"."""
    chosen = rows[rows["kind"].isin(["transfer", "selffer"]) & (rows["variant"] == variant) & (rows["rule"] == "full")]
    chosen = chosen[chosen["difference"].notna()]
    several = chosen["images_per_class"].nunique() > 1
    tasks = [
        style.task_name(group, target) + (f", {images or 'all'} images per class" if several else "")
        for group, target, images in zip(chosen["group"], chosen["target"], chosen["images_per_class"], strict=True)
    ]
    return chosen.assign(task=tasks).sort_values(["task", "n"])


def draw_group(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look], title: str) -> None:
    """The gain of each task over n."""
    for task, look in looks.items():
        by_n = means(rows[rows["task"] == task], "difference")
        x = by_n["n"] + look.offset / 2
        style.curve(axes, x, by_n["value"], color=look.line, lw=0.8)
        style.markers(axes, x, by_n["value"], look, gid=f"{title} {task}")
        style.bars(axes, by_n, look, shift=look.offset / 2)
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    ns = sorted({0, *rows["n"]})
    axes.set_xlim(-0.5, max(ns) + 0.5)
    style.layer_ticks(axes, rows, ns)
    axes.set_xlabel("Layers $n$ that are shared")
    axes.set_title(title, loc="left", fontsize=8)
    style.points_axis(axes, "Minus the own base (points)")
    entries = [Line2D([], [], color=look.line, marker=look.marker, markersize=4, label=t) for t, look in looks.items()]
    near = {"handlelength": 1.2, "handletextpad": 0.4, "columnspacing": 0.8}
    axes.legend(handles=entries, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=7, **near)


def lines_of(rows: pd.DataFrame, title: str) -> tuple[str, ...]:
    """The table, as lines of text."""
    cells: list[Sequence[str]] = [("task", "n", "accuracy %", "minus the base", "", "units")]
    for (task, n), members in rows.groupby(["task", "n"], sort=False):
        accuracy, gain = mean_of(members, "accuracy"), mean_of(members, "difference")
        cells.append(
            (str(task), str(n), f"{100 * accuracy.value:.1f}", with_half_width(gain), verdict(gain), str(gain.units))
        )
    return (f"{title}: differences in points", *lines_of_cells(cells))


def panels(found: dict[str, pd.DataFrame], page: Page) -> Figure:
    figure = style.new_figure(page, 2.8, style.WIDE)
    for axes, (title, rows) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        draw_group(axes, rows, style.looks_of(list(dict.fromkeys(rows["task"]))), title)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "", variant: str = "multitask") -> list[Drawn | NotDrawn]:
    """One figure of all groups of splits of a table, or of `split` alone. variant: of the networks that share."""
    chosen = {group_title(group): together(rows, variant) for group, rows in groups(table.rows, split).items()}
    found = {title: rows for title, rows in chosen.items() if len(rows)}
    if not found:
        reason = f"the table has no fine-tuned transfer networks of variant {variant!r} beside their bases"
        return [NotDrawn("multitask", reason)]
    figure = panels(found, page)
    style.caption(figure, page, pd.concat(found.values())["study"], [style.INTERVALS_NOTE])
    lines = [line for title, rows in found.items() for line in lines_of(rows, title)]
    return [Drawn("multitask", figure, split, tuple(lines))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.add_split(command.table_parser(__doc__))
    parser.add_argument("--variant", default="multitask", help="word behind the @ of the networks (multitask)")
    command.table_figure(draw, parser, arguments)
