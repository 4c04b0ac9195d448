"""Readouts end to end: features once, classifiers fitted to training images alone, results like any network's."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disturbed import Killed
from several import write_several
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from tiny import RECIPE, TINY, full_name, write_tiny
from trained import pending, statuses, train, train_fleet

from transferability.data.packed import ImageSet, first_present, open_packed, write_packed
from transferability.data.stream import task_images
from transferability.data.tasks import ChosenImages, Tasks
from transferability.files import Refused, read_json
from transferability.launch.local import share_read
from transferability.plots.features import read_export
from transferability.readout import VIEWS, Readout
from transferability.recipe import Recipe
from transferability.results.collect import collect
from transferability.results.table import read_results
from transferability.runs.features import Place, Sheet, dependence, features_folder, read_features, wanted
from transferability.runs.fit import _refuse_readout, refuse_unfit
from transferability.runs.ledger import is_done
from transferability.runs.locks import hold
from transferability.runs.paths import data_root, study_folder
from transferability.splits import domains
from transferability.study import Study, network
from transferability.trained.network import load_network
from transferability.training import classifiers, features, solvers
from transferability.training.checkpoint import Preempted
from transferability.training.fitted import load_readout
from transferability.training.handmade import bags_of, bags_of_words
from transferability.training.precision import average_precision, mean_average_precision, retrieved

torch.set_num_threads(1)

SVM = Readout("svm", 14, penalties=(0.01, 1.0, 100.0), folds=3)
READOUTS: dict[str, Recipe | Readout] = {
    "A1B@svm": SVM,
    "A3B@svm": SVM,
    "A4B@svm": SVM,
    "A3B@softmax": replace(SVM, classifier="softmax"),
    "A3B@nearest": replace(SVM, classifier="nearest", transforms=("l2",)),
    "A3B@neighbours": replace(SVM, classifier="neighbours", neighbours=(1, 3)),
    "A3B@retrieval": replace(SVM, classifier="retrieval", transforms=("whiten",), components=9),
    "A2B@views": replace(SVM, train_views="mirror", test_views="ten", pooled="max", transforms=("root", "l2")),
    "R2B@svm": SVM,
    "R2B@paper": replace(SVM, initialisation="paper"),
    "R0B@pixels": SVM,
    "R0B@hog": replace(SVM, handmade="hog"),
    "B2B@tuned": replace(SVM, of="A2B+"),
}
STUDY: dict[str, Recipe | Readout] = {"baseA": RECIPE, "A2B+": RECIPE, **READOUTS}


def study_of(names: dict[str, Recipe | Readout], name: str = "readouts", data: str = "tiny") -> Study:
    return Study(name, data, TINY, tuple(network(full_name(short), kind) for short, kind in names.items()))


@pytest.fixture(scope="module")
def trained_study(module_roots: Path, tiny_set: Path) -> Study:
    shutil.copytree(tiny_set, module_roots / "data" / "tiny")
    study = study_of(STUDY)
    train(study)
    return study


def result(study: Study, name: str) -> dict[str, Any]:
    content: dict[str, Any] = read_json(study_folder(study.name).result(full_name(name)))
    return content


def place_of(study: Study, name: str) -> Path:
    """Where the features lie that a readout reads."""
    member, folder = study.by_name[full_name(name)], study_folder(study.name)
    return features_folder(study, member, folder, dependence(study, member, folder, Tasks(study, data_root())))


def test_each_is_in_the_results_table_with_its_numbers(trained_study: Study) -> None:
    folder = study_folder("readouts")
    assert collect(trained_study, folder) == []
    table = read_results(folder.results).set_index("network")
    told_apart = [name for name in READOUTS if name != "R0B@hog"]  # by their colours, which HOG does not see
    assert (table.loc[told_apart, "val_top1"] > 2 / 6).all()  # six classes
    assert table.loc["A1B@svm", "numbers"] == 8 * 7 * 7 and table.loc["A4B@svm", "numbers"] == 6
    assert table.loc["A3B@svm", "layer"] == "fc3" and table.loc["A3B@svm", "penalty"] in SVM.penalties
    assert 0 < table.loc["A3B@retrieval", "val_precision_ten"] <= 1 and table.loc["A3B@retrieval", "val_map"] > 0
    assert {state.state for state in statuses(trained_study, trained_study.networks)} == {"done"}


def test_features_are_those_of_the_network(trained_study: Study) -> None:
    folder, task = study_folder("readouts"), Tasks(trained_study, data_root()).task("random-0", "B")
    chosen, place = task.validation_images(), place_of(trained_study, "A1B@svm")
    base = load_network(trained_study, "random-0/baseA", folder, data_root())
    images = chosen.images[chosen.rows]
    assert {place_of(trained_study, name) for name in ("A3B@svm", "A4B@svm", "A2B@views")} == {place}
    for n in (1, 2, 3, 4):
        view = "centre" if n != 2 else "top-left"
        read = read_features(place, Place("val", view, Sheet(n, "square")), chosen.rows)
        if n == 2:  # the upper left crop, minus the same part of the mean image
            mean = np.load(folder.mean("random-0-A", 16))["mean"][:14, :14]
            x = torch.from_numpy((images[:, :14, :14] - mean) * np.float32(RECIPE.scale)).permute(0, 3, 1, 2)
            expected = base.features(x.contiguous(memory_format=torch.channels_last), n)
        else:
            expected = base.features(images, n)
        np.testing.assert_allclose(read, expected.flatten(1).numpy(), rtol=1e-5, atol=1e-6)


def test_features_have_the_same_bits_whatever_the_batch(trained_study: Study) -> None:
    """One image alone, three, and an order of their own: as in the pass over all images."""
    folder, tasks = study_folder("readouts"), Tasks(trained_study, data_root())
    member = trained_study.by_name["random-0/A3B@svm/seed-0"]
    asked = wanted(trained_study, tasks, [member])["random-0/baseA/seed-0/tiny"]
    reader = features._reader(trained_study, member, folder, tasks, asked, torch.device("cpu"))
    chosen, place = tasks.target(member).validation_images(), place_of(trained_study, "A3B@svm")
    for places in ([0], [5, 2, 9], [len(chosen.rows) - 1]):
        few = ChosenImages(chosen.images, chosen.rows[places], chosen.labels[places])
        for n, output in reader.outputs(task_images(few, 1), "centre", 14, {1, 3}):
            known = read_features(place, Place("val", "centre", Sheet(n, "square")), few.rows)
            assert np.array_equal(features.vectors(output, Sheet(n, "square")), known), (n, places)


def test_features_of_a_fine_tuned_network_are_its_own(trained_study: Study) -> None:
    chosen = Tasks(trained_study, data_root()).task("random-0", "B").validation_images()
    read = read_features(place_of(trained_study, "B2B@tuned"), Place("val", "centre", Sheet(2, "square")), chosen.rows)
    images = chosen.images[chosen.rows]
    tuned, base = (
        load_network(trained_study, f"random-0/{name}", study_folder("readouts"), data_root()).features(images, 2)
        for name in ("A2B+", "baseA")
    )
    np.testing.assert_allclose(read, tuned.flatten(1).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(read, base.flatten(1).numpy(), rtol=1e-2)


def test_random_layers_are_drawn_as_their_readout_says(trained_study: Study) -> None:
    rows = Tasks(trained_study, data_root()).task("random-0", "B").validation_images().rows
    place = Place("val", "centre", Sheet(2, "square"))
    usual, paper = (read_features(place_of(trained_study, f"R2B@{word}"), place, rows) for word in ("svm", "paper"))
    assert abs(np.log(paper.std() / usual.std())) > 0.5


def test_the_last_layers_features_are_what_the_original_network_says(trained_study: Study) -> None:
    chosen = Tasks(trained_study, data_root()).task("random-0", "B").validation_images()
    base = load_network(trained_study, "random-0/baseA", study_folder("readouts"), data_root())
    read = read_features(
        place_of(trained_study, "A4B@svm"), Place("val", "centre", Sheet(4, "square")), chosen.rows[:7]
    )
    said = base.original()(base.preprocessing(chosen.images[chosen.rows[:7]]))
    np.testing.assert_allclose(read, said.numpy(), rtol=1e-5, atol=1e-6)


def test_features_do_not_depend_on_what_else_is_asked_for(trained_study: Study, module_roots: Path) -> None:
    alone = study_of({"baseA": RECIPE, "A3B@svm": SVM}, "alone")
    shutil.copytree(study_folder("readouts").network("random-0/baseA"), study_folder("alone").network("random-0/baseA"))
    train(alone)
    for name in ("train", "val"):
        place = Place(name, "centre", Sheet(3, "square"))
        files = [place.file(place_of(study, "A3B@svm"), 0).read_bytes() for study in (trained_study, alone)]
        assert files[0] == files[1]
    for key in ("val_top1", "penalty", "series", "record"):
        ignored = {"seconds"}
        one, other = (result(study, "A3B@svm")[key] for study in (trained_study, alone))
        assert one == other or (
            key == "series" and {**one, **dict.fromkeys(ignored)} == {**other, **dict.fromkeys(ignored)}
        )


def test_a_kill_costs_what_was_not_written(trained_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"baseA": RECIPE, "A1B@svm": SVM, "A3B@svm": SVM}
    study = study_of(names, "killed")
    shutil.copytree(
        study_folder("readouts").network("random-0/baseA"), study_folder("killed").network("random-0/baseA")
    )
    (fleet,) = pending(study)
    folder = study_folder("killed")

    def share() -> float:
        return share_read(folder, fleet, [one.name for one in fleet.networks if is_done(folder, one.name)])

    assert share() == 0
    written: list[Path] = []
    original = features.write_block

    def write(file: Path, *content: Any) -> None:
        if len(written) == 3:  # of four: two layers of the training images, two of those to validate
            raise Killed
        original(file, *content)
        written.append(file)

    with monkeypatch.context() as patch:
        patch.setattr(features, "write_block", write)
        with pytest.raises(Killed):
            train(study)
    assert share() == 1 / 4  # one of two blocks
    before = written[0].stat().st_mtime_ns
    train(study)
    assert share() == 1
    assert written[0].stat().st_mtime_ns == before
    assert result(study, "A3B@svm")["val_top1"] == result(trained_study, "A3B@svm")["val_top1"]
    assert not pending(study)


def test_who_waits_for_the_blocks_of_another_process_is_told(
    trained_study: Study, module_roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it ends where it is preempted meanwhile."""
    study = study_of({"R1B@svm": SVM}, "waiting")
    folder, tasks = study_folder("waiting"), Tasks(study, data_root())
    member, told, sleeps = study.networks[0], [], []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        assert len(sleeps) < 3, "nobody was told"

    def report(done: int, blocks: int) -> None:
        told.append((done, blocks))
        if len(told) == 2:
            raise Preempted("preempted")

    monkeypatch.setattr(features, "_make_block", lambda *_: None)
    monkeypatch.setattr(features.time, "sleep", sleep)
    held = features_folder(study, member, folder, dependence(study, member, folder, tasks)) / "val-0.lock"
    held.parent.mkdir(parents=True)
    with hold([held]), pytest.raises(Preempted):
        features.make_features(study, member, folder, tasks, torch.device("cpu"), report)
    assert told == [(1, 2), (1, 2)]  # the block of the training images; then, once, of those that another computes


