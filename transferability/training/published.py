"""The training of a published base: it is fetched, checked, stored once, and validated where its images are at hand."""

import hashlib
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from transferability.classes import ilsvrc_classes
from transferability.data.pack import Rule
from transferability.data.packed import PackedImages, read_manifest
from transferability.data.stream import ValidationBatches, task_images
from transferability.data.tasks import Task, Tasks
from transferability.files import Refused, write_atomically
from transferability.networks.chain import Chain
from transferability.networks.layers import build, copy
from transferability.published import Published
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, write_result
from transferability.study import Network, Study, record
from transferability.trained.normalisation import read_normalisation, write_normalisation
from transferability.trained.published import Origin, fitted, read_origin, resize_side
from transferability.training.losses import hits
from transferability.training.outcome import UNTRAINED, majority_class_accuracy, named, provenance

MOST_AROUND = 1.5  # side of an image over that of its central crop, for a validation that is worth its name


class Scores(NamedTuple):
    """Of a network on validation images. loss: in nats."""

    top1: float
    top5: float
    loss: float
    images: int


def fetch(study: Study, network: Network, folder: StudyFolder, data: Path) -> None:
    """Stores the weights of a published base, what its images have to go through, and its result.

    data: the folder of packed sets. Refused, in one line: weights that are not there, or do not fit the network.
    """
    began = time.monotonic()
    published = network.recipe
    assert isinstance(published, Published)
    origin = read_origin(published, folder.root.parent)
    weights = fitted(published, origin, study.architecture)
    file = safetensors.torch.save(weights)
    with write_atomically(folder.weights(network.name)) as handle:
        handle.write(file)
    write_normalisation(network, folder, origin.mean, origin.scale)
    task, reason = images_at_hand(study, network, data)
    scores = None if task is None else validated(study, network, folder, weights, task)
    about = {
        "weights": published.weights,
        "file": origin.file,
        "sha256": origin.sha256,
        "resize": resize_side(origin, study.architecture.crop),
        "squash": origin.squash,
        "resampling": origin.resampling,
        "other_images": other_images(study, network, origin, data),
        "not_validated": reason,
    }
    chance = None if task is None else majority_class_accuracy(task)
    result = replace(
        _result(study, network, scores, about),
        seconds=time.monotonic() - began,
        chance=chance,
        weights_sha256=hashlib.sha256(file).hexdigest(),
    )
    write_result(folder.result(network.name), result)


def other_images(study: Study, network: Network, origin: Origin, data: Path) -> list[str]:
    """A line for each packed set of the study whose images are not as the weights want them, if they say it."""
    if not origin.resampling:
        return []
    wanted = Rule(origin.resize, origin.squash, False, "", origin.resampling).text
    lines = []
    for name in study.data_sets:
        folder = data / name
        if not (folder / "manifest.json").exists():
            continue
        how = str(read_manifest(folder).get("resize"))
        if how != wanted:
            lines.append(
                f"other images: {network.name} was trained on images by {wanted}, {name} is packed by {how}; pack "
                f"--for {network.recipe.weights} packs them alike"  # type: ignore[union-attr]
            )
    return lines


def images_at_hand(study: Study, network: Network, data: Path) -> tuple[Task | None, str]:
    """The task that a published base was trained on, if it is packed here; else None, and why it is not validated."""
    published, letter = network.recipe, network.treatment.target
    assert isinstance(published, Published)
    folder = data / study.part(network.split, letter).data
    if isinstance(study.architecture, Chain) and study.architecture.top is not None:
        return None, "its top is new"
    if not (folder / "manifest.json").exists():
        return None, f"{folder.name} is not packed"
    try:
        task = Tasks(study, data).task(network.split, letter, network.seed)
        task.validation_images()
    except Refused as error:
        return None, str(error)
    if task.has_several_labels:
        return None, f"{folder.name} has images of several classes"
    if task.packed.size < study.architecture.crop:
        return None, f"{folder.name} has images of {task.packed.size} pixels, it sees {study.architecture.crop}"
    if task.packed.size > MOST_AROUND * study.architecture.crop:
        return (
            None,
            f"{folder.name} has images of {task.packed.size} pixels, of which it sees {study.architecture.crop}",
        )
    if outputs_of(task.packed, task.classes, published.classes) is None:
        return None, f"{folder.name} has {len(task.classes)} classes, it has {published.classes} outputs"
    return task, ""


def outputs_of(packed: PackedImages, classes: np.ndarray, outputs: int) -> np.ndarray | None:
    """(k,) which output of a published network stands for each of the classes; None where that is not known.

    As many outputs as classes: in their order. 1,000 outputs: ILSVRC's, if all classes are of ILSVRC.
    """
    if len(classes) == outputs:
        return np.arange(outputs)
    places = {known.id: known.index for known in ilsvrc_classes()}
    ids = [packed.classes[index].id for index in classes]
    if outputs == len(places) and all(name in places for name in ids):
        return np.array([places[name] for name in ids])
    return None


@torch.no_grad()
def validated(study: Study, network: Network, folder: StudyFolder, weights: dict[str, Tensor], task: Task) -> Scores:
    """How a published base does on the validation images of its task, central crops, all of its outputs competing."""
    published, architecture = network.recipe, study.architecture
    assert isinstance(published, Published)
    outputs = outputs_of(task.packed, task.classes, published.classes)
    assert outputs is not None
    places = torch.from_numpy(outputs)
    layers = []
    for name, layer in build(architecture, published.classes):
        copy(name, layer, weights)
        layers.append(layer.eval())
    mean, scale = read_normalisation(network, folder, task.packed.size)
    start = (task.packed.size - architecture.crop) // 2
    window = slice(start, start + architecture.crop)
    central = torch.from_numpy(mean[window, window].copy()).permute(2, 0, 1)
    factor = torch.tensor(scale, dtype=torch.float32)
    factor = factor.view(-1, 1, 1) if factor.ndim else factor
    sums, images = np.zeros(3), 0
    for batch in ValidationBatches(task_images(task.validation_images(), 1), architecture.crop):
        x, labels = (batch.pixels - central) * factor, places[batch.labels]
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in layers:
            x = layer(x)
        first, of_five = hits(x, labels)
        loss = float(F.cross_entropy(x, labels, reduction="sum"))
        sums += (float(first.sum()), float(of_five.sum()), loss)
        images += len(labels)
    top1, top5, mean_loss = (sums / images).tolist()
    return Scores(top1, top5, mean_loss, images)


def _result(study: Study, network: Network, scores: Scores | None, about: dict[str, object]) -> Result:
    top1, top5, loss, images = scores or (None, None, None, 0)
    row = {"step": 0, "rate": 0.0, "train_loss": None, "train_top1": None, "val_loss": loss, "val_top1": top1}
    row |= {"val_top5": top5, "val_images": images, "seconds": 0.0}
    published = network.recipe
    assert isinstance(published, Published)
    return Result(
        **named(study.name, network),
        **UNTRAINED,
        val_top1=top1,
        val_top5=top5,
        val_loss=loss,
        val_images=images,
        train_loss=None,
        train_top1=None,
        series={key: [value] if scores else [] for key, value in row.items()},
        recipe={**asdict(published), "name": published.name, "batch": published.batch},
        record=record(study, network, {}),
        provenance={**provenance(), "devices": 1, "accelerator": "cpu", "published": about},
        classes=published.classes,
    )
