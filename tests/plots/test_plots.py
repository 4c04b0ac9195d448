"""Figures show the paper's panels point for point, and what a study has networks for; no text overlaps."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import frame, row
from invented import curves_of, study
from legible import assert_legible
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from project import PROJECT

from transferability.files import Refused
from transferability.plots import (
    all as every,
)
from transferability.plots import (
    figure1,
    figure2,
    figure3,
    filters,
    paired,
    preserved,
    reduced_data,
    style,
    table1,
    training_curves,
)
from transferability.plots.style import Page
from transferability.plots.tables import Drawn, NotDrawn, Table, depth_of, table_of
from transferability.results import statistics as results
from transferability.results.paper import paper_results

TREATMENTS = ("BnB", "BnB+", "AnB", "AnB+")


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with style.settings():
        yield


def only(drawings: Sequence[Drawn | NotDrawn]) -> Figure:
    """The one figure that was drawn."""
    (drawing,) = drawings
    assert isinstance(drawing, Drawn), drawing
    return drawing.figure


def by_name(drawings: Sequence[Drawn | NotDrawn]) -> dict[str, Figure]:
    return {drawing.name: drawing.figure for drawing in drawings if isinstance(drawing, Drawn)}


def paper() -> pd.DataFrame:
    return results.networks(paper_results(), "val_top1_best10")


def random_splits(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.group == "random"]


def invented(**changes: object) -> pd.DataFrame:
    """The networks of an invented study."""
    return results.networks(study(**changes))


def drawn(figure: Figure, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the line or the markers that the figure names `gid`."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    assert len(lines) == 1, f"{len(lines)} lines are named {gid}"
    return np.asarray(lines[0].get_xdata(), float), np.asarray(lines[0].get_ydata(), float)


# ------------------------------------------------------------------------------------------ text and looks


RESNET = ["conv1", *(f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)), "fc"]
TRANSFORMER = ["embedding", *(f"encoder.layers.encoder_layer_{i}" for i in range(18)), "head"]
CASES = {
    "one unit": lambda: study("demo", validations=20),
    "six units": lambda: study(splits=("random-0", "random-1", "random-2", "manmade-natural"), seeds=(0, 1)),
    "no effect": lambda: study(effects=0.0),
    "effects upside down": lambda: study(effects=-1.0),
    "five layers": lambda: study(depth=5),
    "twelve layers": lambda: study(depth=12),
    "ten named layers": lambda: study(depth=10, names=RESNET),
    "twenty named layers": lambda: study(depth=20, effects=0.4, names=TRANSFORMER),
    "sixty layers": lambda: study(depth=60, effects=0.1, names=[f"features.{i}.conv" for i in range(60)]),
}


MORE_ROOM = ("one unit", "six units", "no effect", "five layers", "twelve layers", "ten named layers")


@pytest.mark.parametrize(
    ("case", "width"),
    [
        *(("one unit", 3.25), ("six units", 3.25), ("effects upside down", None)),
        *(("twenty named layers", None), ("sixty layers", None)),
        *(pytest.param(case, None, marks=pytest.mark.torture) for case in MORE_ROOM),
    ],
)
def test_no_text_overlaps_whatever_the_numbers(case: str, width: float | None) -> None:
    for name, figure in by_name(every.draw(table_of(CASES[case]()), Page(width))).items():
        assert_legible(figure, f"{name} {case}")


@pytest.mark.parametrize("case", ["", "six units", pytest.param("one unit", marks=pytest.mark.torture)])
def test_no_text_overlaps_in_the_paper_and_beside_it(case: str) -> None:
    table = table_of(CASES[case](), paper=True) if case else table_of(None)
    for name, figure in by_name(every.draw(table)).items():
        assert_legible(figure, name)


def test_every_axis_of_accuracies_lies_within_0_and_1() -> None:
    table = study(splits=("random-0",))
    for low, high in ((0.97, 1.0), (0.0, 0.02)):
        span = table.val_top1 - table.val_top1.min()
        rows = results.networks(table.assign(val_top1=low + (high - low) * span / span.max()))
        for figure in by_name(every.draw(Table(rows))).values():
            for axes in accuracies(figure):
                bottom, top = axes.get_ylim()
                assert 0 <= bottom < top <= 1
    for axes in accuracies(only(reduced_data.draw(Table(paper())))):
        assert axes.get_ylim()[1] <= 1


def accuracies(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_ylabel().startswith("Top-1 accuracy")]


def test_what_is_not_in_the_table_has_no_panel_and_no_line() -> None:
    table = study(splits=("random-0",))
    first = results.networks(table[table.n <= 1])  # one point of each treatment
    for figure in by_name(every.draw(Table(first))).values():
        for axes in figure.axes:
            assert axes.get_children() and (axes.lines or axes.patches or axes.texts)
            assert all(len(line.get_xdata()) > 1 for line in axes.lines if line.get_linestyle() in ("-", ":"))
    titles = [axes.get_title(loc="left") for axes in only(paired.draw(Table(random_splits(first)))).axes]
    assert len(titles) == 4
    alone = results.networks(table[table.kind.isin(("base", "selffer")) & (table.plus == "")])
    assert [axes.get_title(loc="left") for axes in only(paired.draw(Table(alone))).axes] == [
        "(a) Co-adaptation: BnB − base"
    ]
    random = results.networks(table[table.kind.isin(("base", "random"))])
    assert [axes.get_title() for axes in only(figure3.draw(Table(random))).axes] == ["Random, untrained filters", ""]
    reasons = [drawing.plot for drawing in every.draw(Table(random)) if isinstance(drawing, NotDrawn)]
    assert {"figure2", "table1", "paired", "trained_twice"} < set(reasons)


def test_a_group_of_splits_that_the_paper_does_not_have_is_drawn_by_its_name() -> None:
    table = study(splits=("random-0", "photo-sketch", "clipart-photo"))
    figures = by_name(every.draw(table_of(table)))
    assert {"figure2-photo-sketch", "paired-photo-sketch", "figure3"} < set(figures)
    assert {"photo-sketch", "clipart-photo"} < {axes.get_title() for axes in figures["figure3"].axes}
    label = "own mean AnB, photo-sketch"
    assert len(drawn(figures["figure3"], label)[0]) == 8


def test_figure2_of_a_pair_shows_random_features_and_expects_one_target() -> None:
    names = [f"{name}/seed-{seed}" for name in ("baseB", "B3B", "A3B", "R3B", "A3B+0.1") for seed in range(3)]
    rows = [row(f"photo-mine/{name}", 0.5 + 0.01 * i) for i, name in enumerate(names)]
    table = frame(row("photo-mine/baseA/seed-0", 0.9, steps=0), *rows)
    (drawing,) = figure2.draw(table_of(table))
    assert isinstance(drawing, Drawn)
    base, random = np.mean([0.5, 0.51, 0.52]), np.mean([0.59, 0.6, 0.61])
    assert np.allclose(drawn(drawing.figure, "own RnB line"), [[0, 3], [base, random]])
    assert drawing.lines == (f"{drawing.name}: in the table, but not in this figure: published (1), AnB+0.1 (3)",)


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
    figure = only(figure2.draw(Table(random_splits(paper()))))
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
    figure = only(figure2.draw(Table(random_splits(paper()))))
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
    figure = only(figure2.draw(Table(random_splits(paper()))))
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
    two = invented(splits=("random-0", "random-1"))
    three = invented(splits=("random-0", "random-1", "random-2"))
    assert bars(only(figure2.draw(Table(two))), 1) == 0
    assert bars(only(figure2.draw(Table(three))), 1) == 1 + 4 * 7 + 1  # base, four treatments, B8B+
    row = results.means_by_n(three, "accuracy").query("treatment == 'AnB' and n == 7").iloc[0]
    collections = only(figure2.draw(Table(three))).axes[1].collections
    ends = [tuple(s[:, 1]) for c in collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert any(np.allclose(end, (row.low, row.high)) for end in ends)


def annotated(rows: pd.DataFrame) -> dict[str, bool]:
    """The numbers of the annotations, and whether an interval stands behind each."""
    shown = figure2.annotations(rows)
    return {annotation.text[0]: annotation.has_interval for annotation in sorted(shown, key=lambda shown: shown.text)}


FOUR = ("random-0", "random-1", "random-2", "random-3")


def test_annotations_stand_only_where_an_interval_supports_them() -> None:
    assert annotated(invented(splits=FOUR)) == dict.fromkeys("12345", True)
    # Paired, the paper has AnB+ and BnB+ on two splits: no interval. BnB and AnB it has on four.
    assert annotated(random_splits(paper())) == {"1": True, "2": True, "3": False, "4": True, "5": False}
    for effects in (0.0, -1.0):
        assert annotated(invented(splits=FOUR, effects=effects)) == {"1": True}
    # Below one point nothing is annotated, however narrow the interval.
    assert annotated(invented(splits=FOUR, effects=0.15, noise=1e-5)) == {"1": True}


def test_annotations_of_one_unit_are_grey_and_say_so() -> None:
    table = study(splits=("random-0",))
    assert annotated(results.networks(table)) == {"1": True} | dict.fromkeys("2345", False)
    texts_of = only(figure2.draw(table_of(table))).axes[1].texts
    shown = {text.get_text()[0]: text for text in texts_of if text.get_text()[1:2] == ":"}
    for number in "2345":
        assert "(1\N{NO-BREAK SPACE}unit)" in shown[number].get_text() and shown[number].get_color() == "#8a8a8a"
    assert "unit" not in shown["1"].get_text()


def test_annotations_are_judged_by_the_mean_over_n_not_by_the_luckiest() -> None:
    """AnB+ gains two points at one n and loses half a point at every other: its mean over n is below 0."""
    for splits in (("random-0",), FOUR):
        table = study(splits=splits)
        tuned = (table.kind == "transfer") & (table.plus == "1")
        table.loc[tuned, "val_top1"] -= 0.020
        table.loc[tuned & (table.n == 5), "val_top1"] += 0.025
        rows = results.networks(table)
        gains = rows[rows.treatment == "AnB+"].groupby("n").difference.mean()
        assert gains.max() > 0.015 and gains.mean() < 0
        assert "5" not in annotated(rows) and "4" in annotated(rows)


def test_an_interval_that_includes_0_forbids_what_the_mean_alone_would_allow() -> None:
    table = study(splits=("random-0", "random-1", "random-2"))
    spoiled = (table.split == "random-2") & (table.kind == "selffer") & (table.plus == "") & (table.n > 0)
    table.loc[spoiled, "val_top1"] += 0.03
    rows = results.networks(table)
    assert rows[rows.treatment == "BnB"].difference.mean() < -results.MARGIN / 2
    assert "2" not in annotated(rows) and "3" not in annotated(rows)


def test_annotations_point_at_the_largest_effect() -> None:
    shown = {annotation.text[0]: annotation for annotation in figure2.annotations(random_splits(paper()))}
    assert shown["2"].x == shown["3"].x == 5 and shown["4"].x == 7
    table = random_splits(paper())
    bnb, base = (table[(table.treatment == t) & (table.n == n)].accuracy.mean() for t, n in (("BnB", 5), ("base", 0)))
    assert bnb < shown["2"].y < base


def test_the_x_axis_is_as_deep_as_the_study() -> None:
    for depth in (5, 8, 12):
        figure = only(figure2.draw(Table(invented(splits=("random-0",), depth=depth))))
        assert list(figure.axes[1].get_xticks()) == list(range(depth + 1))  # the last is B8B+, all layers copied
        assert max(drawn(figure, "own AnB line")[0]) == depth - 1


def test_layers_have_their_names_where_those_fit_and_their_positions_where_not() -> None:
    def below(figure: Figure, minor: bool) -> list[str]:
        FigureCanvasAgg(figure).draw()
        return [label.get_text() for label in figure.axes[1].get_xticklabels(minor=minor)]

    def figure2_of(**changes: object) -> Figure:
        return only(figure2.draw(Table(random_splits(invented(**changes)))))

    named = figure2_of(depth=10, names=RESNET)
    assert below(named, True) == RESNET and below(named, False) == [str(n) for n in range(11)]
    short = below(figure2_of(depth=20, names=TRANSFORMER), True)
    assert short == ["embedding", *(f"…layer_{i}" for i in range(18)), "head"]
    deep = figure2_of(depth=60, names=[f"block{i}" for i in range(60)])
    assert below(deep, True) == [] and below(deep, False) == [str(n) for n in range(0, 61, 5)]
    for names in ((), [str(i) for i in range(8)]):  # numbers are no names: they would pass for n
        assert below(figure2_of(names=names), True) == []


def test_names_of_layers_are_shortened_to_what_they_differ_by() -> None:
    def names(*layers: str) -> list[str]:
        return list(style.layer_names(pd.DataFrame({"n": range(1, len(layers) + 1), "layer": layers})).values())

    assert names("conv1", "features.denseblock1.norm") == ["conv1", "…norm"]
    blocks = [f"features.denseblock{i}.denselayer1" for i in (1, 2)]
    assert names(*blocks) == ["…ck1.denselayer1", "…ck2.denselayer1"]
    assert names("one.very_long_name_of_a_layer", "two.very_long_name_of_a_layer") == []
    rows = pd.DataFrame({"n": [1, 1], "layer": ["conv1", "stem"]})  # of two architectures
    assert style.layer_names(rows) == {}


def test_figure1_has_the_layers_of_the_study_and_its_connectors_touch_the_boxes() -> None:
    for depth in (2, 4, 8, 12):
        figure = only(figure1.draw(depth=depth_of(invented(splits=("random-0",), depth=depth))))
        labels = {text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("$W_{B")}
        assert labels == {f"$W_{{B{layer}}}$" for layer in range(1, depth + 1)}
    deep = {text.get_text() for text in only(figure1.draw(depth=50)).axes[0].texts}
    assert {"$W_{B1}$", "$W_{B50}$", "…"} < deep and "$W_{B20}$" not in deep
    arrows = [patch for patch in only(figure1.draw()).axes[0].patches if hasattr(patch, "shrinkA")]
    assert len(arrows) == 4 * (2 + 7 + 8)
    assert all(arrow.shrinkA == arrow.shrinkB == 0 for arrow in arrows)


# ------------------------------------------------------------------------- the other figures, point for point


def test_figure3_is_the_papers() -> None:
    table = paper_results()
    figure = only(figure3.draw(Table(paper())))
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
        ("mean AnB, man-made / natural", frozen[frozen.split == "manmade-natural"]),
    ):
        x, y = drawn(figure, f"own {label}")
        assert list(x) == list(range(8))
        assert np.allclose(y, [0, *chosen.groupby("n").relative.mean()])
    x, y = drawn(figure, "own random features")
    assert np.allclose(y[1:], [accuracy["whole", f"R{n}W"] - accuracy["whole", "baseW"] for n in range(1, 8)])
    low, high = figure.axes[2].get_ylim()
    assert low == pytest.approx(-0.30) and high == pytest.approx(0.03, abs=0.01)


def test_figure3_has_a_line_for_each_variant_of_random_features_and_none_for_readouts_of_them() -> None:
    table = study(splits=("random-0",))
    random = table[table.kind == "random"]
    others = [random.assign(network=random.network + f"@{word}", variant=word) for word in ("filler", "softmax")]
    others[0]["val_top1"] /= 2
    others[1]["numbers"] = 100.0  # as a readout has
    figure = only(figure3.draw(table_of(pd.concat([table, *others], ignore_index=True))))
    own, filler = (drawn(figure, f"own random, random splits{word}")[1] for word in ("", "@filler"))
    assert own[0] == filler[0] and np.allclose(filler[1:], own[1:] / 2)
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert labels == ["reference", "mean AnB, random splits", "random features", "random features, filler"]


def test_table1_is_the_papers_and_pairing_changes_it() -> None:
    lines = table1.lines(table1.boosts_of(paper()))
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
    figure = only(paired.draw(Table(rows)))
    heights = {p.get_gid(): p.get_height() for p in figure.axes[3].patches if p.get_gid()}
    assert heights["pooled AnB+ − base"] == pytest.approx(0.016, abs=5e-4)
    assert heights["pooled BnB+ − base"] == pytest.approx(0.002, abs=5e-4)
    assert heights["paired AnB+ − base"] == pytest.approx(0.010, abs=5e-4)
    assert heights["paired BnB+ − base"] == pytest.approx(0.010, abs=5e-4)
    assert "paired AnB+ − BnB+" not in heights  # no target has both
    assert "B halves" in paired.untied(rows) and "A halves" in paired.untied(rows)
    assert paired.untied(invented()) == ""
    x, y = drawn(figure, "own BnB difference")
    assert list(x) == list(range(1, 8)) and y.argmin() == 4


def test_reduced_data_and_preserved_are_the_authors() -> None:
    table = paper_results()
    reduced = table[table.images_per_class != ""]
    figure = only(reduced_data.draw(Table(paper())))
    line = next(line for line in figure.axes[1].lines if line.get_gid() == "own whole")
    expected = sorted(zip(reduced.images_per_class.astype(int), reduced.val_top1_best10, strict=True))
    assert np.allclose(line.get_xydata(), expected) and len(expected) == 12
    assert figure.axes[1].get_xscale() == figure.axes[1].get_yscale() == "log"
    figure = only(preserved.draw(table_of(None)))
    assert np.allclose(drawn(figure, "own AnBp2")[1], [0.64560, 0.64100, 0.62892, 0.61616, 0.58716, 0.59092])
    assert drawn(figure, "own BnBp1")[1][0] == 0.61944


def test_training_curves_are_means_over_networks(tmp_path: Path) -> None:
    table = study(splits=("random-0",))
    curves_of(table).to_csv(tmp_path / "curves.csv", index=False)
    curves = training_curves.read_curves(tmp_path / "curves.csv")
    figure = only(training_curves.draw(curves, results.networks(table)))
    x, y = drawn(figure, "BnB 4 train_loss")
    both = curves[curves.network.isin(("A4A", "B4B"))].groupby("step").train_loss.mean()
    assert np.allclose(x, both.index) and np.allclose(y, both)
    x, y = drawn(figure, "final BnB")
    assert round(x[y.argmax()]) == 4  # the loss rises where the invented study loses co-adaptation
    assert_legible(figure, "training_curves")
    (tmp_path / "curves.csv").write_text("study,split\n")
    with pytest.raises(Refused, match="lacks the column network"):
        training_curves.read_curves(tmp_path / "curves.csv")


def test_curves_of_one_validation_are_dots_and_other_treatments_are_counted(tmp_path: Path) -> None:
    table = study(splits=("random-0",))
    other = table[table.network == "A3B+"].assign(network="A3B+0.1", plus="0.1")
    curves_of(pd.concat([table, other])).query("step == 100").to_csv(tmp_path / "curves.csv", index=False)
    (drawing,) = training_curves.draw(training_curves.read_curves(tmp_path / "curves.csv"), None)
    assert isinstance(drawing, Drawn)
    assert all(line.get_marker() == "." for axes in drawing.figure.axes for line in axes.lines)
    assert drawing.lines == ("training_curves: in the table, but not in this figure: RnB (14), AnB+0.1 (1)",)


def test_filters_are_scaled_each_by_its_own(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights = np.random.default_rng(0).normal(size=(14, 3, 5, 5)).astype(np.float32)
    weights[3] *= 100
    folder = tmp_path / "random-0" / "baseA" / "seed-0"
    folder.mkdir(parents=True)
    save_file(
        {"conv1.weight": weights, "conv2.weight": np.zeros((4, 14, 3, 3), np.float32)}, folder / "weights.safetensors"
    )
    (path,) = filters.weight_files([tmp_path])
    assert np.array_equal(filters.read_filters(path), weights)
    sheet = filters.mosaic(weights)
    assert sheet.shape == (2 * 6 - 1, 12 * 6 - 1, 3)
    fourth = sheet[:5, 18:23]
    assert np.allclose(fourth, 0.5 + 0.5 * weights[3].transpose(1, 2, 0) / np.abs(weights[3]).max())
    assert np.all(sheet[5] == 1) and sheet.min() >= 0 and sheet.max() <= 1
    with pytest.raises(Refused, match="no weights of bases"):
        filters.weight_files([PROJECT / "plots"])
