"""Trains a study in this process, for the tests that compare one way of training with another."""

from typing import Any

import safetensors.torch
from torch import Tensor

from transferability.files import read_json
from transferability.launch.local import pending
from transferability.runs.paths import study_folder
from transferability.study import Study
from transferability.training.train import Machine, train_fleet


def train(study: Study, machine: Machine) -> dict[str, tuple[dict[str, Any], dict[str, Tensor]]]:
    """Short name of each network → (its series without times, its weights); `machine` has to keep those."""
    for fleet in pending(study, study.networks, None):
        train_fleet(study, fleet, machine)
    folder = study_folder(study.name)
    out = {}
    for network in study.networks:
        series = read_json(folder.result(network.name))["series"]
        del series["seconds"]
        out[network.short_name] = series, safetensors.torch.load_file(folder.weights(network.name))
    return out
