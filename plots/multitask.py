"""Two tasks that share layers: `python plots/multitask.py --help`. The code is transferability/plots/multitask.py."""

import _clone  # noqa: F401

from transferability.plots import multitask
from transferability.plots.command import run

if __name__ == "__main__":
    run(multitask.main)
