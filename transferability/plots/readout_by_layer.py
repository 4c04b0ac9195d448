"""What is layer n good for? The accuracy of classifiers on the features of each layer, over n.

    python plots/readout_by_layer.py RESULTS.CSV… [--measure val_class_top1] [--split SPLIT] [--out figures]

One panel for each table, such as one for each network, and one for published values where there are any of the same
data. Dashed: handmade features (n = 0). Dotted: chance. The measure is the mean over classes of each class's accuracy,
as in the tables of the field; where images have several labels, mean average precision; or what --measure says. Of each
variant (the last word of a readout's name) those on most images per class are shown; plots/few_pictures.py shows all.
Bars are 95 % t intervals over units (split x seed), from three units on.
"""

import math
from collections.abc import Sequence
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lines_of_cells, means, of_split, read_table
from transferability.results.statistics import mean_of

NAME = "readout_by_layer"
MEASURES = {
    "val_class_top1": "Accuracy, mean over classes",
    "val_top1": "Top-1 accuracy",
    "val_map": "Mean average precision",
    "val_map_eleven": "Mean average precision (VOC 2007)",
    "val_precision_ten": "Precision of the ten nearest",
}
ACCURACIES = ("val_class_top1", "val_top1")  # of these, chance is drawn
CHANCE: dict[str, Any] = {"color": "#888888", "ls": ":", "lw": 0.9}


def published() -> pd.DataFrame:
    """Readouts that others have published: source, data, images_per_class, classifier, n, accuracy and spread in %."""
    text = (resources.files("transferability") / "tables" / "published_readouts.csv").read_text()
    return pd.read_csv(StringIO(text))


def readouts(rows: pd.DataFrame) -> pd.DataFrame:
    """The readouts among networks."""
    return rows[rows["numbers"].notna()]


def on_most_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a study's readouts of each variant, those on all images; where there are none, on most images per class."""
    images = pd.to_numeric(rows["images_per_class"]).fillna(math.inf)  # "" are all
    return rows[images == images.groupby([rows["study"], rows["variant"]]).transform("max")]


def measure_of(rows: pd.DataFrame, wanted: str = "") -> str:
    """The column that is drawn."""
    if wanted:
        return wanted
    present = [name for name in ("val_map", "val_class_top1") if rows[name].notna().any()]
    # A retrieval has average precision too: what most readouts have, counts.
    return max(present, key=lambda name: rows[name].notna().sum(), default="val_top1")


def panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look], measure: str, title: str) -> None:
    """Markers, intervals and lines over n; handmade features and chance as lines across."""
    rows = rows.assign(accuracy=rows[measure])
    layers = rows[rows["n"] > 0]
    for treatment, look in looks.items():
        by_n = means(layers, "accuracy", treatment)
        if len(by_n):
            x = by_n["n"] + look.offset
            style.curve(axes, x, by_n["value"], color=look.line, lw=0.9)
            style.markers(axes, x, by_n["value"], look, size=4.0, gid=f"{title} {treatment}")
            style.bars(axes, by_n, look, shift=look.offset)
            continue
        level = mean_of(rows[rows["treatment"] == treatment], "accuracy").value
        if level == level:
            axes.axhline(level, color=look.line, ls="--", lw=0.9, zorder=1, gid=f"{title} {treatment}")
    chance = 1 / rows["classes"].max() if measure == "val_class_top1" else rows["chance"].max()
    if chance == chance and measure in ACCURACIES:
        axes.axhline(chance, **CHANCE, zorder=1, gid=f"{title} chance")
    ns = sorted(layers["n"].unique())
    axes.set_xlim(min(ns) - 0.6, max(ns) + 0.6)
    axes.set_ylim(0, 1)
    style.layer_ticks(axes, layers, ns)
    style.layer_axis(axes, "Layer $n$ whose features are read")
    style.accuracy_axis(axes)
    axes.set_ylabel(MEASURES.get(measure, measure))
    axes.set_title(title, loc="left", fontsize=8)


