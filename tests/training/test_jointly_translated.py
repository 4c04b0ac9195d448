"""Domains made alike at layer n and in decoded images: the losses, fleets, kills, pictures, and what is not seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import outcome
from disturbed import killed_at
from domains import FIELDS, domain_study, named, scramble_sketches, write_domains
from test_train import train_again_in_processes
from tiny import RECIPE, TINY
from torch import Tensor
from trained import PLAIN, train

from transferability.adversarial import Adversarial
from transferability.data.stream import Batch
from transferability.files import Refused
from transferability.jointly_translated import WEIGHTS, JointlyTranslated
from transferability.plots import translated
from transferability.runs.paths import data_root, study_folder
from transferability.study import Study
from transferability.trained.network import load_network
from transferability.training.cost import operations
from transferability.training.jointly_translated import DECODERS, JointlyTranslatedModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

JOINT = JointlyTranslated(**FIELDS, hidden=(6,), width=2)
NAMES = ["A1B+@joint", "A3B+@joint"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


def joint_study(*names: str) -> Study:
    return domain_study(list(names), RECIPE, methods={"joint": JOINT})


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which both are trained, in one fleet."""
    write_domains(module_roots / "data" / "tiny")
    train(joint_study(*NAMES))
    return module_roots


def plain_losses(module: JointlyTranslatedModule, x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """(): what the network and its decoders learn by, and what the critics do: equations 2 and 4 to 6, one by one.

    x: (2 h, 3, c, c), the images as the network sees them, of which none is mirrored.
    """
    (layers,), recipe, half = module.networks, module.recipe, len(x) // 2
    decoders: Any = layers[DECODERS]  # type: ignore[index]
    images = batch.pixels.float() / 127.5 - 1
    shift = x - recipe.scale * 127.5 * (images + 1)  # minus the mean image

    def encoded(some: Tensor, rows: slice) -> Tensor:
        seen = recipe.scale * 127.5 * (some + 1) + shift[rows]
        return layers["conv1"](seen)  # type: ignore[index, no-any-return]

    def classified(features: Tensor) -> Tensor:
        x = layers["conv2"](features)  # type: ignore[index]
        return layers["fc4"](layers["fc3"](x))  # type: ignore[index, no-any-return]

    a, b = slice(half), slice(half, None)
    of_a, of_b = (decoders(encoded(images[part], part)) for part in (a, b))
    a_as_b, b_as_a = decoders.look_b(of_a), decoders.look_a(of_b)
    rebuilt = F.l1_loss(decoders.look_a(of_a), images[a]) + F.l1_loss(decoders.look_b(of_b), images[b])
    again_a, again_b = encoded(a_as_b, a), encoded(b_as_a, b)
    cycle = F.l1_loss(decoders.look_a(decoders(again_a)), images[a])
    cycle = cycle + F.l1_loss(decoders.look_b(decoders(again_b)), images[b])
    misled = ((decoders.critic_b(a_as_b) - 1) ** 2).mean() + ((decoders.critic_a(b_as_a) - 1) ** 2).mean()
    labelled = F.cross_entropy(classified(again_a), batch.labels[a])
    told = [
        (((critic(real) - 1) ** 2).mean() + (critic(made.detach()) ** 2).mean()) / 2
        for critic, real, made in ((decoders.critic_b, images[b], a_as_b), (decoders.critic_a, images[a], b_as_a))
    ]
    weighted = recipe.rebuilding * rebuilt + recipe.cycle * cycle + recipe.misleading * misled
    return weighted + recipe.translated_labels * labelled, told[0] + told[1]


def test_the_losses_are_the_papers(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part's gradient, against the equations one by one; critics have no part in that of the others."""
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    recipe = replace(JOINT, mirror=False, rebuilding=0.7, cycle=0.5, misleading=0.3, translated_labels=0.9)
    seen = []
    original = JointlyTranslatedModule.beside_labels

    def beside_labels(self: JointlyTranslatedModule, index: int, features: Tensor, batch: Batch) -> Tensor:
        self.eval()  # without dropout
        x = self._inputs(batch)
        loss = original(self, index, self._through(index, slice(1), x, batch.rows), batch)
        assert loss.item() == 0
        parts = dict(self.networks[index].named_parameters())
        critics = [name for name in parts if ".critic_" in name]
        for expected, names in zip(
            plain_losses(self, x, batch), ([*(parts.keys() - {*critics})], critics), strict=True
        ):
            chosen = [parts[name] for name in sorted(names) if "domain classifier" not in name]
            wanted = torch.autograd.grad(expected, chosen, retain_graph=True)
            for found, gradient in zip(torch.autograd.grad(loss, chosen, retain_graph=True), wanted, strict=True):
                assert gradient.norm() > 0 or gradient.ndim == 1
                assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-5)
        seen.append(self.step)
        self.train()
        return original(self, index, features, batch)

    monkeypatch.setattr(JointlyTranslatedModule, "beside_labels", beside_labels)
    with killed_at(2):
        train(domain_study(["A1B+@joint"], RECIPE, methods={"joint": recipe}))
    assert seen == [0, 1]


def test_without_the_images_losses_it_is_dann(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under one name, whose draws are the same."""
    bare = replace(JOINT, **dict.fromkeys(WEIGHTS, 0.0))
    dann = Adversarial(**FIELDS, hidden=JOINT.hidden, start="fresh")
    found = []
    for place, recipe in enumerate((bare, dann)):
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / str(place)))
        train(domain_study(["A1B+@joint"], RECIPE, methods={"joint": recipe}))
        found.append(outcome("tiny", named("A1B+@joint")))
    assert found[0].file == found[1].file and found[0].series == found[1].series
    assert found[0].file != outcome("tiny", named("A1B+@joint"), shared / "runs").file


@pytest.mark.parametrize("name", NAMES)
def test_alone_and_after_a_kill(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In a fleet of two, at a layer of maps and at one of numbers; decoders and critics come back."""
    together = outcome("tiny", named(name))
    shown = study_folder("tiny").pictures(named(name)).read_bytes()
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    with killed_at(9):
        train(joint_study(name), OFTEN)
    train(joint_study(name))
    assert outcome("tiny", named(name)) == together
    assert study_folder("tiny").pictures(named(name)).read_bytes() == shown


def test_labels_of_the_target_are_not_seen(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sketches dealt to the classes at random, in another order: equal bits."""
    scramble_sketches(tmp_path, monkeypatch)
    train(joint_study(*NAMES))
    for name in NAMES:
        scrambled, seen = outcome("tiny", named(name)), outcome("tiny", named(name), shared / "runs")
        assert scrambled.file == seen.file and scrambled.series == seen.series, name
        assert scrambled.result["record"] != seen.result["record"]  # it is another packed set


@pytest.mark.torture
def test_several_processes_agree_with_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = f"test_jointly_translated:joint_study({NAMES[0]!r})"
    train_again_in_processes(shared, tmp_path, monkeypatch, made, [named(NAMES[0])])
    one, several = outcome("tiny", named(NAMES[0]), shared / "runs"), outcome("tiny", named(NAMES[0]))
    for key in ("val_images", "val_loss", "train_loss", "domain_loss"):
        assert several.series[key] == pytest.approx(one.series[key], rel=1e-3), key


def test_what_is_judged_is_a_network_like_others_and_its_pictures_are_kept(shared: Path) -> None:
    name = named(NAMES[0])
    network = load_network(joint_study(*NAMES), name, study_folder("tiny"), data_root())
    assert network.accuracy() == outcome("tiny", name).result["val_top1"]
    assert {key.partition(".")[0] for key in outcome("tiny", name).weights} == {*TINY.layer_names}
    shown = translated.read_pictures(study_folder("tiny"), name)
    assert {key: images.shape for key, images in shown.items()} == {
        **dict.fromkeys(("before", "after", "back"), (4, 14, 14, 3)),
        "target": (10, 14, 14, 3),
    }
    other = translated.read_pictures(study_folder("tiny"), named(NAMES[1]))
    assert np.array_equal(shown["before"], other["before"]) and not np.array_equal(shown["after"], other["after"])


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(Refused, match="copies nothing"):
        joint_study("A0B+@joint")
    for field, value, why in (
        ("cycle", -1.0, "cycle is -1.0"),
        ("width", 0, "width is 0"),
        ("crop", 13, "write an even crop of at least 8"),
        ("crop", 6, "write an even crop of at least 8"),
        ("colour", 0.1, "no colour"),
    ):
        with pytest.raises(Refused, match=why):
            replace(JOINT, **{field: value})


def test_what_it_costs_is_the_images_and_their_translations() -> None:
    study = domain_study(
        ["A1B+@joint", "A1B+@dann"], RECIPE, methods={"joint": JOINT, "dann": Adversarial(**FIELDS, start="fresh")}
    )
    joint, dann = (operations(study, network, 4)[1] for network in study.networks if network.variant)
    decoding = JOINT.decoder_operations((8, 7, 7))
    assert dann + 18 * decoding < joint < 2.5 * dann + 18 * decoding
    assert JOINT.decoder_operations((8, 7, 7)) != JOINT.decoder_operations((16,))
