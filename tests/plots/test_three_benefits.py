"""How training goes and which rule: numbers made by hand, and what the figures show of them."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from handmade import frame, row

from transferability.plots import rules, three_benefits
from transferability.plots.tables import Drawn, NotDrawn, table_of
from transferability.results.benefits import benefits, summary
from transferability.results.statistics import networks

STEPS = (0, 10, 20, 30, 40)  # of 20 images each, of 100 training images: 0, 2, 4, 6, 8 epochs
COURSES: Mapping[str, Sequence[float]] = {
    "baseB": (0.1, 0.2, 0.4, 0.6, 0.5),
    "A2B": (0.1, 0.3, 0.3, 0.3, 0.3),  # never reaches the base's 0.5
    "A2B+": (0.2, 0.5, 0.6, 0.7, 0.7),  # after 10 steps; the base's first 0.5 or more is after 30
    "A2B+chain": (0.1, 0.1, 0.1, 0.5, 0.6),  # with the base
}


def tables(splits: Sequence[str] = ("random-0",), shift: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(curves, results) of COURSES on each split; on each further split the transfer networks gain `shift` more."""
    validations, rows = [], []
    for number, split in enumerate(splits):
        for name, course in COURSES.items():
            more = number * shift * (name != "baseB")
            for step, accuracy in zip(STEPS, course, strict=True):
                validations.append(
                    {"study": "hand-made", "split": split, "network": name, "seed": 0, "step": step,
                     "images_seen": 20.0 * step, "val_top1": accuracy + more, "val_loss": 1.0, "train_loss": 1.0}
                )  # fmt: skip
            rows.append(row(f"{split}/{name}/seed-0", course[-1] + more, training_images=100.0, steps=40))
    return pd.DataFrame(validations), frame(*rows)


def test_the_measures_are_those_by_hand() -> None:
    curves, table = tables()
    measured = benefits(curves, networks(table)).set_index("network")
    assert sorted(measured.index) == ["A2B", "A2B+", "A2B+chain"]
    # start 1 and start 2: both at the first validation from 1, and from 2, epochs on, which is after 10 steps
    expected = {
        "A2B": (0.0, 0.1, 0.1, 0.05, -0.2, 0, math.nan, math.nan),
        "A2B+": (0.1, 0.3, 0.3, 0.1, 0.2, 1, 20, 400),
        "A2B+chain": (0.0, -0.1, -0.1, -0.05, 0.1, 1, 0, 0),
    }
    columns = ["start 0", "start 1", "start 2", "slope", "asymptote", "reached", "steps saved", "images saved"]
    for name, values in expected.items():
        assert measured.loc[name, columns].tolist() == pytest.approx(list(values), nan_ok=True), name


def test_what_is_not_known_is_no_number() -> None:
    curves, table = tables()
    late = curves[curves["step"] > 0]
    measured = benefits(late, networks(table))
    assert measured["start 0"].isna().all() and measured["start 1"].notna().all()
    unknown = benefits(curves, networks(table.assign(training_images=math.nan)))
    assert unknown[["start 1", "slope"]].isna().all(axis=None) and unknown["start 0"].notna().all()
    assert benefits(curves, networks(table[table["kind"] != "base"])).empty


def test_means_are_paired_over_units() -> None:
    curves, table = tables(("random-0", "random-1", "random-2"), shift=0.1)
    of = summary(benefits(curves, networks(table)))["random", "AnB+", 2]["asymptote"]
    assert (of.value, of.units, of.networks) == (pytest.approx(0.3), 3, 3)
    assert of.high - of.value == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)  # t, two degrees of freedom


def test_the_figures_show_them_and_print_the_table() -> None:
    curves, table = tables(("random-0", "random-1", "random-2"), shift=0.01)
    (drawn,) = three_benefits.draw(curves, networks(table))
    assert isinstance(drawn, Drawn)
    lines = {line.split("  ")[0]: line for line in drawn.lines[2:]}
    assert "0 of 3" in lines["AnB"] and "3 of 3" in lines["AnB+"] and "+21.0 ± 2.5" in lines["AnB+"]
    by_gid = {line.get_gid(): line for axes in drawn.figure.axes for line in axes.lines}
    assert list(by_gid["AnB+ 2"].get_xdata()) == [0, 2, 4, 6, 8]
    assert list(by_gid["AnB+ 2"].get_ydata()) == pytest.approx([y + 0.01 for y in COURSES["A2B+"]])
    assert list(by_gid["asymptote AnB+chain"].get_ydata()) == pytest.approx([0.11])

    (drawn,) = rules.draw(table_of(table))
    assert isinstance(drawn, Drawn)
    lines = {line.split("  ")[0]: line for line in drawn.lines[2:]}
    assert "+11.0 ± 2.5" in lines["AnB+chain"] and "-10.0 ± 0.0" in lines["AnB+chain"] and "below" in lines["AnB+chain"]
    by_gid = {line.get_gid(): line for axes in drawn.figure.axes for line in axes.lines}
    assert list(by_gid["difference AnB+"].get_ydata()) == pytest.approx([0.21])
    assert list(by_gid["beside AnB"].get_ydata()) == pytest.approx([-0.4])


def test_a_variant_is_compared_with_fine_tuning_not_with_itself() -> None:
    at, suffixes = "random-0/{}/seed-0", ("", "@5", "@dann", "@5@dann")
    fine_tuned = zip(suffixes, (0.5, 0.3, 0.56, 0.31), strict=True)
    table = frame(
        *(row(at.format(f"baseB{suffix}"), 0.2) for suffix in suffixes[:2]),
        *(row(at.format(f"A2B+{suffix}"), accuracy) for suffix, accuracy in fine_tuned),
    )
    beside = rules.beside_full(networks(table)).set_index("network")["beside"]
    expected = {"A2B+": 0.0, "A2B+@5": 0.0, "A2B+@dann": 0.06, "A2B+@5@dann": 0.01}
    assert beside.to_dict() == pytest.approx(expected)
    alone = rules.beside_full(networks(table[table["network"] != "A2B+"])).set_index("network")["beside"]
    assert math.isnan(alone["A2B+@dann"])


def test_what_cannot_be_drawn_says_why() -> None:
    curves, table = tables()
    (drawing,) = three_benefits.draw(curves, networks(table[table["kind"] != "base"]))
    assert isinstance(drawing, NotDrawn) and "beside a base" in drawing.reason
    (drawing,) = rules.draw(table_of(table[table["network"].isin(["baseB", "A2B"])]))
    assert isinstance(drawing, NotDrawn) and "fewer than two rules" in drawing.reason
