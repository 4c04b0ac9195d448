"""Whether networks can be trained on a packed set, and match what was trained before. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from transferability.data.packed import PackedImages, refuse_few
from transferability.files import Refused
from transferability.runs.ledger import refuse_difference, started, with_sources
from transferability.runs.paths import StudyFolder
from transferability.runs.result import read_result
from transferability.splits import split_tasks, task_classes
from transferability.study import Network, Study, record


def refuse_mismatches(study: Study, folder: StudyFolder, chosen: Sequence[Network], packed: PackedImages) -> None:
    """Refuses what cannot be trained, or was trained as something else: by name, before anything is trained.

    Looks at the results of `chosen` and of what they copy from, and at the fleets that were started.
    """
    refuse_unfit(study, chosen, packed)
    recorded: dict[str, tuple[object, Mapping[str, Any]]] = {}
    for network in with_sources(study, chosen):
        file = folder.result(network.name)
        if file.exists():
            recorded[network.name] = file, read_result(file).record
    for fleet, start in started(folder).items():
        for name, then in start.records.items():
            recorded.setdefault(name, (folder.fleet(fleet).start, then))
    for name, (place, then) in recorded.items():
        if name in study.by_name:
            refuse_difference(name, place, then, record(study, study.by_name[name], packed.checksum))


def refuse_unfit(study: Study, chosen: Sequence[Network], packed: PackedImages) -> None:
    """Refuses, by name, networks that cannot be trained on this packed set: before anything is trained."""
    checked: set[tuple[Any, ...]] = set()
    for network in chosen:
        tasks = {task: task_classes(packed.classes, network.split, task) for task in split_tasks(network.split)}
        network.treatment.check(study.architecture.depth, {task: len(classes) for task, classes in tasks.items()})
        recipe, target, most = network.recipe, network.treatment.target, network.images_per_class
        key = (network.split, target, most, recipe)
        if key not in checked:
            checked.add(key)
            counts = np.bincount(packed.train.labels, minlength=len(packed.classes))[tasks[target]]
            _refuse_few(network, counts)
            single = np.flatnonzero(np.minimum(counts, counts if most is None else most) < 2)
            if recipe.stop == "inner" and len(single):
                name = packed.classes[tasks[target][single[0]]].name
                raise Refused(
                    f"{network.name}: class {name!r} has one training image, of which none can be held out; leave "
                    f"stop='inner' out of recipe {recipe.name!r}"
                )
            recipe.refuse_size(packed.size, network.name)


def _refuse_few(network: Network, counts: np.ndarray) -> None:
    """Refuses if there are too few images. counts: (classes of the target,) training images of each class."""
    recipe, most = network.recipe, network.images_per_class
    refuse_few(most, int(counts.max()), network.name)
    images = int(counts.sum() if most is None else np.minimum(counts, most).sum())
    if recipe.batch > images:
        raise Refused(
            f"{network.name}: recipe {recipe.name!r} has a batch of {recipe.batch}, and there are only {images} "
            "training images; make the batch smaller"
        )


def shortened(study: Study, steps: int, batch: int, packed: PackedImages) -> Study:
    """`study` with every network trained for `steps` steps of `batch` images, for a dry run.

    A network that is trained on more images per class than the set has takes all that there are, and its variant says
    so.
    """
    largest = int(np.bincount(packed.train.labels).max())

    def short(network: Network) -> Network:
        recipe = replace(network.recipe, name="dry-run", steps=steps, batch=batch, validate_every=steps, warmup=0)
        wanted = network.images_per_class
        if wanted is None or wanted <= largest:
            return replace(network, recipe=recipe)
        return replace(network, recipe=recipe, images_per_class=largest, variant=f"of-{wanted}{network.variant}")

    return replace(study, name=f"{study.name}-dry-run", networks=tuple(map(short, study.networks)))
