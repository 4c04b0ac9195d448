"""The final weights of a trained network, as they are in its file; of the network that another copies from."""

import hashlib

import safetensors.torch
from torch import Tensor

from transferability.data.tasks import Tasks
from transferability.files import Missing, Refused
from transferability.runs.ledger import refuse_difference
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.study import Network, Study, record


def read_weights(folder: StudyFolder, result: Result) -> dict[str, Tensor]:
    """Name in the network → tensor. `Missing` if the weights were not kept; Refused if the file is another or damaged.

    The checksum in the result is compared; results of earlier versions have none.
    """
    file = folder.weights(result.name)
    again = f"move {file.parent} away to train {result.name} again"
    try:
        weights = file.read_bytes()
    except FileNotFoundError:
        raise Missing(f"{file} is missing; {again}") from None
    if result.weights_sha256 not in (None, hashlib.sha256(weights).hexdigest()):
        raise Refused(f"{file} is not what {result.name} ended with; move {file.parent} away to train it again")
    try:
        return safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise Refused(f"{file} is damaged ({error}); {again}") from None


def base_weights(study: Study, network: Network, folder: StudyFolder, tasks: Tasks) -> dict[str, Tensor]:
    """The weights of the network that `network` copies from; Refused if it is missing, diverged or another's."""
    name = network.source_name
    assert name is not None
    try:
        result = read_result(folder.result(name))
    except Missing:
        raise Refused(f"{network.name} copies from {name}, which is not trained yet; train it first") from None
    now = record(study, study.by_name[name], tasks.checksums)
    refuse_difference(name, folder.result(name), result.record, now)
    if result.diverged_at is not None:
        raise Refused(f"{network.name} copies from {name}, which diverged at step {result.diverged_at}")
    return read_weights(folder, result)
