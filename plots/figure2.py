"""Figure 2: transfer layer by layer. Top: every network a marker. Bottom: means, shaded effects, annotations.

    python plots/figure2.py runs/demo/results.csv [--split random|manmade-natural|SPLIT] [--out figures] [--paper]

Without --split, one figure pools all random splits (figure2), and another shows the man-made/natural split where
the table has it (figure2-manmade-natural). Below the bottom panel stand the networks of each mean and, in brackets,
its units (split x seed): from three units on, bars are 95 % t intervals over units.

An annotation stands where the data support it, and nowhere else. Its difference is paired (same split, target and
seed) and taken at the n where it is largest; it is supported if its mean is beyond one point and, from three units
on, its interval excludes 0. Below three units there is no interval: then an annotation describes these networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transferability.results.statistics import MARGIN, MIN_UNITS

TREATMENTS = ("base", "BnB", "BnB+", "AnB", "AnB+")
SHADES = (("base", "AnB+", "#ffeeee"), ("base", "BnB", "#eeeeff"), ("BnB", "AnB", "#ffcccc"))


@dataclass(frozen=True)
class Annotation:
    text: str  # the paper's words
    x: float  # what it points at
    y: float
    above: bool  # in the free band above the lines, or below them


def supported(differences: pd.DataFrame, sign: int) -> int | None:
    """The n at which a paired difference is largest in the direction of `sign`; None if it is not supported there."""
    if differences.empty:
        return None
    most = differences.loc[(sign * differences.value).idxmax()]
    excludes_zero = most.units < MIN_UNITS or sign * (most.low if sign > 0 else most.high) > 0
    return int(most.n) if sign * most.value > MARGIN and excludes_zero else None


def annotations(rows: pd.DataFrame) -> list[Annotation]:
    """The paper's annotations that the data support, by the rule above."""
    lines = {treatment: style.line(rows, treatment) for treatment in TREATMENTS}
    if lines["base"].empty:
        return []
    base = lines["base"].iloc[0]
    found = [Annotation("1: Base, trained on\nthe target alone", 0, base, True)]
    lost = supported(style.means(rows, "difference", "BnB"), -1)
    if lost is not None:
        y = (base + lines["BnB"][lost]) / 2
        found.append(Annotation("2: Performance drops due\nto fragile co-adaptation", lost, y, False))
        # Recovered: where BnB loses most, BnB+ is no more than the margin below its base.
        trained = style.means(rows, "difference", "BnB+")
        trained = trained[trained.n == lost]
        if len(trained) and trained.value.iloc[0] > -MARGIN:
            text = "3: Fine-tuning recovers\nco-adapted interactions"
            found.append(Annotation(text, lost, lines["BnB+"][lost], True))
    specific = supported(style.means(rows, "specificity", "AnB"), -1)
    if specific is not None and specific in lines["BnB"]:
        y = (lines["BnB"][specific] + lines["AnB"][specific]) / 2
        found.append(Annotation("4: Performance drops due to\nrepresentation specificity", specific, y, False))
    gained = supported(style.means(rows, "difference", "AnB+"), +1)
    if gained is not None:
        text = "5: Transfer + fine-tuning\nimproves generalization"
        found.append(Annotation(text, gained, lines["AnB+"][gained], True))
    return found


def annotate(axes: Axes, found: list[Annotation]) -> None:
    """Writes the annotations into bands of their own above and below the lines, so that none can overlap another.

    Each text stands as near to what it points at as its neighbours allow, in the order of what they point at, so
    that no two pointers cross.
    """
    low, high = axes.get_ylim()
    band = 0.22 * (high - low)
    axes.set_ylim(low - band * any(not a.above for a in found), high + band * any(a.above for a in found))
    left, right = axes.get_xlim()
    for above in (True, False):
        row = sorted((a for a in found if a.above == above), key=lambda a: (a.x, a.text))
        wishes = [(a.x - left) / (right - left) for a in row]
        widths = [0.02 + 0.0115 * max(len(line) for line in a.text.split("\n")) for a in row]  # of the axes
        for annotation, where in zip(row, side_by_side(wishes, widths), strict=True):
            axes.annotate(
                annotation.text,
                xy=(annotation.x, annotation.y),
                xycoords="data",
                xytext=(where, 0.99 if above else 0.02),
                textcoords="axes fraction",
                ha="center",
                va="top" if above else "bottom",
                fontsize=6.8,
                linespacing=1.15,
                zorder=6,
                arrowprops={
                    "arrowstyle": "-|>",
                    "mutation_scale": 5,
                    "lw": 0.6,
                    "color": style.GREY,
                    "shrinkA": 1,
                    "shrinkB": 2.5,
                    "relpos": (0.5, 0.0 if above else 1.0),
                },
            )


