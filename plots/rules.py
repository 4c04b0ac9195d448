"""Which rule for copied layers: `python plots/rules.py --help`. The code is transferability/plots/rules.py."""

import _clone  # noqa: F401

from transferability.plots import rules
from transferability.plots.command import run

if __name__ == "__main__":
    run(rules.main)
