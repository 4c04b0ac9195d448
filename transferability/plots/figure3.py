"""Figure 3: dissimilar tasks and random features.

    python plots/figure3.py [RESULTS.CSV] [--paper] [--out figures]

Top left: AnB on the man-made/natural split, one line for each target. Top right: random, untrained filters. Bottom:
the accuracy relative to the base of the own split, target and seed: AnB on random splits, AnB on the
man-made/natural split, random features. Bars are 95 % t intervals over units, from three units on. A panel without
networks is left out; other groups of splits with AnB get a panel and a line of their own, and so do variants of random
features, such as RnB@filler.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.style import LOOKS, PLAIN, Look, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, lacking, line, means, missing
from transferability.splits import GROUP_TITLES, group_title, sorted_groups

FLOOR = -0.30  # of the bottom panel, unless AnB falls further
RANDOM_FEATURES = "Random, untrained filters"
DASHES = {"manmade-natural": "--"}  # of random features, by group
CUT = "Random features that leave the bottom panel are shown whole above it."
SHORT = {"random": "random", "manmade-natural": "m/n"}


@dataclass(frozen=True)
class Line:
    """A line of the bottom panel: paired differences of one treatment on one group of splits, by n."""

    label: str
    short: str  # beside the counts
    look: Look
    dashes: str
    means: pd.DataFrame


def dissimilar(rows: pd.DataFrame) -> list[str]:
    """The groups of splits, other than random ones, that have AnB."""
    return sorted_groups(set(rows[rows["treatment"] == "AnB"]["group"]) - {"random"})


def relative(rows: pd.DataFrame) -> list[Line]:
    """The lines of the bottom panel: AnB on each group, then random features on each group that has them."""
    frozen = rows[rows["treatment"] == "AnB"]
    groups = sorted_groups(frozen["group"])
    others = [group for group in groups if group not in GROUP_TITLES]
    lines = []
    for group in groups:
        by_n = means(frozen[frozen["group"] == group], "difference")
        short = f"AnB {SHORT.get(group, group)}"
        lines.append(Line(f"mean AnB, {style.group_name(group)}", short, style.group_look(group, others), "-", by_n))
    random = random_features(rows)
    several = random["group"].nunique() > 1
    for group, treatment, look in random_lines(rows):
        by_n = means(random[random["group"] == group], "difference", treatment)
        words = ["random features", treatment.partition("@")[2], style.group_name(group) if several else ""]
        short = f"{treatment} {SHORT.get(group, group)}" if several else treatment
        lines.append(Line(", ".join(filter(None, words)), short, look, DASHES.get(group, "-"), by_n))
    return [entry for entry in lines if len(entry.means)]


def random_features(rows: pd.DataFrame) -> pd.DataFrame:
    """The networks of random, untrained layers with trained ones above, and their variants; no readouts of them."""
    is_whole = (rows["images_per_class"] == "") & rows["numbers"].isna()
    return rows[(rows["kind"] == "random") & (rows["plus"] == "") & (rows["preserved"] == 0) & is_whole]


def random_lines(rows: pd.DataFrame) -> Iterator[tuple[str, str, Look]]:
    """Group, treatment and look of each line of random features: the variants have hollow markers."""
    random = random_features(rows)
    variants = sorted(set(random["treatment"]) - {"RnB"})
    looks = {"RnB": LOOKS["RnB"]}
    for treatment, marker in zip(variants, itertools.cycle(style.MARKERS), strict=False):
        looks[treatment] = replace(LOOKS["RnB"], face="#ffffff", marker=marker)
    for group in sorted_groups(random["group"]):
        present = set(random[random["group"] == group]["treatment"])
        yield from ((group, treatment, look) for treatment, look in looks.items() if treatment in present)


# ------------------------------------------------------------------------------------------ panels


def draw_line(axes: Axes, rows: pd.DataFrame, treatment: str, look: Look, name: str, dashes: str = "-") -> None:
    """One line of a top panel: means from the base's on, every network a marker, white circles for the bases.

    `name`: of the artists, "own …" or "paper …"; the paper's are faint and dotted.
    """
    own = name.startswith("own")
    by_n = line(rows, treatment)
    style.curve(axes, by_n.index, by_n, color=look.line, ls=dashes if own else ":", lw=1.4, zorder=2, gid=name)
    networks, bases = rows[rows["treatment"] == treatment], rows[rows["treatment"] == "base"]
    alpha = 1.0 if own else 0.3
    style.markers(axes, networks["n"], networks["accuracy"], look, alpha=alpha, gid=f"{name} networks")
    style.markers(axes, bases["n"], bases["accuracy"], LOOKS["base"], alpha=alpha, gid=f"{name} base")


def draw_dissimilar(axes: Axes, rows: pd.DataFrame, group: str, owner: str, look: Look) -> None:
    """A top panel: AnB of one group of splits, a line for each target, labelled at its end."""
    networks = rows[(rows["group"] == group) & rows["treatment"].isin(("base", "AnB"))]
    for target in sorted(set(networks[networks["treatment"] == "AnB"]["target"])):
        chosen = networks[networks["target"] == target]
        draw_line(axes, chosen, "AnB", look, f"{owner} {style.task_name(group, target)}")
    if owner == "own" and len(networks):
        last = networks[networks["n"] == networks["n"].max()].groupby("target")[["n", "accuracy"]].mean()
        ends = last.sort_values("accuracy", ascending=False)
        # The upper label stands above its line's end and the lower one below, so that they cannot overlap.
        for place, target in zip(("bottom", "top"), ends.index, strict=False):
            axes.annotate(
                style.task_name(group, str(target)),
                (ends["n"][target], ends["accuracy"][target]),
                xytext=(6, -2 if place == "bottom" else 2),
                textcoords="offset points",
                va=place,
                fontsize=7,
            )


def draw_random(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """A top panel: random features, one line for each group of splits that has them, and for each variant."""
    for group, treatment, look in random_lines(rows):
        networks = rows[(rows["group"] == group) & rows["treatment"].isin(("base", treatment))]
        name = f"{owner} random, {style.group_name(group)}{treatment.removeprefix('RnB')}"
        draw_line(axes, networks, treatment, look, name, DASHES.get(group, "-"))


def draw_relative(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """The bottom panel: differences from the own base, all starting from 0."""
    own = owner == "own"
    for entry in relative(rows):
        by_n, look = entry.means, entry.look
        dashes = entry.dashes if own else ":"
        x, y, gid = [0, *by_n["n"]], [0, *by_n["value"]], f"{owner} {entry.label}"
        style.curve(axes, x, y, color=look.line, ls=dashes, lw=1.4, zorder=2, gid=gid)
        if own:
            style.markers(axes, by_n["n"], by_n["value"], look, gid=f"mean {entry.label}")
            style.bars(axes, by_n, look)


def floor_of(lines: Sequence[Line]) -> float:
    """The lower end of the bottom panel, if lines fall so far: the paper's, or what AnB needs."""
    return min([FLOOR, *(1.15 * entry.means["value"].min() for entry in lines if entry.short.startswith("AnB"))])


