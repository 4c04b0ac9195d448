"""The look that all figures share: matplotlib's settings, the paper's colours and markers, names, counts, captions."""

import io
import itertools
import logging
import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, FigureBase
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedFormatter, FixedLocator

from transferability.files import Refused
from transferability.results.show import points as in_percent
from transferability.splits import GROUP_TITLES, group_title

# Type 42 embeds the fonts as TrueType, which publishers ask for.
SETTINGS: dict[str, Any] = {
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
    "svg.hashsalt": "transferability",  # the same table gives the same bytes
    "savefig.dpi": 220,
}
WIDTH = 5.5  # inches: the width of the text in the paper's proceedings
WIDE = 6.5  # inches: of figures with panels side by side
PANEL = 2.4  # inches: panels narrower than this stand below each other
SMALL = 6.5  # points: counts, captions, notes
GREY = "#555555"
MINUS = "\N{MINUS SIGN}"
ORANGE = "#ff8800"
YELLOW = "#f2c400"
INTERVALS = "bars: 95 % t interval over units (split × seed), from three units on"
LAYER = "Layer $n$ at which network is chopped and retrained"
INTERVALS_NOTE = INTERVALS[0].upper() + INTERVALS[1:] + "."


def settings(style_file: Path | None = None) -> AbstractContextManager[None]:
    """The project's matplotlib settings, in force inside `with settings():` and nowhere else.

    They start from matplotlib's defaults, so that no matplotlibrc of the user changes a figure. `style_file`: a
    matplotlib style file that is applied on top. Refused if it cannot be read or has a bad value.
    """
    styles: list[Any] = ["default", SETTINGS]
    if style_file is not None:
        styles.append(read_style(style_file))
    return matplotlib.style.context(styles)


def read_style(path: Path) -> dict[str, Any]:
    """The settings in a matplotlib style file. Refused, in one line, if it cannot be read or a line is no setting."""
    warnings: list[str] = []  # matplotlib logs what it does not understand, and goes on
    log = logging.getLogger("matplotlib")
    listen = logging.Handler()
    listen.emit = lambda record: warnings.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    propagates, log.propagate = log.propagate, False
    log.addHandler(listen)
    try:
        values = matplotlib.rc_params_from_file(str(path), fail_on_error=True, use_default_template=False)
    except (OSError, ValueError) as error:
        warnings = [str(error.strerror if isinstance(error, OSError) else error)]
    finally:
        log.removeHandler(listen)
        log.propagate = propagates
    if warnings:
        raise Refused(f"{path} cannot be used as a matplotlib style file ({warnings[0][:200]})")
    return {str(name): value for name, value in values.items()}


