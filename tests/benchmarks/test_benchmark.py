"""The benchmark runs, and what it writes can be read. What it measures is no matter of tests."""

import csv
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "benchmark.py"


def test_a_row_runs_and_is_written_with_the_machine(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    words = [sys.executable, str(BENCHMARK), "step", "--quick", "--repeats", "1", "--csv", str(table)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    with open(table, encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    assert [line["way"] for line in lines] == ["this package", "a loop written by hand"] * 2
    for ours, by_hand in zip(lines[::2], lines[1::2], strict=True):
        assert ours["times"] == "" and ours["repeats"] == by_hand["repeats"] == "2"
        assert 0 < float(by_hand["times_low"]) <= float(by_hand["times"]) <= float(by_hand["times_high"])
        assert ours["cpu"] and int(ours["cores"]) > 0 and ours["torch"] and ours["commit"]


def test_a_row_that_is_none_is_refused() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK), "speed"], capture_output=True, text=True, timeout=250)
    assert done.returncode == 2 and "no row 'speed'; write input, fleet, step" in done.stderr
