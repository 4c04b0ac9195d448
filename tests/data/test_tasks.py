"""Tasks: pools, domains, groups, images that the seed draws, pairs of data sets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from several import write_several
from tiny import RECIPE, TINY, full_name, write_tiny

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, write_packed
from transferability.data.tasks import Task, Tasks
from transferability.files import Refused
from transferability.runs.fit import refuse_unfit
from transferability.splits import Part, domains, groups, pair
from transferability.study import Network, Study, network, record


def write_pool(folder: Path, classes: int = 6, each: int = 8, kinds: Sequence[str] = (), lacks: int = -1) -> None:
    """A pool of noise, `each` + class images per class. kinds: domains, in turn. lacks: a class of the first alone."""
    labels = np.repeat(np.arange(classes), [each + c for c in range(classes)])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8)
    of = np.arange(len(labels)) % len(kinds) * (labels != lacks) if kinds else None
    table = [ImageClass(c, f"c{c}", f"class {c}", ("mammal", "bird", "fish")[c % 3]) for c in range(classes)]
    write_packed(folder, folder.name, table, ImageSet(images, labels, of), None, kinds)


def study_of(names: Sequence[str], data: str = "pool", **options: object) -> Study:
    networks = tuple(network(full_name(name), RECIPE) for name in names)
    return Study("study", data, TINY, networks, **options)  # type: ignore[arg-type]


def rows(task: Task, images_per_class: int | None = None, drawn: bool = False) -> set[int]:
    return set(task.training(images_per_class, drawn).rows.tolist())


@pytest.mark.parametrize(("validation", "counts"), [(3, [3] * 6), (0.25, [2, 2, 2, 3, 3, 3]), (0.01, [1] * 6)])
def test_of_a_pool_the_seed_draws_what_validates_and_what_trains(
    tmp_path: Path, validation: float, counts: list[int]
) -> None:
    write_pool(tmp_path / "pool")
    tasks = Tasks(study_of(["whole/baseW"], validation=validation), tmp_path)
    seen = []
    for seed in range(3):
        task = tasks.task("whole", "W", seed)
        judged = task.validation_images()
        assert np.bincount(judged.labels).tolist() == counts
        everything = rows(task) | set(judged.rows.tolist())
        assert len(everything) == len(task.packed.train.labels) and not rows(task) & set(judged.rows.tolist())
        one, two, five = (rows(task, most) for most in (1, 2, 5))
        assert one < two < five <= rows(task) and len(one) == 6 and len(two) == 12
        assert task.name == f"whole-W-seed-{seed}"
        seen.append(tuple(sorted(judged.rows)))
    assert len(set(seen)) == 3
    assert tuple(sorted(Tasks(tasks.study, tmp_path).task("whole", "W", 1).validation_images().rows)) == seen[1]


def test_drawn_images_are_nested_and_others_the_first(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    task = Tasks(study_of(["baseA"], "tiny"), tmp_path).task("random-0", "A")
    first = task.training(2)
    assert first.rows.tolist() == sorted(first.rows) and first.rows[:2].tolist() == task.training().rows[:2].tolist()
    drawn = [rows(task, most, drawn=True) for most in (1, 2, 4)]
    assert drawn[0] < drawn[1] < drawn[2] and drawn[1] != rows(task, 2)
    assert rows(task, None, drawn=True) == rows(task)
    plain, other = network("random-0/baseA@2", RECIPE), replace(network("random-0/baseA@2", RECIPE), drawn=True)
    assert plain.stream != other.stream
    study = replace(study_of(["baseA@2"], "tiny"), networks=(other,))
    assert record(study, other, {"tiny": "c"})["drawn"] is True and "drawn" not in record(study, plain, {"tiny": "c"})


def test_a_pool_says_what_it_lacks(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    with pytest.raises(Refused, match="say in the study how many images of each class validate"):
        refuse_unfit(study := study_of(["whole/baseW"]), study.networks, Tasks(study, tmp_path))
    with pytest.raises(Refused, match=r"class 'c0' has 8 images, of which 8 are to validate: none is left"):
        refuse_unfit(study := study_of(["whole/baseW"], validation=8), study.networks, Tasks(study, tmp_path))
    write_tiny(tmp_path / "tiny")
    with pytest.raises(Refused, match="has validation images of its own: leave `validation` out"):
        refuse_unfit(study := study_of(["baseA"], "tiny", validation=3), study.networks, Tasks(study, tmp_path))
    for wrong in (0, 1.0, -2, True):
        with pytest.raises(Refused, match="validation is"):
            study_of(["whole/baseW"], validation=wrong)


def test_domains_are_the_same_classes_and_other_images(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", kinds=("photo", "sketch"))
    study = study_of(["photo-sketch/baseA", "photo-sketch/A2B"], splits={"photo-sketch": domains("photo", "sketch")},
                     validation=2)  # fmt: skip
    tasks = Tasks(study, tmp_path)
    a, b = (tasks.task("photo-sketch", letter) for letter in "AB")
    assert a.class_names == b.class_names and len(a.classes) == 6
    of = a.packed.train.domains
    assert of is not None
    for task, index in ((a, 0), (b, 1)):
        chosen = [*task.training().rows, *task.validation_images().rows]
        assert set(of[chosen]) == {index} and len(chosen) == int((of == index).sum())
    assert record(study, study.networks[1], tasks.checksums)["domain"] == "sketch"
    assert record(study, study.networks[1], tasks.checksums)["source"]["domain"] == "photo"
    refuse_unfit(study, study.networks, tasks)


def test_a_domain_that_lacks_a_class_or_is_none_is_refused(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", kinds=("photo", "sketch"), lacks=4)
    own = {"photo-sketch": domains("photo", "sketch"), "photo-art": domains("photo", "art")}
    study = study_of(["photo-sketch/baseA"], splits=own, validation=2)
    with pytest.raises(Refused, match="domain sketch has no training image of class 'class 4'"):
        Tasks(study, tmp_path).task("photo-sketch", "B")
    with pytest.raises(Refused, match=r"no domain .art.: its domains are photo, sketch"):
        Tasks(study, tmp_path).task("photo-art", "B")


def test_groups_of_the_users_own(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    own = {"groups-animals": groups("mammal", "bird"), "groups-plants": groups("mammal", "fern")}
    tasks = Tasks(study_of(["groups-animals/baseA"], splits=own, validation=2), tmp_path)
    assert tasks.task("groups-animals", "A").classes.tolist() == [0, 3]
    assert tasks.task("groups-animals", "B").classes.tolist() == [1, 4]
    with pytest.raises(Refused, match=r"no class is of group .fern.: the groups in classes.csv are bird"):
        tasks.task("groups-plants", "B")


def test_a_pair_has_two_data_sets_and_two_checksums(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    write_tiny(tmp_path / "other", classes=4, seed=1)
    own = {"tiny-other": pair("tiny", "other")}
    study = study_of(["tiny-other/baseA", "tiny-other/A2B", "tiny-other/baseB", "tiny-other/B2B"], "other", splits=own)
    tasks = Tasks(study, tmp_path)
    assert study.data_sets == ("other", "tiny")
    assert [len(tasks.task("tiny-other", letter).classes) for letter in "AB"] == [12, 4]
    made = record(study, study.by_name["tiny-other/A2B/seed-0"], tasks.checksums)
    assert made["data"] == tasks.checksums["other"] and made["source"]["data"] == tasks.checksums["tiny"]
    refuse_unfit(study, study.networks, tasks)
    whole = study_of(["tiny-other/baseA", "tiny-other/A4B+"], "other", splits=own)
    with pytest.raises(Refused, match="the last layer cannot be copied, A has 12 classes and B has 4"):
        refuse_unfit(whole, whole.networks, tasks)


def test_the_source_may_be_the_base_of_all_classes(tmp_path: Path) -> None:
    study = study_of(["whole/baseW", "random-0/W2A"], "tiny")
    assert study.networks[1].source_name == "whole/baseW/seed-0"
    with pytest.raises(Refused, match="copies from whole/baseW/seed-0, which is not in the study"):
        study_of(["random-0/W2A"], "tiny")


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"random-7": pair("a", "b")}, "means the same in every study"),
        ({"whole": pair("a", "b")}, "means the same in every study"),
        ({"pair": pair("a", "b")}, "write two or more words in small letters"),
        ({"a/b-c": pair("a", "b")}, "write two or more words in small letters"),
        ({"a-a": pair("a", "a")}, "A and B are the same"),
        ({"a-b": {"A": Part("a")}}, "say what A and B are"),
    ],
)
def test_splits_that_are_none_are_refused(own: object, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        study_of(["baseA"], "tiny", splits=own)


def test_images_of_several_labels_belong_to_each_of_their_classes(tmp_path: Path) -> None:
    packed = write_several(tmp_path / "several")
    task = Tasks(study_of(["baseA"], "several"), tmp_path).task("random-0", "A")
    chosen = task.training()
    assert packed.train.several is not None
    expected = packed.train.several[:, task.classes]
    assert chosen.rows.tolist() == np.flatnonzero((expected == 1).any(1)).tolist()
    assert (chosen.labels == expected[chosen.rows]).all()
    few = task.training(2)
    assert (few.labels == 1).sum(0).min() >= 2 and len(few.rows) <= 8 and set(few.rows) < set(chosen.rows)


def test_of_a_pool_of_several_labels_the_share_validates_and_every_class_trains(tmp_path: Path) -> None:
    packed = write_several(tmp_path / "apart")  # 60 images of two classes on average
    several = np.array(packed.train.several)
    several[several[:, 0] == 1, 0] = 0
    several[several.any(1).argmax() :: 20, 0] = 1  # class 0 is in three images
    several[(several != 1).all(1), 1] = 1
    several = several[np.argsort((several == 1).argmax(1), kind="stable")]
    images = ImageSet(packed.train.images, (several == 1).argmax(1), several=several)
    write_packed(tmp_path / "pool", "pool", list(packed.classes), images, None)
    for seed in range(3):
        task = Tasks(study_of(["whole/baseW"], validation=0.25), tmp_path).task("whole", "W", seed)
        judged, trained = task.validation_images(), task.training()
        assert 15 <= len(judged.rows) <= 18  # a quarter of each class, together not much more
        assert sorted([*judged.rows, *trained.rows]) == list(range(60))
        assert (trained.labels == 1).any(0).all() and (judged.labels == 1).any(0).all()
        assert rows(task, 1) < rows(task, 2) < rows(task)


def test_an_unknown_split_names_the_studys_own() -> None:
    own = {"tiny-other": pair("tiny", "other")}
    with pytest.raises(Refused, match=r"unknown split 'tiny-others'.*or one of the study's own: tiny-other"):
        Study("s", "tiny", TINY, (Network("tiny-others", network("random-0/baseA", RECIPE).treatment, RECIPE),), own)
