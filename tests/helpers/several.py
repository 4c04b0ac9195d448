"""A packed set whose images have several labels, and a study of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tiny import TINY, full_name

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, PackedImages, first_present, write_packed
from transferability.recipe import Recipe
from transferability.runs.paths import data_root, study_folder
from transferability.study import Study, network
from transferability.trained.network import load_network


def write_several(folder: Path, classes: int = 8, train: int = 60, val: int = 40) -> PackedImages:
    """Images of noise on the sum of their classes' colours: each has one to three classes, and some are not known."""
    draw = np.random.default_rng(0)
    table = [ImageClass(c, f"c{c}", f"class {c}", "man-made" if c % 2 else "natural") for c in range(classes)]
    colours = draw.integers(0, 100, (classes, 1, 1, 3))

    def images(count: int) -> ImageSet:
        several = np.zeros((count, classes), np.int8)
        for row in several:
            row[draw.choice(classes, draw.integers(1, 4), replace=False)] = 1
            row[draw.choice(np.flatnonzero(row == 0))] = -1 if draw.random() < 0.3 else 0
        several = several[np.argsort(first_present(several), kind="stable")]
        pixels = np.stack([colours[row == 1].sum(0) for row in several]) + draw.integers(0, 60, (count, 16, 16, 3))
        return ImageSet(np.clip(pixels, 0, 255).astype(np.uint8), first_present(several), several=several)

    return write_packed(folder, "several", table, images(train), images(val))


def several_study(names: Sequence[str], recipe: Recipe) -> Study:
    return Study("several", "several", TINY, tuple(network(full_name(short), recipe) for short in names))


def average_precision(study: Study, name: str, packed: PackedImages) -> float:
    """Mean over classes of the average precision of a trained network's scores, ranked image by image."""
    trained = load_network(study, full_name(name), study_folder(study.name), data_root())
    batches = [(trained(x), labels) for x, labels in trained.validation_images()]
    scores, labels = (torch.cat(list(parts)).numpy() for parts in zip(*batches, strict=True))
    precisions = []
    for k in range(scores.shape[1]):
        known = labels[:, k] >= 0
        order = np.argsort(-scores[known, k], kind="stable")
        right = labels[known, k][order] == 1
        precisions.append((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())
    return float(np.mean(precisions))
