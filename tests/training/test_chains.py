"""Fleets of a network that was cut: batch norm, dropout and stochastic depth in the layers."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from project import HELPERS
from residual import residual, residual_study
from safetensors.torch import load_file
from test_train import train_in_processes
from tiny import RECIPE, grey, task_of
from torch import Tensor, nn
from torch.nn import functional as F
from trained import PLAIN, pending, train

from transferability.data.packed import PackedImages
from transferability.data.stream import ValidationBatches, task_sets
from transferability.data.tasks import Normalisation
from transferability.networks.addressed import AddressedDraws
from transferability.networks.cut import chain, cut, drawn_layers
from transferability.networks.norms import folded
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.study import Fleet
from transferability.trained.export import export
from transferability.trained.network import load_network
from transferability.training import forms
from transferability.training.fleet import FleetModule
from transferability.training.forms import PROBE_PAYS, choose_form, measure_forms
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

BASES = ["baseA", "baseB"]
TREATED = ["A1B", "A3B", "B2B", "A2B+", "A1Bp1", "R2B"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)
LONG = replace(RECIPE, steps=30, validate_every=25)

EXPERIMENT = """import sys
sys.path.insert(0, {helpers!r})
from dataclasses import replace
from residual import residual_study
from tiny import grey, RECIPE, task_of
study = residual_study({names!r}, replace(RECIPE, **{changes!r}), {options})
"""


def test_a_network_has_the_same_bits_alone_and_in_a_fleet(roots: Path, packed: PackedImages) -> None:
    study = residual_study(BASES + TREATED)
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["baseA"], ["baseB"], *([name] for name in TREATED)])
    for name in BASES + TREATED:
        assert outcome("residual", name) == outcome("residual", name, roots / "together"), name
    alike = {str(outcome("residual", name).series["train_loss"]) for name in BASES + TREATED}
    assert len(alike) == len(BASES + TREATED)


class Odd(nn.Module):
    """Layers with names that torch's own containers use, and two linear layers that share their weights."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.keys = nn.Conv2d(3, 8, 3)
        self.values, self.tied, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, classes)
        self.tied.weight = self.values.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.keys(x)).mean((2, 3))
        return self.head(F.relu(self.tied(F.relu(self.values(x)))))  # type: ignore[no-any-return]


def test_layers_with_names_of_methods_and_with_tied_weights(roots: Path, packed: PackedImages, tmp_path: Path) -> None:
    study = replace(residual_study([*BASES, "A2B", "A2B+"]), architecture=chain(Odd, RECIPE.crop))
    assert study.architecture.layer_names == ("keys", "values", "head")
    train(study)
    base, frozen, tuned = (outcome("residual", name).weights for name in ("baseA", "A2B", "A2B+"))
    assert base and frozen and tuned
    for weights in (base, frozen, tuned):
        assert torch.equal(weights["values.weight"], weights["tied.weight"])
    assert torch.equal(frozen["tied.weight"], base["tied.weight"])
    assert not torch.equal(tuned["tied.weight"], base["tied.weight"])
    file = tmp_path / "network.safetensors"
    export(load_network(study, "random-0/baseA", study_folder(study.name), data_root()), file)
    assert torch.equal(load_file(file)["tied.weight"], base["tied.weight"])


def test_frozen_layers_keep_their_buffers_and_trained_ones_move_them(roots: Path, packed: PackedImages) -> None:
    train(residual_study([*BASES, "A3B", "A3B+", "R2B"]))
    names = cut(chain(residual, 14)).templates
    base, frozen, tuned = (outcome("residual", name).weights for name in ("baseA", "A3B", "A3B+"))
    assert base.keys() == frozen.keys() == residual(2).state_dict().keys()
    below = [key for layer in names[:3] for key in layer.tensors()]
    assert any("running_var" in key for key in below)
    for key in below:
        assert torch.equal(frozen[key], base[key]), key
        assert not torch.equal(tuned[key], base[key]), key
    assert int(base["0.1.num_batches_tracked"]) == RECIPE.steps
    assert int(tuned["0.1.num_batches_tracked"]) == 2 * RECIPE.steps
    assert int(outcome("residual", "R2B").weights["0.1.num_batches_tracked"]) == 0


