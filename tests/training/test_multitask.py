"""Networks of two tasks that share their first layers: bases where nothing is shared, fleets, kills, processes."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import measured, outcome
from disturbed import killed_at
from residual import residual
from several import write_several
from test_train import train_again_in_processes
from tiny import RECIPE, TINY, full_name, write_tiny
from torch import Tensor
from trained import PLAIN, train

from transferability.data.packed import open_packed, write_packed
from transferability.files import Refused
from transferability.multitask import LabelHeads, Multitask
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.runs.paths import data_root, study_folder
from transferability.splits import pair, task_classes
from transferability.study import Study, fleets, network
from transferability.trained.network import load_network
from transferability.training.multitask import LabelHeadsModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

OFTEN = replace(PLAIN, checkpoint_minutes=0.0)
TOGETHER = Multitask(**asdict(RECIPE))
NAMES = ["A0B+@multitask", "A1B+@multitask", "B1A+@multitask", "A3B+@multitask", "B3A+@multitask"]


def multitask_study(
    names: Sequence[str], recipe: Multitask = TOGETHER, architecture: Architecture | Chain = TINY, data: str = "tiny"
) -> Study:
    """baseA and the like are trained by the plain recipe with the same fields."""
    plain = {field: getattr(recipe, field) for field in asdict(RECIPE)}
    networks = (network(full_name(name), recipe if "@" in name else replace(RECIPE, **plain)) for name in names)
    return Study("tiny", data, architecture, tuple(networks))


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which the study is trained, both networks of a pair at once."""
    write_tiny(module_roots / "data" / "tiny", classes=11)  # five classes and six
    train(multitask_study(["baseA", "baseB", *NAMES]))
    return module_roots


def test_without_shared_layers_they_are_bases(shared: Path) -> None:
    base, alone = (outcome("tiny", name) for name in ("baseB", "A0B+@multitask"))
    assert alone.file == base.file and alone.series == base.series


def test_shared_layers_are_the_same_and_the_others_are_not(shared: Path) -> None:
    for n in (1, 3):
        a, b = (outcome("tiny", name).weights for name in (f"B{n}A+@multitask", f"A{n}B+@multitask"))
        for name in a:
            layer = TINY.layer_names.index(name.partition(".")[0]) + 1
            same = a[name].shape == b[name].shape and torch.equal(a[name], b[name])
            assert same == (layer <= n), name
        assert len(a["fc4.bias"]) == 5 and len(b["fc4.bias"]) == 6


def test_a_pair_is_one_fleet() -> None:
    divided = fleets(multitask_study(NAMES).networks, 2)
    assert [[member.short_name for member in fleet.networks] for fleet in divided] == [
        ["A0B+@multitask", "B1A+@multitask"],
        ["A1B+@multitask"],
        ["B3A+@multitask", "A3B+@multitask"],
    ]


@pytest.mark.parametrize("name", ["A0B+@multitask", "A1B+@multitask", "B3A+@multitask"])
def test_a_fleet_is_its_networks_alone_and_after_a_kill(
    shared: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it is trained with a partner of which nothing is written."""
    together = outcome("tiny", name)
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    study = multitask_study(NAMES)
    with killed_at(9):
        train(study, OFTEN, [[name]])
    train(study, groups=[[name]])
    assert outcome("tiny", name) == together
    assert [path.name for path in (tmp_path / "tiny" / "random-0").iterdir()] == [name]


def test_the_images_of_the_other_task_count_only_where_layers_are_shared(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = open_packed(shared / "data" / "tiny")
    others = [label in task_classes(packed.classes, "random-0", "A") for label in packed.train.labels]
    images = packed.train.images.copy()
    images[others] = 255 - images[others]
    write_packed(tmp_path / "data" / "tiny", "tiny", packed.classes, replace(packed.train, images=images), packed.val)
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    names = ["A0B+@multitask", "A1B+@multitask"]
    train(multitask_study(names))
    same = [outcome("tiny", name).file == outcome("tiny", name, shared / "runs").file for name in names]
    assert same == [True, False]


def test_several_processes_agree_with_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = f"test_multitask:multitask_study({NAMES!r})"
    train_again_in_processes(shared, tmp_path, monkeypatch, made, [full_name(name) for name in NAMES])
    for name in NAMES:
        one, several = outcome("tiny", name, shared / "runs"), outcome("tiny", name)
        for key in ("val_images", "val_loss", "val_top1", "val_class_top1", "train_loss", "train_top1"):
            assert several.series[key] == pytest.approx(one.series[key], rel=1e-4), (name, key)
        for key, value in one.weights.items():
            assert float((several.weights[key] - value).norm()) <= 1e-4 * float(value.norm()), (name, key)


def test_what_is_written_is_judged_again_as_recorded(shared: Path) -> None:
    """With its own task's mean image, classes and chance."""
    study = multitask_study(["baseA", "baseB", *NAMES])
    for name in ("A3B+@multitask", "B3A+@multitask"):
        loaded = load_network(study, full_name(name), study_folder("tiny"), data_root())
        assert loaded.accuracy() == pytest.approx(loaded.result.val_top1)
        assert loaded.result.classes == {"A": 5, "B": 6}[loaded.result.target]


def test_networks_that_were_cut(roots: Path) -> None:
    """With norms, dropout and stochastic depth: a fleet, alone, and bases."""
    write_tiny(roots / "data" / "tiny")
    names = ["baseB", "A0B+@multitask", "A2B+@multitask", "B2A+@multitask"]
    study = multitask_study(names, architecture=chain(residual, RECIPE.crop))
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["A2B+@multitask"]])
    assert outcome("tiny", "A2B+@multitask") == outcome("tiny", "A2B+@multitask", roots / "together")
    base, alone = (outcome("tiny", name, roots / "together") for name in names[:2])
    assert alone.file == base.file and alone.series == base.series


