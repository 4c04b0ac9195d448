"""Figure 2: transfer layer by layer. Top: every network a marker. Bottom: means, shaded effects, annotations.

    python plots/figure2.py [RESULTS.CSV] [--split random|manmade-natural|SPLIT] [--paper] [--out figures]

Without --split, one figure pools all random splits (figure2), and another shows the man-made/natural split where
the table has it (figure2-manmade-natural). Below the bottom panel stand the networks of each mean and, in brackets,
its units (split x seed): from three units on, bars are 95 % t intervals over units.

An annotation stands where the data support it, and nowhere else. It is judged by a paired difference (same split,
target and seed), averaged over all n: the mean has to be beyond half a point and, from three units on, its 95 %
interval has to exclude 0. Below three units there is no interval: then the annotation is grey and says "(1 unit)". It
points at the n at which the mean difference is largest, which has to be beyond one point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transferability.names import counted
from transferability.plots import command, style
from transferability.plots.style import LOOKS, PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, file_name, groups, line, means, not_shown
from transferability.results.statistics import MARGIN, MIN_UNITS, Mean, mean_of
from transferability.splits import group_title

TREATMENTS = ("base", "BnB", "BnB+", "AnB", "AnB+")
HALVES = ("random", "manmade-natural", "whole")  # whose random features are in Figure 3, as in the paper
SHADES = (("base", "AnB+", "#ffeeee"), ("base", "BnB", "#eeeeff"), ("BnB", "AnB", "#ffcccc"))
ANNOTATED = (
    "Annotations: where the mean over n of the paired difference is beyond half a point and its interval excludes 0; "
    "grey: fewer than three units, no interval."
)


@dataclass(frozen=True)
class Annotation:
    """The paper's words, the point of the figure that they are about, and the units behind them (0: no effect)."""

    text: str
    x: float
    y: float
    units: int = 0

    @property
    def has_interval(self) -> bool:
        return not 0 < self.units < MIN_UNITS


# ------------------------------------------------------------------------------------------ annotations


@dataclass(frozen=True)
class Effect:
    """A paired difference that the data support: its mean over all n, and the n at which it is largest."""

    mean: Mean
    largest: int


def effect(rows: pd.DataFrame, treatment: str, column: str, sign: int) -> Effect | None:
    """The mean over n of a paired difference, if it is supported in the direction of `sign` (see the module)."""
    networks = rows[(rows["treatment"] == treatment) & rows[column].notna()]
    mean = mean_of(networks, column)
    if not sign * mean.value > MARGIN / 2:
        return None
    if mean.units >= MIN_UNITS and sign * (mean.low if sign > 0 else mean.high) <= 0:
        return None
    by_n = means(networks, column)
    sizes = (sign * by_n["value"]).to_numpy()
    return Effect(mean, int(by_n["n"].iloc[sizes.argmax()])) if sizes.max() > MARGIN else None


def recovered(rows: pd.DataFrame, ns: Sequence[int]) -> Mean | None:
    """BnB+ minus base at the n of BnB, if it is not below the base: by no more than the margin, interval included."""
    mean = mean_of(rows[(rows["treatment"] == "BnB+") & rows["n"].isin(ns)])
    lowest = mean.low if mean.units >= MIN_UNITS else mean.value
    return mean if lowest > -MARGIN else None


def annotations(rows: pd.DataFrame) -> list[Annotation]:
    """The paper's annotations that the data support, by the rule above. `rows`: of one group of splits."""
    lines = {treatment: line(rows, treatment) for treatment in TREATMENTS}
    if lines["base"].empty:
        return []
    base = float(lines["base"].iloc[0])
    supported = [Annotation("1: Base, trained on the target alone", 0, base)]
    lost = effect(rows, "BnB", "difference", -1)
    if lost is not None:
        n = lost.largest
        y = (base + lines["BnB"][n]) / 2
        supported.append(Annotation("2: Performance drops due to fragile co-adaptation", n, y, lost.mean.units))
        trained = recovered(rows, sorted(set(rows[rows["treatment"] == "BnB"]["n"])))
        if trained is not None and n in lines["BnB+"]:
            text = "3: Fine-tuning recovers co-adapted interactions"
            supported.append(Annotation(text, n, lines["BnB+"][n], min(lost.mean.units, trained.units)))
    specific = effect(rows, "AnB", "specificity", -1)
    if specific is not None:
        n = specific.largest
        y = (lines["BnB"][n] + lines["AnB"][n]) / 2
        text = "4: Performance drops due to representation specificity"
        supported.append(Annotation(text, n, y, specific.mean.units))
    gained = effect(rows, "AnB+", "difference", +1)
    if gained is not None:
        text = "5: Transfer + fine-tuning improves generalization"
        supported.append(Annotation(text, gained.largest, lines["AnB+"][gained.largest], gained.mean.units))
    return supported


