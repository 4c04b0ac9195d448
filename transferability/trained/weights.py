"""The final weights of a trained network, as they are in its file."""

import hashlib

import safetensors.torch
from torch import Tensor

from transferability.files import Missing, Refused
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result


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
