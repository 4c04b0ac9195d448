"""Preserved layers: `python plots/preserved.py --help`. The code is transferability/plots/preserved.py."""

import _clone  # noqa: F401

from transferability.plots import preserved
from transferability.plots.command import run

if __name__ == "__main__":
    run(preserved.main)