def test_a_fit_ends_where_it_is_preempted(trained_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of many images take minutes: Ctrl-C does not wait for them. Features stay."""
    study = study_of({"baseA": RECIPE, "A3B@svm": SVM}, "preempted")
    base = study_folder("readouts").network("random-0/baseA")
    shutil.copytree(base, study_folder("preempted").network("random-0/baseA"))
    (fleet,), warning, steps, original = pending(study), threading.Event(), [], solvers._newton_step

    def newton_step(*arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 2:
            warning.set()
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(solvers, "_newton_step", newton_step)
        with pytest.raises(Preempted, match="no classifier is lost but the one"):
            train_fleet(study, fleet, preempted=warning)
    assert len(steps) == 2
    monkeypatch.setattr(features, "write_block", None)
    train(study)
    assert result(study, "A3B@svm")["val_top1"] == result(trained_study, "A3B@svm")["val_top1"]


def test_nothing_of_the_validation_images_reaches_a_fit(trained_study: Study, module_roots: Path) -> None:
    """Where validation images change their labels, nothing changes but how they are judged."""
    tiny = open_packed(module_roots / "data" / "tiny")
    order = np.random.default_rng(0).permutation(len(tiny.val.labels))
    write_packed(
        module_roots / "data" / "scrambled", "tiny", tiny.classes,
        ImageSet(tiny.train.images, tiny.train.labels), ImageSet(tiny.val.images[order], tiny.val.labels),
    )  # fmt: skip
    study = study_of(STUDY, "scrambled", "scrambled")
    train(study)
    task = Tasks(study, data_root()).task("random-0", "B")
    rows = task.validation_images().rows  # all of B's classes: the same images only if none came from A
    known = {image: place for place, image in enumerate(order[rows].tolist())}
    first = Tasks(trained_study, data_root()).task("random-0", "B").validation_images().rows
    both = [image for image in first.tolist() if image in known]
    assert len(both) > 5
    for name in READOUTS:
        scrambled, plain = result(study, name), result(trained_study, name)
        for key in ("penalty", "train_top1", "train_loss", "numbers"):
            assert scrambled[key] == plain[key], (name, key)
        assert scrambled["provenance"]["readout"] == plain["provenance"]["readout"], name
        if "retrieval" in name:
            continue
        said = [np.load(study_folder(s).predictions(full_name(name)))["predicted"] for s in ("scrambled", "readouts")]
        places = {image: place for place, image in enumerate(first.tolist())}
        assert all(said[0][known[image]] == said[1][places[image]] for image in both), name
    accuracy = [np.mean([result(s, name)["val_top1"] for name in READOUTS]) for s in (study, trained_study)]
    assert accuracy[0] < 0.3 < accuracy[1]


def test_neighbours_are_scikit_learns(trained_study: Study) -> None:
    tasks, member = Tasks(trained_study, data_root()), trained_study.by_name["random-0/A3B@neighbours/seed-0"]
    training, judged = tasks.target(member).training(), tasks.target(member).validation_images()
    place = place_of(trained_study, "A3B@neighbours")
    x, others = (
        read_features(place, Place(part, "centre", Sheet(3, "square")), chosen.rows)
        for part, chosen in (("train", training), ("val", judged))
    )
    mean, std = x.mean(0), x.std(0)
    factor = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0)
    k = int(result(trained_study, "A3B@neighbours")["penalty"])
    model = KNeighborsClassifier(k).fit((x - mean) * factor, training.labels)
    share = np.sort(model.predict_proba((others - mean) * factor), 1)
    clear = share[:, -1] > share[:, -2]
    said = np.load(study_folder("readouts").predictions("random-0/A3B@neighbours/seed-0"))["predicted"]
    assert (said == model.predict((others - mean) * factor))[clear].all() and clear.sum() > 10


def test_features_are_written_for_users(trained_study: Study, tmp_path: Path) -> None:
    member, file = trained_study.by_name["random-0/A2B@views/seed-0"], tmp_path / "out.npz"
    line = features.write_features(trained_study, member, study_folder("readouts"), data_root(), file)
    with np.load(file) as content:
        assert content["train_features"].shape == (len(content["train_labels"]), 2, 72)
        assert content["val_features"].shape == (len(content["val_rows"]), 10, 72)
        assert len(content["classes"]) == 6
    assert "random-0/A2B@views" in line
    read = read_export(file)
    assert read.train.vectors.shape[1] == 72 and read.layer == "conv2" and read.transforms == ("root", "l2")
    train, val = read.images(data_root() / "tiny")
    assert np.array_equal(train[read.train.rows[0]], open_packed(data_root() / "tiny").train.images[read.train.rows[0]])
    assert len(val) == len(open_packed(data_root() / "tiny").val.labels) and not read.has_domains
    with pytest.raises(Refused, match=r"A2B@views.* is a classifier on the features of layer 2, and no network"):
        load_network(trained_study, member.name, study_folder("readouts"), data_root())
    with pytest.raises(Refused, match="no readout"):
        base = trained_study.by_name["random-0/baseA/seed-0"]
        features.write_features(trained_study, base, study_folder("readouts"), data_root(), file)


def test_what_is_kept_says_what_was_said(trained_study: Study) -> None:
    """--keep: a readout's file, on the features of the validation images, on what the base puts out; and its parts."""
    folder, root = study_folder("readouts"), data_root()
    chosen = Tasks(trained_study, root).task("random-0", "B").validation_images()
    for name, recipe in READOUTS.items():
        assert isinstance(recipe, Readout)
        readout = load_readout(trained_study, full_name(name), folder, root)
        if recipe.classifier in ("neighbours", "retrieval"):
            with pytest.raises(Refused, match=rf"{name}.* has no classifier; `transferability features`"):
                readout.scores(np.zeros((1, 24)))
            continue
        place = place_of(trained_study, name)
        views = [read_features(place, Place("val", v, readout.sheet), chosen.rows) for v in VIEWS[recipe.test_views]]
        scores = readout.scores(np.max(views, 0))
        said = np.load(folder.predictions(full_name(name)))
        assert np.array_equal(scores.argmax(1).numpy(), said["predicted"]), name
        assert len(readout.classes) == scores.shape[1] == 6
        if name == "A1B@svm":
            base = load_network(trained_study, "random-0/baseA", folder, root)
            of_images = readout.scores(base.features(chosen.images[chosen.rows], 1))
            torch.testing.assert_close(of_images, scores, rtol=1e-4, atol=1e-4)
            with pytest.raises(Refused, match=r"A1B@svm.* reads 392 numbers per image, not 72: are they of its layer"):
                readout.scores(base.features(chosen.images[chosen.rows], 2))
            weight, offset, mean, factors = (
                readout.tensors[key] for key in ("weight", "offset", "0.mean", "0.factors")
            )
            by_hand = ((views[0] - mean.numpy()) * factors.numpy()).astype(
                np.float32
            ) @ weight.numpy().T + offset.numpy()
            np.testing.assert_allclose(by_hand, scores.numpy(), rtol=1e-4, atol=1e-4)
    patches = np.random.default_rng(0).random((300, 36 * 15), np.float32)
    _, bags, vocabulary = bags_of_words(patches, patches[:5])
    assert np.array_equal(bags_of(patches[:5], vocabulary), bags)


def test_what_cannot_be_fitted_is_refused_by_name(trained_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Tasks(trained_study, data_root())
    few = study_of({"baseA": RECIPE, "A3B@3@svm": replace(SVM, folds=4)})
    with pytest.raises(Refused, match="has 3 training images, fewer than the 4 folds"):
        refuse_unfit(few, few.networks, tasks)
    study = study_of({"baseA": RECIPE, "A1B@svm": SVM, "A3B@svm": SVM}, "zero")
    shutil.copytree(study_folder("readouts").network("random-0/baseA"), study_folder("zero").network("random-0/baseA"))
    original = features.vectors
    monkeypatch.setattr(features, "vectors", lambda x, sheet: original(x, sheet) * (sheet.n != 1))
    with pytest.raises(Refused, match=r"A1B@svm.* layer conv1 are zero for every training image"):
        train(study)
    assert study_folder("zero").result("random-0/A3B@svm/seed-0").exists()  # what can be fitted, is


def test_no_room_is_refused_beforehand(trained_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferability.runs import features as runs_features

    folder, tasks = study_folder("room"), Tasks(trained_study, data_root())
    assert "are still" not in runs_features.room(trained_study, folder, trained_study.networks, tasks)
    monkeypatch.setattr(runs_features.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 9, 0))  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="make room"):
        runs_features.room(trained_study, folder, trained_study.networks, tasks)


def test_several_labels_are_judged_by_average_precision(roots: Path) -> None:
    packed = write_several(roots / "data" / "several")
    names = {
        "baseA": replace(RECIPE, loss="sigmoid"),
        "A3B@sigmoid": replace(SVM, classifier="sigmoid"),
        "A3B@svm": SVM,
    }
    study = study_of(names, "several", "several")
    train(study)
    labels = Tasks(study, data_root()).task("random-0", "B").validation_images().labels
    for name in ("A3B@sigmoid", "A3B@svm"):
        scores = np.load(study_folder("several").predictions(full_name(name)))["scores"]
        known = [labels[:, k] >= 0 for k in range(labels.shape[1])]
        by_class = [average_precision_score(labels[on, k] == 1, scores[on, k]) for k, on in enumerate(known)]
        assert result(study, name)["val_map"] == pytest.approx(np.mean(by_class), abs=1e-6)
        assert 0 < result(study, name)["val_map_eleven"] <= 1
    assert packed.train.several is not None
    with pytest.raises(Refused, match="which takes one"):
        wrong = study_of({**names, "A3B@softmax": replace(SVM, classifier="softmax")}, "several", "several")
        refuse_unfit(wrong, wrong.networks, Tasks(wrong, data_root()))
    several = packed.train.several.copy()
    several[:, Tasks(study, data_root()).task("random-0", "B").classes[1]] = 1
    order = np.argsort(first_present(several), kind="stable")
    everywhere = ImageSet(packed.train.images[order], first_present(several)[order], several=several[order])
    write_packed(roots / "data" / "everywhere", "several", packed.classes, everywhere, packed.val)
    wrong = study_of(names, "several", "everywhere")
    with pytest.raises(Refused, match=r"A3B@s.* no training image is known to be without class"):
        refuse_unfit(wrong, wrong.networks[1:], Tasks(wrong, data_root()))


def test_a_domain_split_trains_on_either_domain(roots: Path) -> None:
    tiny = write_tiny(roots / "data" / "other", classes=4, train=8, val=6)
    parts = [(np.arange(len(part.labels)) % 8 > 4).astype(int) for part in (tiny.train, tiny.val)]  # few sketches
    images = [
        ImageSet(part.images, part.labels, domains=where)
        for part, where in zip((tiny.train, tiny.val), parts, strict=True)
    ]
    write_packed(roots / "data" / "tiny", "tiny", tiny.classes, *images, domains=("photo", "sketch"))
    trained_on = {word: replace(SVM, trained_on=word, folds=2) for word in ("target", "source", "both")}
    names: dict[str, Recipe | Readout] = {"photo-sketch/baseA": RECIPE}
    names |= {f"photo-sketch/A3B@{word}": recipe for word, recipe in trained_on.items()}
    networks = tuple(network(name, kind) for name, kind in names.items())
    study = Study("domains", "tiny", TINY, networks, {"photo-sketch": domains("photo", "sketch")})
    train(study)
    images_of = {word: result(study, f"photo-sketch/A3B@{word}")["training_images"] for word in trained_on}
    counts = [int((parts[0] == domain).sum()) for domain in (0, 1)]
    assert counts == [23, 12] and images_of == {"target": 12, "source": 23, "both": 23 + 3 * 4}
    five = network("photo-sketch/A3B@5@source", trained_on["source"])  # of the domain that has them
    refuse_unfit(replace(study, networks=(*networks, five)), [five], Tasks(study, data_root()))
    assert result(study, "photo-sketch/A3B@source")["record"]["trained_domain"] == "photo"
    few = replace(trained_on["both"], folds=8, target_images=2)  # five photos of the first class, and two sketches
    seven = network("photo-sketch/A3B@few", few)
    with pytest.raises(Refused, match="has 7 training images, fewer than the 8 folds"):
        refuse_unfit(replace(study, networks=(*networks, seven)), [seven], Tasks(study, data_root()))


def test_eleven_points_are_vocs() -> None:
    """By hand: present at ranks 1, 3 and 4 of 5; precisions 1, 2/3, 3/4, so 1 up to recall 1/3, then 3/4."""
    scores, present = np.array([5.0, 4, 3, 2, 1]), np.array([True, False, True, True, False])
    assert average_precision(scores, present) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(scores, present, eleven=True) == pytest.approx((4 * 1 + 7 * 0.75) / 11)
    assert mean_average_precision(scores[:, None], np.array([[1], [-1], [1], [1], [0]])) == 1


def test_equal_scores_tell_nothing_by_their_order() -> None:
    """A packed set lies class by class, and neighbours give most images of a class the same score, 0."""
    scores, present = np.array([0.5, 0.5, 0.5, 0.0, 0.0, 0.0]), np.array([True, False, False, True, False, False])
    assert average_precision(np.zeros(6), present) == pytest.approx(1 / 3)
    assert average_precision(scores, present) == average_precision_score(present, scores) == pytest.approx(1 / 3)
    for order in ([0, 1, 2, 3, 4, 5], [1, 0, 5, 4, 3, 2]):
        assert average_precision(scores[order], present[order], eleven=True) == pytest.approx(1 / 3)


def test_retrieval_by_hand() -> None:
    distances = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [1.0, 2, 3]])
    relevant = np.array([[True, False, True], [True, False, False], [False, False, False]])
    precision, first, ten = retrieved(distances, relevant, 2)
    assert precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2) and first == 0.5 and ten == 0.25


