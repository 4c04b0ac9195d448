"""With how few images is layer n good for something? The accuracy of readouts over images per class, by layer.

    python plots/few_pictures.py RESULTS.CSV [--split SPLIT] [--out figures]

One panel for each classifier, one line for each layer, as DeCAF's figure on Caltech-101 (Donahue et al. 2014, figure
4); one image per class is one-shot learning. The measure is the mean over classes, as in plots/readout_by_layer.py.
Bars are 95 % t intervals over units (split x seed), from three units on; the few images are among the more of each
seed.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from transferability.plots import command, style
from transferability.plots.readout_by_layer import MEASURES, measure_of, readouts
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lines_of_cells, of_split
from transferability.results.statistics import mean_of

NAME = "few_pictures"


def of_few(rows: pd.DataFrame) -> pd.DataFrame:
    """Readouts of published or trained layers that are fitted to several numbers of images per class: with `images`,
    and `line`, what is read, which has no variant."""
    rows = readouts(rows)
    rows = rows[(rows["images_per_class"] != "") & (rows["n"] > 0)]
    rows = rows.assign(images=rows["images_per_class"].astype(int), line=rows["source"] + rows["n"].astype(str))
    several = rows.groupby(["group", "variant", "line"])["images"].transform("nunique") > 1
    return rows[several]


def panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look], variant: str) -> None:
    """Markers, intervals and lines over images per class."""
    for line, look in looks.items():
        own = rows[rows["line"] == line]
        x = sorted(own["images"].unique())
        means = [mean_of(own[own["images"] == images], "accuracy") for images in x]
        y = [mean.value for mean in means]
        style.curve(axes, x, y, color=look.line, lw=0.9)
        style.markers(axes, x, y, look, size=4.0, gid=f"{variant} {line}")
        axes.vlines(x, [mean.low for mean in means], [mean.high for mean in means], color=look.line, lw=0.9)
    axes.set_xscale("log")
    ticks = sorted(rows["images"].unique())
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("Training images per class")
    axes.set_title(variant, loc="left", fontsize=8)


def lines_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """The table in %, with the half-width of the interval."""
    cells: list[tuple[str, ...]] = [("readout", "layer", "images per class", "%", "networks", "units")]
    for (variant, _, line, images), own in rows.groupby(["variant", "n", "line", "images"]):
        mean = mean_of(own, "accuracy")
        half = "" if mean.high != mean.high else f" ± {100 * (mean.high - mean.value):.1f}"
        cells.append(
            (f"{line}@{variant}", own["layer"].iloc[0], str(images), f"{100 * mean.value:.1f}{half}",
             str(mean.networks), str(mean.units))
        )  # fmt: skip
    return lines_of_cells(cells)


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits that has such readouts, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, members in of_few(of_split(table.rows, split)).groupby("group"):
        measure = measure_of(members)
        shown = members.assign(accuracy=members[measure])
        order = shown.drop_duplicates("line").sort_values(["source", "n"])
        looks = style.looks_of(list(order["line"]))
        variants = sorted(shown["variant"].unique())
        columns = page.columns(min(3, len(variants)))
        figure = style.new_figure(page, 2.8 * -(-len(variants) // columns) + 0.6, style.WIDE)
        axes = figure.subplot_mosaic(style.in_rows(variants, columns))  # type: ignore[arg-type]
        for variant in variants:
            panel(axes[variant], shown[shown["variant"] == variant], looks, variant)
        axes[variants[0]].set_ylabel(MEASURES.get(measure, measure))
        named = dict(zip(order["line"], order["layer"], strict=True))
        entries = [style.handle(look, f"{line}: {named[line]}", line=True) for line, look in looks.items()]
        style.legend(figure, figure.get_figwidth(), entries, str(group))
        style.caption(figure, page, members["study"], [style.INTERVALS_NOTE])
        drawings.append(Drawn(NAME, figure, str(group), lines_of(shown)))
    return drawings or [NotDrawn(NAME, "the table has no readout on several numbers of images (A3B@1@svm, A3B@5@svm)")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
