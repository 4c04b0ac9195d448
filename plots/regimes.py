"""Little and much data, near and far: `python plots/regimes.py --help`. In transferability/plots/regimes.py."""

import _clone  # noqa: F401

from transferability.plots import regimes
from transferability.plots.command import run

if __name__ == "__main__":
    run(regimes.main)
