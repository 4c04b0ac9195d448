"""Subspace alignment: what it turns back, and that it reads no labels and turns nothing where nothing is turned."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from transferability.training.subspace import aligned_subspaces


def domain(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """(n, 12) features of three classes in three strong directions, and labels (n,)."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, count)
    strong = np.eye(3)[labels] * [9.0, 6.0, 4.0] + draw.normal(size=(count, 3))
    return np.concatenate([strong, 0.3 * draw.normal(size=(count, 9))], 1), labels


def nearest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    means = np.stack([train[labels == k].mean(0) for k in range(3)])
    return float(np.mean(((test[:, None] - means) ** 2).sum(2).argmin(1) == truth))


def test_it_is_the_papers_formula() -> None:
    """With scikit-learn's components and standardisation, whose signs are their own."""
    (source, _), (target, _) = domain(0), domain(1)
    found = aligned_subspaces(source, target, 4)
    s, t = (StandardScaler().fit_transform(part) for part in (source, target))
    x_s, x_t = (PCA(4).fit(part).components_.T for part in (s, t))
    ours = found.of_source(source) @ found.of_target(target).T
    assert np.allclose(ours, (s @ x_s @ x_s.T @ x_t) @ (t @ x_t).T, atol=1e-4)


def test_a_rotated_domain_is_turned_back_and_an_equal_one_left_alone() -> None:
    (source, labels), (target, truth) = domain(0), domain(1)
    angle = 1.2
    turn = np.eye(12)
    turn[np.ix_([0, 5], [0, 5])] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    found = aligned_subspaces(source, target, 3)
    same = nearest(found.of_source(source), labels, found.of_target(target), truth)
    assert same > 0.9
    away = target @ turn
    found = aligned_subspaces(source, away, 3)
    aligned = nearest(found.of_source(source), labels, found.of_target(away), truth)
    assert aligned > nearest(source, labels, away, truth)


@pytest.mark.parametrize("shape", [(5, 12), (40, 3)])
def test_there_are_no_more_dimensions_than_images_span(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape)
    features[:, 1] = 2.0  # never varies
    found = aligned_subspaces(features, features[:4], 100)
    assert found.of_source(features).shape == (shape[0], min(3, shape[1] - 1))
    few = aligned_subspaces(features[:4], features, 100)
    assert few.without_adaptation().of_source(features[:4]).std(0).min() > 0.1  # no direction of rounding alone
    assert np.isfinite(found.of_target(features)).all()
