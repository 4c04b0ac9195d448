"""Losses of a network's scores: one label per image, or several.

    softmax   cross-entropy of the one label
    sigmoid   each class by itself: the sum over classes of their binary cross-entropies
    hinge     each class against the rest: the sum over classes of max(0, 1 - s), or max(0, 1 + s) where it is absent.
              Chatfield et al. 2014 (TN-CLS)
    ranking   the classes of an image before those that it has not: max(0, 1 - s + t), summed over all pairs of a
              present class of score s and an absent one of score t, per present class. Weston and Watkins 1999

All are means over images. A sigmoid's gradient with respect to a score is a probability minus 0 or 1, as a softmax's
is, so that rates have the same meaning. Classes that are not known (-1) count in none.

# Paper: Chatfield et al.'s TN-RNK ranks, for each class, images that show it before images that do not. Here the
# classes are ranked within an image, so that an image's loss does not depend on its neighbours in the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def present_and_absent(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(b, classes) bool: the classes that each image has, and those that it has not.

    labels: (b,) int64, one per image; or (b, classes) int8: 1 present, 0 absent, -1 not known.
    """
    if labels.ndim == 1:
        present = F.one_hot(labels, classes).bool()
        return present, ~present
    return labels == 1, labels == 0


def loss_of(name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """(): the mean over images of the loss `name`. scores: (b, classes). labels: as in `present_and_absent`."""
    if name == "softmax":
        return F.cross_entropy(scores, labels)
    present, absent = present_and_absent(labels, scores.shape[1])
    if name == "sigmoid":
        losses = F.binary_cross_entropy_with_logits(scores, present.to(scores.dtype), reduction="none")
        return (losses * (present | absent)).sum(1).mean()
    if name == "hinge":
        return (F.relu(1 - scores) * present + F.relu(1 + scores) * absent).sum(1).mean()
    assert name == "ranking", name
    pairs = F.relu(1 - scores[:, :, None] + scores[:, None, :]) * (present[:, :, None] & absent[:, None, :])
    return (pairs.sum((1, 2)) / present.sum(1).clamp(min=1)).mean()


def hits(scores: Tensor, labels: Tensor, most: int = 5) -> tuple[Tensor, Tensor]:
    """(..., b) bool: whether the class of the highest score is one of the image's, and one of the `most` highest.

    scores: (..., b, classes). labels: as in `present_and_absent`.
    """
    best = scores.topk(min(most, scores.shape[-1]), dim=-1).indices
    several = labels.ndim > 1
    right = torch.gather((labels == 1).expand(scores.shape), -1, best) if several else best == labels[:, None]
    return right[..., 0], right.any(-1)
