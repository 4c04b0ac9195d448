"""Whether networks can be trained on a packed set, and match what was trained before. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from transferability.adversarial import Adversarial
from transferability.data.packed import refuse_few
from transferability.data.tasks import Task, Tasks
from transferability.files import Refused
from transferability.pretext import Pretext
from transferability.published import Published
from transferability.readout import PENALISED, SEVERAL, Readout
from transferability.recipe import Recipe
from transferability.runs.ledger import is_done, refuse_difference, started, with_sources
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.splits import have_same_classes, split_tasks
from transferability.study import Network, Study, record
from transferability.zero_shot import ZeroShot


def refuse_mismatches(study: Study, folder: StudyFolder, chosen: Sequence[Network], tasks: Tasks) -> None:
    """Refuses what cannot be trained, or was trained as something else: by name, before anything is trained.

    Looks at the results of `chosen` and of what they copy from, and at the fleets that were started.
    """
    refuse_unfit(study, chosen, tasks)
    results: dict[str, Result] = {}
    for network in with_sources(study, chosen):
        if is_done(folder, network.name):
            results[network.name] = read_result(folder.result(network.name))
    recorded: dict[str, tuple[object, Mapping[str, Any]]] = {
        name: (folder.result(name), result.record) for name, result in results.items()
    }
    for fleet, start in started(folder).items():
        for name, then in start.records.items():
            recorded.setdefault(name, (folder.fleet(fleet).start, then))
    for name, (place, then) in recorded.items():
        if name in study.by_name:
            refuse_difference(name, place, then, record(study, study.by_name[name], tasks.checksums))
    for network in chosen:
        source = network.source_name
        if network.name in results or source not in results or results[source].diverged_at is not None:
            continue  # trained already; not copied from yet; said by `refuse_diverged`
        if not (weights := folder.weights(source)).exists():
            raise Refused(
                f"{weights} is missing, from which {network.name} copies; move {weights.parent} away to train {source} "
                "again"
            )


def refuse_unfit(study: Study, chosen: Sequence[Network], tasks: Tasks) -> None:
    """Refuses, by name, networks that cannot be trained on their packed sets: before anything is trained."""
    checked: set[tuple[Any, ...]] = set()
    sizes: dict[tuple[str, str], int] = {}
    for network in chosen:
        recipe, split = network.recipe, network.split
        if isinstance(recipe, Published):
            continue
        letters = split_tasks(split, study.splits)
        for letter in letters:
            if (split, letter) not in sizes:
                sizes[split, letter] = _outputs(study, split, letter, tasks)
        same_classes = have_same_classes(split, study.splits)
        counts = {letter: sizes[split, letter] for letter in letters}
        network.check(study.architecture.depth, counts, same_classes)
        if isinstance(recipe, Recipe) and same_classes and not network.is_zero_shot:
            _refuse_other_classes(network, study.architecture.depth, counts, tasks)
        if isinstance(recipe, ZeroShot):
            _refuse_seen(network, recipe, tasks)
        for task in tasks.all_of(network) if network.shares_layers else (_trained_on(network, tasks),):
            key = (task.name, network.images_per_class, recipe)
            if key not in checked and not (isinstance(recipe, Recipe) and not recipe.steps):
                checked.add(key)
                _refuse_images(network, task, tasks)


def _trained_on(network: Network, tasks: Tasks) -> Task:
    """The task whose images a network is trained on, or most of them (`Readout.trained_on`)."""
    recipe = network.recipe
    if isinstance(recipe, Readout) and recipe.trained_on != "target":
        return tasks.task(network.split, network.treatment.source, network.seed)
    return tasks.labelled(network)


def _refuse_other_classes(network: Network, depth: int, outputs: Mapping[str, int], tasks: Tasks) -> None:
    """Refuses a network that needs the same classes in A and B, where there are others. outputs: of each base."""
    if not (network.treatment.top or network.treatment.is_whole(depth) or network.aligns_domains):
        return
    both = {letter: tasks.task(network.split, letter, network.seed) for letter in "AB"}
    a, b = ([task.packed.classes[index].id for index in task.classes] for task in both.values())
    if odd := [name for name in a if name not in b] or [name for name in b if name not in a]:
        raise Refused(
            f"{network.name}: class {odd[0]!r} is in one of {both['A'].packed.folder} and {both['B'].packed.folder} "
            "alone; it is a network for A and B of the same classes"
        )
    copied, classes = outputs[network.treatment.source], len(b)
    if network.layers(depth)[-1].origin == "copied" and copied != classes:  # the base is published, for other classes
        advice = "; start='body' draws it afresh" if isinstance(network.recipe, Adversarial) else ""
        raise Refused(
            f"{network.name}: the last layer of {network.source_name} has {copied} outputs, and there are {classes} "
            f"classes{advice}"
        )


def _refuse_seen(network: Network, recipe: ZeroShot, tasks: Tasks) -> None:
    """Refuses a network whose target has classes that its source has seen, and a table that does not go with it."""
    seen, unseen = tasks.labelled(network), tasks.target(network)
    if both := [name for name in unseen.class_ids if name in seen.class_ids]:
        raise Refused(f"{network.name}: class {both[0]!r} is in both tasks, so it is no class that was never seen")
    if seen.has_several_labels or unseen.has_several_labels:
        raise Refused(f"{network.name}: images of several classes; classes never seen are told by one label per image")
    table = tasks.descriptions(recipe.table)
    values = table.of((*seen.class_ids, *unseen.class_ids))
    if recipe.by == "attributes" and not np.isin(values, (0, 1)).all():
        raise Refused(
            f"{network.name}: {table.place} has numbers other than 0 and 1; attributes are present or absent: round "
            "them, or write by='embedding'"
        )
    if (values[: len(seen.classes)] == values[0]).all():
        raise Refused(f"{network.name}: by {table.place} the seen classes are all alike; nothing can be learned of it")
    zeros = np.flatnonzero(~values.any(1))
    if recipe.by == "embedding" and len(zeros):
        raise Refused(
            f"{network.name}: by {table.place} class {(*seen.class_ids, *unseen.class_ids)[zeros[0]]!r} has zeros "
            "alone, and embeddings count by their direction; leave its row out and write undescribed='left out'"
        )


def _outputs(study: Study, split: str, letter: str, tasks: Tasks) -> int:
    """The number of outputs of networks of a task: as the images say, or the published base."""
    base = study.published_base(split, letter)
    if base is not None and isinstance(base.recipe, Published):
        return base.recipe.classes
    return len(tasks.task(split, letter).classes)


def _refuse_images(network: Network, task: Task, tasks: Tasks) -> None:
    """Refuses a network whose recipe does not go with its target's images."""
    recipe, most, counts = network.recipe, network.images_per_class, task.training_counts()
    if isinstance(recipe, Readout):
        fitted = counts if most is None else np.minimum(counts, most)
        if recipe.trained_on == "both":
            fitted = fitted + np.minimum(tasks.target(network).training_counts(), recipe.target_images)
        _refuse_readout(network, recipe, task, fitted)
        return
    assert isinstance(recipe, Recipe)
    if task.has_several_labels and recipe.loss == "softmax" and not isinstance(recipe, Pretext):
        raise Refused(
            f"{network.name}: {task.packed.folder} has images of several classes, and recipe {recipe.name!r} the loss "
            "'softmax', which takes one; write loss='sigmoid', 'hinge' or 'ranking'"
        )
    if isinstance(recipe, Pretext) and not recipe.turns and recipe.exemplars > counts.sum():
        raise Refused(
            f"{network.name}: recipe {recipe.name!r} makes {recipe.exemplars} exemplars, and there are only "
            f"{counts.sum()} training images; make fewer"
        )
    _refuse_few(network, recipe, counts)
    single = np.flatnonzero(np.minimum(counts, counts if most is None else most) < 2)
    if recipe.stop == "inner" and len(single):
        raise Refused(
            f"{network.name}: class {task.class_names[single[0]]!r} has one training image, of which none can be held "
            f"out; leave stop='inner' out of recipe {recipe.name!r}"
        )
    recipe.refuse_size(task.packed.size, network.name)