def finish_relative(axes: Axes, rows: pd.DataFrame, page: Page) -> None:
    """The bottom panel's axes, legend and counts."""
    lines = relative(rows)
    low, high = axes.get_ylim()
    axes.set_ylim(max(floor_of(lines), min(low, 0)), max(0.03, high))
    style.points_axis(axes, "Relative top-1 accuracy (points)")
    axes.axhline(0, ls="--", color="black", lw=0.8, zorder=1)
    style.markers(axes, [0], [0], LOOKS["base"], size=6.5, zorder=4)
    entries = [style.handle(LOOKS["base"], "reference")]
    entries += [style.handle(entry.look, entry.label, line=True, dashes=entry.dashes) for entry in lines]
    handles, labels = zip(*entries, strict=True)
    columns = min(2, style.legend_columns(labels, style.width_of(axes) - 0.6))
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    axes.legend(handles, labels, ncols=columns, handlelength=3, **place)  # dashes are seen on both sides of a marker
    style.layer_axis(axes)
    style.counts(axes, page, [(entry.short, entry.means) for entry in lines])


def panels(rows: pd.DataFrame, published: pd.DataFrame | None, page: Page) -> Figure:
    """Figure 3 of networks; those of `published` are faint and dotted. Only panels that have networks of one's own."""
    random = random_features(rows)
    depth = int(pd.concat([rows[rows["treatment"] == "AnB"]["n"], random["n"]]).max())
    above = dissimilar(rows) + [RANDOM_FEATURES] * bool(len(random))
    columns = max(1, page.columns(len(above), style.WIDTH))
    lines = style.in_rows(above, columns)
    mosaic = [*lines, ["relative"] * columns]
    figure = style.new_figure(page, 2.5 * len(lines) + 3.4)
    axes_of = figure.subplot_mosaic(mosaic, height_ratios=[1.0] * len(lines) + [1.25])
    others = [group for group in above if group not in (*GROUP_TITLES, RANDOM_FEATURES)]
    for table, owner in ((published, "paper"), (rows, "own")):
        if table is None:
            continue
        for name in above:
            if name == RANDOM_FEATURES:
                draw_random(axes_of[name], table, owner)
            else:
                draw_dissimilar(axes_of[name], table, name, owner, style.group_look(name, others))
        draw_relative(axes_of["relative"], table, owner)
    for name in above:
        axes = axes_of[name]
        axes.set_title(group_title(name))
        axes.set_ylabel("Top-1 accuracy")
        axes.set_xlabel("Layer $n$")
        axes.margins(y=0.1)
        axes.set_xlim(-0.4, depth + (0.4 if name == RANDOM_FEATURES else 1.7))
        style.accuracy_axis(axes)
    axes_of["relative"].set_xlim(-0.4, depth + 0.4)
    for axes in axes_of.values():
        style.layer_ticks(axes, rows, range(depth + 1))
    finish_relative(axes_of["relative"], rows, page)
    return figure


def draw(table: Table, page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """Figure 3 of the table's networks."""
    rows = table.rows
    kinds = set(rows["treatment"])
    random = random_features(rows)
    if "AnB" not in kinds and random.empty:
        return [NotDrawn("figure3", "the table has no AnB and no random-feature network")]
    if not relative(rows):
        return [NotDrawn("figure3", "no AnB and no random-feature network has a base to be compared with")]
    absent = missing(rows[rows["group"] != "whole"], ("base", "AnB")) if "AnB" in kinds else []
    absent += missing(rows[rows["group"].isin(random["group"])], ("RnB",))
    present = set(rows[rows["treatment"] == "AnB"]["group"])
    absent += [f"AnB on {style.group_name(group)}" for group in ("random", "manmade-natural") if group not in present]
    absent += ["random features"] if random.empty else []
    figure = panels(rows, table.published, page)
    lines = relative(rows) + ([] if table.published is None else relative(table.published))
    is_cut = any(entry.means["value"].min() < floor_of(relative(rows)) for entry in lines)
    notes = [style.counted(page, "Below the bottom panel"), CUT if is_cut else "", table.note]
    style.caption(figure, page, rows["study"], notes)
    return [Drawn("figure3", figure, lines=tuple(lacking("figure3", absent)))]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.table_parser(__doc__), arguments)
