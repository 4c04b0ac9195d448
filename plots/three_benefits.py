"""Higher start, slope, asymptote: `python plots/three_benefits.py --help`. The code: transferability/plots/."""

import _clone  # noqa: F401

from transferability.plots import three_benefits
from transferability.plots.command import run

if __name__ == "__main__":
    run(three_benefits.main)
