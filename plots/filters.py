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
import style
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.numpy import load_file

COLUMNS = 12  # filters in a row
LARGEST = 12  # networks in one figure


def find(places: list[Path]) -> list[Path]:
    """The weight files named, or those of the bases in the folders named."""
    found = []
    for place in places:
        files = sorted(place.glob("**/base*/seed-*/weights.safetensors")) if place.is_dir() else [place]
        if not files:
            raise style.Refused(f"{place} has no weights of bases (SPLIT/base?/seed-?/weights.safetensors)")
        found += files
    return found


def read_filters(path: Path) -> np.ndarray:
    """The first layer's filters, (filters, 3, height, width) float32, from a weights.safetensors."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise style.Refused(f"{path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise style.Refused(f"{path} is no safetensors file ({error})") from None
    first = [name for name, value in sorted(tensors.items()) if value.ndim == 4 and value.shape[1] == 3]
    if not first:
        raise style.Refused(f"{path} has no convolution of three input channels")
    return tensors[first[0]].astype(np.float32)


def mosaic(filters: np.ndarray) -> np.ndarray:
    """One RGB picture, float 0..1, of all filters, one white pixel apart."""
    count, _, height, width = filters.shape
    largest = np.abs(filters).reshape(count, -1).max(axis=1).reshape(-1, 1, 1, 1)
    scaled = 0.5 + 0.5 * filters / np.where(largest > 0, largest, 1)
    rows = math.ceil(count / COLUMNS)
    sheet = np.ones((rows * (height + 1) - 1, min(count, COLUMNS) * (width + 1) - 1, 3), np.float32)
    for i, picture in enumerate(scaled):
        y, x = (i // COLUMNS) * (height + 1), (i % COLUMNS) * (width + 1)
        sheet[y : y + height, x : x + width] = picture.transpose(1, 2, 0)
    return sheet


def draw(networks: dict[str, np.ndarray]) -> Figure:
    """The filters of each network, by name, two networks side by side."""
    sheets = {name: mosaic(filters) for name, filters in networks.items()}
    columns = min(2, len(sheets))
    rows = math.ceil(len(sheets) / columns)
    each = style.WIDTH / columns
    height = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets.values()) * (each - 0.1) + 0.32
    figure = style.new_figure(rows * height)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, sheet) in zip(panels, sheets.items(), strict=False):
        axes.imshow(sheet, interpolation="nearest")
        axes.set_title(f"{name}, {len(networks[name])} filters", fontsize=7)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = style.command_line(__doc__, table=None)
    parser.add_argument(
        "places",
        nargs="+",
        type=Path,
        metavar="RUN_OR_WEIGHTS",
        help="folder of a study's runs, or weights.safetensors",
    )
    options = parser.parse_args(arguments)
    files = find(options.places)
    if len(files) > LARGEST:
        print(
            f"filters: {len(files) - LARGEST} of {len(files)} networks not drawn: "
            + " ".join("/".join(path.parts[-4:-1]) for path in files[LARGEST:])
        )
    networks = {"/".join(path.parts[-4:-1]) or path.name: read_filters(path) for path in files[:LARGEST]}
    style.publish(draw(networks), options, "filters")


if __name__ == "__main__":
    style.run(main)
