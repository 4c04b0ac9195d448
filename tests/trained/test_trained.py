"""A trained network as a module: recorded accuracy, features, preprocessing; and as a file for other programs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from comparing import outcome
from PIL import Image
from residual import residual, residual_study
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import RECIPE, task_of, tiny_study, write_tiny
from torch import nn
from torchvision.models import resnet18
from trained import PLAIN, train

from transferability.data.packed import open_packed
from transferability.data.stream import mean_image
from transferability.files import Refused
from transferability.networks.cut import chain
from transferability.recipe import Recipe
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.runs.result import read_result
from transferability.study import Study, network
from transferability.trained.export import export, read_metadata
from transferability.trained.network import TrainedNetwork, load_network
from transferability.trained.preprocessing import Preprocessing

NAMES = ["baseA", "baseB", "A2B", "B1B+", "R1B"]
SHRUNK = Recipe("shrunk", steps=4, batch=8, rate=0.05, crop=6, validate_every=4, shrink=2)
RESNET = Recipe("resnet", steps=2, batch=4, rate=0.01, crop=14, validate_every=2)


def library_study(name: str, origin: str) -> Study:
    names = ["random-0/baseA", "random-0/baseB", "random-0/A3B"]
    return Study(name, "tiny", chain(origin, RESNET.crop), tuple(network(name, RESNET) for name in names))


@pytest.fixture(scope="module")
def studies(module_roots: Path) -> dict[str, Study]:
    """Trained studies with all weights: four layers of CaffeNet's kind, one's own network, torchvision's, timm's."""
    write_tiny(module_roots / "data" / "tiny")
    known = {"tiny": tiny_study(NAMES), "residual": residual_study(NAMES[:3])}
    known["resnet"] = library_study("resnet", "torchvision:resnet18")
    known["timm"] = library_study("timm", "timm:resnet10t")
    for study in known.values():
        train(study, PLAIN)
    return known


def loaded(study: Study, name: str) -> TrainedNetwork:
    return load_network(study, name, study_folder(study.name), data_root())


def test_every_network_gives_its_recorded_accuracy(studies: dict[str, Study]) -> None:
    for study in studies.values():
        for member in study.networks:
            trained = loaded(study, member.name)
            assert not trained.training and trained.accuracy() == trained.result.val_top1, member.name
    classes = open_packed(data_root() / "tiny").classes
    assert set(loaded(studies["tiny"], "random-0/baseA").classes) | set(
        loaded(studies["tiny"], "random-0/A2B").classes
    ) == {known.name for known in classes}


def test_features_of_a_layer_are_those_that_the_next_layer_sees(studies: dict[str, Study]) -> None:
    for study in studies.values():
        trained = loaded(study, "random-0/baseB")
        x, _ = next(trained.validation_images())
        features = x
        for n, name in enumerate(trained.layer_names, 1):
            features = trained.layers[n - 1](features)
            assert torch.equal(trained.features(x, np.int64(n)), features) and torch.equal(
                trained.features(x, name), features
            )
        assert torch.equal(features, trained(x)) and torch.equal(trained.features(x, 0), x)
        with pytest.raises(Refused, match="has no layer 99"):
            trained.features(x, 99)
    # Frozen layers are the source's.
    study = studies["tiny"]
    source, target = loaded(study, "random-0/baseA"), loaded(study, "random-0/A2B")
    x, _ = next(target.validation_images())
    assert torch.equal(source.features(x, 2), target.features(x, 2))
    assert not torch.equal(source.features(x, 3), target.features(x, 3))


def test_images_are_prepared_as_the_validation_images_were(studies: dict[str, Study], tmp_path: Path) -> None:
    """The source's mean image for a network with frozen layers, a batch like single ones, files like arrays."""
    study = studies["tiny"]
    trained, packed = loaded(study, "random-0/A2B"), open_packed(data_root() / "tiny")
    expected, labels = next(trained.validation_images())
    names = [known.name for known in packed.classes]
    rows = [i for i, label in enumerate(packed.val.labels) if names[label] in trained.classes]
    images = packed.val.images[rows]
    assert [names[packed.val.labels[row]] for row in rows] == [trained.classes[label] for label in labels]
    prepared = trained.preprocessing(images)
    assert torch.equal(prepared, expected)
    mean = mean_image(task_of(packed, "random-0", "A"), 1, tmp_path / "mean.npz")[1:15, 1:15]
    by_hand = (images[0][1:15, 1:15].astype(np.float32) - mean) * RECIPE.scale
    assert np.allclose(prepared[0].permute(1, 2, 0), by_hand, atol=1e-6)
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    for image in (tmp_path / "one.png", str(tmp_path / "one.png"), Image.fromarray(images[0]), images[0]):
        assert torch.equal(trained.preprocessing(image), expected[:1])
    assert trained.preprocessing([tmp_path / "one.png", images[1]]).shape == (2, 3, 14, 14)
    grey = Image.fromarray(np.zeros((40, 30), np.uint8))
    assert torch.equal(trained.preprocessing(grey), trained.preprocessing(np.zeros((16, 16, 3), np.uint8)))


