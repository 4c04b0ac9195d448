"""What came of a trained network, and with what it was trained: the contents of its result.json."""

import datetime
import platform
import socket
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

import transferability
from transferability.data.tasks import Task
from transferability.recipe import BEST_NEEDS, BEST_OF
from transferability.runs.machine import Machine
from transferability.runs.result import Result
from transferability.study import Network
from transferability.training.fleet import FleetModule
from transferability.training.forms import FormChoice

# The fields of the result of a network that takes no training step.
UNTRAINED: dict[str, Any] = {
    "diverged_at": None,
    "val_top1_best10": None,
    "steps": 0,
    "images_seen": 0,
    "seconds": 0.0,
    "images_per_second": 0.0,
}


def majority_class_accuracy(task: Task) -> float:
    """The accuracy of always naming the same class: the largest class's share of the validation images."""
    labels = task.validation_images().labels
    counts = np.bincount(labels) if labels.ndim == 1 else (labels == 1).sum(axis=0)
    return float(counts.max() / len(labels))


def named(study: str, network: Network) -> dict[str, Any]:
    """The fields of a result that say which network it is of."""
    treatment = network.treatment
    return {
        "name": network.name,
        "study": study,
        "split": network.split,
        "network": network.short_name,
        "kind": treatment.kind,
        "source": treatment.source,
        "target": treatment.target,
        "n": treatment.n,
        "preserved": treatment.preserved,
        "plus": treatment.plus,
        "images_per_class": network.images_per_class,
        "variant": network.variant,
        "seed": network.seed,
    }


def network_result(
    study: str, module: FleetModule, index: int, record: dict[str, Any], machine: Machine, choice: FormChoice
) -> Result:
    """The result of network number `index` of a fleet that is trained. What is told by its task and the digest are
    left to be set.

    Where it was stopped by images that are held out, steps and accuracies are those of its best validation on them, and
    images seen all that it was trained on.
    """
    network = module.fleet.networks[index]
    treatment, series = network.treatment, module.series[network.name]
    diverged, best = int(module.diverged_at[index]), module.best.get(index)
    last = series[-1 if best is None else best.row]  # the row that counts
    accuracies = sorted(row["val_top1"] for row in series if row["step"])
    images = int(series[-1]["step"]) * module.recipe.batch
    return Result(
        **named(study, network),
        diverged_at=diverged if diverged >= 0 else None,
        val_top1=last["val_top1"],
        val_top5=last["val_top5"],
        val_loss=last["val_loss"],
        val_images=int(last["val_images"]),
        train_loss=last["train_loss"],
        train_top1=last["train_top1"],
        val_top1_best10=float(np.mean(accuracies[-BEST_OF:])) if len(accuracies) >= BEST_NEEDS else None,
        steps=int(last["step"]),
        images_seen=images,
        seconds=module.stopwatch.seconds,
        images_per_second=images / module.stopwatch.seconds,
        series={key: [row[key] for row in series] for key in last},
        recipe=asdict(module.recipe),
        record=record,
        provenance={
            **provenance(),
            "devices": machine.processes,
            "accelerator": module.trained_on,
            "form": choice.form,
            "forms_tried": choice.tried,  # ms per step, or why a form must not be used
            "fleet": [member.name for member in module.fleet.networks],
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
        val_class_top1=last.get("val_class_top1"),
        val_map=last.get("val_map"),
        val_auc=last.get("val_auc"),
        val_seen=last.get("val_seen"),
        val_unseen=last.get("val_unseen"),
        val_harmonic=last.get("val_harmonic"),
        layer=module.architecture.layer_names[treatment.n - 1] if treatment.n else "",
    )


def provenance() -> dict[str, Any]:
    """Commit, versions and hardware of this process."""
    return {
        "git_commit": git_commit(Path(transferability.__file__).parent) or "unknown",
        "versions": {
            "transferability": transferability.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": L.__version__,
            "numpy": np.__version__,
        },
        "hardware": {
            "host": socket.gethostname(),
            "cpu": cpu_model(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def git_commit(folder: Path) -> str:
    """The commit of the checkout that `folder` is in, with a word where its files were changed; "" if it is in none."""

    def git(*arguments: str) -> str:
        # A checkout of another user's is read too: git would refuse it, since its hooks could run. These two only read.
        command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        if commit and git("status", "--porcelain", "--untracked-files=no", "."):
            commit += " with changes"
    except OSError:  # no git
        return ""
    return commit


def cpu_model() -> str:
    """The name of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
