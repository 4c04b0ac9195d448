"""Which classes does a readout take for which? Its confusion matrix, and the pairs most confused, as pictures.

    python plots/confusion.py runs/STUDY NETWORK [--data data/SET] [--pairs 5] [--out figures]

NETWORK is a full name, as imagenet-caltech101/A15B@30@svm/seed-0. Rows are the true classes, columns what the readout
says, each row a share of its images. With --data, the packed set, classes have their names, and the wrong images of the
most confused pairs are shown beside right ones of the class that they were taken for. With several labels per image
there is no such matrix.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.features import DAMAGES
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn
from transferability.runs.paths import StudyFolder

SHOWN = 4  # images of each side of a pair
NAMED = 20  # classes that have room for their names


class Said(NamedTuple):
    """What a readout says of its validation images: (m,) rows of a part of the packed set, labels and predictions."""

    part: str
    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray


def read_said(folder: StudyFolder, network: str) -> Said:
    """Refused if there are no predictions of that network, or its images have several labels."""
    file = folder.predictions(network if "/seed-" in network else f"{network}/seed-0")
    try:
        with np.load(file) as stored:
            said = Said(str(stored["part"]), stored["rows"], stored["labels"], stored["predicted"])
    except FileNotFoundError:
        raise Refused(f"{file} does not exist: {network} is no readout, or not fitted yet") from None
    except DAMAGES as error:
        raise Refused(f"{file} is damaged ({error}); move {file.parent} away, and run the study again") from None
    if said.labels.ndim > 1:
        raise Refused(f"{network}: its images have several labels; there is no confusion matrix")
    return said


def matrix_of(said: Said) -> np.ndarray:
    """(classes, classes) float64: the share of each class's images, by row, that is said to be of each class."""
    count = int(max(said.labels.max(), said.predicted.max())) + 1
    counts = np.zeros((count, count))
    np.add.at(counts, (said.labels, said.predicted), 1)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def most_confused(shares: np.ndarray, pairs: int) -> list[tuple[int, int]]:
    """(true class, what it is taken for), the most frequent first; none that never happened."""
    wrong = shares * (1 - np.eye(len(shares)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    places = np.stack(np.unravel_index(order, wrong.shape), 1).tolist()
    return [(true, said) for true, said in places if wrong[true, said] > 0]


def images_of(said: Said, where: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(up to SHOWN, S, S, 3): the images at `where`, a mask of what was said."""
    return images[np.sort(said.rows[where])[:SHOWN]]


def panels(said: Said, names: Sequence[str], images: np.ndarray | None, pairs: int, page: Page) -> Figure:
    """The matrix, and below it a row of images for each of the pairs."""
    shares = matrix_of(said)
    confused = most_confused(shares, pairs) if images is not None else []
    height = 4.6 + 0.75 * len(confused)
    figure = style.new_figure(page, height, style.WIDTH)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.6, max(0.01, 0.75 * len(confused))])[:, 0]
    axes = upper.subplots()
    shown = axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel("What it says")
    axes.set_ylabel("Class")
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    upper.colorbar(shown, ax=axes, label="Share of the class's images", shrink=0.7)
    if images is None or not confused:
        return figure
    grid = lower.subplots(len(confused), 2 * SHOWN + 1, squeeze=False)
    for row, (true, taken) in zip(grid, confused, strict=True):
        wrong = images_of(said, (said.labels == true) & (said.predicted == taken), images)
        right = images_of(said, (said.labels == taken) & (said.predicted == taken), images)
        for cell in row:
            cell.set_axis_off()
        for cell, image in zip(row[:SHOWN], wrong, strict=False):
            cell.imshow(image)
        for cell, image in zip(row[SHOWN + 1 :], right, strict=False):
            cell.imshow(image)
        row[0].set_title(f"{names[true]}, said to be", fontsize=6, loc="left")
        row[SHOWN + 1].set_title(names[taken], fontsize=6, loc="left")
    return figure


def draw(
    folder: StudyFolder, network: str, data: Path | None = None, pairs: int = 5, page: Page = PLAIN
) -> list[Drawn]:
    """The figure of one readout. data: the folder of the packed set that its validation images are in."""
    from transferability.data.packed import open_packed
    from transferability.runs.result import read_result

    said = read_said(folder, network)
    full = network if "/seed-" in network else f"{network}/seed-0"
    count = len(matrix_of(said))
    names, images = [f"class {k}" for k in range(count)], None
    if data is not None:
        packed = open_packed(data)
        if packed.checksum != read_result(folder.result(full)).record["data"]:
            raise Refused(f"{data} is not the set that {full} was judged on")
        part = packed.val if said.part == "val" else packed.train
        images = part.images
        for k in range(count):
            rows = said.rows[said.labels == k]
            names[k] = packed.classes[int(part.labels[rows[0]])].name if len(rows) else names[k]
    figure = panels(said, names, images, pairs, page)
    style.caption(figure, page)
    shares = matrix_of(said)
    lines = [f"{names[a]} is taken for {names[b]}: {shares[a, b]:.0%}" for a, b in most_confused(shares, pairs)]
    return [Drawn("confusion", figure, full.replace("/", "-"), tuple(lines))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of the study's runs")
    parser.add_argument("network", metavar="NETWORK", help="full name of a readout")
    parser.add_argument("--data", type=Path, metavar="SET", help="folder of the packed set: names and images")
    parser.add_argument("--pairs", type=int, default=5, help="pairs that are named and shown (5)")
    options = parser.parse_args(arguments)
    if options.pairs < 0:
        raise Refused("write --pairs of 0 or more")
    with style.settings(options.style):
        page = command.page_of(options)
        drawings = draw(StudyFolder(options.runs), options.network, options.data, options.pairs, page)
        command.publish(drawings, options)