@pytest.mark.parametrize(
    "image, reason",
    [
        ("nowhere.png", "No such file"),
        (np.zeros((4, 4)), "no image"),
        (np.zeros((0, 3, 3), np.uint8), "nothing to see"),
        (Image.new("F", (4, 4)), "^the image has floating-point pixels"),
        ([], "no image was given"),
    ],
)
def test_what_is_no_image_is_refused(image: object, reason: str) -> None:
    preprocessing = Preprocessing(16, True, 1, 14, np.zeros((14, 14, 3), np.float32), 1.0)
    with pytest.raises(Refused, match=reason):
        preprocessing(image)  # type: ignore[arg-type]


def test_preprocessing_goes_through_metadata(tmp_path: Path) -> None:
    mean = np.random.default_rng(0).random((6, 6, 3)).astype(np.float32)
    for squash, scale in ((True, 1 / 64), (False, (0.1, 0.2, 0.3))):
        written = Preprocessing(16, squash, 2, 6, mean, scale)
        read = Preprocessing.of_metadata(written.metadata())
        image = np.random.default_rng(1).integers(0, 256, (20, 40, 3)).astype(np.uint8)
        assert torch.equal(read(image), written(image))
        assert read.squash is squash and read.scale == scale
    wide = Preprocessing(16, False, 2, 6, mean, 1.0).pixels(image)
    assert not torch.equal(wide, Preprocessing(16, True, 2, 6, mean, 1.0).pixels(image))


def test_shrunken_images(roots: Path) -> None:
    write_tiny(roots / "data" / "tiny")
    study = residual_study(["baseA"], SHRUNK)
    train(study, Machine("cpu"))
    trained = loaded(study, "random-0/baseA")
    assert trained.accuracy() == trained.result.val_top1
    assert trained.preprocessing(np.zeros((30, 50, 3), np.uint8)).shape == (1, 3, 6, 6)


def test_only_networks_that_are_asked_for_keep_their_weights(roots: Path) -> None:
    write_tiny(roots / "data" / "tiny")
    study = tiny_study(NAMES)
    train(study, Machine("cpu", keep=("random-0/A*", "*/B1B+/seed-0")))
    kept = [member.short_name for member in study.networks if study_folder("tiny").weights(member.name).exists()]
    assert kept == ["baseA", "baseB", "A2B", "B1B+"]
    with pytest.raises(Refused, match=r"weights of random-0/R1B/seed-0 were not kept; .* --keep 'random-0/R1B/seed-0'"):
        loaded(study, "random-0/R1B")
    with pytest.raises(Refused, match="no network 'random-0/A2C'; the nearest are random-0/A2B"):
        loaded(study, "random-0/A2C")
    changed = tiny_study(NAMES, Recipe(**{**RECIPE.__dict__, "rate": 0.01}))
    with pytest.raises(Refused, match=r"rate was 0\.05, is 0\.01"):
        loaded(changed, "random-0/A2B")
    study_folder("tiny").result("random-0/B1B+/seed-0").unlink()
    with pytest.raises(Refused, match="is not trained yet"):
        loaded(study, "random-0/B1B+")
    file = study_folder("tiny").weights("random-0/A2B/seed-0")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused, match="is not what random-0/A2B/seed-0 ended with"):
        loaded(study, "random-0/A2B")


