"""PASCAL VOC's classification task: JPEGImages/ and the lists of ImageSets/Main/, several classes per image.

A list such as aeroplane_trainval.txt gives each image 1 (present), -1 (absent) or 0 (*difficult*: hard to recognise;
not judged in the challenge). Difficult classes are packed as not known. Where there are lists of the test part, as for
2007, training is trainval and validation is test; otherwise train and val.
"""

import re

from transferability.data.listing import ImageLists, Tree, find_folders, join, text_of
from transferability.data.several import Marks, several_lists
from transferability.files import Refused, shown

LIST = re.compile(r"ImageSets/Main/(.+)_(trainval|train|val|test)\.txt")
MARKS = {"1": 1, "0": -1}  # of the lists → of packed sets; absent classes are left out


def tree_images(tree: Tree) -> ImageLists | None:
    """The images of one year of PASCAL VOC in a folder or archive. None where there are none."""
    roots = find_folders(tree, {"JPEGImages", "ImageSets"})
    if not roots:
        return None
    if len(roots) > 1:
        raise Refused(f"{shown(tree.path)} holds {shown(roots[0])} and {shown(roots[1])}: give one of them")
    root = roots[0]
    entries = tree.below(root)
    place = shown(f"{tree.path}/{root}".rstrip("/"))
    lists: dict[str, dict[str, str]] = {}  # by part and class: the list's name
    for name, file in entries.items():
        if file is not None and (match := LIST.fullmatch(name.removeprefix(join(root, "")))):
            lists.setdefault(match[2], {})[match[1]] = name
    parts = ("trainval", "test") if "test" in lists else ("train", "val")
    if missing := [part for part in parts if part not in lists]:
        raise Refused(
            f"{place} has no lists such as ImageSets/Main/aeroplane_{missing[0]}.txt: unpack {missing[0]} too"
        )
    marks: dict[str, Marks] = {part: {} for part in parts}
    for part in parts:
        for class_id, name in sorted(lists[part].items()):
            for line in text_of(entries, name).splitlines():
                number, mark = [*line.split(), "", ""][:2]
                image = entries.get(join(root, f"JPEGImages/{number}.jpg"))
                if number and (image is None or mark not in ("1", "0", "-1")):
                    fault = f"has no picture {number}.jpg" if image is None else f"is marked {mark!r} for {number}"
                    raise Refused(f"{shown(tree.path)}: {shown(name)}: {shown(fault)}: download it again")
                if number and image is not None:
                    known = marks[part].setdefault(image, {})
                    known |= {class_id: MARKS[mark]} if mark in MARKS else {}
    folder = root.rpartition("/")[2] or tree.path.name
    return several_lists(f"PASCAL {folder if folder.startswith('VOC') else 'VOC'}", marks[parts[0]], marks[parts[1]])
