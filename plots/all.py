"""All figures and tables of a results table: `python plots/all.py --help`. The code is transferability/plots/all.py."""

import _clone  # noqa: F401

from transferability.plots import all
from transferability.plots.command import run

if __name__ == "__main__":
    run(all.main)
