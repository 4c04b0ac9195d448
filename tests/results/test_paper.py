"""The package's table of the paper's networks gives what the paper, and a re-analysis of its logs, state."""

import csv

import pytest
from project import SHARED

from transferability.results.paper import paper_preserved, paper_results
from transferability.results.statistics import boosts, mean_of, networks

REFERENCE = SHARED / "reference/yosinski2014_networks.csv"
BEST = "val_top1_best10"


def test_148_networks_have_a_published_accuracy() -> None:
    table = paper_results()
    assert len(table) == 148
    assert table[BEST].notna().all() and table["val_top1"].isna().all() and (table["seed"] == 0).all()
    rows = networks(table, BEST)
    assert rows.groupby(["group", "treatment"]).size().to_dict() == {
        ("random", "base"): 8,
        ("random", "BnB"): 28,
        ("random", "BnB+"): 10,
        ("random", "AnB"): 56,
        ("random", "AnB+"): 10,
        ("manmade-natural", "base"): 2,
        ("manmade-natural", "AnB"): 14,
        ("whole", "base"): 1,
        ("whole", "RnB"): 7,
    } | {("whole", f"base@{m}"): 1 for m in (1, 2, 5, 10, 25, 50, 100, 250, 500, 750, 1000, 1300)}


def test_the_bases_of_the_halves() -> None:
    table = paper_results()
    bases = table[table["network"].isin(["baseA", "baseB"])].set_index(["split", "target"])[BEST]
    expected = {("random-0", "A"): 0.6151, ("random-0", "B"): 0.6341, ("random-1", "A"): 0.6232}
    for half, accuracy in (expected | {("random-1", "B"): 0.6250}).items():
        assert bases[half] == pytest.approx(accuracy, abs=5e-5)
    # Orientation: A is man-made, and natural is the easier half.
    assert bases["manmade-natural", "B"] - bases["manmade-natural", "A"] == pytest.approx(0.116, abs=5e-4)


def test_table_1_is_the_papers_when_pooled_and_another_when_paired() -> None:
    rows = networks(paper_results(), BEST)
    points = [
        [
            round(100 * mean.value, 1)
            for mean in (
                boost.transfer_over_base_pooled,
                boost.transfer_over_selffer_pooled,
                boost.transfer_over_base_by_network,
                boost.selffer_over_base_by_network,
            )
        ]
        for boost in boosts(rows)
    ]
    assert points == [[1.6, 1.4, 1.0, 1.0], [1.8, 1.4, 1.2, 1.1], [2.1, 1.7, 1.2, 1.0]]


def test_no_target_has_both_fine_tuned_treatments() -> None:
    for boost in boosts(networks(paper_results(), BEST)):
        assert boost.transfer_over_selffer.networks == 0


def test_near_layer_3_coadaptation_and_specificity_are_within_noise() -> None:
    rows = networks(paper_results(), BEST)
    third = rows[(rows["group"] == "random") & (rows["n"] == 3)]
    coadaptation = mean_of(third[third["treatment"] == "BnB"], "coadaptation")
    specificity = mean_of(third[third["treatment"] == "AnB"], "specificity")
    assert round(100 * coadaptation.value, 1) == -0.2 and coadaptation.units == 4
    assert round(100 * specificity.value, 1) == -0.1 and specificity.networks == 4
    assert specificity.low < 0 < specificity.high


def test_the_preserve_experiment() -> None:
    table = paper_preserved().set_index("network")["val_top1"]
    assert len(table) == 7 + 7 + 6 + 7 + 7 + 6
    assert (table["A1A"], table["A5Ap2"], table["A7B"], table["A7Bp1"]) == (
        0.61664,
        0.58520,
        0.55160,
        0.55204,
    )


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference numbers are not here")
def test_the_packages_table_is_the_reference() -> None:
    with REFERENCE.open(newline="") as lines:
        reference = {
            (line["split"], line["network"]): (
                float(line["val_top1"]),
                float(line["val_loss"]),
                line["evaluations"],
            )
            for line in csv.DictReader(lines)
        }
    assert reference == {
        (row.split, row.network): (row.val_top1_best10, row.val_loss, str(row.validations))
        for row in paper_results().itertuples()
    }