def test_one_pass_is_for_all_that_read_a_network(trained_study: Study) -> None:
    asked = wanted(trained_study, Tasks(trained_study, data_root()))
    sheets = {place.sheet.name for place in asked["random-0/baseA/seed-0/tiny"].rows}
    assert sheets == {"1-square", "2-square", "3-square", "4-square"}


def test_degenerate_features_and_choices_are_said_by_name() -> None:
    some = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    for vectors, words in (
        (np.zeros((3, 2)), "zero for every training image"),
        (np.ones((3, 2)), "the same for every training image"),
        (np.full((3, 2), np.nan), "no finite numbers"),
    ):
        with pytest.raises(Refused, match=f"A3B@svm.*layer fc3.*{words}"):
            classifiers.refuse_empty(vectors, "A3B@svm", "layer fc3")
    classifiers.refuse_empty(some, "A3B@svm", "layer fc3")
    recipe, folds = replace(SVM, penalties=(0.1, 1.0)), np.arange(12) % 3
    labels = torch.arange(12) % 2
    vectors = torch.nn.functional.one_hot(labels).float() + 0.01 * torch.arange(12)[:, None]
    choice = classifiers.fit_classifier(recipe, classifiers.Shared(vectors, labels, folds, 2), vectors).choice
    assert choice.note == "0.1, the smallest of 2 values, is best on 3 folds"  # of equal ones the first


def test_images_of_one_class_alone_are_refused(trained_study: Study) -> None:
    tasks = Tasks(trained_study, data_root())
    member = trained_study.by_name["random-0/A3B@svm/seed-0"]
    with pytest.raises(Refused, match="has 0 training images, and nothing can be learned of it"):
        _refuse_readout(member, SVM, tasks.target(member), np.array([9, 0, 9, 9, 9, 9]))
