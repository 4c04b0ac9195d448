"""Images per class: `python plots/reduced_data.py --help`. The code is transferability/plots/reduced_data.py."""

import _clone  # noqa: F401

from transferability.plots import reduced_data
from transferability.plots.command import run

if __name__ == "__main__":
    run(reduced_data.main)
