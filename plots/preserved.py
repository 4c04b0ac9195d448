"""Preserved layers: n layers copied and frozen, m more copied and trained (A3Bp2). Unpublished, by the authors.

    python plots/preserved.py [RESULTS.CSV] [--paper] [--out figures]

If co-adaptation between layers n and n + 1 is what is lost, keeping the next one or two layers brings it back only
where those layers are the partners. Means are over the targets that have all of the treatments of a panel.
The authors' numbers (their notebook, random-0) are single accuracies, not means of ten.
"""

import argparse
from collections.abc import Sequence

import pandas as pd
import style
from matplotlib.figure import Figure

from transferability.results import statistics as results
from transferability.results.paper import paper_preserved

SHADES = {"BnB": ("#00008b", "#5a6fd6", "#a9b8f5"), "AnB": ("#8b0000", "#d65a5a", "#f5b0a9")}
MARKERS = "o^s"


def comparable(rows: pd.DataFrame, treatment: str) -> pd.DataFrame:
    """The networks of a treatment with m = 0, 1, 2 preserved layers, on the targets that have preserved ones."""
    some = rows[rows.treatment.isin([treatment, f"{treatment}p1", f"{treatment}p2"])]
    key = [some.split, some.seed, some.target]
    return some[some.preserved.groupby(key).transform("max") > 0]


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None) -> Figure:
    """One panel for BnB and one for AnB, of `rows` (from `results.networks`); `beside` is dotted."""
    figure = style.new_figure(3.3, width=6.5)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (treatment, colours) in zip(panels, SHADES.items(), strict=True):
        counted = []
        for table, own in ((beside, False), (rows, True)):
            some = None if table is None else comparable(table, treatment)
            if some is None or some.empty:
                continue
            for m in range(3):
                means = style.means(some, "accuracy", treatment + (f"p{m}" if m else ""))
                look = style.Look(f"{m} preserved", colours[m], colours[m], MARKERS[m], False, 0.0)
                axes.plot(
                    means.n,
                    means.value,
                    color=colours[m],
                    ls="-" if own else ":",
                    lw=1.3,
                    zorder=3 - m,
                    gid=f"{'own' if own else 'paper'} {treatment}p{m}",
                )
                if own:
                    style.markers(axes, means.n, means.value, look, size=5, zorder=4 - m)
                    style.bars(axes, means, look, shift=0.06 * (m - 1))
                    counted.append((f"m = {m}", means))
        axes.set_title({"BnB": "selffer BnB", "AnB": "transfer AnB"}[treatment])
        axes.set_xlabel("Frozen layers $n$")
        axes.set_xticks(range(1, int(rows.n.max()) + 1))
        axes.set_xlim(0.5, rows.n.max() + 0.5)
        style.counts(axes, counted, below=30, note="")
        looks = [style.Look("", colours[m], colours[m], MARKERS[m], False, 0.0) for m in range(3)]
        entries = [style.handle(look, f"m = {m}", line=True) for m, look in enumerate(looks)]
        axes.legend(*zip(*entries, strict=True), fontsize=7)
    panels[0].set_ylabel("Top-1 accuracy")
    return figure


def tables(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """As `style.tables`, but the paper's side is the authors' notebook, whose accuracies are final ones."""
    paper = results.networks(paper_preserved()) if options.paper else None
    if options.table is None:
        if paper is None:
            raise style.Refused("nothing to draw: give a RESULTS.CSV, or --paper for the accuracies of the authors")
        return paper, None
    return results.networks(results.read_results(options.table)), paper


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__).parse_args(arguments)
    rows, beside = tables(options)
    if not (rows.preserved > 0).any():
        raise style.Refused("the table has no network with preserved layers (A3Bp1)")
    source = "random-0, one network each, as in the authors' notebook. " if options.table is None else ""
    note = f"{source}m: copied layers above the frozen ones, trained. Below each panel: {style.COUNTS}."
    here = rows[rows.unit.isin(rows[rows.preserved > 0].unit)]
    absent = style.missing(here, [f"{kind}{m}" for kind in SHADES for m in ("", "p1", "p2")])
    style.publish(draw(rows, beside), options, "preserved", rows, absent, [note])


if __name__ == "__main__":
    style.run(main)
