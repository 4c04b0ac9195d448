"""From features to the vectors that a classifier is fitted to. Everything is fitted on training images alone."""

from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-6  # principal components of less variance, as a share of the largest's, are not whitened but left out


def transformed(
    training: np.ndarray, others: np.ndarray, transforms: Sequence[str], components: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) and (m, k) float32: training (n, d) and others (m, d), through `Readout.transforms`.

    components: as in `Readout`.
    """
    for transform in transforms:
        if transform == "l2":
            training, others = _of_length_one(training), _of_length_one(others)
        elif transform == "root":
            training, others = (np.sign(x) * np.sqrt(np.abs(x)) for x in (training, others))
        elif transform == "standardise":
            mean, std = training.mean(0, dtype=np.float64), training.std(0, dtype=np.float64)
            factor = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0)  # what never varies says nothing
            training, others = (((x - mean) * factor).astype(np.float32) for x in (training, others))
        else:
            training, others = _whitened(training, others, components)
    return training, others


def _of_length_one(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def _whitened(training: np.ndarray, others: np.ndarray, components: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The largest principal components of the training vectors, each of variance 1 over them."""
    mean = training.mean(0, dtype=np.float64)
    centred = training - mean
    n, d = centred.shape
    if d <= n:
        moments, directions = np.linalg.eigh(centred.T @ centred)
    else:
        moments, left = np.linalg.eigh(centred @ centred.T)
        directions = centred.T @ (left / np.sqrt(np.maximum(moments, 1e-300)))
    kept = moments > SMALLEST * max(moments[-1], 1e-300)
    if components is not None:
        kept[:-components] = False  # moments ascend
    factors = directions[:, kept] * np.sqrt(n / moments[kept])
    return (centred @ factors).astype(np.float32), ((others - mean) @ factors).astype(np.float32)
