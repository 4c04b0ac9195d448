"""Supplement: top-1 accuracy over images per class, linear and log-log.

    python plots/reduced_data.py [RESULTS.CSV] [--paper] [--out figures]

The networks are bases trained on the first so many images of each class. In the paper's logs those with 5 to 100
images per class never left a loss of 6.9, the logarithm of 1,000: they failed to train, which is not overfitting.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table
from transferability.results.statistics import mean_of
from transferability.splits import sorted_groups

LOOKS = {"whole": ("#000000", "o"), "random": ("#00008b", "s"), "manmade-natural": ("#c25e00", "h")}


def reduced(rows: pd.DataFrame) -> pd.DataFrame:
    """The bases on a part of the images, with the number of images per class as `images`."""
    bases = rows[(rows["kind"] == "base") & (rows["images_per_class"] != "") & (rows["variant"] == "")].copy()
    bases["images"] = bases["images_per_class"].astype(int)
    return bases


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy for each number of images: columns images, value, low, high, networks, units."""
    by_images = [(images, mean_of(chosen, "accuracy")) for images, chosen in networks.groupby("images")]
    return pd.DataFrame(
        [(images, mean.value, mean.low, mean.high, mean.networks, mean.units) for images, mean in by_images],
        columns=["images", "value", "low", "high", "networks", "units"],
    )


def draw_panel(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """A line and markers for each group of splits; the paper's are faint and dotted."""
    own = owner == "own"
    networks = reduced(rows)
    for group in sorted_groups(networks["group"]):
        chosen = networks[networks["group"] == group]
        look = style.group_look(group)
        colour, marker = LOOKS.get(group, (look.line, look.marker))
        line = means(chosen)
        dashes = {"ls": "-" if own else ":", "lw": 1.3, "zorder": 2, "gid": f"{owner} {group}"}
        style.curve(axes, line["images"], line["value"], color=colour, **dashes)
        axes.plot(
            chosen["images"],
            chosen["accuracy"],
            ls="none",
            marker=marker,
            color=colour,
            markerfacecolor="white",
            markersize=5,
            alpha=1.0 if own else 0.4,
            label=style.group_name(group) + ("" if own else " (paper)"),
        )
        axes.vlines(line["images"], line["low"], line["high"], color=colour, lw=0.9)


def networks_of(rows: pd.DataFrame) -> str:
    """How many networks and units each mean is of, in words."""
    parts = []
    networks = reduced(rows)
    for group in sorted_groups(networks["group"]):
        line = means(networks[networks["group"] == group])
        counts = [f"{count} ({units})" for count, units in zip(line["networks"], line["units"], strict=True)]
        if len(set(counts)) == 1:
            parts.append(f"{style.group_name(group)}: {counts[0]} at each number of images")
        else:
            at = ", ".join(f"{count} at {images}" for count, images in zip(counts, line["images"], strict=True))
            parts.append(f"{style.group_name(group)}: {at}")
    return "Networks (units) of each mean, " + "; ".join(parts) + f". {style.INTERVALS.capitalize()}."


def panels(rows: pd.DataFrame, published: pd.DataFrame | None, page: Page) -> Figure:
    """Both panels for the bases of `rows`; those of `published` are faint and dotted."""
    columns = page.columns(2, style.WIDTH)
    figure = style.new_figure(page, 2.75 if columns == 2 else 5.2)
    linear, logarithmic = figure.subplots(2 // columns, columns, squeeze=False).ravel()
    for axes in (linear, logarithmic):
        for table, owner in ((published, "paper"), (rows, "own")):
            if table is not None:
                draw_panel(axes, table, owner)
        axes.set_xlabel("Training images per class")
        axes.set_ylabel("Top-1 accuracy")
    linear.set_ylim(bottom=-0.02)
    style.accuracy_axis(linear)
    linear.set_title("linear")
    logarithmic.set_title("log-log")
    logarithmic.set_xscale("log")
    logarithmic.set_yscale("log")
    logarithmic.set_ylim(top=min(1.0, logarithmic.get_ylim()[1]))
    handles, labels = linear.get_legend_handles_labels()
    if len(labels) > 1:
        style.legend(figure, figure.get_figwidth(), list(zip(handles, labels, strict=True)))
    return figure


def draw(table: Table, page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """Accuracy over images per class, of the table's bases."""
    if reduced(table.rows).empty:
        return [NotDrawn("reduced_data", "the table has no base on a part of the images (baseW@250)")]
    figure = panels(table.rows, table.published, page)
    style.caption(figure, page, table.rows["study"], [networks_of(table.rows) if page.counts else "", table.note])
    return [Drawn("reduced_data", figure)]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.table_parser(__doc__), arguments)
