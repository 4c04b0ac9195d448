"""Which classes a readout confuses: `python plots/confusion.py --help`.

The code is transferability/plots/confusion.py.
"""

import _clone  # noqa: F401

from transferability.plots import confusion
from transferability.plots.command import run

if __name__ == "__main__":
    run(confusion.main)
