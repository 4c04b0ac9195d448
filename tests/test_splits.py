"""The halves are the paper's, class for class, and the same rules divide any other data set."""

import hashlib
import zipfile

import numpy as np
import pytest
from project import SHARED

from transferability.classes import ImageClass, ilsvrc_classes
from transferability.files import Refused
from transferability.splits import PAPER_SPLITS, group_title, sorted_groups, split_group, split_tasks, task_classes


def numbered_classes(count: int, group: str = "") -> tuple[ImageClass, ...]:
    return tuple(ImageClass(i, f"class{i:04d}", f"name {i}", group) for i in range(count))


def checksum(indices: np.ndarray) -> str:
    return hashlib.md5(",".join(map(str, indices)).encode()).hexdigest()


# md5 of the indices of half A as decimal text with commas: changing them would silently change every study.
HALF_A = {
    "random-0": "0b8df30d3dbc201b482c55609120084e",
    "random-1": "3ad1e27c8481c08da08879b40f80b524",
    "random-2": "6d705216deeb7abe91e962c943867ba1",
    "random-3": "9779ce7b18e23b57a021dfe64ddb9e7f",
    "manmade-natural": "1dede3812dd08b8e8bb201a8ded4b695",
}


@pytest.mark.parametrize("split", HALF_A)
def test_the_halves_of_ilsvrc_are_pinned(split: str) -> None:
    classes = ilsvrc_classes()
    a, b = task_classes(classes, split, "A"), task_classes(classes, split, "B")
    assert checksum(a) == HALF_A[split]
    assert a.dtype == np.int64 and np.all(np.diff(a) > 0) and np.all(np.diff(b) > 0)
    assert sorted([*a, *b]) == list(range(1000))


def test_random_halves_start_as_the_papers() -> None:
    # The seed is the list [s]; RandomState(0) would begin with other classes.
    assert list(task_classes(ilsvrc_classes(), "random-0", "A")[:6]) == [0, 1, 2, 5, 9, 10]
    assert len(task_classes(ilsvrc_classes(), "random-0", "B")) == 500


def test_manmade_natural_has_551_and_449_classes() -> None:
    classes = ilsvrc_classes()
    a, b = (task_classes(classes, "manmade-natural", task) for task in "AB")
    assert (len(a), len(b)) == (551, 449)
    assert classes[b[0]].name == "tench"
    mashed_potato = next(c.index for c in classes if c.id == "n07711569")
    assert mashed_potato in a


TINY = SHARED / "data/tiny-imagenet-200-subset.zip"


@pytest.mark.skipif(not TINY.exists(), reason="Tiny ImageNet is not here")
def test_tiny_imagenet_has_127_manmade_and_73_natural_classes() -> None:
    with zipfile.ZipFile(TINY) as archive:
        ids = sorted(archive.read("tiny-imagenet-200/wnids.txt").decode().split())
    classes = [ImageClass(i, class_id, "", "") for i, class_id in enumerate(ids)]
    assert [len(task_classes(classes, "manmade-natural", task)) for task in "AB"] == [127, 73]


def test_any_number_of_classes_is_halved_by_the_same_generator() -> None:
    for count in (4, 5, 40, 200):
        classes = numbered_classes(count)
        a, b = task_classes(classes, "random-7", "A"), task_classes(classes, "random-7", "B")
        drawn = np.random.RandomState([7]).choice(count, count // 2, replace=False)
        assert list(a) == sorted(drawn)
        assert sorted([*a, *b]) == list(range(count))


def test_whole_is_all_classes() -> None:
    assert list(task_classes(numbered_classes(5), "whole", "W")) == [0, 1, 2, 3, 4]


def test_manmade_and_natural_classes_are_found_by_their_groups() -> None:
    classes = [
        ImageClass(0, "gear", "gear", "man-made"),
        ImageClass(1, "leaf", "leaf", "natural"),
        ImageClass(2, "n01440764", "tench", ""),
        ImageClass(3, "wall", "wall", "man-made"),
    ]
    assert list(task_classes(classes, "manmade-natural", "A")) == [0, 3]
    assert list(task_classes(classes, "manmade-natural", "B")) == [1, 2]


def test_an_unknown_group_is_refused_by_name() -> None:
    classes = [*numbered_classes(4, "natural"), ImageClass(4, "oddity", "oddity", "")]
    with pytest.raises(Refused, match="oddity"):
        task_classes(classes, "manmade-natural", "A")


@pytest.mark.parametrize("split", ["random", "random--1", "random-01", "random-x", "manmade", "", "random-4294967296"])
def test_an_unknown_split_is_refused_by_name(split: str) -> None:
    with pytest.raises(Refused, match=f"unknown split '{split}'"):
        task_classes(numbered_classes(10), split, "A")


@pytest.mark.parametrize(("split", "task"), [("whole", "A"), ("random-0", "W"), ("manmade-natural", "C")])
def test_a_task_that_the_split_lacks_is_refused_by_name(split: str, task: str) -> None:
    with pytest.raises(Refused, match=f"split {split} has no task '{task}'"):
        task_classes(numbered_classes(10, "natural"), split, task)


def test_a_task_of_fewer_than_two_classes_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="task A of split random-0 would have 1 of the data set's 3 classes"):
        task_classes(numbered_classes(3), "random-0", "A")
    with pytest.raises(Refused, match="task A of split manmade-natural would have 0"):
        task_classes(numbered_classes(6, "natural"), "manmade-natural", "A")


def test_classes_out_of_order_are_an_error() -> None:
    with pytest.raises(ValueError, match="order"):
        task_classes(numbered_classes(6)[::-1], "random-0", "A")


def test_the_papers_splits_are_splits() -> None:
    assert [split_tasks(split) for split in PAPER_SPLITS] == [("A", "B")] * 5 + [("W",)]


def test_random_splits_are_one_group_and_any_other_split_is_its_own() -> None:
    splits = ["photo-sketch", "whole", "random-12", "imagenet-flowers", "manmade-natural", "random-0"]
    groups = sorted_groups(map(split_group, splits))
    assert groups == ["random", "manmade-natural", "whole", "imagenet-flowers", "photo-sketch"]
    assert [group_title(group) for group in groups] == [
        *("Random splits", "Man-made / natural", "All classes", "imagenet-flowers", "photo-sketch")
    ]
