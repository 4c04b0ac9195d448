"""Man-made and natural classes are the paper's, else WordNet's, else the user's, from any spreadsheet's table."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT, SHARED
from waiting import LIMIT

from transferability.classes import TABLES, ImageClass, class_groups, ilsvrc_classes, read_groups, wordnet_group
from transferability.files import Refused

DATA_NOUN = Path("/usr/share/wordnet/data.noun")


def test_the_wordnet_rule_gives_all_ilsvrc_classes_but_mashed_potato() -> None:
    classes = ilsvrc_classes()
    assert [c.id for c in classes] == sorted(c.id for c in classes)
    assert [c.name for c in classes if wordnet_group(c.id) != c.group] == ["mashed potato"]


def test_packed_ilsvrc_has_the_papers_groups_whoever_filled_the_column() -> None:
    table = ilsvrc_classes()
    for fill in (lambda c: "", lambda c: wordnet_group(c.id)):
        packed = [ImageClass(c.index, c.id, c.name, fill(c)) for c in table]
        assert class_groups(packed) == [c.group for c in table]


@pytest.mark.parametrize(
    ("class_id", "group"),
    [
        ("n00004258", "natural"),  # living thing, the first id of the table
        ("n00001740", "man-made"),  # entity, before the first range
        ("n01440764", "natural"),  # tench
        ("n07745940", "natural"),  # strawberry
        ("n09193705", "natural"),  # alp
        ("n02992529", "man-made"),  # cellular telephone
        ("n99999999", "man-made"),
        ("n0144076", ""),
        ("apple", ""),
    ],
)
def test_wordnet_group(class_id: str, group: str) -> None:
    assert wordnet_group(class_id) == group


@pytest.mark.skipif(not DATA_NOUN.exists(), reason="WordNet is not installed")
def test_the_table_of_natural_synsets_is_rebuilt_from_wordnet(tmp_path: Path) -> None:
    rebuilt = tmp_path / "table.csv"
    command = [sys.executable, str(PROJECT / "tools/make_wordnet_table.py"), str(DATA_NOUN), str(rebuilt)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
    assert rebuilt.read_bytes() == (TABLES / "natural_synsets.csv").read_bytes()


@pytest.mark.skipif(not (SHARED / "reference").exists(), reason="the reference lists are not here")
def test_the_groups_are_the_references() -> None:
    with (SHARED / "reference/ilsvrc2012_classes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(int(r["index"]), r["wnid"], r["name"], r["group"]) for r in rows] == [
        (c.index, c.id, c.name, c.group) for c in ilsvrc_classes()
    ]


def test_groups_are_the_users_where_ids_are_not_wordnets() -> None:
    classes = [
        ImageClass(0, "gear", "gear", "man-made"),
        ImageClass(1, "leaf", "leaf", "natural"),
        ImageClass(2, "n01440764", "tench", ""),
        ImageClass(3, "wall", "wall", "man-made"),
    ]
    assert class_groups(classes) == ["man-made", "natural", "natural", "man-made"]


def test_a_group_that_contradicts_wordnet_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="n01440764"):
        class_groups([ImageClass(0, "n01440764", "tench", "man-made")])


# ---------------------------------------------------------------------------------------- the user's table


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("id,group,name\nant,natural,the ant\nbüs,man-made,\ncat,,\n", "utf-8"),
        ("Id;Group;Name\r\ncat;;\r\nant;Natural;the ant\r\nbüs;MAN-MADE;\r\n;;\r\n", "cp1252"),
        ("id\tgroup\tname\t\t\nant\tnatural\tthe ant\nbu\u0308s\tman-made\ncat\n", "utf-16"),
        ('"group";"id";"name"\r"natural";" ant ";"the ant"\r"man-made";"büs";\r"";"cat";""\r', "utf-8-sig"),
    ],
    ids=["commas", "Excel in the West", "Excel's Unicode text, accents apart", "quoted, lines of old Macs"],
)
def test_groups_as_spreadsheets_write_them(tmp_path: Path, text: str, encoding: str) -> None:
    table = tmp_path / "groups.csv"
    table.write_bytes(text.encode(encoding))
    assert read_groups(table, ["ant", "büs", "cat"]) == ({"ant": "natural", "büs": "man-made"}, {"ant": "the ant"})


def test_ids_that_are_no_text_are_found_as_they_are(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_bytes(b"id,group\ncaf\xe9,natural\n")
    assert read_groups(table, ["caf\udce9"]) == ({"caf\udce9": "natural"}, {})
    with pytest.raises(Refused, match=r"class caf\\xe9 is not in the data set, or the file not in UTF-8: save it"):
        read_groups(table, ["cafè"])
