"""A fleet of readouts, start to finish: the features of one network, the classifiers on them, and their results."""

import datetime
import hashlib
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from transferability.data.packed import verify_at_first_use
from transferability.data.tasks import ChosenImages, Tasks
from transferability.files import Refused, write_atomically, write_json
from transferability.readout import VIEWS, Readout
from transferability.runs.features import Place, part_of, read_features, readout_of, room, sheet_of, training_images
from transferability.runs.fit import refuse_unfit
from transferability.runs.ledger import is_done
from transferability.runs.machine import Machine
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, write_result
from transferability.study import Fleet, Network, Study, record
from transferability.training.checkpoint import Listeners, Preempted
from transferability.training.classifiers import Choice, Shared, fit_classifier, folds_of, refuse_empty
from transferability.training.device import gpu_arithmetic
from transferability.training.features import make_features
from transferability.training.fitted import tensors_of
from transferability.training.handmade import bags_of_words
from transferability.training.losses import hits, loss_of
from transferability.training.outcome import UNTRAINED, majority_class_accuracy, named, provenance
from transferability.training.precision import mean_average_precision, relevant_of, retrieved
from transferability.training.tracking import in_short, keep_files_in, log_result, say
from transferability.training.vectors import Transform, fitted, through

NEAREST = 10  # images of a retrieval, whose precision is told


class Sets(NamedTuple):
    """What a readout is fitted to and judged on. training, judged: (n, k), (m, k) float32 vectors, and their labels.

    judged_rows: (m,) places of the judged images in a part of the packed set, train or val. transforms, vocabulary:
    what was fitted to the training images to get there.
    """

    training: np.ndarray
    labels: np.ndarray
    judged: np.ndarray
    judged_labels: np.ndarray
    judged_rows: np.ndarray
    part: str
    transforms: tuple[Transform, ...]
    vocabulary: np.ndarray | None


def read_out(
    study: Study, fleet: Fleet, folder: StudyFolder, data: Path, machine: Machine, listeners: Listeners
) -> None:
    """Computes the features that a fleet of readouts reads, where they are not there, and fits its classifiers.

    Each network's result is written as soon as it is there: what is done stays done. Refused at the end, naming the
    first, if some could not be fitted. Raises Preempted, Lost.
    """
    tasks = Tasks(study, data)
    task = tasks.target(fleet)
    verify_at_first_use(task.packed)
    refuse_unfit(study, fleet.networks, tasks)
    room(study, folder, fleet.networks, tasks)  # refuses if there is none
    gpu = machine.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")

    def report(done: int, of: int) -> None:
        _go_on(listeners, f"{done} of {of} blocks of features are written")
        progress = {"networks": [network.name for network in fleet.networks], "step": done, "steps": of}
        progress |= {"images_per_second": 0.0, "updated": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        write_json(folder.fleet(fleet.name).progress, progress)

    def fitting() -> None:
        _go_on(listeners, "no classifier is lost but the one that was being fitted")

    place = make_features(study, fleet.networks[0], folder, tasks, device, report)
    reasons = []
    known: tuple[Any, Sets, Shared] | None = None
    for network in sorted(fleet.networks, key=lambda network: str(_vectors_key(network))):
        if is_done(folder, network.name):
            continue
        _go_on(listeners, f"{network.name} is the next")
        began = time.monotonic()
        try:
            if known is None or known[0] != _vectors_key(network):
                known = None  # its memory is needed
                sets = _sets(study, network, place, tasks)
                shared = _shared(readout_of(network), sets, len(task.classes), device)
                known = _vectors_key(network), sets, replace(shared, between=fitting)
            with gpu_arithmetic():
                result = _result(study, network, folder, known[1:], machine)
        except Refused as error:
            reasons.append(str(error))
            continue
        training = training_images(network, tasks)
        result = replace(
            result,
            record=record(study, network, tasks.checksums),
            seconds=time.monotonic() - began,
            chance=majority_class_accuracy(task),
            training_images=len(training.rows),
            images_seen=len(training.rows),
        )
        if listeners.grip is not None:
            listeners.grip.check()
        _log(study, network, folder, machine, result)
        write_result(folder.result(network.name), result)
    if reasons:
        raise Refused(reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""))


