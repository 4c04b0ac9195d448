"""What more views of each image bring: `python plots/augmentation.py --help`.

The code is transferability/plots/augmentation.py.
"""

import _clone  # noqa: F401

from transferability.plots import augmentation
from transferability.plots.command import run

if __name__ == "__main__":
    run(augmentation.main)