def annotate(axes: Axes, shown: Sequence[Annotation]) -> None:
    """Write the annotations in one row above the panel, each as near to what it points at as its neighbours allow.

    They stand in the order of what they point at, so that no two pointers cross.
    """
    if not shown:
        return
    left, right = axes.get_xlim()
    width = style.width_of(axes) - 0.55  # inches of the panel
    size = 6.8 if width > 4 else 5.6  # points; a character takes some 0.58 of it
    most = int((width / len(shown) - 0.1) / (0.58 * size / 72))
    # Of two at one n, the text nearer to that n points at the higher place.
    middle = (left + right) / 2
    row = sorted(shown, key=lambda annotation: (annotation.x, annotation.y * (1 if annotation.x > middle else -1)))
    texts = [broken(annotation, min(most, 18)) for annotation in row]
    widths = [(0.58 * size / 72 * max(map(len, text.split("\n"))) + 0.1) / width for text in texts]
    centres = side_by_side([(annotation.x - left) / (right - left) for annotation in row], widths)
    for annotation, text, centre in zip(row, texts, centres, strict=True):
        colour = "black" if annotation.has_interval else "#8a8a8a"
        axes.annotate(
            text,
            xy=(annotation.x, annotation.y),
            xycoords="data",
            xytext=(centre, 1.05),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=size,
            color=colour,
            linespacing=1.15,
            zorder=6,
            arrowprops={
                "arrowstyle": "-|>",
                "mutation_scale": 5,
                "lw": 0.6,
                "color": style.GREY if annotation.has_interval else "#aaaaaa",
                "shrinkA": 1,
                "shrinkB": 2.5,
                "relpos": (0.5, 0.0),
            },
        )


def broken(annotation: Annotation, characters: int) -> str:
    """The text in lines of about so many characters, with its units where they are too few for an interval."""
    units = f" ({counted(annotation.units, 'unit')})"
    text = (annotation.text + ("" if annotation.has_interval else units)).replace(" unit", "\N{NO-BREAK SPACE}unit")
    lines = [""]
    for word in text.split(" "):
        fits = not lines[-1] or len(lines[-1]) + 1 + len(word) <= characters
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if fits else [lines[-1], word]
    return "\n".join(lines)


def side_by_side(wishes: Sequence[float], widths: Sequence[float]) -> list[float]:
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


# ------------------------------------------------------------------------------------------ the two panels


def treatments_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """What the figure shows of one group of splits: of pairs and domains random features too."""
    return TREATMENTS if rows["group"].isin(HALVES).any() else (*TREATMENTS, "RnB")


def draw_networks(axes: Axes, rows: pd.DataFrame, owner: str, alpha: float) -> None:
    """Top panel: every network a marker, the treatments of one n side by side."""
    for treatment in treatments_of(rows):
        look = LOOKS[treatment]
        networks = rows[rows["treatment"] == treatment]
        gid = f"{owner} {treatment}"
        style.markers(axes, networks["n"] + look.offset, networks["accuracy"], look, alpha=alpha, gid=gid)


def draw_shades(axes: Axes, lines: Mapping[str, "pd.Series[float]"]) -> None:
    """Bottom panel: the areas between the lines whose difference the paper speaks of."""
    for upper, lower, colour in SHADES:
        if upper in lines and lower in lines:
            edges = pd.DataFrame({"upper": lines[upper], "lower": lines[lower]})
            edges["upper"] = lines["base"].iloc[0] if upper == "base" else edges["upper"]
            edges = edges.dropna()
            axes.fill_between(edges.index, edges["upper"], edges["lower"], color=colour, linewidth=0, zorder=0)


