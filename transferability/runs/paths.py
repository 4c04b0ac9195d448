"""Where files land.

    <data>/<set>/                             a packed set: manifest.json, classes.csv, {train,val}-{images,labels}.npy
    <runs>/<study>/results.csv                one row a network      curves.csv: one row a validation
    <runs>/<study>/<split>/<treatment>/seed-<s>/
        result.json                           written last: a network is done if and only if it is there
        weights.safetensors                   last weights: of bases always, of others on request
        lock                                  who trains it now
    <runs>/<study>/means/<split>-<task>-<pixels>.npz   mean image of a task
    <runs>/<study>/fleets/<first network>/    a started fleet, until it is done
        fleet.json  checkpoint.pt  progress.json  failed.json

<data> is $TRANSFERABILITY_DATA or ./data, <runs> is $TRANSFERABILITY_RUNS or ./runs.
"""

import os
from dataclasses import dataclass
from pathlib import Path


def data_root() -> Path:
    return Path(os.environ.get("TRANSFERABILITY_DATA") or "data")


def runs_root() -> Path:
    return Path(os.environ.get("TRANSFERABILITY_RUNS") or "runs")


@dataclass(frozen=True)
class StudyFolder:
    """The places of one study's files under `root` = <runs>/<study>. Networks and fleets are given by name."""

    root: Path

    def network(self, name: str) -> Path:
        return self.root / name

    def result(self, name: str) -> Path:
        return self.root / f"{name}/result.json"

    def weights(self, name: str) -> Path:
        return self.root / name / "weights.safetensors"

    def lock(self, name: str) -> Path:
        return self.root / name / "lock"

    def mean(self, split: str, task: str, pixels: int) -> Path:
        return self.root / "means" / f"{split}-{task}-{pixels}.npz"

    @property
    def fleets(self) -> Path:
        return self.root / "fleets"

    def fleet(self, name: str) -> Path:
        return self.fleets / name

    @property
    def results(self) -> Path:
        return self.root / "results.csv"

    @property
    def curves(self) -> Path:
        return self.root / "curves.csv"


def study_folder(study: str) -> StudyFolder:
    return StudyFolder(runs_root() / study)