def test_it_is_what_plain_training_makes_of_the_whole_network(roots: Path, packed: PackedImages) -> None:
    """A base, beside a loop by hand over the network in one piece, without draws in it: the same bits."""
    study = residual_study(["baseA"], replace(RECIPE, mirror=False), p=0.0)
    module = FleetModule(study, Fleet(study.networks), 6, {}, grey("A"))
    network = residual(6, 0.0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.load_state_dict(module.weights(0))
    groups = [
        {"params": [value for key, value in network.named_parameters() if key.endswith("bias")], "lr": 0.1},
        {"params": [value for key, value in network.named_parameters() if value.ndim == 1 and key[-4:] != "bias"]},
        {"params": [value for value in network.parameters() if value.ndim > 1], "weight_decay": 5e-4},
    ]
    optimiser = torch.optim.SGD(groups, lr=0.05, momentum=0.9, fused=True)
    images, _ = task_sets(task_of(packed, "random-0", "A"), study.networks[0])
    module.optimiser.param_groups[0]["lr"] = 0.0
    for batch in list(ValidationBatches(images, 14))[:1] * 4:
        for group in module.optimiser.param_groups:
            group["lr"] = 0.05 * group["multiple"]
        module.train()
        module.optimiser.zero_grad()
        module.losses(batch)[0].sum().backward()
        module.optimiser.step()
        optimiser.zero_grad()
        F.cross_entropy(network.train()(module.normalised(batch, "A")), batch.labels).backward()
        optimiser.step()
    state = network.state_dict()
    for key, value in module.weights(0).items():
        assert torch.equal(value, state[key]), key


def test_killed_and_resumed_it_ends_with_the_same_bits(roots: Path, packed: PackedImages) -> None:
    study = residual_study(["baseA", "A1A+", "A2A"], LONG)
    train(study)
    (roots / "runs").rename(roots / "undisturbed")
    for step in (10, 22):
        with killed_at(step):
            train(study, OFTEN)
    train(study, OFTEN)
    assert pending(study) == []
    for name in ("baseA", "A1A+", "A2A"):
        assert outcome("residual", name) == outcome("residual", name, roots / "undisturbed"), name


def test_several_processes_share_the_statistics_of_the_global_batch(roots: Path, packed: PackedImages) -> None:
    """In 2 processes, to the tolerance that `Machine` states; frozen layers to the bit, buffers included."""
    names, changes = ["baseA", "A1A", "A2A+"], {"steps": 10, "validate_every": 5, "rate": 0.02}
    train(residual_study(names, replace(RECIPE, **changes), name="tiny"))  # type: ignore[arg-type]
    (roots / "runs").rename(roots / "one")
    file = roots / "study.py"
    file.write_text(EXPERIMENT.format(helpers=str(HELPERS), names=names, changes=changes, options="name='tiny'"))
    train_in_processes(roots, file, *names)
    base = outcome("tiny", "baseA").weights
    for name in names:
        one, several = outcome("tiny", name, roots / "one"), outcome("tiny", name)
        for key in ("train_loss", "val_loss"):
            assert several.series[key] == pytest.approx(one.series[key], rel=1e-5), (name, key)
        weights = several.weights
        for key, value in one.weights.items():
            away = float((weights[key].double() - value.double()).norm())
            assert away <= 1e-5 * float(value.double().norm()) + 1e-7, (name, key)
    for key in cut(chain(residual, 14)).templates[0].tensors():
        assert torch.equal(outcome("tiny", "A1A").weights[key], base[key])


def test_frozen_norms_with_the_targets_statistics(roots: Path, packed: PackedImages) -> None:
    """Each norm's are the mean and variance, over all training images of the target, of what comes out below it."""
    recipe = replace(RECIPE, frozen_norms="target")
    study = residual_study([*BASES, "A3B"], recipe)
    train(study)
    weights, base = outcome("residual", "A3B").weights, outcome("residual", "baseA").weights
    layers = drawn_layers(chain(residual, 14), 6, "any")
    images, _ = task_sets(task_of(packed, "random-0", "B"), study.by_name["random-0/A3B/seed-0"])
    means = {task: _mean(study_folder("residual").mean(f"random-0-{task}", 16)) for task in "AB"}
    inputs = {task: Normalisation(mean, recipe.scale) for task, mean in means.items()}
    module = FleetModule(study, Fleet((study.by_name["random-0/A3B/seed-0"],)), 6, {"A": base}, inputs)
    (batch,) = ValidationBatches(images, 14)
    x = module.normalised(batch, "A")
    for layer in layers[:3]:
        with torch.no_grad():
            for key, value in layer.tensors().items():
                value.copy_(base[key])
                if "running" not in key and "tracked" not in key:
                    assert torch.equal(weights[key], base[key]), key
            # In training a norm uses these statistics (the variance biased), and with momentum 1 it keeps them.
            for norm in (part for part in layer.modules() if isinstance(part, torch.nn.BatchNorm2d)):
                norm.momentum = 1.0
            layer.train()
            for part in layer.modules():
                if isinstance(part, torch.nn.Dropout) or type(part).__name__ == "StochasticDepth":
                    part.eval()
            x = layer(x)
        for key, value in layer.tensors().items():
            if "running" in key:
                torch.testing.assert_close(weights[key], value, rtol=2e-3, atol=1e-4)
                assert not torch.equal(weights[key], base[key])


def _mean(path: Path) -> object:
    import numpy as np

    with np.load(path) as stored:
        return np.asarray(stored["mean"])


def test_folded_prefixes_agree_with_plain_ones(roots: Path, packed: PackedImages) -> None:
    """In the study's folder nothing differs: the frozen layers are the source's, losses agree to 1e-4."""
    names = [*BASES, "A3B", "A1B"]
    train(residual_study(names))
    (roots / "runs").rename(roots / "plain")
    train(residual_study(names), Machine("cpu", keep_weights=True, form="folded"))
    base = outcome("residual", "baseA").weights
    for name in names:
        plain, fast = outcome("residual", name, roots / "plain"), outcome("residual", name)
        assert fast.series["train_loss"] == pytest.approx(plain.series["train_loss"], rel=1e-4), name
    for key in (key for layer in cut(chain(residual, 14)).templates[:3] for key in layer.tensors()):
        assert torch.equal(outcome("residual", "A3B").weights[key], base[key])

    layer = drawn_layers(chain(residual, 14), 6, "fold")[1]
    layer.frozen = True
    x = torch.randn(4, 8, 14, 14, generator=torch.Generator().manual_seed(0))
    fast_layer = folded(layer.eval())
    assert not [part for part in fast_layer.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(fast_layer.eval()(x), layer(x))
        rows = torch.arange(4)
        with AddressedDraws(rows, "a"):
            expected = layer.train()(x)
        with AddressedDraws(rows, "a"):
            torch.testing.assert_close(fast_layer.train()(x), expected)


def test_a_gpu_tries_the_folded_form(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on a CPU in the GPU's place: both forms run and agree. Which one is faster is not tested."""
    study = residual_study([*BASES, "A3B", "A1B"], replace(RECIPE, steps=PROBE_PAYS))
    on_cpu = partial(measure_forms, device=torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(forms, "measure_forms", lambda probe, data, device: on_cpu(probe, data))
    fleet = Fleet(study.networks[2:])
    choice = choose_form(study, fleet, 6, data_root(), replace(PLAIN, accelerator="gpu", form="auto"), None)
    assert list(choice.tried) == ["plain", "folded"] and all(isinstance(ms, float) for ms in choice.tried.values())
