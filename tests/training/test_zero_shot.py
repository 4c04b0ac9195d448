"""Classes never seen: what the scores are, what is not read, fleets, kills, processes, and tables of classes."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import Outcome
from disturbed import killed_at
from project import PROJECT
from residual import residual
from test_train import train_again_in_processes
from tiny import RECIPE, TINY, full_name, task_of, write_tiny
from trained import PLAIN, train
from waiting import LIMIT

from transferability.classes import TABLES
from transferability.data.descriptions import read_descriptions
from transferability.data.packed import PackedImages, open_packed, write_packed
from transferability.data.tasks import Tasks
from transferability.files import Refused, read_json
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.results.collect import collect
from transferability.results.table import read_results
from transferability.runs.fit import refuse_unfit
from transferability.runs.paths import data_root, study_folder
from transferability.splits import pair
from transferability.study import Study, network
from transferability.training.trainer import quiet
from transferability.training.zero_shot import AttributeMap, EmbeddingMap
from transferability.zero_shot import ZeroShot

torch.set_num_threads(1)
quiet()

OFTEN = replace(PLAIN, checkpoint_minutes=0.0)
FIELDS: dict[str, Any] = {**asdict(RECIPE), "rate": 0.02, "table": "colours.csv"}
METHODS = {
    "attributes": ZeroShot(**FIELDS),
    "embedding": ZeroShot(**FIELDS, by="embedding"),
    "network": ZeroShot(**{**FIELDS, "loss": "ranking"}, by="embedding", hidden=(6,), class_hidden=(5, 4)),
}
NAMES = ["A1B@attributes", "A3B@attributes", "A0B@embedding", "A4B@embedding", "A2B@network"]


def zero_shot_study(
    names: Sequence[str], architecture: Architecture | Chain = TINY, methods: dict[str, ZeroShot] | None = None
) -> Study:
    chosen = methods or METHODS
    networks = (network(full_name(name), chosen.get(name.partition("@")[2], RECIPE)) for name in ["baseA", *names])
    return Study("tiny", "tiny", architecture, tuple(networks))


def write_colours(packed: PackedImages, file: Path, order: Sequence[int] = ()) -> None:
    """For each class whether the mean of its colour channels lies above the mean of all; and its number in bits.

    order: which row which class has.
    """
    means = [packed.train.images[packed.train.labels == c.index].mean((0, 1, 2)) for c in packed.classes]
    bright = (np.array(means) > np.mean(means, 0)).astype(int)
    rows = [[*bright[c.index], *(c.index >> bit & 1 for bit in range(4))] for c in packed.classes]
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [
                ["ID", "Name", "red", "green", "blue", "one", "two", "four", "eight"],
                *([c.id, c.name, *rows[order[c.index] if len(order) else c.index]] for c in packed.classes),
            ]
        )


def found(name: str, runs: Path | None = None) -> Outcome:
    """As `outcome`, of networks without a file of weights."""
    folder = study_folder("tiny").root if runs is None else runs / "tiny"
    result = read_json(folder / full_name(name) / "result.json")
    for key in ("study", "seconds", "images_per_second", "provenance"):
        del result[key]
    del result["series"]["seconds"]
    return Outcome(result, b"")


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which all methods are trained, in fleets; A has five classes and B six."""
    packed = write_tiny(module_roots / "data" / "tiny", classes=11, val=8)
    write_colours(packed, module_roots / "data" / "colours.csv")
    train(zero_shot_study(NAMES))
    return module_roots


def test_direct_attribute_prediction_is_equation_4() -> None:
    """Against the product written down: of p(a | x) / p(a) over the attributes that the seen classes do not share."""
    seen = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])  # the second and the third do not vary
    unseen = torch.tensor([[1.0, 1, 0, 1], [0, 0, 0, 0]])
    own = AttributeMap(3, seen, "me")
    units = torch.tensor([[0.3, -1.2]])
    (p, q), (pa, qa) = torch.sigmoid(units[0]).tolist(), (1 / 3, 2 / 3)
    expected = np.log([p / pa * q / qa, (1 - p) / (1 - pa) * (1 - q) / (1 - qa)])
    assert np.allclose(own.scores(units, unseen)[0], expected, atol=1e-6)


