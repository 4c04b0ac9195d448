"""A readout against training the rest anew: `python plots/readout_against_retraining.py --help`.

The code is transferability/plots/readout_against_retraining.py.
"""

import _clone  # noqa: F401

from transferability.plots import readout_against_retraining
from transferability.plots.command import run

if __name__ == "__main__":
    run(readout_against_retraining.main)