def test_two_data_sets(roots: Path) -> None:
    """A pair of packed sets, each with all of its classes."""
    write_tiny(roots / "data" / "tiny", classes=3)
    write_tiny(roots / "data" / "other", classes=5, seed=1)
    names = ["baseB", "A0B+@multitask", "A2B+@multitask", "B2A+@multitask"]
    halves = multitask_study(names)
    networks = tuple(replace(member, split="tiny-other") for member in halves.networks)
    train(replace(halves, networks=networks, splits={"tiny-other": pair("tiny", "other")}))
    base, alone, b, a = (outcome("tiny", f"tiny-other/{name}") for name in names)
    assert alone.file == base.file and alone.series == base.series
    assert (a.result["classes"], b.result["classes"]) == (3, 5)
    assert torch.equal(a.weights["conv2.weight"], b.weights["conv2.weight"])


def test_images_of_several_labels(roots: Path) -> None:
    """Each task has some of the labels, and a network of its own for them."""
    write_several(roots / "data" / "several", classes=7)
    names = ["baseA", "B0A+@multitask", "A2B+@multitask", "B2A+@multitask"]
    study = multitask_study(names, replace(TOGETHER, loss="sigmoid"), data="several")
    train(study)
    base, alone, *_ = found = [outcome("tiny", name) for name in names]
    assert alone.file == base.file and alone.series == base.series
    assert [one.result["classes"] for one in found] == [3, 3, 4, 3]
    assert all(0 < one.result["val_map"] <= 1 for one in found)


HEADS = LabelHeads(**{**asdict(RECIPE), "loss": "sigmoid"})
OF_LABELS = ["B0B+@heads", "B2B+@heads", "B3B+@heads"]


@pytest.fixture(scope="module")
def of_labels(module_roots: Path) -> Path:
    """A folder in which heads for each label are trained, and the base; without dropout, which is each head's own."""
    write_several(module_roots / "data" / "several", classes=7)
    train(heads_study(["baseB", *OF_LABELS]))
    return module_roots


def heads_study(names: Sequence[str], recipe: LabelHeads = HEADS) -> Study:
    *others, (name, fc3), last = TINY.layers
    architecture = replace(TINY, layers=(*others, (name, replace(fc3, dropout=0.0)), last))  # type: ignore[arg-type]
    plain = replace(RECIPE, loss="sigmoid")
    networks = (network(full_name(name), recipe if "@" in name else plain) for name in names)
    return Study("heads", "several", architecture, tuple(networks))


def test_a_head_for_each_label_on_all_layers_but_the_last_is_the_base(of_labels: Path) -> None:
    """But for rounding; with fewer shared layers it is another network."""
    base, none, two, three = (measured(study_folder("heads"), name)["series"] for name in ["baseB", *OF_LABELS])
    for key in ("train_loss", "val_loss", "val_map"):
        assert three[key] == pytest.approx(base[key], rel=1e-4), key
        for other in (none, two):
            assert other[key][-1] != pytest.approx(base[key][-1], rel=1e-4), key
    assert none["train_loss"][-1] < none["train_loss"][0]


