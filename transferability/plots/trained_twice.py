"""Does transfer with fine-tuning do anything that training twice does not? Ours, not the paper's.

    python plots/trained_twice.py [RESULTS.CSV] [--split random|manmade-natural|SPLIT] [--out figures]

A fine-tuned network was trained twice: its copied layers in their own base first. So it is compared with three
networks of its own split, target and seed, each a control for something else:

- the base, trained once;
- the base of twice the steps (`base@long`): as much training, nothing copied;
- B8B+: all layers copied from the own base and trained on, as much training, nothing drawn afresh.

AnB+ - BnB+, at the same n and target, is what is left for the other task's features. Top: over n. Bottom: averaged
over all n, and over the last three. Bars are 95 % t intervals over units (split x seed, both directions averaged
first), from three units on; the grey band is one point, the margin of "the same".

*Shows*: the smallest true difference that as many units, scattering as these do, would have shown (the interval would
have excluded 0) in four of five repetitions of the study: a t test's difference at a power of 80 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special

from transferability.names import counted
from transferability.plots import command, style
from transferability.plots.style import LOOKS, PLAIN, Look, Page
from transferability.plots.tables import (
    Drawn,
    NotDrawn,
    Table,
    file_name,
    groups,
    lacking,
    last_cut,
    means,
    missing,
    span,
)
from transferability.results.statistics import MARGIN, MIN_UNITS, Mean, mean_of
from transferability.splits import group_title

POWER = 0.8
LAST = 3  # the last so many n are averaged on their own, as in the paper's n = 5 to 7
FINE_TUNED = ("AnB+", "BnB+")
BETWEEN = Look("AnB+ − BnB+", "#1b6e53", "#1b6e53", "s", False, 0.0)
LONG = "long"  # the variant of the base of twice the steps
# Columns of paired differences, and the headings of their panels.
HEADINGS = {
    "difference": "minus the base",
    "minus_long": "minus the base of twice the steps",
    "minus_all": "minus {all_copied} (all layers copied)",
    "specificity": "AnB+ − BnB+, same n and target",
}
CONTROLS = ("difference", "minus_long", "minus_all")
# What is compared: column and treatment.
COMPARED = (*((column, treatment) for column in CONTROLS for treatment in FINE_TUNED), ("specificity", "AnB+"))
NOTE = (
    'Grey band: one point, the margin of "the same". Shows: the smallest difference that so many units would have '
    "shown with a power of 80 %."
)


@dataclass(frozen=True)
class Comparison:
    """One line of the bottom panel: a paired difference averaged over a range of n."""

    label: str
    column: str
    treatment: str
    first: int
    last: int
    mean: Mean

    @property
    def look(self) -> Look:
        return BETWEEN if self.column == "specificity" else LOOKS[self.treatment]

    @property
    def shows(self) -> float:
        return smallest_shown(self.mean)


# ------------------------------------------------------------------------------------------ numbers


def with_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """The fine-tuned networks of one group at n = 1 .. the last cut, with the columns minus_long and minus_all added.

    rows: from `results.networks`, which gives `difference` (minus the base) and, for AnB+, `specificity` (minus
    BnB+). NaN where the control is not in the table.
    """
    last = last_cut(rows)
    key = ["split", "seed", "target"]
    controls = {
        "minus_long": rows[rows["treatment"] == f"base@{LONG}"],
        "minus_all": rows[(rows["treatment"] == "BnB+") & (rows["n"] > last)],
    }
    tuned = rows[rows["treatment"].isin(FINE_TUNED) & (rows["n"] <= last)].copy()
    for column, networks in controls.items():
        control = networks.set_index(key)["accuracy"].rename("control")
        tuned[column] = tuned["accuracy"] - tuned[key].join(control, on=key)["control"]
    return tuned


def comparisons(rows: pd.DataFrame) -> list[Comparison]:
    """The lines of the bottom panel. rows: from `with_controls`."""
    last = int(rows["n"].max())
    ranges = dict.fromkeys([(1, last), (max(1, last - LAST + 1), last)])
    lines = []
    for column, treatment in COMPARED:
        control = control_of(column, last)
        for first, end in ranges:
            networks = rows[(rows["treatment"] == treatment) & rows["n"].between(first, end)]
            mean = mean_of(networks, column)
            if mean.networks:
                lines.append(Comparison(f"{treatment} − {control}", column, treatment, first, end, mean))
    return lines


def control_of(column: str, last: int) -> str:
    """The network that is subtracted in a column. `last`: the last cut, one below the network's depth."""
    return {
        "difference": "base",
        "minus_long": f"base@{LONG}",
        "minus_all": f"B{last + 1}B+",
        "specificity": "BnB+",
    }[column]


