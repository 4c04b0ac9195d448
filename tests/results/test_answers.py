"""How many layers can be kept: the sentences are what the intervals allow, and say where they allow nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest

from transferability.results.answers import answers, sentences, spans
from transferability.results.paper import paper_results
from transferability.results.statistics import BEST, NOT_ENOUGH, Mean, networks, standing


def table(gaps: Mapping[str, Sequence[float]], split: str = "random-{}", images: str = "") -> pd.DataFrame:
    """Rows of `statistics.networks`: for each network by name, its difference from the base in points, unit by unit."""
    rows: list[dict[str, Any]] = []
    units = max(map(len, gaps.values()))
    for unit in range(units):
        common = {"split": split.format(unit), "target": "B", "group": "random", "images_per_class": images}
        common |= {"unit": f"{split.format(unit)}/seed-0", "variant": "", "source": "A", "numbers": float("nan")}
        rows.append({**common, "kind": "base", "treatment": "base", "n": 0, "difference": float("nan"), "source": ""})
        for name, values in gaps.items():
            if unit < len(values):
                treatment, n = name.split(" ")
                cell = {"kind": "transfer", "treatment": treatment, "n": int(n), "difference": values[unit] / 100}
                rows.append({**common, **cell})
    return pd.DataFrame(rows)


def test_the_sentence_says_up_to_which_n_and_from_which_on_not() -> None:
    rows = table(
        {
            "AnB 1": (0.3, 0.4, 0.5),
            "AnB 2": (-0.4, -0.3, -0.2),
            "AnB 3": (-2, 0, 2),
            "AnB 4": (-5, -5.1, -5.2),
            "AnB+ 1": (1, 1.1, 1.2),
            "AnB+ 2": (3, 3.1, 3.2),
            "AnB+ 3": (2.8, 2.9, 3.0),
        }
    )
    assert sentences(rows) == [
        "Random splits, AnB: up to n = 2 within a point of its base, or above it (lowest: -0.3 ±0.2 at n = 2); "
        "at n = 3 it cannot be told (+0.0 ±5.0, not enough networks); "
        "at n = 4 more than a point below its base (-5.1 ±0.2).",
        "Random splits, AnB+: up to n = 3 within a point of its base, or above it (lowest: +1.1 ±0.2 at n = 1).",
        "Random splits: the best, by the means: AnB+ at n = 2; within a point of it: AnB+ at n = 3; "
        "it cannot be told of AnB at n = 3 (not enough networks).",
    ]
    found = {(answer.treatment, answer.reference): answer for group in answers(rows) for answer in group}
    assert found["AnB", "base"].up_to == 2 and found["AnB+", "AnB+ at n = 2"].up_to is None
    assert found["AnB+", "AnB+ at n = 2"].at("beyond") == (1,)
    assert found["base", "AnB+ at n = 2"].at("beyond") == (0,)


def test_a_published_base_which_is_judged_on_other_images_is_compared_with_nothing() -> None:
    rows = table({"AnB 1": (0.3, 0.4, 0.5)})
    published = rows[rows["kind"] == "base"].head(1).assign(treatment="published", target="A", difference=0.2)
    assert sentences(pd.concat([rows, published])) == sentences(rows)


def test_below_three_units_nothing_is_told_but_the_means() -> None:
    lines = sentences(table({"AnB 1": (0.3, 0.4), "AnB 2": (-3, -3)}))
    assert lines[0] == (
        "Random splits, AnB: cannot be told from 2 units; by the means alone, within a point of its base, or above it, "
        "up to n = 1."
    )
    assert lines[1] == (
        "Random splits: the best, by the means alone: AnB at n = 1; what is within a point of it cannot be told."
    )
    assert lines[2] == "A unit is a split with a seed; below 3 units there is no interval, which would decide."
    assert (
        "by the means alone, more than a point below its base at n = 1 already."
        in sentences(table({"AnB 1": (-2,)}))[0]
    )


def test_the_base_may_be_the_best_and_a_dip_may_end() -> None:
    lines = sentences(table({"BnB 1": (-0.2, -0.1, 0), "BnB 2": (-4, -4, -4), "BnB 3": (-0.3, -0.3, -0.3)}))
    assert "up to n = 1 within a point of its base, or above it (-0.1 ±0.2)" in lines[0]
    assert "again at n = 3 within a point of its base" in lines[0]
    assert lines[1].startswith(
        "Random splits: the best, by the means: the base; within a point of it: BnB at n = 1 and 3"
    )


def test_an_n_without_networks_and_a_base_that_is_missing_are_said() -> None:
    rows = table({"AnB 1": (0.1, 0.2, 0.3), "AnB 3": (0.1, 0.2, 0.3), "AnBp2 3": (0.1, 0.2, 0.3)})
    lines = sentences(rows)
    assert lines[0].startswith("Random splits, AnB: up to n = 3 within")
    assert lines[0].endswith("; compared at n = 1 and 3 only.")
    assert lines[1].startswith("Random splits, AnBp2: at n = 3 within") and "only" not in lines[1]
    alone = rows[rows["kind"] != "base"].assign(difference=float("nan"))
    assert sentences(alone) == [
        "Random splits, AnB, AnBp2: cannot be told, since their bases are not in the table, or have diverged."
    ]


def test_networks_with_fewer_units_are_not_called_worse_than_the_best() -> None:
    best = sentences(table({"AnB 1": (0.1, 0.2, 0.3), "AnB+ 1": (2, 2)}))[-2]
    assert best.startswith("Random splits: the best of the networks with 3 units, by the means: AnB at n = 1;")
    assert best.endswith("it cannot be told of AnB+ at n = 1 (not enough networks).")


def test_networks_on_few_images_are_compared_with_each_other() -> None:
    few = table({"AnB@5 1": (8, 8, 8), "AnB@5 2": (6, 6, 6)}, images="5")
    few["treatment"] = few["treatment"].replace("base", "base@5")
    both = pd.concat([table({"AnB 1": (2, 2, 2)}), few], ignore_index=True)
    best = [line for line in sentences(both) if "the best" in line]
    assert [line.split(": ")[2].partition(";")[0] for line in best] == ["AnB at n = 1", "AnB@5 at n = 1"]
    assert [line.split(":")[0] for line in best] == ["Random splits", "Random splits, networks @5"]


def test_the_papers_own_networks() -> None:
    lines = sentences(networks(paper_results(), BEST))
    assert lines[2] == (
        "Random splits, AnB: up to n = 3 within a point of its base, or above it (lowest: -0.6 ±0.2 at n = 3); "
        "at n = 4 to 7 more than a point below its base (lowest: -8.3 ±0.3 at n = 7)."
    )
    assert sentences(networks(paper_results(), BEST)[:0]) == []


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (-0.01, 0.0, "within"),
        (0.02, 0.03, "within"),
        (-0.03, -0.011, "beyond"),
        (-0.03, -0.005, NOT_ENOUGH),
        (-0.02, 0.02, NOT_ENOUGH),
        (float("nan"), float("nan"), NOT_ENOUGH),
    ],
)
def test_standing(low: float, high: float, expected: str) -> None:
    assert standing(Mean((low + high) / 2, low, high, 6, 3, "splits")) == expected


def test_spans() -> None:
    assert [spans(ns) for ns in ((3,), (1, 2), (1, 2, 4), (1, 3, 5, 6))] == [
        "3",
        "1 to 2",
        "1 to 2 and 4",
        "1, 3 and 5 to 6",
    ]
