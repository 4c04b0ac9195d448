"""The grammar of treatments: every text that it knows, and every one that it refuses."""

import itertools
import re

import pytest

from transferability.files import Refused
from transferability.treatment import LayerPlan, Treatment, in_letters, parse

HALVES = {"A": 500, "B": 500}
NONSENSE = (
    "A03B AB 3B A3 A3R C3B A3C a3b A3Bp A3Bp0 A3Bp02 A3B+p2 A3B++ A3B+-1 A3B+.1 A3B+1. A3B+1e-3 "
    "base baseR baseC BaseA baseA+ baseAB A-3B A3B+X A3B. A3B@250"
)
MIXED = "baseA baseB baseW A1A A2A A10A B2B A2A+ A2B B1A B2A W1A W3B A1B+ A3B+0.1 A3Bp2 R1A R2A R1B"
COPIED, RANDOM, FRESH = "copied", "random", "fresh"


def whole_grammar() -> list[Treatment]:
    bases = [Treatment(target) for target in "ABW"]
    copies = [
        Treatment(target, source, n, preserved, rate)
        for source, target, n, preserved, rate in itertools.product(
            "ABWR", "ABW", (1, 2, 7, 8, 10, 13), (0, 1, 2, 11), (0.0, 1.0, 0.1, 0.00001, 0.5, 2.5, 1234567.125)
        )
        if not (preserved and rate == 1)
    ]
    return bases + copies


def test_what_is_printed_is_parsed_and_means_the_same() -> None:
    all_of_them = whole_grammar()
    texts = [str(treatment) for treatment in all_of_them]
    assert len(set(texts)) == len(texts) == 3 + 4 * 3 * 6 * (4 * 7 - 3)
    assert [parse(text) for text in texts] == all_of_them
    assert [str(parse(text)) for text in texts] == texts