def test_without_shared_layers_each_label_is_learned_alone(
    of_labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another label's values change nothing in a head; where layers are shared they do."""
    scores: dict[tuple[str, bool], Tensor] = {}
    packed = open_packed(of_labels / "data" / "several")
    train_set = packed.train
    assert train_set.several is not None
    known = [c for c in range(7) if c in task_classes(packed.classes, "random-0", "B")]
    several = train_set.several.copy()
    rows = several[:, known[0]] == 1  # they are images of the task whatever else they show
    several[rows, known[1]] = 1 - several[rows, known[1]].clip(0)
    changed = replace(train_set, several=several)
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    original = LabelHeadsModule.forward

    for is_changed, images in ((False, train_set), (True, changed)):
        place = tmp_path / "data" / "several"
        shutil.rmtree(place, ignore_errors=True)
        write_packed(place, "several", packed.classes, images, packed.val)
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / str(is_changed)))

        def forward(self: LabelHeadsModule, batch: Any, lanes: Any = None, key: bool = is_changed) -> list[Tensor]:
            found = original(self, batch, lanes)
            for member, logits in zip(self.fleet.networks, found, strict=True):
                if not self.training:
                    scores[member.short_name, key] = logits.detach().clone()
            return found

        monkeypatch.setattr(LabelHeadsModule, "forward", forward)
        train(heads_study(OF_LABELS[:2]))
    for name, apart in (("B0B+@heads", True), ("B2B+@heads", False)):
        before, after = scores[name, False], scores[name, True]
        assert torch.equal(before[:, 0], after[:, 0]) == apart and not torch.equal(before[:, 1], after[:, 1])


def test_heads_alone_and_after_a_kill(of_labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = measured(study_folder("heads"), "B2B+@heads")
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    with killed_at(9):
        train(heads_study(OF_LABELS[1:2]), OFTEN)
    train(heads_study(OF_LABELS[1:2]))
    assert measured(study_folder("heads"), "B2B+@heads") == together


def test_heads_of_a_network_that_was_cut(of_labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    study = replace(heads_study(["B2B+@heads"]), architecture=chain(residual, RECIPE.crop))
    train(study)
    assert 0 < measured(study_folder("heads"), "B2B+@heads")["val_map"] <= 1
    with pytest.raises(Refused, match="is heads above layer 2, and no network"):
        load_network(study, full_name("B2B+@heads"), study_folder("heads"), data_root())


def test_heads_that_have_no_meaning_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A2B+@heads", "B2B@heads", "B4B+@heads", "baseB@heads"):
        with pytest.raises(Refused, match="a network for each label of one task; write BnB"):
            heads_study([name])
    for field, value in {"loss": "softmax", "clip": 1.0}.items():
        with pytest.raises(Refused, match=f"{field} is"):
            replace(HEADS, **{field: value})
    monkeypatch.setattr("transferability.multitask.MOST_HEADS", 3)
    with pytest.raises(Refused, match="4 labels are as many networks above layer 2, and 3 is the most"):
        HEADS.check(heads_study(["B2B+@heads"]).networks[0].treatment, 4, {"A": 3, "B": 4})


def test_what_diverges_takes_its_partner_along_and_nobody_else(roots: Path) -> None:
    write_tiny(roots / "data" / "tiny")
    names = ["A0B+@multitask", "A1B+@multitask", "B1A+@multitask"]
    train(multitask_study(names, replace(TOGETHER, rate=1e4)))
    steps = [outcome("tiny", name).diverged_at for name in names]
    assert steps[1] == steps[2] is not None


def test_what_has_no_meaning_is_refused() -> None:
    for name, why in {
        "A2B@multitask": "two tasks together; write A2B",
        "B2B+@multitask": "two tasks together",
        "baseB@multitask": "two tasks together",
        "A2B+0.1@multitask": "two tasks together",
        "A4B+@multitask": "4 layers cannot be shared, the network has 4",
        "whole/A2W+@multitask": "two tasks together",
    }.items():
        with pytest.raises(Refused, match=why.replace("+", r"\+")):
            multitask_study([name])
    for field, value in {"weight": 0.0, "stop": "inner", "clip": 1.0, "auc": True}.items():
        with pytest.raises(Refused, match=f"{field} is"):
            replace(TOGETHER, **{field: value})
