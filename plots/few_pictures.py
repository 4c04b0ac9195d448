"""Readouts over images per class, by layer: `python plots/few_pictures.py --help`.

The code is transferability/plots/few_pictures.py.
"""

import _clone  # noqa: F401

from transferability.plots import few_pictures
from transferability.plots.command import run

if __name__ == "__main__":
    run(few_pictures.main)
