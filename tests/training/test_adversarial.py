"""Networks that make two domains alike: the reversed gradient, fleets, kills, processes, and what is not seen."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import outcome
from disturbed import killed_at
from domains import METHODS, SPLIT, domain_study, method_study, named, scramble_sketches, write_domains
from residual import residual
from test_train import train_again_in_processes
from tiny import RECIPE, TINY
from torch import Tensor
from trained import PLAIN, train

from transferability.adversarial import Adversarial
from transferability.data.packed import write_packed
from transferability.data.stream import Batch
from transferability.files import Refused
from transferability.networks.cut import chain
from transferability.study import fleets
from transferability.training.domains import (
    CRITIC,
    AddaModule,
    AdversarialModule,
    DomainClassifier,
    Reversal,
    Step,
    domain_loss,
)
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

NAMES = ["A1B+@dann", "A2B+@dann", "A3B+@dann", "A1B+@scratch", "A3B+@scratch", "A1B+@adda", "A3B+@adda"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which the study of all methods is trained, in fleets."""
    write_domains(module_roots / "data" / "tiny")
    train(method_study(*NAMES, "A4B"))
    return module_roots


def test_a_gradient_is_reversed_and_weighed() -> None:
    """Against the chain rule written down in float64, below and in the domain classifier."""
    draw = np.random.default_rng(0)
    x, w, v = draw.normal(size=(5, 3)), draw.normal(size=(3, 4)), draw.normal(size=(4,))
    labels = np.array([1.0, 1, 0, 0, 1])
    features = x @ w
    error = (1 / (1 + np.exp(-features @ v)) - labels) / 5
    tensors = [torch.from_numpy(part).requires_grad_() for part in (w, v)]
    scores = Reversal.apply(torch.from_numpy(x) @ tensors[0], 0.3) @ tensors[1]
    torch.nn.functional.binary_cross_entropy_with_logits(scores, torch.from_numpy(labels)).backward()
    assert np.allclose(tensors[0].grad, -0.3 * x.T @ np.outer(error, v), rtol=1e-12, atol=0)  # misled
    assert np.allclose(tensors[1].grad, features.T @ error, rtol=1e-12, atol=0)  # learns


