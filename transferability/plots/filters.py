"""First-layer filters of trained bases.

    python plots/filters.py runs/demo [--out figures]
    python plots/filters.py runs/demo/random-0/baseA/seed-0/weights.safetensors ... [--out figures]

Reads the weights that every study keeps of its bases. Each filter is scaled by its own largest weight, so that 0 is
mid-grey; filters stand in the order of the network.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.numpy import load_file

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn

COLUMNS = 12  # filters in a row
LARGEST = 12  # networks in one figure


def weight_files(places: Sequence[Path]) -> list[Path]:
    """The weight files named, or those of the bases in the folders named. Refused: a folder without any."""
    files = []
    for place in places:
        bases = sorted(place.glob("**/base*/seed-*/weights.safetensors")) if place.is_dir() else [place]
        if not bases:
            raise Refused(f"{place} has no weights of bases (SPLIT/base?/seed-?/weights.safetensors)")
        files += bases
    return files


def read_filters(path: Path) -> np.ndarray:
    """The first layer's filters, (filters, 3, height, width) float32, from a weights.safetensors."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise Refused(f"{path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise Refused(f"{path} is no safetensors file ({error})") from None
    first = [name for name, value in sorted(tensors.items()) if value.ndim == 4 and value.shape[1] == 3]
    if not first:
        raise Refused(f"{path} has no convolution of three input channels")
    return tensors[first[0]].astype(np.float32)


def mosaic(filters: np.ndarray) -> np.ndarray:
    """All filters in one RGB image, (height, width, 3) float32 in 0..1, one white pixel apart."""
    count, _, height, width = filters.shape
    largest = np.abs(filters).reshape(count, -1).max(axis=1).reshape(-1, 1, 1, 1)
    scaled = 0.5 + 0.5 * filters / np.where(largest > 0, largest, 1)
    rows = math.ceil(count / COLUMNS)
    sheet = np.ones((rows * (height + 1) - 1, min(count, COLUMNS) * (width + 1) - 1, 3), np.float32)
    for i, image in enumerate(scaled):
        y, x = (i // COLUMNS) * (height + 1), (i % COLUMNS) * (width + 1)
        sheet[y : y + height, x : x + width] = image.transpose(1, 2, 0)
    return sheet


def panels(networks: dict[str, np.ndarray], page: Page) -> Figure:
    """The filters of each network, by name, two networks side by side."""
    sheets = {name: mosaic(filters) for name, filters in networks.items()}
    columns = min(2, len(sheets), page.columns(2, style.WIDTH))
    rows = math.ceil(len(sheets) / columns)
    width = (page.width or style.WIDTH) / columns
    height = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets.values()) * (width - 0.1) + 0.32
    figure = style.new_figure(page, rows * height)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (name, sheet) in zip(grid, sheets.items(), strict=False):
        axes.imshow(sheet, interpolation="nearest")
        axes.set_title(f"{name}, {len(networks[name])} filters", fontsize=7)
    return figure


def draw(places: Sequence[Path], page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """The filters of the bases in `places`: folders of runs, or weight files. Refused: a file that cannot be read."""
    files = weight_files(places)
    names = {path: "/".join(path.parts[-4:-1]) or path.name for path in files}
    figure = panels({names[path]: read_filters(path) for path in files[:LARGEST]}, page)
    style.caption(figure, page)
    left_out = [names[path] for path in files[LARGEST:]]
    line = f"filters: {len(left_out)} of {len(files)} networks not drawn: {' '.join(left_out)}"
    return [Drawn("filters", figure, lines=(line,) if left_out else ())]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    help_text = "folder of a study's runs, or weights.safetensors"
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN_OR_WEIGHTS", help=help_text)
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        command.publish(draw(options.places, command.page_of(options)), options)
