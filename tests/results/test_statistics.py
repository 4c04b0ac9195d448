"""The statistics, on hand-made tables whose answers are known."""

import math
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from handmade import complete, frame, row
from waiting import LIMIT

from transferability.files import Refused
from transferability.results.show import footnotes
from transferability.results.statistics import (
    PUBLISHED,
    Mean,
    boosts,
    diverged,
    mean_of,
    means_by_n,
    networks,
    pooled_mean,
    summary,
    unpaired,
    verdict,
)
from transferability.results.table import full_names


def one(rows: pd.DataFrame, name: str) -> "pd.Series[Any]":
    return rows[[n == name for n in full_names(rows)]].iloc[0]


def unit(split: str, seed: int, gain: float) -> list[dict[str, Any]]:
    """Two bases of unequal difficulty, and A3B, B3A that differ from them by `gain` and `gain` + 0.02."""
    at = f"seed-{seed}"
    return [
        row(f"{split}/baseA/{at}", 0.50),
        row(f"{split}/baseB/{at}", 0.60),
        row(f"{split}/A3B/{at}", 0.60 + gain),
        row(f"{split}/B3A/{at}", 0.50 + gain + 0.02),
    ]


# ------------------------------------------------------------------------------------------------- pairing


def test_a_network_is_paired_with_the_base_of_its_own_split_target_and_seed() -> None:
    rows = networks(
        frame(
            row("random-0/baseA/seed-0", 0.50),
            row("random-0/baseB/seed-0", 0.60),
            row("random-0/baseB/seed-1", 0.70),
            row("random-1/baseB/seed-0", 0.80),
            row("random-0/B3B/seed-0", 0.59),
            row("random-0/A3B/seed-0", 0.56),
            row("random-0/B3A/seed-0", 0.48),
            row("random-0/A3B/seed-1", 0.71),
        )
    )
    assert one(rows, "random-0/A3B/seed-0")["difference"] == pytest.approx(-0.04)
    assert one(rows, "random-0/A3B/seed-0")["coadaptation"] == pytest.approx(-0.01)
    assert one(rows, "random-0/A3B/seed-0")["specificity"] == pytest.approx(-0.03)
    assert one(rows, "random-0/B3B/seed-0")["coadaptation"] == pytest.approx(-0.01)
    assert math.isnan(one(rows, "random-0/B3B/seed-0")["specificity"])
    assert one(rows, "random-0/B3A/seed-0")["difference"] == pytest.approx(-0.02)
    assert math.isnan(one(rows, "random-0/B3A/seed-0")["specificity"])  # A3A is not there
    assert one(rows, "random-0/A3B/seed-1")["difference"] == pytest.approx(0.01)
    assert math.isnan(one(rows, "random-0/A3B/seed-1")["specificity"])  # B3B has another seed
    assert math.isnan(one(rows, "random-0/baseB/seed-0")["difference"])
    assert one(rows, "random-0/A3B/seed-0")["train_loss_difference"] == pytest.approx(0.04)


def test_fine_tuned_networks_are_paired_with_fine_tuned_selffers_at_the_same_n() -> None:
    rows = networks(
        frame(
            row("random-0/baseB/seed-0", 0.60),
            row("random-0/B3B/seed-0", 0.50),
            row("random-0/B4B+/seed-0", 0.40),
            row("random-0/B3B+/seed-0", 0.62),
            row("random-0/A3B+/seed-0", 0.63),
            row("random-0/A3B+0.1/seed-0", 0.64),
        )
    )
    assert one(rows, "random-0/A3B+/seed-0")["specificity"] == pytest.approx(0.01)
    assert math.isnan(one(rows, "random-0/A3B+/seed-0")["coadaptation"])
    assert math.isnan(one(rows, "random-0/A3B+0.1/seed-0")["specificity"])


