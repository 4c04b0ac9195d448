"""Which classes does which layer tell? Average precision of each class over n, where images have several classes.

    python plots/average_precision_by_layer.py runs/STUDY [--variant svm] [--area] [--data data/SET] [--out figures]

Grey: each class; black: their mean (Razavian et al. 2014, figure 2); dashed: the mean of handmade features (n = 0). By
the eleven points of PASCAL VOC 2007, or by area with --area. --data, the packed set, gives classes their names: those
that gain most and least from the first layer read to the last are coloured and named. Reads runs/STUDY/results.csv and
the scores that readouts have written.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.features import DAMAGES
from transferability.plots.readout_by_layer import readouts
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, lines_of_cells, read_table
from transferability.results.table import full_names
from transferability.runs.paths import StudyFolder
from transferability.training.precision import average_precision

NAME = "average_precision_by_layer"
NAMED = 3  # classes that gain most, and as many that gain least


def precisions(folder: StudyFolder, network: str, eleven: bool) -> np.ndarray:
    """(classes,) float64: average precision of each class, NaN for those that no image has.

    Refused if the network has written no scores.
    """
    file = folder.predictions(network)
    try:
        with np.load(file) as stored:
            scores, labels = stored["scores"], stored["labels"]
    except (FileNotFoundError, KeyError):
        raise Refused(f"{file} has no scores: {network} is no readout of images with several classes") from None
    except DAMAGES as error:
        raise Refused(f"{file} is damaged ({error}); move {file.parent} away, and run the study again") from None
    values = [
        average_precision(scores[known, k], labels[known, k] == 1, eleven) for k, known in enumerate((labels >= 0).T)
    ]
    return np.array(values)


def by_layer(folder: StudyFolder, rows: pd.DataFrame, eleven: bool) -> pd.DataFrame:
    """One row for each n, ascending, one column for each class: the mean over networks."""
    values = {
        n: np.mean([precisions(folder, name, eleven) for name in full_names(own)], 0) for n, own in rows.groupby("n")
    }
    return pd.DataFrame(values).T


def most_different(values: pd.DataFrame, count: int = NAMED) -> list[int]:
    """The classes that gain most between the first layer and the last, then those that gain least."""
    gains = (values.iloc[-1] - values.iloc[0]).dropna().sort_values(ascending=False)
    order = [int(k) for k in gains.index]
    return list(dict.fromkeys([*order[:count], *order[-count:]]))


def panel(axes: Axes, values: pd.DataFrame, named: dict[int, str]) -> list[style.Entry]:
    """Lines over n. named: the classes that have a colour."""
    entries = []
    for k in values.columns:
        if int(k) not in named:
            axes.plot(values.index, values[k], color="#bbbbbb", lw=0.5, zorder=1)
    for look, (own, name) in zip(style.looks_of(list(named.values())).values(), named.items(), strict=True):
        style.curve(axes, values.index, values[own], color=look.line, lw=1)
        style.markers(axes, values.index, values[own], look, size=4.0, gid=f"class {own}")
        entries.append(style.handle(look, name, line=True))
    mean = values.mean(axis=1)
    axes.plot(mean.index, mean, color="black", lw=2, marker="o", ms=4, zorder=4, gid="mean")
    return entries


def lines_of(values: pd.DataFrame, named: dict[int, str]) -> tuple[str, ...]:
    """The classes that are named, and the mean, in %: at the first layer, at the last, and what is gained."""
    ends = {name: (values[k].iloc[0], values[k].iloc[-1]) for k, name in named.items()}
    ends["mean"] = (values.iloc[0].mean(), values.iloc[-1].mean())
    cells: list[tuple[str, ...]] = [("class", "first layer", "last layer", "gain")]
    for name, (low, high) in ends.items():
        cells.append((name, *(f"{100 * value:.1f}" for value in (low, high, high - low))))
    return lines_of_cells(cells)


def names_of(data: Path | None, count: int) -> list[str]:
    """The classes' names as the packed set has them; else their numbers."""
    if data is None:
        return [f"class {k}" for k in range(count)]
    from transferability.data.packed import open_packed

    names = [each.name for each in open_packed(data).classes]
    if len(names) != count:
        raise Refused(f"{data} has {len(names)} classes, and the readouts have {count}")
    return names


def draw(
    folder: StudyFolder, rows: pd.DataFrame, variant: str = "svm", eleven: bool = True, data: Path | None = None,
    page: Page = PLAIN,
) -> list[Drawn]:  # fmt: skip
    """The figure of each split. rows: of the study's results table."""
    chosen = readouts(rows)
    chosen = chosen[chosen["val_map"].notna() & (chosen["val_precision_ten"].isna())]
    layers = chosen[(chosen["variant"] == variant) & (chosen["n"] > 0)]
    if layers.empty:
        raise Refused(f"{folder.results} has no readout A3B@{variant} of images with several classes")
    drawings = []
    for split, own in layers.groupby("split"):
        values = by_layer(folder, own, eleven)
        names = names_of(data, len(values.columns))
        named = {k: names[k] for k in most_different(values)}
        figure = style.new_figure(page, 3.6, style.WIDTH)
        axes = figure.subplots()
        entries = panel(axes, values, named)
        handmade = chosen[(chosen["split"] == split) & (chosen["n"] == 0)]
        for name in handmade["variant"].unique():
            level = handmade[handmade["variant"] == name]["val_map_eleven" if eleven else "val_map"].mean()
            axes.axhline(level, color="black", ls="--", lw=0.8, zorder=1, gid=name)
            axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), fontsize=6, ha="right", va="bottom")
        axes.set_ylim(0, 1)
        style.layer_ticks(axes, own, list(values.index))
        style.layer_axis(axes, "Layer $n$ whose features are read")
        axes.set_ylabel("Average precision" + (" (VOC 2007)" if eleven else ""))
        style.legend(figure, figure.get_figwidth(), entries, str(split))
        note = f"Black: the mean of {values.notna().any().sum()} classes. Grey: the other classes."
        style.caption(figure, page, own["study"], [note])
        drawings.append(Drawn(NAME, figure, str(split), lines_of(values, named)))
    return drawings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of the study's runs")
    parser.add_argument("--variant", default="svm", help="of the readouts that are drawn (svm)")
    parser.add_argument("--area", action="store_true", help="average precision by area, not by eleven points")
    parser.add_argument("--data", type=Path, metavar="SET", help="folder of the packed set: the names of classes")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        folder = StudyFolder(options.runs)
        rows = read_table(folder.results).rows
        page = command.page_of(options)
        command.publish(draw(folder, rows, options.variant, not options.area, options.data, page), options)