def test_an_embedding_counts_by_its_direction() -> None:
    own = EmbeddingMap(3, 4, METHODS["embedding"], "me")
    classes, units = torch.randn(5, 4), torch.randn(2, 4)
    assert torch.allclose(own.scores(units, classes), own.scores(units, 7 * classes), atol=1e-6)
    assert torch.allclose(own.scores(units, classes), units @ (classes / classes.norm(dim=1, keepdim=True)).T)


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_is_its_networks_alone_and_after_a_kill(
    shared: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    for part in ("random-0/baseA", "means"):
        shutil.copytree(shared / "runs" / "tiny" / part, tmp_path / "tiny" / part)
    study = zero_shot_study(NAMES)
    with killed_at(9):
        train(study, OFTEN, [[name]])
    train(study, groups=[[name]])
    assert found(name) == found(name, shared / "runs")


def test_what_is_measured(shared: Path) -> None:
    result = found("A1B@attributes").result
    assert result["classes"] == 6 and len(result["by_class"]) == 6 and next(iter(result["by_class"])).startswith("c0")
    counts = np.bincount(task_of(open_packed(shared / "data" / "tiny"), "random-0", "B").validation_images().labels)
    assert result["val_top1"] == pytest.approx(np.average(list(result["by_class"].values()), weights=counts))
    assert result["val_unseen"] <= result["val_class_top1"]  # among all classes no more is right than among some
    s, u = result["val_seen"], result["val_unseen"]
    assert result["val_harmonic"] == pytest.approx(2 * s * u / (s + u) if s + u else 0.0)
    study = zero_shot_study(NAMES)
    assert collect(study, study_folder("tiny")) == []
    rows = read_results(study_folder("tiny").results).set_index("network")
    assert rows.loc["A1B@attributes", "by_class"].split()[0].split("=")[0] == next(iter(result["by_class"]))
    assert rows.loc["baseA", "by_class"] == "" and np.isnan(rows.loc["baseA", "val_harmonic"])


def test_images_of_unseen_classes_are_not_read_in_training(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B's training images are noise, and dealt to B's classes at random: equal bits."""
    packed = open_packed(shared / "data" / "tiny")
    unseen = np.isin(packed.train.labels, task_of(packed, "random-0", "B").classes)
    images = packed.train.images.copy()
    images[unseen] = np.random.default_rng(3).integers(0, 256, images[unseen].shape)
    others = replace(packed.train, images=images)
    write_packed(tmp_path / "data" / "tiny", "tiny", packed.classes, others, packed.val)
    shutil.copy(shared / "data" / "colours.csv", tmp_path / "data")
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    train(zero_shot_study(NAMES))
    for name in NAMES:
        here, there = found(name).result, found(name, shared / "runs").result
        assert here.pop("record") != there.pop("record") and here == there, name


def test_what_the_table_says_of_unseen_classes_does_not_train(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With B's rows dealt to B's classes anew, training is the same, to the bit, and accuracies are others."""
    packed = open_packed(shared / "data" / "tiny")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to(packed.folder)
    order = np.arange(11)
    unseen = task_of(packed, "random-0", "B").classes
    order[unseen] = np.roll(unseen, 1)
    write_colours(packed, tmp_path / "data" / "colours.csv", order.tolist())
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    shutil.copytree(shared / "runs" / "tiny" / "random-0" / "baseA", tmp_path / "runs" / "tiny" / "random-0" / "baseA")
    train(zero_shot_study(NAMES))
    for name in NAMES:
        here, there = found(name), found(name, shared / "runs")
        for key in ("train_loss", "train_top1"):
            assert here.series[key] == there.series[key], name
        assert here.result["by_class"] != there.result["by_class"], name


def test_the_table_is_what_tells_unseen_classes(roots: Path) -> None:
    """A class's mean colour, learned of ten classes, tells ten others; with their colours dealt anew it does not."""
    packed = write_tiny(roots / "data" / "tiny", classes=20, train=10, val=10)
    means = np.array([packed.val.images[packed.val.labels == c.index].mean((0, 1, 2)) for c in packed.classes]) - 127
    course = {"steps": 60, "validate_every": 60, "optimiser": "adamw", "rate": 0.003, "decay": 0.0}
    methods = {"embedding": replace(METHODS["embedding"], **course)}
    right, dealt, unseen = [], np.arange(20), task_of(packed, "random-0", "B").classes
    dealt[unseen] = np.roll(unseen, 5)
    for order in (np.arange(20), dealt):
        lines = [",".join(map(str, [c.id, *means[order[c.index]]])) for c in packed.classes]
        (roots / "data" / "colours.csv").write_text("id,red,green,blue\n" + "\n".join(lines))
        shutil.rmtree(roots / "runs", ignore_errors=True)
        train(zero_shot_study(["A0B@embedding"], methods=methods), groups=[["A0B@embedding"]])
        right.append(found("A0B@embedding").result["val_top1"])
    assert right[0] > 0.5 and right[1] < 0.25, right


def test_several_processes_agree_with_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["A3B@attributes", "A2B@network"]
    made = f"test_zero_shot:zero_shot_study({names!r})"
    train_again_in_processes(shared, tmp_path, monkeypatch, made, [full_name(name) for name in ("baseA", *names)])
    for name in names:
        one, several = found(name, shared / "runs"), found(name)
        for key in ("val_images", "val_top1", "val_seen", "val_unseen", "val_loss", "train_loss", "train_top1"):
            assert several.series[key] == pytest.approx(one.series[key], rel=1e-3), (name, key)


def test_networks_that_were_cut(roots: Path) -> None:
    """With norms, dropout and stochastic depth: a fleet, and alone. Classes without a row are left out."""
    packed = write_tiny(roots / "data" / "tiny", classes=11)
    write_colours(packed, roots / "data" / "colours.csv")
    lines = (roots / "data" / "colours.csv").read_text().splitlines()
    left_out = task_of(packed, "random-0", "B").class_ids[0]
    (roots / "data" / "colours.csv").write_text("\n".join(line for line in lines if not line.startswith(left_out)))
    names = ["A1B@embedding", "A3B@embedding"]
    with pytest.raises(Refused, match=f"colours.csv says nothing of class '{left_out}'; add rows"):
        train(zero_shot_study(names, chain(residual, RECIPE.crop)))
    methods = {"embedding": replace(METHODS["embedding"], undescribed="left out")}
    study = zero_shot_study(names, chain(residual, RECIPE.crop), methods)
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["baseA"], *([name] for name in names)])
    for name in names:
        assert found(name) == found(name, roots / "together"), name
        assert len(found(name).result["by_class"]) == found(name).result["classes"] == 5


