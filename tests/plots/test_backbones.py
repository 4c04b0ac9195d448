"""Accuracy on the target over that of the source: numbers made by hand."""

import math

import pandas as pd
import pytest
from handmade import frame, row

from transferability.plots import backbones
from transferability.plots.tables import Drawn, NotDrawn
from transferability.results.sources import rank_correlation, source_accuracy, speed_ups, transferred
from transferability.results.statistics import networks

SOURCES = {"own-a": 0.3, "own-b": 0.4, "own-c": 0.5, "own-d": 0.6}


def table(seeds: int = 3) -> pd.DataFrame:
    """Four sources; frozen features are worth half of the source's accuracy, fine-tuning 0.5 whatever the source."""
    rows = []
    for study, source in SOURCES.items():
        for seed in range(seeds):
            rows.append(row(f"random-0/baseA/seed-{seed}", source, study=study))
            for images in (5, 20):
                of = {"baseB": 0.1 + images / 100, "A7B": source / 2, "A7B+": 0.5 + 0.01 * (seed - 1)}
                rows += [row(f"random-0/{name}@{images}/seed-{seed}", value, study=study) for name, value in of.items()]
    parts = [part for _, part in frame(*rows).groupby("study")]
    return pd.concat([networks(part) for part in parts], ignore_index=True)


def test_each_source_stands_with_its_accuracy_its_worth_and_its_gain() -> None:
    found = {(each.study, each.way, each.images): each for each in transferred(table())}
    frozen = found["own-c", "frozen", 20]
    assert (frozen.source, frozen.mean.value, frozen.gap.value) == pytest.approx((0.5, 0.25, -0.05))
    assert found["own-c", "full", 5].gap.value == pytest.approx(0.35)
    published = networks(frame(row("imagenet-flowers17/baseB/seed-0", 0.5, study="backbones-vgg16")))
    assert source_accuracy(published, "backbones-vgg16", "imagenet-flowers17") == 0.71592


def test_a_rank_correlation_has_the_interval_of_bonett_and_wright_and_none_below_four_networks() -> None:
    correlation = rank_correlation([1, 2, 3, 4, 5, 6, 7], [1, 3, 2, 4, 5, 7, 6])
    value = 1 - 6 * 4 / (7 * 48)
    half = 1.959964 * math.sqrt((1 + value**2 / 2) / 4)
    assert correlation.value == pytest.approx(value)
    assert correlation.low == pytest.approx(math.tanh(math.atanh(value) - half))
    assert correlation.high == pytest.approx(math.tanh(math.atanh(value) + half))
    whole = rank_correlation([1, 2, 3, 4], [5, 6, 7, 8])
    assert whole.value == pytest.approx(1) and whole.low < 0 and whole.high == pytest.approx(1)
    assert math.isnan(rank_correlation([1, 2, 3], [1, 2, 3]).value)


def test_how_many_times_sooner_a_network_reaches_the_accuracy_of_scratch() -> None:
    courses = {"baseB@5": (0.1, 0.2, 0.4), "A7B@5": (0.1, 0.1, 0.2), "A7B+@5": (0.4, 0.5, 0.5)}
    results = frame(*(row(f"random-0/{name}/seed-0", course[-1]) for name, course in courses.items()))
    curves = pd.DataFrame(
        {"study": "own", "split": "random-0", "network": name, "seed": 0, "step": step, "images_seen": 16 * step,
         "val_top1": accuracy}
        for name, course in courses.items()
        for step, accuracy in zip((10, 20, 30), course, strict=True)
    )  # fmt: skip
    ups = speed_ups(curves, networks(results)).set_index("network")["speed_up"]
    assert ups.to_dict() == {"A7B+@5": 3.0}


def test_the_figure_shows_every_source_and_names_the_correlations() -> None:
    rows = table()
    (drawn,) = backbones.draw(rows, {"own-a": 2.0, "own-b": 3.0}, {"a": 1.0, "b": 10.0})
    assert isinstance(drawn, Drawn)
    lines = {line.get_gid(): line for axes in drawn.figure.axes for line in axes.lines if line.get_gid()}
    assert lines["random frozen"].get_xdata() == pytest.approx(list(SOURCES.values()))
    assert lines["random frozen"].get_ydata() == pytest.approx([0.15, 0.2, 0.25, 0.3])
    assert any(line.startswith("rank correlation, random, features: +1.00") for line in drawn.lines)
    (reason,) = backbones.draw(rows[rows["study"] == "own-a"])
    assert isinstance(reason, NotDrawn)
