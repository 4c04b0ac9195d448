"""Methods that reach across domains: `python plots/domains.py --help`. The code is transferability/plots/domains.py."""

import _clone  # noqa: F401

from transferability.plots import domains
from transferability.plots.command import run

if __name__ == "__main__":
    run(domains.main)
