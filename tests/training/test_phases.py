"""Fleets of networks under rules by word: what stands still, what thaws, alone and resumed to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from residual import residual_study
from tiny import RECIPE, tiny_study
from trained import PLAIN, train

from transferability.data.packed import PackedImages
from transferability.rules import WORDS, multiples
from transferability.training.fleet import FleetModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

RULED = [f"A2B+{word}" for word in WORDS]
NAMES = ["baseA", "A1B", "A2B+", *RULED]
LONG = replace(RECIPE, steps=24, validate_every=12)
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


def test_a_fleet_under_all_rules_is_its_networks_alone_and_resumed(roots: Path, packed: PackedImages) -> None:
    """One pass serves all rules. Killed and resumed within every phase (the chain's are four steps long)."""
    study = residual_study(NAMES, LONG)
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["baseA"], *([name] for name in NAMES[1:])])
    alike = set()
    for name in NAMES:
        alone = outcome("residual", name)
        assert alone == outcome("residual", name, roots / "together"), name
        alike.add(str(alone.series["train_loss"]))
    assert len(alike) == len(NAMES)

    (roots / "runs").rename(roots / "alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transferability.training.checkpoint.ASKED_EVERY", 1)
        for step in (2, 6, 10, 14, 18, 22):
            with killed_at(step):
                train(study, OFTEN, groups=[["baseA"]] if step == 2 else [["baseA"], NAMES[1:]])
        train(study, OFTEN, groups=[["baseA"], NAMES[1:]])
    for name in NAMES:
        assert outcome("residual", name) == outcome("residual", name, roots / "together"), name


@pytest.mark.parametrize("make", [tiny_study, residual_study])
def test_what_stands_still_keeps_its_bits_and_has_no_momentum(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    """Over each phase: weights and buffers of standing layers. A layer that thaws begins with its first gradient."""
    original = FleetModule.training_step
    seen: dict[str, set[tuple[float, ...]]] = {}

    def training_step(self: FleetModule, batch: Any, index: int) -> None:
        before = {place: self._state(place) for place in range(len(self.networks))}
        before = {place: {key: value.clone() for key, value in state.items()} for place, state in before.items()}
        momentum = {parameter: "momentum_buffer" in state for parameter, state in self.optimiser.state.items()}
        step = self.step
        original(self, batch, index)
        for place, network in enumerate(self.fleet.networks):
            word = network.treatment.word
            if not word:
                continue
            expected = multiples(word, 4, 2, step / 24, LONG)
            seen.setdefault(word, set()).add(expected)
            for layer, multiple in zip(self.networks[place].values(), expected, strict=True):  # type: ignore[operator]
                for key, value in self._state(place).items():
                    if not any(value is own for own in [*layer.parameters(), *layer.buffers()]):
                        continue
                    moved = not torch.equal(value, before[place][key])
                    is_parameter = isinstance(value, torch.nn.Parameter)
                    if not multiple:
                        assert not moved, (network.name, key, step)
                        assert value not in self.optimiser.state and value.grad is None
                    elif word == "chain" and layer in _first(self, place) and not is_parameter:
                        assert not moved, (network.name, key, step)  # statistics of copied norms
                    elif is_parameter and value.grad is not None:
                        state = self.optimiser.state[value]
                        if not momentum.get(value):  # thawed: nothing is left of before
                            decay = (
                                0.0 if value.ndim == 1 or (word == "sp" and layer in [*_first(self, place)]) else 5e-4
                            )
                            gradient = value.grad + decay * before[place][key]
                            torch.testing.assert_close(state["momentum_buffer"], gradient)

    monkeypatch.setattr(FleetModule, "training_step", training_step)
    train(make(["baseA", *RULED], LONG))
    assert {word: len(phases) for word, phases in seen.items()} == {
        "probe": 2,
        "chain": 6,
        "gradual": 3,
        "fall": 1,
        "sp": 1,
    }


def _first(module: FleetModule, place: int) -> list[torch.nn.Module]:
    return list(module.networks[place].values())[:2]  # type: ignore[operator]


def test_a_strong_pull_keeps_weights_where_they_were(roots: Path, packed: PackedImages) -> None:
    weak, strong = replace(LONG, pull=0.0), replace(LONG, pull=10.0)
    away = {}
    for recipe in (weak, strong):
        study = tiny_study(["baseA", "A2B+sp"], replace(recipe, rate=0.02), name=f"pull-{recipe.pull:g}")
        train(study)
        base, pulled = (outcome(study.name, name).weights for name in ("baseA", "A2B+sp"))
        away[recipe.pull] = float((base["conv2.weight"] - pulled["conv2.weight"]).norm())
    assert away[10.0] < 0.5 * away[0.0]
