"""Handmade features, for n = 0: histograms of gradients, and the patches of a bag of visual words."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from transferability.files import Refused
from transferability.runs.features import HOG_SIDE

WORDS = 256  # of the vocabulary
CELL, PATCH_CELL = 16, 8  # pixels, of images of HOG_SIDE pixels
BLOCK = 2  # cells that are normalised together: a patch of the bag of words, too
ORIENTATIONS = 9
PATCH_NUMBERS = BLOCK * BLOCK * ORIENTATIONS


def hog(images: Tensor, as_patches: bool = False) -> np.ndarray:
    """(b, numbers) float32: histograms of oriented gradients of images (b, 3, s, s), 0 to 1. Dalal and Triggs 2005.

    Images are resized to HOG_SIDE pixels, cells have 16 pixels, blocks of 2 x 2 cells are normalised. as_patches: cells
    have 8 pixels, and each block is a patch of a bag of words, in place of SIFT.
    """
    try:
        from skimage.feature import hog as histograms
    except ImportError:
        raise Refused("handmade features need scikit-image; pip install 'transferability[readout]'") from None
    cell = PATCH_CELL if as_patches else CELL
    resized = F.interpolate(images, (HOG_SIDE, HOG_SIDE), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    return np.stack(
        [
            histograms(image, ORIENTATIONS, (cell, cell), (BLOCK, BLOCK), channel_axis=2).astype(np.float32)
            for image in resized.numpy()
        ]
    )


def bags_of_words(training: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, WORDS) and (m, WORDS) float32: how often each word is seen, square roots, length 1; and the vocabulary.

    training, others: (n, numbers), (m, numbers): patches, as `hog` gives them. The vocabulary, (WORDS, PATCH_NUMBERS)
    float32, is the centres of k-means over the patches of the training images. Csurka et al. 2004.
    """
    from sklearn.cluster import MiniBatchKMeans

    patches = training.reshape(-1, PATCH_NUMBERS)
    # Its draws are the same for every readout: seeds draw images, not vocabularies.
    words = MiniBatchKMeans(WORDS, random_state=0, n_init=1, batch_size=4096, max_iter=20).fit(patches)
    bags = (_bags(words.predict(rows.reshape(-1, PATCH_NUMBERS)), len(rows)) for rows in (training, others))
    return *bags, words.cluster_centers_


def bags_of(rows: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    """(n, WORDS) float32: the bags of other images, by a vocabulary that `bags_of_words` has found."""
    from sklearn.metrics import pairwise_distances_argmin

    return _bags(pairwise_distances_argmin(rows.reshape(-1, PATCH_NUMBERS), vocabulary), len(rows))


def _bags(words: np.ndarray, images: int) -> np.ndarray:
    counts = np.stack([np.bincount(row, minlength=WORDS) for row in words.reshape(images, -1)])
    return np.sqrt(counts / counts.sum(1, keepdims=True)).astype(np.float32)
