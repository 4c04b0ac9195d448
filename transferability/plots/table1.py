"""Table 1: by how much transfer and fine-tuning beats the base and fine-tuned selffers, pooled and paired.

    python plots/table1.py [RESULTS.CSV] [--paper] [--format png|pdf|svg|tex] [--out figures]

*Pooled*, as in the paper: the mean of AnB+ minus the mean of the bases (or of BnB+), over whatever networks there
are. Where the treatments were not trained on the same targets, this mixes transfer with how hard the halves are.
*Paired*: each network minus the base of its own split, target and seed; AnB+ minus BnB+ at the same n and target.
With `--format tex` the table is written as LaTeX (for the package booktabs).
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lacking, last_cut, missing
from transferability.results.statistics import Boost, Mean, boosts

GAINED = "Top-1 accuracy gained, in percentage points, on random splits"
COUNTED = "; below it the networks (units) of the mean"
NOTE = 'Brackets: 95 % t interval over units, from three units on. "No pair": no target has both treatments.'
CENTRES = (0.3, 1.12, 2.22, 3.4, 4.5, 5.55)  # of the columns
HEADERS = (
    ("layers", ""),
    ("AnB+ − base", "pooled, unpaired"),
    ("AnB+ − BnB+", "pooled, unpaired"),
    ("AnB+ − base", "paired"),
    ("BnB+ − base", "paired"),
    ("AnB+ − BnB+", "paired"),
)
Blocks = Mapping[str, Sequence[Boost]]  # whose networks ("" where there is one block only) → lines


def boosts_of(rows: pd.DataFrame) -> list[Boost]:
    """A line for each range of n that the depth of the networks allows; none without AnB+ on random splits."""
    random = rows[rows["group"] == "random"]
    if not (random["treatment"] == "AnB+").any():
        return []
    last = last_cut(random)
    return boosts(rows, [(first, last) for first in (1, 3, 5) if first < last] or [(1, last)])


def layers(boost: Boost, dash: str = "-") -> str:
    """The range of n of a line: 1-7, or 1."""
    return dash.join(dict.fromkeys(boost.layers.split("-")))


def means_of(boost: Boost) -> tuple[Mean, ...]:
    """The columns of a line, as in HEADERS."""
    return (
        boost.transfer_over_base_pooled,
        boost.transfer_over_selffer_pooled,
        boost.transfer_over_base,
        boost.selffer_over_base,
        boost.transfer_over_selffer,
    )


def cell(mean: Mean, counts: bool = True, minus: str = "−") -> list[str]:
    """The lines of a cell: a mean in percentage points, its interval if it has one, its networks (units)."""
    if math.isnan(mean.value):
        return ["no pair"]
    lines = [style.points(mean.value, False, minus)]
    if not math.isnan(mean.low):
        lines.append(f"[{style.points(mean.low, minus=minus)}, {style.points(mean.high, minus=minus)}]")
    return lines + ([f"of {mean.networks} ({mean.units})"] if counts else [])


def lines(shown: Sequence[Boost], counts: bool = True) -> list[list[str]]:
    """The cells of each line as text."""
    return [[layers(boost, "–"), *("\n".join(cell(mean, counts)) for mean in means_of(boost))] for boost in shown]


def printed(shown: Sequence[Boost]) -> list[str]:
    """The lines for a terminal, in ASCII: whatever its encoding, a minus has to stay one."""
    text = []
    for boost in shown:
        cells = []
        for (difference, how), mean in zip(HEADERS[1:], means_of(boost), strict=True):
            cells.append(f"{difference.replace('−', '-')} {how}: {' '.join(cell(mean, minus='-'))}")
        text.append(f"n = {layers(boost)}  " + "  ".join(cells))
    return text


def latex(blocks: Blocks, page: Page, caution: str = "") -> str:
    """The table as LaTeX, for the package booktabs; `caution` stands below it."""
    head = [difference.replace("+ ", "$^+$ ").replace("B+", "B$^+$").replace("−", "$-$") for difference, _ in HEADERS]
    text = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{l" + "c" * (len(HEADERS) - 1) + "}",
        "\\toprule",
        " & ".join(head) + " \\\\",
        " & ".join(how for _, how in HEADERS) + " \\\\",
    ]
    for title, shown in blocks.items():
        text.append("\\midrule")
        if title:
            text.append(f"\\multicolumn{{{len(HEADERS)}}}{{l}}{{\\emph{{{title}}}}} \\\\")
        for boost in shown:
            cells = [" ".join(cell(mean, page.counts, minus="$-$")) for mean in means_of(boost)]
            text.append(" & ".join([layers(boost, "--"), *cells]) + " \\\\")
    note = GAINED + (COUNTED.replace("below it", "after it") if page.counts else "") + f". {NOTE}"
    text += ["\\bottomrule", "\\end{tabular}", f"% {note.replace('%', 'per cent')}"]
    return "\n".join(text + [f"\\par{{\\footnotesize {line}}}" for line in (caution,) if line]) + "\n"


def panel(blocks: Blocks, page: Page) -> Figure:
    """The table as a figure, a block of lines below the other."""
    count = sum(len(shown) + bool(title) * 0.5 for title, shown in blocks.items())
    scale = min(1.0, (page.width or style.WIDTH) / style.WIDTH)  # the columns need the room that they have
    figure = style.new_figure(page, (0.62 + 0.46 * count) * scale)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 6)
    axes.set_ylim(-count, 1.35)
    axes.plot([2.81] * 2, [-count + 0.1, 1.3], color=style.GREY, lw=0.5)
    for x, (above, below) in zip(CENTRES, HEADERS, strict=True):
        axes.text(x, 1.2, above, ha="center", va="top", fontweight="bold", fontsize=7.5 * scale)
        axes.text(x, 0.72, below, ha="center", va="top", fontsize=style.SMALL * scale, color=style.GREY)
    y = 0.2
    axes.plot([0, 6], [y, y], color="black", lw=0.8)
    for title, shown in blocks.items():
        if title:
            axes.text(0.05, y - 0.25, title, ha="left", va="center", fontsize=7 * scale, style="italic")
            y -= 0.5
        for texts in lines(shown, page.counts):
            for x, text in zip(CENTRES, texts, strict=True):
                axes.text(x, y - 0.5, text, ha="center", va="center", fontsize=7 * scale, linespacing=1.1)
            y -= 1
        axes.plot([0, 6], [y, y], color="black", lw=0.5)
    return figure


def draw(table: Table, page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """Table 1 of the table's networks on random splits; the paper's stand in a block of their own below."""
    own = boosts_of(table.rows)
    if not own:
        return [NotDrawn("table1", "the table has no AnB+ network on a random split")]
    blocks = {"": own}
    if table.published is not None:
        blocks = {"own networks": own, "networks of the paper": boosts_of(table.published)}
    figure = panel(blocks, page)
    note = GAINED + (COUNTED if page.counts else "") + f". {NOTE}"
    accuracies = table.note.partition(". ")[2]  # without the words about dotted lines
    style.caption(figure, page, table.rows["study"], [note, accuracies])
    random = table.rows[table.rows["group"] == "random"]
    absent = lacking("table1", missing(random, ("base", "BnB+", "AnB+")))
    return [
        Drawn(
            "table1",
            figure,
            lines=(*printed(own), *absent),
            latex=latex(blocks, page, style.caution(table.rows["study"])),
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.table_parser(__doc__), arguments)
