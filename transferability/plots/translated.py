"""Images of A before and after translation into the look of B, back again, and images of B: a contact sheet.

    python plots/translated.py runs/STUDY NETWORK [--out figures]

NETWORK is a full name, as mnist-usps/A0B+@translated/seed-0. A column for each class of A, its first training image;
images of B are the first in the order of their checksums, of whatever class: nobody has told.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn
from transferability.runs.paths import StudyFolder

ROWS = {"before": "A", "after": "A as B", "back": "and back", "target": "B"}


def read_pictures(folder: StudyFolder, network: str) -> dict[str, np.ndarray]:
    """(k, c, c, 3) uint8 images by the keys of ROWS. Refused if the network, named in full, has none."""
    file = folder.pictures(network)
    try:
        with np.load(file) as stored:
            return {name: stored[name] for name in ROWS}
    except FileNotFoundError:
        raise Refused(f"{file} does not exist: {network} translates nothing, or is not trained yet") from None


def draw(folder: StudyFolder, network: str, page: Page = PLAIN) -> list[Drawn]:
    """The contact sheet of one network."""
    full = network if "/seed-" in network else f"{network}/seed-0"
    pictures = read_pictures(folder, full)
    columns = max(len(images) for images in pictures.values())
    figure = style.new_figure(page, 0.55 * len(ROWS) + 0.4)
    grid = figure.subplots(len(ROWS), columns, squeeze=False)
    for axes, (name, title) in zip(grid, ROWS.items(), strict=True):
        for cell in axes:
            cell.set_xticks([])
            cell.set_yticks([])
            cell.spines[:].set_visible(False)
        axes[0].set_ylabel(title, rotation=0, ha="right", va="center")
        for cell, image in zip(axes, pictures[name], strict=False):
            cell.imshow(image, interpolation="nearest")
    figure.suptitle(full, fontsize=8)
    style.caption(figure, page, [folder.root.name])
    return [Drawn("translated", figure, full.replace("/", "-"))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("study", type=Path, metavar="runs/STUDY", help="the folder of a study")
    parser.add_argument("network", help="the full name of a network, or without /seed-0")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        command.publish(draw(StudyFolder(options.study), options.network, command.page_of(options)), options)
