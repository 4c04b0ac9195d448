"""Figure 2: `python plots/figure2.py --help`. The code is transferability/plots/figure2.py."""

import _clone  # noqa: F401

from transferability.plots import figure2
from transferability.plots.command import run

if __name__ == "__main__":
    run(figure2.main)