def smallest_shown(mean: Mean, power: float = POWER) -> float:
    """The true difference at which a t interval over as many units excludes 0 with this probability.

    The units scatter around it as those of `mean` do. NaN where there is no interval.
    """
    if mean.units < MIN_UNITS:
        return math.nan
    freedom = mean.units - 1
    critical = special.stdtrit(freedom, 0.975)
    # In standard errors: the noncentrality at which t stays below its critical value with probability 1 - power.
    noncentrality = special.nctdtrinc(freedom, 1 - power, critical)
    return float(noncentrality * (mean.high - mean.low) / 2 / critical)


def printed(comparison: Comparison) -> str:
    """A line for a terminal, in ASCII."""
    mean = comparison.mean
    text = f"{comparison.label.replace('−', '-'):<18} {span(comparison.first, comparison.last, '-')}: "
    text += style.points(mean.value, minus="-")
    if not math.isnan(mean.low):
        text += f" [{style.points(mean.low, minus='-')}, {style.points(mean.high, minus='-')}]"
        text += f", shows {style.points(comparison.shows, False, '-')}"
    return f"{text}, {counted(mean.networks, 'network')} ({counted(mean.units, 'unit')})"


# ------------------------------------------------------------------------------------------ panels


def draw_over_n(axes: Axes, rows: pd.DataFrame, column: str, page: Page) -> None:
    """A panel over n: the means of AnB+ and BnB+ minus a control, or of AnB+ minus BnB+."""
    labelled = []
    for treatment in FINE_TUNED:
        networks = rows[(rows["treatment"] == treatment) & rows[column].notna()]
        if networks.empty:
            continue
        between = column == "specificity"
        look, shift = (BETWEEN, 0.0) if between else (LOOKS[treatment], 0.08 if treatment == "AnB+" else -0.08)
        by_n = means(networks, column)
        x = by_n["n"] + shift
        gid = f"{treatment} {column}"
        style.markers(axes, networks["n"] + shift, networks[column], look, size=3.5, alpha=0.3)
        style.curve(axes, x, by_n["value"], color=look.line, lw=1.5, zorder=2, gid=f"own {gid}")
        style.markers(axes, x, by_n["value"], look, size=5.5, zorder=4, gid=f"mean {gid}")
        style.bars(axes, by_n, look, shift)
        labelled.append(("networks" if between else treatment, by_n))
    last = int(rows["n"].max())
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    axes.set_xlim(0.5, last + 0.5)
    style.layer_ticks(axes, rows, range(1, last + 1))
    axes.set_xlabel("Layer $n$")
    style.points_axis(axes)
    style.counts(axes, page, labelled)


