"""Trained twice: `python plots/trained_twice.py --help`. The code is transferability/plots/trained_twice.py."""

import _clone  # noqa: F401

from transferability.plots import trained_twice
from transferability.plots.command import run

if __name__ == "__main__":
    run(trained_twice.main)
