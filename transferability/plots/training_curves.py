"""Where the loss goes: validation and training loss over training, by treatment.

    python plots/training_curves.py runs/demo/curves.csv [--split random|manmade-natural|SPLIT] [--out figures]

One column for each treatment, one line for each n: the mean over the networks of the split (or of all random
splits), the base dashed. The paper's optimisation argument predicts that the training loss ends higher where
co-adaptation is lost (BnB at n = 4, 5). The bottom row tests it: the final training loss minus that of the base of
the same split, target and seed, from the results.csv beside curves.csv (or --results).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.names import counted
from transferability.plots import command, style
from transferability.plots.style import LOOKS, PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, file_name, groups, means
from transferability.results import table
from transferability.results.statistics import networks
from transferability.splits import group_title, split_group
from transferability.treatment import in_letters, parse

TREATMENTS = ("BnB", "BnB+", "AnB", "AnB+")
LOSSES = {"val_loss": "Validation loss", "train_loss": "Training loss"}


def read_curves(path: Path) -> pd.DataFrame:
    """`table.read_curves`, with the columns treatment (in the paper's letters), kind, n and group added."""
    curves = table.read_curves(path)
    names = curves["network"]
    treatments = {name: parse(name.partition("@")[0]) for name in names.unique()}
    curves["n"] = [treatments[name].n for name in names]
    curves["kind"] = [treatments[name].kind for name in names]
    letters = {name: in_letters(name) for name in treatments}
    curves["treatment"] = [letters[name] for name in names]
    curves["group"] = [split_group(split) for split in curves["split"]]
    return curves


def networks_of(curves: pd.DataFrame) -> pd.DataFrame:
    """One row for each network of the curves."""
    return curves.drop_duplicates(["split", "network", "seed"])


# ------------------------------------------------------------------------------------------ panels


def draw_mean(axes: Axes, curves: pd.DataFrame, loss: str, **look: Any) -> None:
    """The mean curve of some networks: a line, or a dot where there is one validation."""
    mean = curves.groupby("step")[loss].mean()
    axes.plot(mean.index, mean, lw=1.1, marker="." if len(mean) == 1 else "", **look)


def draw_loss(axes: Axes, curves: pd.DataFrame, treatment: str, loss: str, colours: Mapping[int, Any]) -> None:
    """Mean curves of one treatment, a line for each n, and that of the bases, dashed."""
    networks = curves[curves["treatment"] == treatment]
    for n in sorted(set(networks["n"])):
        draw_mean(axes, networks[networks["n"] == n], loss, color=colours[n], gid=f"{treatment} {n} {loss}")
    draw_mean(axes, curves[curves["treatment"] == "base"], loss, color="black", ls="--", zorder=4)
    axes.set_xlabel("Step")
    axes.locator_params(axis="x", nbins=3)


def draw_final(axes: Axes, rows: pd.DataFrame, shown: Sequence[str], ns: Sequence[int], page: Page) -> None:
    """The bottom row: final training loss minus that of the base, over n."""
    labelled = []
    for treatment in shown:
        by_n, look = means(rows, "train_loss_difference", treatment), LOOKS[treatment]
        x = by_n["n"] + look.offset
        style.curve(axes, x, by_n["value"], color=look.line, lw=1.2)
        style.markers(axes, x, by_n["value"], look, gid=f"final {treatment}")
        style.bars(axes, by_n, look, shift=look.offset)
        labelled.append((treatment, by_n))
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
    style.layer_ticks(axes, rows, ns)
    style.layer_axis(axes)
    axes.set_ylabel("Final training loss\nminus that of the base")
    style.counts(axes, page, labelled)


def panels(curves: pd.DataFrame, rows: pd.DataFrame | None, title: str, page: Page) -> Figure:
    """Mean curves of one group; with `rows` (from `results.networks`) the final training loss over n as well."""
    shown = [treatment for treatment in TREATMENTS if (curves["treatment"] == treatment).any()]
    ns = sorted({int(n) for n in curves[curves["treatment"].isin(shown)]["n"]})
    colours = {n: matplotlib.colormaps["viridis"](0.95 * i / max(len(ns) - 1, 1)) for i, n in enumerate(ns)}
    columns = page.columns(len(shown))
    blocks = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    by_row = [[f"{loss} {treatment}" for treatment in block] for block in blocks for loss in LOSSES]
    mosaic = [row for panels in by_row for row in style.in_rows(panels, columns)]
    height = 1.95 * len(mosaic) + (0 if rows is None else 2.1)
    figure = style.new_figure(page, height, style.WIDE)
    axes_of = figure.subplot_mosaic(mosaic + ([] if rows is None else [["final"] * columns]))
    for loss, label in LOSSES.items():
        first = axes_of[f"{loss} {shown[0]}"]
        for treatment in shown:
            axes = axes_of[f"{loss} {treatment}"]
            draw_loss(axes, curves, treatment, loss, colours)
            begins_line = any(treatment == block[0] for block in blocks)
            if axes is not first:
                axes.sharey(first)
            axes.set_ylabel(label if begins_line else "")
            axes.tick_params(labelleft=begins_line)
        first.set_ylim(bottom=max(0.0, first.get_ylim()[0]))
    for treatment in shown:
        count = len(networks_of(curves[curves["treatment"] == treatment]))
        networks = f"\n{counted(count, 'network')}" if page.counts else ""
        axes_of[f"val_loss {treatment}"].set_title(LOOKS[treatment].label + networks, fontsize=8)
    entries: list[style.Entry] = [(Line2D([], [], color="black", ls="--"), "base")]
    style.legend(
        figure, figure.get_figwidth(), entries + [(Line2D([], [], color=colours[n]), f"n = {n}") for n in ns], title
    )
    if rows is not None:
        draw_final(axes_of["final"], rows, shown, ns, page)
    return figure


# ------------------------------------------------------------------------------------------ drawing


def not_shown(name: str, curves: pd.DataFrame) -> tuple[str, ...]:
    """The line that counts the networks of other treatments; none if there are none."""
    others = networks_of(curves[~curves["treatment"].isin(("base", *TREATMENTS))])["treatment"].value_counts(sort=False)
    counted = ", ".join(f"{treatment} ({count})" for treatment, count in others.items())
    return (f"{name}: in the table, but not in this figure: {counted}",) if counted else ()


def draw(
    curves: pd.DataFrame, rows: pd.DataFrame | None, page: Page = PLAIN, split: str = ""
) -> list[Drawn | NotDrawn]:
    """Losses over training for each group of splits, or for `split` alone.

    curves: from `read_curves`. rows: the same networks from `results.networks`; None leaves the bottom row out.
    """
    drawings: list[Drawn | NotDrawn] = []
    for group, chosen in groups(curves, split).items():
        if not chosen["treatment"].isin(TREATMENTS).any():
            drawings.append(NotDrawn("training_curves", f"{group} has none of {', '.join(TREATMENTS)}"))
            continue
        keys = set(zip(chosen["split"], chosen["network"], chosen["seed"], strict=True))
        own = None
        if rows is not None:
            own = rows[[key in keys for key in zip(rows["split"], rows["network"], rows["seed"], strict=True)]]
            own = own if own["train_loss_difference"].notna().any() else None
        figure = panels(chosen, own, group_title(group), page)
        notes = [] if own is None else [style.counted(page, "Below the bottom panel")]
        style.caption(figure, page, chosen["study"], notes)
        lines = not_shown(file_name("training_curves", group), chosen)
        drawings.append(Drawn("training_curves", figure, group, lines))
    return drawings or [NotDrawn("training_curves", "the table has no selffer and no transfer network")]


def read_rows(options: argparse.Namespace) -> pd.DataFrame | None:
    """The networks of the results table beside the curves; without one, None, and a line that says so."""
    path = options.results or options.table.with_name("results.csv")
    if not path.exists() and options.results is None:
        print(f"no {path}: the final training loss by n is left out")
        return None
    return networks(table.read_results(path))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.add_split(command.parser(__doc__))
    parser.add_argument("table", type=Path, metavar="CURVES.CSV", help="the curves.csv of a study")
    parser.add_argument("--results", type=Path, help="the results.csv of the study (the one beside curves.csv)")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        curves, rows = read_curves(options.table), read_rows(options)
        command.publish(draw(curves, rows, command.page_of(options), options.split), options)
