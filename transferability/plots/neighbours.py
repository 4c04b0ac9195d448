"""Queries and what they find: the training images nearest to a validation image in the features of a layer.

    transferability features experiments/retrieval.py imagenet-flowers17/A9B@white fire9.npz
    python plots/neighbours.py fire2.npz fire9.npz --data data/flowers17 [--queries 6] [--nearest 8] [--out figures]

One block of rows for each file. The queries are not picked: they are spread evenly over the validation images, which
lie class by class. Features go through the transforms of their readout. Green frames: an image with the class of the
query; red, crossed: another.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.features import Features, distances, read_export
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn
from transferability.training.precision import relevant_of

NAME = "neighbours"
RIGHT, WRONG = "#1a7f37", "#c22f2f"


def found(features: Features, queries: int, nearest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(queries,) places of the queries, (queries, nearest) places of the training images that they find, the nearest
    first, and (queries, nearest) bool: whether these show a class of the query."""
    train, val = features.transformed()
    asked = np.unique(np.linspace(0, len(val) - 1, queries).astype(int))
    order = np.argsort(distances(val[asked], train), axis=1, kind="stable")[:, :nearest]
    relevant = relevant_of(features.val.labels[asked], features.train.labels)
    return asked, order, np.take_along_axis(relevant, order, 1)


def image_in(axes: Axes, image: np.ndarray, colour: str = "black", crossed: bool = False) -> None:
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=0.7 if colour == "black" else 2)
    if crossed:
        left, right, top, bottom = (share * (image.shape[0] - 1) for share in (0.72, 0.92, 0.08, 0.28))
        axes.plot([left, right], [top, bottom], color=colour, lw=1.5)
        axes.plot([left, right], [bottom, top], color=colour, lw=1.5)


def panels(files: Sequence[Features], data: Path, queries: int, nearest: int, page: Page) -> tuple[Figure, list[str]]:
    """The figure, and a line for each file."""
    nearest = min(nearest, *(len(features.train.labels) for features in files))
    width = page.width or style.WIDE
    side = width / (nearest + 1.3)
    asked = [found(features, queries, nearest) for features in files]
    rows = sum(len(places) for places, _, _ in asked)
    figure = style.new_figure(page, side * rows + 0.25 * len(files), style.WIDE)
    blocks = figure.subfigures(len(files), 1, squeeze=False, height_ratios=[len(places) for places, _, _ in asked])
    lines = []
    for features, block, (places, order, right) in zip(files, blocks[:, 0], asked, strict=True):
        train, val = features.images(data)
        block.suptitle(features.title, fontsize=7, x=0.01, ha="left")
        grid = block.subplots(len(places), nearest + 1, squeeze=False, width_ratios=[1.3] + [1] * nearest)
        for row, query, near, is_right in zip(grid, places, order, right, strict=True):
            image_in(row[0], val[features.val.rows[query]])
            label = features.val.labels[query]
            words = np.flatnonzero(label == 1)[:2] if np.ndim(label) else [label]
            row[0].set_ylabel("\n".join(features.classes[k] for k in words), fontsize=5)
            for axes, place, good in zip(row[1:], near, is_right, strict=True):
                image_in(axes, train[features.train.rows[place]], RIGHT if good else WRONG, not good)
        lines.append(f"{features.network}, {features.layer}: {right.mean():.0%} of the images shown have the class")
    return figure, lines


def draw(files: Sequence[Features], data: Path, queries: int = 6, nearest: int = 8, page: Page = PLAIN) -> list[Drawn]:
    """One block for each of `files`. data: the folder of the packed set."""
    figure, lines = panels(files, data, queries, nearest, page)
    style.caption(figure, page)
    return [Drawn(NAME, figure, files[0].network.split("/")[0], tuple(lines))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FEATURES.NPZ", help="written by transferability features"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="SET", help="folder of the packed set: the images")
    parser.add_argument("--queries", type=int, default=6, help="images that are asked for (6)")
    parser.add_argument("--nearest", type=int, default=8, help="images that each finds (8)")
    options = parser.parse_args(arguments)
    if options.queries < 1 or options.nearest < 1:
        raise Refused("write --queries and --nearest of 1 or more")
    with style.settings(options.style):
        files = [read_export(file) for file in options.files]
        drawings = draw(files, options.data, options.queries, options.nearest, command.page_of(options))
        command.publish(drawings, options)
