"""Makes tables of what classes are like, for networks that recognise classes never seen (docs/zero_shot.md).

    python tools/make_class_tables.py hypernyms CLASSES.CSV TABLE.CSV [DATA_NOUN]
    python tools/make_class_tables.py awa2 FOLDER CLASSES.CSV TABLE.CSV

hypernyms: for classes with WordNet ids. CLASSES.CSV has a column `id`, as the classes.csv of a packed set; DATA_NOUN is
WordNet 3.0's noun file, by default that of Debian's package `wordnet-base`. An attribute is a synset that is, directly
or through others, a hypernym (or of an instance the class) of at least two of the classes and not of all. Of synsets
that the same classes lie under the lowest stands for all. So transferability/tables/tiny_imagenet_hypernyms.csv was
made, from Tiny ImageNet's classes. Classes with equal rows, such as two kinds of one bird, cannot be told apart by it.

awa2: from the files of Animals with Attributes 2 (classes.txt, predicates.txt, predicate-matrix-binary.txt), for those
of its 50 classes that the set in CLASSES.CSV has: AWA2_IDS says by which WordNet ids.

Needs nothing but Python, and make_wordnet_table.py beside it.
"""

import csv
import sys
from pathlib import Path

from make_wordnet_table import HYPERNYMS, read_nouns

# Which of Tiny ImageNet's classes are classes of AwA2: the same animal, or a kind of it.
AWA2_IDS = {
    "n02423022": "antelope",
    "n02132136": "grizzly+bear",
    "n02123394": "persian+cat",
    "n02106662": "german+shepherd",
    "n02504458": "elephant",
    "n02403003": "ox",
    "n02415577": "sheep",
    "n02481823": "chimpanzee",
    "n02085620": "chihuahua",
    "n02410509": "buffalo",
    "n02395406": "pig",
    "n02129165": "lion",
}

AWA2_FILES = ("classes.txt", "predicates.txt", "predicate-matrix-binary.txt")


def all_above(offset: str, above: dict[str, list[str]]) -> dict[str, int]:
    """Every synset above one, with its least distance."""
    found: dict[str, int] = {}
    level, distance = above[offset], 1
    while level:
        found.update({synset: distance for synset in level if synset not in found})
        level, distance = [up for synset in level for up in above[synset] if up not in found], distance + 1
    return found


def hypernyms(ids: list[str], data_noun: Path) -> list[list[str]]:
    """The rows of the table, the first one its columns."""
    names, above = read_nouns(data_noun, HYPERNYMS)
    if strange := [name for name in ids if name[1:] not in names]:
        raise SystemExit(f"class {strange[0]!r} has no id of a noun of {data_noun}")
    lie_under = {name: all_above(name[1:], above) for name in ids}
    members: dict[tuple[str, ...], list[str]] = {}  # classes → the synsets that just they lie under
    for synset in sorted({up for ups in lie_under.values() for up in ups}):
        under = tuple(name for name in ids if synset in lie_under[name])
        if 2 <= len(under) < len(ids):
            members.setdefault(under, []).append(synset)
    lowest = {under: min(synsets, key=lambda up: lie_under[under[0]][up]) for under, synsets in members.items()}
    ordered = sorted(lowest, key=lambda under: (-len(under), lowest[under]))
    heading = ["id", "name", *(f"{names[lowest[under]]} n{lowest[under]}" for under in ordered)]
    return [heading, *([name, names[name[1:]], *(str(int(name in under)) for under in ordered)] for name in ids)]


def awa2(ids: list[str], folder: Path) -> list[list[str]]:
    """The rows of the table, the first one its columns."""

    def lines(name: str) -> list[list[str]]:
        return [line.split() for line in (folder / name).read_text().splitlines() if line.strip()]

    animals, predicates = ([line[-1] for line in lines(name)] for name in AWA2_FILES[:2])
    rows = dict(zip(animals, lines(AWA2_FILES[2]), strict=True))
    chosen = [name for name in ids if name in AWA2_IDS]
    if not chosen:
        raise SystemExit("none of the classes is one of AwA2's, by AWA2_IDS")
    return [["id", "name", *predicates], *([name, AWA2_IDS[name], *rows[AWA2_IDS[name]]] for name in chosen)]


def main() -> None:
    what, *places = sys.argv[1:] or [""]
    if what not in ("hypernyms", "awa2") or not (2 if what == "hypernyms" else 3) <= len(places) <= 3:
        raise SystemExit(__doc__)
    classes, table = (Path(place) for place in (places[:2] if what == "hypernyms" else places[1:3]))
    needed = [classes, *(Path(places[0]) / name for name in (AWA2_FILES if what == "awa2" else ()))]
    if missing := [file for file in needed if not file.is_file()]:
        raise SystemExit(f"{missing[0]}: there is no such file")
    with classes.open(newline="", encoding="utf-8-sig") as file:
        ids = [row.get("id", "") for row in csv.DictReader(file)]
    if not ids or not all(ids):
        raise SystemExit(f"{classes} has no column `id` with an id in each row")
    if what == "awa2":
        rows = awa2(ids, Path(places[0]))
    else:
        data_noun = Path(places[2] if len(places) > 2 else "/usr/share/wordnet/data.noun")
        if not data_noun.is_file():
            raise SystemExit(f"{data_noun} is missing: install Debian's wordnet-base, or name WordNet 3.0's data.noun")
        rows = hypernyms(ids, data_noun)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    kinds = len({tuple(row[2:]) for row in rows[1:]})
    print(f"{table}: {len(rows) - 1} classes of {kinds} kinds, {len(rows[0]) - 2} attributes")


if __name__ == "__main__":
    main()
