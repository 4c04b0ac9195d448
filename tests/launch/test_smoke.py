"""The whole path through the command line: demo pictures, the smoke study, its table, its figure; and once more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command
from forked import fork_workers
from project import EXPERIMENTS
from waiting import LIMIT

from transferability import cli
from transferability.data import demo
from transferability.plots import figure2
from transferability.results.table import read_results

SMOKE = EXPERIMENTS / "smoke.py"


@pytest.fixture(scope="module")
def trained(module_roots: Path) -> Path:
    """The folder in which the smoke study was trained, in processes of its own, on a part of the demo's pictures."""
    data = module_roots / "data" / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "TRAIN_NUMBERS", range(20))
        patch.setattr(demo, "VAL_NUMBERS", range(1_000_000, 1_000_010))
        patch.setattr(sys, "argv", ["transferability", "pack", "demo", str(data), "--workers", "1"])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert not end.value.code and (data / "contact-sheet.png").exists()
    command = [sys.executable, "-m", "transferability.cli", "run", str(SMOKE), "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return module_roots / "runs" / "smoke"


def test_every_network_is_trained_and_in_the_table(trained: Path, command: Command) -> None:
    planned = command("plan", SMOKE, "--csv")[1].splitlines()[1:]
    table = read_results(trained / "results.csv")
    assert sorted(line.split(",")[3] for line in planned) == sorted(table["network"])
    assert table["val_top1"].between(0, 1).all() and (table["validations"] == table["steps"] // 6).all()
    assert "28 of 28 networks done" in command("status", SMOKE)[1]


def test_what_is_done_is_not_done_again(trained: Path, command: Command) -> None:
    files = sorted(trained.rglob("result.json"))
    before = [file.stat().st_mtime_ns for file in files]
    code, output, _ = command("run", SMOKE)
    assert code == 0 and "28 of 28 networks are done" in output
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_part_of_the_table(trained: Path, command: Command) -> None:
    said = command("results", SMOKE, "--only", "random-0/A?B")[1]
    treatments = {line.split()[0] for line in said.splitlines() if line.lstrip().startswith(("AnB", "BnB"))}
    assert treatments == {"AnB"} and "28 of 28 networks are done" in said


def test_a_dry_run_keeps_nothing(trained: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_workers(monkeypatch)
    words = ("--dry-run-steps", "2", "--dry-run-batch", "8", "--fleet-size", "4", "--only", "random-0/*3B*")
    before = sorted(trained.parent.rglob("*"))
    code, output, errors = command("run", SMOKE, *words)
    assert code == 0 and "nothing was kept" in output, errors
    assert sorted(trained.parent.rglob("*")) == before


def test_the_figure_is_drawn_from_the_table(trained: Path, tmp_path: Path) -> None:
    figure2.main([str(trained / "results.csv"), "--out", str(tmp_path)])
    assert (tmp_path / "figure2.png").stat().st_size > 10_000
    assert (tmp_path / "figure2.pdf").stat().st_size > 1_000