def draw_means(axes: Axes, lines: Sequence[Comparison], page: Page) -> None:
    """The bottom panel: every comparison with its interval, and its numbers beside it (or below its label)."""
    axes.axvline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.axvspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    for y, line in enumerate(lines):
        mean, look = line.mean, line.look
        gid = f"pooled {line.treatment} {line.column} {line.first}-{line.last}"
        if not math.isnan(mean.low):
            axes.hlines(y, mean.low, mean.high, color=look.line, lw=1.4, zorder=2)
        style.markers(axes, [mean.value], [y], look, gid=gid)
    labels = [f"{line.label},  {span(line.first, line.last)}" for line in lines]
    numbers = [cells(line, page) for line in lines]
    if is_wide(page):
        heads = ["mean", "interval", "shows", "n (units)"][: len(numbers[0])]
        for y, texts in enumerate([heads, *numbers], -1):
            for x, text in zip((8, 36, 72, 98), texts, strict=False):  # points from the panel's right edge
                colour = style.GREY if y < 0 else "black"
                place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
                axes.annotate(text, (1, y), (x, 0), va="center", fontsize=style.SMALL, color=colour, **place)
    else:
        heads = ["", "", "shows ", ""]
        texts = ["  ".join(head + text for head, text in zip(heads, row, strict=False) if text) for row in numbers]
        labels = [f"{label}\n{text}" for label, text in zip(labels, texts, strict=True)]
    axes.set_yticks(range(len(lines)), labels, fontsize=style.SMALL)
    axes.set_ylim(len(lines) - 0.5, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Mean over n (points)")
    style.in_points(axes.xaxis)


def cells(line: Comparison, page: Page) -> list[str]:
    """The mean, its interval, the smallest difference shown, and the networks (units) as text."""
    mean = line.mean
    texts = [style.points(mean.value), "", "–"]
    if not math.isnan(mean.low):
        texts[1:] = [f"± {style.points(mean.high - mean.value, False)}", style.points(line.shows, False)]
    return texts + ([f"{mean.networks} ({mean.units})"] if page.counts else [])


def is_wide(page: Page) -> bool:
    """Whether the numbers have room beside the bottom panel."""
    return (page.width or style.WIDE) >= style.WIDTH


def panels(rows: pd.DataFrame, title: str, page: Page) -> Figure:
    """The panels over n that have networks, and below them the means over n. rows: from `with_controls`."""
    over_n = [column for column in HEADINGS if rows[column].notna().any()]
    lines = comparisons(rows)
    mosaic = style.in_rows(over_n, page.columns(min(2, len(over_n))))
    heights = [0.3 + 2.45 * len(mosaic), 0.7 + (0.19 if is_wide(page) else 0.29) * len(lines)]
    figure = style.new_figure(page, sum(heights), style.WIDE)
    subfigures: Any = figure.subfigures(2, 1, height_ratios=heights)
    upper, lower = subfigures
    for column, axes in upper.subplot_mosaic(mosaic).items():
        draw_over_n(axes, rows, column, page)
        heading = HEADINGS[column].format(all_copied=control_of("minus_all", int(rows["n"].max())))
        axes.set_title(heading, loc="left")
    draw_means(lower.subplots(), lines, page)
    entries = [style.handle(LOOKS[t], t, line=True) for t in FINE_TUNED if (rows["treatment"] == t).any()]
    if "specificity" in over_n:
        entries.append(style.handle(BETWEEN, line=True))
    style.legend(upper, figure.get_figwidth(), entries, title)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The comparisons for each group of splits of the table, or for `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, networks in groups(table.rows, split).items():
        rows = with_controls(networks)
        if not any(rows[column].notna().any() for column in HEADINGS):
            reason = f"{style.group_name(group)}: no AnB+ or BnB+ with a network to compare it with"
            drawings.append(NotDrawn("trained_twice", reason))
            continue
        figure = panels(rows, group_title(group), page)
        last = int(rows["n"].max())
        without = [f"no {control_of(column, last)} to subtract" for column in CONTROLS if rows[column].isna().all()]
        notes = [f"{style.counted(page, 'Below each panel')} {NOTE}"]
        style.caption(figure, page, networks["study"], notes)
        file = file_name("trained_twice", group)
        lines = [f"{file}: {printed(comparison)}" for comparison in comparisons(rows)]
        lines += [f"{file}: {reason}" for reason in without] + lacking(file, missing(networks, ("base", *FINE_TUNED)))
        drawings.append(Drawn("trained_twice", figure, group, tuple(lines)))
    return drawings or [NotDrawn("trained_twice", "the table has no selffer and no transfer network")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
