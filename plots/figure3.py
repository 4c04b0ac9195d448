"""Figure 3: `python plots/figure3.py --help`. The code is transferability/plots/figure3.py."""

import _clone  # noqa: F401

from transferability.plots import figure3
from transferability.plots.command import run

if __name__ == "__main__":
    run(figure3.main)
