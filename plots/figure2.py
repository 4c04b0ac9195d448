"""Figure 2: transfer layer by layer. Top: every network a marker. Bottom: means, shaded effects, annotations.

    python plots/figure2.py runs/demo/results.csv [--split random|manmade-natural|SPLIT] [--out figures] [--paper]

Without --split, one figure pools all random splits (figure2), and another shows the man-made/natural split where
the study has one (figure2-manmade-natural). Below the bottom panel stand the networks of each mean and, in brackets,
its units (split x seed): from three units on, bars are 95 % t intervals over units.

An annotation is placed where the data support it, and nowhere else. Its difference is paired (same split, target
and seed), taken at the n where it is largest, and supports the annotation if its mean is beyond one point and, from
three units on, its interval excludes 0. Below three units there is no interval, and the note under the figure says so.
"""

from dataclasses import dataclass

import pandas as pd
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

FROZEN_AND_TRAINED = ("BnB", "BnB+", "AnB", "AnB+")
SHADES = (("base", "AnB+", "#ffeeee"), ("base", "BnB", "#eeeeff"), ("BnB", "AnB", "#ffcccc"))
TITLES = {"manmade-natural": "Man-made/Natural split"}
MARGIN = 0.01  # one point: smaller effects are not annotated


@dataclass(frozen=True)
class Annotation:
    text: str  # the paper's words
    x: float  # what it points at
    y: float
    above: bool  # in the free band above the lines, or below them


def annotations(means: pd.DataFrame, differences: pd.DataFrame) -> list[Annotation]:
    """The paper's annotations that the data support, by the rule above."""

    def mean(treatment: str, n: int) -> float:
        rows = means[(means.treatment == treatment) & (means.n == n)]
        return float(rows["mean"].iloc[0]) if len(rows) else float("nan")

    def largest(what: str, sign: int, first: int = 1) -> int | None:
        """The n at which `what` is largest in the direction of `sign`, if it is supported there."""
        rows = differences[(differences.what == what) & (differences.n >= first)].dropna(subset="mean")
        if rows.empty:
            return None
        row = rows.loc[(sign * rows["mean"]).idxmax()]
        bound = row.low if sign > 0 else row.high
        supported = sign * row["mean"] > MARGIN and (row.units < 3 or sign * bound > 0)
        return int(row.n) if supported else None

    found = []
    base = mean("base", 0)
    if base == base:
        found.append(Annotation("1: Base, trained on\nthe target alone", 0, base, True))
    dropped = largest("BnB - base", -1)
    if dropped is not None:
        y = (base + mean("BnB", dropped)) / 2
        found.append(Annotation("2: Performance drops due\nto fragile co-adaptation", dropped, y, False))
    recovered = largest("BnB+ - BnB", +1)
    if dropped is not None and recovered is not None:  # nothing recovers where nothing was lost
        text = "3: Fine-tuning recovers\nco-adapted interactions"
        found.append(Annotation(text, recovered, mean("BnB+", recovered), True))
    specific = largest("AnB - BnB", -1, first=2)
    if specific is not None:
        y = (mean("BnB", specific) + mean("AnB", specific)) / 2
        found.append(Annotation("4: Performance drops due to\nrepresentation specificity", specific, y, False))
    gained = largest("AnB+ - base", +1)
    if gained is not None:
        text = "5: Transfer + fine-tuning\nimproves generalization"
        found.append(Annotation(text, gained, mean("AnB+", gained), True))
    return found


def annotate(axes: Axes, found: list[Annotation]) -> None:
    """Writes the annotations into bands of their own above and below the lines, so that none can overlap another.

    Each text stands as near to what it points at as its neighbours allow, in the order of what they point at, so
    that no two pointers cross.
    """
    low, high = axes.get_ylim()
    band = 0.22 * (high - low)
    axes.set_ylim(low - band if any(not a.above for a in found) else low,
                  high + band if any(a.above for a in found) else high)  # fmt: skip
    left, right = axes.get_xlim()
    for above in (True, False):
        row = sorted((a for a in found if a.above == above), key=lambda a: (a.x, a.text))
        wishes = [(a.x - left) / (right - left) for a in row]
        widths = [0.0185 * max(len(line) for line in a.text.split("\n")) * 0.62 + 0.02 for a in row]
        for annotation, where in zip(row, side_by_side(wishes, widths), strict=True):
            axes.annotate(annotation.text, xy=(annotation.x, annotation.y), xycoords="data",
                          xytext=(where, 0.99 if above else 0.02), textcoords="axes fraction",
                          ha="center", va="top" if above else "bottom", fontsize=6.8, linespacing=1.15, zorder=6,
                          arrowprops={"arrowstyle": "-", "lw": 0.6, "color": style.GREY, "shrinkA": 1,
                                      "shrinkB": 2, "relpos": (0.5, 0.0 if above else 1.0)})  # fmt: skip


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


