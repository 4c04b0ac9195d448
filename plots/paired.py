"""Paired differences: the honest version of Figure 2. Ours, not the paper's.

    python plots/paired.py [RESULTS.CSV] [--paper] [--split random|manmade-natural|SPLIT] [--out figures]

Every network is compared with the base of its own split, target and seed, so that how hard a half is cannot pass for
an effect. (a) co-adaptation, BnB - base. (b) specificity, AnB - BnB on the same target. (c) what the fine-tuned
networks gain over the base of their own target. (d) the same gain averaged over n: pooled, as in the paper's Table 1,
and paired. In the logs of the paper all AnB+ have B halves and all BnB+ have A halves as targets, and B is easier:
pooled, AnB+ gains 1.6 points and BnB+ 0.2; paired, both gain 1.0. Bars are 95 % t intervals over units (split x
seed, both directions averaged first), from three units on; the shaded band is one point, the margin of "the same".
"""

from collections.abc import Sequence

import pandas as pd
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from transferability.results.statistics import MARGIN, Mean, mean_of, pooled_mean

POOLED, PAIRED = "white", "#444444"
COUNTED = "Below each panel and on the bars: " + style.COUNTS + '. Grey band: one point, the margin of "the same".'
SPECIFICITY = style.Look("AnB − BnB", "#6a3d9a", "#6a3d9a", "s", False, 0.0)


def draw_differences(
    axes: Axes, rows: pd.DataFrame, treatment: str, column: str, look: style.Look, owner: str, shift: float = 0.0
) -> pd.DataFrame:
    """Faint markers of the networks and a line through the means of one paired difference; returns the means."""
    some = rows[(rows.treatment == treatment) & rows[column].notna()]
    means = style.means(some, column)
    if owner == "paper":
        axes.plot(means.n, means.value, ls=":", color=look.line, lw=1.3, gid=f"paper {treatment} {column}")
        return means
    style.markers(axes, some.n + shift, some[column], look, size=4.2, alpha=0.35, gid=f"own {treatment} networks")
    axes.plot(means.n + shift, means.value, color=look.line, lw=1.5, zorder=2, gid=f"own {treatment} {column}")
    style.markers(axes, means.n + shift, means.value, look, size=6, zorder=4, gid=f"mean {treatment} {column}")
    style.bars(axes, means, look, shift)
    return means


def gains(rows: pd.DataFrame, depth: int) -> list[tuple[str, Mean, Mean]]:
    """Panel d: label, pooled mean, paired mean of the fine-tuned networks at n = 1 .. depth."""
    trained = rows[rows.n.between(1, depth)]
    transfer, selffer = (trained[trained.treatment == t] for t in ("AnB+", "BnB+"))
    bases = rows[rows.treatment == "base"]
    pooled = {name: pooled_mean(some) for name, some in (("AnB+", transfer), ("BnB+", selffer), ("base", bases))}

    def minus(left: str, right: str) -> Mean:
        both = pooled[left].value - pooled[right].value
        return Mean(both, float("nan"), float("nan"), pooled[left].networks, pooled[left].units, "")

    return [
        ("AnB+ − base", minus("AnB+", "base"), mean_of(transfer)),
        ("BnB+ − base", minus("BnB+", "base"), mean_of(selffer)),
        ("AnB+ − BnB+", minus("AnB+", "BnB+"), mean_of(transfer, "specificity")),
    ]


def draw_gains(axes: Axes, rows: pd.DataFrame, depth: int) -> None:
    """Panel d: pooled (hollow) beside paired (filled), each with its value."""
    for x, (label, pooled, paired) in enumerate(gains(rows, depth)):
        for mean, dx, face in ((pooled, -0.2, POOLED), (paired, 0.2, PAIRED)):
            if mean.value != mean.value:
                axes.text(x + dx, 0.0004, "no pair", ha="center", va="bottom", rotation=90, fontsize=6.5)
                continue
            axes.bar(
                x + dx,
                mean.value,
                width=0.36,
                color=face,
                edgecolor="black",
                linewidth=0.8,
                gid=f"{'pooled' if dx < 0 else 'paired'} {label}",
            )
            top = mean.value
            if mean.low == mean.low:
                axes.vlines(x + dx, mean.low, mean.high, color="#888888" if dx > 0 else "black", lw=1.2)
                top = mean.high
            text = f"{round(100 * mean.value, 1) + 0.0:.1f}\n{mean.networks} ({mean.units})"
            axes.annotate(
                text.replace("-", "−"),
                (x + dx, max(top, 0)),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=6,
                linespacing=1.1,
            )
    axes.margins(y=0.25)
    axes.set_xticks(range(3), [label for label, _, _ in gains(rows, depth)], fontsize=6.5)
    axes.set_xlim(-0.55, 2.55)


