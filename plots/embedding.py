"""Do the images of a class lie together? `python plots/embedding.py --help`.

The code is transferability/plots/embedding.py.
"""

import _clone  # noqa: F401

from transferability.plots import embedding
from transferability.plots.command import run

if __name__ == "__main__":
    run(embedding.main)
