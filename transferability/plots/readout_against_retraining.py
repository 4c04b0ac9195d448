"""How much of the loss at layer n is the features', how much the optimiser's? A readout against training the rest anew.

    python plots/readout_against_retraining.py RESULTS.CSV [--split SPLIT] [--readout softmax] [--out figures]

Above: the accuracy of A_nB@softmax, a linear classifier on layer n, and of A_nB, whose layers above n were drawn afresh
and trained, and the base. Below: A_nB@softmax - A_nB, paired within split, target, seed, n and images per class. Above
0, the features carry more than training the rest brings out. Two things differ besides: a readout is linear, where A_nB
has more layers to train; and the readout's network is in evaluation mode, while in frozen layers of A_nB dropout is
active. The latter has a part only where a layer up to n has dropout, and A_nB@resting, whose recipe says
frozen_dropout="resting", tells it: A_nB@resting - A_nB, dotted. Bars are 95 % t intervals over units.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lines_of_cells, means, of_split, with_half_width
from transferability.results.statistics import MARGIN, mean_of, verdict
from transferability.splits import group_title

NAME = "readout_against_retraining"
RESTING = "resting"  # variant of the networks whose frozen dropout rests
KEY = ["split", "source", "target", "seed", "n", "images_per_class"]


def paired(rows: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Frozen networks without a variant that have a readout of their layer n: with its accuracy as `read`, and
    `beyond`, the readout minus the network; and `dropout`, the network whose frozen dropout rests minus the network."""
    frozen = rows[(rows["n"] > 0) & (rows["plus"] == "") & (rows["preserved"] == 0)]
    trained, others = frozen[frozen["numbers"].isna()], frozen[frozen["numbers"].notna()]

    def accuracies(rows: pd.DataFrame, of: str, name: str) -> "pd.Series[float]":
        values = rows[rows["variant"] == of].set_index(KEY)["accuracy"].rename(name)
        return values[~values.index.duplicated()]

    joined = trained[trained["variant"] == ""].join(accuracies(others, variant, "read"), on=KEY)
    joined = joined.join(accuracies(trained, RESTING, "rested"), on=KEY)
    joined = joined[joined["read"].notna()]
    return joined.assign(beyond=joined["read"] - joined["accuracy"], dropout=joined["rested"] - joined["accuracy"])


def panels(rows: pd.DataFrame, base: pd.DataFrame, variant: str, page: Page) -> Figure:
    """Accuracies above, differences below."""
    treatments = list(dict.fromkeys(rows["treatment"]))
    looks = style.looks_of(treatments)
    figure = style.new_figure(page, 5.0, style.WIDE)
    upper, lower = figure.subplots(2, 1)
    entries = []
    for treatment, look in looks.items():
        own = rows[rows["treatment"] == treatment]
        hollow = replace(look, face="white")
        for axes, column, dashes, face, name in (
            (upper, "accuracy", "-", look, treatment),
            (upper, "read", "--", hollow, f"{treatment}@{variant}"),
            (lower, "beyond", "-", look, ""),
            (lower, "dropout", ":", hollow, f"below, dotted: {treatment}@{RESTING} minus {treatment}"),
        ):
            by_n = means(own, column)
            x = by_n["n"] + look.offset
            style.curve(axes, x, by_n["value"], color=look.line, lw=0.9, ls=dashes)
            style.markers(axes, x, by_n["value"], face, gid=f"{column} {treatment}")
            style.bars(axes, by_n, look, shift=look.offset)
            if name and len(by_n):
                entries.append(style.handle(face, name, line=True, dashes=dashes))
    if len(base):
        upper.axhline(mean_of(base, "accuracy").value, color="#888888", ls=":", lw=0.9, zorder=1)
    lower.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    lower.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    for axes in (upper, lower):
        ns = sorted(rows["n"].unique())
        axes.set_xlim(min(ns) - 0.5, max(ns) + 0.5)
        style.layer_ticks(axes, rows, ns)
        style.layer_axis(axes)
    style.accuracy_axis(upper)
    upper.set_ylabel("Top-1 accuracy")
    lower.set_title(f"{variant} on layer $n$ minus the rest trained anew", loc="left", fontsize=8)
    style.points_axis(lower)
    style.legend(figure, figure.get_figwidth(), entries)
    return figure


def lines_of(rows: pd.DataFrame, variant: str, group: str) -> tuple[str, ...]:
    """The differences in points, with the half-width of their interval, and what they show."""
    cells = [("treatment", "n", f"@{variant} minus it", "", f"@{RESTING} minus it", "units")]
    for treatment in dict.fromkeys(rows["treatment"]):
        for n in sorted(rows["n"].unique()):
            members = rows[(rows["treatment"] == treatment) & (rows["n"] == n)]
            if len(members):
                mean = mean_of(members, "beyond")
                has_part = members["dropout"].notna().any()
                part = with_half_width(mean_of(members, "dropout")) if has_part else ""
                cells.append((treatment, str(n), with_half_width(mean), verdict(mean), part, str(mean.units)))
    return (f"{group_title(group)}: differences in points", *lines_of_cells(cells))


def draw(table: Table, page: Page = PLAIN, split: str = "", readout: str = "softmax") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits that has both, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, members in of_split(table.rows, split).groupby("group"):
        both = paired(members, readout)
        if both.empty:
            continue
        base = members[(members["kind"] == "base") & (members["variant"] == "")]
        figure = panels(both, base[base["target"].isin(both["target"])], readout, page)
        style.caption(figure, page, members["study"], [style.INTERVALS_NOTE, "Dotted: the base."])
        drawings.append(Drawn(NAME, figure, str(group), lines_of(both, readout, str(group))))
    return drawings or [
        NotDrawn(NAME, f"the table has no frozen network with a readout of its layer (A3B, A3B@{readout})")
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.add_split(command.table_parser(__doc__))
    parser.add_argument("--readout", default="softmax", help="the variant that is compared (softmax)")
    command.table_figure(draw, parser, arguments)