def untied(rows: pd.DataFrame) -> str:
    """A warning where no target has both AnB+ and BnB+, as in the logs of the paper; else nothing."""
    targets = {}
    for treatment in ("AnB+", "BnB+"):
        some = rows[rows.treatment == treatment]
        targets[treatment] = set(zip(some.split, some.target, strict=True))
    if not all(targets.values()) or targets["AnB+"] & targets["BnB+"]:
        return ""
    halves = {t: " and ".join(sorted({f"{target} halves" for _, target in some})) for t, some in targets.items()}
    return (
        f"No target has both fine-tuned treatments: the targets of AnB+ are {halves['AnB+']}, those of BnB+ "
        f"{halves['BnB+']}. Their pooled difference in (d) is also one between the halves, and these networks cannot "
        "tell the two apart."
    )


def draw(rows: pd.DataFrame, beside: pd.DataFrame | None = None, title: str = "") -> Figure:
    """The four panels of `rows` (from `results.networks`) of one group; the means of `beside` are dotted."""
    depth = int(rows[(rows.plus == "") & rows.treatment.isin(("AnB", "BnB"))].n.max())
    figure = style.new_figure(6.4, width=6.5)
    panels = figure.subplot_mosaic([["a", "b"], ["c", "d"]])
    looks = style.LOOKS
    shown = {
        "a": ("Co-adaptation: BnB − base", [("BnB", "difference", looks["BnB"], 0.0)]),
        "b": ("Specificity: AnB − BnB, same target", [("AnB", "specificity", SPECIFICITY, 0.0)]),
        "c": (
            "Fine-tuned − base of the own target",
            [("BnB+", "difference", looks["BnB+"], -0.1), ("AnB+", "difference", looks["AnB+"], 0.1)],
        ),
    }
    for letter, (heading, lines) in shown.items():
        axes = panels[letter]
        counted = []
        for treatment, column, look, shift in lines:
            if beside is not None:
                draw_differences(axes, beside, treatment, column, look, "paper", shift)
            means = draw_differences(axes, rows, treatment, column, look, "own", shift)
            counted.append((treatment if column == "difference" else "AnB − BnB", means))
        axes.set_title(f"({letter}) {heading}", loc="left")
        axes.axhline(0, color="black", ls="--", lw=0.8, zorder=1)
        axes.axhspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0, lw=0)
        axes.set_xlim(0.5, max(depth, rows.n.max() if letter == "c" else 0) + 0.5)
        axes.set_xticks(range(1, int(axes.get_xlim()[1]) + 1))
        axes.set_xlabel("Layer $n$")
        axes.set_ylabel("Difference (points)")
        style.percent(axes)
        style.counts(axes, [(label.replace("AnB − BnB", "networks"), m) for label, m in counted], below=30, note="")
    axes = panels["d"]
    axes.set_title(f"(d) Mean gain, n = 1 to {depth}", loc="left")
    axes.axhline(0, color="black", ls="--", lw=0.8)
    draw_gains(axes, rows, depth)
    axes.set_ylabel("Difference (points)")
    style.percent(axes)
    entries = [style.handle(looks[t], t) for t in ("BnB+", "AnB+")]
    entries += [
        (Patch(facecolor=POOLED, edgecolor="black"), "pooled, as in Table 1"),
        (Patch(facecolor=PAIRED, edgecolor="black"), "paired"),
    ]
    if beside is not None:
        entries.append((Line2D([], [], ls=":", color="black"), "the paper's networks"))
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), title=title or None, title_fontsize=9)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = style.command_line(__doc__)
    parser.add_argument("--split", default="", help="random (all random splits pooled) or the name of one split")
    options = parser.parse_args(arguments)
    rows, beside = style.tables(options)
    figures = style.groups(rows, options.split)
    paired = {split: some[some.treatment.isin(("BnB", "BnB+", "AnB+"))] for split, some in figures.items()}
    comparable = {split: some for split, some in figures.items() if paired[split].difference.notna().any()}
    for split in figures.keys() - comparable.keys():
        print(f"paired: not drawn for {split}: it has neither BnB nor fine-tuned networks")
    if not comparable:
        raise style.Refused("no network of the table can be paired: BnB, BnB+ or AnB+ with their bases are needed")
    for split, some in comparable.items():
        others = None if beside is None else style.same_group(beside, some)
        name = "paired" if split == "random" else f"paired-{split}"
        absent = style.missing(some, ("base", "BnB", "BnB+", "AnB", "AnB+"))
        notes = [COUNTED, untied(some), "" if beside is None else style.BESIDE]
        style.publish(draw(some, others, style.TITLES.get(split, split)), options, name, some, absent, notes)


if __name__ == "__main__":
    style.run(main)
