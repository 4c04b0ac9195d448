"""Classifiers on vectors: what is chosen on inner folds of the training images, and the scores of other images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transferability.draws import numpy_generator
from transferability.files import Refused
from transferability.readout import PENALISED, Readout
from transferability.training.precision import mean_average_precision
from transferability.training.solvers import ROUGH, Basis, Problems, basis_of, fit

FALLS = 2  # penalties in a row that are worse than the best on inner folds end the search: larger ones cost most


@dataclass(frozen=True)
class Choice:
    """What was chosen on inner folds. inner: the value of each candidate that was tried, accuracy or precision."""

    candidate: float | None = None
    inner: dict[float, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Shared:
    """Training vectors of one layer, and what all classifiers on them share.

    vectors: (n, d) float32. labels: (n,) int64, or (n, classes) int8 of several. folds: (n,) int64, from 0. classes:
    how many there are. between: called before each step of a linear classifier's fit; what it raises ends the fit.
    """

    vectors: Tensor
    labels: Tensor
    folds: np.ndarray
    classes: int
    between: Callable[[], None] = lambda: None
    _basis: list[Basis] = field(default_factory=list)

    @property
    def basis(self) -> Basis:
        """One factorisation for all penalties, folds, classes and losses."""
        if not self._basis:
            self._basis.append(basis_of(self.vectors))
        return self._basis[0]

    @property
    def unit(self) -> float:
        """One over the mean squared length of the vectors, in which penalties are counted."""
        return 1 / float(self.vectors.double().square().sum(1).mean())

    @property
    def signs(self) -> Tensor:
        """(n, classes) float32: 1 for the classes of an image, -1 for the others, 0 where it is not known."""
        return signs_of(self.labels, self.classes)


def signs_of(labels: Tensor, classes: int) -> Tensor:
    """(n, classes) float32. labels: (n,) int64, or (n, classes) int8: 1 present, 0 absent, -1 not known."""
    if labels.ndim > 1:
        return (labels == 1).float() - (labels == 0).float()
    return 2 * torch.nn.functional.one_hot(labels, classes).float() - 1


def folds_of(labels: np.ndarray, folds: int, views: int = 1) -> np.ndarray:
    """(n * views,) the inner fold of each training row: classes are spread evenly, views of an image stay together.

    labels: of the images. The same for every seed: which penalty is chosen is no draw of the study.
    """
    kind = labels if labels.ndim == 1 else np.argmax(labels == 1, 1)
    chosen = np.empty(len(kind), np.int64)
    for label in np.unique(kind):
        places = np.flatnonzero(kind == label)
        order = numpy_generator("inner folds", int(label)).permutation(len(places))
        chosen[places[order]] = (np.arange(len(places)) + int(label)) % folds
    return np.repeat(chosen, views)


def value_of(scores: Tensor, labels: Tensor) -> float:
    """What candidates are compared by: top-1 accuracy, or where images have several labels mean average precision."""
    if labels.ndim > 1:
        return mean_average_precision(scores.cpu().numpy(), labels.cpu().numpy())
    return float((scores.argmax(1) == labels).double().mean())


class Fit(NamedTuple):
    """A fitted classifier. scores: (m, classes) of other images. own: (n, classes) of the training images; None where
    the score of an image would be of itself. tensors: what was fitted: `weight` (classes, d) and `offset` (classes,) of
    a linear one, the class `means` (classes, d), or nothing."""

    scores: Tensor
    own: Tensor | None
    choice: Choice
    tensors: dict[str, Tensor]


def fit_classifier(recipe: Readout, shared: Shared, others: Tensor) -> Fit:
    """Fits a readout's classifier to the training images. others: (m, d) float32, the vectors of other images."""
    if recipe.classifier in PENALISED:
        return _linear(recipe, shared, others)
    if recipe.classifier == "nearest":
        present = (shared.signs > 0).float()
        means = (present.T @ shared.vectors) / present.sum(0)[:, None]
        tensors = {"means": means}
        return Fit(scores_of(tensors, others), scores_of(tensors, shared.vectors), Choice(), tensors)
    return _neighbours(recipe, shared, others)


