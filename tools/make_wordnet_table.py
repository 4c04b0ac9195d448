"""Makes transferability/tables/natural_synsets.csv, the natural half of WordNet 3.0.

    python tools/make_wordnet_table.py [DATA_NOUN] [TABLE]

DATA_NOUN is WordNet 3.0's noun file, by default that of Debian's package `wordnet-base`. The script needs nothing but
Python and takes a second. tests/test_classes.py runs it where WordNet is installed, and compares the tables.

The rule behind the man-made and natural lists of Yosinski et al. 2014 (section 4.2, supplement): a synset is natural if
it lies under one of the five ROOTS below (as a hyponym, or as an instance, such as a named canyon). It gives 999 of the
1,000 classes of ILSVRC 2012 the group that the authors give them. The exception is mashed potato (n07711569), which
WordNet files under produce and the paper under man-made (transferability/classes.py follows the paper).

The byte offset of a synset in data.noun is the number in its ImageNet id, so the table needs only the ids. Related
synsets are neighbours in the file, so the table is a list of ranges. Row `first,last,name`: every synset from n<first>
to n<last> is natural; `name`, for readers, is that of the first one.
"""

import sys
from pathlib import Path

ROOTS = {
    "00004258": "living thing",
    "09287968": "geological formation",
    "07705711": "produce",
    "13134947": "fruit",
    "07800740": "fodder",
}


HYPONYMS, HYPERNYMS = ("~", "~i"), ("@", "@i")  # signs of pointers; i: from and to an instance


def read_nouns(path: Path, signs: tuple[str, str] = HYPONYMS) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Name, and what the pointers of these signs lead to, of every noun synset, by its eight-digit offset.

    Format: wndb(5WN).
    """
    names: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    with path.open(encoding="latin-1") as lines:
        for line in lines:
            if line.startswith("  "):  # the licence
                continue
            fields = line.split(" | ")[0].split()
            offset, word_count = fields[0], int(fields[3], 16)
            pointers = fields[4 + 2 * word_count :]
            names[offset] = fields[4].replace("_", " ")
            others[offset] = [pointers[i + 1] for i in range(1, 1 + 4 * int(pointers[0]), 4) if pointers[i] in signs]
    return names, others


def natural_ranges(names: dict[str, str], hyponyms: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    """The natural synsets as (first, last, name of the first), ascending."""
    natural: set[str] = set()
    todo = list(ROOTS)
    while todo:
        offset = todo.pop()
        if offset not in natural:
            natural.add(offset)
            todo.extend(hyponyms[offset])

    ranges: list[tuple[str, str, str]] = []
    previous_is_natural = False
    for offset in sorted(names):
        if offset in natural and previous_is_natural:
            ranges[-1] = (ranges[-1][0], offset, ranges[-1][2])
        elif offset in natural:
            ranges.append((offset, offset, names[offset]))
        previous_is_natural = offset in natural
    return ranges


def main() -> None:
    project = Path(__file__).resolve().parent.parent
    data_noun = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet/data.noun")
    table = Path(sys.argv[2]) if len(sys.argv) > 2 else project / "transferability/tables/natural_synsets.csv"
    if not data_noun.is_file():
        raise SystemExit(f"{data_noun} is missing: install Debian's wordnet-base, or name WordNet 3.0's data.noun")
    names, hyponyms = read_nouns(data_noun)
    for offset, name in ROOTS.items():
        if names.get(offset) != name:
            raise SystemExit(f"{data_noun} is not WordNet 3.0: it has no synset {offset} named {name!r}")
    rows = natural_ranges(names, hyponyms)
    table.write_text("first,last,name\n" + "".join(f"{a},{b},{name}\n" for a, b, name in rows))
    print(f"{table}: {len(rows)} ranges")


if __name__ == "__main__":
    main()