def draw_networks(axes: Axes, networks: pd.DataFrame, beside: pd.DataFrame | None) -> None:
    """Top panel: every network a marker, the treatments of one n side by side."""
    for table, alpha in ((beside, 0.3), (networks, 1.0)):
        if table is None:
            continue
        source = "paper" if alpha < 1 else "own"
        for treatment in ("base", *FROZEN_AND_TRAINED):
            look = style.LOOKS[treatment]
            rows = table[table.treatment == treatment]
            style.markers(axes, rows.n + look.offset, rows.top1, look, alpha=alpha, gid=f"{source} {treatment}")


def draw_means(axes: Axes, means: pd.DataFrame, beside: pd.DataFrame | None, depth: int) -> None:
    """Bottom panel: lines through the means, all from the base's mean at n = 0; shaded effects; intervals."""
    lines = style.lines(means)
    for upper, lower, colour in SHADES:
        if upper in lines and lower in lines:
            shared = lines[upper].index.intersection(lines[lower].index) if upper != "base" else lines[lower].index
            top = lines["base"].iloc[0] if upper == "base" else lines[upper][shared]
            axes.fill_between(shared, top, lines[lower][shared], color=colour, linewidth=0, zorder=0)
    if "base" in lines:
        axes.plot([0, depth], [lines["base"].iloc[0]] * 2, "--", color="black", lw=0.9, zorder=1, gid="own base line")
    for table, own in ((beside, False), (means, True)):
        if table is None:
            continue
        source = "own" if own else "paper"
        for treatment, line in style.lines(table).items():
            look = style.LOOKS[treatment]
            if treatment == "base":
                if not own:
                    axes.axhline(line.iloc[0], ls=":", color=style.GREY, lw=0.9, zorder=1)
            elif treatment in FROZEN_AND_TRAINED:
                axes.plot(line.index, line.values, color=look.line, lw=1.7 if own else 1.0, ls="-" if own else ":",
                          zorder=2, gid=f"{source} {treatment} line")  # fmt: skip
            if own and treatment in ("base", *FROZEN_AND_TRAINED):
                drawn = line if treatment == "base" else line[line.index > 0]
                style.markers(axes, drawn.index, drawn.values, look, size=4.6, gid=f"mean {treatment}")
                style.bars(axes, means[means.treatment == treatment], look)


def draw(df: pd.DataFrame, beside: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Figure 2 of the networks of one split, or of several pooled (columns as in results.csv, and `top1`)."""
    networks = style.treatments(df)
    others = None if beside is None else style.treatments(beside)
    means = style.means(networks)
    depth = int(networks[networks.treatment.isin(FROZEN_AND_TRAINED)].n.max())
    figure = style.new_figure(7.3)
    top, bottom = figure.subplots(2, 1, sharex=True)
    draw_networks(top, networks, others)
    draw_means(bottom, means, None if others is None else style.means(others), depth)
    for axes in (top, bottom):
        axes.set_ylabel("Top-1 accuracy (higher is better)")
        axes.set_xlim(-0.45, depth + 0.45)
        axes.set_xticks(range(depth + 1))
        axes.tick_params(labelbottom=True)
        axes.yaxis.set_major_locator(MaxNLocator(8))
    annotate(bottom, annotations(means, style.differences(networks)))
    style.counts(bottom, means, ("base", *FROZEN_AND_TRAINED))
    for axes in (top, bottom):
        axes.set_xlabel("Layer $n$ at which network is chopped and retrained")
    present = [t for t in ("base", *FROZEN_AND_TRAINED) if (networks.treatment == t).any()]
    handles, labels = zip(*(style.handle(style.LOOKS[t]) for t in present), strict=True)
    figure.legend(handles, labels, loc="outside upper center", ncols=len(present), handletextpad=0.2,
                  columnspacing=1.2, title=title or None, title_fontsize=9)  # fmt: skip
    return figure


def main() -> None:
    parser = style.command_line(__doc__)
    parser.add_argument("--split", default="", help="random (all random splits pooled) or the name of one split")
    options = parser.parse_args()
    df, beside = style.tables(options)
    for split in style.splits_to_draw(df, options.split):
        networks = style.of_split(df, split)
        figure = draw(networks, None if beside is None else style.of_split(beside, split), title=TITLES.get(split, ""))
        name = "figure2" if split == "random" else f"figure2-{split}"
        style.publish(figure, options, name, networks, ("base", *FROZEN_AND_TRAINED))


if __name__ == "__main__":
    style.run(main)
