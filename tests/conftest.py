"""Fixtures that several test modules use."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command
from tiny import write_tiny

from transferability import cli
from transferability.data.packed import PackedImages, open_packed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torture: more of what another case shows, too; only `make torture` tries it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only `make torture` tries, unless -m or the name of a test asks for it."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("torture")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("torture")]


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own, with `data` and `runs` in it, where the package looks for them."""
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture(scope="module")
def module_roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`roots` that all tests of a module share, for what is trained once."""
    root = tmp_path_factory.mktemp("roots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
        patch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
        yield root


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny packed set, to be copied."""
    return write_tiny(tmp_path_factory.mktemp("packed") / "tiny").folder


@pytest.fixture
def packed(roots: Path, tiny_set: Path) -> PackedImages:
    """The tiny packed set, in this test's data folder."""
    return open_packed(shutil.copytree(tiny_set, roots / "data" / "tiny"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process, whose output is no terminal: (exit code, output, errors)."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["transferability", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """No test cuts the power, so none can see what fsync waits for; what comes of its errors, some tests say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def pytest_sessionfinish() -> None:
    """The command `results` freezes the objects of its process, which is about to end. This one goes on.

    Frozen, the objects of triton, which torch loads with the first optimiser, would not be released in the end, and its
    library would print thirty lines about leaks.
    """
    gc.unfreeze()
