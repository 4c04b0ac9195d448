"""Readouts as recipes: their names, what they read, in which fleets, and what is refused. Torch-free."""

from dataclasses import replace
from typing import Any

import pytest
from tiny import RECIPE, TINY, full_name

from transferability.files import Refused
from transferability.readout import VIEWS, Readout
from transferability.recipe import Recipe
from transferability.runs.features import read_network
from transferability.splits import domains, pair
from transferability.study import Network, Study, fleets, network, record

SVM = Readout("svm", 14)


def readout_study(names: dict[str, Recipe | Readout], **options: Any) -> Study:
    """The study of networks named like `A3B@svm`, on split random-0."""
    return Study(
        "readouts", "tiny", TINY, tuple(network(full_name(name), kind) for name, kind in names.items()), **options
    )


BASES: dict[str, Recipe | Readout] = {"baseA": RECIPE, "baseB": RECIPE}


def test_n_goes_from_0_to_depth_for_readouts_alone() -> None:
    study = readout_study(BASES | {f"A{n}B@svm": SVM for n in range(5)})
    assert [member.treatment.n for member in study.networks[2:]] == [0, 1, 2, 3, 4]
    for name in ("A0B", "A4B"):
        with pytest.raises(Refused, match=name):
            readout_study(BASES | {name: RECIPE})
    with pytest.raises(Refused, match="A5B"):
        readout_study(BASES | {"A5B@svm": SVM})


@pytest.mark.parametrize("name", ["A2B+@svm", "A2Bp1@svm", "baseB@svm"])
def test_a_readout_trains_no_layer(name: str) -> None:
    with pytest.raises(Refused, match="trains no layer"):
        readout_study(BASES | {name: SVM})


def test_readouts_of_one_network_are_one_fleet_after_what_they_read() -> None:
    tuned = replace(SVM, of="A3B+")
    study = readout_study(
        {**BASES, "A3B+": RECIPE, "A1B@svm": SVM, "A2B@softmax": replace(SVM, classifier="softmax"), "B2B@svm": SVM}
        | {"R1B@svm": SVM, "R0B@hog": replace(SVM, handmade="hog"), "B2B@tuned": tuned}
    )
    grouped = [{member.short_name for member in fleet.networks} for fleet in fleets(study.networks) if fleet.is_readout]
    assert sorted(map(sorted, grouped)) == [
        ["A1B@svm", "A2B@softmax"],
        ["B2B@svm"],
        ["B2B@tuned"],
        ["R0B@hog"],
        ["R1B@svm"],
    ]
    sources = {member.short_name: member.source_name for member in study.networks}
    assert sources["B2B@tuned"] == "random-0/A3B+/seed-0"
    assert sources["R1B@svm"] is None and sources["R0B@hog"] is None
    assert "random-0/A3B+/seed-0" in study.sources
    assert study.by_name["random-0/B2B@tuned/seed-0"].stage == 2
    with pytest.raises(Refused, match="its source is that network's target"):
        readout_study(BASES | {"A3B+": RECIPE, "A2B@tuned": tuned})
    with pytest.raises(Refused, match="a readout itself"):
        readout_study(BASES | {"A2B@svm": SVM, "B2B@tuned": replace(SVM, of="A2B@svm")})


def test_a_readout_sees_what_its_base_saw() -> None:
    with pytest.raises(Refused, match="shrink=2"):
        readout_study({"baseA": replace(RECIPE, shrink=2), "A1B@svm": SVM})
    with pytest.raises(Refused, match="crops 12"):
        readout_study(BASES | {"A1B@svm": replace(SVM, crop=12)})


