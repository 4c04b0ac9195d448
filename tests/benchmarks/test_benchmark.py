"""The benchmark runs, and what it writes can be read. What it measures is not tested."""

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command
from project import PROJECT

Benchmark = Callable[..., int]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """Runs benchmarks/benchmark.py in this process; its exit code."""
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    for clock in ("perf_counter", "monotonic"):  # to be put back: --processor replaces them
        monkeypatch.setattr(time, clock, getattr(time, clock))
    from benchmark import main

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
        try:
            main()
        except SystemExit as error:
            return int(error.code or 0)
        return 0

    return run


def rows_of(table: Path) -> list[dict[str, str]]:
    with open(table, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_row_runs_and_is_written_with_the_machine(tmp_path: Path, benchmark: Benchmark) -> None:
    table = tmp_path / "table.csv"
    assert benchmark("step", "--quick", "--repeats", "1", "--csv", str(table)) == 0
    lines = rows_of(table)
    assert [line["way"] for line in lines] == ["this package", "a loop written by hand"] * 2
    for ours, by_hand in zip(lines[::2], lines[1::2], strict=True):
        assert ours["times"] == "" and ours["repeats"] == by_hand["repeats"] == "2"
        assert 0 < float(by_hand["times_low"]) <= float(by_hand["times"]) <= float(by_hand["times_high"])
        assert ours["cpu"] and int(ours["cores"]) > 0 and ours["torch"] and ours["commit"]


def test_rows_of_cut_networks_state_how_far_the_forms_agree(tmp_path: Path, benchmark: Benchmark) -> None:
    table = tmp_path / "table.csv"
    assert benchmark("chain-step", "prefix", "--quick", "--processor", "--repeats", "1", "--csv", str(table)) == 0
    lines = rows_of(table)
    assert [line["way"] for line in lines[:2]] == ["this package", "a loop written by hand"]
    features = {line["way"]: float(line["median"]) for line in lines if "features differ" in line["case"]}
    assert features["folded"] < 1e-4 and features["channels first"] < 1e-4 < features["bfloat16"] < 0.1


def test_a_row_that_is_none_is_refused(benchmark: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark("speed") == 2
    assert "no row 'speed'; write input, fleet, step" in capsys.readouterr().err


def test_commands_take_a_fake_study_for_a_finished_one(
    roots: Path, benchmark: Benchmark, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the row `growth` does, which times them."""
    from benchmark import fake_study

    folder = roots / "study"
    experiment = fake_study(folder, 10)
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(folder / "runs"))
    for word in ("plan", "status", "results"):
        assert command(word, experiment)[0] == 0
    rows = rows_of(folder / "runs" / "fake" / "results.csv")
    assert len(rows) == 10 and all(row["validations"] == "6" and float(row["val_top1"]) for row in rows)
