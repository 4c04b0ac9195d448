"""What is layer n good for? `python plots/readout_by_layer.py --help`.

The code is transferability/plots/readout_by_layer.py.
"""

import _clone  # noqa: F401

from transferability.plots import readout_by_layer
from transferability.plots.command import run

if __name__ == "__main__":
    run(readout_by_layer.main)
