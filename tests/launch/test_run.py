"""`run` with several processes for each fleet: without SLURM, the same results."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from project import HELPERS
from tiny import write_tiny

from transferability.files import read_json
from transferability.runs.paths import StudyFolder

MAIN = "import sys; from transferability.cli import main; sys.exit(main())"
EXPERIMENT = """
import sys
sys.path.insert(0, {tests!r})
from tiny import tiny_study
study = tiny_study(["baseA", "baseB", "A1B", "B2B+", "A3A"])
"""


def run(root: Path, runs: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "run", root / "tiny_experiment.py", "--accelerator", "cpu", *options],
        env={**os.environ, "TRANSFERABILITY_DATA": str(root), "TRANSFERABILITY_RUNS": str(root / runs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(550)
def test_two_processes_a_fleet_train_one_fleet_after_the_other_as_one_does(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    (tmp_path / "tiny_experiment.py").write_text(EXPERIMENT.format(tests=str(HELPERS)))
    assert "5 of 5 networks are done" in run(tmp_path, "both", "--workers", "1", "--devices-per-fleet", "2")
    assert "5 of 5 networks are done" in run(tmp_path, "one", "--workers", "1")

    def result(runs: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(StudyFolder(tmp_path / runs / "tiny").result(f"random-0/{name}/seed-0"))
        return found

    for name in ("baseA", "baseB", "A1B", "B2B+", "A3A"):
        both, one = result("both", name), result("one", name)
        assert (both["provenance"]["devices"], one["provenance"]["devices"]) == (2, 1)
        for series in ("train_loss", "val_loss"):
            np.testing.assert_allclose(both["series"][series], one["series"][series], rtol=1e-4)
        assert both["series"]["val_images"] == one["series"]["val_images"]
