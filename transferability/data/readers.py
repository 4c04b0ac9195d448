"""Where images come from: every arrangement of files that `transferability pack` reads.

`list_images` finds out what it was given and lists the images of every class, without unpacking or copying anything;
`read` fetches one of them. Arrangements:

    demo                the demo images, painted by the package itself
    class folders       train/ and val/ (or training/, validation/, valid/; test/ where there is no other), each with
                        one folder per class: in a folder, a zip or an uncompressed tar
    Tiny ImageNet       as published: the classes of val/ stand in val_annotations.txt; or val/ sorted by hand
    CIFAR-10, -100      as torchvision downloads them (cifar.py)
    ILSVRC 2012         the official tar files and the development kit, read where they lie; or unpacked, with val/ in
                        class folders, or flat, with the ground truth of the kit or of Kaggle's table (ilsvrc.py)

Every file in a class's folder counts as an image, whatever its extension, except clutter (`listing.is_clutter`).
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from transferability.classes import same_text
from transferability.data import cifar, ilsvrc
from transferability.data.listing import (
    Entries,
    ImageLists,
    ImageRef,
    folder_entries,
    read_encoded,
    subfolders,
    tar_entries,
    text_of,
    zip_entries,
)
from transferability.files import Refused, shown

TRAIN_FOLDERS = ("train", "training", "ilsvrc2012_img_train")  # in lower case, the preferred one first
# Many data sets have two parts only, and call the second one test.
VAL_FOLDERS = ("val", "validation", "valid", "ilsvrc2012_img_val", "test", "testing")
PREFERRED = "/Data/CLS-LOC"  # Kaggle's ILSVRC has a train/ of images here, and one of XML as deep
DEPTH = 3  # of Kaggle's folder ILSVRC/Data/CLS-LOC: so deep a folder is searched for train/


def list_images(source: str) -> ImageLists:
    """Lists the images of `source`: the word `demo`, a folder, a zip or a tar. Raises Refused if it is none of them."""
    if source == "demo":
        return demo_images()
    path = Path(source).expanduser()
    if not path.exists():
        raise Refused(f"{shown(path)} does not exist: give a folder, a zip, or the word demo")
    try:
        return file_images(path) if path.is_file() else folder_images(path)
    except PermissionError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: permission denied") from None
    except OSError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: {error.strerror or error}") from None


def read(image: ImageRef) -> bytes | np.ndarray:
    """The encoded file as bytes, or the pixels (H, W, 3) uint8 where the data set holds pixels.

    Raises Unreadable, OSError, or what the reader of a damaged archive raises."""
    return cifar.read_pixels(image) if image.storage.startswith("cifar") else read_encoded(image)


def file_images(path: Path) -> ImageLists:
    """The images of a zip or a tar."""
    if zipfile.is_zipfile(path):
        return archive_images(path, zip_entries(path))
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
    return archive_images(path, tar_entries(path))


def archive_images(path: Path, entries: Entries) -> ImageLists:
    """The images of an archive that holds train/ and val/."""
    folders: dict[str, list[str]] = {}
    for name in (name for name, image in entries.items() if image is None):
        folders.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])
    return tree_images(path, entries, find_root(path, lambda folder: folders.get(folder, [])))


def folder_images(path: Path) -> ImageLists:
    """The images of a folder."""
    if images := cifar.folder_images(path):
        return images
    top = {name.lower() for name in subfolders(path, "")}
    unpacked = top & {*TRAIN_FOLDERS} and top & {*VAL_FOLDERS}
    if ilsvrc.has_all_tars(path) or (ilsvrc.has_some_tar(path) and not unpacked):
        return ilsvrc.tar_images(path)  # or says which of them is missing

    def children(folder: str) -> list[str]:
        return subfolders(path, folder) if folder.count("/") < DEPTH else []

    root = find_root(path, children)
    parts = (_one_of(subfolders(path, root), names) for names in (TRAIN_FOLDERS, VAL_FOLDERS))
    wanted = {name.lower() for name in (*parts, ilsvrc.DEVKIT) if name}
    return tree_images(path, folder_entries(path, root, wanted), root)


# ------------------------------------------------------------------------------------------- class folders


def find_root(path: Path, children: Callable[[str], list[str]]) -> str:
    """The folder below `path` that holds train/ and val/ ('': `path` itself): the one least deep.

    `children` gives the names of the folders in a folder. Raises Refused where there is none, or more than one.
    """
    level = [""]
    while level:
        folders = {folder: children(folder) for folder in level}
        roots = [folder for folder in level if _one_of(folders[folder], TRAIN_FOLDERS)]
        roots = [folder for folder in roots if _one_of(folders[folder], VAL_FOLDERS)] or roots
        roots = [folder for folder in roots if f"/{folder}".endswith(PREFERRED)] or roots
        if len(roots) > 1:
            first, second = (f"{root}/{_one_of(folders[root], TRAIN_FOLDERS)}" for root in sorted(roots)[:2])
            todo = "unpack it and give the folder" if path.is_file() else "give the folder"
            raise Refused(f"{shown(path)} holds {shown(first)} and {shown(second)}: {todo} that holds the one you mean")
        if roots:
            return roots[0]
        level = [f"{folder}/{child}".lstrip("/") for folder in level for child in folders[folder]]
    raise _lacks(path, "train")


def _one_of(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The first of the `wanted` names among `names`, whatever its case."""
    return min(
        (name for name in names if name.lower() in wanted),
        key=lambda name: (wanted.index(name.lower()), name != name.lower(), name),
        default=None,
    )


