"""Figure 3: dissimilar tasks and random features.

    python plots/figure3.py [RESULTS.CSV] [--paper] [--out figures]

Top left: AnB on the man-made/natural split, one line for each target. Top right: random, untrained filters. Bottom:
the accuracy relative to the base of the own split, target and seed: AnB on random splits, AnB on the
man-made/natural split, random features. Bars are 95 % t intervals over units, from three units on.
"""

from collections.abc import Sequence

import pandas as pd
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FLOOR = -0.30  # of the bottom panel, unless AnB falls further
HALVES = {"A": "man-made", "B": "natural"}
DASHES = {"random": "-", "manmade-natural": "--", "whole": "-"}
GROUPS = {"random": "random splits", "manmade-natural": "m/n split", "whole": "all classes"}


def relative(rows: pd.DataFrame) -> list[tuple[str, style.Look, str, pd.DataFrame]]:
    """The lines of the bottom panel: label, look, dashes, means of the paired differences."""
    found = []
    for group, look in (("random", style.LOOKS["AnB"]), ("manmade-natural", style.MN)):
        found.append((f"mean AnB, {GROUPS[group]}", look, "-", rows[(rows.group == group) & (rows.treatment == "AnB")]))
    random = rows[rows.treatment == "RnB"]
    several = random.group.nunique() > 1
    for group, some in random.groupby("group"):
        label = "random features" + (f", {GROUPS[str(group)]}" if several else "")
        found.append((label, style.LOOKS["RnB"], DASHES[str(group)], some))
    drawn = [(label, look, dashes, style.means(some, "difference")) for label, look, dashes, some in found]
    return [entry for entry in drawn if len(entry[3])]


def draw_lines(axes: Axes, rows: pd.DataFrame, look: style.Look, dashes: str, owner: str, name: str) -> None:
    """One line of the top panels through the means, every network a marker, a white circle for the base."""
    line = pd.concat([style.line(rows[rows.treatment != "base"], t) for t in ("AnB", "RnB")])
    base = style.means(rows, "accuracy", "base")
    line = pd.concat([pd.Series(base.value.to_numpy(), index=base.n), line])
    own = owner == "own"
    axes.plot(line.index, line, color=look.line, ls=dashes if own else ":", lw=1.4, zorder=2, gid=f"{owner} {name}")
    networks = rows[rows.treatment != "base"]
    alpha = 1.0 if own else 0.3
    style.markers(axes, networks.n, networks.accuracy, look, alpha=alpha, gid=f"{owner} {name} networks")
    bases = rows[rows.treatment == "base"]
    style.markers(axes, bases.n, bases.accuracy, style.LOOKS["base"], alpha=alpha, gid=f"{owner} {name} base")


