"""The classes of a data set, and which of them are man-made and which natural.

Source: Yosinski et al. 2014, section 4.2. For the 1,000 classes of ILSVRC 2012 the groups are the authors' own lists;
other classes with WordNet ids follow the WordNet rule; for the rest the user says.
"""

import csv
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from transferability.files import Refused, as_windows_text, read_table, shown

TABLES = Path(__file__).parent / "tables"
GROUPS = ("man-made", "natural", "")
_WORDNET_ID = re.compile(r"n(\d{8})")


@dataclass(frozen=True)
class ImageClass:
    """One class. `index`: its place in the data set, from 0, by ascending id. `group`: 'man-made', 'natural', '' where
    it is not known; or, in all classes of a data set, groups of the user's own."""

    index: int
    id: str
    name: str
    group: str


def ilsvrc_classes() -> tuple[ImageClass, ...]:
    """The 1,000 classes of ILSVRC 2012 in the order of their ids, from the package's own table."""
    with (TABLES / "ilsvrc2012_classes.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return tuple(ImageClass(int(row["index"]), row["wnid"], row["name"], row["group"]) for row in rows)


def class_groups(classes: Sequence[ImageClass]) -> list[str]:
    """'man-made' or 'natural' for each class: what its id says (`known_groups`), else what the user said.

    Raises Refused, naming the classes, where a group is unknown or contradicts WordNet.
    """
    known = known_groups([c.id for c in classes])
    groups = [by_id or c.group for c, by_id in zip(classes, known, strict=True)]
    classes = [c if c.group in GROUPS else replace(c, group="") for c in classes]  # groups of the user's own
    if unknown := [c.id for c, group in zip(classes, groups, strict=True) if group not in ("man-made", "natural")]:
        raise Refused(
            f"no group is known for {_listed(unknown)}: manmade-natural needs 'man-made' or 'natural' in the "
            "group column of classes.csv, or WordNet ids such as n01440764"
        )
    # mashed potato may have either group: the paper's or WordNet's
    if wrong := [
        c.id
        for c, group in zip(classes, groups, strict=True)
        if c.group not in ("", group, wordnet_group(c.id) or group)
    ]:
        raise Refused(
            f"the group column of classes.csv contradicts WordNet for {_listed(wrong)}: correct it or leave it empty"
        )
    return groups


def known_groups(class_ids: Sequence[str]) -> list[str]:
    """'man-made', 'natural' or '' (unknown) for each class of a data set, from the ids alone.

    The classes of ILSVRC 2012, if all 1,000 are there, have the groups of the paper's lists (551 and 449). All other
    ids follow the WordNet rule. The two differ in one class: mashed potato is natural by WordNet (produce), man-made
    in the paper.
    """
    ilsvrc = {c.id: c.group for c in ilsvrc_classes()}
    if set(class_ids) == set(ilsvrc):
        return [ilsvrc[class_id] for class_id in class_ids]
    return [wordnet_group(class_id) for class_id in class_ids]


def wordnet_group(class_id: str) -> str:
    """'man-made' or 'natural' by the WordNet rule for an id such as n01440764; '' for any other class id.

    tools/make_wordnet_table.py makes the table of natural ids; its docstring has the rule.
    """
    match = _WORDNET_ID.fullmatch(class_id)
    if not match:
        return ""
    firsts, lasts = _natural_ranges()
    number = int(match[1])
    position = bisect_right(firsts, number) - 1
    return "natural" if position >= 0 and number <= lasts[position] else "man-made"


def read_groups(path: Path, class_ids: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Group (where not empty) and name (where not empty) by class id, from a CSV file that the user wrote.

    It has the columns id, group and perhaps name, and a row for each class (`files.read_table` says what is read).
    Raises Refused where it lacks a class, has a class twice or one that is not in `class_ids`, or an unknown group.
    """
    spellings = {same_text(class_id): class_id for class_id in class_ids} | {c: c for c in class_ids}
    groups: dict[str, str] = {}
    names: dict[str, str] = {}
    for row in read_table(path, ("id", "group")):
        candidates = (row["id"], same_text(row["id"]), same_text(as_windows_text(row["id"])))
        class_id = next((spellings[text] for text in candidates if text in spellings), None)
        if class_id is None:
            encoding = "" if row["id"] == as_windows_text(row["id"]) else ", or the file not in UTF-8: save it as that"
            raise Refused(f"--groups {shown(path)}: class {shown(row['id'])} is not in the data set{encoding}")
        if class_id in groups:
            raise Refused(f"--groups {shown(path)}: class {shown(class_id)} stands there twice")
        groups[class_id] = row["group"].lower()
        names[class_id] = as_windows_text(row.get("name", ""))
    others = [class_id for class_id, group in groups.items() if group not in GROUPS]
    if others and len(others) < len([group for group in groups.values() if group]):  # man-made, and what else?
        raise Refused(
            f"--groups {shown(path)}: the group of {shown(others[0])} is {groups[others[0]]!r}: it must be"
            " man-made, natural or empty, or none of all groups may be one of these"
        )
    if missing := sorted(set(class_ids) - set(groups)):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise Refused(f"--groups {shown(path)}: class {shown(missing[0])}{more} is missing")
    return {c: group for c, group in groups.items() if group}, {c: name for c, name in names.items() if name}


def same_text(text: str) -> str:
    """`text` in the form by which two spellings of a class are compared: macOS writes é as e and an accent."""
    return unicodedata.normalize("NFC", text).strip()


@cache
def _natural_ranges() -> tuple[list[int], list[int]]:
    """First and last numbers of the ranges of natural WordNet ids, ascending."""
    with (TABLES / "natural_synsets.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return [int(row["first"]) for row in rows], [int(row["last"]) for row in rows]


def _listed(class_ids: Sequence[str], most: int = 8) -> str:
    more = ", ..." if len(class_ids) > most else ""
    return f"{len(class_ids)} of the classes ({', '.join(class_ids[:most])}{more})"
