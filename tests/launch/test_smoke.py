"""The whole path through the command line: demo pictures, the smoke study, its table, its figure; and once more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LIMIT

from transferability.results.table import read_results

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    assert "18,000" in command(folder, "pack", "demo", "data/demo") or (folder / "data/demo/contact-sheet.png").exists()
    command(folder, "run", "smoke.py")
    return folder


def command(folder: Path, *words: str) -> str:
    words = tuple(word.replace("smoke.py", str(PROJECT / "experiments" / "smoke.py")) for word in words)
    environment = {**os.environ, "TRANSFERABILITY_DATA": "data", "TRANSFERABILITY_RUNS": "runs", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "transferability.cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_network_is_trained_and_in_the_table(folder: Path) -> None:
    planned = command(folder, "plan", "smoke.py", "--csv").splitlines()[1:]
    table = read_results(folder / "runs" / "smoke" / "results.csv")
    assert sorted(line.split(",")[3] for line in planned) == sorted(table["network"])
    assert table["val_top1"].between(0, 1).all() and (table["validations"] == table["steps"] // 6).all()
    assert "28 of 28 networks done" in command(folder, "status", "smoke.py")


def test_what_is_done_is_not_done_again(folder: Path) -> None:
    files = sorted((folder / "runs" / "smoke").rglob("result.json"))
    before = [file.stat().st_mtime_ns for file in files]
    assert "28 of 28 networks are done" in command(folder, "run", "smoke.py")
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_part_of_the_table(folder: Path) -> None:
    said = command(folder, "results", "smoke.py", "--only", "random-0/A?B")
    treatments = {line.split()[0] for line in said.splitlines() if line.lstrip().startswith(("AnB", "BnB"))}
    assert treatments == {"AnB"} and "28 of 28 networks are done" in said


def test_a_dry_run_keeps_nothing(folder: Path) -> None:
    words = ("--dry-run-steps", "2", "--dry-run-batch", "8", "--fleet-size", "4", "--only", "random-0/*3B*")
    before = sorted((folder / "runs").rglob("*"))
    assert "nothing was kept" in command(folder, "run", "smoke.py", *words)
    assert sorted((folder / "runs").rglob("*")) == before


def test_the_figure_is_drawn_from_the_table(folder: Path) -> None:
    script = PROJECT / "plots" / "figure2.py"
    words = [sys.executable, str(script), "runs/smoke/results.csv", "--out", "figures"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=LIMIT)
    assert (folder / "figures" / "figure2.png").stat().st_size > 10_000
    assert (folder / "figures" / "figure2.pdf").stat().st_size > 1_000
