"""Time of each layer: `python plots/layer_times.py --help`. The code is transferability/plots/layer_times.py."""

import _clone  # noqa: F401

from transferability.plots import layer_times
from transferability.plots.command import run

if __name__ == "__main__":
    run(layer_times.main)
