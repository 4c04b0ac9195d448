"""Is layer n of a base without labels as good as that of a base with labels? AnB over n, by the source of the layers.

    python plots/pretext.py RESULTS.CSV [--split SPLIT] [--out figures]

A line for each source of the n copied and frozen layers: the labelled base, each base that was trained without labels
(`pretext.py`), random weights (RnB). Horizontal: the target's own base, trained on its labels. What is printed has also
the paired differences from the labelled source at the same n, of the same split, seed and target. ± and bars: 95 % t
intervals over units, from three on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import (
    Drawn,
    NotDrawn,
    Table,
    groups,
    lines_of_cells,
    means,
    with_half_width,
)
from transferability.results.statistics import mean_of

LABELLED, RANDOM = "labels", "random weights"


def sources_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The frozen networks, with columns `from` and `behind`; none if no base was trained without labels.

    from: labels, random weights, or the variant of the base without labels. behind: accuracy minus that of the network
    with the labelled source, of the same split, seed, target and n; NaN without it.
    """
    words = list(dict.fromkeys(rows[rows["surrogate"] != ""]["variant"]))
    frozen = rows[(rows["plus"] == "") & (rows["preserved"] == 0) & (rows["images_per_class"] == "") & (rows["n"] > 0)]
    origin = frozen["variant"].where(frozen["kind"] == "transfer")
    origin = origin.where(origin.isin(words)).mask(frozen["treatment"] == "AnB", LABELLED)
    frozen = frozen.assign(**{"from": origin.mask(frozen["treatment"] == "RnB", RANDOM)})
    frozen = frozen[frozen["from"].notna()] if words else frozen[:0]
    key = ["split", "seed", "target", "n"]
    labelled = frozen[frozen["from"] == LABELLED].set_index(key)["accuracy"].rename("labelled")
    return frozen.assign(behind=frozen["accuracy"] - frozen[key].join(labelled, on=key)["labelled"])


def in_order(chosen: pd.DataFrame) -> list[str]:
    """The sources that there are: labels, the surrogates in the order of the table, random weights."""
    words = [word for word in dict.fromkeys(chosen["from"]) if word not in (LABELLED, RANDOM)]
    return [word for word in (LABELLED, *words, RANDOM) if word in set(chosen["from"])]


def looks_of(sources: Sequence[str]) -> dict[str, style.Look]:
    """Labels and random weights look as AnB and RnB do everywhere; the others have shapes of their own."""
    known = {LABELLED: "AnB", RANDOM: "RnB"}
    looks = zip(sources, style.looks_of([known.get(source, source) for source in sources]).values(), strict=True)
    shapes = itertools.cycle("s^PX")
    return {
        source: look if source in known else replace(look, marker=shape)
        for (source, look), shape in zip(looks, shapes, strict=False)
    }


def panel(rows: pd.DataFrame, chosen: pd.DataFrame, page: Page) -> Figure:
    figure = style.new_figure(page, 3.4)
    axes, looks = figure.subplots(), looks_of(in_order(chosen))
    for source, look in looks.items():
        by_n = means(chosen[chosen["from"] == source])
        x = by_n["n"] + look.offset
        style.curve(axes, x, by_n["value"], color=look.line, lw=1.1)
        style.markers(axes, x, by_n["value"], look, gid=source)
        style.bars(axes, by_n, look, shift=look.offset)
    base = mean_of(rows[(rows["treatment"] == "base") & rows["target"].isin(chosen["target"])], "accuracy").value
    axes.axhline(base, color="black", ls="--", lw=0.8, zorder=1, gid="base")
    ns = sorted(int(n) for n in chosen["n"].unique())
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    style.layer_ticks(axes, chosen, ns)
    style.layer_axis(axes, "Layer $n$, up to which layers are copied and frozen")
    axes.set_ylabel("Top-1 accuracy on the target")
    style.accuracy_axis(axes)
    entries = [style.handle(look, f"layers from: {source}", line=True) for source, look in looks.items()]
    entries.append((Line2D([], [], color="black", ls="--", lw=0.8), "the target's base"))
    style.legend(figure, figure.get_figwidth(), entries)
    return figure


def lines_of(rows: pd.DataFrame, chosen: pd.DataFrame) -> tuple[str, ...]:
    """The table, as lines of text: accuracies in per cent, differences in points."""
    cells = [("layers from", "n", "top-1 %", "minus labels, points", "units")]
    for source in in_order(chosen):
        of_source = chosen[chosen["from"] == source]
        for n in sorted(of_source["n"].unique()):
            here = of_source[of_source["n"] == n]
            accuracy, behind = mean_of(here, "accuracy"), mean_of(here, "behind")
            difference = "" if source == LABELLED else with_half_width(behind)
            cells.append((source, str(n), with_half_width(accuracy).lstrip("+"), difference, str(accuracy.units)))
    made = rows[rows["surrogate"] != ""]
    lines = []
    for word in dict.fromkeys(made["variant"]):
        mean = mean_of(made[made["variant"] == word], "accuracy")
        value = with_half_width(mean).lstrip("+")
        lines.append(f"base@{word}: {value} % right on its own objective, {mean.units} units")
    return (*lines_of_cells(cells), *lines)


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits with bases without labels, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, rows in groups(table.rows, split).items():
        chosen = sources_of(rows)
        if chosen.empty:
            continue
        figure = panel(rows, chosen, page)
        style.caption(figure, page, chosen["study"], [style.INTERVALS_NOTE])
        drawings.append(Drawn("pretext", figure, group, lines_of(rows, chosen)))
    return drawings or [NotDrawn("pretext", "the table has no base without labels that others copy from")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