def _lacks(path: Path, folder: str, inner: str = "") -> Refused:
    inside = f" in {shown(inner)}" if inner else ""
    archives = sorted(path.glob("*.zip")) if path.is_dir() else []
    hint = f"; it holds {shown(archives[0].name)}: give that" if archives else ""
    return Refused(
        f"{shown(path)} has no folder {folder}/{inside}: it needs train/ and val/ (or validation/, valid/,"
        f" test/) of one folder per class, or Tiny ImageNet, CIFAR (for Python) or ILSVRC 2012 as published{hint}"
    )


def tree_images(path: Path, entries: Entries, root: str) -> ImageLists:
    """The images in train/ and val/ of the folder `root` of a folder or archive, in any of the usual arrangements."""
    at = f"{root}/" if root else ""
    folders = [name[len(at) :] for name, image in entries.items() if image is None and name.startswith(at)]
    train_name, val_name = _one_of(folders, TRAIN_FOLDERS), _one_of(folders, VAL_FOLDERS)
    if train_name is None or val_name is None:
        raise _lacks(path, "val" if train_name else "train", root)
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
    container = "folder" if path.is_dir() else "zip" if zipfile.is_zipfile(path) else "tar"
    return ImageLists(f"{container} of class folders", train, val, names | descriptions)


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


def by_class(entries: Entries, folder: str) -> dict[str, list[ImageRef]]:
    """The images in and below each class folder, ordered by their path as text."""
    classes: dict[str, list[ImageRef]] = {}
    strays = []
    for name, image in entries.items():
        if not name.startswith(folder + "/"):
            continue
        class_id, _, inside = name[len(folder) + 1 :].partition("/")
        if image is not None and not inside:
            strays.append((class_id, image))
            continue
        images = classes.setdefault(class_id, [])
        if image is not None and inside != f"{class_id}_boxes.txt":  # Tiny ImageNet's, beside its images
            images.append(image)
    for name, image in strays:
        if name.removesuffix(".tar") not in classes:  # the archive that a class was unpacked from may stay
            raise Refused(f"{image.place} lies beside the class folders: move it into one, or away")
    for images in classes.values():
        images.sort(key=lambda image: image.name)
    return classes


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
