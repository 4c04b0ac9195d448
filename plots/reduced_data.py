"""Supplement: top-1 accuracy over images per class, linear and log-log.

    python plots/reduced_data.py [RESULTS.CSV] [--paper] [--out figures]

The networks are bases trained on the first so many images of each class. In the paper's logs those with 5 to 100
images per class never left a loss of 6.9, the logarithm of 1,000: they failed to train, which is not overfitting.
"""

from collections.abc import Sequence

import pandas as pd
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.results.statistics import mean_of

COLOURS = {"whole": "#000000", "random": "#00008b", "manmade-natural": "#c25e00"}
SHAPES = {"whole": "o", "random": "s", "manmade-natural": "h"}
NAMES = {"whole": "all classes", "random": "random splits", "manmade-natural": "man-made/natural"}


def reduced(rows: pd.DataFrame) -> pd.DataFrame:
    """The bases on a part of the images, with the number of them per class as `images`."""
    some = rows[(rows.kind == "base") & (rows.images_per_class != "") & (rows.variant == "")].copy()
    some["images"] = some.images_per_class.astype(int)
    return some


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy for each number of images: columns images, value, low, high, networks, units."""
    found = [(images, mean_of(some, "accuracy")) for images, some in networks.groupby("images")]
    return pd.DataFrame(
        [(images, m.value, m.low, m.high, m.networks, m.units) for images, m in found],
        columns=["images", "value", "low", "high", "networks", "units"],
    )


def draw_panel(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    for group, networks in reduced(rows).groupby("group"):
        line, colour, own = means(networks), COLOURS[str(group)], owner == "own"
        axes.plot(
            line.images, line.value, color=colour, ls="-" if own else ":", lw=1.3, zorder=2, gid=f"{owner} {group}"
        )
        axes.plot(
            networks.images,
            networks.accuracy,
            ls="none",
            marker=SHAPES[str(group)],
            color=colour,
            markerfacecolor="white",
            markersize=5,
            alpha=1.0 if own else 0.4,
            label=NAMES[str(group)] if own else f"{NAMES[str(group)]} (paper)",
        )
        axes.vlines(line.images, line.low, line.high, color=colour, lw=0.9)


def counted(rows: pd.DataFrame) -> str:
    """How many networks each mean is of, in words."""
    parts = []
    for group, networks in reduced(rows).groupby("group"):
        line = means(networks)
        each = sorted(set(zip(line.networks, line.units, strict=True)))
        if len(each) == 1:
            parts.append(f"{NAMES[str(group)]}: {each[0][0]} ({each[0][1]}) at each number of images")
        else:
            parts.append(
                f"{NAMES[str(group)]}: "
                + ", ".join(f"{r.networks} ({r.units}) at {r.images}" for r in line.itertuples())
            )
    return "; ".join(parts) + ". " + style.COUNTS[0].upper() + style.COUNTS[1:] + "."


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None) -> Figure:
    """Both panels for `rows` (from `results.networks`); the networks of `beside` are faint and dotted."""
    figure = style.new_figure(2.75)
    linear, log = figure.subplots(1, 2)
    for axes in (linear, log):
        for table, owner in ((beside, "paper"), (rows, "own")):
            if table is not None:
                draw_panel(axes, table, owner)
        axes.set_xlabel("Training images per class")
    linear.set_ylabel("Top-1 accuracy")
    linear.set_ylim(bottom=-0.02)
    linear.set_title("linear")
    log.set_title("log-log")
    log.set_xscale("log")
    log.set_yscale("log")
    if len(linear.get_legend_handles_labels()[0]) > 1:
        figure.legend(*linear.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__).parse_args(arguments)
    rows, beside = style.tables(options)
    if reduced(rows).empty:
        raise style.Refused("the table has no base on a part of the images (baseW@250)")
    style.publish(
        draw(rows, beside), options, "reduced_data", rows, notes=[counted(rows), "" if beside is None else style.BESIDE]
    )


if __name__ == "__main__":
    style.run(main)