def test_the_weight_and_the_rate_are_the_papers() -> None:
    recipe = replace(METHODS["dann"], steps=100, schedule="inverse", rate=0.01, strength=0.5)
    assert isinstance(recipe, Adversarial)
    for step in (0, 37, 99):
        p = step / 100
        assert recipe.weight_at(step) == pytest.approx(0.5 * (2 / (1 + np.exp(-10 * p)) - 1), rel=1e-12)
        assert recipe.rate_at(step) == pytest.approx(0.01 / (1 + 10 * p) ** 0.75, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_is_its_networks_alone_and_after_a_kill(
    shared: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, killed between two validations: domain classifiers and their measures come back."""
    monkeypatch.setattr("transferability.training.checkpoint.ASKED_EVERY", 1)
    together = outcome("tiny", named(name))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    if name == "A1B+@scratch":
        study = domain_study([name], RECIPE, methods=METHODS)  # it needs no base
    else:
        study = method_study(name)
        shutil.copytree(shared / "runs" / "tiny" / SPLIT / "baseA", tmp_path / "tiny" / SPLIT / "baseA")
        shutil.copytree(shared / "runs" / "tiny" / "means", tmp_path / "tiny" / "means")
    with killed_at(9):
        train(study, OFTEN, [[named(name)]])
    train(study, groups=[[named(name)]])
    assert outcome("tiny", named(name)) == together
    assert len(together.series["domain_loss"]) == len(together.series["domain_top1"]) == 2


def plain_dann(
    weights: Mapping[str, Tensor], batches: Sequence[tuple[Tensor, Tensor]], recipe: Adversarial
) -> dict[str, Tensor]:
    """The weights of a network like TINY, made alike at layer 2, after a plain loop over (images, labels)."""
    w = {name: value.double().requires_grad_() for name, value in weights.items()}
    speeds = {name: torch.zeros_like(value) for name, value in w.items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x.flatten(1) @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    for step, (x, labels) in enumerate(batches):
        half, p = len(x) // 2, step / len(batches)
        x = F.relu(F.conv2d(x.double(), w["conv1.weight"], w["conv1.bias"], padding=1))
        x = F.local_response_norm(F.max_pool2d(x, 3, 2, ceil_mode=True), 5)
        x = F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=1, groups=2))
        features = F.max_pool2d(x, 3, 2, ceil_mode=True)
        weight = 2 / (1 + math.exp(-10 * p)) - 1
        mirrored = (1 + weight) * features.detach() - weight * features  # the same value, the gradient reversed
        scores = linear(F.relu(linear(mirrored, f"{CRITIC}.0")), f"{CRITIC}.2").squeeze(1)
        loss = F.cross_entropy(linear(F.relu(linear(features[:half], "fc3")), "fc4"), labels)
        loss = loss + (F.softplus(-scores[:half]).sum() + F.softplus(scores[half:]).sum()) / len(scores)
        gradients = dict(zip(w, torch.autograd.grad(loss, list(w.values())), strict=True))
        for name, value in w.items():
            is_bias = name.endswith("bias")
            gradient = gradients[name] + (0 if is_bias else recipe.decay) * value.detach()
            speeds[name] = recipe.momentum * speeds[name] + gradient
            w[name] = (value.detach() - recipe.rate_at(step) * (2 if is_bias else 1) * speeds[name]).requires_grad_()
    return {name: value.detach() for name, value in w.items()}


def test_dann_is_a_plain_loop(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, from the same weights, over the same batches; without dropout, whose masks are this package's."""
    write_domains(roots / "data" / "tiny")
    batches: list[tuple[Tensor, Tensor]] = []
    first: dict[str, Tensor] = {}
    original = AdversarialModule.steps

    def steps(self: AdversarialModule, batch: Batch) -> list[Step]:
        if not first:
            first.update({name: value.detach().clone() for name, value in self.networks[0].named_parameters()})
        batches.append((self._inputs(batch).clone(), batch.labels[: len(batch.labels) // 2]))
        return original(self, batch)

    monkeypatch.setattr(AdversarialModule, "steps", steps)
    recipe = replace(METHODS["dann"], start="fresh")
    assert isinstance(recipe, Adversarial)
    conv1, conv2, (name, fc3), fc4 = TINY.layers
    architecture = replace(TINY, layers=(conv1, conv2, (name, replace(fc3, dropout=0.0)), fc4))
    train(domain_study(["A2B+@plain"], RECIPE, architecture, methods={"plain": recipe}))
    expected = plain_dann(first, batches, recipe)
    for key, value in outcome("tiny", named("A2B+@plain")).weights.items():
        assert not torch.equal(value, first[key])
        assert float((value - expected[key]).norm()) <= 1e-4 * float((expected[key] - first[key]).norm()), key


def test_of_adda_either_side_learns_by_its_own_loss(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy by inverted labels, in float64, and nothing of the domain classifier; and the other way round."""
    seen = []
    original = AddaModule.steps

    def steps(self: AddaModule, batch: Batch) -> list[Step]:
        found = original(self, batch)
        for step, layers in zip(found, self.networks, strict=True):
            critic, copy = list(layers[CRITIC].parameters()), list(layers["conv1"].parameters())  # type: ignore[index]
            graph = {"retain_graph": True, "allow_unused": True}
            assert torch.autograd.grad(step.loss, critic, **graph) == (None,) * len(critic)
            assert torch.autograd.grad(domain_loss(step.scores), copy, **graph) == (None,) * len(copy)
            assert all(part.norm() > 0 for part in torch.autograd.grad(step.loss, copy, retain_graph=True))
            others = step.scores.detach().double()[len(step.scores) // 2 :]
            assert step.loss.item() == pytest.approx(torch.log1p(torch.exp(-others)).mean().item(), rel=1e-6)
            seen.append(step)
        return found

    monkeypatch.setattr(AddaModule, "steps", steps)
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    shutil.copytree(shared / "runs" / "tiny" / SPLIT / "baseA", tmp_path / "tiny" / SPLIT / "baseA")
    train(method_study("A1B+@adda"), groups=[[named("A1B+@adda")]])
    assert len(seen) == RECIPE.steps


def test_networks_of_one_method_are_one_fleet() -> None:
    divided = [fleet.networks for fleet in fleets(method_study(*NAMES).networks)]
    assert [[network.short_name for network in members] for members in divided] == [
        ["baseA"],
        ["A1B+@adda", "A3B+@adda"],
        ["A1B+@dann", "A2B+@dann", "A3B+@dann"],
        ["A1B+@scratch", "A3B+@scratch"],
    ]


def test_which_layers_change(shared: Path) -> None:
    base = outcome("tiny", named("baseA")).weights
    for name, kept in {"A3B+@dann": (), "A1B+@adda": ("conv2", "fc3", "fc4"), "A3B+@adda": ("fc4",)}.items():
        weights = outcome("tiny", named(name)).weights
        assert weights.keys() == base.keys()  # the domain classifier is no part of the network
        same = {key.partition(".")[0] for key, value in base.items() if torch.equal(weights[key], value)}
        assert same == set(kept), name


def test_without_strength_a_network_is_trained_on_the_labelled_domain_alone(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is of the method is its strength: at 0 the bits do not depend on the other domain's images."""
    recipes = {"off": replace(METHODS["scratch"], strength=0.0)}
    found = []
    for seed in (0, 1):
        root = tmp_path / str(seed)
        packed = write_domains(root / "data" / "tiny")
        if seed:  # other sketches to train on
            rewritten = packed.train.images.copy()
            rewritten[packed.train.domains == 1] = 7
            shutil.rmtree(root / "data" / "tiny")
            train_set = replace(packed.train, images=rewritten)
            write_packed(root / "data" / "tiny", "tiny", packed.classes, train_set, packed.val, packed.domains)
        monkeypatch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
        train(domain_study(["A2B+@off"], RECIPE, methods=recipes))
        found.append(outcome("tiny", named("A2B+@off")))
    assert found[0].file == found[1].file and found[0].series["val_top1"] == found[1].series["val_top1"]
    assert found[0].series["domain_loss"] != found[1].series["domain_loss"]


def test_labels_of_the_other_domain_are_not_seen(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sketches dealt to the classes at random, in another order: equal bits."""
    scramble_sketches(tmp_path, monkeypatch)
    train(method_study(*NAMES))
    scrambled = {name: outcome("tiny", named(name)) for name in NAMES}
    for name in NAMES:
        seen = outcome("tiny", named(name), shared / "runs")
        assert scrambled[name].file == seen.file and scrambled[name].series == seen.series, name
        assert scrambled[name].result["record"] != seen.result["record"]  # it is another packed set


def test_several_processes_agree_with_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["A2B+@dann", "A3B+@adda", "A4B"]
    made = f"domains:method_study(*{names!r})"
    train_again_in_processes(shared, tmp_path, monkeypatch, made, [named("baseA"), *map(named, names)])
    for name in names:
        one, several = outcome("tiny", named(name), shared / "runs"), outcome("tiny", named(name))
        domains = ("train_loss", "domain_loss", "domain_top1") if several.result["steps"] else ()
        for key in ("val_images", "val_loss", "val_top1", *domains):
            assert several.series[key] == pytest.approx(one.series[key], rel=1e-4), (name, key)
        for key, value in one.weights.items():
            assert float((several.weights[key] - value).norm()) <= 1e-4 * float(value.norm()), (name, key)


def test_networks_that_were_cut(roots: Path) -> None:
    """With norms, dropout and stochastic depth: a fleet, and alone."""
    write_domains(roots / "data" / "tiny")
    names = ["A1B+@dann", "A3B+@dann", "A2B+@adda"]
    study = domain_study(["baseA", *names], RECIPE, chain(residual, RECIPE.crop), methods=METHODS)
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[[named("baseA")], *([named(name)] for name in names)])
    for name in names:
        assert outcome("tiny", named(name)) == outcome("tiny", named(name), roots / "together"), name
    kept, base = (outcome("tiny", named(name)).weights for name in ("A2B+@adda", "baseA"))
    for key, value in base.items():
        if key.partition(".")[0] in "23":
            assert torch.equal(kept[key], value), key  # statistics of norms too


def test_what_has_no_meaning_is_refused() -> None:
    for name, why in {
        "A2B@dann": "makes two domains alike at layer n; write A2B+",
        "B2B+@dann": "makes two domains alike at layer n",
        "baseB@dann": "makes two domains alike at layer n; write A1B+",
        "A2B+probe@adda": "makes two domains alike at layer n",
    }.items():
        with pytest.raises(Refused, match=why.replace("+", r"\+")):
            domain_study(["baseA", "baseB", name], RECIPE, methods=METHODS)
    for changes, why in {
        ("start", "elsewhere"): "start is 'elsewhere', not base, body, fresh",
        ("hidden", (0,)): "write the units of each hidden layer",
        ("strength", -1.0): "strength is -1.0",
        ("stop", "inner"): "for networks that see their target's labels",
    }.items():
        with pytest.raises(Refused, match=why):
            replace(METHODS["dann"], **{changes[0]: changes[1]})  # type: ignore[arg-type]


def test_a_domain_classifier_is_drawn_for_its_owner() -> None:
    first, again, other = (DomainClassifier(7, (5,), owner) for owner in ("a", "a", "b"))
    weights = [torch.cat([p.flatten() for p in part.parameters()]) for part in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert first(torch.ones(3, 7, 1, 1)).shape == (3,)
