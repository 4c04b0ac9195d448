"""`run` with several processes for each fleet: without SLURM, the same results."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from comparing import outcome
from tiny import full_name, write_experiment, write_tiny
from waiting import LIMIT

from transferability.files import read_json
from transferability.runs.paths import StudyFolder

MAIN = "import sys; from transferability.cli import main; sys.exit(main())"
NAMES = ("baseA", "baseB", "A1B", "B2B+", "A3A")


def run(root: Path, runs: str, *options: str) -> str:
    experiment = root / "tiny_experiment.py"
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "run", experiment, "--accelerator", "cpu", "--keep-weights", *options],
        env={**os.environ, "TRANSFERABILITY_DATA": str(root), "TRANSFERABILITY_RUNS": str(root / runs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_a_fleet_train_one_fleet_after_the_other_as_one_does(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    write_experiment(tmp_path / "tiny_experiment.py", NAMES)
    assert "5 of 5 networks are done" in run(tmp_path, "both", "--workers", "1", "--devices-per-fleet", "2")
    assert "5 of 5 networks are done" in run(tmp_path, "one", "--workers", "1")
    for name in NAMES:
        for runs, devices in (("both", 2), ("one", 1)):
            result = read_json(StudyFolder(tmp_path / runs / "tiny").result(full_name(name)))
            assert result["provenance"]["devices"] == devices
        both, one = (outcome("tiny", name, tmp_path / runs) for runs in ("both", "one"))
        for loss in ("train_loss", "val_loss"):
            np.testing.assert_allclose(both.series[loss], one.series[loss], rtol=1e-4)
        assert both.series["val_images"] == one.series["val_images"]
