"""Where images come from: every arrangement of files that `transferability pack` reads.

`list_images` finds out what it was given and lists the images of every class, without unpacking or copying anything;
`read` fetches one of them. Arrangements, in a folder, a zip or an uncompressed tar where they are made of folders:

    demo                the demo images, painted by the package itself; demo-domains: the same classes in two domains,
                        painted and drawn, demo-domains:0.5: half as far from each other
    train/ and val/     (or training/, validation/, valid/; test/ where there is no other), each of one folder per class
    class folders       alone: a pool, of which each seed draws the images to train on (pools.py)
    domain folders      each of one folder per class, a pool or with train/ and val/: Office-31, Office-Caltech, PACS
                        (pools.py)
    a table             CSV with the columns path and label, or labels, or one column per class, and perhaps subset and
                        domain (tables.py)
    Tiny ImageNet       as published: the classes of val/ stand in val_annotations.txt; or val/ sorted by hand
    CIFAR-10, -100      as torchvision downloads them (cifar.py)
    ILSVRC 2012         the official tar files and the development kit, read where they lie; or unpacked, with val/ in
                        class folders, or flat, with the ground truth of the kit or of Kaggle's table (ilsvrc.py)
    Caltech-101         101_ObjectCategories/, a pool, without BACKGROUND_Google (pools.py)
    Flowers-17, -102    jpg/ and the lists beside it (flowers.py)
    PASCAL VOC          VOC2007/ with JPEGImages/ and ImageSets/Main/: several classes per image (voc.py)
    MNIST, USPS, SVHN   as torchvision stores them, and arrays in a .npz (digits.py)

Every file in a class's folder counts as an image, whatever its extension, except clutter (`listing.is_clutter`).
"""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from transferability.classes import same_text
from transferability.data import cifar, digits, flowers, ilsvrc, tables, voc
from transferability.data.listing import (
    Entries,
    ImageLists,
    ImageRef,
    Tree,
    folder_entries,
    folder_tree,
    listed_tree,
    read_encoded,
    tar_entries,
    text_of,
    zip_entries,
)
from transferability.data.pools import (
    TRAIN_FOLDERS,
    VAL_FOLDERS,
    by_class,
    class_root,
    first_name,
    lacks,
    parts,
    pool_images,
)
from transferability.files import Refused, shown

DEMO_DOMAINS = "demo-domains"
PREFERRED = "/Data/CLS-LOC"  # Kaggle's ILSVRC has a train/ of images here, and one of XML as deep


def list_images(source: str, layout: str | None = None) -> ImageLists:
    """Lists the images of `source`: the words `demo` or `demo-domains`, a folder, a zip, a tar or a table.

    layout: `classes` or `domains` says what the outer folders of class folders are that have no train/ and val/ around
    them; None leaves that to their look. Raises Refused where `source` is nothing of the kind.
    """
    if source == "demo":
        return demo_images()
    if source.partition(":")[0] == DEMO_DOMAINS:
        return demo_domains(source.partition(":")[2])
    path = Path(source).expanduser()
    if not path.exists():
        raise Refused(f"{shown(path)} does not exist: give a folder, a zip, a table, or the words demo or demo-domains")
    try:
        return file_images(path, layout) if path.is_file() else folder_images(path, layout)
    except PermissionError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: permission denied") from None
    except OSError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: {error.strerror or error}") from None


def read(image: ImageRef) -> bytes | np.ndarray:
    """The encoded file as bytes, or the pixels (H, W, 3) uint8 where the data set holds pixels.

    Raises Unreadable, OSError, or what the reader of a damaged archive raises."""
    if image.storage == digits.STORAGE:
        return digits.read_pixels(image)
    return cifar.read_pixels(image) if image.storage.startswith("cifar") else read_encoded(image)


def file_images(path: Path, layout: str | None) -> ImageLists:
    """The images of a zip, a tar, a table or a .npz."""
    if path.suffix.lower() in tables.SUFFIXES:
        return tables.table_images(path)
    if path.suffix.lower() == ".npz" and (lists := digits.npz_images(path)):
        return lists
    if zipfile.is_zipfile(path):
        return tree_images(listed_tree(path, zip_entries(path)), layout)
    if images := cifar.tar_images(path):
        return images
    if path.name in (ilsvrc.TRAIN_TAR, ilsvrc.VAL_TAR, *ilsvrc.DEVKIT_TARS):
        raise Refused(f"{shown(path)} is one of the three files of ILSVRC 2012: give the folder that holds them")
    if not tarfile.is_tarfile(path):
        raise Refused(
            f"{shown(path)} is neither a folder nor a whole zip: unpack it, or, with the tar files of"
            " ILSVRC 2012, give the folder that holds them"
        )
    try:
        tarfile.TarFile(path).close()
    except tarfile.TarError:
        raise Refused(f"{shown(path)} is a compressed tar: unpack it and give the folder") from None
    return tree_images(listed_tree(path, tar_entries(path)), layout)


