"""Where files land: every file of a study, by name.

    <data>/<set>/                             a packed set: manifest.json, classes.csv, {train,val}-{images,labels}.npy
    <runs>/<study>/
        results.csv                           one row per network
        curves.csv                            one row per validation
        report.html  figures/                 the page about the study, and its figures as files
        answer.html  asked.json               the page's section on what `ask` found; the time that it took
        best.safetensors  best.py             the network that `ask` hands over, and how to load it
        wandb/                                the W&B run of the study itself
        <split>/<treatment>/seed-<s>/
            result.json                       written last: a network is done if and only if this file exists
            weights.safetensors               final weights: always of bases, of other networks on request
            predictions.npz                   of a readout: what it says of each validation image
            normalisation.npz                 of a published base: mean and scale of its input
            lock                              who trains the network now
            wandb/                            the network's W&B runs
        means/<split>-<task>-<pixels>.npz     mean image of a task
        features/<network>-<digest>/          features of images, for readouts
            about.json                        what they depend on
            <part>-<view>/<layer>-<pooling>/<block>.safetensors
        fleets/<first network>/               a started fleet, until it is done
            fleet.json  checkpoint.pt  progress.json  failed.json
        submissions/<k>.json                  the fleets of the k-th submission to SLURM
        submissions/<k>.jobs.json             the jobs that SLURM made of it
        logs/                                 what the array tasks print
        .removed-<token>/                     a folder that is being removed

The command line reads <data> from $TRANSFERABILITY_DATA (default ./data) and <runs> from $TRANSFERABILITY_RUNS
(default ./runs). Below it both are values that are handed on.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

RESULT, LOCK = "result.json", "lock"  # in a network's folder


def data_root() -> Path:
    """The folder of packed sets. For entry points."""
    return _folder_of("TRANSFERABILITY_DATA", "data")


def study_folder(study: str) -> "StudyFolder":
    """The folder of the study of this name. For entry points."""
    return StudyFolder(_folder_of("TRANSFERABILITY_RUNS", "runs") / study)


def _folder_of(variable: str, default: str) -> Path:
    """The folder that a variable names. A ~ is the home folder: files of variables (.env) hand it on as it is."""
    return Path(os.path.expanduser(os.environ.get(variable) or default))


@dataclass(frozen=True)
class FleetFolder:
    """The files of one started fleet, under `root` = <runs>/<study>/fleets/<first network>."""

    root: Path

    @property
    def start(self) -> Path:
        """The networks and their records, written when training starts."""
        return self.root / "fleet.json"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint.pt"

    @property
    def progress(self) -> Path:
        return self.root / "progress.json"

    @property
    def failed(self) -> Path:
        """Why the last attempt ended without a result."""
        return self.root / "failed.json"


@dataclass(frozen=True)
class StudyFolder:
    """The places of one study's files under `root` = <runs>/<study>. Networks and fleets are given by name."""

    root: Path

    def network(self, name: str) -> Path:
        return self.root / name

    def result(self, name: str) -> Path:
        # Joined in one piece: `results` asks for 10,000 of them.
        return self.root / f"{name}/{RESULT}"

    def weights(self, name: str) -> Path:
        return self.root / name / "weights.safetensors"

    def lock(self, name: str) -> Path:
        return self.root / name / LOCK

    def normalisation(self, name: str) -> Path:
        """What the images of a published base have to go through."""
        return self.root / name / "normalisation.npz"

    def predictions(self, name: str) -> Path:
        """What a readout says of each validation image."""
        return self.root / name / "predictions.npz"

    def pictures(self, name: str) -> Path:
        """Some images before and after translation."""
        return self.root / name / "pictures.npz"

    def mean(self, task: str, pixels: int) -> Path:
        return self.root / "means" / f"{task}-{pixels}.npz"

    def features(self, network: str, digest: str) -> Path:
        """Features of images by one network. digest: of what they depend on."""
        return self.root / "features" / f"{network.replace('/', '.')}-{digest}"

    @property
    def fleets(self) -> Path:
        return self.root / "fleets"

    def fleet(self, name: str) -> FleetFolder:
        return FleetFolder(self.fleets / name)

    @property
    def results(self) -> Path:
        return self.root / "results.csv"

    @property
    def curves(self) -> Path:
        return self.root / "curves.csv"

    @property
    def page(self) -> Path:
        return self.root / "report.html"

    @property
    def answer(self) -> Path:
        """The section of the page that `ask` writes."""
        return self.root / "answer.html"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def wandb(self) -> Path:
        return self.root / "wandb"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def submissions(self) -> list[int]:
        """Numbers of the study's submissions to SLURM, ascending."""
        names = (file.name for file in (self.root / "submissions").glob("*.json"))
        return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"(\d+)\.json", name)))

    def submission(self, number: int) -> Path:
        """The list of fleets of a submission. Written once."""
        return self.root / "submissions" / f"{number}.json"

    def jobs(self, number: int) -> Path:
        """The SLURM jobs of a submission."""
        return self.root / "submissions" / f"{number}.jobs.json"

    def aside(self) -> Path:
        """A fresh name for a folder that is about to be removed."""
        return self.root / f".removed-{secrets.token_hex(8)}"

    def removed(self) -> list[Path]:
        """Folders that a killed process was about to remove."""
        return list(self.root.glob(".removed-*"))