def draw_means(axes: Axes, rows: pd.DataFrame, depth: int) -> None:
    """Bottom panel: lines through the means, all from the base's mean at n = 0; shaded effects; intervals."""
    lines = {treatment: own for treatment in treatments_of(rows) if len(own := line(rows, treatment))}
    draw_shades(axes, lines)
    if "base" in lines:
        axes.plot([0, depth], [lines["base"].iloc[0]] * 2, "--", color="black", lw=0.9, zorder=1)
    for treatment, own in lines.items():
        look = LOOKS[treatment]
        by_n = means(rows, "accuracy", treatment)
        if treatment != "base":
            style.curve(axes, own.index, own, color=look.line, lw=1.7, zorder=2, gid=f"own {treatment} line")
        style.markers(axes, by_n["n"], by_n["value"], look, size=4.6, gid=f"mean {treatment}")
        style.bars(axes, by_n, look, shift=look.offset / 3)


def draw_paper(axes: Axes, published: pd.DataFrame, depth: int) -> None:
    """Bottom panel: the means of the paper's networks, dotted."""
    for treatment in TREATMENTS:
        means_of = line(published, treatment)
        if treatment == "base" and len(means_of):
            means_of = pd.Series(means_of.iloc[0], index=[0, depth])
        look = {"color": LOOKS[treatment].line, "ls": ":", "lw": 1.3, "zorder": 1.5}
        style.curve(axes, means_of.index, means_of, gid=f"paper {treatment} line", **look)


def panels(rows: pd.DataFrame, published: pd.DataFrame | None, title: str, page: Page) -> Figure:
    """Figure 2 of networks of one group of splits; those of `published` are faint and dotted."""
    treatments = treatments_of(rows)
    rows = rows[rows["treatment"].isin(treatments)]
    depth = int(max(table["n"].max() for table in (rows, published) if table is not None))
    figure = style.new_figure(page, 7.0)
    top, bottom = figure.subplots(2, 1)
    if published is not None:
        draw_networks(top, published, "paper", alpha=0.25)
        draw_paper(bottom, published, depth)
    draw_networks(top, rows, "own", alpha=1.0)
    draw_means(bottom, rows, depth)
    for axes in (top, bottom):
        axes.set_ylabel("Top-1 accuracy (higher is better)")
        style.layer_axis(axes)
        axes.set_xlim(-0.45, depth + 0.45)
        style.layer_ticks(axes, rows, range(depth + 1))
        axes.yaxis.set_major_locator(MaxNLocator(8))
        style.accuracy_axis(axes)
    annotate(bottom, annotations(rows))
    style.counts(bottom, page, [(treatment, means(rows, "accuracy", treatment)) for treatment in treatments])
    present = [treatment for treatment in treatments if (rows["treatment"] == treatment).any()]
    style.legend(figure, figure.get_figwidth(), [style.handle(LOOKS[treatment]) for treatment in present], title)
    return figure


def draw(table: Table, page: Page = PLAIN, split: str = "") -> list[Drawn | NotDrawn]:
    """Figure 2 for each group of splits of the table, or for `split` alone."""
    drawings: list[Drawn | NotDrawn] = []
    for group, rows in groups(table.rows, split).items():
        if not rows["treatment"].isin(TREATMENTS[1:]).any():
            drawings.append(NotDrawn("figure2", f"{group} has none of {', '.join(TREATMENTS[1:])}"))
            continue
        title = "" if group == "random" else group_title(group)
        published = table.published_of(rows)
        figure = panels(rows, published, title, page)
        notes = [style.counted(page), ANNOTATED, table.note if published is not None else ""]
        style.caption(figure, page, rows["study"], notes)
        lines = not_shown(file_name("figure2", group), rows, treatments_of(rows))
        drawings.append(Drawn("figure2", figure, group, tuple(lines)))
    return drawings or [NotDrawn("figure2", "the table has no selffer and no transfer network")]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.add_split(command.table_parser(__doc__)), arguments)