def folder_images(path: Path, layout: str | None) -> ImageLists:
    """The images of a folder."""
    tree = folder_tree(path)
    unpacked = parts(tree, "") is not None
    if layout is None and (lists := cifar.folder_images(path) or (None if unpacked else digits.folder_images(path))):
        return lists
    if ilsvrc.has_all_tars(path) or (ilsvrc.has_some_tar(path) and not unpacked):
        return ilsvrc.tar_images(path)  # or says which of them is missing
    return tree_images(tree, layout)


def tree_images(tree: Tree, layout: str | None) -> ImageLists:
    """The images of a folder or archive."""
    if layout:
        root, _ = class_root(tree)
        return part_images(tree, root) if layout == "classes" and parts(tree, root) else pool_images(tree, layout)
    root_of_parts = find_root(tree)
    if root_of_parts is not None:
        return part_images(tree, root_of_parts)
    return flowers.tree_images(tree) or voc.tree_images(tree) or pool_images(tree, None)


# ------------------------------------------------------------------------------------------ train/ and val/


def find_root(tree: Tree) -> str | None:
    """The folder that holds train/ and val/ ('': the top): the one least deep, or None. One without val/ will do.

    Raises Refused where there is more than one.
    """
    level = [""]
    while level:
        folders = {folder: tree.folders(folder) for folder in level}
        roots = [folder for folder in level if first_name(folders[folder], TRAIN_FOLDERS)]
        roots = [folder for folder in roots if first_name(folders[folder], VAL_FOLDERS)] or roots
        roots = [folder for folder in roots if f"/{folder}".endswith(PREFERRED)] or roots
        if len(roots) > 1:
            first, second = (f"{root}/{first_name(folders[root], TRAIN_FOLDERS)}" for root in sorted(roots)[:2])
            todo = "unpack it and give the folder" if tree.path.is_file() else "give the folder"
            raise Refused(
                f"{shown(tree.path)} holds {shown(first)} and {shown(second)}: {todo} that holds the one you mean, or"
                " --layout domains if these are parts or classes of domains"
            )
        if roots:
            return roots[0]
        level = [f"{folder}/{child}".lstrip("/") for folder in level for child in folders[folder]]
    return None


def part_entries(tree: Tree, root: str) -> Entries:
    """What lies in train/ and val/ and beside them, and the development kit of ILSVRC 2012; of an archive, all."""
    if tree.path.is_file():
        return tree.below("")
    names = (first_name(tree.folders(root), wanted) for wanted in (TRAIN_FOLDERS, VAL_FOLDERS))
    return folder_entries(tree.path, root, {name.lower() for name in (*names, ilsvrc.DEVKIT) if name})


def part_images(tree: Tree, root: str) -> ImageLists:
    """The images in train/ and val/ of the folder `root`, in any of the usual arrangements."""
    path, entries = tree.path, part_entries(tree, root)
    at = f"{root}/" if root else ""
    folders = [name[len(at) :] for name, image in entries.items() if image is None and name.startswith(at)]
    train_name, val_name = first_name(folders, TRAIN_FOLDERS), first_name(folders, VAL_FOLDERS)
    if train_name is None or val_name is None:
        raise lacks(tree, "val" if train_name else "train", root)
    val_folder = at + val_name
    train = by_class(entries, at + train_name)
    descriptions = _words(entries, at)
    annotations = f"{val_folder}/val_annotations.txt"
    annotated = text_of(entries, annotations) if entries.get(annotations) else ""
    entries.pop(annotations, None)
    unsorted = any(image and name.rpartition("/")[0] == f"{val_folder}/images" for name, image in entries.items())
    if annotated and unsorted:
        val = tiny_imagenet_val(path, entries, val_folder, annotated)
        check_wnids(path, entries, at, train)
        return ImageLists(
            "Tiny ImageNet as published", train, val, {wnid: descriptions.get(wnid, "") for wnid in train}
        )

    names = ilsvrc.class_names()
    flat = ilsvrc.flat_images(entries, val_folder)
    if flat:
        val = ilsvrc.sort_by_truth(path, flat, ilsvrc.ground_truth(path, entries))
    else:
        val = _sorted_val(entries, val_folder, train)
    if flat or set(train) == set(names):
        return ImageLists("ILSVRC 2012, unpacked", train, val, names, default_size=256)
    return ImageLists(f"{tree.container} of class folders", train, val, names | descriptions)


def _sorted_val(entries: Entries, folder: str, train: dict[str, list[ImageRef]]) -> dict[str, list[ImageRef]]:
    """The validation images from class folders, with the classes spelled as in `train`."""
    val = by_class(entries, folder)
    if "images" in val and "images" not in train:  # Tiny ImageNet's val/images/, after somebody sorted it by hand
        if not val["images"]:
            del val["images"]
        elif len(val) == 1:
            val = by_class(entries, f"{folder}/images")
    # The two may differ in how accents are composed: macOS decomposes them.
    spellings = {same_text(class_id): class_id for class_id in train}
    renamed = {c: c if c in train else spellings.get(same_text(c), c) for c in val}
    return {renamed[c]: images for c, images in val.items()} if len(set(renamed.values())) == len(val) else val


