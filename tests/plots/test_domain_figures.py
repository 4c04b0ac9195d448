"""Figures of methods that reach across domains: the share of the gap by hand, and what is drawn."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import frame, row

from transferability.files import Refused
from transferability.plots import aligned_layers, domains, style
from transferability.plots.tables import Drawn, NotDrawn, table_of
from transferability.plots.training_curves import read_curves
from transferability.results.table import CURVES


def table() -> pd.DataFrame:
    """mnist → usps of two seeds, and one direction without its lower bound."""
    rows = []
    for seed, shift in ((0, 0.0), (1, 0.1)):
        at = f"mnist-usps/{{}}/seed-{seed}"
        rows += [
            row(at.format("A5B"), 0.5 + shift, steps=0),
            row(at.format("baseB"), 0.9),
            row(at.format("baseA"), 0.95),
            row(at.format("A2B+@dann"), 0.7, layer="conv2"),
            row(at.format("A4B+@dann"), 0.9, layer="fc4"),
        ]
    return frame(*rows)


def test_the_share_of_the_gap_is_of_each_seed_then_averaged() -> None:
    with style.settings():
        (drawn,) = domains.draw(table_of(table()))
    assert isinstance(drawn, Drawn)
    cells = [line.split("  ") for line in drawn.lines]
    said = {tuple(part.strip() for part in line if part.strip()) for line in cells}
    pair = "mnist → usps"
    share = 100 * (0.2 / 0.4 + 0.1 / 0.3) / 2
    assert (pair, "AnB+@dann", "2", "70.0", f"+{share:.0f}", "2") in said
    assert (pair, "AnB+@dann", "4", "90.0", "+100", "2") in said
    assert (pair, "source only", "55.0", "2") in said and (pair, "target trained", "90.0", "2") in said
    (axes,) = drawn.figure.axes
    heights = {line.get_gid(): list(line.get_ydata()) for line in axes.get_lines() if line.get_gid()}
    assert heights[f"source only {pair}"] == pytest.approx([55, 55])
    assert heights[f"AnB+@dann {pair}"] == pytest.approx([70, 90])


def test_where_there_is_no_gap_there_is_no_share_of_it() -> None:
    """Domains at distance zero: the target's base is no better than the source's network, or worse."""
    rows = [
        row(f"a-b/{name}/seed-{seed}", accuracy, steps=0 if name == "A5B" else 9)
        for seed, target in ((0, 0.5), (1, 0.4), (2, 0.9))
        for name, accuracy in (("A5B", 0.5), ("baseB", target), ("baseA", 0.9), ("A2B+@dann", 0.7))
    ]
    with style.settings():
        (drawn,) = domains.draw(table_of(frame(*rows)))
    assert isinstance(drawn, Drawn)
    (line,) = (line for line in drawn.lines if "@dann" in line)
    assert "+50" in line.split() and "inf" not in line  # of the seed that has one


def test_a_table_without_bounds_is_not_drawn() -> None:
    one = table()
    for lacking in ("A5B", "baseB"):
        (drawing,) = domains.draw(table_of(one[one["network"] != lacking]))
        assert isinstance(drawing, NotDrawn) and "no pair of domains" in drawing.reason
    readouts = [row(f"a-b/{name}@aligned/seed-0", 0.4, steps=0) for name in ("A2B", "B2A")]
    with style.settings():
        (drawn,) = domains.draw(table_of(frame(*readouts)))  # from published bases, which have no accuracy
    assert isinstance(drawn, Drawn) and [line.split() for line in drawn.lines[1:]] == [
        ["a", "→", "b", "AnB@aligned", "2", "40.0", "–", "1"],
        ["b", "→", "a", "AnB@aligned", "2", "40.0", "–", "1"],
    ]
    assert domains.name_of(("mnist-usps", "A")) == "usps → mnist"
    assert domains.name_of(("a-b-c", "B")) == "a-b-c, target B"


def curves(path: Path, columns: list[str]) -> Path:
    """A network with a domain classifier, one that has diverged, and one without."""
    rows: list[dict[str, Any]] = []
    for network, accuracies, loss in (("A2B+@dann", (0.9, 0.6), 1.0), ("A4B+@dann", (0.8, 0.5), math.nan)):
        for step, accuracy in zip((10, 20), accuracies, strict=True):
            about = {"study": "s", "split": "photo-sketch", "network": network, "seed": 0, "step": step}
            measured = {"domain_loss": 0.5, "domain_top1": accuracy, "val_loss": loss, "val_top1": 0.3}
            rows.append(dict.fromkeys(CURVES, 1.0) | about | measured)
    rows.append({**rows[0], "network": "baseA", "domain_loss": math.nan, "domain_top1": math.nan})
    pd.DataFrame(rows)[columns].to_csv(path, index=False)
    return path


def test_the_domain_classifier_is_drawn_over_steps_and_n(tmp_path: Path) -> None:
    with style.settings():
        (drawn,) = aligned_layers.draw(read_curves(curves(tmp_path / "curves.csv", CURVES)))
    assert isinstance(drawn, Drawn) and drawn.name == "aligned_layers-photo-sketch"
    found = {
        line.get_gid(): [float(y) for y in line.get_ydata()]
        for axes in drawn.figure.get_axes()
        for line in axes.get_lines()
        if str(line.get_gid()).endswith("domain_top1") or str(line.get_gid()).startswith("last domain")
    }
    assert found["AnB+@dann 2 domain_top1"] == [0.9, 0.6]
    assert found["last domain_top1 AnB+@dann"] == [0.6]  # of the one that has not diverged
    assert drawn.lines[-1].split() == ["AnB+@dann", "2", "60.0", "30.0", "1"]


def test_curves_of_before_there_were_domain_classifiers(tmp_path: Path) -> None:
    old = curves(tmp_path / "curves.csv", [name for name in CURVES if not name.startswith("domain")])
    (drawing,) = aligned_layers.draw(read_curves(old))
    assert isinstance(drawing, NotDrawn)
    with pytest.raises(Refused, match="no network with a domain classifier"):
        aligned_layers.main([str(old), "--out", str(tmp_path)])
