"""Fixtures that several test modules use."""

import gc
from pathlib import Path

import pytest
from tiny import write_tiny

from transferability.data.packed import PackedImages


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own, with `data` and `runs` in it, where the package looks for them."""
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def packed(roots: Path) -> PackedImages:
    """The tiny packed set, in this test's data folder."""
    return write_tiny(roots / "data" / "tiny")


def pytest_sessionfinish() -> None:
    """The command `results` freezes the objects of its process, which is about to end. This one goes on.

    Frozen, the objects of triton, which torch loads with the first optimiser, would not be released in the end, and its
    library would print thirty lines about leaks.
    """
    gc.unfreeze()
