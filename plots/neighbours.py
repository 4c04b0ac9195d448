"""Queries and what they find: `python plots/neighbours.py --help`.

The code is transferability/plots/neighbours.py.
"""

import _clone  # noqa: F401

from transferability.plots import neighbours
from transferability.plots.command import run

if __name__ == "__main__":
    run(neighbours.main)
