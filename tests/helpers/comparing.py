"""What became of a trained network, to compare one way of training with another. Torch-free until weights are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny import full_name

from transferability.files import read_json
from transferability.runs.paths import StudyFolder, study_folder

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """Equal for networks that were trained to the same bits.

    result: result.json without times, provenance and the study's name. file: the bytes of weights.safetensors.
    """

    result: dict[str, Any]
    file: bytes

    @property
    def series(self) -> dict[str, list[Any]]:
        series: dict[str, list[Any]] = self.result["series"]
        return series

    @property
    def diverged_at(self) -> int | None:
        step: int | None = self.result["diverged_at"]
        return step

    @property
    def weights(self) -> "dict[str, Tensor]":
        import safetensors.torch

        return safetensors.torch.load(self.file)


def outcome(study: str, name: str, runs: Path | None = None) -> Outcome:
    """Of one network, named as random-0/A3B/seed-0 or, on split random-0 and of seed 0, A3B.

    runs: the folder of runs; None: the one that the environment names.
    """
    folder = study_folder(study) if runs is None else StudyFolder(runs / study)
    return Outcome(measured(folder, name), folder.weights(full_name(name)).read_bytes())


def measured(folder: StudyFolder, name: str) -> dict[str, Any]:
    """`Outcome.result` alone, also of networks that keep no weights."""
    result = read_json(folder.result(full_name(name)))
    for key in ("study", "seconds", "images_per_second", "provenance"):
        del result[key]
    del result["series"]["seconds"]
    return dict(result)
