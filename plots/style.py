"""What all plots share: the paper's colours and markers, reading tables, saving, captions, the command line.

Nothing in this folder imports torch: a figure needs a results table and matplotlib, no more.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.files import Refused, in_words, write_atomically
from transferability.results import statistics as results
from transferability.results.paper import paper_results

# A plot is a script of its own, so the settings are set once, here, for the process. Type 42 embeds the fonts as
# TrueType, which publishers ask for; 5.5 inches is the width of the text in the paper's proceedings.
matplotlib.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "savefig.dpi": 220,
    }
)
WIDTH = 5.5  # inches
SMALL = 6.5  # points: counts, captions, notes
GREY = "#555555"
TITLES = {"random": "Random splits", "manmade-natural": "Man-made/Natural split"}
# Goes below a figure that sets one's own networks beside the paper's.
BESIDE = "Faint and dotted: the paper's networks. Accuracies of both are the mean of the ten highest validations."
COUNTS = "networks (units) of each mean; bars: 95 % t interval over units, from three units on"
# Goes below every figure of a study whose name starts with "demo".
DEMO = (
    "The demo's pictures were drawn, and its recipe chosen, so that the effect shows: this figure illustrates the "
    "method and is no evidence for the effect."
)
ORANGE = "#ff8800"
YELLOW = "#f2c400"


@dataclass(frozen=True)
class Look:
    """How one treatment is drawn: colours differ in luminance too, and every treatment has a shape of its own."""

    label: str  # the paper's name of it
    line: str  # colour of lines and of the marker's edge
    face: str  # colour of the marker's inside
    marker: str
    plus: bool  # a black plus inside, as in the paper: the copied layers are trained
    offset: float  # along n, where the treatments of one n stand side by side


# Colours, shapes and offsets of the paper's Figure 2.
LOOKS = {
    "base": Look("baseB", "#000000", "#ffffff", "o", False, 0.0),
    "BnB": Look("selffer BnB", "#00008b", "#00008b", "o", False, -0.15),
    "BnB+": Look("selffer BnB+", "#aaaaff", "#aaaaff", "o", True, -0.05),
    "AnB": Look("transfer AnB", "#8b0000", "#8b0000", "D", False, 0.05),
    "AnB+": Look("transfer AnB+", "#ffaaaa", "#ffaaaa", "D", True, 0.15),
    "RnB": Look("random, untrained filters", "#b08d00", YELLOW, "v", False, 0.25),
}
MN = Look("AnB, man-made/natural", "#c25e00", ORANGE, "h", False, 0.0)  # of the paper's Figure 3


def markers(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    look: Look,
    *,
    size: float = 5.5,
    alpha: float = 1.0,
    zorder: float = 3,
    gid: str | None = None,
) -> None:
    """Markers of one treatment at (x, y); `gid` names them in the figure, so that a test can read them back."""
    edge = "black" if look.face == "#ffffff" or look.plus else look.line
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=look.marker,
        markersize=size - (look.marker == "D"),
        color=look.line,
        markerfacecolor=look.face,
        markeredgecolor=edge,
        markeredgewidth=0.7,
        alpha=alpha,
        zorder=zorder,
        gid=gid,
    )
    if look.plus:
        axes.plot(
            x,
            y,
            linestyle="none",
            marker="+",
            markersize=size - 1.5,
            color="black",
            markeredgewidth=0.8,
            alpha=alpha,
            zorder=zorder + 0.1,
        )


def handle(look: Look, label: str | None = None, line: bool = False, dashes: str = "-") -> tuple:
    """Legend handle of a treatment (a tuple of artists that matplotlib draws over each other) and its label."""
    from matplotlib.lines import Line2D

    edge = "black" if look.face == "#ffffff" or look.plus else look.line
    body = Line2D(
        [],
        [],
        linestyle=dashes if line else "none",
        color=look.line,
        marker=look.marker,
        markersize=5.5,
        markerfacecolor=look.face,
        markeredgecolor=edge,
        markeredgewidth=0.7,
    )
    cross = Line2D(
        [], [], linestyle="none", marker="+" if look.plus else "", markersize=4, color="black", markeredgewidth=0.8
    )
    return (body, cross), label or look.label


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure in inches whose layout keeps labels, counts and captions clear of each other."""
    return Figure(figsize=(width, height), layout="constrained")


