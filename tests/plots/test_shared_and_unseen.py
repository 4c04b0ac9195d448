"""Figures of two tasks that share layers and of classes never seen: numbers by hand, and what is not drawn."""

import pandas as pd
import pytest
from handmade import frame, row

from transferability.plots import multitask, style, zero_shot
from transferability.plots.tables import Drawn, NotDrawn, table_of
from transferability.results.statistics import networks


def test_the_gain_of_each_task_is_against_its_own_base() -> None:
    rows = []
    for seed, shift in ((0, 0.0), (1, 0.02)):
        at = f"manmade-natural/{{}}/seed-{seed}"
        rows += [row(at.format("baseA"), 0.5), row(at.format("baseB"), 0.3)]
        rows += [row(at.format("B2A+@multitask"), 0.52 + shift), row(at.format("A2B+@multitask"), 0.29)]
        rows += [row(at.format("A2B+"), 0.9)]
    with style.settings():
        (drawn,) = multitask.draw(table_of(frame(*rows)))
        (none,) = multitask.draw(table_of(frame(*rows)), variant="together")
    assert isinstance(drawn, Drawn) and isinstance(none, NotDrawn) and "'together'" in none.reason
    said = [line.split() for line in drawn.lines]
    assert said[-2:] == [
        ["man-made", "2", "53.0", "+3.0", "not", "enough", "networks", "2"],
        ["natural", "2", "29.0", "-1.0", "not", "enough", "networks", "2"],
    ]
    (axes,) = drawn.figure.axes
    heights = {line.get_gid(): list(line.get_ydata()) for line in axes.get_lines() if line.get_gid()}
    assert heights["Man-made / natural man-made"] == pytest.approx([0.03])


def test_classes_never_seen_are_drawn_one_by_one() -> None:
    rows = []
    for n, lion in ((1, 0.2), (3, 0.6)):
        about = {"by_class": f"n02129165={lion} my own=0", "classes": 2, "val_class_top1": lion / 2}
        measured = {"val_seen": 0.3, "val_unseen": 0.1, "val_harmonic": 0.15}
        rows.append(row(f"random-0/A{n}B@attributes/seed-0", lion, **about, **measured))
    with style.settings():
        (drawn,) = zero_shot.draw(table_of(frame(*rows)))
        (none,) = zero_shot.draw(table_of(frame(row("random-0/A1B/seed-0", 0.5))))
    assert isinstance(drawn, Drawn) and isinstance(none, NotDrawn)
    assert [line.split() for line in drawn.lines[1:3]] == [
        ["AnB@attributes", "1", "10.0", "30.0", "10.0", "15.0", "1"],
        ["AnB@attributes", "3", "30.0", "30.0", "10.0", "15.0", "1"],
    ]
    assert drawn.lines[-1] == "AnB@attributes: 1 of 2 classes are recognised at no n"
    shown = next(axes for axes in drawn.figure.axes if axes.images)
    assert [label.get_text() for label in shown.get_yticklabels()] == ["lion", "my own"]
    assert shown.images[0].get_array().tolist() == [[0.2, 0.6], [0.0, 0.0]]


def test_a_part_of_the_classes_is_not_compared_with_the_base_of_all() -> None:
    base = row("random-0/baseB/seed-0", 0.3, classes=4)
    unseen = [
        row(f"random-0/A1B@{word}/seed-0", 0.5, by_class="a=0.5", classes=count)
        for word, count in (("all", 4), ("some", 2))
    ]
    differences = networks(frame(base, *unseen)).set_index("network")["difference"]
    assert differences["A1B@all"] == pytest.approx(0.2) and pd.isna(differences["A1B@some"])
