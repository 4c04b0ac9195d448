"""Average precision, of classes and of queries."""

import numpy as np

POINTS = np.linspace(0, 1, 11)


def average_precision(scores: np.ndarray, present: np.ndarray, eleven: bool = False) -> float:
    """Of one ranking: scores (n,), present (n,) bool. NaN if nothing is present.

    By area: the mean, over what is present, of the precision at its rank. eleven: the mean of the highest precisions at
    recalls of at least 0, 0.1, …, 1, as PASCAL VOC 2007 counts (Everingham et al. 2010, section 4.2). Equal scores have
    the rank of the last of them, as in scikit-learn: votes of neighbours are often equal, and the order of a packed set
    tells classes.
    """
    order = np.argsort(-scores, kind="stable")
    right, falling = present[order], -scores[order]
    total = right.sum()
    if not total:
        return float("nan")
    ranks = np.searchsorted(falling, falling, side="right")
    found = np.cumsum(right)[ranks - 1]
    precision = found / ranks
    if not eleven:
        return float(precision[right].mean())
    recall = found / total
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this rank or later
    places = np.searchsorted(recall, POINTS - 1e-12)
    return float(np.where(places < len(highest), highest[np.minimum(places, len(highest) - 1)], 0).mean())


def mean_average_precision(scores: np.ndarray, labels: np.ndarray, eleven: bool = False) -> float:
    """The mean over the classes that are present. scores: (n, classes). labels: (n, classes) int8, -1 not known."""
    values = []
    for k in range(labels.shape[1]):
        known = labels[:, k] >= 0
        value = average_precision(scores[known, k], labels[known, k] == 1, eleven)
        if not np.isnan(value):
            values.append(value)
    return float(np.mean(values))


def relevant_of(asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(m, n) bool: whether images show a class of the queries. Labels asked (m,), known (n,); or (…, classes)."""
    if asked.ndim > 1:
        return ((asked == 1).astype(np.int32) @ (known == 1).astype(np.int32).T) > 0
    return asked[:, None] == known[None, :]


def retrieved(distances: np.ndarray, relevant: np.ndarray, first: int) -> tuple[float, float, float]:
    """(mean average precision over queries, precision of the first, precision of the `first` nearest).

    distances: (queries, images). relevant: (queries, images) bool. Queries to which nothing is relevant count in none.
    """
    asked = relevant.any(1)
    distances, relevant = distances[asked], relevant[asked]
    order = np.argsort(distances, axis=1, kind="stable")
    right = np.take_along_axis(relevant, order, 1)
    precision = np.cumsum(right, 1) / np.arange(1, right.shape[1] + 1)
    means = (precision * right).sum(1) / right.sum(1)
    return float(means.mean()), float(right[:, 0].mean()), float(right[:, :first].mean())
