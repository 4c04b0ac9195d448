"""Class folders without train/ and val/, and domains of class folders, in a folder, zip or tar.

    class/picture             a pool: each seed draws which pictures train and which validate
    domain/class/picture      a pool with domains (Office-31, Office-Caltech, PACS); with the layout `domains` also
                              train/domain/class and domain/train/class, each with val/ to match

The two are told apart by what is two folders deep: domains hold nothing but class folders, and more than half of their
names stand in several domains. What may be either is refused until the layout is given. A folder around all, or around
the class folders of a domain (Office-31's images/), does not count; nor do folders beside it that have no pictures, nor
files beside the class folders that are no pictures. Clutter classes of published sets are left out (`CLUTTER_CLASSES`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from transferability.classes import same_text
from transferability.data.listing import Entries, ImageLists, ImageRef, Tree, join, listed_tree
from transferability.data.several import first_of
from transferability.files import Refused, shown

LAYOUTS = ("classes", "domains")
TRAIN_FOLDERS = ("train", "training", "ilsvrc2012_img_train")  # in lower case, the preferred one first
# Many data sets have two parts only, and call the second one test.
VAL_FOLDERS = ("val", "validation", "valid", "ilsvrc2012_img_val", "test", "testing")
CLUTTER_CLASSES = ("BACKGROUND_Google", "257.clutter")  # of Caltech-101 and -256: pictures of no class
CALTECH = "101_ObjectCategories"
PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
)
ARCHIVES = (".zip", ".tar", ".npz")  # that can be given
OTHER_ARCHIVES = (".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z")

Classes = dict[str, list[ImageRef]]


def pool_images(tree: Tree, layout: str | None) -> ImageLists:
    """The images of class folders, or of domains of class folders. Raises Refused where there are neither."""
    root, unread = class_root(tree)
    entries = tree.below(root)
    listed = listed_tree(tree.path, entries)
    if layout is None and first_name(listed.folders(root), VAL_FOLDERS):
        raise lacks(tree, "train", root)
    refuse_no_classes(tree, entries, root)
    notes = [f"not read: {first_of(unread)}, without pictures"] if unread else []
    if layout == "domains" or (layout is None and are_domains(listed, root)):
        return replace(domain_images(listed, root), notes=tuple(notes))
    classes = class_folders(entries, root)
    refuse_other_folders(tree, entries, classes)
    for name in CLUTTER_CLASSES:
        if name in classes:
            notes.append(f"left out: {len(classes.pop(name)):,} pictures of {name}, which is no class")
    is_caltech = (root or tree.path.name).rpartition("/")[2] == CALTECH
    arrangement = "Caltech-101" if is_caltech else f"{tree.container} of class folders, a pool"
    return ImageLists(arrangement, classes, {}, pool=True, notes=tuple(notes))


def class_root(tree: Tree) -> tuple[str, list[str]]:
    """The folder that holds the class folders or domains: the first in which more than one folder has pictures in it,
    by the names of files. And the folders beside it, which have none."""
    listed = listed_tree(tree.path, tree.below(""))
    with_pictures: set[str] = set()
    for name in filter(is_picture, listed.below("")):
        folder = name.rpartition("/")[0]
        while folder not in with_pictures and folder:
            with_pictures.add(folder)
            folder = folder.rpartition("/")[0]
    root = ""
    unread: list[str] = []
    while True:
        folders = [join(root, name) for name in listed.folders(root)]
        inner = [folder for folder in folders if folder in with_pictures] or folders
        if len(inner) != 1 or not listed.folders(inner[0]):
            return root, unread
        root = inner[0]
        unread += [f"{folder}/" for folder in folders if folder != root]


def parts(tree: Tree, folder: str) -> tuple[str, str] | None:
    """The names of train/ and val/ in a folder, or None where one of them is missing."""
    names = tree.folders(folder)
    train, val = first_name(names, TRAIN_FOLDERS), first_name(names, VAL_FOLDERS)
    return (train, val) if train and val else None


def first_name(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The first of the `wanted` names among `names`, whatever its case."""
    return min(
        (name for name in names if name.lower() in wanted),
        key=lambda name: (wanted.index(name.lower()), name != name.lower(), name),
        default=None,
    )


# ----------------------------------------------------------------------------------------------- classes


def by_class(entries: Entries, folder: str) -> Classes:
    """The images in and below each class folder, ordered by their path as text."""
    classes: Classes = {}
    strays = []
    start = f"{folder}/" if folder else ""
    for name, image in entries.items():
        if not name.startswith(start):
            continue
        class_id, _, inside = name[len(start) :].partition("/")
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


def class_folders(entries: Entries, folder: str) -> Classes:
    """As `by_class`; files beside the class folders may be there where they are no pictures: lists, licences, …"""
    start = f"{folder}/" if folder else ""

    def is_text(name: str, image: ImageRef | None) -> bool:
        beside = image is not None and name.startswith(start) and "/" not in name[len(start) :]
        return beside and not is_picture(name)

    return by_class({name: image for name, image in entries.items() if not is_text(name, image)}, folder)


# ----------------------------------------------------------------------------------------------- domains


