"""The features that readouts read: one pass over the images gives all layers that any readout of the study asks for.

Each image is computed in a batch of the same size, in evaluation mode, by the layers that were cut out of the network
(promise 10), so its features do not depend on which others are asked for. Several processes share the blocks of a pass:
each takes those that nobody else is at.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferability.data.stream import TaskImages, task_images
from transferability.data.tasks import ChosenImages, Normalisation, Tasks
from transferability.files import Missing, Refused, write_atomically, write_json
from transferability.networks.layers import build, copy, draw
from transferability.readout import VIEWS, Readout, is_channels_last
from transferability.runs.features import (
    Place,
    Sheet,
    Wanted,
    blocks,
    dependence,
    features_folder,
    part_of,
    read_features,
    readout_of,
    room,
    rows_in,
    sheet_of,
    training_images,
    wanted,
    write_block,
)
from transferability.runs.features import read_network as name_of
from transferability.runs.locks import Held, hold
from transferability.runs.paths import StudyFolder
from transferability.study import Network, Study
from transferability.trained.normalisation import normalisation
from transferability.trained.weights import base_weights
from transferability.training.device import gpu_arithmetic
from transferability.training.handmade import hog
from transferability.training.views import view_of
from transferability.treatment import RANDOM

BATCH = 32  # images at once; always so many, since a sum may be rounded differently in another batch
CLASSES = 1000  # outputs of random layers, of which only those below the last are of interest
WAIT = 1.0  # seconds between two looks at blocks that another process computes


@dataclass(frozen=True)
class Reader:
    """The network that is read. layers: the first ones, in evaluation mode. seen: how its images are prepared."""

    layers: tuple[torch.nn.Module, ...]
    seen: Normalisation
    device: torch.device

    @torch.no_grad()
    def outputs(self, images: TaskImages, view: str, crop: int, depths: set[int]) -> Iterator[tuple[int, Tensor]]:
        """(n, output of layer n (b, …) float32 on the device), ascending; n = 0: the pixels, from 0 to 1.

        images: at most BATCH of them. Each output has to be read before the next is asked for.
        """
        count = len(images.rows)
        places = np.minimum(np.arange(BATCH), count - 1)  # a short batch is filled up with its last image
        if 0 in depths:
            yield 0, view_of(images, places, view, torch.zeros(images.size, images.size, 3), crop)[:count] / 255
        if not self.layers:
            return
        x = view_of(images, places, view, torch.from_numpy(np.asarray(self.seen.mean)), crop)
        scale = self.seen.scale
        x = x.mul_(scale if isinstance(scale, float) else x.new_tensor(scale).view(3, 1, 1))
        x = x.contiguous(memory_format=torch.channels_last).to(self.device)
        for n, layer in enumerate(self.layers, 1):
            x = layer(x)
            if n in depths:
                yield n, x[:count].float()


def make_features(
    study: Study,
    network: Network,
    folder: StudyFolder,
    tasks: Tasks,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, blocks: None,
) -> Path:
    """Computes what the study's readouts ask for of the network that `network` reads, and is not there yet.

    Returns the folder of its features. report: called with the blocks that are done, and how many there are, also while
    other processes compute them; what it raises ends the pass.
    """
    depends = dependence(study, network, folder, tasks)
    place = features_folder(study, network, folder, depends)
    asked = wanted(study, tasks, [network])[name_of(study, network)]
    left = _missing(place, asked)
    if not left:
        return place
    write_json(place / "about.json", depends)
    reader = _reader(study, network, folder, tasks, asked, device)
    total = len(left)
    while left:
        for key in list(left):
            lock = place / f"{key[0]}-{key[1]}.lock"
            try:
                with hold([lock]):
                    _make_block(place, asked, key, reader, tasks)
            except Held:
                continue
            left.remove(key)
            report(total - len(left), total)
        still = _missing(place, asked)
        left = [key for key in left if key in still]
        if left:
            time.sleep(WAIT)
            report(total - len(left), total)
    return place


Key = tuple[str, int]  # part of the packed set, number of the block


def _missing(place: Path, asked: Wanted) -> list[Key]:
    """The blocks of which some features are not there."""
    missing = {
        (where.part, number)
        for where, rows in asked.rows.items()
        for number, here in blocks(rows)
        if len(np.setdiff1d(here, rows_in(where.file(place, number)), assume_unique=True))
    }
    return sorted(missing)


def _reader(
    study: Study, network: Network, folder: StudyFolder, tasks: Tasks, asked: Wanted, device: torch.device
) -> Reader:
    """The layers up to the last that is asked for."""
    depth, recipe = max(where.sheet.n for where in asked.rows), readout_of(network)
    if not depth:
        size = tasks.target(network).packed.size // recipe.shrink
        return Reader((), Normalisation(np.zeros((size, size, 3), np.float32), 1.0), device)
    source = network.source_name
    weights = {} if source is None else base_weights(study, network, folder, tasks)
    classes = CLASSES if source is None else _outputs(study, study.by_name[source], tasks)
    layers = []
    for _, (name, layer) in zip(range(depth), build(study.architecture, classes), strict=False):
        if source is None:
            address = ("weights", network.split, RANDOM, f"seed-{network.seed}")
            draw(study.architecture, name, layer, classes, recipe.initialisation, *address)
        else:
            copy(name, layer, weights)
        layers.append(layer.eval().requires_grad_(False).to(device))
    letter = network.treatment.mean_of
    split = network.source_split if letter == network.treatment.source else network.split
    origin = study.by_name.get(source or "")
    if origin is not None and origin.treatment.kind != "base":  # a fine-tuned network: it saw what its own source saw
        letter, split = origin.treatment.mean_of, origin.split
        split = origin.source_split if letter == origin.treatment.source else split
    return Reader(tuple(layers), normalisation(network, split, letter, folder, tasks), device)


def _outputs(study: Study, source: Network, tasks: Tasks) -> int:
    """The number of outputs of the network that is read."""
    base = study.published_base(source.split, source.treatment.target)
    if base is not None and source.treatment.kind == "base":
        return base.recipe.classes  # type: ignore[union-attr]
    return source.outputs(len(tasks.target(source).classes))


@torch.no_grad()
def _make_block(place: Path, asked: Wanted, key: Key, reader: Reader, tasks: Tasks) -> None:
    """Computes what is missing of one block, and writes it, a file for each view and layer."""
    part, number = key
    recipe, packed = readout_of(asked.reader), tasks.target(asked.reader).packed
    images = (packed.train if part == "train" else packed.val).images
    views: dict[str, dict[Place, np.ndarray]] = {}
    for where, rows in asked.rows.items():
        if where.part == part:
            here, known = dict(blocks(rows)).get(number), rows_in(where.file(place, number))
            if here is not None and len(np.setdiff1d(here, known)):
                views.setdefault(where.view, {})[where] = np.union1d(here, known)
    for view, by_place in views.items():
        rows = np.unique(np.concatenate(list(by_place.values())))
        made: dict[Place, list[np.ndarray]] = {where: [] for where in by_place}
        for start in range(0, len(rows), BATCH):
            chosen = ChosenImages(images, rows[start : start + BATCH], np.zeros(len(rows[start : start + BATCH])))
            batch = task_images(chosen, recipe.shrink)
            depths = {where.sheet.n for where in by_place}
            with gpu_arithmetic():
                for n, output in reader.outputs(batch, view, recipe.crop, depths):
                    for where, parts in made.items():
                        if where.sheet.n == n:
                            parts.append(vectors(output, where.sheet))
        for where, parts in made.items():
            write_block(where.file(place, number), rows, np.concatenate(parts))


def vectors(output: Tensor, sheet: Sheet) -> np.ndarray:
    """(b, numbers) float32: what a layer puts out, (b, …), as one vector per image."""
    if sheet.handmade in ("hog", "words"):
        return hog(output, sheet.handmade == "words")
    return np.array(pooled(output, sheet).cpu().numpy(), np.float32)  # a copy: the next layer may write into its input


def pooled(output: Tensor, sheet: Sheet) -> Tensor:
    """(b, numbers): the output of a layer, (b, …), pooled as the sheet says."""
    recipe = Readout("", 1, pooling=sheet.pooling, tokens=sheet.tokens)
    shape = tuple(output.shape[1:])
    if len(shape) == 2 and sheet.pooling != "flat":
        parts = {"class": [output[:, 0]], "mean": [output[:, 1:].mean(1)]}
        output = torch.cat(parts.get(sheet.tokens) or parts["class"] + parts["mean"], 1)
    elif len(shape) == 3:
        output = output.permute(0, 3, 1, 2) if is_channels_last(shape) else output
        if sheet.pooling != "flat":
            output = F.adaptive_avg_pool2d(output, recipe.pooled_shape(shape)[1])
    return output.flatten(1)


# ------------------------------------------------------------------------------------------ for users


def write_features(study: Study, network: Network, folder: StudyFolder, data: Path, file: Path) -> str:
    """Writes what a readout is fitted to and judged on, before its transforms; what was written, in one line.

    OUT.npz has for train and val: NAME_features (images, numbers) float32, or (images, views, numbers) where there are
    several; NAME_labels; NAME_rows, places in NAME_part of the packed set, whose checksum is data; and NAME_domain, ""
    where there are none. And of the readout: network, layer, transforms, components (0: all); classes and groups, their
    names. Refused: a network that is no readout, or whose source is not trained.
    """
    if not isinstance(network.recipe, Readout):
        raise Refused(f"{network.name} is no readout: say in the study which layer is read, as Readout(…) does")
    if file.suffix != ".npz":
        raise Refused(f"{file}: write a name that ends with .npz")
    tasks = Tasks(study, data)
    print(room(study, folder, [network], tasks), flush=True)
    try:
        place = make_features(study, network, folder, tasks, torch.device("cpu"))
    except Missing as error:
        raise Refused(f"{network.source_name} is not trained yet ({error}); `transferability run` it first") from None
    task, sheet, recipe = tasks.target(network), sheet_of(network), readout_of(network)
    content = {key: np.array(value) for key, value in _about(study, network, tasks).items()}
    for name, chosen, views in (
        ("train", training_images(network, tasks), recipe.train_views),
        ("val", task.validation_images(), recipe.test_views),
    ):
        part = part_of(task.packed, chosen)
        seen = [read_features(place, Place(part, view, sheet), chosen.rows) for view in VIEWS[views]]
        content[f"{name}_features"] = seen[0] if len(seen) == 1 else np.stack(seen, 1)
        content |= {f"{name}_labels": chosen.labels, f"{name}_rows": chosen.rows, f"{name}_part": np.array(part)}
    with write_atomically(file) as handle:
        np.savez(handle, **content)  # type: ignore[arg-type]
    shapes = [content[f"{name}_features"].shape for name in ("train", "val")]
    return f"{file}: {network.name}, training features {shapes[0]}, validation features {shapes[1]}"


def _about(study: Study, network: Network, tasks: Tasks) -> dict[str, Any]:
    """What figures of a readout's features have to know."""
    recipe, task, treatment = readout_of(network), tasks.target(network), network.treatment
    judged = trained = study.part(network.split, treatment.target).domain
    if recipe.trained_on != "target":
        source = study.part(network.split, treatment.source).domain
        trained = source if recipe.trained_on == "source" else f"{source} and {trained}"
    return {
        "network": network.name,
        "layer": study.architecture.layer_names[treatment.n - 1] if treatment.n else recipe.handmade,
        "transforms": list(recipe.transforms),
        "components": recipe.components or 0,
        "classes": task.class_names,
        "groups": [task.packed.classes[index].group or "" for index in task.classes],
        "data": task.packed.checksum,
        "train_domain": trained,
        "val_domain": judged,
    }
