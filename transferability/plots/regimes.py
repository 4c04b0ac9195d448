"""Little and much data, near and far: accuracy of each way to use a network over images per class; where ways cross.

    python plots/regimes.py RESULTS.CSV [MORE.CSV ...] [--out figures]

A panel for each study and group of splits. Ways: from scratch; pure transfer at the best n; top layers fine-tuned
(A3Bp2); all copied layers fine-tuned at a tenth or at the full rate; handmade features. The best n (and m) is chosen on
other validation images, of the other target or of other seeds, never on those that judge. The strip below a panel names
the best way at each number of images; it is pale where another way cannot be told from it. What is printed has the
means, and where ways cross, with the range in which the interval of their difference contains 0.
`transferability/results/strategies.py` has the definitions. Bars are 95 % t intervals over units.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lines_of_cells, read_table
from transferability.results.statistics import Mean, mean_of
from transferability.results.strategies import ALL, WAYS, crossings, fields, ways
from transferability.splits import group_title, sorted_groups

LOOKS = {
    "handmade": Look(WAYS["handmade"], "#b08d00", style.YELLOW, "v", False, 0.0),
    "scratch": Look(WAYS["scratch"], "#000000", "#ffffff", "o", False, 0.0),
    "frozen": Look(WAYS["frozen"], "#8b0000", "#8b0000", "D", False, 0.0),
    "top": Look(WAYS["top"], "#c25e00", style.ORANGE, "^", False, 0.0),
    "tenth": Look(WAYS["tenth"], "#2f5597", "#2f5597", "s", False, 0.0),
    "full": Look(WAYS["full"], "#006d5b", "#66b8a8", "P", False, 0.0),
}
DISTANCES = {"random": "near: random halves", "manmade-natural": "far: man-made / natural"}
Panels = dict[tuple[str, str], pd.DataFrame]


def panels_of(rows: pd.DataFrame) -> Panels:
    """(study, group) → its ways, of those with two ways or more at two numbers of images or more."""
    table = ways(rows)
    table = table[table["images"] != ALL]
    found = {}
    for study in table["study"].unique():
        of_study = table[table["study"] == study]
        for group in sorted_groups(of_study["group"]):
            members = of_study[of_study["group"] == group]
            if members["images"].nunique() > 1 and members["way"].nunique() > 1:
                found[str(study), group] = members
    return found


def means(panel: pd.DataFrame) -> dict[str, dict[int, Mean]]:
    """Way → images per class → its mean accuracy."""
    return {
        way: {int(str(images)): mean_of(rows, "accuracy") for images, rows in of_way.groupby("images")}
        for way in WAYS
        if len(of_way := panel[panel["way"] == way])
    }


def draw_curves(axes: Axes, panel: pd.DataFrame, title: str) -> None:
    """Accuracy over images per class, a line for each way."""
    of_ways = means(panel)
    for shift, (way, of_way) in zip(style.beside(len(of_ways)), of_ways.items(), strict=True):
        look, x = LOOKS[way], [shift * images for images in of_way]
        values = [mean.value for mean in of_way.values()]
        style.curve(axes, x, values, color=look.line, lw=1.1)
        style.markers(axes, x, values, look, gid=f"{title} {way}", size=4.5)
        axes.vlines(
            x, [mean.low for mean in of_way.values()], [mean.high for mean in of_way.values()], color=look.line, lw=0.8
        )
    for crossing in crossings(panel, "frozen", "scratch") + crossings(panel, "frozen", "full"):
        colour = LOOKS[crossing.after].line
        axes.axvline(crossing.at, color=colour, ls=":", lw=0.9, zorder=1, gid=f"{title} crossing")
        if crossing.low == crossing.low:
            low, high = max(crossing.low, min(panel["images"])), min(crossing.high, max(panel["images"]))
            axes.axvspan(low, high, color=colour, alpha=0.1, lw=0, zorder=0)
    axes.set_title(title, fontsize=8)
    style.accuracy_axis(axes)


def draw_fields(axes: Axes, panel: pd.DataFrame) -> None:
    """The best way at each number of images, as a strip of colour."""
    found = fields(panel)
    x = [field.images for field in found]
    # Each number of images reaches to the middle, on the logarithmic axis, between it and its neighbours.
    inner = [(a * b) ** 0.5 for a, b in itertools.pairwise(x)]
    edges = [x[0] ** 2 / inner[0], *inner, x[-1] ** 2 / inner[-1]]
    for field, (left, right) in zip(found, itertools.pairwise(edges), strict=True):
        axes.axvspan(left, right, color=LOOKS[field.best].line, alpha=0.3 if field.beside else 0.9, lw=0)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xticks(x, [str(images) for images in x])
    axes.minorticks_off()
    axes.set_yticks([])
    axes.set_xlabel("Images per class")


def figure_of(panels: Panels, page: Page) -> Figure:
    several = len({study for study, _ in panels}) > 1
    columns = page.columns(min(3, len(panels)))
    names = [str(i) for i in range(len(panels))]
    mosaic: list[list[Any]] = []
    for row in style.in_rows(names, columns):
        mosaic += [row, [name if name == "." else f"strip {name}" for name in row]]
    figure = style.new_figure(page, 0.6 + 2.4 * len(mosaic) / 2, style.WIDE)
    axes_of = figure.subplot_mosaic(mosaic, height_ratios=[1, 0.08] * (len(mosaic) // 2))
    for name, ((study, group), panel) in zip(names, panels.items(), strict=True):
        title = DISTANCES.get(group, group_title(group))
        draw_fields(axes_of[f"strip {name}"], panel)
        draw_curves(axes_of[name], panel, f"{study}\n{title}" if several else title)
        axes_of[name].set_xscale("log")
        axes_of[name].set_xlim(axes_of[f"strip {name}"].get_xlim())
        axes_of[name].set_xticks([])
        axes_of[name].minorticks_off()
        if int(name) % columns == 0:
            axes_of[name].set_ylabel("Validation accuracy")
            axes_of[f"strip {name}"].set_ylabel("best", rotation=0, ha="right", va="center")
    shown = [way for way in WAYS if any(way in set(panel["way"]) for panel in panels.values())]
    style.legend(figure, figure.get_figwidth(), [style.handle(LOOKS[way], line=True) for way in shown])
    return figure


def lines_of(study: str, group: str, panel: pd.DataFrame) -> tuple[str, ...]:
    """Means in %, the best way at each number of images, and where pairs of ways cross."""
    of_ways = means(panel)
    numbers = sorted({*panel["images"]})
    cells = [["images per class", *map(str, numbers)]]
    for way, of_way in of_ways.items():
        cells.append([WAYS[way], *(_percent(of_way[images]) if images in of_way else "–" for images in numbers)])
    lines = [f"{study}, {DISTANCES.get(group, group_title(group))}: accuracy in %", *lines_of_cells(cells)]
    for field in fields(panel):
        beside = f"; not told from it: {', '.join(WAYS[way] for way in field.beside)}" if field.beside else ""
        lines.append(f"best at {field.images}: {WAYS[field.best]}{beside}")
    names = list(of_ways)
    pairs = [(left, right) for i, left in enumerate(names) for right in names[i + 1 :]]
    return (*lines, *(str(crossing) for pair in pairs for crossing in crossings(panel, *pair)))


def _percent(mean: Mean) -> str:
    half = "" if mean.low != mean.low else f" ± {100 * (mean.high - mean.value):.1f}"
    return f"{100 * mean.value:.1f}{half}"


def draw(table: Table, page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """One figure with a panel for each study and group of splits."""
    panels = panels_of(table.rows)
    if not panels:
        reason = "the table has no two ways (from scratch, pure transfer, …) at two numbers of images per class"
        return [NotDrawn("regimes", reason)]
    figure = figure_of(panels, page)
    note = "Pure transfer and top layers: n chosen on other validation images (the other target's, or other seeds')."
    pale = "Strip: the best way; pale where another cannot be told from it."
    pale += " Dotted: where scratch or fine-tuning crosses pure transfer, in the colour of the way that is above from"
    pale += " there; shaded: where the interval of their difference contains 0."
    style.caption(figure, page, table.rows["study"], [f"{note} {pale}", style.INTERVALS_NOTE])
    lines = [line for place, panel in panels.items() for line in lines_of(*place, panel)]
    return [Drawn("regimes", figure, lines=tuple(lines))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("tables", nargs="+", type=Path, metavar="RESULTS.CSV", help="results of one study or several")
    options: argparse.Namespace = parser.parse_args(arguments)
    with style.settings(options.style):
        tables = [read_table(path) for path in options.tables]
        rows = pd.concat([table.rows for table in tables], ignore_index=True)
        command.publish(draw(Table(rows), command.page_of(options)), options)