def _log(study: Study, network: Network, folder: StudyFolder, machine: Machine, result: Result) -> None:
    """Makes the network's W&B run, where one is asked for. What W&B does not take, costs no result."""
    if machine.wandb == "disabled":
        return
    try:
        keep_files_in(folder.root)
        log_result(study, network, folder, machine.wandb, result)
    except Exception as error:
        say(f"{network.name} is not logged ({in_short(error)}); `transferability track` makes its run")


def _go_on(listeners: Listeners, where: str) -> None:
    """Raises Lost or Preempted if this process is to stop."""
    if listeners.grip is not None:
        listeners.grip.check()
    if listeners.preempted is not None and listeners.preempted.is_set():
        raise Preempted(f"preempted: {where}")


def _vectors_key(network: Network) -> tuple[Any, ...]:
    """Readouts of a fleet with the same key are fitted to the same vectors."""
    recipe = readout_of(network)
    views = (recipe.train_views, recipe.test_views, recipe.pooled)
    transforms = (recipe.transforms, recipe.components)
    return (sheet_of(network), views, transforms, recipe.trained_on, recipe.target_images, recipe.folds)


# ------------------------------------------------------------------------------------------ vectors


def _sets(study: Study, network: Network, place: Path, tasks: Tasks) -> Sets:
    """The vectors of the training and the validation images; transforms are fitted to the training images alone."""
    recipe, task, sheet = readout_of(network), tasks.target(network), sheet_of(network)
    training, judged = training_images(network, tasks), task.validation_images()

    def views(names: Sequence[str], of: ChosenImages) -> list[np.ndarray]:
        return [read_features(place, Place(part_of(task.packed, of), name, sheet), of.rows) for name in names]

    seen = np.stack(views(VIEWS[recipe.train_views], training), 1)  # (n, views, numbers)
    rows, count = seen.reshape(-1, seen.shape[-1]), seen.shape[1]
    tested = np.stack(views(VIEWS[recipe.test_views], judged), 1)
    others = tested.mean(1) if recipe.pooled == "sum" else tested.max(1)
    layer = study.architecture.layer_names[sheet.n - 1] if sheet.n else recipe.handmade
    refuse_empty(rows, network.name, f"layer {layer}" if sheet.n else layer)
    vocabulary = None
    if sheet.handmade == "words":
        rows, others, vocabulary = bags_of_words(rows, others)
    transforms, rows = fitted(rows, recipe.transforms, recipe.components)
    others = through(transforms, others)
    labels, part = np.repeat(training.labels, count, axis=0), part_of(task.packed, judged)
    return Sets(rows, labels, others, judged.labels, judged.rows, part, transforms, vocabulary)


def _shared(recipe: Readout, sets: Sets, classes: int, device: torch.device) -> Shared:
    views = len(VIEWS[recipe.train_views])
    folds = folds_of(sets.labels[::views], recipe.folds, views)
    vectors, labels = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (sets.training, sets.labels))
    return Shared(vectors, labels, folds, classes)


# ------------------------------------------------------------------------------------------ results


