"""Bases without labels, over n: `python plots/pretext.py --help`. The code is transferability/plots/pretext.py."""

import _clone  # noqa: F401

from transferability.plots import pretext
from transferability.plots.command import run

if __name__ == "__main__":
    run(pretext.main)
