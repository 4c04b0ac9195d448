"""Table 1: by how much transfer and fine-tuning beats the base and fine-tuned selffers, pooled and paired.

    python plots/table1.py [RESULTS.CSV] [--paper] [--out figures]

*Pooled*, as in the paper: the mean of AnB+ minus the mean of the bases (or of BnB+), over whatever networks there
are. Where the treatments were not trained on the same targets, this mixes transfer with how hard the halves are.
*Paired*: each network minus the base of its own split, target and seed; AnB+ minus BnB+ at the same n and target.
"""

import math
from collections.abc import Sequence

import pandas as pd
import style
from matplotlib.figure import Figure

from transferability.results.statistics import Boost, Mean, boosts

NOTE = (
    "Top-1 accuracy gained, in percentage points, on random splits; below it the networks (units) that it is of. "
    'Brackets: 95 % t interval over units, from three units on. "No pair": no target has both treatments.'
)
CENTRES = (0.3, 1.12, 2.22, 3.4, 4.5, 5.55)  # of the columns
HEADERS = (
    ("layers", ""),
    ("AnB+ − base", "pooled, unpaired"),
    ("AnB+ − BnB+", "pooled, unpaired"),
    ("AnB+ − base", "paired"),
    ("BnB+ − base", "paired"),
    ("AnB+ − BnB+", "paired"),
)


def cell(mean: Mean) -> str:
    """A mean in percentage points, its interval if it has one, and its networks (units)."""
    if math.isnan(mean.value):
        return "no pair"
    interval = "" if math.isnan(mean.low) else f"\n[{100 * mean.low:+.1f}, {100 * mean.high:+.1f}]"
    points = round(100 * mean.value, 1) + 0.0  # no minus sign before a zero
    return f"{points:.1f}{interval}\nof {mean.networks} ({mean.units})".replace("-", "−")


def lines(rows: pd.DataFrame) -> list[list[str]]:
    """The table as text: one line for each range of n that the depth of the networks allows."""
    trained = rows[(rows.group == "random") & (rows.treatment == "AnB+")]
    if trained.empty:
        raise style.Refused("the table has no AnB+ network on a random split")
    depth = int(rows[(rows.group == "random") & (rows.plus == "")].n.max())
    ranges = [(first, depth) for first in (1, 3, 5) if first < depth]

    def line(boost: Boost) -> list[str]:
        pooled = boost.transfer_over_base_pooled, boost.transfer_over_selffer_pooled
        paired = boost.transfer_over_base, boost.selffer_over_base, boost.transfer_over_selffer
        return [boost.layers.replace("-", "–"), *(cell(mean) for mean in (*pooled, *paired))]

    return [line(boost) for boost in boosts(rows, ranges)]


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None) -> Figure:
    """The table as a figure; `beside` (the paper's networks) stands in a block of its own below."""
    blocks = [("" if beside is None else "own networks", lines(rows))]
    if beside is not None:
        blocks.append(("networks of the paper", lines(beside)))
    count = sum(len(block) + bool(title) * 0.5 for title, block in blocks)
    figure = style.new_figure(0.62 + 0.46 * count)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 6)
    axes.set_ylim(-count, 1.35)
    axes.plot([2.81] * 2, [-count + 0.1, 1.3], color=style.GREY, lw=0.5)
    for x, (above, below) in zip(CENTRES, HEADERS, strict=True):
        axes.text(x, 1.2, above, ha="center", va="top", fontweight="bold", fontsize=7.5)
        axes.text(x, 0.72, below, ha="center", va="top", fontsize=style.SMALL, color=style.GREY)
    y = 0.2
    axes.plot([0, 6], [y, y], color="black", lw=0.8)
    for title, block in blocks:
        if title:
            axes.text(0.05, y - 0.25, title, ha="left", va="center", fontsize=7, style="italic")
            y -= 0.5
        for texts in block:
            for x, text in zip(CENTRES, texts, strict=True):
                axes.text(x, y - 0.5, text, ha="center", va="center", fontsize=7, linespacing=1.1)
            y -= 1
        axes.plot([0, 6], [y, y], color="black", lw=0.5)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__).parse_args(arguments)
    rows, beside = style.tables(options)
    figure = draw(rows, beside)
    for texts in lines(rows):
        headed = zip(HEADERS[1:], texts[1:], strict=True)
        cells = (f"{difference} {how}: {text.replace(chr(10), ' ')}" for (difference, how), text in headed)
        print(f"n = {texts[0]}  " + "  ".join(cells))
    random = rows[rows.group == "random"]
    notes = [NOTE, "" if beside is None else style.BESIDE.split(". ")[1]]
    style.publish(figure, options, "table1", rows, style.missing(random, ("base", "BnB+", "AnB+")), notes)


if __name__ == "__main__":
    style.run(main)
