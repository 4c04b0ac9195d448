"""Fleets: promises 1 to 3 of the design. Each test compares with something that shares no code with the fleet."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import Outcome, outcome
from disturbed import killed_at, poison
from tiny import RECIPE, TINY, task_of, tiny_study, write_tiny
from torch import Tensor
from trained import train

from transferability.data.packed import PackedImages
from transferability.data.stream import (
    Batch,
    TaskImages,
    TrainingBatches,
    ValidationBatches,
    task_sets,
)
from transferability.data.tasks import Normalisation
from transferability.draws import dropout, mask_key
from transferability.networks.caffenet import Architecture, Conv, small_caffenet
from transferability.networks.layers import build, draw_layer
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study
from transferability.training import fleet as fleet_module
from transferability.training.fleet import FleetModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

BASES = ("baseA", "baseB")
# Frozen at every depth, two sources and random, trained copies at two rates, preserved layers, all layers.
TREATED = ("B1B", "B3B", "A1B", "A2B", "A3B", "R1B", "R3B", "R2B+", "A2B+", "A3B+0.1", "B4B+", "A1Bp1", "A1Bp2+0.5")
Weights = dict[str, Tensor]


def module_of(
    study: Study, names: Sequence[str], sources: dict[str, Weights], means: dict[str, np.ndarray], classes: int
) -> FleetModule:
    fleet = Fleet(tuple(study.by_name[name if "/" in name else f"random-0/{name}/seed-0"] for name in names))
    inputs = {letter: Normalisation(mean, fleet.recipe.scale) for letter, mean in means.items()}
    return FleetModule(study, fleet, classes, sources, inputs)


def random_weights(architecture: Architecture, classes: int, *address: str | int) -> Weights:
    out = {}
    for (name, layer), (_, spec) in zip(build(architecture, classes), architecture.layers, strict=True):
        draw_layer(layer, spec, "variance-preserving", "test", *address, name)
        out[f"{name}.weight"], out[f"{name}.bias"] = layer.weight.detach().contiguous(), layer.bias.detach() + 0.1
    return out


# ---------------------------------------------------------------------------------------------- the reference


def naive_pictures(
    images: TaskImages, batch: Batch, mean: np.ndarray, crop: int, scale: float, places: Sequence[int]
) -> Tensor:
    """(b, 3, c, c) float64, one picture at a time: crop, minus the mean image's crop, mirrored, scaled."""
    out = []
    for place, y, x, mirror in zip(places, batch.ys.tolist(), batch.xs.tolist(), batch.mirror.tolist(), strict=True):
        picture = images.images[images.rows[place]].astype(np.float64) - mean
        picture = picture[y : y + crop, x : x + crop]
        out.append((picture[:, ::-1] if mirror else picture).transpose(2, 0, 1) * scale)
    return torch.from_numpy(np.stack(out))


def plain_forward(
    architecture: Architecture, weights: Weights, x: Tensor, owners: Sequence[str], step: int | None
) -> Tensor:
    """Logits of one full network in Caffe's order, with torch's own layers. `step` None: validation, no dropout.

    owners: whose dropout mask each layer has.
    """
    for (name, spec), owner in zip(architecture.layers, owners, strict=True):
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if isinstance(spec, Conv):
            x = F.relu(F.conv2d(x, w, b, spec.stride, spec.pad, groups=spec.groups))
            x = F.max_pool2d(x, 3, 2, ceil_mode=True) if spec.pool else x
            x = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0) if spec.lrn else x
        else:
            x = F.linear(x.flatten(1), w, b)
            x = F.relu(x) if spec.outputs is not None else x
            if step is not None and spec.dropout:
                x = dropout(x, spec.dropout, torch.arange(len(x)), mask_key("dropout", owner, name, step))
    return x


def owners_of(network: Network, depth: int) -> list[str]:
    """Frozen layers have the mask of their source, the others that of the network."""
    treatment = network.treatment
    frozen = treatment.n if treatment.source and not treatment.rate else 0
    source = f"{network.split}/{treatment.source}/seed-{network.seed}"
    return [source] * frozen + [network.name] * (depth - frozen)


