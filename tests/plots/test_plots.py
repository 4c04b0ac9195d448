"""Figures come from results tables alone, without torch; they show the paper's panels point for point; no text
overlaps; nothing that is missing goes unsaid."""

import errno
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from tiny import write_table
from waiting import LIMIT

from transferability.files import Refused
from transferability.results import statistics as results
from transferability.results.paper import paper_preserved, paper_results

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plots"))

import figure1  # noqa: E402
import figure2  # noqa: E402
import figure3  # noqa: E402
import filters  # noqa: E402
import paired  # noqa: E402
import preserved  # noqa: E402
import reduced_data  # noqa: E402
import style  # noqa: E402
import table1  # noqa: E402
import training_curves  # noqa: E402

TREATMENTS = ("BnB", "BnB+", "AnB", "AnB+")


def study(
    name: str = "own",
    splits: tuple[str, ...] = ("random-0", "manmade-natural"),
    seeds: tuple[int, ...] = (0,),
    depth: int = 8,
    effects: float = 1.0,
    validations: int = 200,
    noise: float = 0.002,
) -> pd.DataFrame:
    """An invented results table of the whole grid, B8B+ and random features included. `effects` scales the drops
    (co-adaptation around the middle, specificity towards the top) and the gain of AnB+."""
    random = np.random.default_rng(0)
    rows = []
    for split, seed, target in itertools.product(splits, seeds, "AB"):
        other = "BA"["AB".index(target)]
        base = 0.7 + 0.03 * random.normal()
        grid = [(f"base{target}", "base", "", 0, "", base)]
        for n in range(1, depth):
            lost = -0.05 * effects * np.exp(-((n - depth / 2) ** 2) / 2)
            specific = -0.02 * effects * max(0, n - depth / 2)
            grid += [
                (f"{target}{n}{target}", "selffer", target, n, "", base + lost),
                (f"{target}{n}{target}+", "selffer", target, n, "1", base),
                (f"{other}{n}{target}", "transfer", other, n, "", base + lost + specific),
                (f"{other}{n}{target}+", "transfer", other, n, "1", base + 0.015 * effects),
                (f"R{n}{target}", "random", "R", n, "", base * np.exp(-0.3 * n)),
            ]
        grid.append((f"{target}{depth}{target}+", "selffer", target, depth, "1", base))
        for network, kind, source, n, plus, accuracy in grid:
            accuracy += noise * random.normal() * (kind != "base")
            rows.append(
                dict.fromkeys(results.COLUMNS, "")
                | {"study": name, "split": split, "network": network, "kind": kind, "source": source}
                | {"target": target, "n": n, "preserved": 0, "plus": plus, "seed": seed, "recipe": "demo"}
                | {"val_top1": accuracy, "val_top1_best10": accuracy if validations >= 100 else np.nan}
                | {"val_top5": 0.9, "val_loss": 1.5 - accuracy, "train_loss": 1.4 - accuracy, "train_top1": accuracy}
                | {"validations": validations, "steps": 100, "images_seen": 1.0, "seconds": 1.0}
                | {"images_per_second": 1.0, "diverged_at": np.nan}
            )
    return pd.DataFrame(rows)[list(results.COLUMNS)]


def curves_of(table: pd.DataFrame) -> pd.DataFrame:
    """An invented curves.csv: losses that fall to their final values."""
    steps = pd.DataFrame({"step": np.arange(100, 1100, 100)})
    curves = table[["study", "split", "network", "seed", "val_loss", "train_loss"]].merge(steps, how="cross")
    for loss in ("val_loss", "train_loss"):
        curves[loss] += 2 * np.exp(-curves.step / 300)
    return curves.assign(images_seen=curves.step * 16, val_top1=0.5, val_top5=0.9, train_top1=0.5)


def paper() -> pd.DataFrame:
    return results.networks(paper_results(), "val_top1_best10")


def random_splits(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.group == "random"]


