"""Where the project's folders are, for tests that run its files."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HELPERS = PROJECT / "tests" / "helpers"
EXPERIMENTS = PROJECT / "experiments"
SHARED = PROJECT.parent / "shared"  # pictures and reference tables beside a checkout; tests that need it skip without
