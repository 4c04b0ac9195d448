"""Which classes are in half A? Every split of a data set's classes into tasks, exactly as in the paper.

- `random-<s>`: half A is drawn by one generator seeded with s, half B is the rest. Splits 0 to 3 are the
paper's.
- `manmade-natural`: A is man-made, B is natural.
- `whole`: its one task W is all classes.

Source: Yosinski et al. 2014, section 3 (random halves) and section 4.2 (man-made and natural). For the
1,000 classes of ILSVRC 2012 the halves are the authors', class for class; the same rules divide any other
data set.
"""

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from transferability.data.packed import ImageClass
from transferability.files import Refused

TABLES = Path(__file__).parent / "tables"

PAPER_SPLITS = ("random-0", "random-1", "random-2", "random-3", "manmade-natural", "whole")
GROUP_TITLES = {"random": "Random splits", "manmade-natural": "Man-made / natural", "whole": "All classes"}
_RANDOM = re.compile(r"random-(0|[1-9]\d*)")
_WORDNET_ID = re.compile(r"n(\d{8})")


def split_tasks(split: str) -> tuple[str, ...]:
    """The tasks of a split: ("A", "B"), or ("W",) of `whole`. Refused for a name that is no split."""
    if split == "whole":
        return ("W",)
    random = _RANDOM.fullmatch(split)
    if split == "manmade-natural" or (random and int(random[1]) < 2**32):
        return ("A", "B")
    raise Refused(f"unknown split {split!r}: a split is random-<s> (s from 0, below 2^32), manmade-natural or whole")


def split_group(split: str) -> str:
    """The splits that a split is averaged with: 'random' for every random split, else the split's own name."""
    return "random" if split.startswith("random-") else split


def group_title(group: str) -> str:
    """The heading of a group (`split_group`) in tables and figures: the group's name if it is none of the paper's."""
    return GROUP_TITLES.get(group, group)


def sorted_groups(groups: Iterable[str]) -> list[str]:
    """The different groups in the order of tables and figures: the paper's first, then all others by name."""
    known = list(GROUP_TITLES)
    return sorted({*groups}, key=lambda group: (known.index(group) if group in known else len(known), group))


def task_classes(classes: Sequence[ImageClass], split: str, task: str) -> np.ndarray:
    """The classes of one task.

    classes: all classes of the data set, in the order of their index (0, 1, ...).
    Returns (k,) int64, the indices of the task's classes, ascending; the position in it is the label in the
    half.
    Refused: an unknown split, a task that the split lacks, a class of unknown group, a task of fewer than
    two classes.
    """
    if [c.index for c in classes] != list(range(len(classes))):
        raise ValueError("classes must be in the order of their index, 0 to K - 1")
    if task not in split_tasks(split):
        raise Refused(f"split {split} has no task {task!r}: its tasks are {' and '.join(split_tasks(split))}")

    if split == "whole":
        chosen = np.arange(len(classes))
    elif split == "manmade-natural":
        chosen = np.flatnonzero(np.array(class_groups(classes)) == {"A": "man-made", "B": "natural"}[task])
    else:
        in_a = np.zeros(len(classes), dtype=bool)
        # The seed is the list [s], as in the authors' script: RandomState(s) would give other halves.
        seed = [int(split.removeprefix("random-"))]
        in_a[np.random.RandomState(seed).choice(len(classes), len(classes) // 2, replace=False)] = True
        chosen = np.flatnonzero(in_a if task == "A" else ~in_a)

    if len(chosen) < 2:
        raise Refused(
            f"task {task} of split {split} would have {len(chosen)} of the data set's {len(classes)} "
            "classes: a task needs at least two, choose another split or other images"
        )
    return chosen.astype(np.int64)


def class_groups(classes: Sequence[ImageClass]) -> list[str]:
    """'man-made' or 'natural' for each class: what its id says (`known_groups`), else the group that the
    user gave.

    Refused, with the classes named: an unknown group, or one that contradicts WordNet.
    """
    known = known_groups([c.id for c in classes])
    groups = [by_id or c.group for c, by_id in zip(classes, known, strict=True)]
    if unknown := [c.id for c, g in zip(classes, groups, strict=True) if g not in ("man-made", "natural")]:
        raise Refused(
            f"no group is known for {_some(unknown)}: manmade-natural needs 'man-made' or 'natural' in the "
            "group column of classes.csv, or WordNet ids such as n01440764"
        )
    if wrong := [
        c.id for c, g in zip(classes, groups, strict=True) if c.group not in ("", g, wordnet_group(c.id) or g)
    ]:
        raise Refused(
            f"the group column of classes.csv contradicts WordNet for {_some(wrong)}: correct it or leave it empty"
        )
    return groups


def known_groups(class_ids: Sequence[str]) -> list[str]:
    """'man-made', 'natural' or '' (unknown) for each class of a data set, from the ids alone.

    The 1,000 classes of ILSVRC 2012 have the paper's own lists (551 and 449); all else goes by the WordNet
    rule, which differs from them in one class: mashed potato, natural by WordNet (produce), man-made in the
    paper.
    """
    ilsvrc = {c.id: c.group for c in ilsvrc_classes()}
    if set(class_ids) == set(ilsvrc):
        return [ilsvrc[class_id] for class_id in class_ids]
    return [wordnet_group(class_id) for class_id in class_ids]


def wordnet_group(class_id: str) -> str:
    """'man-made' or 'natural' by the WordNet rule for an id such as n01440764; '' for any other class id.

    The natural ids are the table that tools/make_wordnet_table.py makes; its docstring has the rule.
    """
    match = _WORDNET_ID.fullmatch(class_id)
    if not match:
        return ""
    firsts, lasts = _natural_ranges()
    number = int(match[1])
    position = bisect_right(firsts, number) - 1
    return "natural" if position >= 0 and number <= lasts[position] else "man-made"


def ilsvrc_classes() -> tuple[ImageClass, ...]:
    """The 1,000 classes of ILSVRC 2012 in the order of their ids, from the package's own table."""
    with (TABLES / "ilsvrc2012_classes.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return tuple(ImageClass(int(row["index"]), row["wnid"], row["name"], row["group"]) for row in rows)


@cache
def _natural_ranges() -> tuple[list[int], list[int]]:
    with (TABLES / "natural_synsets.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return [int(row["first"]) for row in rows], [int(row["last"]) for row in rows]


def _some(names: Sequence[str], most: int = 8) -> str:
    return f"{len(names)} of the classes ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"