def side_by_side(wishes: list[float], widths: list[float]) -> list[float]:
    """Centres in 0..1, in the order of `wishes` and near them, of boxes of these widths that do not overlap."""
    centres = []
    edge = 0.0
    for wish, width in zip(wishes, widths, strict=True):
        centres.append(max(wish, edge + width / 2))
        edge = centres[-1] + width / 2
    edge = 1.0
    for i in reversed(range(len(centres))):
        centres[i] = min(centres[i], edge - widths[i] / 2)
        edge = centres[i] - widths[i] / 2
    return centres


def draw_networks(axes: Axes, rows: pd.DataFrame, owner: str, alpha: float) -> None:
    """Top panel: every network a marker, the treatments of one n side by side."""
    for treatment in TREATMENTS:
        look = style.LOOKS[treatment]
        some = rows[rows.treatment == treatment]
        style.markers(axes, some.n + look.offset, some.accuracy, look, alpha=alpha, gid=f"{owner} {treatment}")


def draw_means(axes: Axes, rows: pd.DataFrame, depth: int) -> None:
    """Bottom panel: lines through the means, all from the base's mean at n = 0; shaded effects; intervals."""
    lines = {t: line for t in TREATMENTS if len(line := style.line(rows, t))}
    for upper, lower, colour in SHADES:
        if upper in lines and lower in lines:
            edges = pd.DataFrame({"upper": lines[upper], "lower": lines[lower]})
            edges["upper"] = lines["base"].iloc[0] if upper == "base" else edges.upper
            edges = edges.dropna()
            axes.fill_between(edges.index, edges.upper, edges.lower, color=colour, linewidth=0, zorder=0)
    if "base" in lines:
        axes.plot([0, depth], [lines["base"].iloc[0]] * 2, "--", color="black", lw=0.9, zorder=1)
    for treatment, line in lines.items():
        look = style.LOOKS[treatment]
        means = style.means(rows, "accuracy", treatment)
        if treatment != "base":
            axes.plot(line.index, line, color=look.line, lw=1.7, zorder=2, gid=f"own {treatment} line")
        style.markers(axes, means.n, means.value, look, size=4.6, gid=f"mean {treatment}")
        style.bars(axes, means, look, shift=look.offset / 3)


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Figure 2 of `rows` (from `results.networks`), with the networks of `beside` faint and dotted."""
    rows = rows[rows.treatment.isin(TREATMENTS)]
    depth = int(rows.n.max())
    figure = style.new_figure(7.3)
    top, bottom = figure.subplots(2, 1)
    if beside is not None:
        draw_networks(top, beside, "paper", alpha=0.25)
        for treatment in TREATMENTS:
            line = style.line(beside, treatment)
            if treatment == "base":
                line = pd.Series(line.iloc[0], index=[0, depth]) if len(line) else line
            axes_line = {"color": style.LOOKS[treatment].line, "ls": ":", "lw": 1.3, "zorder": 1.5}
            bottom.plot(line.index, line, gid=f"paper {treatment} line", **axes_line)
    draw_networks(top, rows, "own", alpha=1.0)
    draw_means(bottom, rows, depth)
    for axes in (top, bottom):
        axes.set_ylabel("Top-1 accuracy (higher is better)")
        axes.set_xlabel("Layer $n$ at which network is chopped and retrained")
        axes.set_xlim(-0.45, depth + 0.45)
        axes.set_xticks(range(depth + 1))
        axes.yaxis.set_major_locator(MaxNLocator(8))
    annotate(bottom, annotations(rows))
    style.counts(bottom, [(t, style.means(rows, "accuracy", t)) for t in TREATMENTS])
    present = [t for t in TREATMENTS if (rows.treatment == t).any()]
    handles, labels = zip(*(style.handle(style.LOOKS[t]) for t in present), strict=True)
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(present),
        handletextpad=0.2,
        columnspacing=1.2,
        title=title or None,
        title_fontsize=9,
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = style.command_line(__doc__)
    parser.add_argument("--split", default="", help="random (all random splits pooled) or the name of one split")
    options = parser.parse_args(arguments)
    rows, beside = style.tables(options)
    for split, some in style.groups(rows, options.split).items():
        others = None if beside is None else style.same_group(beside, some)
        name = "figure2" if split == "random" else f"figure2-{split}"
        notes = [] if beside is None else [style.BESIDE]
        title = "" if split == "random" else style.TITLES.get(split, split)
        style.publish(draw(some, others, title), options, name, some, style.missing(some, TREATMENTS), notes)


if __name__ == "__main__":
    style.run(main)
