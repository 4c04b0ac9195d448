"""Figures of readouts: what they draw of a table and of predictions."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import frame, row

from transferability.files import Refused
from transferability.plots import confusion, readout_against_retraining, readout_by_layer, style
from transferability.plots.tables import Drawn, NotDrawn, table_of
from transferability.runs.paths import StudyFolder


def readout(name: str, accuracy: float, **more: Any) -> dict[str, Any]:
    return row(name, accuracy, numbers=64.0, val_class_top1=accuracy - 0.05, classes=10.0, chance=0.2, **more)


ROWS = [
    row("imagenet-caltech101/baseB/seed-0", 0.5),
    *(row(f"imagenet-caltech101/A{n}B@30/seed-{s}", 0.4 + 0.1 * n) for n in (1, 2) for s in (0, 1, 2)),
    *(
        readout(f"imagenet-caltech101/A{n}B@30@softmax/seed-{s}", 0.42 + 0.1 * n + 0.001 * s)
        for n in (1, 2, 3)
        for s in range(3)
    ),
    *(readout(f"imagenet-caltech101/R0B@30@hog/seed-{s}", 0.3) for s in (0, 1, 2)),
]


def drawn(drawings: list[Drawn | NotDrawn]) -> Drawn:
    assert len(drawings) == 1 and isinstance(drawings[0], Drawn), drawings
    return drawings[0]


def lines(figure: Drawn) -> dict[str, list[float]]:
    """What is drawn, by the name that it has in the figure."""
    return {
        line.get_gid(): list(map(float, line.get_ydata()))
        for axes in figure.figure.axes
        for line in axes.lines
        if line.get_gid()
    }


def test_readouts_over_n_with_handmade_features_chance_and_published_values() -> None:
    with style.settings():
        figure = drawn(readout_by_layer.draw(table_of(frame(*ROWS))))
        named = lines(figure)
    assert named["hand-made AnB@30@softmax"] == pytest.approx([0.471, 0.571, 0.671])  # the mean over classes
    assert named["hand-made RnB@30@hog"] == pytest.approx([0.25, 0.25])
    assert named["hand-made chance"] == pytest.approx([0.1, 0.1])
    titles = [axes.get_title(loc="left") for axes in figure.figure.axes]
    assert titles == ["hand-made", "Zeiler and Fergus 2014, 30 per class"]
    assert "AnB@30@softmax  2" in " ".join(figure.lines)


def test_another_measure_and_a_table_without_readouts() -> None:
    with style.settings():
        named = lines(drawn(readout_by_layer.draw(table_of(frame(*ROWS)), measure="val_top1")))
        assert named["hand-made chance"] == pytest.approx([0.2, 0.2])
        assert isinstance(readout_by_layer.draw(table_of(frame(*ROWS[:7])))[0], NotDrawn)
        assert isinstance(readout_against_retraining.draw(table_of(frame(*ROWS[:7])))[0], NotDrawn)


def test_a_readout_is_paired_with_the_network_of_its_own_seed() -> None:
    with style.settings():
        figure = drawn(readout_against_retraining.draw(table_of(frame(*ROWS))))
        named = lines(figure)
    assert named["beyond AnB@30"] == pytest.approx([0.021, 0.021])
    assert named["read AnB@30"] == pytest.approx([0.521, 0.621])
    assert not any(math.isnan(value) for values in named.values() for value in values)


def test_the_most_confused_pairs_are_named(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    file = folder.predictions("random-0/A3B@svm/seed-0")
    file.parent.mkdir(parents=True)
    said = {"labels": np.array([0, 0, 0, 1, 1, 2]), "predicted": np.array([0, 1, 1, 1, 2, 2])}
    np.savez(file, part="val", rows=np.arange(6), **said)  # type: ignore[arg-type]
    with style.settings():
        figure = confusion.draw(folder, "random-0/A3B@svm")[0]
    assert figure.lines == ("class 0 is taken for class 1: 67%", "class 1 is taken for class 2: 50%")
    with pytest.raises(Refused, match="not fitted yet"):
        confusion.draw(folder, "random-0/A2B@svm")