def caption(figure: Figure, text: str) -> None:
    """Print `text` below the figure, which grows by the lines that it needs."""
    if not text:
        return
    width, height = figure.get_size_inches()
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, int(width * 20)) or [""]]
    figure.set_size_inches(width, height + 0.125 * len(lines) + 0.05)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY, linespacing=1.25)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write NAME.png and NAME.pdf into `folder`, and print where they are."""
    # No date in the PDF: the same table gives the same bytes.
    for suffix, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
        with write_atomically(folder / f"{name}.{suffix}") as handle:
            figure.savefig(handle, format=suffix, metadata=metadata)
    print(f"{folder / name}.png  {folder / name}.pdf")


def bars(axes: Axes, means: pd.DataFrame, look: Look, shift: float = 0.0) -> None:
    """Intervals of means (columns n, low, high) as thin vertical bars; means without an interval get none."""
    rows = means.dropna(subset=["low", "high"])
    axes.vlines(rows.n + shift, rows.low, rows.high, color=look.line, lw=0.9, zorder=2.5)


def counts(
    axes: Axes,
    rows: Sequence[tuple[str, pd.DataFrame]],
    below: float = 34,
    note_below: bool = False,
    note: str = COUNTS,
) -> None:
    """Below the ticks of `axes`, `below` points down: for each label and n the networks of the mean, (units).

    `rows`: labels with their means (columns n, networks, units). What the numbers are is written into the first
    row, which has only n = 0, or, with `note_below`, into a line of its own.
    """
    put = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "va": "top",
        "fontsize": SMALL - 0.5,
        "color": "#333333",
    }
    left, _ = axes.get_xlim()
    shown = [(label, means) for label, means in rows if len(means)]
    for line, (label, means) in enumerate(shown):
        down = -below - 9 * line
        axes.annotate(label, xy=(left, 0), xytext=(-3, down), ha="right", **put)
        for mean in means.itertuples():
            axes.annotate(f"{mean.networks} ({mean.units})", xy=(mean.n, 0), xytext=(0, down), ha="center", **put)
    down = -below - 9 * (len(shown) if note_below else 0)
    axes.annotate(note, xy=(left if note_below else 0.6, 0), xytext=(0, down), ha="left", **put)


def percent(axes: Axes) -> None:
    """Label the y axis of differences in points: 0.01 is 1."""
    axes.yaxis.set_major_formatter(
        lambda value, _: "0" if abs(value) < 1e-9 else f"{100 * value:+.3g}".replace("-", "\N{MINUS SIGN}")
    )


# --- The tables ------------------------------------------------------------------------------------------------


def tables(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The networks to draw and those to set beside them, as `transferability.results.statistics.networks` gives them.

    RESULTS.CSV: the final accuracy. --paper: the networks of the paper, by its statistic, the mean of the ten
    highest validations. Both: that statistic on both sides; below 100 validations it is refused.
    Prints what is left out.
    """
    if options.table is None and not options.paper:
        raise Refused("nothing to draw: give a RESULTS.CSV, or --paper for the accuracies of the paper")
    paper = results.networks(paper_results(), "val_top1_best10") if options.paper else None
    if options.table is None:
        assert paper is not None
        return paper, None
    table = results.read_results(options.table)
    if lost := results.diverged(table):
        print("diverged, so not drawn: " + ", ".join(lost))
    return results.networks(table, "val_top1_best10" if options.paper else "val_top1"), paper


def means(rows: pd.DataFrame, column: str = "accuracy", treatment: str | None = None) -> pd.DataFrame:
    """`results.means_by_n` of rows that are of one group, or of one treatment, without the means that do not exist."""
    some = rows if treatment is None else rows[rows.treatment == treatment]
    return results.means_by_n(some, column).dropna(subset="value").sort_values("n")


def line(rows: pd.DataFrame, treatment: str) -> pd.Series:
    """Mean accuracies of a treatment over n, from the base's mean at n = 0 on."""
    means_of = means(rows, "accuracy", treatment)
    base = means(rows, "accuracy", "base") if treatment != "base" and len(means_of) else means_of[:0]
    both = pd.concat([base, means_of])
    return pd.Series(both.value.to_numpy(), index=both.n.to_numpy(dtype=int), dtype=float)


