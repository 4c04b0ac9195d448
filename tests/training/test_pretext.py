"""Bases trained without labels: what they see, what copies from them, kills, processes, and what is not seen."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from domains import DOMAINS, SPLIT, named, scramble_sketches, write_domains
from tiny import RECIPE, TINY, tiny_study
from trained import PLAIN, train

from transferability.data.stream import TaskImages, TrainingBatches, ValidationBatches
from transferability.data.tasks import Tasks
from transferability.data.turned import TurnedBatches
from transferability.files import Refused
from transferability.pretext import Pretext
from transferability.recipe import Recipe
from transferability.results.collect import collect
from transferability.results.statistics import networks
from transferability.results.table import read_results
from transferability.runs.paths import data_root, study_folder
from transferability.splits import domains
from transferability.study import Network, Study, fleets
from transferability.trained.network import load_network
from transferability.training.trainer import quiet
from transferability.treatment import parse

torch.set_num_threads(1)
quiet()

FIELDS = {**asdict(RECIPE), "rate": 0.02}
PRETEXTS: dict[str, Recipe] = {
    "rotation": Pretext(**FIELDS),
    "exemplar": Pretext(**{**FIELDS, "crops": "resized", "colour": 0.4}, surrogate="exemplar", exemplars=10),
}
NAMES = ("baseB", "A2B", "baseB@rotation", "baseB@exemplar", "A2B@rotation", "A2B+@rotation", "A2B@exemplar")
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


def pretext_study(*names: str) -> Study:
    """baseA in three ways, and networks whose variants say from which of them they copy."""
    networks = []
    for short in ("baseA", "baseA@rotation", "baseA@exemplar", *names):
        text, _, variant = short.partition("@")
        is_base = text.startswith("base")
        recipe = PRETEXTS[variant] if is_base and variant else RECIPE
        source = "" if is_base else variant
        networks.append(Network(SPLIT, parse(text), recipe, variant=variant, source_variant=source))
    return Study("tiny", "tiny", TINY, tuple(networks), {SPLIT: domains(*DOMAINS)})


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which the study is trained, in fleets."""
    write_domains(module_roots / "data" / "tiny")
    train(pretext_study(*NAMES))
    return module_roots


def test_an_image_is_shown_in_four_turns_and_mirrored_as_it_is_turned() -> None:
    """What is seen of a mirrored image, turned k times to the left, is the mirror image turned k times to the left."""
    draw = np.random.default_rng(0)
    images = TaskImages(draw.integers(0, 256, (20, 6, 6, 3), np.uint8), np.arange(20), np.full(20, -1))
    recipe = replace(RECIPE, crop=5, batch=4)
    plain = TrainingBatches(images, recipe, "owner", 0, 3)
    for seen, batch in zip(TurnedBatches(plain, 4), plain, strict=True):
        assert batch.mirror.any() and not batch.mirror.all()
        assert seen.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
        assert seen.rows.tolist() == list(range(16))
        for row, turns in enumerate(seen.labels.tolist()):
            crop = batch.pixels[row % 4]
            expected = torch.rot90(crop.flip(2) if batch.mirror[row % 4] else crop, turns, (1, 2))
            shown = seen.pixels[row].flip(2) if seen.mirror[row] else seen.pixels[row]
            assert torch.equal(shown, expected)
    halves = [TurnedBatches(replace(plain, rank=rank, world=2), 4)[0] for rank in (0, 1)]
    whole, order = TurnedBatches(plain, 4)[0], torch.cat([half.rows for half in halves])
    for part, of_halves in zip(whole, zip(*halves, strict=True), strict=True):  # of two processes
        assert torch.equal(part[order], torch.cat(of_halves))
    judged = list(TurnedBatches(ValidationBatches(images, 5), 20))
    assert sum(len(batch.labels) for batch in judged) == 4 * 20  # each image once in each turn


def test_a_base_without_labels_and_what_copies_from_it(shared: Path) -> None:
    made = outcome("tiny", named("baseA@rotation"))
    assert (made.result["classes"], made.result["chance"], made.result["val_images"]) == (4, 0.25, 4 * 4 * 5)
    assert made.result["training_images"] == 4 * 8 and made.result["record"]["recipe"]["method"] == "Pretext"
    exemplars = outcome("tiny", named("baseA@exemplar")).result
    assert (exemplars["classes"], exemplars["val_images"], exemplars["training_images"]) == (10, 10, 10)
    sources = {name: outcome("tiny", named(name)).weights for name in ("baseA", "baseA@rotation", "baseA@exemplar")}
    for variant in ("", "@rotation", "@exemplar"):
        weights = outcome("tiny", named(f"A2B{variant}")).weights
        for key, value in sources[f"baseA{variant}"].items():
            assert torch.equal(weights[key], value) == key.startswith("conv"), (variant, key)
    record = outcome("tiny", named("A2B@rotation")).result["record"]
    assert record["source"] == made.result["record"]