def test_random_layers_that_are_drawn_in_another_way_are_another_network() -> None:
    """Readouts of a fleet read the same features."""
    paper = replace(SVM, initialisation="paper")
    study = readout_study(
        {"R1B@svm": SVM, "R2B@softmax": replace(SVM, classifier="softmax"), "R1B@paper": paper}
        | {"R0B@pixels": SVM, "R0B@small": replace(SVM, shrink=2)}
    )
    grouped = [{member.short_name for member in fleet.networks} for fleet in fleets(study.networks)]
    assert sorted(map(sorted, grouped)) == [["R0B@pixels"], ["R0B@small"], ["R1B@paper"], ["R1B@svm", "R2B@softmax"]]
    names = [read_network(study, member) for member in study.networks]
    assert names[0] == names[1] == "random-0/R-B/seed-0" and len(set(names)) == 4


def test_handmade_features_are_no_layer() -> None:
    with pytest.raises(Refused, match=r"A1B@hog.* reads layer 1, and handmade='hog' is for n = 0"):
        readout_study(BASES | {"A1B@hog": replace(SVM, handmade="hog")})


def test_the_record_holds_what_differs_from_the_defaults() -> None:
    study = readout_study(BASES | {"A1B@svm": SVM, "A1B@l": replace(SVM, name="other", transforms=["l2"])})  # type: ignore[arg-type]
    recipes = [record(study, member, {"tiny": "sum"})["recipe"] for member in study.networks[2:]]
    assert recipes == [{"crop": 14}, {"crop": 14, "transforms": ("l2",)}]
    assert record(study, study.networks[2], {"tiny": "sum"})["source"]["treatment"] == "baseA"


def test_only_domains_share_classes() -> None:
    recipe = replace(SVM, trained_on="both")

    def of(split: str, parts: dict[str, Any]) -> Study:
        networks = (
            Network(split, network("random-0/baseA", RECIPE).treatment, RECIPE),
            network(f"{split}/A1B", recipe),
        )
        return Study("domains", "tiny", TINY, networks, {split: parts})

    of("photo-sketch", domains("photo", "sketch"))
    with pytest.raises(Refused, match="same classes"):
        of("tiny-other", pair("tiny", "other"))


@pytest.mark.parametrize(
    ("shape", "options", "pooled"),
    [
        ((16, 42, 42), {}, (16, 16, 16)),
        ((1280, 7, 7), {}, (1280, 1, 1)),
        ((512, 2, 2), {}, (512, 2, 2)),
        ((5000, 3, 3), {}, (5000, 1, 1)),
        ((16, 42, 42), {"pooling": 3}, (16, 3, 3)),
        ((40, 14, 14), {"pooling": "square-512"}, (40, 3, 3)),
        ((1280, 7, 7), {"pooling": "square-512"}, (1280, 1, 1)),
        ((16, 2, 2), {"pooling": "flat"}, (16, 4)),
        ((7, 7, 96), {}, (96, 6, 6)),
        ((197, 768), {}, (1, 768)),
        ((197, 768), {"tokens": "both"}, (2, 768)),
        ((100,), {}, (100,)),
    ],
)
def test_a_map_becomes_a_vector(shape: tuple[int, ...], options: dict[str, Any], pooled: tuple[int, ...]) -> None:
    assert replace(SVM, **options).pooled_shape(shape) == pooled


@pytest.mark.parametrize(
    "wrong",
    [
        {"classifier": "forest"},
        {"penalties": ()},
        {"penalties": (1.0, 0.1)},
        {"penalties": 1.0},
        {"neighbours": (1.5,)},
        {"folds": 1},
        {"pooling": "round"},
        {"pooling": "square-0"},
        {"transforms": ("scale",)},
        {"train_views": "five"},
        {"trained_on": "A"},
        {"handmade": "sift"},
        {"scale": -1.0},
        {"initialisation": "he"},
    ],
)
def test_what_is_no_readout_is_refused_by_the_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=next(iter(wrong)).removesuffix("s")):
        replace(SVM, **wrong)


def test_views_are_so_many() -> None:
    assert {name: len(set(views)) for name, views in VIEWS.items()} == {
        "centre": 1,
        "mirror": 2,
        "ten": 10,
        "sixteen": 16,
    }
