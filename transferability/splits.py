"""Which classes are in half A? Every split of a data set's classes into tasks, exactly as in the paper.

- `random-<s>`: half A is drawn by one generator seeded with s; half B is the rest. Splits 0 to 3 are the paper's.
- `manmade-natural`: A is the man-made classes, B the natural ones.
- `whole`: its one task, W, is all classes.

Source: Yosinski et al. 2014, section 3 (random halves) and section 4.2 (man-made and natural). For the 1,000 classes
of ILSVRC 2012 the halves are the authors', class for class. The same rules divide any other data set.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from transferability.classes import ImageClass, class_groups
from transferability.files import Refused

if TYPE_CHECKING:
    import numpy as np

PAPER_SPLITS = ("random-0", "random-1", "random-2", "random-3", "manmade-natural", "whole")
GROUP_TITLES = {"random": "Random splits", "manmade-natural": "Man-made / natural", "whole": "All classes"}
_RANDOM = re.compile(r"random-(0|[1-9]\d*)")


def split_tasks(split: str) -> tuple[str, ...]:
    """The tasks of a split: ("A", "B"), or ("W",) for `whole`. Raises Refused for a name that is no split."""
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


def task_classes(classes: Sequence[ImageClass], split: str, task: str) -> "np.ndarray":
    """The classes of one task.

    classes: all classes of the data set, in the order of their index (0, 1, ...).
    Returns (k,) int64, the indices of the task's classes, ascending. A class's position in it is its label in the task.
    Raises Refused for an unknown split, a task that the split lacks, a class of unknown group, and a task of fewer
    than two classes.
    """
    import numpy as np  # only here: listing 10,000 networks does not wait for it

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
