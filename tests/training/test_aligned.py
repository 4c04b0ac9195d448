"""Classifiers on aligned features: what they are fitted to, alone and in a fleet, and what they do not see."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from domains import METHODS, domain_study, method_study, named, write_domains
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tiny import RECIPE
from trained import PLAIN, train

from transferability.aligned import Aligned
from transferability.data.stream import ValidationBatches, task_images
from transferability.data.tasks import Tasks
from transferability.files import Refused, read_json
from transferability.runs.paths import data_root, study_folder
from transferability.trained.network import TrainedNetwork, load_network
from transferability.training.subspace import aligned_subspaces
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

NAMES = ["A1B@aligned", "A3B@aligned", "A4B@aligned"]


def of(name: str) -> dict[str, object]:
    """What a result says, without what says how and when."""
    result = read_json(study_folder("tiny").result(named(name)))
    return {key: result[key] for key in ("val_top1", "val_loss", "val_top5", "val_class_top1", "steps", "train_loss")}


def vectors(network: TrainedNetwork, images: object, layer: int) -> np.ndarray:
    batches = ValidationBatches(images, RECIPE.crop)  # type: ignore[arg-type]
    parts = [network.features(network.preprocessing.normalised(batch.pixels), layer).flatten(1) for batch in batches]
    return torch.cat(parts).numpy()


def test_it_is_a_classifier_of_aligned_features_judged_once(roots: Path) -> None:
    """By the base as `load_network` has it, and scikit-learn."""
    write_domains(roots / "data" / "tiny")
    study = method_study(*NAMES, "A3B+@dann")
    train(study)
    base = load_network(study, named("baseA"), study_folder("tiny"), data_root())
    tasks = Tasks(study, data_root())
    a, b = (tasks.task("photo-sketch", letter) for letter in "AB")
    sets = [task_images(chosen, 1) for chosen in (a.training(), b.unlabelled(), b.validation_images())]
    source, target, judged = (vectors(base, images, 3) for images in sets)
    space = aligned_subspaces(source, target, 5)
    numbers = space.of_source(source)
    scaler = StandardScaler().fit(numbers)
    classifier = LogisticRegression(max_iter=1000).fit(scaler.transform(numbers), sets[0].labels)
    right = classifier.predict(scaler.transform(space.of_target(judged))) == sets[2].labels
    assert of("A3B@aligned")["val_top1"] == pytest.approx(right.mean())
    assert of("A3B@aligned")["steps"] == 0 and of("A3B@aligned")["train_loss"] is None
    assert not study_folder("tiny").weights(named("A3B@aligned")).exists()  # whatever --keep says
    with pytest.raises(Refused, match="a classifier on the features of layer 3, and no network"):
        load_network(study, named("A3B@aligned"), study_folder("tiny"), data_root())

    together = [of(name) for name in NAMES]
    for name in NAMES:
        study_folder("tiny").result(named(name)).unlink()
    train(study, groups=[[named(name)] for name in NAMES])
    assert [of(name) for name in NAMES] == together


def test_labels_of_the_target_are_not_seen(roots: Path) -> None:
    write_domains(roots / "data" / "tiny")
    train(method_study(*NAMES), PLAIN)
    seen = [of(name) for name in NAMES]
    for place in ("data", "runs"):
        (roots / place).rename(roots / f"{place}-before")
    write_domains(roots / "data" / "tiny", order=np.random.default_rng(1).permutation(4 * 8).tolist())
    train(method_study(*NAMES), PLAIN)
    assert [of(name) for name in NAMES] == seen


def test_other_treatments_and_values_are_refused() -> None:
    with pytest.raises(Refused, match=r"makes two domains alike at layer n; write A3B or B3A"):
        domain_study(["baseA", "A3B+@aligned"], RECIPE, methods=METHODS)
    for changes in ({"subspace": "other"}, {"dimensions": 0}, {"penalty": 0.0}, {"steps": 5}):
        (field,) = changes
        with pytest.raises(Refused, match=field):
            replace(METHODS["aligned"], **changes)  # type: ignore[arg-type]
    assert isinstance(METHODS["aligned"], Aligned)
