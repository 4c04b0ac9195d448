"""First-layer filters of bases: `python plots/filters.py --help`. The code is transferability/plots/filters.py."""

import _clone  # noqa: F401

from transferability.plots import filters
from transferability.plots.command import run

if __name__ == "__main__":
    run(filters.main)