def test_fewer_images_are_paired_with_the_base_on_as_many_if_there_is_one() -> None:
    base, fewer = row("random-0/baseB/seed-0", 0.60), row("random-0/baseB@250/seed-0", 0.30)
    transfer = row("random-0/A3B@250/seed-0", 0.35)
    assert one(networks(frame(base, fewer, transfer)), "random-0/A3B@250/seed-0")["difference"] == pytest.approx(0.05)
    assert one(networks(frame(base, transfer)), "random-0/A3B@250/seed-0")["difference"] == pytest.approx(-0.25)
    assert math.isnan(one(networks(frame(base, fewer)), "random-0/baseB@250/seed-0")["difference"])


def test_a_variant_is_compared_with_the_plain_base_and_never_is_one() -> None:
    rows = networks(
        frame(
            row("random-0/baseB/seed-0", 0.60),
            row("random-0/baseB@long/seed-0", 0.65),
            row("random-0/A3B/seed-0", 0.61),
            row("whole/R3W@he/seed-0", 0.2),
        )
    )
    assert one(rows, "random-0/baseB@long/seed-0")["difference"] == pytest.approx(0.05)
    assert one(rows, "random-0/A3B/seed-0")["difference"] == pytest.approx(0.01)
    assert unpaired(rows) == ["whole/R3W@he/seed-0"]


def test_readouts_of_images_without_a_base_lack_none() -> None:
    rows = networks(
        frame(
            row("random-0/baseB/seed-0", 0.60),
            row("random-0/A3B@svm/seed-0", 0.55, numbers=64.0),
            row("random-0/A3A@svm/seed-0", 0.50, numbers=64.0),  # there is no base of A
            row("random-1/A3B@svm/seed-0", 0.5, numbers=64.0),
            row("random-1/A3B/seed-0", 0.5),
        )
    )
    assert one(rows, "random-0/A3B@svm/seed-0")["difference"] == pytest.approx(-0.05)
    assert unpaired(rows) == ["random-1/A3B/seed-0"]


def test_treatments_are_spelled_in_the_papers_letters_whatever_the_direction() -> None:
    names = ["A3B", "B3A", "A3A", "B3B+", "B3A+0.1", "A3Bp2", "R3A", "baseA", "baseA@long", "A3B+@250"]
    rows = networks(frame(*(row(f"random-0/{name}/seed-0", 0.5) for name in names)))
    assert list(rows["treatment"]) == [
        *("AnB", "AnB", "BnB", "BnB+", "AnB+0.1", "AnBp2", "RnB", "base", "base@long", "AnB+@250")
    ]


# ------------------------------------------------------------------------------------- means and intervals


def test_the_unit_is_split_and_seed_with_both_directions_averaged_first() -> None:
    rows = networks(frame(*unit("random-0", 0, 0.00), *unit("random-1", 0, 0.01), *unit("random-1", 1, 0.02)))
    mean = mean_of(rows[rows["treatment"] == "AnB"])
    # Units 0.01, 0.02, 0.03: mean 0.02, standard error 0.01 / sqrt(3), t(0.975, 2) = 4.302653.
    assert mean.value == pytest.approx(0.02)
    assert mean.high - mean.value == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    assert mean.value - mean.low == pytest.approx(mean.high - mean.value)
    assert (mean.networks, mean.units, mean.varies) == (6, 3, "splits and seeds")


def test_a_unit_with_one_direction_counts_as_one_unit() -> None:
    rows = networks(frame(*unit("random-0", 0, 0.00), *unit("random-0", 1, 0.01)[:3], *unit("random-0", 2, 0.02)))
    mean = mean_of(rows[rows["treatment"] == "AnB"])
    assert mean.value == pytest.approx((0.01 + 0.01 + 0.03) / 3)
    assert (mean.networks, mean.units, mean.varies) == (5, 3, "seeds")


def test_there_is_no_interval_below_three_units() -> None:
    mean = mean_of(networks(frame(*unit("random-0", 0, 0.0), *unit("random-1", 0, 0.0))).query("n == 3"))
    assert math.isnan(mean.low) and math.isnan(mean.high)
    assert (mean.value, mean.units, mean.varies) == (pytest.approx(0.01), 2, "splits")
    assert verdict(mean) == "not enough networks"


