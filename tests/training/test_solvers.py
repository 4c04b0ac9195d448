"""Our linear classifiers against scikit-learn's: the same minimum, the same predictions."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from transferability.training.solvers import Problems, basis_of, fit

torch.set_num_threads(1)


def problem(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) float32 vectors and (n,) labels of 4 classes."""
    draw = np.random.default_rng(7)
    n, d = (120, 20) if kind != "wide" else (60, 300)
    labels = np.arange(n) % 4
    vectors = draw.standard_normal((n, d)) + 0.7 * draw.standard_normal((4, d))[labels]
    if kind == "columns twice, zero and constant":
        vectors[:, 1], vectors[:, 2], vectors[:, 3] = vectors[:, 0], 0, 5
    elif kind == "images twice":
        vectors[60:] = vectors[:60]  # some with another label
        labels[90:] = (labels[90:] + 1) % 4
    elif kind == "separable":
        vectors[:, :4] += 20 * np.eye(4)[labels]
    elif kind == "of very different sizes":
        vectors *= np.logspace(-2, 1, d)
    elif kind == "one image of a class":
        labels[labels == 3] = 0
        labels[5] = 3
    return vectors.astype(np.float32), labels


def ours(vectors: np.ndarray, labels: np.ndarray, loss: str, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """(d, classes) float64 weights and (classes,) offsets."""
    basis, count = basis_of(torch.from_numpy(vectors)), labels.max() + 1
    present = torch.from_numpy(labels)[:, None] == torch.arange(count)
    targets = present.float()[:, None] if loss == "softmax" else (2 * present.float() - 1)[:, :, None]
    counted = torch.ones(len(labels), 1 if loss == "softmax" else count, 1)
    found = fit(basis, Problems(loss, targets, counted), penalty).view(-1, count).double()
    return (basis.directions.double() @ found[:-1]).numpy(), found[-1].numpy()


def objective(
    weights: tuple[np.ndarray, np.ndarray], vectors: np.ndarray, labels: np.ndarray, loss: str, penalty: float
) -> float:
    """The sum over classes, in double precision."""
    w, b = weights
    scores = vectors.astype(np.float64) @ w + b
    signs = np.where(labels[:, None] == np.arange(len(b)), 1.0, -1.0)
    if loss == "svm":
        return float(0.5 * (w**2).sum() + 0.5 * (b**2).sum() + penalty * (np.maximum(0, 1 - signs * scores) ** 2).sum())
    if loss == "sigmoid":
        return float(0.5 * (w**2).sum() + penalty * np.logaddexp(0, -signs * scores).sum())
    top = scores.max(1)
    losses = top + np.log(np.exp(scores - top[:, None]).sum(1)) - scores[np.arange(len(labels)), labels]
    return float(0.5 * (w**2).sum() + penalty * losses.sum())


def reference(vectors: np.ndarray, labels: np.ndarray, loss: str, penalty: float) -> Any:
    """Scikit-learn's weights and offsets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if loss == "svm":
            model = LinearSVC(C=penalty, tol=1e-8, max_iter=100_000).fit(vectors, labels)
            return model.coef_.T.astype(np.float64), model.intercept_
        if loss == "softmax":
            model = LogisticRegression(C=penalty, tol=1e-8, max_iter=5_000).fit(vectors.astype(np.float64), labels)
            return model.coef_.T, model.intercept_
        models = [
            LogisticRegression(C=penalty, tol=1e-8, max_iter=5_000).fit(vectors.astype(np.float64), labels == k)
            for k in range(4)
        ]
    return np.stack([m.coef_[0] for m in models], 1), np.array([m.intercept_[0] for m in models])


@pytest.mark.parametrize("loss", ["svm", "softmax", "sigmoid"])
@pytest.mark.parametrize(
    "kind",
    [
        *("random", "wide", "columns twice, zero and constant", "images twice", "separable"),
        *("of very different sizes", "one image of a class"),
    ],
)
def test_objectives_and_predictions_are_those_of_scikit_learn(kind: str, loss: str) -> None:
    vectors, labels = problem(kind)
    for penalty in (1e-3, 0.1, 10.0):
        found, known = ours(vectors, labels, loss, penalty), reference(vectors, labels, loss, penalty)
        least, value = (objective(each, vectors, labels, loss, penalty) for each in (known, found))
        assert value <= least * (1 + 1e-4), penalty
        scores = vectors @ known[0] + known[1]
        first, second = np.sort(scores, 1)[:, -1], np.sort(scores, 1)[:, -2]
        clear = first - second > 0.02 * np.abs(scores).max()
        assert (np.argmax(vectors @ found[0] + found[1], 1) == np.argmax(scores, 1))[clear].all(), penalty


@pytest.mark.parametrize("loss", ["svm", "softmax"])
def test_a_fold_is_the_problem_without_what_it_holds_out(loss: str) -> None:
    vectors, labels = problem("wide")
    kept = np.arange(60) % 3 > 0
    basis, present = basis_of(torch.from_numpy(vectors)), torch.from_numpy(labels)[:, None] == torch.arange(4)
    targets = present.float()[:, None] if loss == "softmax" else (2 * present.float() - 1)[:, :, None]
    counted = torch.from_numpy(kept).float()[:, None, None].expand(-1, targets.shape[1], 1)
    found = fit(basis, Problems(loss, targets, counted), 0.1).view(-1, 4).double()
    weights = (basis.directions.double() @ found[:-1]).numpy(), found[-1].numpy()
    alone = reference(vectors[kept], labels[kept], loss, 0.1)
    on = vectors[kept], labels[kept], loss, 0.1
    assert objective(weights, *on) == pytest.approx(objective(alone, *on), rel=1e-4)


def test_problems_side_by_side_are_each_alone() -> None:
    vectors, labels = problem("random")
    basis = basis_of(torch.from_numpy(vectors))
    targets = torch.from_numpy(np.where(labels[:, None] == np.arange(4), 1.0, -1.0)).float()[:, :, None]
    together = fit(basis, Problems("svm", targets, torch.ones(120, 4, 1)), 1.0)
    for k in range(4):
        alone = fit(basis, Problems("svm", targets[:, [k]], torch.ones(120, 1, 1)), 1.0)
        assert torch.allclose(together[:, [k]], alone, rtol=1e-2, atol=1e-3)
