"""Losses: `python plots/training_curves.py --help`. The code is transferability/plots/training_curves.py."""

import _clone  # noqa: F401

from transferability.plots import training_curves
from transferability.plots.command import run

if __name__ == "__main__":
    run(training_curves.main)
