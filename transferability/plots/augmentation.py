"""What do more views of each image bring? Readouts with other views in training and validation, one beside the other.

    python plots/augmentation.py RESULTS.CSV [--split SPLIT] [--out figures]

As Chatfield et al. 2014, table 1. Readouts are found by their variant, TRAINING-VALIDATION-POOLING, as in
A8B@ten-centre-sum: which views there are in training (rows of their own), which in validation, and how these become one
vector (`Readout.train_views`, `test_views`, `pooled`). On the right the difference to centre-centre-sum, paired within
split, target, seed, n and images per class. Bars are 95 % t intervals over units (split x seed), from three units on.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.readout_by_layer import MEASURES, measure_of, readouts
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lines_of_cells, of_split, with_half_width
from transferability.readout import VIEWS
from transferability.results.statistics import MARGIN, mean_of, verdict

NAME = "augmentation"
PLAIN_WAY = "centre-centre-sum"
KEY = ["split", "source", "target", "seed", "n", "images_per_class"]


def is_way(variant: str) -> bool:
    """Whether a variant says which views there are."""
    parts = variant.split("-")
    return len(parts) == 3 and parts[0] in VIEWS and parts[1] in VIEWS and parts[2] in ("sum", "max")


def in_words(way: str) -> str:
    training, judged, pooled = way.split("-")
    return f"{training} / {judged}" + ("" if judged == "centre" else f", {pooled}")


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Readouts that say their views: with `beyond`, their accuracy minus that of one view alone."""
    rows = readouts(rows)
    rows = rows[rows["variant"].map(is_way).astype(bool)]  # bool, too, where there is no row
    rows = rows.assign(accuracy=rows[measure_of(rows)]) if len(rows) else rows
    plain = rows[rows["variant"] == PLAIN_WAY].set_index(KEY)["accuracy"].rename("plain")
    joined = rows.join(plain, on=KEY, how="inner")
    return joined.assign(beyond=joined["accuracy"] - joined["plain"])


def panels(rows: pd.DataFrame, ways: Sequence[str], measure: str, page: Page) -> Figure:
    """Accuracies on the left, differences on the right, one row for each way and layer."""
    layers = rows.drop_duplicates("n").sort_values("n")
    looks = style.looks_of([f"n = {n} ({layer})" for n, layer in zip(layers["n"], layers["layer"], strict=True)])
    figure = style.new_figure(page, 0.26 * len(ways) + 1.3, style.WIDE)
    left, right = figure.subplots(1, 2, sharey=True)
    for n, look in zip(layers["n"], looks.values(), strict=True):
        for axes, column in ((left, "accuracy"), (right, "beyond")):
            for place, way in enumerate(ways):
                own = rows[(rows["variant"] == way) & (rows["n"] == n)]
                if own.empty or (column == "beyond" and way == PLAIN_WAY):
                    continue
                mean, y = mean_of(own, column), place + look.offset / 2
                style.markers(axes, [mean.value], [y], look, size=4.5, gid=f"{column} {way} {n}")
                axes.hlines(y, mean.low, mean.high, color=look.line, lw=0.9)
    left.set_yticks(range(len(ways)), [in_words(way) for way in ways])
    left.invert_yaxis()
    left.set_ylabel("Views in training / validation")
    left.set_xlabel(MEASURES.get(measure, measure))
    right.set_xlabel("Difference to the centre alone (points)")
    right.axvline(0, color="black", ls="--", lw=0.8, zorder=1)
    right.axvspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    style.in_points(right.xaxis)
    style.legend(figure, figure.get_figwidth(), [style.handle(look) for look in looks.values()])
    return figure


def lines_of(rows: pd.DataFrame, ways: Sequence[str]) -> tuple[str, ...]:
    """The table: accuracies in %, differences in points, and what they show."""
    cells: list[tuple[str, ...]] = [("views", "n", "%", "difference", "", "units")]
    for way in ways:
        for n, own in rows[rows["variant"] == way].groupby("n"):
            value, beyond = mean_of(own, "accuracy"), mean_of(own, "beyond")
            said = ("", "") if way == PLAIN_WAY else (with_half_width(beyond), verdict(beyond))
            cells.append((in_words(way), str(n), f"{100 * value.value:.1f}", *said, str(value.units)))
    return lines_of_cells(cells)


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The figure of each group of splits that has such readouts, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, members in of_split(table.rows, split).groupby("group"):
        both = compared(members)
        ways = list(dict.fromkeys(both["variant"]))
        if len(ways) < 2:
            continue
        ways.sort(key=lambda way: way != PLAIN_WAY)  # the one that all are compared with stands first
        figure = panels(both, ways, measure_of(both), page)
        style.caption(figure, page, members["study"], [style.INTERVALS_NOTE])
        drawings.append(Drawn(NAME, figure, str(group), lines_of(both, ways)))
    return drawings or [
        NotDrawn(NAME, f"the table has no readouts with other views (A8B@{PLAIN_WAY}, A8B@ten-ten-sum)")
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
