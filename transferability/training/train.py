"""Train one fleet, top to bottom."""

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from transferability.data.loader import ImagesModule
from transferability.data.packed import verify_at_first_use
from transferability.data.stream import FleetImages, held_out, task_images, task_sets
from transferability.data.tasks import Task, Tasks
from transferability.files import Refused, in_words, remove_unfinished, write_atomically, write_json
from transferability.pretext import Pretext
from transferability.runs.fit import refuse_unfit
from transferability.runs.ledger import (
    Start,
    is_done,
    read_start,
    refuse_difference,
    remove_fleet,
    write_start,
)
from transferability.runs.locks import Grip, Lost, hold
from transferability.runs.machine import Machine
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, write_result
from transferability.study import Fleet, Network, Study, record
from transferability.trained.normalisation import normalisation
from transferability.trained.weights import base_weights
from transferability.training.checkpoint import CheckpointCallback, Listeners, Preempted, meet, read_checkpoint
from transferability.training.cost import SAFETY, fleet_memory
from transferability.training.device import gpu_arithmetic, keep_memory, release_memory
from transferability.training.fleet import FleetModule
from transferability.training.forms import FormChoice, choose_form, saved_choice
from transferability.training.methods import fleet_module
from transferability.training.outcome import majority_class_accuracy, network_result, provenance
from transferability.training.pretext import pretext_images
from transferability.training.published import fetch
from transferability.training.readouts import read_out
from transferability.training.tracking import Tracker
from transferability.training.trainer import bare_trainer


@dataclass(frozen=True)
class FleetTraining:
    """What is trained, where, on what, and by which process.

    folder: the study's. data: the folder of packed sets. first: whether this process is the first of those that train
    the fleet together; it holds the locks and writes the files.
    """

    study: Study
    fleet: Fleet
    folder: StudyFolder
    data: Path
    machine: Machine
    first: bool = True


def train_fleet(
    training: FleetTraining,
    report: Callable[[int], None] = lambda step: None,
    preempted: threading.Event | None = None,
) -> None:
    """Trains a fleet to its end, from its last checkpoint if there is one, and writes its networks' results.

    Safe to call again after any kill. Raises `locks.Held` if another process trains one of its networks, Refused
    where something is missing or does not match; the reason is left in the fleet's failed.json.
    report: called with the step that was reached. preempted: once it is set, in any of the processes, all write a
    checkpoint together and raise Preempted. So does SIGTERM, where it is given.
    """
    fleet, folder = training.fleet, training.folder
    files = folder.fleet(fleet.name)
    locks = [folder.lock(network.name) for network in fleet.networks]
    with hold(locks) if training.first else nullcontext() as grip:
        if all(is_done(folder, network.name) for network in fleet.networks):
            remove_fleet(folder, fleet.name)
            return
        files.failed.unlink(missing_ok=True)
        if training.first:  # and alone: it holds the locks
            for place in (files.root, *(folder.network(network.name) for network in fleet.networks)):
                remove_unfinished(place)
        try:
            if fleet.is_published:
                _fetch(training)
            elif fleet.is_readout:
                _read_out(training, Listeners(report, preempted, grip))
            else:
                _train(training, Listeners(report, preempted, grip))
        except (Lost, Preempted):  # another process trains these networks now, or will go on; nothing has failed
            raise
        except Exception as error:
            _leave_reason(training, error)
            raise


def _leave_reason(training: FleetTraining, error: Exception) -> None:
    """Writes failed.json, for `status`. Any rank may fail first.

    A connection that was closed or reset by its peer is a consequence: in the others it is not recorded. It may be
    noticed when another process has already finished the fleet.
    """
    is_consequence = "by peer" in str(error) or isinstance(error, torch.distributed.DistError)
    file = training.folder.fleet(training.fleet.name).failed
    if (is_consequence and not training.first) or file.exists():
        return
    names = [network.name for network in training.fleet.networks]
    with suppress(OSError):  # the reason may be that nothing can be written
        write_json(file, {"networks": names, "reason": in_words(error), "time": time.time()})


def _fetch(training: FleetTraining) -> None:
    """Stores the published bases of a fleet. One process does it."""
    if training.first:
        for network in training.fleet.networks:
            fetch(training.study, network, training.folder, training.data)
        remove_fleet(training.folder, training.fleet.name)
    meet()


def _read_out(training: FleetTraining, listeners: Listeners) -> None:
    """Fits the classifiers of a fleet of readouts. One process does it."""
    if training.first:
        read_out(training.study, training.fleet, training.folder, training.data, training.machine, listeners)
        remove_fleet(training.folder, training.fleet.name)
    meet()


