"""Where the loss goes: validation and training loss over training, by treatment.

    python plots/training_curves.py runs/demo/curves.csv [--split random|manmade-natural|SPLIT] [--out figures]

One column for each treatment, one line for each n: the mean over the networks of the split (or of all random
splits), the base dashed. The paper's optimisation argument predicts that the training loss ends higher where
co-adaptation is lost (BnB at n = 4, 5). The bottom row tests it: the final training loss minus that of the base of
the same split, target and seed, from the results.csv beside curves.csv (or --results).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferability.results import statistics as results
from transferability.treatment import parse

COLUMNS = ["study", "split", "network", "seed", "step", "val_loss", "train_loss"]
TREATMENTS = ("BnB", "BnB+", "AnB", "AnB+")
LOSSES = (("val_loss", "Validation loss"), ("train_loss", "Training loss"))
LETTERS = {"base": "base", "selffer": "BnB", "transfer": "AnB", "random": "RnB"}


def read_curves(path: Path) -> pd.DataFrame:
    """A curves.csv with the columns treatment (in the paper's letters), n and group added.

    Networks on a part of the images, variants, preserved layers and other rates are left out.
    """
    try:
        curves = pd.read_csv(path)
    except FileNotFoundError:
        raise style.Refused(f"{path} does not exist; `transferability results EXPERIMENT` writes it") from None
    except (OSError, ValueError) as error:
        raise style.Refused(f"{path} is no table of curves ({error})") from None
    if lacking := [column for column in COLUMNS if column not in curves]:
        raise style.Refused(f"{path} is no table of curves: it lacks the column {', '.join(lacking)}")
    curves = curves[~curves.network.str.contains("@")].copy()
    plans = {name: parse(name) for name in curves.network.unique()}
    usual = {name for name, plan in plans.items() if not plan.preserved and plan.rate in (0, 1)}
    curves = curves[curves.network.isin(usual)]
    curves["n"] = [plans[name].n for name in curves.network]
    curves["treatment"] = [LETTERS[plans[name].kind] + "+" * bool(plans[name].rate) for name in curves.network]
    curves["kind"] = [plans[name].kind for name in curves.network]
    curves["group"] = curves.split.where(~curves.split.str.startswith("random-"), "random")
    return curves


def draw(curves: pd.DataFrame, rows: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Mean curves of one group; with `rows` (from `results.networks`) the final training loss over n as well."""
    shown = [treatment for treatment in TREATMENTS if (curves.treatment == treatment).any()]
    ns = sorted(set(curves[curves.treatment.isin(shown)].n))
    colours = {n: matplotlib.colormaps["viridis"](0.95 * i / max(len(ns) - 1, 1)) for i, n in enumerate(ns)}
    figure = style.new_figure(3.9 if rows is None else 6.0, width=6.5)
    mosaic = [[f"{loss} {treatment}" for treatment in shown] for loss, _ in LOSSES]
    panels = figure.subplot_mosaic(mosaic + ([] if rows is None else [["final"] * len(shown)]))
    for loss, label in LOSSES:
        first = panels[f"{loss} {shown[0]}"]
        first.set_ylabel(label)
        for treatment in shown:
            axes = panels[f"{loss} {treatment}"]
            for n, some in curves[curves.treatment == treatment].groupby("n"):
                mean = some.groupby("step")[loss].mean()
                axes.plot(mean.index, mean, color=colours[n], lw=1.1, gid=f"{treatment} {n} {loss}")
            base = curves[curves.treatment == "base"].groupby("step")[loss].mean()
            axes.plot(base.index, base, color="black", lw=1.1, ls="--", zorder=4)
            axes.set_xlabel("Step" if loss == "train_loss" else "")
            axes.locator_params(axis="x", nbins=3)
            if axes is not first:
                axes.sharey(first)
                axes.tick_params(labelleft=False)
            if loss == "val_loss":
                count = len(curves[curves.treatment == treatment].drop_duplicates(["split", "network", "seed"]))
                axes.set_title(f"{style.LOOKS[treatment].label}\n{count} networks", fontsize=8)
    handles = [Line2D([], [], color="black", ls="--")] + [Line2D([], [], color=colours[n], lw=1.6) for n in ns]
    labels = ["base", *(f"n = {n}" for n in ns)]
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        handlelength=1.2,
        columnspacing=1.0,
        title=title or None,
    )
    if rows is not None:
        axes = panels["final"]
        counted = []
        for treatment in shown:
            means = style.means(rows, "train_loss_difference", treatment)
            look = style.LOOKS[treatment]
            axes.plot(means.n + look.offset, means.value, color=look.line, lw=1.2)
            style.markers(axes, means.n + look.offset, means.value, look, gid=f"final {treatment}")
            style.bars(axes, means, look, shift=look.offset)
            counted.append((treatment, means))
        axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
        axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
        axes.set_xticks(ns)
        axes.set_xlabel("Layer $n$ at which network is chopped and retrained")
        axes.set_ylabel("Final training loss\nminus that of the base")
        style.counts(axes, counted, note_below=True)
    return figure


def read_rows(options: argparse.Namespace) -> pd.DataFrame | None:
    """The networks of the results table beside the curves; without one, None, and a line that says so."""
    path = options.results or options.table.with_name("results.csv")
    if not path.exists() and options.results is None:
        print(f"no {path}: the final training loss by n is left out")
        return None
    return results.networks(results.read_results(path))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = style.command_line(__doc__, table="curves.csv", paper=False)
    parser.add_argument("--results", type=Path, help="the results.csv of the study (the one beside curves.csv)")
    parser.add_argument("--split", default="", help="random (all random splits pooled) or the name of one split")
    options = parser.parse_args(arguments)
    curves = read_curves(options.table)
    rows = read_rows(options)
    for split, some in style.groups(curves, options.split).items():
        name = "training_curves" if split == "random" else f"training_curves-{split}"
        wanted = set(zip(some.split, some.network, some.seed, strict=True))
        own = None
        if rows is not None:
            own = rows[[key in wanted for key in zip(rows.split, rows.network, rows.seed, strict=True)]]
        style.publish(draw(some, own, style.TITLES.get(split, split)), options, name, some)


if __name__ == "__main__":
    style.run(main)
