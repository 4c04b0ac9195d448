"""A trained network as an `nn.Module`, with its weights, classes and preprocessing."""

import difflib
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from transferability.classes import ilsvrc_classes
from transferability.data.stream import ValidationBatches, task_images
from transferability.data.tasks import Task, Tasks
from transferability.draws import numpy_generator
from transferability.files import Missing, Refused
from transferability.multitask import LabelHeads
from transferability.networks.layers import build, copy, in_one_piece, tensors
from transferability.pretext import Pretext
from transferability.published import Published
from transferability.readout import Readout
from transferability.runs.ledger import refuse_difference
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.study import Network, Study, record
from transferability.trained.preprocessing import (
    Images,
    Preprocessing,
    preprocessing_of,
    published_preprocessing,
)
from transferability.trained.weights import read_weights


class TrainedNetwork(nn.Module):
    """A trained network in evaluation mode: (b, 3, crop, crop), preprocessed → (b, classes) scores, float32.

    result: what is in its result.json: `result.val_top1` is its recorded accuracy. classes: the name of each score's
    class. preprocessing: a function from images to its input. layer_names: from bottom to top; layer n is the n-th.
    """

    def __init__(
        self,
        study: Study,
        network: Network,
        result: Result,
        weights: dict[str, Tensor],
        task: Task | None,
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__()
        self.name, self.architecture, self.result = network.name, study.architecture, result
        self.preprocessing, self.layer_names = preprocessing, study.architecture.layer_names
        self._network, self._task = network, task  # None: no labelled images are at hand (see `_validation`)
        if isinstance(network.recipe, Pretext):
            self.classes = tuple(f"class {k}" for k in range(network.recipe.outputs))
        else:
            self.classes = published_classes(result.classes or 0) if task is None else task.class_names
        self.layers = nn.ModuleList()
        for name, layer in build(study.architecture, len(self.classes)):
            copy(name, layer, weights)
            self.layers.append(layer)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.float()

    def features(self, images: Images | Tensor, layer: int | str) -> Tensor:
        """(b, …) float32: the output of layer n, by number or name, with its ReLU, pooling and normalisation.

        images: what `preprocessing` takes, or what it returns. n = 0: the network's input; the last n: its scores.
        """
        n = self._number(layer)
        x = images if isinstance(images, Tensor) else self.preprocessing(images)
        x = x.to(next(self.parameters()).device)
        with torch.no_grad():
            for module in self.layers[:n]:
                x = module(x)
        return x

    def _number(self, layer: int | str) -> int:
        if isinstance(layer, str) and layer in self.layer_names:
            return self.layer_names.index(layer) + 1
        if isinstance(layer, Integral) and 0 <= layer <= len(self.layer_names):
            return int(layer)
        raise Refused(
            f"{self.name} has no layer {layer!r}; write 0 to {len(self.layer_names)}, or {', '.join(self.layer_names)}"
        )

    def _validation(self, first: int | None = None) -> ValidationBatches:
        if isinstance(self._network.recipe, Pretext):
            raise Refused(f"{self.name} was trained without labels: its outputs are no classes of images")
        if self._task is None:
            raise Refused(f"{self.name} is published: the images that it is validated on are not in this study")
        images = task_images(self._task.validation_images(), self._network.training_recipe.shrink)
        return ValidationBatches(images.first(first), self._network.training_recipe.crop)

    def validation_images(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (input, labels) of all packed validation images of its task, prepared: each image once."""
        for batch in self._validation():
            yield self.preprocessing.normalised(batch.pixels), batch.labels

    def validation_pixels(self, first: int) -> Tensor:
        """(b, 3, crop, crop) uint8: the central crops of the first packed validation images of its task.

        Of a published base, and of one without labels, noise: it is for comparing two forms of a network.
        """
        if self._task is None:
            crop = self.preprocessing.crop
            return torch.from_numpy(numpy_generator("pixels").integers(0, 256, (first, 3, crop, crop), np.uint8))
        return torch.cat([batch.pixels for batch in self._validation(first)])

    @torch.no_grad()
    def accuracy(self) -> float:
        """Top-1 accuracy on the packed validation images, computed now, in single precision."""
        device = next(self.parameters()).device
        hits = count = 0
        for x, labels in self.validation_images():
            hits += int((self(x.to(device)).argmax(1).cpu() == labels).sum())
            count += len(labels)
        return hits / count

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers, under the names that they have in the original network. On the CPU."""
        pairs = zip(self.layer_names, self.layers, strict=True)
        named: list[tuple[str, Tensor]] = []
        for name, layer in pairs:
            named += tensors(name, layer).items()  # type: ignore[arg-type]
        return {key: value.detach().cpu().contiguous() for key, value in named}

    def original(self) -> nn.Module:
        """The network as what it was made from: torchvision's, timm's or one's own class, in evaluation mode.

        CaffeNet and its small relatives are an `nn.Sequential` of their layers.
        """
        module = in_one_piece(self.architecture, len(self.classes))
        module.load_state_dict(self.tensors(), strict=True)
        return module.eval().requires_grad_(False)


def load_network(study: Study, name: str, folder: StudyFolder, data: Path) -> TrainedNetwork:
    """The network of this full name (or without `/seed-0`). data: the folder of packed sets.

    Refused: a network that the study has not, that is not trained, whose weights were not kept, that has diverged, or
    that was trained as something else than the study says now.
    """
    network = find_network(study, name)
    if network.is_classifier:
        what = "heads above" if isinstance(network.recipe, LabelHeads) else "a classifier on the features of"
        hint = "; load_readout loads it" if isinstance(network.recipe, Readout) else ""
        raise Refused(f"{network.name} is {what} layer {network.treatment.n}, and no network{hint}")
    tasks, is_published = Tasks(study, data), isinstance(network.recipe, Published)
    result, weights = kept_weights(study, network, folder, {} if is_published else tasks.checksums)
    if is_published:
        return TrainedNetwork(study, network, result, weights, None, published_preprocessing(study, result, folder))
    preprocessing = preprocessing_of(network, tasks, folder)
    task = None if isinstance(network.recipe, Pretext) else tasks.target(network)
    return TrainedNetwork(study, network, result, weights, task, preprocessing)


def kept_weights(
    study: Study, network: Network, folder: StudyFolder, checksums: Mapping[str, str]
) -> tuple[Result, dict[str, Tensor]]:
    """Result and final weights of a network; Refused as `load_network` says. checksums: of packed sets, by name."""
    file = folder.result(network.name)
    try:
        result = read_result(file)
    except Missing:
        raise Refused(f"{network.name} is not trained yet ({file} does not exist)") from None
    refuse_difference(network.name, file, result.record, record(study, network, checksums, result.record.get("draws")))
    if result.diverged_at is not None:
        raise Refused(f"{network.name} diverged at step {result.diverged_at}: its weights are no numbers")
    try:
        return result, read_weights(folder, result)
    except Missing:
        raise Refused(
            f"the weights of {network.name} were not kept; move {file.parent} away and train it again with "
            f"--keep '{network.name}'"
        ) from None


def published_classes(outputs: int) -> tuple[str, ...]:
    """Names of the classes of a published network: ILSVRC's for 1,000 outputs; else numbers, since nobody says them."""
    known = ilsvrc_classes()
    return tuple(c.name for c in known) if outputs == len(known) else tuple(f"class {k}" for k in range(outputs))


def find_network(study: Study, name: str) -> Network:
    """The network of this full name, or without its seed: of seed 0. Refused, with the nearest names."""
    network = study.by_name.get(name) or study.by_name.get(f"{name}/seed-0")
    if network is None:
        names = [member.name.removesuffix("/seed-0") for member in study.networks]
        nearest = difflib.get_close_matches(name, names, 3, 0.5)
        hint = f"; the nearest are {', '.join(nearest)}" if nearest else "; `transferability plan` lists its networks"
        raise Refused(f"study {study.name!r} has no network {name!r}{hint}")
    return network