def _train(training: FleetTraining, listeners: Listeners) -> None:
    fleet, folder = training.fleet, training.folder

    # ---------------------------------------------------------------- what the results will depend on
    tasks = Tasks(training.study, training.data)
    for task in tasks.all_of(fleet):
        verify_at_first_use(task.packed)
    refuse_unfit(training.study, fleet.networks, tasks)
    records = {network.name: record(training.study, network, tasks.checksums) for network in fleet.networks}
    start = _matching_start(training, records)

    # ---------------------------------------------------------------- where weights come from
    # 1. the fleet's checkpoint, if there is one: all trained layers;
    # 2. the source's base: copied layers, and frozen ones also after a checkpoint;
    # 3. the draw of source R for random layers, the network's own for the rest (`FleetModule`).
    module, choice = _module(training, tasks, start)
    images = _images(training, tasks)
    module.prepare(images)
    if choice.form == "folded":
        module.fold()
    checkpoint = folder.fleet(fleet.name).checkpoint
    tracked = None
    if start is not None and checkpoint.exists():
        state = read_checkpoint(checkpoint)
        module.restore(state, training.first)
        tracked = state.get("tracked")
    elif training.first and start is None:
        write_start(folder, fleet.name, Start(records, list(choice)))

    # ---------------------------------------------------------------- training
    tracker = _tracker(training, tasks.labelled(fleet), choice)
    try:
        if tracker is not None:
            tracker.start(module, tracked)
        if not module.is_over or not any(module.series.values()):
            _fit(training, images, module, choice, replace(listeners, tracker=tracker))
        if training.first:
            _write_results(training, tasks, module, choice, listeners.grip, tracker)
    finally:
        if tracker is not None:
            tracker.close()
    listeners.report(fleet.recipe.steps)
    meet()


def _matching_start(training: FleetTraining, records: dict[str, dict[str, Any]]) -> Start | None:
    """How the fleet was started before, if it was; Refused if that was with other networks or another recipe."""
    files = training.folder.fleet(training.fleet.name)
    start = read_start(training.folder, training.fleet.name)
    if start is None:
        if training.first:
            # A checkpoint without fleet.json belongs to no known fleet: remove it.
            files.checkpoint.unlink(missing_ok=True)
        return None
    if start.records.keys() != records.keys():
        raise Refused(f"{files.root} was started with other networks by another process; run the same command again")
    for name, now in records.items():
        refuse_difference(name, files.start, start.records[name], now)
    return start


def _module(training: FleetTraining, tasks: Tasks, start: Start | None) -> tuple[FleetModule, FormChoice]:
    """The fleet's networks, as they are before the first step."""
    study, fleet, folder = training.study, training.fleet, training.folder
    classes = fleet.networks[0].outputs(len(tasks.target(fleet).classes))
    copying = {network.treatment.source: network for network in fleet.networks if network.source_name is not None}
    sources = {source: base_weights(study, network, folder, tasks) for source, network in copying.items()}
    # Of classes never seen there are no training images, whose mean could be subtracted.
    splits = dict.fromkeys((fleet.labelled,) if fleet.is_zero_shot else fleet.tasks, fleet.split)
    splits |= {source: network.source_split for source, network in copying.items()}
    inputs = {letter: normalisation(fleet, split, letter, folder, tasks) for letter, split in splits.items()}
    release_memory()  # of the fleet before
    saved = None if start is None else saved_choice(start.form)
    choice = choose_form(study, fleet, classes, training.data, training.machine, saved)
    several = tasks.target(fleet).has_several_labels and not isinstance(fleet.recipe, Pretext)
    return fleet_module(study, fleet, tasks, classes, sources, inputs, choice.form, several), choice


def _images(training: FleetTraining, tasks: Tasks) -> FleetImages:
    """What a fleet sees: of its target, where it makes domains alike, no labels of training images, and where its
    classes are never seen, no training images."""
    fleet = training.fleet
    recipe, task = fleet.recipe, tasks.target(fleet)
    if fleet.shares_layers:
        (first, judged), (second, other) = (task_sets(task, fleet) for task in tasks.all_of(fleet))
        return FleetImages(first, judged, beside=second, beside_validation=other)
    if fleet.aligns_domains:
        sets = tasks.labelled(fleet).training(), task.validation_images(), task.unlabelled()
        labelled, validation, unlabelled = (task_images(chosen, recipe.shrink) for chosen in sets)
        return FleetImages(labelled, validation, beside=unlabelled)
    if fleet.is_zero_shot:
        images, seen = task_sets(tasks.labelled(fleet), fleet)
        validation = task_images(task.validation_images(), recipe.shrink)
        return FleetImages(images, validation, beside_validation=seen)
    if isinstance(recipe, Pretext):
        return pretext_images(recipe, task, fleet.stream)
    images, validation = task_sets(task, fleet)
    if not recipe.stop:
        return FleetImages(images, validation)
    images, inner = held_out(images, fleet.stream, recipe.held_out)
    return FleetImages(images, validation, inner)


