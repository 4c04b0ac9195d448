"""Images before and after translation: `python plots/translated.py --help`. See transferability/plots/translated.py."""

import _clone  # noqa: F401

from transferability.plots import translated
from transferability.plots.command import run

if __name__ == "__main__":
    run(translated.main)
