"""Paired differences: `python plots/paired.py --help`. The code is transferability/plots/paired.py."""

import _clone  # noqa: F401

from transferability.plots import paired
from transferability.plots.command import run

if __name__ == "__main__":
    run(paired.main)
