"""Table 1: `python plots/table1.py --help`. The code is transferability/plots/table1.py."""

import _clone  # noqa: F401

from transferability.plots import table1
from transferability.plots.command import run

if __name__ == "__main__":
    run(table1.main)
