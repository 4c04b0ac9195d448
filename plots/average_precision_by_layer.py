"""Average precision of each class, by layer: `python plots/average_precision_by_layer.py --help`.

The code is transferability/plots/average_precision_by_layer.py.
"""

import _clone  # noqa: F401

from transferability.plots import average_precision_by_layer
from transferability.plots.command import run

if __name__ == "__main__":
    run(average_precision_by_layer.main)
