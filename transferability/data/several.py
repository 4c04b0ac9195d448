"""Images with several classes: what the lists of a packed set are made of."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from transferability.data.listing import ImageLists, ImageRef
from transferability.files import Refused, shown

# By image, in the order of the file list: 1 (present) or -1 (not known) by class id; absent classes are left out.
Marks = dict[ImageRef, dict[str, int]]


def several_lists(arrangement: str, train: Marks, val: Marks | None) -> ImageLists:
    """The lists of a data set whose images may have several classes. Without `val` it is a pool.

    An image stands under the first of its classes (ascending id). Left out by rule, with a note: classes that no
    training image has, since nothing can be learnt about them; then images in which no class is present. Classes that
    no validation image has, or, in a pool, one image alone, are kept, with a note.
    """
    present = {subset: _present(marks.values()) for subset, marks in (("train", train), ("val", val or {}))}
    classes = sorted(present["train"])
    if not classes:
        raise Refused(f"{arrangement}: no class is present in any training picture")
    sets: dict[str, dict[str, list[ImageRef]]] = {"train": {c: [] for c in classes}, "val": {}}
    several: Marks = {}
    left_out = []
    for subset, by_image in (("train", train), ("val", val or {})):
        for image, all_marks in by_image.items():
            marks = {class_id: mark for class_id, mark in all_marks.items() if class_id in present["train"]}
            first = min((class_id for class_id, mark in marks.items() if mark == 1), default=None)
            if first is None:
                left_out.append(image)
                continue
            several[image] = marks
            sets[subset].setdefault(first, []).append(image)
    counts = Counter(class_id for marks in several.values() for class_id, mark in marks.items() if mark == 1)
    notes = []
    if unlearnt := sorted(present["val"] - present["train"]):
        notes.append(f"left out: class {first_of(unlearnt)}, which no training picture has")
    if left_out:
        notes.append(f"left out: {first_of([image.place for image in left_out])}, in which no class is present")
    if val is None and (rare := [class_id for class_id in classes if counts[class_id] == 1]):
        notes.append(f"class {first_of(rare)} is in one picture only: it can be trained or validated, not both")
    if val is not None and (unseen := sorted(present["train"] - present["val"])):
        notes.append(f"class {first_of(unseen)} is in no validation picture: it has no average precision")
    return ImageLists(arrangement, sets["train"], sets["val"], pool=val is None, several=several, notes=tuple(notes))


def without_rare(lists: ImageLists, least: int) -> ImageLists:
    """The lists without the classes that fewer than `least` training images have (in a pool: images), with a note.

    Images in which no other class is present are left out with them.
    """
    counts = Counter({class_id: len(images) for class_id, images in lists.train.items()})
    if lists.several:
        counts = Counter(
            class_id
            for images in lists.train.values()
            for image in images
            for class_id, mark in lists.several[image].items()
            if mark == 1
        )
    rare = sorted(class_id for class_id, count in counts.items() if count < least)
    if not rare:
        return lists
    train, val = ({c: images for c, images in part.items() if c not in rare} for part in (lists.train, lists.val))
    kept = replace(lists, train=train, val=val)
    notes = (*lists.notes, f"left out: class {first_of(rare)}, which fewer than {least} training pictures have")
    if lists.several:
        training = {image for images in lists.train.values() for image in images}
        parts: tuple[Marks, Marks] = ({}, {})
        for image, marks in lists.several.items():  # in the order of the file list
            parts[image not in training][image] = {c: mark for c, mark in marks.items() if c not in rare}
        again = several_lists(lists.arrangement, parts[0], None if lists.pool else parts[1])
        kept = replace(kept, train=again.train, val=again.val, several=again.several)
        notes += again.notes
    left = {image for part in kept.sets.values() for images in part.values() for image in images}
    return replace(kept, domains={image: d for image, d in lists.domains.items() if image in left}, notes=notes)


def _present(marks: Iterable[dict[str, int]]) -> set[str]:
    return {class_id for by_class in marks for class_id, mark in by_class.items() if mark == 1}


def first_of(names: list[str]) -> str:
    """The first name and how many more there are."""
    return shown(names[0]) + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
