"""Studies: names, records, dependencies, fleets; the experiment files that define them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import RECIPE, TINY, tiny_study

from transferability.files import Refused
from transferability.networks.caffenet import Conv
from transferability.recipe import long
from transferability.study import Network, Study, difference, fleets, grid, load_study, network, record
from transferability.treatment import Treatment, parse

ALL_KINDS = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "B8B+")

# Pinned: a change here orphans every result that was trained before it.
RECORD_OF_BASE = {
    "format": 1,
    "split": "random-0",
    "treatment": "baseA",
    "seed": 0,
    "recipe": {"steps": 12, "batch": 8, "rate": 0.05, "crop": 14, "validate_every": 6},
    "architecture": {
        "crop": 14,
        "layers": {
            "conv1": ["Conv", {"channels": 8, "kernel": 3, "pad": 1, "pool": True, "lrn": True, "std": 0.1}],
            "conv2": [
                "Conv",
                {"channels": 8, "kernel": 3, "pad": 1, "groups": 2, "pool": True, "std": 0.1, "bias": 1.0},
            ],
            "fc3": ["Linear", {"outputs": 16, "dropout": 0.5, "std": 0.1, "bias": 1.0}],
            "fc4": ["Linear", {"outputs": None}],
        },
    },
    "data": "checksum",
    "draws": "philox",
}


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [
        "random-0/baseA/seed-0",
        "random-3/A3B+/seed-12",
        "manmade-natural/B2Ap1/seed-0",
        "whole/baseW/seed-1",
        "random-0/R3B/seed-0",
        "random-0/A3B+0.1/seed-0",
        "random-0/A3B+@250/seed-2",
    ],
)
def test_names_are_pinned_and_spell_the_network(name: str) -> None:
    spelled = network(name, RECIPE)
    assert spelled.name == name
    split, short, seed = name.split("/")
    assert (spelled.split, spelled.short_name, f"seed-{spelled.seed}") == (split, short, seed)
    if spelled.seed == 0:
        assert network(f"{split}/{short}", RECIPE) == spelled


def test_variants_and_images_are_in_the_name() -> None:
    assert network("random-0/baseB", RECIPE, "long").name == "random-0/baseB@long/seed-0"
    few = network("random-0/A3B@20/seed-1", RECIPE)
    assert (few.images_per_class, few.treatment, few.seed) == (20, parse("A3B"), 1)


@pytest.mark.parametrize("name", ["random-0", "random-0/A3B@9@x@y", "random-0/A3B/1", "random-0/A3B/seed-", "A3B"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        network(name, RECIPE)


def test_streams_belong_to_the_target_its_images_and_the_seed() -> None:
    same = {network(f"random-0/{short}", RECIPE).stream for short in ("baseB", "A3B", "B3B+", "R2B", "A2Bp1")}
    assert same == {"random-0/B@all/seed-0"}
    assert network("random-0/A3B/seed-1", RECIPE).stream == "random-0/B@all/seed-1"
    assert network("random-0/A3B@20", RECIPE).stream == "random-0/B@20/seed-0"


def test_dependencies() -> None:
    sources = {
        short: network(f"random-0/{short}/seed-2", RECIPE).source_name
        for short in ("baseA", "R3B", "A3B", "B3B", "A3B+", "B3B@20", "A3B@20")
    }
    assert sources == {
        "baseA": None,
        "R3B": None,
        "A3B": "random-0/baseA/seed-2",
        "B3B": "random-0/baseB/seed-2",
        "A3B+": "random-0/baseA/seed-2",
        "B3B@20": "random-0/baseB@20/seed-2",  # the base that saw the same images
        "A3B@20": "random-0/baseA/seed-2",  # all images of the other task
    }
    stages = [network(f"random-0/{short}", RECIPE).stage for short in ("baseA", "R3B", "A3B", "B3B+")]
    assert stages == [0, 1, 1, 1]
    # The control with twice the steps copies from nothing, and nothing copies from it.
    assert network("random-0/baseB", long(RECIPE), "long").source_name is None


# ---------------------------------------------------------------------------------------------- studies


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["baseA", "baseA"], "names random-0/baseA/seed-0 twice"),
        (["baseB", "A2B"], "random-0/A2B/seed-0 copies from random-0/baseA/seed-0, which is not in the study"),
        (["baseB", "B2B@3"], "copies from random-0/baseB@3/seed-0"),
        (["baseA", "A4B"], "A4B: all 4 layers are frozen"),
        (["baseA", "A5B+"], "A5B\\+: 5 layers cannot be copied"),
        (["baseW"], "baseW: the split has no task W"),
        (["whole/baseA"], "baseA: the split has no task A, only W"),
        (["random-00/baseA"], "unknown split 'random-00'"),
        (["halves/baseA"], "unknown split 'halves'"),
        (["baseA@0"], "1 or more"),
        ([], "no networks"),
    ],
)
def test_impossible_studies_are_refused(names: list[str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        tiny_study(names)


def test_other_impossible_studies() -> None:
    with pytest.raises(Refused, match="study 'a/b'"):
        tiny_study(["baseA"], name="a/b")
    with pytest.raises(Refused, match="recipe 'tiny' crops 12 pixels, tiny sees 14"):
        tiny_study(["baseA"], replace(RECIPE, crop=12))
    with pytest.raises(Refused, match="variant 'So Long'"):
        Study("s", "tiny", TINY, (network("random-0/baseA", RECIPE, "So Long"),))


def test_counts_of_the_grid() -> None:
    usual = grid(RECIPE, 8, ["random-0", "random-1"])
    assert len(usual) == len({each.name for each in usual}) == 2 * 2 * (1 + 4 * 7)
    everything = grid(RECIPE, 8, ["random-0", "manmade-natural"], (0, 1, 2), kinds=ALL_KINDS)
    assert len({each.name for each in everything}) == 2 * 3 * 2 * (1 + 5 * 7 + 1)
    kinds = Counter(each.treatment.kind for each in everything)
    assert kinds == {"base": 12, "selffer": 12 * 15, "transfer": 12 * 14, "random": 12 * 7}
    one = grid(RECIPE, 4, ["random-0"], targets="B", kinds=("AnB+", "B8B+"))
    assert [each.short_name for each in one] == ["A1B+", "A2B+", "A3B+", "B4B+"]
    whole = grid(RECIPE, 3, ["whole"], kinds=("base", "BnB", "RnB"))
    assert [each.short_name for each in whole] == ["baseW", "W1W", "W2W", "R1W", "R2W"]
    # For target A the same treatments, mirrored.
    other = grid(RECIPE, 3, ["random-0"], targets="A", kinds=("base", "BnB", "AnB+", "RnB", "B8B+"))
    assert [each.short_name for each in other] == ["baseA", "A1A", "A2A", "B1A+", "B2A+", "R1A", "R2A", "A3A+"]


def test_select() -> None:
    study = tiny_study(["baseA", "baseB", "A1B", "A2B", "A1B+", "B1B", "random-1/baseA", "random-0/baseA/seed-1"])

    def chosen(*only: str) -> list[str]:
        return [each.name.removesuffix("/seed-0") for each in study.select(only)]

    assert chosen() == [each.name.removesuffix("/seed-0") for each in study.networks]
    assert chosen("random-0/A*B") == ["random-0/A1B", "random-0/A2B"]
    assert chosen("random-0/A?B+", "random-0/base*") == [
        "random-0/baseA",
        "random-0/baseB",
        "random-0/A1B+",
        "random-0/baseA/seed-1",
    ]
    assert chosen("*/baseA/seed-1") == ["random-0/baseA/seed-1"]
    assert chosen("random-0/A1B", "random-0/A*") == ["random-0/A1B", "random-0/A2B", "random-0/A1B+"]  # each once
    with pytest.raises(Refused, match="'random-0/Z\\*'"):
        study.select(["random-0/A*B", "random-0/Z*"])


# ---------------------------------------------------------------------------------------------- fleets


def test_every_network_is_in_one_fleet_of_the_right_size() -> None:
    networks = grid(RECIPE, 8, ["random-0", "whole"], (0, 1), kinds=("base", "BnB", "BnB+", "RnB"))
    networks += grid(RECIPE, 8, ["random-0"], (0, 1), kinds=("AnB", "AnB+"))
    networks += [replace(each, recipe=long(RECIPE), variant="long") for each in networks[:3]]
    networks += [replace(each, images_per_class=20) for each in networks[:9] if each.split == "random-0"]
    for size in (None, 1, 2, 3, 5, 7, 28, 29, 30, 1000):
        divided = fleets(networks, size)
        inside = [each for fleet in divided for each in fleet.networks]
        assert Counter(inside) == Counter(networks)
        assert all(1 <= len(fleet.networks) <= (size or 1000) for fleet in divided)
        for fleet in divided:
            shared = {
                (n.stage, n.split, n.treatment.target, n.seed, n.images_per_class, n.recipe) for n in fleet.networks
            }
            assert len(shared) == 1
        assert [fleet.stage for fleet in divided] == sorted(fleet.stage for fleet in divided)
        assert len({fleet.name for fleet in divided}) == len(divided)
        assert all(fleet.name == fleet.networks[0].name.replace("/", ".") for fleet in divided)
        assert fleets(reversed(networks), size) == divided  # pure: the order that one writes them in means nothing


def test_pieces_are_as_equal_as_can_be() -> None:
    networks = [each for each in grid(RECIPE, 8, ["random-0"], targets="B") if each.stage == 1]
    assert len(networks) == 28
    for size in range(1, 30):
        sizes = [len(fleet.networks) for fleet in fleets(networks, size)]
        assert len(sizes) == -(-28 // size) and max(sizes) - min(sizes) <= 1
    # Neighbours share their source.
    seven = fleets(networks, 7)
    assert [{str(n.treatment)[0] + n.treatment.plus for n in fleet.networks} for fleet in seven] == [
        {"B"},
        {"B1"},
        {"A"},
        {"A1"},
    ]
    with pytest.raises(Refused, match="fleet of 0"):
        fleets(networks, 0)


# ---------------------------------------------------------------------------------------------- records


C = {"tiny": "c"}  # checksums of the packed sets


def test_record_is_pinned() -> None:
    study = tiny_study(["baseA", "A2B+", "A2B@3"])
    assert record(study, study.networks[0], {"tiny": "checksum"}) == RECORD_OF_BASE
    assert record(study, study.networks[1], {"tiny": "checksum"}) == {
        **RECORD_OF_BASE,
        "treatment": "A2B+",
        "source": RECORD_OF_BASE,
    }
    assert record(study, study.networks[2], {"tiny": "checksum"}) == {
        **RECORD_OF_BASE,
        "treatment": "A2B",
        "images_per_class": 3,
        "source": RECORD_OF_BASE,
    }


def test_record_is_the_same_after_json() -> None:
    study = tiny_study(["baseA", "A2B+"])
    for each in study.networks:
        made = record(study, each, {"tiny": "checksum"})
        assert difference(json.loads(json.dumps(made)), made) is None


def test_growing_a_study_changes_no_record() -> None:
    small = tiny_study(["baseA", "A2B+"])
    large = tiny_study(["baseB", "A1B", "A2B+", "B2A", "baseA", "random-1/baseA", "baseA@3"], name="other")
    large = replace(large, architecture=replace(TINY, name="renamed"))
    renamed = replace(RECIPE, name="renamed")
    for each in small.networks:
        assert record(small, each, C) == record(large, large.by_name[each.name], C)
        assert record(small, replace(each, recipe=renamed), C) == record(small, each, C)


@pytest.mark.parametrize(
    ("recipe", "architecture", "checksum", "field"),
    [
        (replace(RECIPE, rate=0.01), TINY, "c", "recipe.rate was 0.05, is 0.01"),
        (replace(RECIPE, decay=0.0), TINY, "c", "recipe.decay was not there (its default), is 0.0"),
        (RECIPE, TINY, "d", "data was 'c', is 'd'"),
        (
            RECIPE,
            replace(TINY, layers=(("conv1", Conv(16, 3, pad=1, pool=True, lrn=True, std=0.1)), *TINY.layers[1:])),
            "c",
            "architecture.layers.conv1[1].channels was 8, is 16",
        ),
    ],
)
def test_a_difference_names_the_field(recipe: object, architecture: object, checksum: str, field: str) -> None:
    study = tiny_study(["baseA", "A2B"])
    changed = tiny_study(["baseA", "A2B"], recipe, architecture)  # type: ignore[arg-type]
    base, copy = study.networks
    assert difference(record(study, base, C), record(changed, changed.networks[0], {"tiny": checksum})) == field
    assert difference(record(study, copy, C), record(changed, changed.networks[1], {"tiny": checksum})) is not None
    # A change of the source's recipe alone is found in the copy's record.
    mixed = Study("tiny", "tiny", study.architecture, (changed.networks[0], copy))
    if recipe is not RECIPE:
        assert difference(record(study, copy, C), record(mixed, copy, C)) == f"source.{field}"


def test_no_difference() -> None:
    study = tiny_study(["baseA", "A2B"])
    for each in study.networks:
        assert difference(record(study, each, C), record(study, each, C)) is None


# ---------------------------------------------------------------------------------------------- experiment files

EXPERIMENT = """
from transferability.networks.caffenet import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Study, grid
RECIPE = Recipe("r", steps=10, batch=4, rate=0.1, crop=28, validate_every=5)
study = Study("mine", "demo", small_caffenet(28, 0.1), tuple(grid(RECIPE, 8, ["random-0"])))
"""


def test_load_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(EXPERIMENT)
    study = load_study(file)
    assert (study.name, study.data, len(study.networks)) == ("mine", "demo", 58)
    assert isinstance(study.networks[0], Network) and study.networks[0].treatment == Treatment("A")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\nstudy = = 2\n", "{file}:2: "),
        ("x = 1\n\nfoo(3)\n", "{file}:3: NameError: name 'foo' is not defined"),
        ("def f():\n    return 1 / 0\nf()\n", "{file}:2: ZeroDivisionError"),
        ("import no_such_module_here\n", "{file}:1: ModuleNotFoundError"),
        ("raise ValueError('a\\nb')\n", "{file}:1: ValueError"),
        ("x = 1\n", "{file} defines no study"),
        ("study = 3\n", "{file} defines no study"),
        (EXPERIMENT.replace('grid(RECIPE, 8, ["random-0"])', "()"), "{file}: study 'mine' has no networks"),
        (EXPERIMENT.replace("steps=10", "steps=0"), "{file}: recipe 'r': steps is 0"),
        (
            EXPERIMENT.replace("steps=10", "steps=10, optimizer='adamw'"),
            "{file}:5: TypeError: Recipe.__init__() got an unexpected keyword argument 'optimizer'; did you mean "
            "optimiser?; Recipe takes name,",
        ),
        (
            EXPERIMENT.replace("rate=0.1", "rates=0.1"),
            "{file}:5: TypeError: Recipe.__init__() got an unexpected keyword argument 'rates'; did you mean rate?",
        ),
    ],
)
def test_an_experiment_that_does_not_load_is_refused_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(Refused) as refused:
        load_study(file)
    assert str(refused.value).startswith(why.format(file=file))
    assert "\n" not in str(refused.value)


def test_a_missing_experiment(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nowhere\.py: there is no such experiment file"):
        load_study(tmp_path / "nowhere.py")