@dataclass(frozen=True)
class Page:
    """What a user chooses about every figure. `width`: inches, None for the figure's own; `caption`: text below it."""

    width: float | None = None
    counts: bool = True  # print the numbers of networks and units
    caption: str = ""

    def columns(self, panels: int, width: float = WIDE) -> int:
        """How many of `panels` fit side by side on this page; all of them at the figure's own `width`."""
        if self.width is None or self.width >= width:
            return panels
        return max(1, min(panels, int(self.width // PANEL)))


PLAIN = Page()


# ------------------------------------------------------------------------------------------ names


TASK_NAMES = {("manmade-natural", "A"): "man-made", ("manmade-natural", "B"): "natural"}


def group_name(group: str) -> str:
    """A group of splits inside a sentence: "random splits"; its name if it is none of the paper's."""
    return group_title(group).lower() if group in GROUP_TITLES else group


def task_name(group: str, task: str) -> str:
    """What a task's letter stands for in a group of splits: "man-made"; the letter where that has no words."""
    return TASK_NAMES.get((group, task), task)


def caution(studies: Iterable[str]) -> str:
    """What has to be said wherever results of the demo are shown; "" for other studies. `studies`: their names."""
    if not any(study.startswith("demo") for study in studies):
        return ""
    return (
        "The demo's images were drawn, and its recipe chosen, so that the effects show: this illustrates the method "
        "and is no evidence for the effects."
    )


# ------------------------------------------------------------------------------------------ treatments


@dataclass(frozen=True)
class Look:
    """How one treatment is drawn: colours differ in luminance too, and every treatment has a shape of its own."""

    label: str  # the paper's name of it
    line: str  # colour of lines and of the marker's edge
    face: str  # colour of the marker's inside
    marker: str
    plus: bool  # a black plus inside, as in the paper: the copied layers are trained
    offset: float  # along n, where the treatments of one n stand side by side

    @property
    def edge(self) -> str:
        return "black" if self.face == "#ffffff" or self.plus else self.line


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
# AnB on groups of splits that the paper does not have, by their order.
OTHERS = (("#006d5b", "s"), ("#5b2a86", "^"), ("#7a4a1e", "p"), ("#2f5597", "X"))


MARKERS = "sD^vPXp*h<"  # of treatments that the paper does not have


def looks_of(treatments: Sequence[str]) -> dict[str, Look]:
    """How each treatment is drawn: as everywhere, or in a colour of its own, beside each other along n."""
    colours = matplotlib.colormaps["tab10"]
    looks = {}
    for i, treatment in enumerate(treatments):
        shift = 0.5 * (i - (len(treatments) - 1) / 2) / max(1, len(treatments))
        known = LOOKS.get(treatment)
        line = known.line if known else matplotlib.colors.to_hex(colours(i % 10))
        marker = known.marker if known else MARKERS[i % len(MARKERS)]
        looks[treatment] = Look(treatment, line, known.face if known else line, marker, False, shift)
    return looks


def group_look(group: str, others: Sequence[str] = ()) -> Look:
    """How AnB on one group of splits is drawn; `others`: all groups of the figure that the paper does not have."""
    if group == "random":
        return LOOKS["AnB"]
    if group == "manmade-natural":
        return MN
    colour, marker = OTHERS[(others.index(group) if group in others else 0) % len(OTHERS)]
    return Look(f"AnB, {group_name(group)}", colour, colour, marker, False, 0.0)


Numbers = Sequence[float] | pd.Series | pd.Index


def markers(axes: Axes, x: Numbers, y: Numbers, look: Look, **options: Any) -> None:
    """Markers of one treatment at (x, y).

    options: size (points), and any of matplotlib's alpha, zorder and gid. A gid names the markers in the figure, so
    that a test can read them back.
    """
    size: float = options.pop("size", 5.5)
    options = {"zorder": 3.0, "linestyle": "none", **options}
    axes.plot(
        x,
        y,
        marker=look.marker,
        markersize=size - (look.marker == "D"),
        color=look.line,
        markerfacecolor=look.face,
        markeredgecolor=look.edge,
        markeredgewidth=0.7,
        **options,
    )
    if look.plus:
        options |= {"zorder": options["zorder"] + 0.1, "gid": None}
        axes.plot(x, y, marker="+", markersize=size - 1.5, color="black", markeredgewidth=0.8, **options)


def curve(axes: Axes, x: Numbers, y: Numbers, **options: Any) -> None:
    """A line through (x, y); nothing for a single point, which its marker shows."""
    if len(x) > 1:
        axes.plot(x, y, **options)


Entry = tuple[Any, str]  # of a legend: what stands for it, and its label


def handle(look: Look, label: str | None = None, line: bool = False, dashes: Any = "-") -> Entry:
    """Legend entry of a treatment: artists that matplotlib draws over each other, and the label."""
    body = Line2D(
        [],
        [],
        linestyle=dashes if line else "none",
        color=look.line,
        marker=look.marker,
        markersize=5.5,
        markerfacecolor=look.face,
        markeredgecolor=look.edge,
        markeredgewidth=0.7,
    )
    marker = "+" if look.plus else ""
    plus = Line2D([], [], linestyle="none", marker=marker, markersize=4, color="black", markeredgewidth=0.8)
    return (body, plus), label or look.label


# ------------------------------------------------------------------------------------------ figures


class ShownFigure(Figure):
    """A figure that a notebook shows as the value of a cell, whatever backend of matplotlib is in use."""

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=130)
        return image.getvalue()


def new_figure(page: Page, height: float, width: float = WIDTH) -> Figure:
    """A figure of `page.width` or `width` inches whose layout keeps labels, counts and captions apart."""
    return ShownFigure(figsize=(page.width or width, height), layout="constrained")


def in_rows(panels: Sequence[str], columns: int) -> list[Any]:
    """Names of panels, so many side by side, as matplotlib's subplot_mosaic takes them."""
    rows = [list(panels[start : start + columns]) for start in range(0, len(panels), columns)]
    return [row + ["."] * (columns - len(row)) for row in rows]


def beside(count: int) -> list[float]:
    """Factors that set so many markers beside each other on a logarithmic axis, around where they belong."""
    return [1.03 ** (i - (count - 1) / 2) for i in range(count)]


def legend(figure: FigureBase, width: float, entries: Sequence[Entry], title: str = "") -> None:
    """A legend above the panels, in as many columns as fit into `width` inches."""
    handles, labels = zip(*entries, strict=True)
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=legend_columns(labels, width),
        handletextpad=0.3,
        columnspacing=1.2,
        title=title or None,
        title_fontsize=9,
    )


def legend_columns(labels: Sequence[str], width: float) -> int:
    """In how many columns the labels of a legend fit into `width` inches; matplotlib fills the first columns first."""
    size = SETTINGS["legend.fontsize"]
    lengths = [_text_width(label, size) for label in labels]
    for columns in range(len(labels), 1, -1):
        rows, longer = divmod(len(labels), columns)
        starts = [column * rows + min(column, longer) for column in range(columns + 1)]
        text = sum(max(lengths[start:end]) for start, end in itertools.pairwise(starts))
        # An entry's handle with the space around it, and the legend's borders, in ems.
        if text + (3.5 * columns + 0.6) * size <= 72 * width:
            return columns
    return 1


def caption(figure: Figure, page: Page, studies: Iterable[str] = (), notes: Sequence[str] = ()) -> None:
    """Print the notes, the user's caption and the demo's caution below the figure, which grows by their lines."""
    parts = [part for part in (*notes, page.caption, caution(studies)) if part]
    if not parts:
        return
    width, height = figure.get_size_inches()
    lines = [line for part in "\n".join(parts).split("\n") for line in textwrap.wrap(part, int(width * 19)) or [""]]
    figure.set_size_inches(width, height + 0.125 * len(lines) + 0.05)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY, linespacing=1.25)


