"""Losses against references in float64, gradients included; several labels per image, from the set to the result."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import outcome
from several import average_precision, several_study, write_several
from tiny import RECIPE, task_of, tiny_study
from torch import Tensor
from trained import train

from transferability.data.packed import PackedImages, open_packed
from transferability.files import Refused
from transferability.recipe import LOSSES
from transferability.runs.paths import data_root
from transferability.training.losses import hits, loss_of

torch.set_num_threads(1)

LABELS = torch.tensor([[1, 0, 1, 0, -1], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1], [-1, 1, 0, 0, -1]], dtype=torch.int8)
ONE = torch.tensor([3, 0, 0, 4])


def by_hand(name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """The loss, summed image by image and class by class."""
    total = scores.new_zeros(())
    for image, row in enumerate(scores):
        if labels.ndim == 1:
            signs = {k: 1 if k == int(labels[image]) else -1 for k in range(len(row))}
        else:
            signs = {k: 1 if label == 1 else -1 for k, label in enumerate(labels[image].tolist()) if label >= 0}
        present = [k for k, sign in signs.items() if sign > 0]
        absent = [k for k, sign in signs.items() if sign < 0]
        if name == "sigmoid":
            total = total + sum((torch.log(1 + torch.exp(-sign * row[k])) for k, sign in signs.items()), 0 * total)
        elif name == "hinge":
            total = total + sum((torch.clamp(1 - sign * row[k], min=0) for k, sign in signs.items()), 0 * total)
        else:
            pairs = [torch.clamp(1 - row[p] + row[a], min=0) for p in present for a in absent]
            total = total + sum(pairs, 0 * total) / len(present)
    return total / len(scores)


@pytest.mark.parametrize("labels", [LABELS, ONE], ids=["several", "one"])
@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ranking"])
def test_losses_and_gradients_are_those_by_hand(name: str, labels: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    results = []
    for function in (loss_of, by_hand):
        scores = torch.randn(4, 5, dtype=torch.float64, generator=generator.manual_seed(0)).mul(2).requires_grad_()
        loss: Tensor = function(name, scores, labels)  # type: ignore[operator]
        loss.backward()  # type: ignore[no-untyped-call]
        results.append((loss.detach(), scores.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


def test_losses_are_those_of_torch_where_it_has_them() -> None:
    scores = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss_of("softmax", scores, ONE), F.cross_entropy(scores, ONE))
    torch.testing.assert_close(loss_of("ranking", scores, ONE), 5 * F.multilabel_margin_loss(scores, _padded(ONE)))
    known: Callable[..., Tensor] = F.multilabel_soft_margin_loss
    torch.testing.assert_close(loss_of("sigmoid", scores, ONE), 5 * known(scores, F.one_hot(ONE, 5).double()))


def _padded(labels: Tensor) -> Tensor:
    return torch.cat([labels[:, None], torch.full((len(labels), 4), -1)], 1)


def test_hits_are_present_classes() -> None:
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    first, of_two = hits(scores, LABELS, 2)
    assert first.tolist() == [True, False, True, False]  # not known is no hit
    assert of_two.tolist() == [True, False, True, False]
    assert hits(scores, ONE, 2)[0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_images_of_several_labels_are_trained_and_judged(roots: Path, loss: str) -> None:
    """The fleet is its networks alone; the mean average precision is that of the scores, computed another way."""
    packed = write_several(data_root() / "several")
    study = several_study(["baseA", "baseB", "A1B", "A2B+", "R1B"], replace(RECIPE, loss=loss, auc=True))
    train(study)
    result = outcome("several", "A2B+").result
    assert result["val_map"] == result["series"]["val_map"][-1]
    assert "val_class_top1" not in result["series"] and result["val_class_top1"] is None
    assert 0 < result["val_auc"] < 1 and result["val_auc"] == result["series"]["val_auc"][-1]
    assert result["val_map"] == pytest.approx(average_precision(study, "A2B+", packed), abs=1e-6)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["baseA"], ["A2B+"]])
    assert outcome("several", "A2B+") == outcome("several", "A2B+", roots / "together")


def test_the_network_is_stopped_by_the_precision_of_held_out_images(roots: Path) -> None:
    write_several(data_root() / "several")
    recipe = replace(RECIPE, loss="sigmoid", stop="inner", patience=1, steps=24, validate_every=4)
    train(several_study(["baseA"], recipe))
    series = outcome("several", "baseA").series
    best = int(np.argmax(series["inner_map"]))
    assert outcome("several", "baseA").result["val_map"] == series["val_map"][best]


def test_softmax_of_several_labels_is_refused(roots: Path) -> None:
    write_several(data_root() / "several")
    with pytest.raises(Refused, match="has images of several classes, and recipe 'tiny' the loss 'softmax'"):
        train(several_study(["baseA"], RECIPE))


def area(scores: Tensor, present: Tensor) -> float:
    """Under the ROC curve: the share of pairs of a present and an absent class that are in order; ties count half."""
    difference = scores[present].double()[:, None] - scores[~present].double()[None]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def test_the_mean_over_classes(roots: Path, packed: PackedImages) -> None:
    """Classes differ in size: it is another number than the accuracy, and that of the network's own answers."""
    from transferability.runs.paths import study_folder
    from transferability.trained.network import load_network

    study = tiny_study(["baseA"], replace(RECIPE, loss="sigmoid", auc=True))
    train(study)
    trained = load_network(study, "random-0/baseA", study_folder("tiny"), data_root())
    answers = [(trained(x), labels) for x, labels in trained.validation_images()]
    scores, labels = (torch.cat(parts) for parts in zip(*answers, strict=True))
    right = (scores.argmax(1) == labels).double()
    areas = [area(scores[:, label], labels == label) for label in range(6)]
    assert trained.result.val_auc == pytest.approx(np.mean(areas), abs=1e-6)
    by_class = [float(right[labels == label].mean()) for label in range(6)]
    assert trained.result.val_class_top1 == pytest.approx(np.mean(by_class))
    assert trained.result.val_top1 == pytest.approx(float(right.mean()))
    assert task_of(open_packed(data_root() / "tiny"), "random-0", "A").training_counts().tolist() != [5] * 6