def test_tables_of_classes(tmp_path: Path) -> None:
    hypernyms = read_descriptions("tiny-imagenet-hypernyms", tmp_path)
    assert len(hypernyms.ids) == 200 and set(np.unique(hypernyms.values)) == {0.0, 1.0}
    said = dict(zip(hypernyms.columns, hypernyms.of(["n02129165"])[0], strict=True))  # the lion
    assert said["animal n00015388"] == said["feline n02120997"] == 1 and said["artifact n00021939"] == 0
    for text, why in {
        "id,a\nx,1\nx,0": "class 'x' stands there twice",
        "id,a\nx,": "a of class 'x' is ''; write a number",
        "id,a\nx,1e39": "a of class 'x' is '1e39'; write a number",  # no number of 32 bits
        "id,a\nx,nan": "a of class 'x' is 'nan'; write a number",
        "id,,\nx,1,0": "no columns beside the classes' ids",
        "id,name\nx,y": "no columns beside the classes' ids",
        "a\n1": "needs the columns id",
    }.items():
        (tmp_path / "own.csv").write_text(text)
        with pytest.raises(Refused, match=why):
            read_descriptions("own.csv", tmp_path)
    with pytest.raises(Refused, match="no such table of classes; write tiny-imagenet-hypernyms, or"):
        read_descriptions("none", tmp_path)


@pytest.mark.skipif(not Path("/usr/share/wordnet/data.noun").exists(), reason="WordNet is not installed")
def test_the_table_of_hypernyms_is_rebuilt_from_wordnet(tmp_path: Path) -> None:
    table = TABLES / "tiny_imagenet_hypernyms.csv"
    command = [sys.executable, str(PROJECT / "tools/make_class_tables.py"), "hypernyms", str(table)]
    subprocess.run([*command, str(tmp_path / "table.csv")], check=True, capture_output=True, timeout=LIMIT)
    assert (tmp_path / "table.csv").read_bytes() == table.read_bytes()


def test_what_has_no_meaning_is_refused(shared: Path) -> None:
    for name, why in {
        "A2B+": "trains no layer",
        "At2B": "reads the first ones; write A2B",
        "A2A": "has not seen; write A2B",
        "R2B": "has not seen",
    }.items():
        with pytest.raises(Refused, match=why):
            zero_shot_study([f"{name}@attributes"])
    for changes, why in (
        ({"by": "magic"}, "by is 'magic', not attributes or embedding"),
        ({"stop": "inner"}, "see images of their target"),
        ({"hidden": (3,)}, "attributes have a unit each"),
        ({"loss": "hinge"}, "attributes have a logistic loss each"),
        ({"label_smoothing": 0.1}, "attributes have a logistic loss each"),
        ({"by": "embedding", "class_hidden": 3}, "class_hidden is 3; write the units"),
        ({"table": Path("colours.csv")}, "write the name of a table"),
    ):
        with pytest.raises(Refused, match=why):
            replace(METHODS["attributes"], **changes)


@pytest.mark.parametrize(
    ("by", "number", "why"),
    [
        ("attributes", lambda c: c, "numbers other than 0 and 1"),
        ("attributes", lambda c: 1, "the seen classes are all alike"),
        ("embedding", lambda c: 0.5, "the seen classes are all alike"),
        ("embedding", lambda c: c, "class 'c000' has zeros alone, and embeddings count by their direction"),
    ],
)
def test_tables_of_which_nothing_can_be_learned_are_refused(
    shared: Path, by: str, number: Callable[[int], float], why: str
) -> None:
    file = shared / "data" / f"numbers-{by}-{number(3)}.csv"
    file.write_text("id,a\n" + "".join(f"c{c:03},{number(c)}\n" for c in range(11)))
    study = zero_shot_study(["A1B@own"], methods={"own": ZeroShot(**{**FIELDS, "table": file.name}, by=by)})
    with pytest.raises(Refused, match=why):
        refuse_unfit(study, study.networks, Tasks(study, data_root()))


def test_a_class_in_both_tasks_is_refused(shared: Path) -> None:
    """Two sets, or two domains of one, with the same classes."""
    (shared / "data" / "again").symlink_to("tiny")
    plain = zero_shot_study(["A1B@attributes"])
    networks = tuple(replace(member, split="one-two") for member in plain.networks)
    study = replace(plain, networks=networks, splits={"one-two": pair("tiny", "again")})
    with pytest.raises(Refused, match="class 'c000' is in both tasks"):
        train(study, groups=[["one-two/A1B@attributes"]])
