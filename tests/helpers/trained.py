"""Trains in this process, in the folders that the environment names, for tests that compare what came of it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from comparing import Outcome, outcome
from tiny import full_name

from transferability.runs import ledger, status
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.study import Fleet, Network, Study
from transferability.training import train as training

PLAIN = Machine(accelerator="cpu", keep_weights=True)


def train_fleet(
    study: Study,
    fleet: Fleet,
    machine: Machine = PLAIN,
    report: Callable[[int], None] = lambda step: None,
    preempted: threading.Event | None = None,
) -> None:
    folder = study_folder(study.name)
    training.train_fleet(training.FleetTraining(study, fleet, folder, data_root(), machine), report, preempted)


def pending(study: Study, chosen: Sequence[Network] | None = None, size: int | None = None) -> list[Fleet]:
    return ledger.pending(study, study_folder(study.name), study.networks if chosen is None else chosen, size)


def statuses(study: Study, chosen: Sequence[Network], **ended: Any) -> list[status.NetworkStatus]:
    return status.statuses(study, study_folder(study.name), chosen, **ended)


def train(study: Study, machine: Machine = PLAIN, groups: Sequence[Sequence[str]] | None = None) -> None:
    """Trains what is pending of a study; with `groups`, fleets of the networks of these names instead."""
    if groups is None:
        divided = pending(study)
    else:
        divided = [Fleet(tuple(study.by_name[full_name(name)] for name in group)) for group in groups]
    for fleet in divided:
        train_fleet(study, fleet, machine)


def trained(study: Study, machine: Machine = PLAIN) -> dict[str, Outcome]:
    """Trains a study: short name of each network → what became of it."""
    train(study, machine)
    return {network.short_name: outcome(study.name, network.name) for network in study.networks}