def counted(page: Page, where: str = "Below the panel") -> str:
    """The note that explains `counts` and `bars`."""
    if not page.counts:
        return INTERVALS_NOTE
    return f"{where}: networks (units) of each mean; {INTERVALS}."


def counts(axes: Axes, page: Page, rows: Sequence[tuple[str, pd.DataFrame]]) -> None:
    """Below the x axis of `axes`, for each label and n the networks of the mean, and in brackets its units.

    `rows`: labels with their means (columns n, networks, units).
    """
    if not page.counts:
        return
    left, _ = axes.get_xlim()
    # Points: the tick labels, the layers' names below them, and the axis' label.
    below = 23 + 11 * (1 + axes.get_xlabel().count("\n")) + _height_of_names(axes)
    put: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "va": "top",
        "fontsize": SMALL - 0.5,
        "color": "#333333",
    }
    for line, (label, means) in enumerate((label, means) for label, means in rows if len(means)):
        down = -below - 9 * line
        axes.annotate(label, xy=(left, 0), xytext=(-3, down), ha="right", **put)
        cells = [f"{networks} ({units})" for networks, units in zip(means["networks"], means["units"], strict=True)]
        if max(_text_width(cell, SMALL - 0.5) for cell in cells) + 2 > room_per_n(axes):
            axes.annotate(_in_runs(means["n"], cells), xy=(left, 0), xytext=(3, down), ha="left", **put)
            continue
        for n, cell in zip(means["n"], cells, strict=True):
            axes.annotate(cell, xy=(n, 0), xytext=(0, down), ha="center", **put)


def _in_runs(ns: Numbers, cells: Sequence[str]) -> str:
    """The counts in one line, where they have no room below each n: "n = 1 to 19: 4 (2); 20: 2 (2)"."""
    runs = [[*run] for _, run in itertools.groupby(zip(ns, cells, strict=True), key=lambda pair: pair[1])]
    ends = [(int(run[0][0]), int(run[-1][0]), run[0][1]) for run in runs]
    texts = [f"{first}{f' to {last}' if last > first else ''}: {cell}" for first, last, cell in ends]
    if len(texts) > 4:
        return f"{texts[0].partition(': ')[2]} and others"
    return "n = " + "; ".join(texts)


def bars(axes: Axes, means: pd.DataFrame, look: Look, shift: float = 0.0) -> None:
    """Intervals of means (columns n, low, high) as thin vertical bars; means without an interval get none."""
    rows = means.dropna(subset=["low", "high"])
    axes.vlines(rows["n"] + shift, rows["low"], rows["high"], color=look.line, lw=0.9, zorder=2.5)


def width_of(axes: Axes) -> float:
    """The width of the figure that the panel is in, in inches."""
    figure: Any = axes.figure  # or a part of it; get_figure(root=True) came with matplotlib 3.10
    return float(figure.figure.get_figwidth())


