"""Two domains of one packed set: the source's network as it is, and networks whose last layers are copied."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from domains import METHODS, SPLIT, domain_study, named, write_domains
from residual import residual
from tiny import RECIPE, TINY, tiny_study, write_tiny
from trained import PLAIN, pending, train

from transferability.data.tasks import Tasks
from transferability.files import Refused
from transferability.networks.cut import chain
from transferability.published import Published
from transferability.results.collect import collect
from transferability.results.table import read_results
from transferability.runs.fit import refuse_unfit
from transferability.runs.paths import data_root, study_folder
from transferability.splits import pair
from transferability.study import Study, grid, network
from transferability.trained.network import load_network
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

BASES = ["baseA", "baseB"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


@pytest.fixture(scope="module")
def domain_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domains(tmp_path_factory.mktemp("packed") / "tiny").folder


@pytest.fixture
def photos(roots: Path, domain_set: Path) -> Path:
    """The set of two domains, in this test's data folder."""
    return Path(shutil.copytree(domain_set, roots / "data" / "tiny"))


def test_the_sources_network_is_judged_on_the_target_as_it_is(photos: Path, roots: Path) -> None:
    study = domain_study([*BASES, "A4B", "A3B"])
    fleets = [[network.short_name for network in fleet.networks] for fleet in pending(study)]
    assert fleets == [["baseA"], ["baseB"], ["A3B"], ["A4B"]]  # nothing that is trained waits for it
    train(study)
    judged, base = outcome("tiny", named("A4B")), outcome("tiny", named("baseA"))
    assert judged.file == base.file
    assert (judged.result["steps"], judged.result["training_images"], judged.series["step"]) == (0, 0, [0])
    assert (judged.result["kind"], judged.result["n"], judged.result["train_loss"]) == ("transfer", 4, None)
    # Its accuracy is that of the weights on the target's images, prepared as the source's.
    network = load_network(study, named("A4B"), study_folder("tiny"), data_root())
    assert network.accuracy() == judged.result["val_top1"]
    assert judged.result["val_images"] == 4 * 5
    source = load_network(study, named("baseA"), study_folder("tiny"), data_root())
    assert torch.equal(torch.from_numpy(network.preprocessing.mean), torch.from_numpy(source.preprocessing.mean))
    assert collect(study, study_folder("tiny")) == []
    table = read_results(study_folder("tiny").results).set_index("network")
    assert table.loc["A4B", "val_top1"] == judged.result["val_top1"]
    assert table.loc["A4B", "validations"] == 0


def test_a_network_that_is_judged_once_is_judged_once(photos: Path, roots: Path) -> None:
    study = domain_study(["baseA", "A4B"])
    train(study)
    before = outcome("tiny", named("A4B"))
    shutil.rmtree(study_folder("tiny").network(named("A4B")))
    train(study)
    assert outcome("tiny", named("A4B")) == before


@pytest.mark.parametrize("short", ["At1B", "At3B", "Bt2B"])
def test_last_layers_that_are_copied_stay_as_they_were(photos: Path, roots: Path, short: str) -> None:
    """Norms with statistics included, in a network that was cut."""
    study = domain_study([*BASES, short], RECIPE, chain(residual, RECIPE.crop))
    train(study)
    source, top = outcome("tiny", named(f"base{short[0]}")).weights, outcome("tiny", named(short)).weights
    copied = range(4 - int(short[2]), 4)
    for key, value in source.items():
        is_copied = int(key.partition(".")[0]) in copied
        assert torch.equal(top[key], value) == (is_copied or key.endswith("num_batches_tracked")), key
    series = outcome("tiny", named(short)).series
    assert series["train_loss"][-1] < series["train_loss"][0]  # the gradient came through


def test_top_copied_networks_alone_in_a_fleet_and_after_a_kill(photos: Path, roots: Path) -> None:
    names = ["At1B", "At3B", "Bt2B", "A2B", "A1B+"]
    study = domain_study([*BASES, *names])
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[[named("baseA")], [named("baseB")]])
    with killed_at(8):
        train(study, OFTEN, [[named("At3B")]])
    train(study, groups=[[named(name)] for name in names])
    for name in names:
        assert outcome("tiny", named(name)) == outcome("tiny", named(name), roots / "together"), name


