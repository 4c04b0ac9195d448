"""The benchmark runs, and what it writes can be read. What it measures is not tested."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT
from waiting import LIMIT

BENCHMARK = PROJECT / "benchmarks" / "benchmark.py"


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def rows_of(table: Path) -> list[dict[str, str]]:
    with open(table, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_row_runs_and_is_written_with_the_machine(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    done = benchmark("step", "--quick", "--repeats", "1", "--csv", str(table))
    assert done.returncode == 0, done.stderr
    lines = rows_of(table)
    assert [line["way"] for line in lines] == ["this package", "a loop written by hand"] * 2
    for ours, by_hand in zip(lines[::2], lines[1::2], strict=True):
        assert ours["times"] == "" and ours["repeats"] == by_hand["repeats"] == "2"
        assert 0 < float(by_hand["times_low"]) <= float(by_hand["times"]) <= float(by_hand["times_high"])
        assert ours["cpu"] and int(ours["cores"]) > 0 and ours["torch"] and ours["commit"]


def test_rows_of_cut_networks_state_how_far_the_forms_agree(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    done = benchmark("chain-step", "prefix", "--quick", "--processor", "--repeats", "1", "--csv", str(table))
    assert done.returncode == 0, done.stderr
    lines = rows_of(table)
    assert [line["way"] for line in lines[:2]] == ["this package", "a loop written by hand"]
    features = {line["way"]: float(line["median"]) for line in lines if "features differ" in line["case"]}
    assert features["folded"] < 1e-4 and features["channels first"] < 1e-4 < features["bfloat16"] < 0.1


def test_a_row_that_is_none_is_refused() -> None:
    done = benchmark("speed")
    assert done.returncode == 2 and "no row 'speed'; write input, fleet, step" in done.stderr


def test_commands_take_a_fake_study_for_a_finished_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the row `growth` does, which times them."""
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    from benchmark import command_line, fake_study

    folder = tmp_path / "study"
    experiment = fake_study(folder, 10)
    for command in ("plan", "status", "results"):
        command_line([command, str(experiment)], folder / "runs", tmp_path)
    rows = rows_of(folder / "runs" / "fake" / "results.csv")
    assert len(rows) == 10 and all(row["validations"] == "6" and float(row["val_top1"]) for row in rows)
