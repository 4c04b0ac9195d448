"""What of a study is finished, what was started, what is left; and whether it matches the study. Needs no torch."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transferability.data.packed import PackedImages, refuse_few
from transferability.files import Missing, Refused, read_json, write_json
from transferability.runs.paths import StudyFolder
from transferability.runs.result import done, read_result
from transferability.splits import split_tasks, task_classes
from transferability.study import Fleet, Network, Study, difference, fleets, record

# ------------------------------------------------------------------------------------------ finished, started, left


def is_done(folder: StudyFolder, name: str) -> bool:
    return folder.result(name).exists()


def with_sources(study: Study, chosen: Sequence[Network]) -> tuple[Network, ...]:
    """`chosen` and the bases that they copy from, in the study's order."""
    names = {network.name for network in chosen} | {network.source_name for network in chosen}
    return tuple(network for network in study.networks if network.name in names)


def pending(study: Study, folder: StudyFolder, chosen: Sequence[Network], size: int | None) -> list[Fleet]:
    """The fleets that still have to be trained to finish `chosen`, by stage.

    A started fleet keeps its composition until it is done, whatever `size` says now; the rest is divided anew.
    """
    left = {network.name: network for network in chosen if not is_done(folder, network.name)}
    restarted = []
    for name, start in started(folder).items():
        unknown = [member for member in start.networks if member not in study.by_name]
        if unknown:
            raise Refused(
                f"{folder.fleet(name).root} was started with {unknown[0]}, which study {study.name!r} no longer has; "
                "put it back into the study, or remove that folder"
            )
        if any(member in left for member in start.networks):
            restarted.append(Fleet(tuple(study.by_name[member] for member in start.networks)))
            for member in start.networks:
                left.pop(member, None)
    return sorted(restarted + fleets(left.values(), size), key=lambda fleet: fleet.stage)


def fleet_size(chosen: Sequence[Network], workers: int) -> int | None:
    """The largest size of a fleet that gives every worker something to do in the largest stage; None: no limit."""
    if not chosen:
        return None
    last = max(network.stage for network in chosen)
    groups = [fleet for fleet in fleets(chosen) if fleet.stage == last]
    if len(groups) >= workers:
        return None
    return max(1, -(-sum(len(group.networks) for group in groups) // workers))


@dataclass(frozen=True)
class Start:
    """What fleet.json holds: the record of each network of a started fleet, and the form of its training step.

    form: what `training.forms.FormChoice` saves; ["plain"] in files of earlier versions.
    """

    records: Mapping[str, Mapping[str, Any]]
    form: Sequence[Any] = ("plain",)

    @property
    def networks(self) -> list[str]:
        return list(self.records)


def write_start(folder: StudyFolder, fleet: str, start: Start) -> None:
    content = {"networks": start.networks, "records": start.records, "form": start.form}
    write_json(folder.fleet(fleet).start, content)


def read_start(folder: StudyFolder, fleet: str) -> Start | None:
    """The start of a fleet; None if it was not started. Refused, naming the file, if it cannot be read."""
    file = folder.fleet(fleet).start
    try:
        content = read_json(file)
        return Start(dict(content["records"]), content.get("form", ("plain",)))
    except Missing:
        return None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(f"{file} is damaged; remove {file.parent} to train this fleet from its start") from None


def started(folder: StudyFolder) -> dict[str, Start]:
    """The start of each fleet that was started and is not done, by the fleet's name."""
    names = sorted(file.parent.name for file in folder.fleets.glob("*/fleet.json"))
    starts = ((name, read_start(folder, name)) for name in names)
    return {name: start for name, start in starts if start is not None}  # None: finished just now by another process


def remove_fleet(folder: StudyFolder, name: str) -> None:
    """Removes the folder of a finished fleet. It leaves its place at once, since half a folder says nothing."""
    aside = folder.aside()
    with suppress(OSError):  # another process has removed it
        folder.fleet(name).root.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # what a kill leaves of it, the next command removes


def tidy(folder: StudyFolder) -> None:
    """Removes the folders of finished fleets that a kill has left."""
    for name, start in started(folder).items():
        if all(is_done(folder, member) for member in start.networks):
            remove_fleet(folder, name)
    for aside in folder.removed():
        shutil.rmtree(aside, ignore_errors=True)


def without_diverged(folder: StudyFolder, fleet: Fleet) -> tuple[Fleet | None, str]:
    """`fleet` without the networks that would copy from a diverged base, and a line that says which were left out.

    To be called when the sources are done. None if nothing is left.
    """
    diverged: dict[str, int] = {}
    for source in {network.source_name for network in fleet.networks if network.source_name}:
        outcome = done(folder.result(source))
        if outcome is not None and outcome.diverged_at is not None:
            diverged[source] = outcome.diverged_at
    left = tuple(network for network in fleet.networks if network.source_name not in diverged)
    reasons = [
        f"{sum(network.source_name == source for network in fleet.networks)} networks that copy from {source}, "
        f"which diverged at step {step}"
        for source, step in diverged.items()
    ]
    return (Fleet(left) if left else None), " and ".join(reasons)


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


# ------------------------------------------------------------------------------------------ what is refused


def refuse_difference(name: str, file: object, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses, naming the field, if a network was trained as something else than the study says now."""
    changed = difference(dict(then), dict(now))
    if changed:
        raise Refused(
            f"{name} ({file}): {changed}; name the study differently, or move that folder away to train it anew"
        )


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


def refuse_untrained(folder: StudyFolder, left: Sequence[Fleet]) -> None:
    """Refused, naming it, if a fleet was left because a base that it copies from is not trained."""
    for network in (network for fleet in left for network in fleet.networks):
        source = network.source_name
        if source is not None and not is_done(folder, source):
            raise Refused(f"{network.name} copies from {source}, which is not trained yet; train it first")
