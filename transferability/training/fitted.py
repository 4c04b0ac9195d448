"""A fitted readout: what its file of weights holds, and from a layer's output to scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transferability.data.tasks import Tasks
from transferability.files import Refused
from transferability.readout import Readout
from transferability.runs.features import Sheet, readout_of, sheet_of
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result
from transferability.study import Study
from transferability.trained.network import find_network, kept_weights
from transferability.training import features
from transferability.training.classifiers import scores_of
from transferability.training.handmade import bags_of
from transferability.training.vectors import Transform, through


def tensors_of(
    transforms: Sequence[Transform], classifier: Mapping[str, Tensor], vocabulary: np.ndarray | None
) -> dict[str, Tensor]:
    """What a readout's weights.safetensors holds.

    K.mean and K.factors: of the K-th transform, from 0, if anything is fitted: (x - mean) * factors, or for "whiten"
    (x - mean) @ factors. weight (classes, k), offset (classes,): scores are weight @ x + offset. means (classes, k):
    the nearest counts. vocabulary: of a bag of words.
    """
    tensors = dict(classifier)
    for place, transform in enumerate(transforms):
        if len(transform.factors):
            tensors[f"{place}.mean"] = torch.from_numpy(transform.mean)
            tensors[f"{place}.factors"] = torch.from_numpy(transform.factors)
    if vocabulary is not None:
        tensors["vocabulary"] = torch.from_numpy(vocabulary)
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


class FittedReadout(NamedTuple):
    """A readout's classifier, and what was fitted before it.

    name: of its network. classes: the name of each score. sheet: which layer it reads, and how that is pooled.
    transforms, tensors: as they are in its file. result: what is in its result.json.
    """

    name: str
    classes: tuple[str, ...]
    sheet: Sheet
    transforms: tuple[Transform, ...]
    tensors: dict[str, Tensor]
    result: Result

    def vectors(self, outputs: Tensor | np.ndarray) -> np.ndarray:
        """(b, k) float32: what the classifier sees of `outputs`.

        outputs: (b, …), what layer n puts out, as `TrainedNetwork.features` does; or (b, numbers), pooled already, as
        `transferability features` writes it. n = 0 puts out images, (b, 3, side, side) from 0 to 1. Refused: so many
        numbers as another layer has.
        """
        outputs = torch.as_tensor(outputs, dtype=torch.float32)
        rows = outputs.numpy() if outputs.ndim == 2 else features.vectors(outputs, self.sheet)
        if "vocabulary" in self.tensors:
            rows = bags_of(rows, self.tensors["vocabulary"].numpy())
        known = [len(transform.mean) for transform in self.transforms if len(transform.mean)]
        known += [self.tensors[name].shape[1] for name in ("weight", "means") if name in self.tensors]
        if known and rows.shape[1] != known[0]:
            raise Refused(
                f"{self.name} reads {known[0]} numbers per image, not {rows.shape[1]}: are they of its layer?"
            )
        return through(self.transforms, rows)

    def scores(self, outputs: Tensor | np.ndarray) -> Tensor:
        """(b, classes) float32: of `outputs` (see `vectors`), of one view of each image. Refused where nothing but
        transforms was fitted."""
        if not self.tensors.keys() & {"weight", "means"}:
            raise Refused(
                f"{self.name} compares images with the training images, and has no classifier; "
                "`transferability features` hands them over"
            )
        return scores_of(self.tensors, torch.from_numpy(self.vectors(outputs)))


def load_readout(study: Study, name: str, folder: StudyFolder, data: Path) -> FittedReadout:
    """The readout of this full name (or without `/seed-0`). data: the folder of packed sets.

    Refused: a network that is no readout or not of the study, that is not fitted, whose weights were not kept, or that
    was fitted as something else than the study says now.
    """
    network, tasks = find_network(study, name), Tasks(study, data)
    if not isinstance(network.recipe, Readout):
        raise Refused(f"{network.name} is a network, and no readout: load_network loads it")
    result, tensors = kept_weights(study, network, folder, tasks.checksums)
    transforms = tuple(
        Transform(kind, tensors[f"{k}.mean"].numpy(), tensors[f"{k}.factors"].numpy())
        if f"{k}.mean" in tensors
        else Transform(kind)
        for k, kind in enumerate(readout_of(network).transforms)
    )
    return FittedReadout(
        network.name, tasks.target(network).class_names, sheet_of(network), transforms, tensors, result
    )
