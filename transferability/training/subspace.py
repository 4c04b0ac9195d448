"""Subspace alignment: two domains' features in the principal components of one of them. Needs no torch.

Fernando, Habrard, Sebban and Tuytelaars 2013, "Unsupervised visual domain adaptation using subspace alignment",
section 3.
"""

from typing import NamedTuple

import numpy as np

from transferability.files import Refused


class Subspaces(NamedTuple):
    """The way from features of either domain to k numbers that are alike for both.

    mean, scale: (d,) of each domain, which is standardised by its own. source: (d, k), the source's k components turned
    to the target's, X_S X_S' X_T (equation 2). target: (d, k), the target's components, X_T. own: (d, k), X_S.
    """

    source_mean: np.ndarray
    source_scale: np.ndarray
    source: np.ndarray
    target_mean: np.ndarray
    target_scale: np.ndarray
    target: np.ndarray
    own: np.ndarray

    def without_adaptation(self) -> "Subspaces":
        """Both domains in the source's components, standardised as the source is."""
        return Subspaces(*self[:2], self.own, *self[:2], self.own, self.own)

    def of_source(self, features: np.ndarray) -> np.ndarray:
        """(n, k) float32, of the source's features (n, d)."""
        return np.asarray(((features - self.source_mean) * self.source_scale) @ self.source, np.float32)

    def of_target(self, features: np.ndarray) -> np.ndarray:
        """(n, k) float32, of the target's features (n, d)."""
        return np.asarray(((features - self.target_mean) * self.target_scale) @ self.target, np.float32)


def aligned_subspaces(source: np.ndarray, target: np.ndarray, dimensions: int) -> Subspaces:
    """The subspaces of two domains' features, (n, d) and (m, d), of at most `dimensions` dimensions. Reads no labels.

    # Paper: the dimensions are the most whose eigenvectors are stable, by a bound, or the best of two-fold
    # cross-validation on the source. Here they are said beforehand.
    """
    # n images minus their mean span n - 1 dimensions, of the numbers that vary. Along one more the classifier would
    # scale up what rounding left.
    spanned = (min(len(features) - 1, int((np.ptp(features, axis=0) > 0).sum())) for features in (source, target))
    k = min(dimensions, *spanned)
    parts = [_components(features, k) for features in (source, target)]
    (source_mean, source_scale, x_s), (target_mean, target_scale, x_t) = parts
    return Subspaces(source_mean, source_scale, x_s @ (x_s.T @ x_t), target_mean, target_scale, x_t, x_s)


def _components(features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), one over the standard deviation (d,; 0 of what never varies), and k principal components (d, k)."""
    mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
    try:
        from sklearn.decomposition import PCA  # not needed for other recipes
    except ImportError as error:
        raise Refused(
            f"aligned subspaces need {error.name}: pip install '.[readout]' in a clone of the project"
        ) from None
    # Of a random projection that is refined: the seed is fixed, and 80 of 4,096 directions are there in a second.
    pca = PCA(k, svd_solver="randomized", iterated_power=10, random_state=0).fit((features - mean) * scale)
    return mean, scale, pca.components_.T
