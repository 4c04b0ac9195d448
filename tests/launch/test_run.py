"""`run` with several processes for each fleet: without SLURM, the same results."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from comparing import outcome
from tiny import full_name, tiny_study, write_experiment
from trained import train
from waiting import LIMIT

from transferability.data.packed import PackedImages
from transferability.files import read_json
from transferability.runs.paths import StudyFolder

MAIN = "import sys; from transferability.cli import main; sys.exit(main())"
NAMES = ("baseA", "baseB", "A1B", "B2B+", "A3A")


def test_two_processes_a_fleet_train_one_fleet_after_the_other_as_one_does(roots: Path, packed: PackedImages) -> None:
    train(tiny_study(NAMES))
    (roots / "runs").rename(roots / "one")
    experiment = write_experiment(roots / "tiny_experiment.py", NAMES)
    options = ("--accelerator", "cpu", "--keep-weights", "--workers", "1", "--devices-per-fleet", "2")
    command = [sys.executable, "-c", MAIN, "run", experiment, *options]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 networks are done" in done.stdout
    for name in NAMES:
        for runs, devices in (("runs", 2), ("one", 1)):
            result = read_json(StudyFolder(roots / runs / "tiny").result(full_name(name)))
            assert result["provenance"]["devices"] == devices
        both, one = (outcome("tiny", name, roots / runs) for runs in ("runs", "one"))
        for loss in ("train_loss", "val_loss"):
            np.testing.assert_allclose(both.series[loss], one.series[loss], rtol=1e-4)
        assert both.series["val_images"] == one.series["val_images"]