def _refuse_readout(network: Network, recipe: Readout, task: Task, counts: np.ndarray) -> None:
    """Refuses a readout that does not go with its images. counts: those of each class that it is fitted to."""
    if task.has_several_labels and recipe.classifier not in SEVERAL:
        raise Refused(
            f"{network.name}: {task.packed.folder} has images of several classes, and readout {recipe.name!r} the "
            f"classifier {recipe.classifier!r}, which takes one; write {' or '.join(SEVERAL)}"
        )
    refuse_few(network.images_per_class, int(task.training_counts().max()), network.name)
    least = recipe.folds if recipe.needs_folds else 1
    if counts.min() < least:
        few = int(counts.argmin())
        fewer = (
            f"fewer than the {least} folds on which readout {recipe.name!r} chooses: write fewer folds, or one value"
        )
        raise Refused(
            f"{network.name}: class {task.class_names[few]!r} has {counts[few]} training images, "
            f"{fewer if counts[few] else 'and nothing can be learned of it: leave it out'}"
        )
    if task.has_several_labels and recipe.classifier in PENALISED:
        shown = task.training(network.images_per_class, network.drawn).labels != 0  # or not known
        if len(everywhere := np.flatnonzero(shown.all(0))):
            raise Refused(
                f"{network.name}: no training image is known to be without class "
                f"{task.class_names[everywhere[0]]!r}, and nothing can be learned of it: leave it out"
            )
    recipe.inputs.refuse_size(task.packed.size, network.name)


def _refuse_few(network: Network, recipe: Recipe, counts: np.ndarray) -> None:
    """Refuses if there are too few images. counts: (classes of the target,) training images of each class."""
    most = network.images_per_class
    refuse_few(most, int(counts.max()), network.name)
    images = int(counts.sum() if most is None else np.minimum(counts, most).sum())
    if recipe.batch > images:
        raise Refused(
            f"{network.name}: recipe {recipe.name!r} has a batch of {recipe.batch}, and there are only {images} "
            "training images; make the batch smaller"
        )


def shortened(study: Study, steps: int, batch: int, tasks: Tasks) -> Study:
    """`study` with every network trained for `steps` steps of `batch` images, for a dry run.

    A network that is trained on more images per class than the set has takes all that there are, and its variant says
    so.
    """
    counts: dict[Task, int] = {}  # of the largest class

    def short(network: Network) -> Network:
        if not isinstance(network.recipe, Recipe) or not network.recipe.steps:
            return network
        recipe = replace(network.recipe, name="dry-run", steps=steps, batch=batch, validate_every=steps, warmup=0)
        task, wanted = tasks.labelled(network), network.images_per_class
        if task not in counts:
            counts[task] = int(task.training_counts().max())
        most = counts[task]
        if wanted is None or wanted <= most:
            return replace(network, recipe=recipe)
        return replace(network, recipe=recipe, images_per_class=most, variant=f"of-{wanted}{network.variant}")

    return replace(study, name=f"{study.name}-dry-run", networks=tuple(map(short, study.networks)))
