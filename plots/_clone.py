"""Imported by the scripts of this folder, so that they run the package of their own clone, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