def draw_dissimilar(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """Top left: both targets of the man-made/natural split."""
    some = rows[(rows.group == "manmade-natural") & rows.treatment.isin(("base", "AnB"))]
    for target, networks in some.groupby("target"):
        draw_lines(axes, networks, style.MN, "-", owner, HALVES[str(target)])
    if owner == "own" and len(some):
        last = some[some.n == some.n.max()].groupby("target")[["n", "accuracy"]].mean().sort_values("accuracy")
        # The upper label stands above its line's end and the lower one below, so that they cannot overlap.
        for place, (target, end) in zip(("top", "bottom"), last.iterrows(), strict=False):
            axes.annotate(
                HALVES[str(target)],
                (end.n, end.accuracy),
                xytext=(6, 2 if place == "top" else -2),
                textcoords="offset points",
                va=place,
                fontsize=7,
            )


def draw_random(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """Top right: random features, one line for each group of splits that has them."""
    with_random = set(rows[rows.treatment == "RnB"].group)
    for group, networks in rows[rows.treatment.isin(("base", "RnB"))].groupby("group"):
        if group in with_random:
            draw_lines(axes, networks, style.LOOKS["RnB"], DASHES[str(group)], owner, f"random, {GROUPS[str(group)]}")


def draw_relative(axes: Axes, rows: pd.DataFrame, owner: str) -> None:
    """Bottom: differences from the own base, all starting from 0."""
    for label, look, dashes, means in relative(rows):
        own = owner == "own"
        axes.plot(
            [0, *means.n],
            [0, *means.value],
            color=look.line,
            ls=dashes if own else ":",
            lw=1.4,
            zorder=2,
            gid=f"{owner} {label}",
        )
        if own:
            style.markers(axes, means.n, means.value, look, gid=f"mean {label}")
            style.bars(axes, means, look)


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None) -> Figure:
    """Figure 3 of `rows` (from `results.networks`), with those of `beside` faint and dotted."""
    depth = int(rows[rows.treatment.isin(("AnB", "RnB"))].n.max())
    figure = style.new_figure(5.9)
    panels = figure.subplot_mosaic([["dissimilar", "random"], ["relative", "relative"]], height_ratios=[1, 1.25])
    dissimilar, random, relative_axes = (panels[name] for name in ("dissimilar", "random", "relative"))
    for table, owner in ((beside, "paper"), (rows, "own")):
        if table is not None:
            draw_dissimilar(dissimilar, table, owner)
            draw_random(random, table, owner)
            draw_relative(relative_axes, table, owner)
    for axes, title in ((dissimilar, "Man-made/Natural split"), (random, "Random, untrained filters")):
        axes.set_title(title)
        axes.set_ylabel("Top-1 accuracy")
        axes.margins(y=0.1)
        axes.set_xlim(-0.4, depth + (1.7 if axes is dissimilar else 0.4))
        if not axes.lines:
            axes.text(0.5, 0.5, "no networks of this kind", transform=axes.transAxes, ha="center", color=style.GREY)
    # The paper's range. Random features that fall out of it are shown whole in the panel above.
    transferred = [means for label, _, _, means in relative(rows) if "AnB" in label]
    floor = min([FLOOR, *(1.15 * means.value.min() for means in transferred)])
    lowest = min(relative_axes.get_ylim()[0], 0)
    cut = " (cut off, see top right)" if lowest < floor else ""
    relative_axes.set_ylim(max(floor, lowest), max(0.03, relative_axes.get_ylim()[1]))
    relative_axes.set_ylabel("Relative top-1 accuracy (points)")
    style.percent(relative_axes)
    relative_axes.set_xlim(-0.4, depth + 0.4)
    relative_axes.axhline(0, ls="--", color="black", lw=0.8, zorder=1)
    style.markers(relative_axes, [0], [0], style.LOOKS["base"], size=6.5, zorder=4)
    for axes in panels.values():
        wide = axes is relative_axes or depth < 9
        axes.set_xticks(range(0, depth + 1, 1 if wide else 2))
        axes.set_xlabel("Layer $n$ at which network is chopped and retrained" if axes is relative_axes else "Layer $n$")
    entries = [style.handle(style.LOOKS["base"], "reference")]
    for label, look, dashes, _ in relative(rows):
        entries.append(style.handle(look, label + cut * ("features" in label), line=True, dashes=dashes))
    handles, labels = zip(*entries, strict=True)
    relative_axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.5)
    short = {"mean AnB, random splits": "AnB random", "mean AnB, m/n split": "AnB m/n", "random features": "random"}
    style.counts(
        relative_axes,
        [
            (short.get(label, label.replace("random features, ", "random, ")), means)
            for label, _, _, means in relative(rows)
        ],
        note_below=True,
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__).parse_args(arguments)
    rows, beside = style.tables(options)
    if not rows.treatment.isin(("AnB", "RnB")).any():
        raise style.Refused("the table has no AnB and no random-feature network to draw")
    absent = style.missing(rows[rows.group != "whole"], ("base", "AnB"))
    absent += style.missing(rows[rows.group.isin(rows[rows.treatment == "RnB"].group)], ("RnB",))
    absent += [f"AnB of the {GROUPS[group]}" for group in ("random", "manmade-natural") if group not in set(rows.group)]
    absent += [] if (rows.treatment == "RnB").any() else ["random features"]
    style.publish(draw(rows, beside), options, "figure3", rows, absent, [] if beside is None else [style.BESIDE])


if __name__ == "__main__":
    style.run(main)