# ------------------------------------------------------------------------------------------ Tiny ImageNet


def tiny_imagenet_val(path: Path, entries: Entries, folder: str, annotations: str) -> dict[str, list[ImageRef]]:
    """The validation images of Tiny ImageNet as published: in val/images/, their classes in val_annotations.txt."""
    val: dict[str, list[ImageRef]] = {}
    start = f"{folder}/images/"
    images = {name[len(start) :]: image for name, image in entries.items() if image and name.startswith(start)}
    for line in annotations.splitlines():
        if line.strip():
            name, wnid = [*line.split("\t"), ""][:2]
            if not wnid:
                raise Refused(f"{shown(path)}: val_annotations.txt gives {shown(name)} no class: download it again")
            image = images.pop(name, None)
            if image is None:
                raise Refused(f"{shown(path)}: {shown(name)} of val_annotations.txt is not in val/images/")
            val.setdefault(wnid, []).append(image)
    if images:
        raise Refused(f"{shown(path)}: {shown(start + min(images))} is not in val_annotations.txt")
    return val


def check_wnids(path: Path, entries: Entries, at: str, train: dict[str, list[ImageRef]]) -> None:
    """Refuses a Tiny ImageNet whose class folders are not those of its wnids.txt."""
    if f"{at}wnids.txt" not in entries:
        return
    listed = set(text_of(entries, f"{at}wnids.txt").split())
    if odd := sorted(listed ^ set(train)):
        fault = "has no folder in train/" if odd[0] in listed else "is not in wnids.txt"
        raise Refused(f"{shown(path)}: class {shown(odd[0])} {fault} ({len(odd)} such classes)")


def _words(entries: Entries, at: str) -> dict[str, str]:
    """The first name of each class, from Tiny ImageNet's words.txt, if it is there."""
    lines = text_of(entries, f"{at}words.txt").splitlines() if entries.get(f"{at}words.txt") else []
    pairs = (line.partition("\t") for line in lines)
    return {wnid: names.split(",")[0].strip() for wnid, _, names in pairs}


# ------------------------------------------------------------------------------------------------- demo


def demo_images() -> ImageLists:
    """The demo images of every class: training numbers first, then validation numbers."""
    from transferability.data import demo  # not needed for other data sets

    sets: dict[str, dict[str, list[ImageRef]]] = {"train": {}, "val": {}}
    painted = hashlib.sha256()
    for c in demo.CLASSES:
        for subset, numbers in (("train", demo.TRAIN_NUMBERS), ("val", demo.VAL_NUMBERS)):
            sets[subset][c.id] = [ImageRef("demo", str(c.index), f"demo/{c.id}/{n}", n) for n in numbers]
        painted.update(demo.paint_many(c.index, range(2)).tobytes())
    names, groups = {c.id: c.name for c in demo.CLASSES}, {c.id: c.group for c in demo.CLASSES}
    return ImageLists("demo", sets["train"], sets["val"], names, groups, stamp=painted.hexdigest())


def demo_distance(lists: ImageLists) -> float | None:
    """How far apart the demo's domains are; None where there is one domain."""
    distances = [float(image.container.partition(" ")[2]) for image in lists.domains]
    return max(distances, default=None)


def demo_domains(text: str) -> ImageLists:
    """The demo's classes in two domains, painted and drawn. text: how far apart they are, from 0 to 1; "": 1."""
    from transferability.data import demo  # not needed for other data sets

    try:
        distance = float(text or demo.DISTANCE)
        if not 0 <= distance <= 1:
            raise ValueError
    except ValueError:
        raise Refused(f"{DEMO_DOMAINS}:{text}: write the distance of the domains as a number from 0 to 1") from None
    sets: dict[str, dict[str, list[ImageRef]]] = {"train": {}, "val": {}}
    domains: dict[ImageRef, str] = {}
    painted = hashlib.sha256()
    for c in demo.CLASSES:
        for domain, ranges in demo.DOMAINS.items():
            away = distance if domain == "drawn" else 0.0
            for subset, numbers in zip(("train", "val"), ranges, strict=True):
                images = [ImageRef("demo", f"{c.index} {away:g}", f"{domain}/{c.id}/{n}", n) for n in numbers]
                sets[subset].setdefault(c.id, []).extend(images)
                domains |= dict.fromkeys(images, domain)
            painted.update(demo.paint_many(c.index, ranges[0][:1], away).tobytes())
    names, groups = {c.id: c.name for c in demo.CLASSES}, {c.id: c.group for c in demo.CLASSES}
    about = f"demo in two domains, {distance:g} apart"
    stamp = painted.hexdigest()
    return ImageLists(about, sets["train"], sets["val"], names, groups, stamp=stamp, domains=domains)
