"""From features to the vectors that a classifier is fitted to. Everything is fitted on training images alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SMALLEST = 1e-6  # principal components of less variance, as a share of the largest's, are not whitened but left out


class Transform(NamedTuple):
    """One of `Readout.transforms`, with what was fitted. mean: (d,) float64. factors: (d,) of "standardise", (d, k) of
    "whiten", float64. Empty where nothing is fitted."""

    name: str
    mean: np.ndarray = np.empty(0)
    factors: np.ndarray = np.empty(0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) to (n, k)."""
        if self.name == "l2":
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            return x / np.where(lengths > 0, lengths, 1)
        if self.name == "root":
            return np.sign(x) * np.sqrt(np.abs(x))
        centred = x - self.mean
        return (centred * self.factors if self.name == "standardise" else centred @ self.factors).astype(np.float32)


def fitted(
    training: np.ndarray, transforms: Sequence[str], components: int | None = None
) -> tuple[tuple[Transform, ...], np.ndarray]:
    """`Readout.transforms`, one after the other, fitted to training vectors (n, d); and these through all of them.

    components: as in `Readout`.
    """
    done = []
    for name in transforms:
        transform = Transform(name)
        if name == "standardise":
            mean, std = training.mean(0, dtype=np.float64), training.std(0, dtype=np.float64)
            # What never varies says nothing.
            transform = Transform(name, mean, np.where(std > 0, 1 / np.where(std > 0, std, 1), 0))
        elif name == "whiten":
            transform = _whitening(training, components)
        training = transform(training)
        done.append(transform)
    return tuple(done), training


def through(transforms: Sequence[Transform], x: np.ndarray) -> np.ndarray:
    """Vectors (n, d), through fitted transforms."""
    for transform in transforms:
        x = transform(x)
    return x


def transformed(
    training: np.ndarray, others: np.ndarray, transforms: Sequence[str], components: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) and (m, k) float32: training (n, d) and others (m, d), through what is fitted to training."""
    done, training = fitted(training, transforms, components)
    return training, through(done, others)


def _whitening(training: np.ndarray, components: int | None) -> Transform:
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
    return Transform("whiten", mean, directions[:, kept] * np.sqrt(n / moments[kept]))