def drawn(figure: Figure, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the line or the markers that the figure names `gid`."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    assert len(lines) == 1, f"{len(lines)} lines are named {gid}"
    return np.asarray(lines[0].get_xdata(), float), np.asarray(lines[0].get_ydata(), float)


# ------------------------------------------------------------------------------------------ text and looks


def texts(figure: Figure) -> list[Text]:
    """The texts that a reader sees: tick labels outside the view are not drawn."""
    FigureCanvasAgg(figure).draw()
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                inside = low - 1e-9 <= tick.get_loc() <= high + 1e-9 and axes.axison
                hidden |= set() if inside else {tick.label1, tick.label2}
        if not axes.axison:
            hidden |= {axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in hidden]


def assert_legible(figure: Figure, name: str) -> None:
    """No two texts overlap, and none leaves the page."""
    boxes = [(t.get_text().replace("\n", " "), Text.get_window_extent(t)) for t in texts(figure)]
    assert len(boxes) > 3
    page = figure.bbox
    for text, box in boxes:
        inside = page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1
        assert inside, f"{name}: {text!r} leaves the page"
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes of text have some air of their own above and below the letters.
        assert width < 1 or height < 2, f"{name}: {one!r} overlaps {two!r}"


def captioned(figure: Figure, text: str = style.DEMO) -> Figure:
    style.caption(figure, text)
    return figure


CASES = {
    "one unit": lambda: study("demo", validations=20),
    "six units": lambda: study(splits=("random-0", "random-1", "random-2", "manmade-natural"), seeds=(0, 1)),
    "no effect": lambda: study(effects=0.0),
    "effects upside down": lambda: study(effects=-1.0),
    "five layers": lambda: study(depth=5),
    "twelve layers": lambda: study(depth=12),
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_whatever_the_numbers(case: str) -> None:
    table = CASES[case]()
    rows = results.networks(table)
    for group in ("random", "manmade-natural"):
        some = rows[rows.group == group]
        assert_legible(captioned(figure2.draw(some, title="A title")), f"figure2 {case} {group}")
        assert_legible(captioned(paired.draw(some, title=group)), f"paired {case} {group}")
    assert_legible(captioned(figure3.draw(rows)), f"figure3 {case}")
    assert_legible(captioned(table1.draw(rows)), f"table1 {case}")


def test_no_text_overlaps_in_the_paper_and_beside_it() -> None:
    published, own = paper(), results.networks(CASES["six units"](), "val_top1_best10")
    for beside in (None, published):
        rows = published if beside is None else own
        some = random_splits(rows)
        others = None if beside is None else random_splits(beside)
        assert_legible(figure2.draw(some, others), "figure2")
        assert_legible(paired.draw(some, others), "paired")
        assert_legible(figure3.draw(rows, beside), "figure3")
        assert_legible(captioned(table1.draw(rows, beside), table1.NOTE), "table1")
    assert_legible(figure2.draw(published[published.group == "manmade-natural"]), "figure2 manmade-natural")
    assert_legible(figure1.draw(), "figure1")
    assert_legible(captioned(reduced_data.draw(published, published)), "reduced_data")
    assert_legible(captioned(preserved.draw(results.networks(paper_preserved()))), "preserved")


def test_every_treatment_has_a_look_of_its_own() -> None:
    """Told apart without colour: no two share marker and plus; the + variants are much lighter than the frozen."""

    def luminance(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    shapes = [(look.marker, look.plus, look.face == "#ffffff") for look in (*style.LOOKS.values(), style.MN)]
    assert len(set(shapes)) == len(shapes)
    for frozen in ("BnB", "AnB"):
        assert luminance(style.LOOKS[f"{frozen}+"].face) - luminance(style.LOOKS[frozen].face) > 0.4


# ------------------------------------------------------------------------------------ Figure 2, point for point


def test_figure2_top_has_every_network_of_the_paper_at_its_place() -> None:
    table = paper_results()
    table = table[table.split.str.startswith("random-")]
    figure = figure2.draw(random_splits(paper()))
    assert style.LOOKS["BnB+"].line == "#aaaaff" and style.LOOKS["AnB+"].line == "#ffaaaa"
    expected = {
        "base": (table[table.kind == "base"], 0.0),
        "BnB": (table[(table.kind == "selffer") & (table.plus == "")], -0.15),
        "BnB+": (table[(table.kind == "selffer") & (table.plus == "1")], -0.05),
        "AnB": (table[(table.kind == "transfer") & (table.plus == "")], 0.05),
        "AnB+": (table[(table.kind == "transfer") & (table.plus == "1")], 0.15),
    }
    counts = {"BnB": [4] * 7, "BnB+": [1, 1, 2, 1, 2, 2, 1], "AnB": [8] * 7, "AnB+": [1, 2, 2, 2, 1, 1, 1]}
    for treatment, (networks, offset) in expected.items():
        x, y = drawn(figure, f"own {treatment}")
        points = sorted(zip(networks.n + offset, networks.val_top1_best10, strict=True))
        assert np.allclose(sorted(zip(x, y, strict=True)), points)
        if treatment == "base":
            assert len(x) == 8 and not x.any()
        else:
            assert [int(np.sum(np.isclose(x, n + offset))) for n in range(1, 8)] == counts[treatment]
    assert figure.axes[0].get_ylabel() == "Top-1 accuracy (higher is better)"


def test_figure2_bottom_has_the_means_from_the_base_on() -> None:
    table = paper_results()
    table = table[table.split.str.startswith("random-")]
    base = table[table.kind == "base"].val_top1_best10.mean()
    figure = figure2.draw(random_splits(paper()))
    for treatment, kind, plus in (
        ("BnB", "selffer", ""),
        ("BnB+", "selffer", "1"),
        ("AnB", "transfer", ""),
        ("AnB+", "transfer", "1"),
    ):
        networks = table[(table.kind == kind) & (table.plus == plus)]
        means = networks.groupby("n").val_top1_best10.mean()
        x, y = drawn(figure, f"own {treatment} line")
        assert list(x) == list(range(8))
        assert np.allclose(y, [base, *means])


def test_figure2_writes_the_networks_of_every_mean() -> None:
    figure = figure2.draw(random_splits(paper()))
    counts = [t.get_text() for t in figure.axes[1].texts if re.fullmatch(r"\d+ \(\d+\)", t.get_text())]
    assert counts == (
        ["8 (4)"]
        + ["4 (4)"] * 7
        + ["1 (1)", "1 (1)", "2 (2)", "1 (1)", "2 (2)", "2 (2)", "1 (1)"]
        + ["8 (4)"] * 7
        + ["1 (1)", "2 (2)", "2 (2)", "2 (2)", "1 (1)", "1 (1)", "1 (1)"]
    )


def bars(figure: Figure, panel: int) -> int:
    return sum(len(c.get_segments()) for c in figure.axes[panel].collections if hasattr(c, "get_segments"))


def test_intervals_from_three_units_on() -> None:
    two = results.networks(study(splits=("random-0", "random-1")))
    three = results.networks(study(splits=("random-0", "random-1", "random-2")))
    assert bars(figure2.draw(two), 1) == 0
    assert bars(figure2.draw(three), 1) == 1 + 4 * 7 + 1  # base, four treatments, B8B+
    row = results.means_by_n(three, "accuracy").query("treatment == 'AnB' and n == 7").iloc[0]
    collections = figure2.draw(three).axes[1].collections
    ends = [tuple(s[:, 1]) for c in collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert any(np.allclose(end, (row.low, row.high)) for end in ends)


def annotated(rows: pd.DataFrame) -> list[str]:
    return sorted(annotation.text[0] for annotation in figure2.annotations(rows))


def test_annotations_stand_only_where_the_data_support_them() -> None:
    assert annotated(random_splits(paper())) == ["1", "2", "3", "4", "5"]
    assert annotated(results.networks(study(splits=("random-0",)))) == ["1", "2", "3", "4", "5"]
    assert annotated(results.networks(study(splits=("random-0",), effects=0.0))) == ["1"]
    assert annotated(results.networks(study(splits=("random-0",), effects=-1.0))) == ["1"]
    # Below one point nothing is annotated, however narrow the interval.
    four = ("random-0", "random-1", "random-2", "random-3")
    assert annotated(results.networks(study(splits=four, effects=0.15, noise=1e-5))) == ["1"]
    # From three units on an interval that includes 0 forbids what the mean alone would allow.
    table = study(splits=("random-0", "random-1", "random-2"))
    spoiled = (table.split == "random-2") & (table.kind == "selffer") & (table.plus == "") & (table.n > 0)
    table.loc[spoiled, "val_top1"] += 0.08
    rows = results.networks(table)
    assert rows[rows.treatment == "BnB"].groupby("n").difference.mean().min() < -results.MARGIN
    assert "2" not in annotated(rows) and "3" not in annotated(rows)


def test_annotations_point_at_the_largest_effect() -> None:
    found = {a.text[0]: a for a in figure2.annotations(random_splits(paper()))}
    assert found["2"].x == found["3"].x == 5 and found["4"].x == 7
    table = random_splits(paper())
    bnb, base = (table[(table.treatment == t) & (table.n == n)].accuracy.mean() for t, n in (("BnB", 5), ("base", 0)))
    assert bnb < found["2"].y < base


def test_the_x_axis_is_as_deep_as_the_study() -> None:
    for depth in (5, 8, 12):
        figure = figure2.draw(results.networks(study(splits=("random-0",), depth=depth)))
        assert list(figure.axes[1].get_xticks()) == list(range(depth + 1))  # the last is B8B+, all layers copied
        assert max(drawn(figure, "own AnB line")[0]) == depth - 1


# ------------------------------------------------------------------------- the other figures, point for point


def test_figure3_is_the_papers() -> None:
    table = paper_results()
    figure = figure3.draw(paper())
    accuracy = table.set_index(["split", "network"]).val_top1_best10
    for half, target, source in (("natural", "B", "A"), ("man-made", "A", "B")):
        names = [f"base{target}", *(f"{source}{n}{target}" for n in range(1, 8))]
        x, y = drawn(figure, f"own {half}")
        assert list(x) == list(range(8))
        assert np.allclose(y, [accuracy["manmade-natural", name] for name in names])
    assert drawn(figure, "own natural")[1].min() > 0.39  # the upper line
    x, y = drawn(figure, "own random, all classes")
    assert np.allclose(y, [accuracy["whole", name] for name in ["baseW", *(f"R{n}W" for n in range(1, 8))]])

    bases = table[table.kind == "base"].set_index(["split", "target"]).val_top1_best10
    frozen = table[(table.kind == "transfer") & (table.plus == "")].copy()
    frozen["relative"] = [row.val_top1_best10 - bases[row.split, row.target] for row in frozen.itertuples()]
    for label, chosen in (
        ("mean AnB, random splits", frozen[frozen.split.str.startswith("random")]),
        ("mean AnB, m/n split", frozen[frozen.split == "manmade-natural"]),
    ):
        x, y = drawn(figure, f"own {label}")
        assert list(x) == list(range(8))
        assert np.allclose(y, [0, *chosen.groupby("n").relative.mean()])
    x, y = drawn(figure, "own random features")
    assert np.allclose(y[1:], [accuracy["whole", f"R{n}W"] - accuracy["whole", "baseW"] for n in range(1, 8)])
    low, high = figure.axes[2].get_ylim()
    assert low == pytest.approx(-0.30) and high == pytest.approx(0.03, abs=0.01)


def test_table1_is_the_papers_and_pairing_changes_it() -> None:
    lines = table1.lines(paper())
    assert [line[0] for line in lines] == ["1–7", "3–7", "5–7"]
    assert [(line[1].split()[0], line[2].split()[0]) for line in lines] == [
        ("1.6", "1.4"),
        ("1.8", "1.4"),
        ("2.1", "1.7"),
    ]
    assert [(line[3].split()[0], line[4].split()[0]) for line in lines] == [
        ("1.0", "1.0"),
        ("1.2", "1.1"),
        ("1.2", "1.0"),
    ]
    assert {line[5] for line in lines} == {"no pair"}


def test_paired_shows_that_both_fine_tuned_treatments_gain_the_same() -> None:
    rows = random_splits(paper())
    figure = paired.draw(rows)
    heights = {p.get_gid(): p.get_height() for p in figure.axes[3].patches if p.get_gid()}
    assert heights["pooled AnB+ − base"] == pytest.approx(0.016, abs=5e-4)
    assert heights["pooled BnB+ − base"] == pytest.approx(0.002, abs=5e-4)
    assert heights["paired AnB+ − base"] == pytest.approx(0.010, abs=5e-4)
    assert heights["paired BnB+ − base"] == pytest.approx(0.010, abs=5e-4)
    assert "paired AnB+ − BnB+" not in heights  # no target has both
    assert "B halves" in paired.untied(rows) and "A halves" in paired.untied(rows)
    assert paired.untied(results.networks(study())) == ""
    x, y = drawn(figure, "own BnB difference")
    assert list(x) == list(range(1, 8)) and y.argmin() == 4


def test_reduced_data_and_preserved_are_the_authors() -> None:
    table = paper_results()
    reduced = table[table.images_per_class != ""]
    figure = reduced_data.draw(paper())
    line = next(line for line in figure.axes[1].lines if line.get_gid() == "own whole")
    expected = sorted(zip(reduced.images_per_class.astype(int), reduced.val_top1_best10, strict=True))
    assert np.allclose(line.get_xydata(), expected) and len(expected) == 12
    assert figure.axes[1].get_xscale() == figure.axes[1].get_yscale() == "log"
    figure = preserved.draw(results.networks(paper_preserved()))
    assert np.allclose(drawn(figure, "own AnBp2")[1], [0.64560, 0.64100, 0.62892, 0.61616, 0.58716, 0.59092])
    assert drawn(figure, "own BnBp1")[1][0] == 0.61944


def test_training_curves_are_means_over_networks(tmp_path: Path) -> None:
    table = study(splits=("random-0",))
    curves_of(table).to_csv(tmp_path / "curves.csv", index=False)
    curves = training_curves.read_curves(tmp_path / "curves.csv")
    figure = training_curves.draw(curves, results.networks(table))
    x, y = drawn(figure, "BnB 4 train_loss")
    both = curves[curves.network.isin(("A4A", "B4B"))].groupby("step").train_loss.mean()
    assert np.allclose(x, both.index) and np.allclose(y, both)
    x, y = drawn(figure, "final BnB")
    assert round(x[y.argmax()]) == 4  # the loss rises where the invented study loses co-adaptation
    assert_legible(captioned(figure), "training_curves")
    (tmp_path / "curves.csv").write_text("study,split\n")
    with pytest.raises(Refused, match="lacks the column network"):
        training_curves.read_curves(tmp_path / "curves.csv")


def test_filters_are_scaled_each_by_its_own(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights = np.random.default_rng(0).normal(size=(14, 3, 5, 5)).astype(np.float32)
    weights[3] *= 100
    folder = tmp_path / "random-0" / "baseA" / "seed-0"
    folder.mkdir(parents=True)
    save_file(
        {"conv1.weight": weights, "conv2.weight": np.zeros((4, 14, 3, 3), np.float32)}, folder / "weights.safetensors"
    )
    (path,) = filters.find([tmp_path])
    assert np.array_equal(filters.read_filters(path), weights)
    sheet = filters.mosaic(weights)
    assert sheet.shape == (2 * 6 - 1, 12 * 6 - 1, 3)
    fourth = sheet[:5, 18:23]
    assert np.allclose(fourth, 0.5 + 0.5 * weights[3].transpose(1, 2, 0) / np.abs(weights[3]).max())
    assert np.all(sheet[5] == 1) and sheet.min() >= 0 and sheet.max() <= 1
    with pytest.raises(Refused, match="no weights of bases"):
        filters.find([ROOT / "plots"])


# ------------------------------------------------------------------------------------------ the command line


def test_missing_and_diverged_networks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = study("demo", splits=("random-0",))
    table.loc[table.network == "A3B", "diverged_at"] = 17
    table = table[~table.network.isin(("A2B+", "A3B+", "A4B+", "B6B"))]
    write_table(table, tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "diverged, so not drawn: random-0/A3B/seed-0 (step 17)" in printed
    missing = printed.split("not in the table, so not drawn: ")[1].splitlines()[0].split(", ")
    assert missing == ["random-0/B6B/seed-0", "random-0/A3B/seed-0", "random-0/A{2..4}B+/seed-0"]
    for name in ("figure2.png", "figure2.pdf"):
        assert str(tmp_path / name) in printed and (tmp_path / name).stat().st_size > 1000
    assert not (tmp_path / "figure2-manmade-natural.png").exists()


def test_a_table_without_bases_is_drawn_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = study(splits=("random-0",))
    write_table(table[table.kind != "base"], tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    assert "random-0/baseA/seed-0, random-0/baseB/seed-0" in capsys.readouterr().out
    assert annotated(results.networks(table[table.kind != "base"])) == []


def test_captions_say_what_the_demo_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(style, "save", lambda figure, *_: said.append(figure._supxlabel))
    for name in ("demo_seeds", "own"):
        write_table(study(name, splits=("random-0",)), tmp_path / f"{name}.csv")
        figure2.main([str(tmp_path / f"{name}.csv"), "--caption", "Mine."])
    demo, own = (" ".join(text.get_text().split()) for text in said)
    assert "Mine." in demo and style.DEMO in demo and "no evidence" in style.DEMO
    assert own == "Mine."


def test_both_splits_make_two_figures_and_fonts_are_embedded(tmp_path: Path) -> None:
    write_table(study(), tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    for name in ("figure2", "figure2-manmade-natural"):
        pdf = (tmp_path / f"{name}.pdf").read_bytes()
        assert b"/Type3" not in pdf and b"/FontFile2" in pdf
        assert (tmp_path / f"{name}.png").exists()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    write_table(study(validations=20), tmp_path / "results.csv")
    for arguments, said in (
        ([], "nothing to draw"),
        ([str(tmp_path / "results.csv"), "--paper"], "100 validations"),
        ([str(tmp_path / "results.csv"), "--split", "random-9"], "no split random-9"),
    ):
        with pytest.raises(Refused, match=said):
            figure2.main([*arguments, "--out", str(tmp_path / "figures")])
    assert not (tmp_path / "figures").exists()


def test_errors_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "plots" / "figure2.py", tmp_path / "nothing.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=LIMIT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "nothing.csv does not exist" in done.stderr


def test_a_figure_for_which_there_is_no_room_is_one_line_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(study(), tmp_path / "results.csv")
    words = [str(tmp_path / "results.csv"), "--out", str(tmp_path / "figures")]
    figure2.main(words)
    before = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        style.run(lambda: figure2.main([*words, "--caption", "another"]))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert "figure2.png: No space left on device; make room" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == before


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


WITHOUT_TORCH = """
import runpy, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "lightning", "torchmetrics", "wandb"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Forbidden())
sys.path.insert(0, "plots")
curves, weights, out = sys.argv[1:]
arguments = {"all": [], "training_curves": [curves], "filters": [weights]}
for path in sys.stdin.read().split():
    name = path.split("/")[-1][:-3]
    sys.argv = [path, *arguments[name], "--out", out] if name in arguments else [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (name, end)
    loaded = [module for module in sys.modules if module.split(".")[0] in ("torch", "lightning")]
    assert not loaded, (name, loaded)
print("all ran")
"""


def test_every_plot_runs_where_torch_is_not_installed(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    table = study("own")
    write_table(table, tmp_path / "results.csv")  # training_curves finds it beside the curves
    curves_of(table).to_csv(tmp_path / "curves.csv", index=False)
    weights = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": np.random.default_rng(0).normal(size=(8, 3, 5, 5)).astype(np.float32)}, weights)
    plots = [f"plots/{path.name}" for path in sorted((ROOT / "plots").glob("*.py")) if path.name != "style.py"]
    assert len(plots) == 10
    command = [sys.executable, "-c", WITHOUT_TORCH, tmp_path / "curves.csv", weights, tmp_path / "figures"]
    done = subprocess.run(
        command, input="\n".join(plots), capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=LIMIT
    )
    assert done.returncode == 0 and done.stdout.endswith("all ran\n"), done.stderr
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    names = {Path(path).stem for path in plots} - {"all"} | {
        "figure2-manmade-natural",
        "training_curves-manmade-natural",
    }
    assert figures == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    for name in ("training_curves", "filters"):  # `all` draws what the published numbers allow and names these two
        assert f"{name}: needs one's own runs: python plots/{name}.py" in done.stdout
    assert "paired: not drawn for manmade-natural" in done.stdout