def test_the_mean_of_nothing_is_no_number() -> None:
    mean = mean_of(networks(frame(row("random-0/baseA/seed-0", 0.5))), "specificity")
    assert math.isnan(mean.value) and (mean.networks, mean.units) == (0, 0)


def test_pooling_mixes_an_effect_with_the_difficulty_of_the_target_and_pairing_does_not() -> None:
    # Nothing but A3B+ on the easy target B, exactly as good as its base: no effect at all.
    rows = networks(
        frame(
            *(row(f"random-{s}/base{t}/seed-0", 0.5 + 0.1 * (t == "B")) for s in range(3) for t in "AB"),
            *(row(f"random-{s}/A3B+/seed-0", 0.6) for s in range(3)),
            *(row(f"random-{s}/A3A+/seed-0", 0.5) for s in range(3)),
        )
    )
    boost = boosts(rows, [(3, 7)])[0]
    assert boost.layers == "3-7"
    assert boost.transfer_over_base_pooled.value == pytest.approx(0.05)
    assert boost.transfer_over_selffer_pooled.value == pytest.approx(0.10)
    assert math.isnan(boost.transfer_over_base_pooled.low)
    assert boost.transfer_over_base.value == pytest.approx(0)
    assert verdict(boost.transfer_over_base) == verdict(boost.selffer_over_base) == "same"
    assert boost.transfer_over_selffer.networks == 0  # no target has both


def test_pooled_means_are_over_networks() -> None:
    rows = networks(frame(*unit("random-0", 0, 0.00), *unit("random-0", 1, 0.01)[:3]))
    transfers = rows[rows["n"] == 3]
    assert pooled_mean(transfers).value == pytest.approx((0.60 + 0.52 + 0.61) / 3)
    assert mean_of(transfers, "accuracy").value == pytest.approx((0.56 + 0.61) / 2)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.009, 0.009, "same"),
        (-0.01, 0.01, "same"),
        (0.002, 0.008, "same"),
        (0.002, 0.012, "above"),
        (-0.03, -0.001, "below"),
        (-0.02, 0.005, "not enough networks"),
        (math.nan, math.nan, "not enough networks"),
    ],
)
def test_verdicts(low: float, high: float, word: str) -> None:
    assert verdict(Mean((low + high) / 2, low, high, 6, 3, "seeds")) == word


# ------------------------------------------------------------------------------------------ nothing is silent


def test_a_diverged_network_is_in_no_mean_and_is_named() -> None:
    table = frame(
        row("random-0/baseB/seed-0", 0.6),
        row("random-0/A3B/seed-0", 0.5),
        row("random-0/A4B/seed-0", math.nan, diverged_at=120.0, val_top1_best10=math.nan),
        row("random-1/baseB/seed-0", 0.01, diverged_at=7.0),
        row("random-1/A3B/seed-0", 0.5),
    )
    rows = networks(table)
    assert set(rows["network"]) == {"baseB", "A3B"}
    assert diverged(table) == ["random-0/A4B/seed-0 (step 120)", "random-1/baseB/seed-0 (step 7)"]
    assert unpaired(rows) == ["random-1/A3B/seed-0"]
    notes = footnotes(table, rows)
    assert "Diverged, in no mean: random-0/A4B/seed-0 (step 120), random-1/baseB/seed-0 (step 7)." in notes
    assert "No base to compare with: random-1/A3B/seed-0." in notes


def test_two_rows_for_one_network_are_refused() -> None:
    with pytest.raises(Refused, match="two rows for random-0/baseA/seed-0"):
        networks(frame(row("random-0/baseA/seed-0", 0.5), row("random-0/baseA/seed-0", 0.6)))


