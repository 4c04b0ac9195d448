"""What a data set holds, checked when it is packed: its classes, its domains, images with several classes."""

from pathlib import Path

import numpy as np

from transferability.classes import ImageClass, known_groups, read_groups
from transferability.data.listing import ImageLists, ImageRef
from transferability.data.several import first_of
from transferability.files import Refused, shown

POOL_NEEDS = "without a validation part each class needs two, one to train on and one to validate on"


def check_classes(source: str, lists: ImageLists) -> None:
    """Refuses a data set unless it has two classes or more, each with training and validation images.

    In a pool each class needs two images. Where images have several classes, readers have left out what no training
    image has, and a class need not be present in a validation image.
    """
    place = shown(source)
    if not lists.train:
        raise Refused(f"{place} has no classes" + ("" if lists.pool else ": train/ is empty"))
    if len(lists.train) == 1:
        raise Refused(
            f"{place} has one class only, {first_of([*lists.train])}: a network needs two or more to tell apart"
        )
    if lists.several:
        if not lists.pool and not any(lists.val.values()):
            raise Refused(f"{place} has no validation pictures")
        return
    for subset, images in (("training", lists.train), ("validation", lists.val)):
        if empty := sorted(c for c, refs in images.items() if not refs):
            which = "" if lists.pool else f"{subset} "
            raise Refused(f"{place}: class {first_of(empty)} has no {which}pictures: add some or delete the folder")
    if lists.pool:
        if single := sorted(c for c, refs in lists.train.items() if len(refs) == 1):
            raise Refused(f"{place}: class {first_of(single)} has one picture only: {POOL_NEEDS}")
        return
    if foreign := sorted(set(lists.val) - set(lists.train)):
        raise Refused(f"{place}: class {first_of(foreign)} has validation but no training pictures")
    if lacking := sorted(set(lists.train) - set(lists.val)):
        raise Refused(f"{place}: class {first_of(lacking)} has training but no validation pictures")


def domain_names(lists: ImageLists) -> list[str]:
    """The names of the domains, ascending, as they are written into the manifest."""
    return sorted({shown(domain) for domain in set(lists.domains.values())})


def domains_without_classes(lists: ImageLists) -> list[str]:
    """One line for each domain that lacks a class."""
    present: dict[str, set[str]] = {domain: set() for domain in domain_names(lists)}
    for by_class in lists.sets.values() if lists.domains else ():
        for class_id, images in by_class.items():
            for image in images:
                marks = lists.several.get(image, {class_id: 1})
                present[shown(lists.domains[image])] |= {name for name, mark in marks.items() if mark == 1}
    return [
        f"domain {domain} has no pictures of class {first_of(lacking)}"
        for domain, classes in present.items()
        if (lacking := sorted(set(lists.train) - classes))
    ]


def class_table(lists: ImageLists, groups: Path | None) -> tuple[ImageClass, ...]:
    """Classes in ascending order of their ids, with names and groups.

    A group comes from the id where that tells it (ILSVRC, WordNet ids), else from the user's CSV file, else from the
    data set.
    """
    ids = sorted(lists.train)
    known = known_groups(ids)
    given, names = read_groups(groups, ids) if groups else ({}, {})
    for class_id, group in zip(ids, known, strict=True):
        if group and given.get(class_id, group) != group:
            raise Refused(
                f"--groups {shown(groups)}: class {shown(class_id)} is {group} by WordNet, not"
                f" {given[class_id]}: leave its group empty or correct it"
            )
    return tuple(
        ImageClass(
            index,
            class_id,
            names.get(class_id) or lists.names.get(class_id) or class_id,
            group or given.get(class_id) or lists.groups.get(class_id, ""),
        )
        for index, (class_id, group) in enumerate(zip(ids, known, strict=True))
    )


def refuse_too_few(c: ImageClass, subset: str, listed: list[ImageRef], kept: list[ImageRef], pool: bool) -> None:
    """Refuses a class of which too few images can be read."""
    if not kept:
        raise Refused(
            f"{listed[0].place}: neither this nor any other picture of class {shown(c.id)} in {subset} can be read"
        )
    if pool and len(kept) == 1:
        raise Refused(f"{kept[0].place} is the only picture of class {shown(c.id)} that can be read: {POOL_NEEDS}")


def optional_arrays(
    lists: ImageLists, classes: tuple[ImageClass, ...], images: list[ImageRef]
) -> dict[str, np.ndarray]:
    """Domains and several classes of some images, as in `packed.ImageSet`, where the data set has them."""
    arrays = {}
    if lists.domains:
        index = {name: i for i, name in enumerate(domain_names(lists))}
        arrays["domains"] = np.array([index[shown(lists.domains[image])] for image in images], np.int64)
    if lists.several:
        arrays["several"] = np.zeros((len(images), len(classes)), np.int8)
        column = {c.id: c.index for c in classes}
        for row, image in zip(arrays["several"], images, strict=True):
            for class_id, mark in lists.several[image].items():
                row[column[class_id]] = mark
    return arrays