@pytest.mark.parametrize(
    ("text", "treatment", "kind", "plus"),
    [
        ("baseB", Treatment("B"), "base", ""),
        ("A3B", Treatment("B", "A", 3), "transfer", ""),
        ("B3B", Treatment("B", "B", 3), "selffer", ""),
        ("B3B+", Treatment("B", "B", 3, 0, 1.0), "selffer", "1"),
        ("A3B+0.1", Treatment("B", "A", 3, 0, 0.1), "transfer", "0.1"),
        ("A3Bp2", Treatment("B", "A", 3, 2), "transfer", ""),
        ("A3Bp2+0.1", Treatment("B", "A", 3, 2, 0.1), "transfer", "0.1"),
        ("R3B", Treatment("B", "R", 3), "random", ""),
        ("W8W+", Treatment("W", "W", 8, 0, 1.0), "selffer", "1"),
        ("A12B", Treatment("B", "A", 12), "transfer", ""),
        ("At3B", Treatment("B", "A", 3, top=True), "transfer", "top"),
        ("Bt3B", Treatment("B", "B", 3, top=True), "selffer", "top"),
    ],
)
def test_meaning_of_a_text(text: str, treatment: Treatment, kind: str, plus: str) -> None:
    assert parse(text) == treatment
    assert (treatment.kind, treatment.plus, str(treatment)) == (kind, plus, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A3B+0", "write A3B"),
        ("A3B+0.0", "write A3B"),
        ("A3Bp2+", "write A5B+"),
        ("A3Bp2+1", "write A5B+"),
        ("A3B+1", "spelled A3B+"),
        ("A3B+0.10", "spelled A3B+0.1"),
        ("A3B+00.1", "spelled A3B+0.1"),
        *[(text, "no treatment") for text in NONSENSE.split()],
        ("", "no treatment"),
        (" A3B", "no treatment"),
        ("A3B\n", "no treatment"),
        *[
            (text, "the last layers are copied from A or B and frozen; write At3B")
            for text in ("At3B+", "At3Bp1", "Rt3B")
        ],
    ],
)
def test_other_texts_are_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)) as refused:
        parse(text)
    assert repr(text) in str(refused.value)  # by its name
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A9B", "A9B: 9 layers cannot be copied, the network has 8"),
        ("A7Bp2", "A7Bp2: 9 layers"),
        ("B8B", "B8B: all 8 layers are frozen"),
        ("A8B", "A8B: all 8 layers are frozen, nothing is left to train; the source's network is judged as it is only"),
        ("W8B", "W8B: all 8 layers are frozen, nothing is left to train"),
        ("At3B", "At3B: the last layers of one task fit another only where A and B share classes"),
        ("R8B", "R8B: all 8 layers are frozen"),
        ("A3W", "A3W: the split has no task W, only A, B"),
        ("baseW", "baseW: the split has no task W"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(text: str, why: str) -> None:
    parse("W3A").check(8, HALVES)  # the base of all classes is a source on any split
    with pytest.raises(Refused, match=re.escape(why)):
        parse(text).check(8, HALVES)


@pytest.mark.parametrize("text", ["A8B+", "A8B+0.1", "A7Bp1", "A1Bp7"])
def test_the_last_layer_is_copied_only_between_equal_halves(text: str) -> None:
    parse(text).check(8, HALVES)
    with pytest.raises(Refused, match=re.escape(f"{text}: the last layer cannot be copied, A has 551")):
        parse(text).check(8, {"A": 551, "B": 449})


@pytest.mark.parametrize("text", ["baseA", "A7B", "B7B", "R7B", "B8B+", "B7Bp1", "A7B+", "R8B+"])
def test_what_can_be_built_is_not_refused(text: str) -> None:
    parse(text).check(8, {"A": 551, "B": 449})


@pytest.mark.parametrize(
    ("text", "plans"),
    [
        ("baseB", [(FRESH, 1)] * 5),
        ("A2B", [(COPIED, 0)] * 2 + [(FRESH, 1)] * 3),
        ("A2B+", [(COPIED, 1)] * 2 + [(FRESH, 1)] * 3),
        ("A2B+0.1", [(COPIED, 0.1)] * 2 + [(FRESH, 1)] * 3),
        ("A2Bp1", [(COPIED, 0)] * 2 + [(COPIED, 1)] + [(FRESH, 1)] * 2),
        ("A2Bp1+0.1", [(COPIED, 0.1)] * 2 + [(COPIED, 1)] + [(FRESH, 1)] * 2),
        ("R2B", [(RANDOM, 0)] * 2 + [(FRESH, 1)] * 3),
        ("R2Bp1+0.5", [(RANDOM, 0.5)] * 2 + [(RANDOM, 1)] + [(FRESH, 1)] * 2),
        ("B5B+", [(COPIED, 1)] * 5),
        ("At2B", [(FRESH, 1)] * 3 + [(COPIED, 0)] * 2),
        ("A5B", [(COPIED, 0)] * 5),
    ],
)
def test_what_each_layer_starts_from_and_how_fast_it_learns(text: str, plans: list[tuple[str, float]]) -> None:
    assert parse(text).layers(5) == tuple(LayerPlan(origin, rate) for origin, rate in plans)


def test_order_is_bases_selffer_transfer_random_and_by_n() -> None:
    ordered = [str(treatment) for treatment in sorted(map(parse, MIXED.split()[::-1]), key=lambda t: t.order)]
    kinds = [parse(text).kind for text in ordered]
    assert kinds == sorted(kinds, key=["base", "selffer", "transfer", "random"].index)
    for family in (["A1A", "A2A", "A10A"], ["B1A", "B2A"], ["R1A", "R2A"]):
        at = [ordered.index(text) for text in family]
        assert at == list(range(at[0], at[0] + len(family)))  # together, by n as a number


def test_the_papers_letters_whatever_the_direction() -> None:
    names = [
        "baseA",
        "baseB@250",
        "baseW@long",
        "A3A",
        "B3B+",
        "W2W",
        "A3B",
        "B3A+",
        "A8B+0.1",
        "B2Ap2",
        "R3A",
        "R3W@5",
    ]
    assert [in_letters(name) for name in names] == [
        *("base", "base@250", "base@long", "BnB", "BnB+", "BnB", "AnB", "AnB+", "AnB+0.1", "AnBp2", "RnB", "RnB@5")
    ]
    with pytest.raises(Refused, match="'A3C' is no treatment"):
        in_letters("A3C@250")
