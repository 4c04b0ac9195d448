"""How training goes: each measure against numbers made by hand."""

import math

import handmade
import pandas as pd
import pytest

from transferability.results.benefits import MEASURES, benefits, summary
from transferability.results.statistics import networks

BATCH, IMAGES = 10, 100  # ten steps are an epoch
STEPS = (0, 10, 20, 30, 40)


def curve(name: str, accuracies: tuple[float, ...], steps: tuple[int, ...] = STEPS) -> pd.DataFrame:
    split, network, seed = name.split("/")
    place = {"study": "hand-made", "split": split, "network": network, "seed": int(seed.removeprefix("seed-"))}
    seen = [step * BATCH for step in steps]
    return pd.DataFrame({**place, "step": steps, "images_seen": seen, "val_top1": accuracies})


def measured(curves: dict[str, tuple[float, ...]], steps: tuple[int, ...] = STEPS, **more: object) -> pd.DataFrame:
    """The benefits of networks with these curves, by `network`."""
    table = handmade.frame(
        *(handmade.row(name, values[-1], training_images=IMAGES, **more) for name, values in curves.items())
    )
    # Rows of a table of curves may stand in any order.
    joined = pd.concat([curve(name, values, steps) for name, values in curves.items()]).sample(frac=1, random_state=0)
    return benefits(joined, networks(table)).set_index("network")


BASE = (0.1, 0.2, 0.4, 0.5, 0.5)
CURVES = {
    "random-0/baseB/seed-0": BASE,
    "random-0/A3B+/seed-0": (0.3, 0.5, 0.4, 0.6, 0.7),
    "random-0/A3B/seed-0": (0.2, 0.3, 0.4, 0.4, 0.45),
}


def test_the_measures_of_one_network() -> None:
    """The slopes from step 0 to 10, a quarter of the course: .2 an epoch, the base's .1. It reaches .5 after 10 steps,
    the base after 30, though it falls below once more."""
    row = measured(CURVES).loc["A3B+"]
    expected = {"start 0": 0.2, "start 1": 0.3, "start 2": 0.0, "slope": 0.1, "asymptote": 0.2}
    expected |= {"reached": 1, "steps saved": 20, "images saved": 200}
    assert expected.keys() == {*MEASURES}
    assert {measure: row[measure] for measure in MEASURES} == pytest.approx(expected)


def test_what_never_reaches_the_base_saves_no_steps_and_is_counted() -> None:
    rows = measured(CURVES)
    never = rows.loc["A3B"]
    assert never["reached"] == 0 and math.isnan(never["steps saved"]) and math.isnan(never["images saved"])
    assert never["asymptote"] == pytest.approx(-0.05)
    assert "baseB" not in rows.index


def test_without_a_validation_before_the_first_step_there_is_no_start_at_0() -> None:
    """And where validations are rarer than epochs, each start is that of the first validation after it."""
    rows = measured({name: values[1:] for name, values in CURVES.items()}, steps=(15, 30, 45, 60))
    row = rows.loc["A3B+"]
    assert math.isnan(row["start 0"])
    assert row["start 1"] == pytest.approx(0.3) and row["start 2"] == pytest.approx(0.0)
    assert math.isnan(row["slope"])  # the first validation is a quarter of the course already
    assert row["steps saved"] == 30  # of the base, which reaches .5 after 45 steps, the network after 15


def test_a_network_is_compared_with_the_base_of_its_own_split_target_and_seed() -> None:
    others = {
        "random-0/baseA/seed-0": (0.9, 0.9, 0.9, 0.9, 0.9),
        "random-0/baseB/seed-1": (0.8, 0.8, 0.8, 0.8, 0.8),
        "random-1/baseB/seed-0": (0.7, 0.7, 0.7, 0.7, 0.7),
        "random-0/baseB@long/seed-0": (0.6, 0.6, 0.6, 0.6, 0.6),
    }
    alone, among = measured(CURVES), measured(CURVES | others)
    pd.testing.assert_series_equal(among.loc["A3B+"][list(MEASURES)], alone.loc["A3B+"][list(MEASURES)])


def test_without_the_number_of_training_images_what_needs_epochs_is_missing() -> None:
    """Tables of before there was that column."""
    table = handmade.frame(*(handmade.row(name, values[-1]) for name, values in CURVES.items()))
    curves = pd.concat([curve(name, values) for name, values in CURVES.items()])
    row = benefits(curves, networks(table)).set_index("network").loc["A3B+"]
    assert all(math.isnan(row[measure]) for measure in ("start 1", "start 2", "slope"))
    assert row["start 0"] == pytest.approx(0.2) and row["steps saved"] == 20


def test_means_are_over_units_with_their_t_interval() -> None:
    """Three units with both directions. Asymptotes of the units: .05, .15, .10: a mean of .1, and half an interval of
    4.303 x .05 / sqrt(3). One of the six networks never reaches the base."""
    gains = {(0, "A"): 0.0, (0, "B"): 0.1, (1, "A"): 0.1, (1, "B"): 0.2, (2, "A"): -0.05, (2, "B"): 0.25}
    curves = {}
    for (split, target), gain in gains.items():
        source = "AB".replace(target, "")
        curves[f"random-{split}/base{target}/seed-0"] = BASE
        curves[f"random-{split}/{source}3{target}+/seed-0"] = (
            (*BASE[:4], 0.5 + gain)
            if gain >= 0
            else (
                *BASE[:3],
                0.45,
                0.45,
            )
        )
    rows = measured(curves)
    of = summary(rows)["random", "AnB+", 3]
    mean = of["asymptote"]
    assert (mean.networks, mean.units) == (6, 3) and mean.value == pytest.approx(0.1)
    assert mean.high - mean.value == pytest.approx(4.302653 * 0.05 / math.sqrt(3), rel=1e-6)
    assert rows["reached"].tolist().count(0) == 1
    assert of["steps saved"].networks == 5 and of["steps saved"].value == pytest.approx(0.0)
