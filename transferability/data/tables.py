"""A CSV table of pictures: paths, labels and, perhaps, which part and which domain each belongs to.

    path       relative to the table's folder, or absolute; also named file, filename or image
    label      the class of the picture; also named class
    labels     instead: all classes of the picture, with semicolons between them
    any names  instead of both: one column per class, of 1 (present), 0 (absent) and -1 (not known); columns with other
               values, or without a 1, are not read
    subset     train, val or test; also named split; without it the pictures are a pool. Where all three are there,
               test is left out; where val is not, test takes its place
    domain     the picture's domain

Further columns are not read. `files.parse_table` says which separators and encodings are; names of columns are read in
small letters. Pictures stay in the order of the table.
"""

import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from transferability.classes import same_text
from transferability.data.listing import ImageLists, ImageRef
from transferability.data.several import Marks, first_of, several_lists
from transferability.files import Refused, as_windows_text, decoded, parse_table, shown

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")  # the last three are refused: save them as CSV
NAMES = {  # of each column, the preferred one first
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "class"),
    "labels": ("labels", "classes"),
    "subset": ("subset", "split"),
    "domain": ("domain",),
}
SUBSETS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SUBSETS |= {"test": "test", "testing": "test"}
NUMBERS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}  # in the column of a class

Row = dict[str, str]
Rows = dict[ImageRef, Row]


def table_images(path: Path) -> ImageLists:
    """The pictures of a table. Raises Refused, naming the picture, where a file is missing or a cell is wrong."""
    rows = table_rows(path)
    columns = {key: next((name for name in names if name in rows[0]), "") for key, names in NAMES.items()}
    images = dict(zip(image_refs(path, [row[columns["path"]] for row in rows]), rows, strict=True))
    parts, notes = parts_of(path, images, columns["subset"])
    if columns["labels"] or not columns["label"]:
        marks, unread = marks_of(path, images, columns["labels"])
        notes += [f"not read: column {first_of(unread)}"] if unread else []
        sets = [{image: marks[image] for image in part} for part in parts]
        lists = several_lists("table", sets[0], sets[1] if len(sets) > 1 else None)
    else:
        labels = {image: cell(path, image, row, columns["label"]) for image, row in images.items()}
        train, val = (by_label(part, labels) for part in (*parts, [])[:2])
        lists = ImageLists("table", train, val, pool=len(parts) == 1)
    kept = [image for by_class in lists.sets.values() for refs in by_class.values() for image in refs]
    domains = {image: cell(path, image, images[image], columns["domain"]) for image in kept if columns["domain"]}
    return replace(lists, domains=domains, notes=(*notes, *lists.notes))


def table_rows(path: Path) -> list[Row]:
    """The rows of the table."""
    data = path.read_bytes()
    heading = re.split(r'[,;\t\s"]+', " ".join(decoded(data).split("\n")[:2]).lower())  # Excel's sep= may come first
    column = next((name for name in NAMES["path"] if name in heading), "path")
    rows = parse_table(data, shown(path), (column,))
    if not rows:
        raise Refused(f"{shown(path)} has no rows below the names of its columns")
    return rows


def image_refs(path: Path, cells: list[str]) -> list[ImageRef]:
    """The files that the cells of the column of paths name."""
    refs = []
    seen: set[str] = set()
    missing = []
    for text in cells:
        name = next((name for name in spellings(text) if (path.parent / name).is_file()), None)
        if name is None or not text:
            missing.append(as_windows_text(text))
            continue
        if os.path.normpath(name) in seen:
            raise Refused(
                f"{shown(path)} names {shown(name)} twice: give each picture one row, with all its classes in a column"
                " labels, separated by semicolons"
            )
        seen.add(os.path.normpath(name))
        stat = (path.parent / name).stat()
        refs.append(ImageRef("file", str(path.parent), name, 0, stat.st_size, stat.st_mtime_ns))
    if missing:
        raise Refused(
            f"{shown(path)}: there is no file {first_of(missing)}: paths are relative to the table's folder,"
            f" {shown(path.parent)}"
        )
    return refs


def spellings(cell: str) -> list[str]:
    """A path as it may be spelled on this machine: in another encoding, by Windows, with accents composed or not."""
    texts = [slashes for text in (cell, as_windows_text(cell)) for slashes in (text, text.replace("\\", "/"))]
    forms = ((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)) for text in texts)
    return [*dict.fromkeys(form for group in forms for form in group)]


def parts_of(path: Path, images: Rows, column: str) -> tuple[list[list[ImageRef]], list[str]]:
    """The training and the validation images, or the images of a pool alone; and notes."""
    if not column:
        return [[*images]], []
    parts: dict[str, list[ImageRef]] = {"train": [], "val": [], "test": []}
    for image, row in images.items():
        subset = SUBSETS.get(row[column].lower())
        if subset is None:
            raise Refused(
                f"{shown(path)}: {column} {shown(row[column])!r} of {shown(image.name)} is not train, val or test"
            )
        parts[subset].append(image)
    val = parts["val"] or parts["test"]
    if not parts["train"] or not val:
        lacking = "val or test" if parts["train"] else "train"
        raise Refused(f"{shown(path)}: no picture's {column} is {lacking}; for a pool, leave the column out")
    left_out = len(parts["test"]) if parts["val"] else 0
    return [parts["train"], val], [f"left out: {left_out:,} test pictures, since some are val"] if left_out else []


def cell(path: Path, image: ImageRef, row: Row, column: str) -> str:
    """A cell with a name of a class or domain. Raises Refused where it is empty."""
    text = same_text(as_windows_text(row[column]))
    if not text:
        raise Refused(f"{shown(path)}: {shown(image.name)} has no {column}: give one, or delete its row")
    return text


def by_label(images: list[ImageRef], labels: dict[ImageRef, str]) -> dict[str, list[ImageRef]]:
    """Images by their label, in the order of the table."""
    classes: dict[str, list[ImageRef]] = {}
    for image in images:
        classes.setdefault(labels[image], []).append(image)
    return classes


def marks_of(path: Path, images: Rows, column: str) -> tuple[Marks, list[str]]:
    """The classes of each image, from the column of labels or else from one column per class; and columns not read."""
    if column:
        texts = {image: same_text(as_windows_text(row[column])).split(";") for image, row in images.items()}
        return {image: {name.strip(): 1 for name in names if name.strip()} for image, names in texts.items()}, []
    known = {name for names in NAMES.values() for name in names}
    others = [name for name in next(iter(images.values())) if name and name not in known]
    classes = [name for name in others if {row[name] for row in images.values()} <= {*NUMBERS, ""}]
    classes = [name for name in classes if any(row[name] for row in images.values())]
    if not classes:
        raise Refused(
            f"{shown(path)} needs a column label, a column labels (separated by semicolons), or one column per class of"
            " 1, 0 and -1"
        )
    marks: Marks = {image: {} for image in images}
    for image, row in images.items():
        if empty := [name for name in classes if not row[name]]:
            raise Refused(
                f"{shown(path)}: {shown(image.name)} has nothing in column {first_of(empty)}: give 1, 0 or -1"
            )
        marks[image] = {same_text(as_windows_text(name)): NUMBERS[row[name]] for name in classes if NUMBERS[row[name]]}
    present = {name for name in classes if any(NUMBERS[row[name]] == 1 for row in images.values())}
    return marks, [name for name in others if name not in present]