def layer_ticks(axes: Axes, rows: pd.DataFrame, ns: Sequence[int]) -> None:
    """Ticks at `ns`, as many as have room, and below them the names of the layers where those have.

    rows: of networks of one architecture (columns n, layer). The limits of the axis have to be set.
    """
    room = room_per_n(axes)
    size = FontProperties(size=matplotlib.rcParams["xtick.labelsize"]).get_size_in_points()
    needed = _text_width(str(max(ns)), size) + 2
    step = next((step for step in (1, 2, 5, 10, 20) if step * room >= needed), 50)
    axes.set_xticks([n for n in ns if n % step == 0 or step == 1])
    names = layer_names(rows)
    shown = [n for n in names if n in ns]
    widest = max((_text_width(names[n], SMALL) for n in shown), default=0)
    if not shown or room < SMALL + 0.5:
        return
    axes.xaxis.remove_overlapping_locs = False
    axes.xaxis.set_minor_locator(FixedLocator(shown))
    axes.xaxis.set_minor_formatter(FixedFormatter([names[n] for n in shown]))
    turned = 90 if widest + 4 > room else 0
    axes.tick_params(axis="x", which="minor", length=0, pad=16, labelsize=SMALL, labelrotation=turned)


def layer_names(rows: pd.DataFrame) -> dict[int, str]:
    """n → name of that layer, shortened; none where the rows do not say, or say several, or the names are numbers."""
    named = rows[(rows["n"] > 0) & (rows["layer"] != "")][["n", "layer"]].drop_duplicates()
    if named["n"].duplicated().any() or not any(any(map(str.isalpha, name)) for name in named["layer"]):
        return {}
    for shorten in (_last_words, _last_characters):
        names = [shorten(name) for name in named["layer"]]
        if len(set(names)) == len(names):
            return dict(zip(map(int, named["n"]), names, strict=True))
    return {}


def _last_words(name: str, most: int = 12) -> str:
    """The end of a layer's name, by which layers differ: encoder.layers.encoder_layer_3 is …layer_3."""
    short = name
    while len(short) > most and (separator := re.search(r"[._]", short)):
        short = short[separator.end() :]
    return short if short == name else "…" + short


def _last_characters(name: str, most: int = 16) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def room_per_n(axes: Axes) -> float:
    """About how many points wide the panel is for each n."""
    low, high = axes.get_xlim()
    return 72 * (_share_of_width(axes) - 0.75) / (high - low)


def _share_of_width(axes: Axes) -> float:
    """The inches of the figure's width that the panel has, with its labels."""
    place = axes.get_subplotspec()
    return width_of(axes) * (1.0 if place is None else len(place.colspan) / place.get_gridspec().ncols)


def _text_width(text: str, size: float) -> float:
    """In points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(width)


def _height_of_names(axes: Axes) -> float:
    """The height of the layers' names below the axis, in points; 0 where there are none."""
    if not isinstance(axes.xaxis.get_minor_formatter(), FixedFormatter):
        return 0.0
    names = axes.get_xticklabels(minor=True)
    turned = any(name.get_rotation() for name in names)
    return 4.0 + (max(_text_width(name.get_text(), SMALL) for name in names) if turned else SMALL)


def layer_axis(axes: Axes, label: str = LAYER) -> None:
    """Label the axis of n, on two lines where the panel is too narrow for one."""
    size = FontProperties(size=matplotlib.rcParams["axes.labelsize"]).get_size_in_points()
    if _text_width(label.replace("$", ""), size) > 72 * (_share_of_width(axes) - 0.3):
        middle = min((i for i, letter in enumerate(label) if letter == " "), key=lambda i: abs(i - len(label) / 2))
        label = f"{label[:middle]}\n{label[middle + 1 :]}"
    axes.set_xlabel(label)


def accuracy_axis(axes: Axes) -> None:
    """Keep an axis of accuracies within 0 and 1."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(1.0, high))


def points(fraction: float, signed: bool = True, minus: str = MINUS) -> str:
    """A difference of 0.0123 as "+1.2" percentage points; "1.2" if not `signed`."""
    return in_percent(fraction, sign=signed).replace("-", minus)


def in_points(axis: Axis) -> None:
    """Label an axis of differences in percentage points: 0.01 is 1."""
    axis.set_major_formatter(lambda value, _: "0" if abs(value) < 1e-9 else f"{100 * value:+.3g}".replace("-", MINUS))


def points_axis(axes: Axes, label: str = "Difference (points)") -> None:
    """The y axis of a panel of differences."""
    axes.set_ylabel(label)
    in_points(axes.yaxis)