# ------------------------------------------------------------------------------------------ files


def test_safetensors_load_into_the_original_class_and_give_the_same_scores(
    studies: dict[str, Study], tmp_path: Path
) -> None:
    own_classes = {
        "residual": lambda: residual(6),
        "resnet": lambda: resnet18(num_classes=6),
        "timm": lambda: timm.create_model("resnet10t", num_classes=6),
    }
    for study in studies.values():
        trained = loaded(study, study.networks[2].name)
        file = tmp_path / f"{study.name}.safetensors"
        assert export(trained, file).startswith(f"{file}: {trained.name}, 6 classes, ")
        original = own_classes.get(study.name, trained.original)()
        for parameter in original.parameters():
            nn.init.zeros_(parameter)
        original.load_state_dict(load_file(file), strict=True)
        x, _ = next(trained.validation_images())
        scores = original.eval().to(memory_format=torch.channels_last)(x)
        assert torch.equal(scores, trained(x)), study.name


def test_a_file_says_what_it_holds(studies: dict[str, Study], tmp_path: Path) -> None:
    trained = loaded(studies["resnet"], "random-0/A3B")
    file = tmp_path / "network.safetensors"
    export(trained, file)
    with safe_open(file, "pt") as handle:
        content = handle.metadata()
    assert content["network"] == "random-0/A3B/seed-0" and content["architecture"] == "torchvision:resnet18"
    assert tuple(json.loads(content["classes"])) == trained.classes
    provenance = json.loads(content["provenance"])
    result = read_result(study_folder("resnet").result(trained.name))
    assert (provenance["val_top1"], provenance["weights_sha256"]) == (result.val_top1, result.weights_sha256)
    assert provenance["git_commit"] == result.provenance["git_commit"] and provenance["record"] == result.record
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3)).astype(np.uint8)
    assert torch.equal(Preprocessing.of_metadata(read_metadata(file))(image), trained.preprocessing(image))
    assert outcome("resnet", trained.name).weights.keys() == load_file(file).keys()
    with pytest.raises(Refused, match=r"write \.safetensors or \.onnx"):
        export(trained, tmp_path / "network.pth")
    with pytest.raises(Refused, match="was not written by `transferability export`"):
        read_metadata(study_folder("resnet").weights(trained.name))
    with pytest.raises(Refused, match="cannot be read"):
        read_metadata(Path(__file__))


def test_onnx_gives_the_same_scores_in_its_runtime(studies: dict[str, Study], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    for study in studies.values():
        trained = loaded(study, study.networks[2].name)
        file = tmp_path / f"{study.name}.onnx"
        assert "onnxruntime gives the same scores" in export(trained, file)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        pixels = trained.validation_pixels(5)
        with torch.no_grad():
            expected = trained(trained.preprocessing.normalised(pixels)).numpy()
        for count in (1, 5):
            scores = session.run(["scores"], {"pixels": pixels[:count].float().numpy()})[0]
            assert np.allclose(scores, expected[:count], atol=1e-4), study.name
        assert tuple(json.loads(read_metadata(file)["classes"])) == trained.classes


def test_without_onnx_the_extra_is_named(
    studies: dict[str, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Refused, match=r"needs onnx: pip install '.\[onnx\]'"):
        export(loaded(studies["tiny"], "random-0/A2B"), tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []
