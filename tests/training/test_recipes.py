"""Recipes beyond the paper's: AdamW, smoothing, class weights, augmentation, clipping, stopping by held-out images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from residual import residual_study
from test_train import train_in_processes
from tiny import RECIPE, grey, task_of, tiny_study, write_experiment
from torch.nn import functional as F
from trained import PLAIN, train

from transferability.data.packed import PackedImages
from transferability.data.stream import ValidationBatches, task_sets
from transferability.files import Refused
from transferability.recipe import Recipe
from transferability.runs.paths import study_folder
from transferability.study import Fleet, fleets
from transferability.training.checkpoint import read_checkpoint
from transferability.training.fleet import FleetModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

EVERYTHING = replace(
    RECIPE,
    steps=24,
    validate_every=4,
    rate=0.01,
    optimiser="adamw",
    label_smoothing=0.1,
    class_weights="balanced",
    crops="resized",
    colour=0.3,
    clip=0.5,
    stop="inner",
    patience=2,
    held_out=0.3,
)
NAMES = ["baseA", "baseB", "A1B", "A2B+", "B2B", "R1B"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


def test_alone_and_in_a_fleet_and_resumed_the_bits_are_the_same(roots: Path, packed: PackedImages) -> None:
    study = residual_study(NAMES, EVERYTHING)
    train(study)
    (roots / "runs").rename(roots / "together")
    for step in (6, 11):
        with killed_at(step):
            train(study, OFTEN, groups=[["baseA"]])
    train(study, OFTEN, groups=[[name] for name in NAMES])
    stopped = set()
    for name in NAMES:
        alone = outcome("residual", name)
        assert alone == outcome("residual", name, roots / "together"), name
        inner, steps = alone.series["inner_top1"], alone.series["step"]
        best = int(np.argmax(inner))  # the first of equals
        assert alone.result["steps"] == steps[best] and alone.result["val_top1"] == alone.series["val_top1"][best]
        assert alone.result["images_seen"] == steps[-1] * 8
        assert len(inner) - 1 - best == 2 or steps[-1] == 24  # patience
        stopped.add(steps[-1])
    assert len(stopped) > 1  # networks of one fleet stop each at its own step


def test_a_class_of_one_image_is_named(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA@1"], replace(EVERYTHING, batch=4))
    with pytest.raises(Refused, match=r"class '.*' has one training image, of which none can be held out"):
        train(study)


def test_the_weights_are_those_of_the_best_inner_validation(roots: Path, packed: PackedImages) -> None:
    """Buffers included: judged on the validation images they give the accuracy that is recorded."""
    study = residual_study(["baseA"], EVERYTHING)
    train(study)
    result = outcome("residual", "baseA")
    with np.load(study_folder("residual").mean("random-0-A", 16)) as stored:
        mean = np.asarray(stored["mean"])
    module = FleetModule(study, Fleet(study.networks), 6, {}, grey("A", mean, EVERYTHING.scale))
    for layer in module.networks[0].values():  # type: ignore[operator]
        for key, value in layer.tensors().items():
            value.data.copy_(result.weights[key])
    module.eval()
    _, validation = task_sets(task_of(packed, "random-0", "A"), study.networks[0])
    (batch,) = ValidationBatches(validation, 14)
    hits = (module(batch)[0].argmax(1) == batch.labels).double().mean()
    assert result.series["step"][-1] > result.result["steps"]  # the state at the end is another
    assert float(hits) == result.result["val_top1"]


def test_nothing_is_chosen_on_validation_images(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other labels of the validation images the weights are the same."""
    study = tiny_study(["baseA"], EVERYTHING)
    train(study)
    weights = outcome("tiny", "baseA").file
    (roots / "runs").rename(roots / "first")
    original = FleetModule.validation_step

    def scrambled(self: FleetModule, batch: object, index: int, dataloader_idx: int = 0) -> None:
        if not dataloader_idx:
            batch = batch._replace(labels=batch.labels.flip(0))  # type: ignore[attr-defined]
        original(self, batch, index, dataloader_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(FleetModule, "validation_step", scrambled)
    train(study)
    assert outcome("tiny", "baseA").file == weights


def module_of(recipe: Recipe) -> FleetModule:
    study = tiny_study(["baseA", "baseB"], recipe)
    return FleetModule(study, fleets(study.networks)[0], 6, {}, grey("A"))


def test_losses_are_torchs() -> None:
    """In float64, with gradients; in evaluation plain cross-entropy."""
    scores = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5])
    module = module_of(replace(RECIPE, label_smoothing=0.2, class_weights="balanced"))
    module.weigh_classes(np.repeat(np.arange(6), [10, 2, 4, 4, 5, 5]))
    module.class_weights = module.class_weights.double()  # type: ignore[union-attr]
    weights = torch.tensor([0.5, 2.5, 1.25, 1.25, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(module.class_weights, weights)
    target = F.one_hot(labels, 6).double() * 0.8 + 0.2 / 6
    expected = -(target * scores.log_softmax(1)).sum(1) @ weights[labels] / 8
    loss = module.loss(scores, labels)
    torch.testing.assert_close(loss, expected)
    for one, other in zip(torch.autograd.grad(loss, scores), torch.autograd.grad(expected, scores), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(module.eval().loss(scores, labels), F.cross_entropy(scores, labels))


def test_gradients_are_clipped_for_each_network_alone() -> None:
    study = tiny_study(["baseA", "A1B", "A2B", "baseB"], replace(RECIPE, clip=0.01))
    fleet = Fleet(tuple(study.by_name[f"random-0/{name}/seed-0"] for name in ("A1B", "A2B")))
    weights = module_of(RECIPE).weights(0)
    module = FleetModule(study, fleet, 6, {"A": weights}, grey("AB"))
    batch = next(iter(ValidationBatches(_images(), 14)))
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    module.update(batch)
    for network in module.networks:
        norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
        assert float(torch.stack(norms).norm()) == pytest.approx(0.01, rel=1e-3)


def _images() -> object:
    from transferability.data.stream import TaskImages

    draw = np.random.default_rng(0)
    return TaskImages(draw.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8), np.arange(8), np.arange(8) % 6)


def test_several_processes_agree_with_one(roots: Path, packed: PackedImages) -> None:
    """With all of it but AdamW, which divides by small numbers: where each stops, and which state counts.

    One network is under a rule by word, which freezes and thaws layers; its clipped gradient is of the others alone.
    """
    changes = {"steps": 12, "validate_every": 4, "rate": 0.02, "optimiser": "sgd", "patience": 1}
    recipe = replace(EVERYTHING, **changes)  # type: ignore[arg-type]
    names = ["baseA", "A2A+", "A2A+chain"]
    train(tiny_study(names, recipe))
    (roots / "runs").rename(roots / "one")
    fields = {key: value for key, value in vars(recipe).items() if value != vars(RECIPE)[key]}
    train_in_processes(roots, write_experiment(roots / "study.py", names, **fields), *names)
    for name in names:
        one, several = outcome("tiny", name, roots / "one"), outcome("tiny", name)
        assert several.series["inner_top1"] == one.series["inner_top1"]
        assert several.series["train_loss"] == pytest.approx(one.series["train_loss"], rel=1e-5)
        assert several.result["steps"] == one.result["steps"]


def test_a_checkpoint_of_an_earlier_version_is_read(roots: Path, packed: PackedImages) -> None:
    """It has the momentum alone."""
    study = tiny_study(["baseA"])
    with killed_at(8):
        train(study, OFTEN)
    state = read_checkpoint(study_folder("tiny").fleet("random-0.baseA.seed-0").checkpoint)
    earlier = {key: value for key, value in state.items() if key not in ("optimiser", "best", "buffers")}
    earlier["momentum"] = {name: values["momentum_buffer"] for name, values in state["optimiser"].items()}
    one, other = module_of(RECIPE), module_of(RECIPE)
    one.restore(state)
    other.restore(earlier)
    for first, second in zip(one.optimiser.state.values(), other.optimiser.state.values(), strict=True):
        assert torch.equal(first["momentum_buffer"], second["momentum_buffer"])


def test_the_validation_before_the_first_step(roots: Path, packed: PackedImages) -> None:
    """Its row is of the networks as they are drawn or copied; nothing else changes; a kill leaves it there once."""
    names = ["baseA", "A1B", "A3B+", "R1B"]
    train(residual_study(names, RECIPE, name="without"))
    study = residual_study(names, replace(RECIPE, validate_start=True))
    train(study)
    for name in names:
        plain, result = outcome("without", name), outcome("residual", name)
        assert result.series["step"] == [0, 6, 12] and plain.series["step"] == [6, 12]
        assert {key: values[1:] for key, values in result.series.items()} == plain.series
        assert result.series["train_loss"][0] is None and result.series["train_top1"][0] is None
        assert all(torch.equal(value, result.weights[key]) for key, value in plain.weights.items())
        assert result.result["val_top1"] == plain.result["val_top1"]
    assert outcome("residual", "A3B+").series["val_loss"][0] != outcome("residual", "R1B").series["val_loss"][0]
    (roots / "runs").rename(roots / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transferability.training.checkpoint.ASKED_EVERY", 1)
        for step in (1, 7):
            with killed_at(step):
                train(study, replace(PLAIN, checkpoint_minutes=0.0), groups=[["baseA"]])
        train(study, PLAIN, groups=[["baseA"]])
    assert outcome("residual", "baseA") == outcome("residual", "baseA", roots / "whole")


def test_the_validation_before_the_first_step_is_no_reason_to_stop(roots: Path, packed: PackedImages) -> None:
    """A rate so small that no held-out image is ever judged otherwise: the first validation would be the best."""
    recipe = replace(RECIPE, steps=24, validate_every=4, rate=1e-9, stop="inner", patience=2)
    train(tiny_study(["baseA"], recipe, name="without"))
    train(tiny_study(["baseA"], replace(recipe, validate_start=True)))
    plain, result = outcome("without", "baseA"), outcome("tiny", "baseA")
    assert plain.series["step"] == [4, 8, 12] and result.series["step"] == [0, 4, 8, 12]
    assert len(set(result.series["inner_top1"])) == 1
    assert result.result["steps"] == plain.result["steps"] == 4
    assert all(torch.equal(value, result.weights[key]) for key, value in plain.weights.items())


def test_several_processes_validate_before_the_first_step_once(roots: Path, packed: PackedImages) -> None:
    names = ["baseA", "A1A"]
    train(tiny_study(names, replace(RECIPE, validate_start=True)))
    (roots / "runs").rename(roots / "one")
    train_in_processes(roots, write_experiment(roots / "study.py", names, validate_start=True), *names)
    for name in names:
        one, several = outcome("tiny", name, roots / "one"), outcome("tiny", name)
        assert several.series["step"] == one.series["step"] == [0, 6, 12]
        assert several.series["val_images"] == one.series["val_images"]
        assert several.series["val_loss"][0] == pytest.approx(one.series["val_loss"][0], rel=1e-6)
        assert several.series["train_loss"][0] is None
