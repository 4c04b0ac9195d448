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
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.files import Refused

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


def markers(axes: Axes, x: Sequence[float], y: Sequence[float], look: Look, *, size: float = 5.5,
            alpha: float = 1.0, zorder: float = 3, gid: str | None = None) -> None:  # fmt: skip
    """Markers of one treatment at (x, y); `gid` names them in the figure, so that a test can read them back."""
    edge = "black" if look.face == "#ffffff" or look.plus else look.line
    axes.plot(x, y, linestyle="none", marker=look.marker, markersize=size - (look.marker == "D"), color=look.line,
              markerfacecolor=look.face, markeredgecolor=edge, markeredgewidth=0.7, alpha=alpha, zorder=zorder,
              gid=gid)  # fmt: skip
    if look.plus:
        axes.plot(x, y, linestyle="none", marker="+", markersize=size - 1.5, color="black", markeredgewidth=0.8,
                  alpha=alpha, zorder=zorder + 0.1)  # fmt: skip


def handle(look: Look, label: str | None = None, line: bool = False) -> tuple:
    """Legend handle of a treatment (a tuple of artists that matplotlib draws over each other) and its label."""
    from matplotlib.lines import Line2D

    edge = "black" if look.face == "#ffffff" or look.plus else look.line
    body = Line2D([], [], linestyle="-" if line else "none", color=look.line, marker=look.marker, markersize=5.5,
                  markerfacecolor=look.face, markeredgecolor=edge, markeredgewidth=0.7)  # fmt: skip
    cross = Line2D([], [], linestyle="none", marker="+" if look.plus else "", markersize=4, color="black",
                   markeredgewidth=0.8)  # fmt: skip
    return (body, cross), label or look.label


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure in inches whose layout keeps labels, counts and captions clear of each other."""
    return Figure(figsize=(width, height), layout="constrained")


def caption(figure: Figure, text: str) -> None:
    """Print `text` below the figure, which grows by the lines that it needs."""
    if not text:
        return
    width, height = figure.get_size_inches()
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, int(width * 21.5)) or [""]]
    figure.set_size_inches(width, height + 0.125 * len(lines) + 0.05)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY, linespacing=1.25)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write NAME.png and NAME.pdf into `folder`, and print where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    # No date in the PDF: the same table gives the same bytes.
    figure.savefig(folder / f"{name}.png")
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    print(f"{folder / name}.png  {folder / name}.pdf")


def bars(axes: Axes, means: pd.DataFrame, look: Look, shift: float = 0.0) -> None:
    """Intervals of means (columns n, low, high) as thin vertical bars; means without an interval get none."""
    rows = means.dropna(subset=["low", "high"])
    axes.vlines(rows.n + shift + look.offset / 3, rows.low, rows.high, color=look.line, lw=0.9, zorder=2.5)


def counts(axes: Axes, means: pd.DataFrame, rows: Sequence[str], column: str = "treatment", below: float = 34) -> None:
    """Below the ticks of `axes`: for each of `rows` and n the networks of the mean, and its units in brackets.

    `below`: points between the axis and the first row.
    """
    present = [name for name in rows if (means[column] == name).any()]
    left = axes.get_xlim()[0]
    for line, name in enumerate(present):
        put = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top",
               "fontsize": SMALL - 0.5, "color": "#333333"}  # fmt: skip
        down = -below - 9 * line
        axes.annotate(name, xy=(left, 0), xytext=(-3, down), ha="right", **put)
        for row in means[means[column] == name].itertuples():
            axes.annotate(f"{row.networks} ({row.units})", xy=(row.n, 0), xytext=(0, down), ha="center", **put)
        if name == "base":
            axes.annotate("networks (units) of each mean; bars: 95 % t interval over units, from three units on",
                          xy=(0.6, 0), xytext=(0, down), ha="left", **put)  # fmt: skip


def lines(means: pd.DataFrame) -> dict[str, pd.Series]:
    """For each treatment its means over n; every line but the base's own starts from the base's mean at n = 0."""
    base = means[means.treatment == "base"]["mean"]
    result = {"base": pd.Series(base.to_numpy(), index=[0])} if len(base) else {}
    for treatment, rows in means[means.treatment != "base"].groupby("treatment"):
        line = rows.set_index("n")["mean"].sort_index()
        result[treatment] = pd.concat([result["base"], line]) if "base" in result else line
    return result


# --- The tables ------------------------------------------------------------------------------------------------


def treatments(df: pd.DataFrame) -> pd.DataFrame:
    """The networks of Figures 2 and 3 with a column `treatment`: base, BnB, BnB+, AnB, AnB+, RnB; others left out."""
    usual = (df.preserved == 0) & (df.images_per_class == "") & (df.variant == "") & df.plus.isin(("", "1"))
    names = {"base": "base", "selffer": "BnB", "transfer": "AnB", "random": "RnB"}
    df = df[usual].copy()
    df["treatment"] = df.kind.map(names) + df.plus.map({"": "", "1": "+"})
    return df


def interval(values: pd.Series) -> tuple[float, float]:
    from scipy import stats

    if len(values) < 3:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - half, values.mean() + half


def means(networks: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (treatment, n), group in networks.dropna(subset="top1").groupby(["treatment", "n"]):
        units = group.groupby(["split", "seed"]).top1.mean()
        rows.append((treatment, n, group.top1.mean(), len(group), len(units), *interval(units)))
    return pd.DataFrame(rows, columns=["treatment", "n", "mean", "networks", "units", "low", "high"])


def differences(networks: pd.DataFrame) -> pd.DataFrame:
    key = ["split", "target", "seed"]
    base = networks[networks.treatment == "base"].set_index(key).top1
    wide = networks[networks.treatment != "base"].set_index([*key, "n", "treatment"]).top1.unstack()
    wide["base"] = base.reindex(wide.index.droplevel("n")).to_numpy()
    rows = []
    for what in ("BnB - base", "AnB - BnB", "BnB+ - BnB", "AnB+ - base", "BnB+ - base", "AnB - base"):
        one, other = what.split(" - ")
        if one in wide and other in wide:
            for n, group in (wide[one] - wide[other]).dropna().groupby("n"):
                units = group.groupby(["split", "seed"]).mean()
                rows.append((what, n, group.mean(), len(group), len(units), *interval(units)))
    return pd.DataFrame(rows, columns=["what", "n", "mean", "networks", "units", "low", "high"])


# --- The command line ------------------------------------------------------------------------------------------


def command_line(doc: str, *, table: str | None = "results.csv", paper: bool = True) -> argparse.ArgumentParser:
    """The arguments that all plots share; `table` is the kind of table that the plot reads, None for no table."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if table:
        parser.add_argument("table", nargs="?" if paper else None, type=Path, metavar=table.upper(),
                            help=f"the {table} of a study")  # fmt: skip
    if table and paper:
        parser.add_argument("--paper", action="store_true",
                            help="the accuracies that the paper's authors logged: alone, or beside RESULTS.CSV")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder for the PNG and the PDF (figures)")
    parser.add_argument("--caption", default="", help="text to print below the figure")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a plot's `main`; an error for people is one line and exit code 2."""
    try:
        main()
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def tables(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The table to draw and the one to set beside it, each with a column `top1`, the accuracy of the figure.

    RESULTS: the final accuracy. --paper: the paper's, mean of the ten highest. Both: that statistic on both sides.
    """
    if options.table is None and not options.paper:
        raise Refused("nothing to draw: give a RESULTS.CSV, or --paper for the accuracies of the paper")
    if options.table is None:
        raise Refused("the paper's accuracies are not there yet")
    try:
        df = pd.read_csv(options.table, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise Refused(f"{options.table} is not a results table ({error})") from None
    df["top1"] = pd.to_numeric(df.val_top1)
    df["images_per_class"] = df.images_per_class.astype(str)
    df["plus"] = df["plus"].astype(str)
    return df, None


def splits_to_draw(df: pd.DataFrame, wanted: str) -> list[str]:
    """What figures of one table to draw: `wanted`, or random splits pooled and man-made/natural, where they are."""
    present = set(df[df.kind.isin(("selffer", "transfer"))].split)
    if wanted:
        if not any(split == wanted or split.startswith(f"{wanted}-") for split in present):
            raise Refused(f"the table has no split {wanted}, only {', '.join(sorted(present)) or 'networks of none'}")
        return [wanted]
    pooled = ["random"] if any(split.startswith("random-") for split in present) else []
    chosen = pooled + sorted(split for split in present if not split.startswith("random-"))
    if not chosen:
        raise Refused("the table has no selffer and no transfer network")
    return chosen


def of_split(df: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split; "random" is all random splits."""
    return df[df.split.str.startswith("random-") if split == "random" else df.split == split]


def missing(networks: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Names of the networks that the figure would show and the table lacks, `A{1,2}B+` for A1B+ and A2B+.

    Expected is, for each split and seed of the table, each of the treatments `wanted` at each n that the table has
    (of any treatment that leaves a layer to train), for each task as target.
    """
    networks = treatments(networks)
    have = set(zip(networks.split, networks.seed, networks.network, strict=True))
    ns = sorted(networks[(networks.n > 0) & (networks.plus == "")].n.unique())
    names = []
    for split, seed in sorted(set(zip(networks.split, networks.seed, strict=True))):
        tasks = ("W",) if split == "whole" else ("A", "B")
        for treatment in wanted:
            for task in tasks:
                kind, plus = treatment[0], treatment[3:]
                source = {"R": "R", "B": task, "A": "B" if task == "A" else "A"}.get(kind, "")
                if treatment == "base":
                    absent = [f"base{task}"] if (split, seed, f"base{task}") not in have else []
                else:
                    lacks = [str(n) for n in ns if (split, seed, f"{source}{n}{task}{plus}") not in have]
                    span = "{" + ",".join(lacks) + "}" if len(lacks) > 1 else "".join(lacks)
                    absent = [f"{source}{span}{task}{plus}"] if lacks else []
                names += [f"{split}/{name}/seed-{seed}" for name in absent]
    return names


def publish(figure: Figure, options: argparse.Namespace, name: str, networks: pd.DataFrame | None = None,
            wanted: Sequence[str] = ()) -> None:  # fmt: skip
    """Add the caption, save, and name what the figure could not show."""
    demo = networks is not None and networks.study.str.startswith("demo").any()
    caption(figure, "\n".join(text for text in (options.caption, DEMO if demo else "") if text))
    save(figure, options.out, name)
    if networks is not None:
        diverged = networks[networks.top1.isna()]
        if len(diverged):
            named = [f"{row.split}/{row.network}/seed-{row.seed}" for row in diverged.itertuples()]
            print("diverged, so not drawn: " + " ".join(named))
        if absent := missing(networks, wanted):
            print("not in the table, so not drawn: " + " ".join(absent))
