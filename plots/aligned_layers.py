"""The domain classifier over steps and n: `python plots/aligned_layers.py --help`."""

import _clone  # noqa: F401

from transferability.plots import aligned_layers
from transferability.plots.command import run

if __name__ == "__main__":
    run(aligned_layers.main)
