"""Figure 1, the treatments: `python plots/figure1.py --help`. The code is transferability/plots/figure1.py."""

import _clone  # noqa: F401

from transferability.plots import figure1
from transferability.plots.command import run

if __name__ == "__main__":
    run(figure1.main)
