"""Figures of readouts: what they draw of a table and of predictions."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import frame, row
from legible import assert_legible

from transferability.files import Refused
from transferability.plots import (
    augmentation,
    average_precision_by_layer,
    confusion,
    embedding,
    few_pictures,
    neighbours,
    readout_against_retraining,
    readout_by_layer,
    style,
)
from transferability.plots.features import Features, Side, read_export
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
    readout("imagenet-caltech101/A2B@5@softmax/seed-0", 0.3),  # not on most images: of figure few_pictures
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
    assert titles == ["hand-made", "Zeiler and Fergus 2014,\n30 images per class"]
    assert "AnB@30@softmax  2" in " ".join(figure.lines) and "@5@" not in " ".join([*named, *figure.lines])


@pytest.mark.parametrize("networks", [2, 4])
def test_the_panels_of_several_networks_keep_apart(networks: int) -> None:
    tables = [table_of(frame(*ROWS).assign(study=f"caltech101-{k}")) for k in range(networks)]
    with style.settings():
        figure = drawn(readout_by_layer.draw_several(tables)).figure
        assert_legible(figure, "readout_by_layer")
    assert len(figure.axes) == networks + 1


def test_each_variant_is_shown_on_its_most_images() -> None:
    """As in DeCAF's Office table: 20 images per class of A, with or without three of B; or these three alone."""
    words = {"5@svm": 0.2, "20@source": 0.3, "20@svm": 0.4, "3@target": 0.5}
    rows = [readout(f"amazon-webcam/A{n}B@{word}/seed-0", level) for word, level in words.items() for n in (1, 2)]
    with style.settings():
        named = lines(drawn(readout_by_layer.draw(table_of(frame(*rows)))))
        with pytest.raises(Refused, match="no split webcam-dslr, only amazon-webcam"):
            readout_by_layer.draw(table_of(frame(*rows)), split="webcam-dslr")
    shown = {name.rpartition(" ")[2]: values[0] for name, values in named.items() if "AnB" in name}
    assert shown == pytest.approx({"AnB@20@source": 0.25, "AnB@20@svm": 0.35, "AnB@3@target": 0.45})


def test_another_measure_and_a_table_without_readouts() -> None:
    with style.settings():
        named = lines(drawn(readout_by_layer.draw(table_of(frame(*ROWS)), measure="val_top1")))
        assert named["hand-made chance"] == pytest.approx([0.2, 0.2])
        assert isinstance(readout_by_layer.draw(table_of(frame(*ROWS[:7])))[0], NotDrawn)
        for rows in (ROWS[:7], [ROWS[0], *ROWS[7:]]):  # no readouts; nothing but readouts
            assert isinstance(readout_against_retraining.draw(table_of(frame(*rows)))[0], NotDrawn)


def test_a_readout_is_paired_with_the_network_of_its_own_seed() -> None:
    with style.settings():
        figure = drawn(readout_against_retraining.draw(table_of(frame(*ROWS))))
        named = lines(figure)
    assert named["beyond AnB@30"] == pytest.approx([0.021, 0.021])
    assert named["read AnB@30"] == pytest.approx([0.521, 0.621]) and not named["dropout AnB@30"]
    resting = [row(f"imagenet-caltech101/A2B@30@resting/seed-{s}", 0.605) for s in range(3)]
    with style.settings():
        figure = drawn(readout_against_retraining.draw(table_of(frame(*ROWS, *resting))))
    assert lines(figure)["dropout AnB@30"] == pytest.approx([0.005])
    assert "+2.1" in figure.lines[-1] and "+0.5" in figure.lines[-1]
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
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(Refused, match=r"predictions\.npz is damaged"):
        confusion.draw(folder, "random-0/A3B@svm")


def test_accuracy_over_images_per_class_by_layer() -> None:
    rows = [
        readout(f"imagenet-caltech101/A{n}B@{k}@{word}/seed-{seed}", 0.1 * n + 0.01 * k + 0.001 * seed)
        for n in (2, 3)
        for k in (1, 5, 30)
        for word in ("svm", "nearest")
        for seed in (0, 1, 2)
    ]
    alone = readout("imagenet-caltech101/A1B@30@svm/seed-0", 0.3)  # on one number of images: no line
    random = [readout(f"imagenet-caltech101/R2B@{k}@svm/seed-0", 0.1) for k in (1, 5)]
    with style.settings():
        both = drawn(few_pictures.draw(table_of(frame(*rows, *random)))).lines
        assert [line.split()[-3] for line in both if line.startswith("R2@svm")] == ["5.0", "5.0"]
        figure = drawn(few_pictures.draw(table_of(frame(*rows, alone))))
        named = lines(figure)
        assert isinstance(few_pictures.draw(table_of(frame(alone)))[0], NotDrawn)
    assert set(named) == {f"{word} A{n}" for word in ("svm", "nearest") for n in (2, 3)}
    assert named["svm A3"] == pytest.approx([0.261, 0.301, 0.551])  # the mean over classes
    assert "A2@nearest" in " ".join(figure.lines)


def test_views_are_compared_with_the_centre_alone() -> None:
    gains = {"centre-centre-sum": 0.0, "ten-centre-sum": 0.02, "ten-ten-max": -0.03}
    rows = [
        readout(f"imagenet-flowers17/A8B@{way}/seed-{seed}", 0.7 + gain + 0.01 * seed)
        for way, gain in gains.items()
        for seed in (0, 1, 2)
    ]
    with style.settings():
        figure = drawn(augmentation.draw(table_of(frame(*rows, *ROWS))))
        places = {line.get_gid(): line.get_xdata() for axes in figure.figure.axes for line in axes.lines}
        assert isinstance(augmentation.draw(table_of(frame(*rows[:3])))[0], NotDrawn)
    assert places["beyond ten-centre-sum 8"] == pytest.approx([0.02])
    assert places["beyond ten-ten-max 8"] == pytest.approx([-0.03])
    assert "beyond centre-centre-sum 8" not in places
    assert [line.split()[-2] for line in figure.lines[2:]] == ["above", "below"]


