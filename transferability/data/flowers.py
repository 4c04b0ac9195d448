"""Flowers-17 and Flowers-102 as they are published: jpg/, and lists in MATLAB's files beside it.

Source: Nilsback and Zisserman 2006, 2008.

Flowers-17    jpg/image_0001.jpg …, 80 per class in the order of the classes. A pool; with datasplits.mat beside jpg/,
              the first of its three splits: training and validation images train (60 per class), test images validate
Flowers-102   jpg/image_00001.jpg …, imagelabels.mat, setid.mat: training and validation images train (20 per class),
              test images validate, as in most papers. Class ids are 001 to 102: the lists have no names
"""

import re

from transferability.data.listing import Entries, ImageLists, ImageRef, Tree, bytes_of, find_folders, join
from transferability.data.matlab import mat_numbers
from transferability.files import Refused, shown

PER_CLASS = 80
NAMES_17 = (
    *("daffodil", "snowdrop", "lily of the valley", "bluebell", "crocus", "iris", "tigerlily", "tulip", "fritillary"),
    *("sunflower", "daisy", "colt's foot", "dandelion", "cowslip", "buttercup", "windflower", "pansy"),
)
LABELS, SETS, SPLITS = "imagelabels.mat", "setid.mat", "datasplits.mat"
NAME = re.compile(r"image_(\d{4,5})\.jpe?g", re.IGNORECASE)
AGAIN = "download it again"


def tree_images(tree: Tree) -> ImageLists | None:
    """The images of Flowers-17 or -102 in a folder or archive. None where there are none."""
    roots = find_folders(tree, {"jpg"})
    if len(roots) != 1:
        return None
    root = roots[0]
    entries = tree.below(root)
    start = join(root, "jpg/")
    images = {
        int(match[1]): (len(match[1]), image)
        for name, image in entries.items()
        if image is not None and name.startswith(start) and (match := NAME.fullmatch(name[len(start) :]))
    }
    digits = {count for count, _ in images.values()}
    if len(digits) != 1:
        return None
    numbered = {number: images[number][1] for number in sorted(images)}
    return _flowers17(tree, root, entries, numbered) if digits == {4} else _flowers102(tree, root, entries, numbered)


def _flowers17(tree: Tree, root: str, entries: Entries, images: dict[int, ImageRef]) -> ImageLists:
    count = PER_CLASS * len(NAMES_17)
    names = {f"{i + 1:02}": name for i, name in enumerate(NAMES_17)}
    if not 1 <= min(images) <= max(images) <= count:
        raise Refused(f"{images[max(images)].place} is no picture of Flowers-17, which has {count:,}")
    labels = {number: f"{(number - 1) // PER_CLASS + 1:02}" for number in range(1, count + 1)}
    lost = count - len(images)
    notes = (f"{lost:,} of the {count:,} pictures of Flowers-17 are missing",) if lost else ()
    if join(root, SPLITS) not in entries:
        train = _by_class(tree, images, labels, sorted(images))
        return ImageLists("Flowers-17, a pool", train, {}, names, pool=True, notes=notes)
    parts = ("trn1", "val1", "tst1")
    numbers = mat_numbers(bytes_of(entries, join(root, SPLITS)), _place(tree, root, SPLITS), parts, AGAIN)
    train, val = (
        _by_class(tree, images, labels, chosen) for chosen in (numbers["trn1"] + numbers["val1"], numbers["tst1"])
    )
    return ImageLists("Flowers-17, the first split", train, val, names, notes=notes)


def _flowers102(tree: Tree, root: str, entries: Entries, images: dict[int, ImageRef]) -> ImageLists:
    for file in (LABELS, SETS):
        if join(root, file) not in entries:
            raise Refused(f"{_place(tree, root, file)} is missing: Flowers-102 needs {LABELS} and {SETS} beside jpg/")
    read = {
        file: mat_numbers(bytes_of(entries, join(root, file)), _place(tree, root, file), names, AGAIN)
        for file, names in ((LABELS, ["labels"]), (SETS, ["trnid", "valid", "tstid"]))
    }
    labels = {number: f"{label:03}" for number, label in enumerate(read[LABELS]["labels"], 1)}
    sets = read[SETS]
    train, val = (_by_class(tree, images, labels, chosen) for chosen in (sets["trnid"] + sets["valid"], sets["tstid"]))
    return ImageLists("Flowers-102", train, val)


def _by_class(
    tree: Tree, images: dict[int, ImageRef], labels: dict[int, str], chosen: list[int]
) -> dict[str, list[ImageRef]]:
    """The images with the `chosen` numbers by class, ascending in each."""
    classes: dict[str, list[ImageRef]] = {}
    for number in sorted(chosen):
        if number not in images or number not in labels:
            raise Refused(f"{shown(tree.path)} has no picture number {number} of Flowers, or no label of it: {AGAIN}")
        classes.setdefault(labels[number], []).append(images[number])
    return classes


def _place(tree: Tree, root: str, file: str) -> str:
    return shown(f"{tree.path}/{join(root, file)}")