def certain_and_possible_hits(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Share of images whose label has the highest score, ties counted as misses and as hits.

    Where dropout leaves an image no unit of the last but one layer, all scores are equal, and rounding decides.
    """
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).max(1, keepdim=True).values
    return float((own > others + 1e-6).double().mean()), float((own >= others - 1e-6).double().mean())


def plain_training(
    study: Study, network: Network, packed: PackedImages, bases: dict[str, Weights]
) -> tuple[Weights, list[dict[str, float]]]:
    """Trains one network alone, in float64, with nothing of the fleet: (weights, series)."""
    treatment, recipe, architecture = network.treatment, network.recipe, study.architecture
    task = treatment.target
    images, val = task_sets(task_of(packed, network.split, task), network)
    mean_of = task if treatment.source in ("", "R") else treatment.source
    mine = np.isin(packed.train.labels, task_classes(packed.classes, network.split, mean_of))
    mean = packed.train.images[mine].astype(np.float64).mean(0)

    weights: Weights = {}
    multiples: dict[str, float] = {}
    for position, ((name, layer), (_, spec)) in enumerate(
        zip(build(architecture, 6), architecture.layers, strict=True), 1
    ):
        copied = bool(treatment.source) and position <= treatment.n + treatment.preserved
        random_features = ("weights", network.split, "R", f"seed-{network.seed}", name)
        address = random_features if copied and treatment.source == "R" else ("weights", network.name, name)
        draw_layer(layer, spec, recipe.initialisation, *address)
        for parameter in ("weight", "bias"):
            drawn = getattr(layer, parameter).detach()
            given = bases[treatment.source][f"{name}.{parameter}"] if copied and treatment.source != "R" else drawn
            rate = treatment.rate if treatment.source and position <= treatment.n else 1.0
            multiples[f"{name}.{parameter}"] = rate * (2 if parameter == "bias" else 1)
            weights[f"{name}.{parameter}"] = given.double().clone().contiguous().requires_grad_(rate > 0)

    owners, velocity = owners_of(network, architecture.depth), {key: torch.zeros_like(w) for key, w in weights.items()}
    series: list[dict[str, float]] = []
    losses, hits = [], []
    stream = TrainingBatches(images, recipe, network.stream, 0, recipe.steps)
    for step, batch in enumerate(stream):
        x = naive_pictures(images, batch, mean, recipe.crop, recipe.scale, stream.places(step).tolist())
        logits = plain_forward(architecture, weights, x, owners, step)
        loss = F.cross_entropy(logits, batch.labels)
        loss.backward()
        losses.append(loss.item()), hits.append(certain_and_possible_hits(logits.detach(), batch.labels))
        with torch.no_grad():
            for key, w in weights.items():
                if multiples[key]:
                    gradient = w.grad + (recipe.decay * w if key.endswith("weight") else 0)
                    velocity[key] = recipe.momentum * velocity[key] + gradient
                    w -= recipe.rate_at(step) * multiples[key] * velocity[key]
                    w.grad = None
        if (step + 1) % recipe.validate_every == 0:
            (everything,) = ValidationBatches(val, recipe.crop)
            x = naive_pictures(val, everything, mean, recipe.crop, recipe.scale, range(len(val.rows)))
            with torch.no_grad():
                logits = plain_forward(architecture, weights, x, owners, None)
            right = logits.topk(5).indices == everything.labels[:, None]
            series.append(
                {
                    "step": step + 1,
                    "train_loss": float(np.mean(losses)),
                    "train_top1": np.mean(hits, axis=0),
                    "val_loss": float(F.cross_entropy(logits, everything.labels)),
                    "val_top1": float(right[:, 0].double().mean()),
                    "val_top5": float(right.any(1).double().mean()),
                    "val_images": len(val.rows),
                }
            )
            losses, hits = [], []
    return {key: w.detach() for key, w in weights.items()}, series


# ---------------------------------------------------------------------------------------------- fleet = alone


@pytest.fixture(scope="module")
def together(module_roots: Path) -> tuple[Study, PackedImages, Path]:
    """The study of all treatments, trained in two fleets of bases and one of all the rest."""
    packed = write_tiny(module_roots / "data" / "tiny")
    study = tiny_study((*BASES, *TREATED))
    train(study)
    return study, packed, module_roots


def test_a_network_has_the_same_bits_alone_and_in_any_fleet(
    together: tuple[Study, PackedImages, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _, root = together
    whole = {name: outcome(study.name, name) for name in (*BASES, *TREATED)}
    groupings = {
        "alone": [[name] for name in TREATED],
        "pairs": [list(pair) for pair in zip(TREATED[:12:2], TREATED[11::-2], strict=True)],
        "backwards": [TREATED[::-1][:7], TREATED[::-1][7:]],
    }
    for grouping, groups in groupings.items():
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / grouping))
        train(study, groups=[["baseA"], ["baseB"], *groups])
        for name in (*BASES, *itertools.chain(*groups)):
            assert outcome(study.name, name) == whole[name], f"{name}, {grouping}"


@pytest.mark.parametrize("name", [*BASES, *TREATED])
def test_a_network_is_what_plain_training_makes_of_it(together: tuple[Study, PackedImages, Path], name: str) -> None:
    """The right source, its mean image, the right masks, rates and fresh layers: all of them, or this differs."""
    study, packed, _ = together
    bases = {base[-1]: outcome(study.name, base).weights for base in BASES}
    found = outcome(study.name, name)
    series = found.series
    expected, its_series = plain_training(study, study.by_name[f"random-0/{name}/seed-0"], packed, bases)
    assert found.diverged_at is None
    for key, value in found.weights.items():
        np.testing.assert_allclose(value.double().numpy(), expected[key].numpy(), rtol=1e-3, atol=2e-5, err_msg=key)
    for value, row in zip(series["train_top1"], its_series, strict=True):
        certain, possible = row.pop("train_top1")
        assert certain - 1e-9 <= value <= possible + 1e-9
    for key in its_series[0]:
        assert series[key] == pytest.approx([row[key] for row in its_series], rel=1e-3), key
    assert series["rate"] == [RECIPE.rate_at(step - 1) for step in (6, 12)]


def test_networks_of_the_fleet_are_not_alike(together: tuple[Study, PackedImages, Path]) -> None:
    """What the comparison with plain training would not see: all networks differ, by far more than its tolerance."""
    study, _, _ = together
    weights = {name: outcome(study.name, name).weights for name in (*BASES, *TREATED)}
    for a, b in itertools.combinations(weights, 2):
        assert float((weights[a]["fc4.weight"] - weights[b]["fc4.weight"]).abs().max()) > 0.01, (a, b)
    losses = [outcome(study.name, name).series["val_loss"][-1] for name in weights]
    assert len(set(losses)) == len(losses)


# ---------------------------------------------------------------------------------------------- frozen is frozen


def test_frozen_layers_are_the_sources_bit_for_bit(together: tuple[Study, PackedImages, Path]) -> None:
    study, _, _ = together
    base = {task: outcome(study.name, f"base{task}").weights for task in "AB"}
    names = [name for name, _ in TINY.layers]
    for name in TREATED:
        treatment = study.by_name[f"random-0/{name}/seed-0"].treatment
        if treatment.source == "R":
            continue
        weights = outcome(study.name, name).weights
        for position, layer in enumerate(names, 1):
            for parameter in ("weight", "bias"):
                key = f"{layer}.{parameter}"
                equal = weights[key].numpy().tobytes() == base[treatment.source][key].numpy().tobytes()
                assert equal == (position <= treatment.n and not treatment.rate), (name, key)


def test_random_features_are_one_draw(together: tuple[Study, PackedImages, Path]) -> None:
    study, _, _ = together
    one, three, trained = (outcome(study.name, name).weights for name in ("R1B", "R3B", "R2B+"))
    for key in ("conv1.weight", "conv1.bias"):
        assert torch.equal(one[key], three[key])
    assert not torch.equal(one["conv2.weight"], three["conv2.weight"])  # trained there, random here
    assert not torch.equal(one["conv1.weight"], trained["conv1.weight"])  # trained on
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "ABW"}
    names = [
        f"random-{s}/{name}/seed-{seed}" for s in (0, 1) for seed in (0, 1) for name in ("baseA", "baseB", "R3B", "R2A")
    ]
    grown = tiny_study(names)
    first = {name: module_of(grown, [name], {}, means, 6).weights(0) for name in names}
    for layer in ("conv1", "conv2"):
        draws = {name: first[name][f"{layer}.weight"] for name in names}
        for a, b in itertools.combinations(names, 2):
            shared = "/R" in a and "/R" in b and a.split("/")[::2] == b.split("/")[::2]  # same split and seed
            assert torch.equal(draws[a], draws[b]) == shared, (a, b)
    assert torch.equal(three["conv1.weight"], first["random-0/R3B/seed-0"]["conv1.weight"])  # never trained
    assert torch.equal(three["fc3.weight"], first["random-0/R3B/seed-0"]["fc3.weight"])


def test_random_layers_by_another_initialisation_than_the_trained_ones() -> None:
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    usual = tiny_study(["baseB", "R2B"])
    filler = tiny_study(["baseB", "R2B"], replace(RECIPE, random_layers="paper"))
    first, paper = (module_of(study, ["R2B"], {}, means, 6).weights(0) for study in (usual, filler))
    for name, spec in TINY.layers[:2]:  # the same normal numbers, with the paper's deviation and biases
        usual_std = (2 / first[f"{name}.weight"][0].numel()) ** 0.5
        torch.testing.assert_close(paper[f"{name}.weight"], first[f"{name}.weight"] * (spec.std / usual_std))
        assert (paper[f"{name}.bias"] == spec.bias).all()
    for name, _ in TINY.layers[2:]:
        assert torch.equal(paper[f"{name}.weight"], first[f"{name}.weight"])


def test_fresh_layers_are_each_networks_own() -> None:
    names = ["baseB", "B1B", "A1B", "A2B", "A1B+", "baseA", "random-0/baseA/seed-1", "random-0/A1B/seed-1"]
    study = tiny_study(names)
    sources = {task: random_weights(TINY, 6, task) for task in "AB"}
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    drawn = [module_of(study, [n.name], sources, means, 6).weights(0)["fc4.weight"] for n in study.networks]
    for a, b in itertools.combinations(drawn, 2):
        assert not torch.equal(a, b)


def test_frozen_prefix_has_no_gradient_and_is_no_copy() -> None:
    study = tiny_study(["baseA", "baseB", "A1B", "A3B", "B2B", "A2B+"])
    sources = {task: random_weights(TINY, 6, task) for task in "AB"}
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    module = module_of(study, ["A1B", "A3B", "B2B", "A2B+"], sources, means, 6)
    assert {source: list(prefix) for source, prefix in module.prefixes.items()} == {  # type: ignore[call-overload]
        "A": ["conv1", "conv2", "fc3"],
        "B": ["conv1", "conv2"],
    }
    assert not any(parameter.requires_grad for parameter in module.prefixes.parameters())
    assert all(parameter.requires_grad for parameter in module.networks.parameters())
    assert [list(layers) for layers in module.networks] == [  # type: ignore[call-overload]
        ["conv2", "fc3", "fc4"],
        ["fc4"],
        ["fc3", "fc4"],
        ["conv1", "conv2", "fc3", "fc4"],
    ]


def test_the_shared_prefix_runs_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(["baseA", "baseB", "A1B", "A2B", "A3B"])
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    module = module_of(study, ["A1B", "A2B", "A3B"], {"A": random_weights(TINY, 6, "A")}, means, 6)
    runs: list[str] = []
    for name, layer in module.prefixes["A"].items():  # type: ignore[operator]
        layer.register_forward_hook(lambda *_, name=name: runs.append(name))
    batch = next(iter(TrainingBatches(noise_images(6), RECIPE, "owner", 0, 1)))
    logits = module(batch)
    assert runs == ["conv1", "conv2", "fc3"]
    sum(each.sum() for each in logits).backward()
    assert all(parameter.grad is None for parameter in module.prefixes.parameters())


# ---------------------------------------------------------------------------------------------- one step


def noise_images(classes: int, size: int = 16) -> TaskImages:
    pictures = np.random.default_rng(1).integers(0, 256, (4 * classes, size, size, 3), dtype=np.uint8)
    return TaskImages(pictures, np.arange(4 * classes), np.arange(4 * classes) % classes)


@pytest.mark.parametrize("step", [0, 3, None])
def test_each_network_sees_its_own_source_mean_and_masks(step: int | None) -> None:
    """Logits of every network of a fleet against its own full network, run plainly: eight layers, two sources.

    With dropout (a step) in frozen and in trained fully connected layers; without it in validation (None).
    """
    net = small_caffenet(28, 0.1)
    recipe = replace(RECIPE, crop=28)
    treated = [
        "A1B",
        "A5B",
        "A6B",
        "A7B",
        "B3B",
        "B6B",
        "B7B",
        "A6B+",
        "A5Bp1",
        "B6Bp1",
        "R6B",
        "R7B",
        "A7B+0.1",
        "B8B+",
    ]
    study = tiny_study([*BASES, *treated], recipe, net)
    sources = {task: random_weights(net, 6, task) for task in "AB"}
    rng = np.random.default_rng(0)
    means = {task: rng.uniform(60, 190, (32, 32, 3)).astype(np.float32) for task in "AB"}
    module = module_of(study, treated, sources, means, 6)
    images = noise_images(6, 32)
    if step is None:
        module.eval()
        (batch,) = ValidationBatches(images, 28)
        places: Sequence[int] = range(24)
    else:
        module.train()
        module.step = step
        stream = TrainingBatches(images, recipe, "owner", step, step + 1)
        (batch,) = stream
        places = stream.places(step).tolist()
        assert batch.mirror.any() and not batch.mirror.all()
    got = module(batch)
    for i, name in enumerate(treated):
        network = study.by_name[f"random-0/{name}/seed-0"]
        mean = means[network.treatment.source if network.treatment.source in "AB" else "B"]
        x = naive_pictures(images, batch, mean, 28, recipe.scale, places)
        weights = {key: value.double() for key, value in module.weights(i).items()}
        for position, (layer, _) in enumerate(net.layers, 1):  # what is copied is the source's
            if position <= network.treatment.n + network.treatment.preserved and network.treatment.source != "R":
                assert torch.equal(
                    module.weights(i)[f"{layer}.weight"], sources[network.treatment.source][f"{layer}.weight"]
                )
        expected = plain_forward(net, weights, x, owners_of(network, 8), step)
        scale = float(expected.abs().max())
        np.testing.assert_allclose(got[i].detach().double(), expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)
    spread = torch.stack(got).detach()
    for i, j in itertools.combinations(range(len(treated)), 2):
        assert float((spread[i] - spread[j]).abs().max()) > 1e-3 * float(spread.abs().max()), (treated[i], treated[j])


def test_pictures_minus_the_mean_image_at_the_crops_place() -> None:
    images = noise_images(6)
    mean = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    recipe = replace(RECIPE, scale=0.25)
    study = tiny_study(["baseB"], recipe)
    module = module_of(study, ["baseB"], {}, {"B": mean}, 6)
    stream = TrainingBatches(images, recipe, "owner", 0, 10)
    for step, batch in enumerate(stream):
        expected = naive_pictures(images, batch, mean, 14, 0.25, stream.places(step).tolist())
        np.testing.assert_allclose(module.normalised(batch, "B").numpy(), expected.numpy(), rtol=1e-5, atol=1e-4)
    (batch,) = ValidationBatches(images, 14)
    expected = naive_pictures(images, batch, mean, 14, 0.25, range(24))
    np.testing.assert_allclose(module.normalised(batch, "B").numpy(), expected.numpy(), rtol=1e-5, atol=1e-4)


def test_dropout_in_training_not_in_validation() -> None:
    """Above and in frozen layers: training changes from step to step, validation does not."""
    study = tiny_study(["baseA", "A1B", "A3B", "R3B"])
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    module = module_of(study, ["A1B", "A3B", "R3B"], {"A": random_weights(TINY, 6, "A")}, means, 6)
    batch = next(iter(TrainingBatches(noise_images(6), RECIPE, "owner", 0, 1)))

    def logits(step: int, training: bool) -> Tensor:
        module.train(training)
        module.step = step
        return torch.stack(module(batch)).detach()

    for i in range(3):
        assert not torch.equal(logits(0, True)[i], logits(1, True)[i])
        assert not torch.equal(logits(0, True)[i], logits(0, False)[i])
    assert torch.equal(logits(0, True), logits(0, True))
    assert torch.equal(logits(0, False), logits(1, False))


def test_dropout_of_frozen_layers_rests_where_the_recipe_says_so() -> None:
    """A3B's is in its frozen layers alone (fc3): resting, it trains as it is judged. A1B's is above: it is active."""
    study = tiny_study(["baseA", "A1B", "A3B"], replace(RECIPE, frozen_dropout="resting"))
    means = {task: np.zeros((16, 16, 3), np.float32) for task in "AB"}
    module = module_of(study, ["A1B", "A3B"], {"A": random_weights(TINY, 6, "A")}, means, 6)
    batch = next(iter(TrainingBatches(noise_images(6), RECIPE, "owner", 0, 1)))
    training, judging = (torch.stack(module.train(mode)(batch)).detach() for mode in (True, False))
    assert torch.equal(training[1], judging[1]) and not torch.equal(training[0], judging[0])


# ---------------------------------------------------------------------------------------------- NaN


@pytest.mark.parametrize("step", [0, 5, 6, 11])
def test_a_nan_is_marked_with_its_step_and_touches_no_neighbour(
    together: tuple[Study, PackedImages, Path], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    study, _, root = together
    neighbours = ["A1B", "A3B", "B3B", "R3B", "A2B+"]
    healthy = {name: outcome(study.name, name) for name in neighbours}
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / f"nan-{step}"))
    train(study, groups=[["baseA"], ["baseB"]])
    poison(monkeypatch, ["A2B"], step)  # shares its prefix with A1B and A3B
    train(study, groups=[["A1B", "A2B", "A3B", "B3B", "R3B", "A2B+"]])
    for name in neighbours:
        assert outcome(study.name, name) == healthy[name] and healthy[name].diverged_at is None
    poisoned = outcome(study.name, "A2B")
    series, weights = poisoned.series, poisoned.weights
    assert poisoned.diverged_at == step
    assert all(loss is None for at, loss in zip(series["step"], series["val_loss"], strict=True) if at > step)
    # It ends at the next validation, as it would alone.
    assert series["train_loss"][-1] is None and series["step"] == ([6] if step < 6 else [6, 12])
    base = outcome(study.name, "baseA").weights
    assert torch.equal(weights["conv1.weight"], base["conv1.weight"])  # frozen layers stay what they are


def test_a_network_that_runs_away_by_itself(roots: Path, packed: PackedImages) -> None:
    """A rate 10^30 times too high: its loss is soon no number; the neighbour learns as if alone."""
    fast = "A2B+1" + "0" * 30
    study = tiny_study(["baseA", "baseB", fast, "A2B+"])
    train(study)
    assert outcome(study.name, "A2B+").diverged_at is None
    diverged = outcome(study.name, fast).diverged_at
    assert diverged is not None and 0 < diverged <= 12
    alone = tiny_study(["baseA", "baseB", "A2B+"], name="alone")
    train(alone)
    assert outcome(alone.name, "A2B+") == outcome(study.name, "A2B+")


@pytest.mark.parametrize(("steps", "every"), [(24, 8), (12, 3)])
def test_a_diverged_network_is_the_same_in_a_fleet_and_alone(
    roots: Path, monkeypatch: pytest.MonkeyPatch, steps: int, every: int
) -> None:
    """It ends at its next validation, also where the fleet goes on, and where the fleet is killed later and resumed.

    With a validation every 3 steps, two of the networks end before all of their weights are NaN.
    """
    write_tiny(roots / "data" / "tiny", pixels=32)
    recipe = replace(RECIPE, steps=steps, validate_every=every, crop=28, rate=0.05)
    ends = {"A4B+1000": (3, every), "B6B+100": (5, 6 if every == 3 else 8), "A2B+10000": (3, every)}
    treated = [*ends, "A2B+", "B3B"]
    study = tiny_study([*BASES, *treated], recipe, small_caffenet(28, 0.1))
    outcomes: dict[str, dict[str, Outcome]] = {}
    for grouping, groups in {"fleet": [treated], "alone": [[name] for name in treated], "killed": [treated]}.items():
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(roots / grouping))
        train(study, groups=[["baseA"], ["baseB"]])
        if grouping == "killed":
            with killed_at(steps - 2):
                train(study, groups=groups)
        train(study, groups=groups)
        outcomes[grouping] = {name: outcome(study.name, name) for name in treated}
    for name, alone in outcomes["alone"].items():
        assert outcomes["fleet"][name] == alone and outcomes["killed"][name] == alone, name
        end = alone.result["steps"]
        assert (alone.diverged_at, end) == ends.get(name, (None, steps))
        assert alone.series["step"] == list(range(every, end + 1, every))
    digests = {alone.result["weights_sha256"] for alone in outcomes["alone"].values()}
    assert len(digests) == (3 if every == 8 else 5)  # of NaN alone, all are alike


def test_divergence_in_the_last_step_is_seen_in_the_validation(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training loss of the last step is still a number; what the step made of the weights is not."""
    rates = iter([*(RECIPE.rate_at(step) for step in range(11)), math.inf])
    original = fleet_module.set_rate
    monkeypatch.setattr(fleet_module, "set_rate", lambda optimiser, *_: original(optimiser, next(rates)))
    study = tiny_study(["baseA"])
    train(study)
    found = outcome(study.name, "baseA")
    series = found.series
    assert math.isfinite(series["train_loss"][-1]) and series["val_loss"][-1] is None
    assert found.diverged_at == 12