def test_both_are_refused_where_classes_differ() -> None:
    for short, why in {
        "A4B": "all 4 layers are frozen, nothing is left to train; the source's network is judged",
        "At2B": "the last layers of one task fit another only where A and B share classes",
        "Bt2B": "the last layers of one task",
    }.items():
        with pytest.raises(Refused, match=f"{short}: {why}"):
            tiny_study(["baseA", "baseB", short])
    for short, why in {
        "B4B": "all 4 layers are frozen, nothing is left",
        "At4B": "all 4 layers are frozen, nothing is left",
        "At5B": "5 layers cannot be copied",
        "A4B@3": "nothing is trained, so it takes no images per class",
    }.items():
        with pytest.raises(Refused, match=why):
            domain_study(["baseA", "baseB", "baseB@3", short])
    with pytest.raises(Refused, match="steps is 0; it has to be more than 0 to train photo-sketch/baseA"):
        domain_study(["baseA"], replace(RECIPE, steps=0))


@pytest.mark.parametrize("bases", [("baseA",), ("baseA", "baseB")])
def test_the_last_layer_of_a_base_for_other_classes_is_refused(photos: Path, bases: tuple[str, ...]) -> None:
    """Published for six classes, and there are four."""
    published = Published("base.safetensors", mean=(123, 117, 104), std=(1, 1, 1), classes=6)
    for name, why in {
        "At2B": "has 6 outputs, and there are 4 classes$",
        "A3B+@adda": "has 6 outputs, and there are 4 classes$",
        "A3B+@dann": "there are 4 classes; start='body' draws it afresh",
        "A4B": "has 6 outputs" if len(bases) == 2 else "A has 6 classes and B has 4",
    }.items():
        study = domain_study([*bases, name], methods=METHODS)
        networks = tuple(replace(n, recipe=published) if n.treatment.kind == "base" else n for n in study.networks)
        study = replace(study, networks=networks)
        with pytest.raises(Refused, match=why):
            refuse_unfit(study, study.networks, Tasks(study, data_root()))


def test_a_grid_has_both_for_either_direction() -> None:
    networks = grid(RECIPE, 4, [SPLIT], kinds=("A8B", "AtnB", "BtnB"), cuts=(1, 3))
    names = [network.short_name for network in networks]
    assert names == ["B4A", "Bt1A", "Bt3A", "At1A", "At3A", "A4B", "At1B", "At3B", "Bt1B", "Bt3B"]


def test_two_packed_sets_are_two_domains_where_their_classes_are_the_same(roots: Path) -> None:
    def pair_study(*names: str) -> Study:
        networks = (network(f"tiny-other/{name}/seed-0", METHODS.get(name.partition("@")[2], RECIPE)) for name in names)
        return Study("tiny", "tiny", TINY, tuple(networks), {"tiny-other": pair("tiny", "other")})

    sets = [
        write_tiny(roots / "data" / name, classes=4, train=8, seed=seed) for seed, name in enumerate(("tiny", "other"))
    ]
    names = ("A4B", "A2B+@scratch", "A2B@aligned")
    train(pair_study("baseA", *names))
    found = {name: outcome("tiny", f"tiny-other/{name}/seed-0").result for name in names[:2]}
    record = found["A2B+@scratch"]["record"]  # which copies from nothing, and says what it was trained on
    assert (record["labelled"]["data"], record["data"]) == (sets[0].checksum, sets[1].checksum)
    assert found["A4B"]["val_images"] == len(sets[1].val.labels)
    assert collect(pair_study("baseA", *names), study_folder("tiny")) == []

    shutil.rmtree(roots / "data" / "other")
    write_tiny(roots / "data" / "other", classes=6, train=8)
    for name in ("A3B+@scratch", "At2B"):
        with pytest.raises(Refused, match=r"class 'c004' is in one of .*tiny and .*other alone"):
            train(pair_study("baseA", name), groups=[[f"tiny-other/{name}/seed-0"]])
