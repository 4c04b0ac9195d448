"""Paired differences: the honest version of Figure 2. Ours, not the paper's.

    python plots/paired.py [RESULTS.CSV] [--paper] [--split random|manmade-natural|SPLIT] [--out figures]

Every network is compared with the base of its own split, target and seed, so that how hard a half is cannot pass for
an effect. (a) co-adaptation, BnB - base. (b) specificity, AnB - BnB on the same target. (c) what the fine-tuned
networks gain over the base of their own target. (d) the same gain averaged over n: pooled, as in the paper's Table 1,
and paired. In the logs of the paper all AnB+ have B halves and all BnB+ have A halves as targets, and B is easier:
pooled, AnB+ gains 1.6 points and BnB+ 0.2; paired, both gain 1.0. Bars are 95 % t intervals over units (split x
seed, both directions averaged first), from three units on; the shaded band is one point, the margin of "the same".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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
from transferability.results.statistics import MARGIN, Mean, mean_of, pooled_mean
from transferability.splits import group_title

TREATMENTS = ("base", "BnB", "BnB+", "AnB", "AnB+")
POOLED, PAIRED = "white", "#444444"
BAND = 'Grey band: one point, the margin of "the same".'
SPECIFICITY = Look("AnB − BnB", "#6a3d9a", "#6a3d9a", "s", False, 0.0)


@dataclass(frozen=True)
class Difference:
    """One line of a panel: a column of paired differences of one treatment."""

    treatment: str
    column: str
    look: Look
    label: str = "networks"  # beside the counts
    shift: float = 0.0  # along n


PANELS = {
    "Co-adaptation: BnB − base": (Difference("BnB", "difference", LOOKS["BnB"]),),
    "Specificity: AnB − BnB, same target": (Difference("AnB", "specificity", SPECIFICITY),),
    "Fine-tuned − base of the own target": (
        Difference("BnB+", "difference", LOOKS["BnB+"], "BnB+", -0.1),
        Difference("AnB+", "difference", LOOKS["AnB+"], "AnB+", 0.1),
    ),
}


@dataclass(frozen=True)
class Gain:
    """Two bars of panel d: a difference averaged over n, pooled over networks and paired."""

    label: str
    pooled: Mean
    paired: Mean


def chosen(rows: pd.DataFrame, difference: Difference) -> pd.DataFrame:
    """The networks that have the difference."""
    return rows[(rows["treatment"] == difference.treatment) & rows[difference.column].notna()]


def draw_difference(axes: Axes, rows: pd.DataFrame, difference: Difference, owner: str) -> None:
    """A line through the means, and for one's own networks a faint marker each and the means' intervals."""
    networks, look, shift = chosen(rows, difference), difference.look, difference.shift
    by_n = means(networks, difference.column)
    gid = f"{difference.treatment} {difference.column}"
    if owner == "paper":
        style.curve(axes, by_n["n"], by_n["value"], ls=":", color=look.line, lw=1.3, gid=f"paper {gid}")
        return
    gid_of_networks = f"own {difference.treatment} networks"
    x = networks["n"] + shift
    style.markers(axes, x, networks[difference.column], look, size=4.2, alpha=0.35, gid=gid_of_networks)
    style.curve(axes, by_n["n"] + shift, by_n["value"], color=look.line, lw=1.5, zorder=2, gid=f"own {gid}")
    style.markers(axes, by_n["n"] + shift, by_n["value"], look, size=6, zorder=4, gid=f"mean {gid}")
    style.bars(axes, by_n, look, shift)


def draw_panel(
    axes: Axes,
    heading: str,
    differences: Sequence[Difference],
    rows: pd.DataFrame,
    published: pd.DataFrame | None,
    page: Page,
) -> None:
    """One of the panels over n."""
    last = 1
    for difference in differences:
        if published is not None:
            draw_difference(axes, published, difference, "paper")
        draw_difference(axes, rows, difference, "own")
        tables = [table for table in (rows, published) if table is not None]
        last = max([last, *(int(n) for table in tables for n in chosen(table, difference)["n"])])
    axes.set_title(heading, loc="left")
    axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
    axes.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
    axes.set_xlim(0.5, last + 0.5)
    style.layer_ticks(axes, rows, range(1, last + 1))
    axes.set_xlabel("Layer $n$")
    style.points_axis(axes)
    labelled = [(difference.label, means(chosen(rows, difference), difference.column)) for difference in differences]
    style.counts(axes, page, labelled)


# ------------------------------------------------------------------------------------------ panel d


def gains(rows: pd.DataFrame, last: int) -> list[Gain]:
    """Panel d: what the fine-tuned networks gain at n = 1 .. last."""
    trained = rows[rows["n"].between(1, last)]
    transfer, selffer = (trained[trained["treatment"] == treatment] for treatment in ("AnB+", "BnB+"))
    bases = rows[rows["treatment"] == "base"]
    pooled = {"AnB+": pooled_mean(transfer), "BnB+": pooled_mean(selffer), "base": pooled_mean(bases)}

    def minus(left: str, right: str) -> Mean:
        difference = pooled[left].value - pooled[right].value
        return Mean(difference, math.nan, math.nan, pooled[left].networks, pooled[left].units, "")

    every = [
        Gain("AnB+ − base", minus("AnB+", "base"), mean_of(transfer)),
        Gain("BnB+ − base", minus("BnB+", "base"), mean_of(selffer)),
        Gain("AnB+ − BnB+", minus("AnB+", "BnB+"), mean_of(transfer, "specificity")),
    ]
    return [gain for gain in every if not math.isnan(gain.pooled.value)]


def draw_bar(axes: Axes, x: float, mean: Mean, face: str, gid: str, page: Page) -> None:
    """A bar with its interval, its value and its networks (units); the words "no pair" where there is none."""
    if math.isnan(mean.value):
        axes.text(x, 0.0004, "no pair", ha="center", va="bottom", rotation=90, fontsize=style.SMALL)
        return
    axes.bar(x, mean.value, width=0.36, color=face, edgecolor="black", linewidth=0.8, gid=gid)
    if not math.isnan(mean.low):
        axes.vlines(x, mean.low, mean.high, color="#888888" if face == PAIRED else "black", lw=1.2)
    text = style.points(mean.value, signed=False) + (f"\n{mean.networks} ({mean.units})" if page.counts else "")
    axes.annotate(
        text,
        (x, max(mean.value if math.isnan(mean.high) else mean.high, 0)),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=6,
        linespacing=1.1,
    )


def draw_gains(axes: Axes, shown: Sequence[Gain], heading: str, page: Page) -> None:
    """Panel d: pooled (hollow) beside paired (filled), each with its value."""
    for x, gain in enumerate(shown):
        draw_bar(axes, x - 0.2, gain.pooled, POOLED, f"pooled {gain.label}", page)
        draw_bar(axes, x + 0.2, gain.paired, PAIRED, f"paired {gain.label}", page)
    axes.set_title(heading, loc="left")
    axes.axhline(0, color="black", ls="--", lw=0.8)
    axes.margins(y=0.25)
    axes.set_xticks(range(len(shown)), [gain.label for gain in shown], fontsize=style.SMALL)
    axes.set_xlim(-0.55, len(shown) - 0.45)
    style.points_axis(axes)


def untied(rows: pd.DataFrame) -> str:
    """A warning where no target has both AnB+ and BnB+, as in the logs of the paper; else nothing."""
    targets = {}
    for treatment in ("AnB+", "BnB+"):
        networks = rows[rows["treatment"] == treatment]
        targets[treatment] = set(zip(networks["split"], networks["target"], strict=True))
    if not all(targets.values()) or targets["AnB+"] & targets["BnB+"]:
        return ""
    halves = {t: " and ".join(sorted({f"{target} halves" for _, target in pairs})) for t, pairs in targets.items()}
    return (
        f"No target has both fine-tuned treatments: the targets of AnB+ are {halves['AnB+']}, those of BnB+ "
        f"{halves['BnB+']}. Their pooled difference in (d) is also one between the halves, and these networks cannot "
        "tell the two apart."
    )


# ------------------------------------------------------------------------------------------ the figure


def shown_panels(rows: pd.DataFrame) -> dict[str, tuple[Difference, ...]]:
    """The panels over n that have networks, each with the lines that have."""
    lines = {name: tuple(line for line in panel if len(chosen(rows, line))) for name, panel in PANELS.items()}
    return {name: panel for name, panel in lines.items() if panel}


def panels(rows: pd.DataFrame, published: pd.DataFrame | None, title: str, page: Page) -> Figure:
    """The panels that one group of splits has networks for; the means of `published` are dotted."""
    over_n = shown_panels(rows)
    last = last_cut(rows)
    mean_gains = gains(rows, last)
    names = [*over_n, *(["gains"] if mean_gains else [])]
    columns = page.columns(min(2, len(names)))
    mosaic = style.in_rows(names, columns)
    width = style.WIDE if columns > 1 else style.WIDTH
    figure = style.new_figure(page, 0.4 + 3.0 * len(mosaic), width)
    axes_of = figure.subplot_mosaic(mosaic)
    for letter, name in zip("abcd", names, strict=False):
        if name == "gains":
            draw_gains(axes_of[name], mean_gains, f"({letter}) Mean gain, {span(1, last)}", page)
        else:
            draw_panel(axes_of[name], f"({letter}) {name}", over_n[name], rows, published, page)
    entries = [style.handle(LOOKS[t], t) for t in ("BnB+", "AnB+") if (rows["treatment"] == t).any()]
    if mean_gains:
        entries.append((Patch(facecolor=POOLED, edgecolor="black"), "pooled, as in Table 1"))
        entries.append((Patch(facecolor=PAIRED, edgecolor="black"), "paired"))
    if published is not None:
        entries.append((Line2D([], [], ls=":", color="black"), "the paper's networks"))
    if entries:
        style.legend(figure, figure.get_figwidth(), entries, title)
    else:
        figure.suptitle(title, fontsize=9)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """The paired differences of each group of splits of the table, or of `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, rows in groups(table.rows, split).items():
        if not shown_panels(rows):
            reason = f"{style.group_name(group)}: no BnB and no fine-tuned network with its base, no AnB with its BnB"
            drawings.append(NotDrawn("paired", reason))
            continue
        published = table.published_of(rows)
        figure = panels(rows, published, group_title(group), page)
        where = "Below each panel and on the bars"
        notes = [f"{style.counted(page, where)} {BAND}", untied(rows), table.note if published is not None else ""]
        style.caption(figure, page, rows["study"], notes)
        lines = lacking(file_name("paired", group), missing(rows, TREATMENTS))
        drawings.append(Drawn("paired", figure, group, tuple(lines)))
    return drawings or [NotDrawn("paired", "the table has no selffer and no transfer network")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