def _tracker(training: FleetTraining, task: Task, choice: FormChoice) -> Tracker | None:
    """The fleet's W&B runs; None where nothing is logged, or another process does it."""
    study, fleet, machine = training.study, training.fleet, training.machine
    if not training.first or machine.wandb == "disabled":
        return None
    epoch = len(task.training(fleet.images_per_class, fleet.drawn).rows)
    shared = {
        **provenance(),
        "devices": machine.processes,
        "accelerator": machine.accelerator,
        "form": choice.form,
    }
    return Tracker(study, fleet, training.folder, machine.wandb, epoch, shared)


def _fit(
    training: FleetTraining, images: FleetImages, module: FleetModule, choice: FormChoice, listeners: Listeners
) -> None:
    """Trains to the end of the recipe, or until every network has diverged."""
    fleet, machine, recipe = training.fleet, training.machine, training.fleet.recipe
    needed = SAFETY * max(fleet_memory(training.study, fleet, machine.processes), choice.memory)
    fed = ImagesModule(
        images._replace(validation=images.validation.first(machine.most_validated)),
        recipe,
        fleet.streams,
        module.stretch,
        machine.resident,
        needed,
    )
    taken = recipe.taken.batch if isinstance(recipe, Pretext) else recipe.batch
    if taken % machine.processes:
        raise Refused(
            f"recipe {recipe.name!r}: a batch of {taken} does not divide among {machine.processes} processes; "
            f"use a number of devices that divides it"
        )
    visible = 0 if machine.accelerator == "cpu" else torch.cuda.device_count()
    if 0 < visible < machine.devices:  # each process picks its own among all GPUs of the node
        raise Refused(
            f"{machine.devices} devices on each node, but this process sees {visible} GPUs; let each see all: "
            f"--gres=gpu:{machine.devices} for the node, no --gpus-per-task, no --gpu-bind"
        )
    trainer = bare_trainer(
        machine,
        recipe.precision,
        [CheckpointCallback(training.folder.fleet(fleet.name), machine.checkpoint_minutes, listeners)],
        # A Lightning epoch is the stretch up to the next validation, wherever it starts.
        max_epochs=recipe.validations - module.step // recipe.validate_every,
        check_val_every_n_epoch=1,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=-1 if recipe.validate_start and not any(module.series.values()) else 0,
    )
    keep_memory()
    with gpu_arithmetic():
        if recipe.steps:
            trainer.fit(module, fed)
        else:
            trainer.validate(module, fed, verbose=False)


def _of_task(network: Network, tasks: Tasks, module: FleetModule) -> dict[str, Any]:
    """The fields of a result that the network's task tells."""
    task, recipe = tasks.target(network), network.recipe
    count = len(tasks.labelled(network).training(network.images_per_class, network.drawn).rows)
    if isinstance(recipe, Pretext):
        images = count if recipe.turns else recipe.exemplars
        return {"chance": 1 / recipe.outputs, "classes": recipe.outputs, "training_images": images}
    by_class: Any = module.series[network.name][-1].get("val_by_class")
    return {
        "chance": majority_class_accuracy(task),
        "classes": len(task.classes),
        "training_images": count if network.training_recipe.steps else 0,
        "by_class": None if by_class is None else dict(zip(task.class_ids, by_class, strict=True)),
    }


def _write_results(
    training: FleetTraining,
    tasks: Tasks,
    module: FleetModule,
    choice: FormChoice,
    grip: Grip | None,
    tracker: Tracker | None,
) -> None:
    """Weights, W&B's summaries, then each network's result.json, which says that it is done."""
    study, fleet, folder, machine = training.study, training.fleet, training.folder, training.machine
    if grip is not None:
        grip.check()
    results: list[Result] = []
    artifacts: list[Path | None] = []
    for index, network in enumerate(fleet.networks):
        is_base, digest = network.treatment.kind == "base", None
        is_kept = is_base or network.name in study.sources or machine.keeps(network)
        if is_kept and not network.is_classifier:
            weights = safetensors.torch.save(module.weights(index))
            digest = hashlib.sha256(weights).hexdigest()
            with write_atomically(folder.weights(network.name)) as handle:
                handle.write(weights)
        now = record(study, network, tasks.checksums)
        result = network_result(study.name, module, index, now, machine, choice)
        results.append(replace(result, **_of_task(network, tasks, module), weights_sha256=digest))
        artifacts.append(folder.weights(network.name) if machine.wandb_artifacts and is_base else None)
    if tracker is not None:  # before the networks are done: what a kill leaves out here is made up for
        tracker.finish(results, artifacts)
        tracker.close()
    for index, network in enumerate(fleet.networks):
        if pictures := module.pictures(index):
            with write_atomically(folder.pictures(network.name)) as handle:
                np.savez_compressed(handle, **pictures)  # type: ignore[arg-type]
    for result in results:
        write_result(folder.result(result.name), result)
    remove_fleet(folder, fleet.name)
