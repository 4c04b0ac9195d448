"""Fine-tuned transfer against training twice: the differences, their controls, and the power that is stated."""

import math

import numpy as np
import pandas as pd
import pytest
from invented import study
from scipy import stats

from transferability.plots import trained_twice
from transferability.plots.tables import Drawn, NotDrawn, Table, table_of
from transferability.results import statistics as results

SPLITS = ("random-0", "random-1", "random-2", "random-3")


def with_long(table: pd.DataFrame, gain: float = 0.01) -> pd.DataFrame:
    """The table with a base of twice the steps for each base, better by `gain`."""
    bases = table[table.kind == "base"]
    names = bases.network + "@long"
    longer = bases.assign(network=names, variant="long", val_top1=bases.val_top1 + gain)
    return pd.concat([table, longer], ignore_index=True)


def accuracies(table: pd.DataFrame) -> "pd.Series[float]":
    return table.set_index(["split", "network"]).val_top1


def test_every_difference_is_paired_with_its_own_control() -> None:
    table = with_long(study(splits=SPLITS))
    rows = trained_twice.with_controls(results.networks(table))
    assert set(rows.treatment) == {"AnB+", "BnB+"} and set(rows.n) == set(range(1, 8))  # B8B+ is a control
    value = accuracies(table)
    for row in rows.itertuples():
        own = value[row.split, row.network]
        assert row.minus_long == pytest.approx(own - value[row.split, f"base{row.target}@long"])
        assert row.minus_all == pytest.approx(own - value[row.split, f"{row.target}8{row.target}+"])
        assert row.difference == pytest.approx(own - value[row.split, f"base{row.target}"])
    shown = {(c.label, c.first, c.last): c for c in trained_twice.comparisons(rows)}
    assert len(shown) == 14  # AnB+ and BnB+ minus three controls, AnB+ - BnB+, each over two ranges of n
    long = shown["AnB+ − base@long", 5, 7]
    expected = [
        np.mean([value[s, f"{'BA'[t == 'B']}{n}{t}+"] - value[s, f"base{t}@long"] for t in "AB" for n in (5, 6, 7)])
        for s in SPLITS
    ]
    low, high = stats.t.interval(0.95, 3, np.mean(expected), stats.sem(expected))
    assert (long.mean.value, long.mean.low, long.mean.high) == pytest.approx((np.mean(expected), low, high))
    assert (long.mean.networks, long.mean.units) == (24, 4)


def test_the_difference_that_so_many_units_would_have_shown() -> None:
    """Simulated: at that true difference the interval excludes 0 in four of five repetitions."""
    draw = np.random.default_rng(0)
    units = draw.normal(0, 0.02, 4)
    table = pd.DataFrame({"unit": [f"random-{i}/seed-0" for i in range(4)], "target": "A", "difference": units})
    mean = results.mean_of(table)
    smallest = trained_twice.smallest_shown(mean)
    spread = np.std(units, ddof=1)
    repeated = draw.normal(smallest, spread, (200_000, 4))
    half = stats.t.ppf(0.975, 3) * repeated.std(axis=1, ddof=1) / 2
    assert np.mean(repeated.mean(axis=1) - half > 0) == pytest.approx(trained_twice.POWER, abs=0.005)
    assert smallest > mean.high - mean.value  # an effect just as large as the half-width is found half of the time
    assert math.isnan(trained_twice.smallest_shown(results.mean_of(table[:2])))


def test_a_table_without_a_control_says_which() -> None:
    (drawing,) = trained_twice.draw(table_of(study(splits=SPLITS)))
    assert isinstance(drawing, Drawn)
    assert "trained_twice: no base@long to subtract" in drawing.lines
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles == ["minus the base", "minus B8B+ (all layers copied)", "AnB+ − BnB+, same n and target", ""]
    assert any(line.startswith("trained_twice: AnB+ - BnB+") and "(4 units)" in line for line in drawing.lines)
    rows = results.networks(study(splits=SPLITS))
    (none,) = trained_twice.draw(Table(rows[rows.plus == ""]))
    assert isinstance(none, NotDrawn) and "no AnB+ or BnB+" in none.reason
