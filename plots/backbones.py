"""Do better sources transfer better? `python plots/backbones.py --help`. In transferability/plots/backbones.py."""

import _clone  # noqa: F401

from transferability.plots import backbones
from transferability.plots.command import run

if __name__ == "__main__":
    run(backbones.main)
