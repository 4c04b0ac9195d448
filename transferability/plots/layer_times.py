"""Where convolutions and fully connected layers spend the time: the time of each layer, and shares by kind.

    transferability layers caffenet --csv caffenet.csv
    python plots/layer_times.py caffenet.csv [MORE.CSV …] [--out figures]

After Donahue et al. 2014 (DeCAF). A row of panels per network: left, the forward pass of each layer, in
milliseconds per image; right, the share of each kind of layer. A block of several layers counts as the kind that most
of its weights are of; what has no weights is *other*.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.files import Refused, shown
from transferability.names import counted
from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn

COLOURS = {"convolutional": "#00008b", "fully connected": "#c25e00", "other": "#999999"}
NUMBERS = ("n", "crop", "milliseconds", "batch", "threads")
COLUMNS = ("network", "layer", "kind", *NUMBERS)
MOST_NAMED = 40  # layers whose names can be read beside their bars


def read_layers(path: Path) -> pd.DataFrame:
    """The table that `transferability layers --csv` writes. Refused, naming the file, if it is another."""
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"layer": str, "network": str})
    except FileNotFoundError:
        raise Refused(f"{shown(path)} does not exist; `transferability layers NETWORK --csv FILE` writes it") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Refused(f"{shown(path)} is no table of layers ({str(error).splitlines()[0]})") from None
    if lacking := [column for column in COLUMNS if column not in table]:
        raise Refused(f"{shown(path)} is no table of layers: it lacks the column {', '.join(lacking)}")
    wrong = [column for column in NUMBERS if not pd.api.types.is_numeric_dtype(table[column])]
    if wrong or table.empty:
        raise Refused(
            f"{shown(path)} is no table of layers: {f'{wrong[0]} has no numbers' if wrong else 'it is empty'}"
        )
    if unknown := sorted(set(table["kind"]) - COLOURS.keys()):
        raise Refused(f"{shown(path)}: kind is {unknown[0]!r}; it is one of {', '.join(COLOURS)}")
    return table


def shares(table: pd.DataFrame) -> "pd.Series[float]":
    """Kind → its share of the network's time; kinds that the network has not are left out."""
    by_kind = table.groupby("kind")["milliseconds"].sum() / table["milliseconds"].sum()
    return by_kind.reindex([kind for kind in COLOURS if kind in by_kind.index])


def draw_layers(axes: Axes, table: pd.DataFrame) -> None:
    """A bar per layer, the first at the top."""
    colours = [COLOURS[kind] for kind in table["kind"]]
    places = range(len(table))
    axes.barh(places, table["milliseconds"], color=colours, height=0.75)
    few = len(table) <= MOST_NAMED
    for place, milliseconds in zip(places, table["milliseconds"] if few else (), strict=False):
        axes.annotate(
            f"{milliseconds:.3g}",
            (milliseconds, place),
            xytext=(2, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
        )
    if few:
        axes.set_yticks(places, list(table["layer"]), fontsize=style.SMALL)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_ylabel("Layer, from the input down")
        axes.set_yticks([])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("ms per image")
    first = table.iloc[0]
    threads = counted(first["threads"], "thread")
    axes.set_title(
        f"{first['network']}, {first['crop']} pixels: {table['milliseconds'].sum():.3g} ms\n"
        f"(batch {first['batch']}, {threads})",
        loc="left",
    )


def draw_shares(axes: Axes, table: pd.DataFrame) -> None:
    """One bar per kind, with its percentage."""
    by_kind = shares(table)
    axes.bar(range(len(by_kind)), 100 * by_kind, color=[COLOURS[kind] for kind in by_kind.index], width=0.7)
    for x, share in enumerate(by_kind):
        axes.annotate(
            f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %",
            (x, 100 * share),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks(range(len(by_kind)), [kind.replace(" ", "\n") for kind in by_kind.index], fontsize=style.SMALL)
    axes.set_xlim(-0.6, len(by_kind) - 0.4)
    axes.set_ylim(0, 108)
    axes.set_ylabel("Share of the time (%)")


def panels(tables: Sequence[pd.DataFrame], page: Page) -> Figure:
    """A row of two panels per network."""
    heights = [0.8 + 0.14 * min(max(len(table), 8), MOST_NAMED) for table in tables]
    figure = style.new_figure(page, sum(heights), style.WIDE)
    grid = figure.subplots(len(tables), 2, squeeze=False, width_ratios=[2.2, 1], height_ratios=heights)
    for (left, right), table in zip(grid, tables, strict=True):
        draw_layers(left, table)
        draw_shares(right, table)
    style.caption(figure, page)
    return figure


def draw(tables: Sequence[pd.DataFrame], page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """The times of the layers of each network."""
    return [Drawn("layer_times", panels(tables, page))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("tables", nargs="+", type=Path, metavar="LAYERS.CSV", help="of `transferability layers --csv`")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        tables = [read_layers(path) for path in options.tables]
        command.publish(draw(tables, command.page_of(options)), options)