def test_networks_that_copy_from_different_bases_are_different_fleets() -> None:
    divided = [[network.short_name for network in fleet.networks] for fleet in fleets(pretext_study(*NAMES).networks)]
    assert [group for group in divided if group[0][0] == "A"] == [
        ["A2B"],
        ["A2B@exemplar"],
        ["A2B@rotation", "A2B+@rotation"],
    ]


def test_each_alone_and_after_a_kill(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    study, names = pretext_study(*NAMES), ("baseA@rotation", "baseA@exemplar", "A2B@rotation")
    for name in names:
        with killed_at(9):
            train(study, OFTEN, [[named(name)]])
        train(study, groups=[[named(name)]])
    for name in (*names,):
        assert outcome("tiny", named(name)) == outcome("tiny", named(name), shared / "runs"), name


def test_no_label_is_seen(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sketches dealt to the classes at random, in another order: equal bits without labels, others with."""
    scramble_sketches(tmp_path, monkeypatch)
    names = ("baseB@rotation", "baseB@exemplar", "baseB")
    train(pretext_study(*names), groups=[[named(name)] for name in names])
    for name in names:
        scrambled, seen = outcome("tiny", named(name)), outcome("tiny", named(name), shared / "runs")
        assert (scrambled.file == seen.file) == (scrambled.series == seen.series) == (name != "baseB"), name


def test_of_half_of_the_classes_their_images_alone_are_seen(roots: Path, packed: object) -> None:
    task = Tasks(tiny_study(["baseA"]), data_root()).task("random-0", "A")
    for given, unlabelled in (
        (task.training(), task.unlabelled()),
        (task.validation_images(), task.unlabelled(validation=True)),
    ):
        assert sorted(unlabelled.rows) == sorted(given.rows) and set(unlabelled.labels) == {-1}


def test_its_accuracy_is_beside_no_base_of_classes(shared: Path) -> None:
    study = pretext_study(*NAMES)
    assert collect(study, study_folder("tiny")) == []
    rows = networks(read_results(study_folder("tiny").results)).set_index("network")
    assert rows["difference"].isna().to_dict() == {
        name: name.startswith("base") for name in ("baseA", "baseA@rotation", "baseA@exemplar", *NAMES)
    }
    base = rows.loc["baseB", "accuracy"]
    assert rows.loc["A2B@rotation", "difference"] == rows.loc["A2B@rotation", "accuracy"] - base


def test_its_weights_are_a_network_whose_outputs_are_no_classes(shared: Path) -> None:
    network = load_network(pretext_study(*NAMES), named("baseA@rotation"), study_folder("tiny"), data_root())
    assert len(network.classes) == 4
    assert network.features(np.zeros((2, 16, 16, 3), np.uint8), "conv2").shape[0] == 2
    with pytest.raises(Refused, match="trained without labels: its outputs are no classes"):
        network.accuracy()


def test_what_has_no_meaning_is_refused(roots: Path) -> None:
    for changes, why in {
        ("surrogate", "jigsaw"): "surrogate is 'jigsaw', not rotation or exemplar",
        ("exemplars", 1): "exemplars is 1; write a whole number from 2 up",
        ("batch", 6): "write a multiple of 4",
        ("stop", "inner"): "for networks that see their target's labels",
        ("class_weights", "balanced"): "no label is read",
    }.items():
        with pytest.raises(Refused, match=why):
            replace(PRETEXTS["rotation"], **{changes[0]: changes[1]})  # type: ignore[arg-type]
    base = Network(SPLIT, parse("baseA"), PRETEXTS["rotation"], variant="rotation")
    for network, why in {
        Network(SPLIT, parse("A2B+"), PRETEXTS["rotation"], source_variant="rotation"): "only a base is trained",
        replace(base, images_per_class=3): "images per class are told by labels",
        Network(SPLIT, parse("A4B+"), RECIPE, source_variant="rotation"): "the last layer of .* knows no classes",
        Network(SPLIT, parse("A4B"), RECIPE, source_variant="rotation"): "the last layer of .* knows no classes",
        Network(SPLIT, parse("At2B"), RECIPE, source_variant="rotation"): "the last layer of .* knows no classes",
        Network(SPLIT, parse("A2B"), RECIPE, source_variant="exemplar"): "copies from .*baseA@exemplar.*, which is not",
    }.items():
        with pytest.raises(Refused, match=why):
            Study("tiny", "tiny", TINY, (base, network), {SPLIT: domains(*DOMAINS)})
    write_domains(roots / "data" / "tiny")
    many = replace(base, recipe=replace(PRETEXTS["exemplar"], exemplars=33))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="makes 33 exemplars, and there are only 32 training images"):
        train(Study("tiny", "tiny", TINY, (many,), {SPLIT: domains(*DOMAINS)}))
    shutil.rmtree(roots / "data")