def are_domains(tree: Tree, root: str) -> bool:
    """Whether the folders in `root` are domains, not classes. Raises Refused where they may be either."""
    folders = [join(root, name) for name in tree.folders(root)]
    entries = tree.below(root)
    own = {name.rpartition("/")[0] for name, image in entries.items() if image is not None}  # folders with files
    inner = {folder: tree.folders(inner_folder(tree, folder)) for folder in folders}
    if all(folder in own or not inner[folder] for folder in folders):
        return False
    only_folders = all(inner.values()) and not own.intersection(folders)
    deeper = any(
        tree.folders(join(inner_folder(tree, folder), name)) for folder, names in inner.items() for name in names
    )
    names = Counter(same_text(name) for children in inner.values() for name in children)
    repeated = sum(count > 1 for count in names.values())
    if only_folders and len(names) == 1:
        return False  # as class/images/picture
    if only_folders and not deeper and 2 * repeated > len(names):
        return True
    example = next(join(folder, inner[folder][0]) for folder in folders if inner[folder])
    raise Refused(
        f"{shown(tree.path)}: is {shown(example)} a class of a domain, or are its pictures of class"
        f" {shown(example.split('/')[-2])}? Give --layout domains or --layout classes"
    )


def refuse_no_classes(tree: Tree, entries: Entries, root: str) -> None:
    """Refuses a folder that holds no files in folders, or archives in place of pictures: no classes."""
    files = [name for name, image in entries.items() if image is not None]
    strays = [name for name in files if is_picture(name)]
    if not strays and archive_hint(tree.path, files):
        raise lacks(tree, "train", root, files)
    if any(name.rpartition("/")[0] != root for name in files):
        return
    if strays:
        raise Refused(
            f"{shown(tree.path)} holds pictures, such as {shown(strays[0])}, but no folders of classes: sort"
            " them into one folder per class, or give a CSV table with the columns path and label"
        )
    raise lacks(tree, "train", root)


def refuse_other_folders(tree: Tree, entries: Entries, classes: Classes) -> None:
    """Refuses a folder without pictures, by the names of its files, beside others that hold some: it is no class."""
    with_pictures = {c for c, images in classes.items() if any(is_picture(image.name) for image in images)}
    if with_pictures and (others := sorted(c for c, images in classes.items() if images and c not in with_pictures)):
        listed = sorted(name for name in entries if name.lower().endswith((".csv", ".tsv")))
        table = f", or give {shown(listed[0])}, if that is a table of pictures and their classes" if listed else ""
        raise Refused(f"{shown(tree.path)}: there are no pictures in {shown(others[0])}/: move it away{table}")


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name."""
    return name.lower().endswith(PICTURES)


def lacks(tree: Tree, folder: str, inner: str = "", files: Iterable[str] = ()) -> Refused:
    """The error about a missing train/ or val/. Where an archive is among the files, it may be what was meant."""
    inside = f" in {shown(inner)}" if inner else ""
    return Refused(
        f"{shown(tree.path)} has no folder {folder}/{inside}: it needs train/ and val/ (or validation/, valid/,"
        f" test/) of one folder per class, or class folders alone (--layout classes, if a class has such a name), or"
        f" a published data set as 'transferability pack --help' lists them{archive_hint(tree.path, files)}"
    )


def archive_hint(path: Path, names: Iterable[str]) -> str:
    """Which archive of some `names` of files in a folder or archive may be meant; '' where there is none."""
    for name in sorted(names):
        if path.is_dir() and name.lower().endswith(ARCHIVES):
            return f"; it holds {shown(name)}: give that"
        if name.lower().endswith((*ARCHIVES, *OTHER_ARCHIVES)):
            return f"; it holds {shown(name)}: unpack that and give the folder"
    return ""


def inner_folder(tree: Tree, folder: str) -> str:
    """The folder itself, or the only folder in it where that holds the class folders (Office-31's images/)."""
    children = tree.folders(folder)
    inside = join(folder, children[0]) if len(children) == 1 else folder
    return inside if tree.folders(inside) else folder


def domain_images(tree: Tree, root: str) -> ImageLists:
    """The images of domains of class folders, a pool or with train/ and val/ outside or inside of the domains."""
    outer, entries = parts(tree, root), tree.below(root)
    folders = [join(root, name) for name in tree.folders(root)]
    inside = {folder: parts(tree, folder) for folder in folders}
    if outer:
        subsets = {s: join(root, name) for s, name in zip(("train", "val"), outer, strict=True)}
        places = {s: {name: join(at, name) for name in tree.folders(at)} for s, at in subsets.items()}
    elif folders and all(inside.values()):
        places = {
            s: {folder.rpartition("/")[2]: join(folder, names[i]) for folder, names in inside.items() if names}
            for i, s in enumerate(("train", "val"))
        }
    else:
        places = {"train": {folder.rpartition("/")[2]: inner_folder(tree, folder) for folder in folders}, "val": {}}
    pool = not places["val"]
    if not pool and (odd := sorted({*places["train"]} ^ {*places["val"]})):
        subset = "training" if odd[0] in places["train"] else "validation"
        raise Refused(f"{shown(tree.path)}: domain {shown(odd[0])} has {subset} pictures only")
    domains: dict[ImageRef, str] = {}
    sets: dict[str, Classes] = {"train": {}, "val": {}}
    spellings: dict[str, str] = {}  # domains may differ in how accents are composed: macOS decomposes them
    for subset, folder_of in places.items():
        for domain in sorted(folder_of):
            for class_id, images in sorted(class_folders(entries, folder_of[domain]).items()):
                spelling = spellings.setdefault(same_text(class_id), class_id)
                sets[subset].setdefault(spelling, []).extend(images)
                domains |= dict.fromkeys(images, domain)
    arrangement = f"{tree.container} of domains of class folders" + (", a pool" if pool else "")
    return ImageLists(arrangement, sets["train"], sets["val"], pool=pool, domains=domains)