def same_group(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of the group that `others` are of; None if there are none."""
    some = rows[rows.group.isin(set(others.group))]
    return some if len(some) else None


def groups(rows: pd.DataFrame, wanted: str) -> dict[str, pd.DataFrame]:
    """The rows of each figure to draw, by name: each group that has selffer or transfer networks, or `wanted` only.

    `wanted`: "" for all groups, a group ("random" pools all random splits), or one split.
    """
    present = rows[rows.kind.isin(("selffer", "transfer"))]
    if wanted:
        chosen = rows[(rows.group == wanted) | (rows.split == wanted)]
        if chosen.empty:
            raise Refused(f"the table has no split {wanted}, only {', '.join(sorted(set(rows.split)))}")
        return {wanted: chosen}
    if present.empty:
        raise Refused("the table has no selffer and no transfer network to draw")
    return {name: rows[rows.group == name] for name in sorted(set(present.group), key="random".__ne__)}


def missing(rows: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Names of the networks that a figure would show and the table lacks; A{1..7}B+ stands for A1B+ to A7B+.

    Expected is, for each split and seed of the table, each treatment of `wanted` for each task as target, at each n
    of the table at which something is left to train.
    """
    have = set(results.full_names(rows))
    ns = sorted(set(rows[(rows.n > 0) & (rows.plus == "")].n))
    depth = (rows.n + rows.preserved).max()
    names = []
    for split, seed in sorted(set(zip(rows.split, rows.seed, strict=True))):
        tasks = {"W": ""} if split == "whole" else {"A": "B", "B": "A"}
        for treatment in wanted:
            for target, other in tasks.items():
                if treatment == "base":
                    grid = {f"{split}/base{target}/seed-{seed}": ""}
                    pattern = f"{split}/base{target}/seed-{seed}"
                elif treatment[0] == "A" and not other:
                    continue  # no transfer within all classes
                else:
                    source = {"A": other, "B": target, "R": "R"}[treatment[0]]
                    rest = treatment[2:].replace("B", target, 1)
                    preserved = int(treatment[4:]) if "p" in treatment else 0
                    grid = {f"{split}/{source}{n}{rest}/seed-{seed}": str(n) for n in ns if n + preserved <= depth}
                    pattern = f"{split}/{source}%s{rest}/seed-{seed}"
                lacks = [n for name, n in grid.items() if name not in have]
                span = "".join(lacks) if len(lacks) < 2 else "{" + ",".join(lacks) + "}"
                if len(lacks) > 2 and lacks == [str(n) for n in range(int(lacks[0]), int(lacks[-1]) + 1)]:
                    span = "{" + f"{lacks[0]}..{lacks[-1]}" + "}"
                names += [pattern.replace("%s", span)] if lacks else []
    return names


# --- The command line ------------------------------------------------------------------------------------------


def command_line(doc: str, *, table: str | None = "results.csv", paper: bool = True) -> argparse.ArgumentParser:
    """The arguments that all plots share; `table` is the kind of table that the plot reads, None for no table."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if table:
        parser.add_argument(
            "table", nargs="?" if paper else None, type=Path, metavar=table.upper(), help=f"the {table} of a study"
        )
    if table and paper:
        parser.add_argument(
            "--paper",
            action="store_true",
            help="the accuracies that the paper's authors logged: alone, or beside RESULTS.CSV",
        )
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder for the PNG and the PDF (figures)")
    parser.add_argument("--caption", default="", help="text to print below the figure")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a plot's `main`; an error for people is one line and exit code 2."""
    try:
        main()
    except (Refused, OSError) as error:  # a full disk, a folder of somebody else's
        if isinstance(error, OSError) and error.filename is None:
            raise
        print(in_words(error), file=sys.stderr)
        sys.exit(2)


def publish(
    figure: Figure,
    options: argparse.Namespace,
    name: str,
    rows: pd.DataFrame | None = None,
    absent: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print notes and caption below the figure, save it, and name the networks (`missing`) that it could not show."""
    demo = rows is not None and rows.study.str.startswith("demo").any()
    caption(figure, "\n".join(text for text in (*notes, options.caption, DEMO if demo else "") if text))
    save(figure, options.out, name)
    if absent:
        print(f"{name}: not in the table, so not drawn: " + ", ".join(absent))
