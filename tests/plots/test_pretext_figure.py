"""The figure of bases with labels and without: what it draws of a table made by hand."""

import pytest
from handmade import frame, row

from transferability.plots import pretext, style
from transferability.plots.tables import Drawn, NotDrawn, table_of
from transferability.results.statistics import networks

ROWS = [
    line
    for seed in (0, 1, 2)
    for line in (
        row(f"random-0/baseB/seed-{seed}", 0.6),
        row(f"random-0/baseA/seed-{seed}", 0.6),
        row(f"random-0/baseA@rotation/seed-{seed}", 0.8, surrogate="rotation"),
        row(f"random-0/baseA@long/seed-{seed}", 0.7),
        *(row(f"random-0/A{n}B/seed-{seed}", 0.6 + 0.01 * seed) for n in (1, 3)),
        *(row(f"random-0/A{n}B@rotation/seed-{seed}", 0.6 - 0.1 * n + 0.01 * seed) for n in (1, 3)),
        row(f"random-0/A1B@long/seed-{seed}", 0.9),  # of no base without labels
        row(f"random-0/A1B+@rotation/seed-{seed}", 0.9),  # not frozen
        row(f"random-0/R1B/seed-{seed}", 0.2),
    )
]


def test_each_source_is_a_line_over_n_and_differences_are_paired() -> None:
    with style.settings():
        (drawn,) = pretext.draw(table_of(frame(*ROWS)))
    assert isinstance(drawn, Drawn) and drawn.name == "pretext"
    (axes,) = drawn.figure.axes
    heights = {line.get_gid(): list(line.get_ydata()) for line in axes.get_lines() if line.get_gid()}
    assert heights.keys() == {"labels", "rotation", "random weights", "base"}
    assert heights["labels"] == pytest.approx([0.61, 0.61]) and heights["base"] == pytest.approx([0.6, 0.6])
    assert heights["rotation"] == pytest.approx([0.51, 0.31]) and heights["random weights"] == pytest.approx([0.2])
    said = [" ".join(line.split()) for line in drawn.lines]
    assert "rotation 3 31.0 ± 2.5 -30.0 ± 0.0 3" in said
    assert "base@rotation: 80.0 ± 0.0 % right on its own objective, 3 units" in said


def test_without_such_a_base_nothing_is_drawn() -> None:
    (drawing,) = pretext.draw(table_of(frame(*(line for line in ROWS if not line["surrogate"]))))
    assert isinstance(drawing, NotDrawn) and "no base without labels" in drawing.reason


def test_a_base_without_labels_is_compared_with_no_base() -> None:
    rows = networks(frame(*ROWS)).set_index(["network", "seed"])
    assert rows.loc[("baseA@long", 0), "difference"] == pytest.approx(0.1)
    assert rows.loc["baseA@rotation", "difference"].isna().all()