def _result(study: Study, network: Network, folder: StudyFolder, on: tuple[Sets, Shared], machine: Machine) -> Result:
    """Fits one readout and judges it. Its record, seconds, chance and images are left to be set."""
    (sets, shared), recipe = on, readout_of(network)
    others = torch.from_numpy(sets.judged).to(shared.vectors.device)
    labels = torch.from_numpy(np.ascontiguousarray(sets.judged_labels))
    row: dict[str, Any] = {"step": 0, "rate": 0.0, "train_loss": None, "train_top1": None, "val_loss": None}
    row |= {"val_top1": None, "val_top5": None, "val_images": len(labels)}
    more: dict[str, Any] = {"numbers": sets.training.shape[1]}
    about: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    if recipe.classifier == "retrieval":
        distances = torch.cdist(others, shared.vectors).cpu().numpy()
        relevant = relevant_of(sets.judged_labels, sets.labels)
        row["val_map"], row["val_top1"], more["val_precision_ten"] = retrieved(distances, relevant, NEAREST)
    else:
        fit = fit_classifier(recipe, shared, others)
        scores, tensors = fit.scores.cpu(), fit.tensors
        row |= _judged(recipe, scores, labels)
        if fit.own is not None:
            row |= {f"train_{key[4:]}": value for key, value in _fitted(recipe, fit.own, shared.labels).items()}
        if labels.ndim > 1:
            more["val_map_eleven"] = mean_average_precision(scores.numpy(), sets.judged_labels, eleven=True)
        more["penalty"], about = fit.choice.candidate, _about(fit.choice)
        _write_predictions(folder.predictions(network.name), scores, sets)
    if machine.keeps(network):
        weights = safetensors.torch.save(tensors_of(sets.transforms, tensors, sets.vocabulary))
        more["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        with write_atomically(folder.weights(network.name)) as handle:
            handle.write(weights)
    row["seconds"] = 0.0
    shown = ("val_top1", "val_top5", "val_loss", "val_images", "train_loss", "train_top1", "val_class_top1", "val_map")
    fields: dict[str, Any] = {key: row.get(key) for key in shown} | more
    treatment = network.treatment
    return Result(
        **named(study.name, network),
        **fields,
        **UNTRAINED,
        series={key: [value] for key, value in row.items()},
        recipe={**asdict(recipe), "batch": recipe.batch},
        record={},
        provenance={
            **provenance(),
            "devices": 1,
            "accelerator": shared.vectors.device.type,
            "readout": about,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
        layer=study.architecture.layer_names[treatment.n - 1] if treatment.n else "",
        classes=shared.classes,
    )


def _about(choice: Choice) -> dict[str, Any]:
    return {"inner": {f"{key:g}": value for key, value in choice.inner.items()}, "note": choice.note}


def _judged(recipe: Readout, scores: Tensor, labels: Tensor) -> dict[str, float]:
    """What scores of validation images are worth. scores: (m, classes). labels: (m,), or (m, classes) of several."""
    first, of_five = hits(scores, labels)
    row = {"val_top1": float(first.double().mean()), "val_top5": float(of_five.double().mean())}
    if labels.ndim > 1:
        row["val_map"] = mean_average_precision(scores.numpy(), labels.numpy())
    else:
        row["val_class_top1"] = float(np.mean([float(first[labels == k].double().mean()) for k in labels.unique()]))
    return row | _losses(recipe, scores, labels)


def _fitted(recipe: Readout, scores: Tensor, labels: Tensor) -> dict[str, float]:
    """The same of training images: val_loss and val_top1."""
    return {"val_top1": float(hits(scores, labels)[0].double().mean())} | _losses(recipe, scores, labels)


def _losses(recipe: Readout, scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Losses in nats; a hinge's is not."""
    if recipe.classifier not in ("softmax", "sigmoid"):
        return {}
    return {"val_loss": float(loss_of(recipe.classifier, scores.double(), labels))}


def _write_predictions(file: Path, scores: Tensor, sets: Sets) -> None:
    """For each validation image: row, its place in the packed set; labels; predicted, the class of the highest score;
    and all scores where images have several labels. part: train or val, where the rows are."""
    content: dict[str, np.ndarray] = {"part": np.array(sets.part), "rows": sets.judged_rows}
    content |= {"labels": sets.judged_labels, "predicted": scores.argmax(1).numpy()}
    if sets.judged_labels.ndim > 1:
        content["scores"] = scores.numpy().astype(np.float32)
    with write_atomically(file) as handle:
        np.savez_compressed(handle, **content)  # type: ignore[arg-type]