def scores_of(tensors: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
    """(m, classes): what `Fit.tensors` say of vectors (m, d)."""
    if "means" in tensors:
        return -torch.cdist(vectors, tensors["means"])
    return vectors @ tensors["weight"].T + tensors["offset"]


# ------------------------------------------------------------------------------------------ linear


def _problems(loss: str, shared: Shared, counted: Tensor) -> Problems:
    """The problems of all classes for each column of `counted` (n, f): of all folds of a class, one after the other."""
    signs, (n, count) = shared.signs, counted.shape
    if loss == "softmax":
        return Problems(loss, (signs > 0).float()[:, None].expand(n, count, shared.classes), counted[:, :, None])
    known = (signs != 0).float()
    targets = signs[:, None, :].expand(n, count, shared.classes).reshape(n, -1, 1)
    return Problems(loss, targets, (counted[:, :, None] * known[:, None, :]).reshape(n, -1, 1))


def _linear(recipe: Readout, shared: Shared, others: Tensor) -> Fit:
    basis, unit = shared.basis, shared.unit
    count = recipe.folds
    start, choice = None, Choice(recipe.penalties[0])
    if recipe.needs_folds:
        held = torch.from_numpy(shared.folds[:, None] == np.arange(count)).to(basis.images.device)
        problems = _problems(recipe.classifier, shared, (~held).float())
        inner: dict[float, float] = {}
        weights: Tensor | None = None
        best = -1.0
        for penalty in recipe.penalties:
            weights = fit(basis, problems, penalty * unit, weights, ROUGH, shared.between)
            scores = (basis.images @ weights.flatten(1)).view(len(held), count, shared.classes)
            own = (scores * held[:, :, None]).sum(1)  # of each image by the classifiers that were fitted without it
            inner[penalty] = value_of(own, shared.labels)
            if inner[penalty] > best:
                best, start = inner[penalty], weights.view(len(weights), count, shared.classes).mean(1)
            if all(value < best for value in list(inner.values())[-FALLS:]) and len(inner) > FALLS:
                break
        choice = _chosen(inner, recipe.penalties, recipe.folds)
    assert choice.candidate is not None
    everything = torch.ones(len(shared.vectors), 1, device=basis.images.device)
    problems = _problems(recipe.classifier, shared, everything)
    if start is not None:
        start = start[:, None, :] if recipe.classifier == "softmax" else start[:, :, None]
    weights = fit(basis, problems, choice.candidate * unit, start, between=shared.between).view(-1, shared.classes)
    own = basis.images @ weights
    tensors = {"weight": (basis.directions @ weights[:-1]).T, "offset": weights[-1]}
    return Fit(scores_of(tensors, others), own, choice, tensors)


def _chosen(inner: dict[float, float], candidates: Sequence[float], folds: int) -> Choice:
    """The best candidate; of equal ones the first."""
    best = max(inner, key=lambda candidate: inner[candidate])
    end = "smallest" if best == candidates[0] else "largest" if best == candidates[-1] else ""
    return Choice(
        best, inner, f"{best:g}, the {end} of {len(candidates)} values, is best on {folds} folds" if end else ""
    )


# ------------------------------------------------------------------------------------------ neighbours


def _neighbours(recipe: Readout, shared: Shared, others: Tensor) -> Fit:
    """Scores are the shares of the k nearest training images that have a class; of equal ones the nearer counts."""
    present = (shared.signs > 0).float()

    def votes(distances: Tensor, owners: Tensor, k: int) -> Tensor:
        near = distances.topk(min(k, distances.shape[1]), 1, largest=False).indices
        weights = 1 - 1e-4 * torch.arange(near.shape[1], device=near.device) / k
        return (owners[near] * weights[None, :, None]).sum(1) / k

    choice = Choice(float(recipe.neighbours[0]))
    if recipe.needs_folds:
        own = {k: torch.zeros_like(present) for k in recipe.neighbours}
        for fold in range(recipe.folds):
            held = torch.from_numpy(shared.folds == fold)
            distances = torch.cdist(shared.vectors[held], shared.vectors[~held])
            for k in recipe.neighbours:
                own[k][held] = votes(distances, present[~held], k)
        inner = {float(k): value_of(own[k], shared.labels) for k in recipe.neighbours}
        choice = _chosen(inner, [float(k) for k in recipe.neighbours], recipe.folds)
    assert choice.candidate is not None
    return Fit(votes(torch.cdist(others, shared.vectors), present, int(choice.candidate)), None, choice, {})


def refuse_empty(vectors: np.ndarray, name: str, layer: str) -> None:
    """Refuses features that say nothing: the same for every training image, or no finite numbers."""
    if not np.isfinite(vectors).all():
        raise Refused(f"{name}: the features of {layer} hold values that are no finite numbers")
    if not vectors.any():
        raise Refused(f"{name}: the features of {layer} are zero for every training image")
    if (vectors == vectors[0]).all():
        raise Refused(f"{name}: the features of {layer} are the same for every training image")