def test_average_precision_of_each_class_by_layer(tmp_path: Path) -> None:
    """Class 0 is ranked right from the first layer on, class 1 by the second alone; class 2 is in no image."""
    folder, labels = StudyFolder(tmp_path), np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, -1, 0]], np.int8)
    right = np.where(labels == 1, 1.0, 0.0)
    wrong = np.stack([right[:, 0], -right[:, 1], right[:, 2]], 1)
    for n, scores in ((1, wrong), (2, right)):
        file = folder.predictions(f"imagenet-corel5k/A{n}B@svm/seed-0")
        file.parent.mkdir(parents=True)
        said = {"labels": labels, "predicted": scores.argmax(1), "scores": scores}
        np.savez(file, part="val", rows=np.arange(4), **said)  # type: ignore[arg-type]
    names = [f"imagenet-corel5k/A{n}B@svm/seed-0" for n in (1, 2)]
    rows = frame(*(readout(name, 0.5, val_map=0.5, val_map_eleven=0.5) for name in names))
    rows = table_of(rows).rows
    with style.settings():
        figure = average_precision_by_layer.draw(folder, rows, eleven=False)[0]
        named = lines(figure)
    assert named["class 0"] == [1, 1] and named["class 1"] == pytest.approx([2 / 3, 1])  # equal scores
    assert named["mean"] == pytest.approx([(1 + 2 / 3) / 2, 1])
    assert figure.lines[1].startswith("class 1 ") and "class 2" not in " ".join(figure.lines)
    with pytest.raises(Refused, match="no readout A3B@ten"):
        average_precision_by_layer.draw(folder, rows, "ten")


def features(distance: float, domains: tuple[str, str] = ("photo", "sketch")) -> Features:
    """Three classes of ten images in each domain; the domains are so far from each other."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    sides = []
    for far, domain in zip((0.0, distance), domains, strict=True):
        vectors = 6 * np.eye(3)[labels] @ np.eye(3, 8) + draw.standard_normal((30, 8)) + far * np.eye(8)[7]
        sides.append(Side(vectors.astype(np.float32), labels, np.arange(30), "val", domain))
    classes = ("ant", "bee", "cat")
    return Features("photo-sketch/A3B@svm/seed-0", "fc3", "", classes, ("natural",) * 3, ("l2",), None, *sides)


def test_an_embedding_shows_both_domains_before_and_after() -> None:
    before, after = features(20.0), features(0.0)
    with style.settings():
        (figure,) = embedding.draw([before, after], most=40, perplexity=5)
        counts = [[len(points.get_offsets()) for points in axes.collections] for axes in figure.figure.axes]
        alone = embedding.draw([features(0.0, ("", ""))], perplexity=5)[0]
    assert counts == [[20, 20], [20, 20]]  # an equal share of each domain
    assert embedding.same_class(after) > 0.9
    assert "nearest image of 0% is of the other" in figure.lines[0] and embedding.other_domain(after) > 0.3
    assert [len(points.get_offsets()) for points in alone.figure.axes[0].collections] == [0, 30]  # judged images alone
    assert "domain" not in alone.lines[0]


def test_features_that_are_the_same_for_every_image_are_not_embedded() -> None:
    same = features(0.0, ("", ""))
    same = replace(same, val=replace(same.val, vectors=np.zeros_like(same.val.vectors)))
    with style.settings(), pytest.raises(Refused, match=r"A3B@svm.* needs three images or more, and features"):
        embedding.draw([same])


def test_the_same_classes_lie_together_in_the_plane() -> None:
    points = embedding.in_the_plane(features(0.0).val.vectors, 5)
    centres = np.stack([points[10 * k : 10 * k + 10].mean(0) for k in range(3)])
    own = np.linalg.norm(points - centres[np.repeat(np.arange(3), 10)], axis=1)
    assert own.max() < min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_neighbours_are_the_nearest_training_images() -> None:
    asked, found, right = neighbours.found(features(0.0), 3, 4)
    assert asked.tolist() == [0, 14, 29] and found.shape == (3, 4) and right.all()
    vectors = features(0.0)
    train, val = vectors.transformed()
    assert np.allclose(np.linalg.norm(train, axis=1), 1)  # through the transforms of the readout
    assert found[1, 0] == np.linalg.norm(train - val[14], axis=1).argmin()


def test_no_more_neighbours_are_shown_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    white = np.full((30, 4, 4, 3), 255, np.uint8)
    monkeypatch.setattr(Features, "images", lambda self, folder: (white, white))
    few = features(0.0)
    few = replace(few, train=replace(few.train, vectors=few.train.vectors[::15], labels=few.train.labels[::15]))
    with style.settings():
        (figure,) = neighbours.draw([few], Path(), queries=1, nearest=8)
    assert len([axes for axes in figure.figure.axes if axes.images]) == 1 + 2


def test_a_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:100])
    (tmp_path / "empty.npz").touch()
    for name in ("other.npz", "array.npy", "cut.npz", "empty.npz"):
        with pytest.raises(Refused, match=f"{name} is no file that `transferability features` wrote"):
            read_export(tmp_path / name)
    with pytest.raises(Refused, match="does not exist"):
        read_export(tmp_path / "none.npz")