def published_panel(axes: Axes, known: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    """Published values over their own layers, with what they vary by."""
    for classifier, values in known.groupby("classifier", sort=False):
        look = next((look for name, look in looks.items() if name.endswith(f"@{classifier}")), None)
        colour = look.line if look else "#000000"
        axes.errorbar(
            values["n"], values["accuracy"] / 100, values["spread"] / 100, color=colour, marker="o", ms=3.5, lw=0.9,
            mfc="white",
        )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_xticks(sorted(known["n"].unique()))
    axes.set_xlabel("Layer $n$ of their network")
    style.accuracy_axis(axes)
    first = known.iloc[0]
    axes.set_title(f"{first['source']},\n{first['images_per_class']} images per class", loc="left", fontsize=8)


def lines_of(rows: pd.DataFrame, measure: str) -> tuple[str, ...]:
    """The table, as lines of text: in %, with the half-width of the interval."""
    cells: list[tuple[str, ...]] = [("readout", "n", "layer", measure, "networks", "units")]
    rows = rows.assign(accuracy=rows[measure])
    for treatment in dict.fromkeys(rows["treatment"]):
        own = rows[rows["treatment"] == treatment]
        for n in sorted(own["n"].unique()):
            here = own[own["n"] == n]
            mean = mean_of(here, "accuracy")
            half = "" if mean.high != mean.high else f" ± {100 * (mean.high - mean.value):.1f}"
            value = "–" if mean.value != mean.value else f"{100 * mean.value:.1f}{half}"
            cells.append((treatment, str(n), here["layer"].iloc[0], value, str(mean.networks), str(mean.units)))
    return lines_of_cells(cells)


def draw(table: Table, page: Page = PLAIN, split: str = "", measure: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each split that has readouts, or of `split` alone."""
    return draw_several([table], page, split, measure)


def draw_several(
    tables: Sequence[Table], page: Page = PLAIN, split: str = "", measure: str = ""
) -> list[Drawn | NotDrawn]:
    """The same, one panel for each table."""
    rows = readouts(of_split(pd.concat([table.rows for table in tables]), split))
    rows = rows[rows["n"].groupby([rows["study"], rows["group"]]).transform("max") > 0]
    if rows.empty:
        return [NotDrawn(NAME, "the table has no readout of a layer (A3B@svm)")]
    drawings: list[Drawn | NotDrawn] = []
    for group, members in rows.groupby("group"):
        of = measure_of(members, measure)
        shown = on_most_images(members[members[of].notna()])
        if shown.empty or not (shown["n"] > 0).any():
            drawings.append(NotDrawn(NAME, f"{group}: {of} is empty"))
            continue
        looks = style.looks_of(list(dict.fromkeys(shown.sort_values(["n", "variant"])["treatment"])))
        studies = list(dict.fromkeys(shown["study"]))
        data = str(group).rpartition("-")[2]
        others = published()
        known = others[others["data"] == data]
        panels = [*studies, *(["published"] if len(known) and of == "val_class_top1" else [])]
        columns = page.columns(min(3, len(panels)))
        figure = style.new_figure(page, 3.4 * -(-len(panels) // columns) + 0.6, style.WIDE)
        axes = figure.subplot_mosaic(style.in_rows(panels, columns))  # type: ignore[arg-type]
        for name in studies:
            panel(axes[name], shown[shown["study"] == name], looks, of, name)
        if "published" in panels:
            published_panel(axes["published"], known, looks)
        layers = set(shown[shown["n"] > 0]["treatment"])
        entries = [
            style.handle(look, treatment, line=True)
            if treatment in layers
            else (Line2D([], [], color=look.line, ls="--", lw=0.9), treatment.rpartition("@")[2])
            for treatment, look in looks.items()
        ]
        if of in ACCURACIES:
            entries.append((Line2D([], [], **CHANCE), "chance"))
        style.legend(figure, figure.get_figwidth(), entries, str(group))
        style.caption(figure, page, studies, [style.INTERVALS_NOTE])
        lines = [line for name in studies for line in (name, *lines_of(shown[shown["study"] == name], of))]
        drawings.append(Drawn(NAME, figure, str(group), tuple(lines)))
    return drawings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("tables", nargs="+", type=Path, metavar="RESULTS.CSV", help="of one study, or of several")
    parser.add_argument("--measure", default="", help=f"a column: {', '.join(MEASURES)}")
    command.add_split(parser)
    options = parser.parse_args(arguments)
    if options.measure and options.measure not in MEASURES:
        raise Refused(f"--measure {options.measure}: write {', '.join(MEASURES)}")
    with style.settings(options.style):
        tables = [read_table(path) for path in options.tables]
        drawings = draw_several(tables, command.page_of(options), options.split, options.measure)
        command.publish(drawings, options)