def test_the_papers_statistic_is_refused_below_100_validations() -> None:
    few = row("random-0/baseA/seed-0", 0.5, validations=99)
    assert networks(frame(few))["accuracy"][0] == 0.5
    with pytest.raises(Refused, match=r"random-0/baseA/seed-0 .* 100 validations"):
        networks(frame(few), "val_top1_best10")
    enough = frame(row("random-0/baseA/seed-0", 0.5, validations=100))
    assert networks(enough, "val_top1_best10")["accuracy"][0] == pytest.approx(0.51)
    published = frame(few | {"study": PUBLISHED})
    assert networks(published, "val_top1_best10")["accuracy"][0] == pytest.approx(0.51)


def test_a_missing_accuracy_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="random-0/baseA/seed-0"):
        networks(frame(row("random-0/baseA/seed-0", math.nan)))


# ------------------------------------------------------------------------------------------------ the summary


def test_the_summary_has_one_line_per_group_treatment_and_n() -> None:
    lines = summary(complete(3))
    assert len(lines) == 2 * (1 + 5 * 7)
    assert list(lines["group"].unique()) == ["random", "manmade-natural"]
    assert list(lines["treatment"].unique()) == ["base", "BnB", "BnB+", "AnB", "AnB+", "RnB"]
    line = lines.query("group == 'random' and treatment == 'AnB' and n == 4").iloc[0]
    assert (line["accuracy_networks"], line["accuracy_units"], line["varies"]) == (6, 3, "splits")
    assert line["difference"] == pytest.approx(-0.04) and line["difference_high"] == pytest.approx(-0.04)
    assert line["coadaptation"] == pytest.approx(-0.04) and line["specificity"] == pytest.approx(0)
    assert line["verdict"] == "below" and line["targets"] == "A B"
    assert line["train_loss"] == pytest.approx(1.44)
    assert line["train_loss_difference"] == pytest.approx(0.04)
    alone = lines.query("group == 'manmade-natural' and treatment == 'AnB' and n == 4").iloc[0]
    assert math.isnan(alone["difference_low"]) and alone["verdict"] == "not enough networks"


def test_means_by_n_is_the_summary_of_one_column() -> None:
    table = complete(3)
    means, lines = means_by_n(networks(table), "specificity"), summary(table)
    assert set(means["treatment"]) == {"AnB", "AnB+"}
    both = means.merge(lines, on=["group", "treatment", "n"])
    assert len(both) == len(means) == 28
    assert (both["value"] == both["specificity"]).all()


def test_tables_and_claims_do_without_torch() -> None:
    command = "import sys, transferability.results.claims, transferability.splits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], timeout=LIMIT).returncode == 0


def test_a_group_of_splits_that_the_paper_does_not_have_keeps_its_name_and_its_rows() -> None:
    names = [
        f"{split}/{name}/seed-0" for split in ("whole-birds", "photo-sketch", "random-0") for name in ("baseB", "A3B")
    ]
    table = frame(*(row(name, 0.6) for name in (*names, "manmade-natural/baseB/seed-0")))
    lines = summary(table)
    assert list(lines["group"].unique()) == ["random", "manmade-natural", "photo-sketch", "whole-birds"]
    assert len(lines) == 7 and len(means_by_n(networks(table))) == 3


def test_a_table_without_a_row_has_a_summary_without_a_line() -> None:
    assert len(networks(frame())) == len(summary(frame())) == 0


def test_a_published_base_is_in_no_mean_with_those_trained_here() -> None:
    """It was judged on other images: in a pair split, on A's."""
    rows = networks(
        frame(
            row("photo-mine/baseA/seed-0", 0.9, steps=0),
            row("photo-mine/baseB/seed-0", 0.5),
            row("photo-mine/A3B/seed-0", 0.6),
        )
    )
    shown = summary(rows).set_index("treatment")
    assert shown.loc["base", "accuracy"] == pytest.approx(0.5) and shown.loc["published", "accuracy"] == 0.9
    assert one(rows, "photo-mine/A3B/seed-0")["difference"] == pytest.approx(0.1)
