"""Trains in this process, in the folders that the environment names, for tests that compare what came of it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import safetensors.torch
from torch import Tensor

from transferability.files import read_json
from transferability.runs import ledger, status
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.study import Fleet, Network, Study
from transferability.training import train as training


def train_fleet(
    study: Study,
    fleet: Fleet,
    machine: Machine,
    report: Callable[[int], None] = lambda step: None,
    preempted: threading.Event | None = None,
) -> None:
    folder = study_folder(study.name)
    training.train_fleet(training.FleetTraining(study, fleet, folder, data_root(), machine), report, preempted)


def pending(study: Study, chosen: Sequence[Network], size: int | None) -> list[Fleet]:
    return ledger.pending(study, study_folder(study.name), chosen, size)


def statuses(study: Study, chosen: Sequence[Network], **ended: Any) -> list[status.NetworkStatus]:
    return status.statuses(study, study_folder(study.name), chosen, **ended)


def train(study: Study, machine: Machine) -> dict[str, tuple[dict[str, Any], dict[str, Tensor]]]:
    """Short name of each network → (its series without times, its weights); `machine` has to keep those."""
    for fleet in pending(study, study.networks, None):
        train_fleet(study, fleet, machine)
    folder = study_folder(study.name)
    outcomes = {}
    for network in study.networks:
        series = read_json(folder.result(network.name))["series"]
        del series["seconds"]
        outcomes[network.short_name] = series, safetensors.torch.load_file(folder.weights(network.name))
    return outcomes
