"""Classes never seen: `python plots/zero_shot.py --help`. The code is transferability/plots/zero_shot.py."""

import _clone  # noqa: F401

from transferability.plots import zero_shot
from transferability.plots.command import run

if __name__ == "__main__":
    run(zero_shot.main)
