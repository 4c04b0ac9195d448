"""Which classes are in half A? Every split into tasks; those of the paper exactly as there.

- `random-<s>`: half A is drawn by one generator seeded with s; half B is the rest. Splits 0 to 3 are the paper's.
- `manmade-natural`: A is the man-made classes, B the natural ones.
- `whole`: its one task, W, is all classes.
- any other name: what the study says of it (`Study.splits`), by `pair`, `domains` or `groups`.

Source: Yosinski et al. 2014, section 3 (random halves) and section 4.2 (man-made and natural). For the 1,000 classes
of ILSVRC 2012 the halves are the authors', class for class. The same rules divide any other data set.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferability.classes import ImageClass, class_groups
from transferability.files import Refused

if TYPE_CHECKING:
    import numpy as np

PAPER_SPLITS = ("random-0", "random-1", "random-2", "random-3", "manmade-natural", "whole")
GROUP_TITLES = {"random": "Random splits", "manmade-natural": "Man-made / natural", "whole": "All classes"}
_RANDOM = re.compile(r"random-(0|[1-9]\d*)")
_OWN_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


@dataclass(frozen=True)
class Part:
    """What a letter of a study's own split stands for.

    data: name of the packed set's folder under data/; "": the study's. group: only classes of this group, as the
    set's classes.csv says; "": all. domain: only images of this domain; "": all.
    """

    data: str = ""
    group: str = ""
    domain: str = ""


def pair(a: str, b: str) -> dict[str, Part]:
    """A and B are two packed sets, each with all of its classes: `{"imagenet-flowers17": pair("imagenet", …)}`."""
    return {"A": Part(data=a), "B": Part(data=b)}


def domains(a: str, b: str, data: str = "") -> dict[str, Part]:
    """A and B are two domains of one packed set, with the same classes: `{"photo-sketch": domains("photo", …)}`."""
    return {"A": Part(data, domain=a), "B": Part(data, domain=b)}


def groups(a: str, b: str, data: str = "") -> dict[str, Part]:
    """A and B are the classes of two groups of one packed set: `{"groups-animals": groups("mammal", "bird")}`."""
    return {"A": Part(data, group=a), "B": Part(data, group=b)}


def check_own_splits(splits: Mapping[str, Mapping[str, Part]]) -> None:
    """Refuses names that are no names for splits of a study's own, and splits without two different tasks."""
    for name, parts in splits.items():
        if name in PAPER_SPLITS or _RANDOM.fullmatch(name):
            raise Refused(f"split {name!r} means the same in every study; name your own differently")
        if not _OWN_NAME.fullmatch(name):
            raise Refused(f"split {name!r}: write two or more words in small letters, as imagenet-flowers17")
        if sorted(parts) != ["A", "B"] or not all(isinstance(part, Part) for part in parts.values()):
            raise Refused(f"split {name!r}: say what A and B are, by pair(…), domains(…) or groups(…)")
        if parts["A"] == parts["B"]:
            raise Refused(f"split {name!r}: A and B are the same; name two different ones")


def have_same_classes(split: str, own: Mapping[str, Mapping[str, Part]]) -> bool:
    """Whether A and B of a split are other images of the same classes: two domains of one packed set, or two sets.

    Of two sets, whether their classes are the same has to be asked of the images (`runs/fit.py`).
    """
    parts = own.get(split)
    return parts is not None and parts["A"].group == parts["B"].group


def split_tasks(split: str, own: Mapping[str, Mapping[str, Part]] | None = None) -> tuple[str, ...]:
    """The tasks of a split: ("A", "B"), or ("W",) for `whole`. own: the study's own splits.

    Raises Refused for a name that is no split."""
    if own and split in own:
        return ("A", "B")
    if split == "whole":
        return ("W",)
    random = _RANDOM.fullmatch(split)
    if split == "manmade-natural" or (random and int(random[1]) < 2**32):
        return ("A", "B")
    others = f", or one of the study's own: {', '.join(own)}" if own else ", or named by the study (Study.splits)"
    raise Refused(
        f"unknown split {split!r}: a split is random-<s> (s from 0, below 2^32), manmade-natural or whole{others}"
    )


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


def task_classes(
    classes: Sequence[ImageClass], split: str, task: str, own: Mapping[str, Mapping[str, Part]] | None = None
) -> "np.ndarray":
    """The classes of one task.

    classes: all classes of the data set, in the order of their index (0, 1, ...). own: the study's own splits.
    Returns (k,) int64, the indices of the task's classes, ascending. A class's position in it is its label in the task.
    Raises Refused for an unknown split, a task that the split lacks, a class of unknown group, and a task of fewer
    than two classes.
    """
    import numpy as np  # only here: listing 10,000 networks does not wait for it

    if [c.index for c in classes] != list(range(len(classes))):
        raise ValueError("classes must be in the order of their index, 0 to K - 1")
    if task not in split_tasks(split, own):
        raise Refused(f"split {split} has no task {task!r}: its tasks are {' and '.join(split_tasks(split, own))}")

    if own and split in own:
        chosen = _classes_of_group(classes, own[split][task].group)
    elif split == "whole":
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


def _classes_of_group(classes: Sequence[ImageClass], group: str) -> "np.ndarray":
    """The indices of the classes of a group; of all for ""."""
    import numpy as np

    chosen = np.array([not group or c.group == group for c in classes])
    if not chosen.any():
        names = sorted({c.group for c in classes if c.group})
        raise Refused(f"no class is of group {group!r}: the groups in classes.csv are {', '.join(names) or 'empty'}")
    return np.flatnonzero(chosen)
