"""Published bases: fetched from wherever they are, checked, stored once, copied from like any other."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from comparing import outcome
from disturbed import killed_at
from residual import residual
from tiny import RECIPE, full_name, tiny_study, write_tiny
from torch import Tensor, nn
from trained import PLAIN, train

from transferability.data.packed import PackedImages
from transferability.data.tasks import Tasks
from transferability.files import Refused
from transferability.networks.chain import Top
from transferability.networks.cut import chain
from transferability.published import Published
from transferability.results.collect import collect
from transferability.results.statistics import networks as counted
from transferability.results.table import read_results
from transferability.runs.paths import data_root, study_folder
from transferability.splits import pair
from transferability.study import Network, Study, network
from transferability.trained.export import export
from transferability.trained.network import load_network
from transferability.trained.normalisation import normalisation
from transferability.trained.published import Origin, fitted, images_for, read_origin
from transferability.training.published import other_images

torch.set_num_threads(1)

MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
GIVEN: dict[str, Any] = {"mean": MEAN, "std": STD}
ON_B = ["A1B", "A3B", "A2B+", "B2B", "R1B", "baseB"]


def original(classes: int = 9) -> dict[str, Tensor]:
    """The state of a network that somebody else has trained: its norms have statistics."""
    module = residual(classes)
    state = module.state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if name.endswith("running_var"):
            value.copy_(1 + torch.rand(value.shape, generator=generator))
        elif value.is_floating_point():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return state


def published_study(weights: str, copies: tuple[str, ...] = (), seeds: tuple[int, ...] = (0,), **options: Any) -> Study:
    """Base A of split elsewhere-tiny is published, with nine classes; the networks of `copies` are trained on B."""
    base = Network("elsewhere-tiny", network("random-0/baseA", RECIPE).treatment,
                   Published(weights, **{"classes": 9, **options}))  # fmt: skip
    trained = [network(f"elsewhere-tiny/{name}/seed-{seed}", RECIPE) for name in copies for seed in seeds]
    splits = {"elsewhere-tiny": pair("elsewhere", "tiny")}
    return Study("published", "tiny", chain(residual, 14), (base, *trained), splits)


def saved(folder: Path, wrapping: str, state: dict[str, Tensor]) -> Path:
    file = folder / ("weights.safetensors" if wrapping == "safetensors" else "weights.pth")
    if wrapping == "safetensors":
        safetensors.torch.save_file(state, file)
    elif wrapping == "state_dict":
        torch.save(state, file)
    elif wrapping == "a training script's":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, file)
    else:
        torch.save({f"part{i}": value for i, value in enumerate(state.values())}, file)
    return file


@pytest.mark.parametrize("wrapping", ["safetensors", "state_dict", "a training script's", "other names"])
def test_weights_are_those_of_the_file_and_serve_every_seed(roots: Path, packed: PackedImages, wrapping: str) -> None:
    state = original()
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    kept = {name: value for name, value in state.items() if wrapping != "other names" or name not in counters}
    file = saved(roots, wrapping, kept)
    names = "order" if wrapping == "other names" else "names"
    study = published_study(str(file), ("A2B", "baseB"), (0, 1), names=names, **GIVEN)
    train(study)
    folder = study_folder("published")
    stored = safetensors.torch.load_file(folder.weights("elsewhere-tiny/baseA/seed-0"))
    assert stored.keys() == state.keys() and all(torch.equal(stored[name], state[name]) for name in kept)
    for seed in (0, 1):
        weights = outcome("published", f"elsewhere-tiny/A2B/seed-{seed}").weights
        frozen = [name for name in state if name.startswith(("0.", "1."))]
        assert frozen and all(torch.equal(weights[name], stored[name]) for name in frozen)
    result = json.loads(folder.result("elsewhere-tiny/baseA/seed-0").read_text())
    about = result["provenance"]["published"]
    assert len(about["sha256"]) == 64 and about["file"] == str(file) and result["val_top1"] is None
    assert "elsewhere is not packed" in about["not_validated"]


def test_what_copies_from_it_sees_images_as_it_wants_them(roots: Path, packed: PackedImages) -> None:
    study = published_study(str(saved(roots, "safetensors", original())), tuple(ON_B), **GIVEN)
    train(study)
    folder, tasks = study_folder("published"), Tasks(study, data_root())
    member = study.by_name["elsewhere-tiny/A3B/seed-0"]
    mean, scale = normalisation(member, "elsewhere-tiny", "A", folder, tasks)
    assert mean.shape == (16, 16, 3) and np.allclose(mean[3, 5], MEAN) and np.allclose(scale, 1 / np.array(STD))
    trained = load_network(study, "elsewhere-tiny/A3B", folder, data_root())
    x = trained.preprocessing(packed.val.images[0])
    by_hand = (packed.val.images[0][1:15, 1:15] - np.array(MEAN)) / np.array(STD)
    assert np.allclose(x[0].permute(1, 2, 0), by_hand, atol=1e-6)
    assert trained.accuracy() == trained.result.val_top1
    own = load_network(study, "elsewhere-tiny/baseB", folder, data_root()).preprocessing
    assert own.scale == RECIPE.scale and own.mean.std() > 1


def test_rows_that_need_its_accuracy_are_left_out_and_no_other(roots: Path, packed: PackedImages) -> None:
    study = published_study(str(saved(roots, "safetensors", original())), tuple(ON_B), **GIVEN)
    train(study)
    assert collect(study, study_folder("published")) == []
    rows = counted(read_results(study_folder("published").results)).set_index("network")
    assert sorted(rows.index) == sorted(ON_B)
    assert rows.loc["A1B", "difference"] == rows.loc["A1B", "accuracy"] - rows.loc["baseB", "accuracy"]
    assert rows.loc["B2B", "coadaptation"] == rows.loc["B2B", "accuracy"] - rows.loc["baseB", "accuracy"]


def test_fleets_are_their_networks_alone_and_resume(roots: Path, packed: PackedImages) -> None:
    study = published_study(str(saved(roots, "safetensors", original())), tuple(ON_B), **GIVEN)
    train(study)
    (roots / "runs").rename(roots / "together")
    alone = [["elsewhere-tiny/baseA"], ["elsewhere-tiny/baseB"]]
    train(study, groups=[*alone, ["elsewhere-tiny/A1B"], ["elsewhere-tiny/R1B"]])
    for name in ("baseB", "A1B", "R1B"):
        assert outcome("published", f"elsewhere-tiny/{name}") == outcome(
            "published", f"elsewhere-tiny/{name}", roots / "together"
        )
    copies = [f"elsewhere-tiny/{name}" for name in ("A3B", "A2B+", "B2B")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transferability.training.checkpoint.ASKED_EVERY", 1)
        often = replace(PLAIN, checkpoint_minutes=0.0)
        with killed_at(5):
            train(study, often, groups=[copies])
        train(study, often, groups=[copies])
    for name in copies:
        assert outcome("published", name) == outcome("published", name, roots / "together")


def test_a_base_of_another_study(roots: Path, packed: PackedImages) -> None:
    """Its weights, its mean image, and its accuracy on the images that are at hand."""
    train(tiny_study(["baseA"], name="first"))
    before = outcome("first", "baseA")
    base = Network("random-0", network("random-0/baseA", RECIPE).treatment,
                   Published("study:first/random-0/baseA", classes=6))  # fmt: skip
    second = replace(tiny_study(["baseA", "A2B", "B2B", "baseB"], name="second"))
    second = replace(second, networks=(base, *second.networks[1:]))
    train(second)
    after = outcome("second", "baseA")
    assert after.result["val_top1"] == before.result["val_top1"] and after.result["steps"] == 0
    assert after.result["val_loss"] == pytest.approx(before.result["val_loss"])
    train(tiny_study(["baseA", "A2B"], name="third"))
    assert outcome("second", "A2B").weights.keys() == outcome("third", "A2B").weights.keys()
    assert outcome("second", "A2B").series == outcome("third", "A2B").series
    with pytest.raises(Refused, match=r"study:nothing.*result.json does not exist; train it first"):
        read_origin(Published("study:nothing/random-0/baseA"), roots / "runs")


def test_an_installed_package(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    site = roots / "site"
    (site / "their_model").mkdir(parents=True)
    torch.save(original(), site / "their_model" / "theirs.pth")
    info = site / "their_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("their_model/theirs.pth,,\ntheir_model/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    published = Published("package:their-model", classes=9, **GIVEN)
    weights = fitted(published, read_origin(published, roots), chain(residual, 14))
    assert all(torch.equal(value, weights[name]) for name, value in original().items())
    with pytest.raises(Refused, match="that package is not installed; pip install no-such-model"):
        read_origin(Published("package:no-such-model", **GIVEN), roots)
    (info / "RECORD").write_text("their_model/__init__.py,,\n")
    with pytest.raises(Refused, match="the package has not one file of weights but none"):
        read_origin(published, roots)
    assert "their_model" not in sys.modules  # its code was not run


def downloaded(state: dict[str, Tensor], known: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a file where torchvision stores the one of its weights `known`, and gives it the digest of that."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "weights.pth")
    digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(known.value, "url", f"https://nowhere.invalid/network-{digest[:8]}.pth")
    return (folder / "weights.pth").rename(folder / f"network-{digest[:8]}.pth")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's downloads are this test's own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_libraries_say_how_their_images_are_normalised(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    from torchvision import models

    file = downloaded(models.squeezenet1_1().state_dict(), models.SqueezeNet1_1_Weights.IMAGENET1K_V1, monkeypatch)
    origin = read_origin(Published("torchvision:SqueezeNet1_1_Weights.IMAGENET1K_V1"), roots)
    assert np.allclose(origin.mean, [123.675, 116.28, 103.53]) and np.allclose(
        1 / origin.scale, [58.395, 57.12, 57.375]
    )
    assert (origin.resize, origin.resampling, origin.squash) == (256, "bilinear", False)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == origin.sha256
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name))
    origin = read_origin(Published("timm:tf_efficientnet_lite0.in1k"), roots)
    assert np.allclose(origin.mean, 127.5) and (origin.resize, origin.resampling) == (256, "bicubic")
    assert images_for("timm:tf_efficientnet_lite0")[:3] == (256, 224, "bicubic")  # without its weights
    assert images_for("torchvision:resnet18")[:3] == (256, 224, "bilinear")
    assert images_for("torchvision:googlenet").mean == [0.5] * 3  # without `transform_input`
    assert images_for("timm:vit_so400m_patch14_siglip_gap_378.webli_ft_in1k").squash
    assert not images_for("timm:resnet18").squash
    with pytest.raises(Refused, match="no such weights; the nearest are resnet1"):
        images_for("torchvision:resnet19")
    for name in ("FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1", "resnet18.x"):
        with pytest.raises(Refused, match="no such weights; the nearest are "):
            images_for(f"torchvision:{name}")
    with pytest.raises(Refused, match="does not say which images it wants; write torchvision:NAME"):
        images_for("theirs.pth")


def test_images_that_are_not_as_the_weights_want_them_are_named(roots: Path, packed: PackedImages) -> None:
    study = published_study("theirs.pth", ("A1B",), **GIVEN)
    wanted = Origin({}, np.zeros(3), np.ones(3), 16, "bicubic")
    silent = Origin({}, np.zeros(3), np.ones(3), 16)  # a file does not say it
    assert other_images(study, study.networks[0], silent, data_root()) == []
    (line,) = other_images(study, study.networks[0], wanted, data_root())
    assert "trained on images by shorter side, then centre crop, to 16x16 (bicubic, antialiased), tiny is" in line
    manifest = json.loads((packed.folder / "manifest.json").read_text())
    manifest["resize"] = "shorter side, then centre crop, to 16x16 (bicubic, antialiased)"
    (packed.folder / "manifest.json").write_text(json.dumps(manifest))
    assert other_images(study, study.networks[0], wanted, data_root()) == []
    (line,) = other_images(study, study.networks[0], replace(wanted, squash=True), data_root())
    assert "trained on images by squashed to 16x16 (bicubic, antialiased), tiny is packed by shorter side" in line


def test_what_does_not_fit_is_refused_by_name(roots: Path) -> None:
    state, architecture = original(), chain(residual, 14)
    part = {name: value for name, value in state.items() if not name.startswith("3.")}
    cases = [
        (part, "are missing (3.2.weight, 3.2.bias)"),
        ({**state, "extra.weight": torch.zeros(3)}, "1 have no place (extra.weight)"),
        ({**state, "0.0.weight": torch.zeros(8, 3, 5, 5)}, "0.0.weight is (8, 3, 5, 5), and (8, 3, 3, 3) in the net"),
        (original(7), "3.2.weight is (7, 12), and (9, 12) in the network; has it classes=7?"),
        ({**state, "0.1.bias": torch.full((8,), torch.nan)}, "0.1.bias holds values that are no finite numbers"),
        ({f"x.{name}": value for name, value in state.items()}, "if only the names differ, write names='order'"),
    ]
    for weights, reason in cases:
        file = saved(roots, "safetensors", weights)
        published = Published(str(file), classes=9, **GIVEN)
        with pytest.raises(Refused) as refused:
            fitted(published, read_origin(published, roots), architecture)
        assert reason in str(refused.value) and "\n" not in str(refused.value)
    few = Published(str(saved(roots, "other names", part)), classes=9, names="order", **GIVEN)
    with pytest.raises(Refused, match=r"it has \d+ tensors, the network \d+; names='order' needs as many"):
        fitted(few, read_origin(few, roots), architecture)


def plain(classes: int) -> nn.Module:
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 8), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(8, classes))


def test_a_unit_divides_all_activations_and_leaves_the_network_the_same(roots: Path) -> None:
    torch.manual_seed(0)
    network = plain(9).eval()
    given = Published(str(saved(roots, "safetensors", network.state_dict())), classes=9, **GIVEN, unit=64)
    origin = read_origin(given, roots)
    weights = fitted(given, origin, chain(plain, 14))
    assert torch.equal(weights["0.weight"], network.state_dict()["0.weight"])  # exact: 64 is a power of 2
    pixels = torch.rand(2, 3, 14, 14) * 255 - 128
    expected = network(pixels / torch.tensor(STD).view(3, 1, 1))
    network.load_state_dict(weights)
    scale = torch.tensor(origin.scale, dtype=torch.float32).view(3, 1, 1)
    torch.testing.assert_close(64 * network(pixels * scale), expected)
    norms = Published(str(saved(roots, "safetensors", original())), classes=9, **GIVEN, unit=64)
    with pytest.raises(Refused, match="a unit is for networks of convolutions, ReLU and pooling"):
        fitted(norms, read_origin(norms, roots), chain(residual, 14))
    with pytest.raises(Refused, match="unit is 0; write a number above 0"):
        replace(given, unit=0)


class Code:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_files_that_cannot_be_read_are_refused_and_no_code_is_run(
    roots: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": {"a": torch.zeros(2), "b": Code()}}, roots / "code.pth")
    torch.save(residual(3), roots / "whole.pth")
    (roots / "broken.pth").write_bytes(b"no weights at all")
    (roots / "broken.safetensors").write_bytes(b"no weights at all")
    torch.save({"epoch": 3}, roots / "empty.pth")
    saved(roots, "safetensors", original())
    cases = {
        "code.pth": "reading it would run code",
        "whole.pth": "reading it would run code",
        "broken.pth": "no file of weights",
        "broken.safetensors": "no file of weights",
        "empty.pth": "holds no tensors",
        "weights.safetensor.pth": "there is no such file; there is weights.safetensors",
    }
    for name, reason in cases.items():
        with pytest.raises(Refused, match=reason):
            read_origin(Published(str(roots / name), **GIVEN), roots)
    assert capfd.readouterr().out == ""
    wrong = Published(str(roots / "weights.safetensors"), sha256="0" * 64, **GIVEN)
    with pytest.raises(Refused, match=f"has the SHA-256 [0-9a-f]{{64}}, not {'0' * 64}"):
        read_origin(wrong, roots)
    with pytest.raises(Refused, match=r"no such weights; the nearest are .*ResNet18_Weights.IMAGENET1K_V1"):
        read_origin(Published("torchvision:ResNet18_Weights.IMAGENET1K_V9"), roots)
    with pytest.raises(Refused, match=r"no such weights; the nearest are resnet18"):
        read_origin(Published("timm:resnet18.a9_in1k"), roots)
    from torchvision import models

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(Refused, match=r"cannot be fetched .*run the study with --only '\*/base\?', or put https"):
        read_origin(Published("torchvision:ResNet18_Weights.IMAGENET1K_V1"), roots)
    file = downloaded({"b": Code()}, models.ResNet18_Weights.IMAGENET1K_V1, monkeypatch)  # type: ignore[dict-item]
    with pytest.raises(Refused, match="reading it would run code"):
        read_origin(Published("torchvision:ResNet18_Weights.IMAGENET1K_V1"), roots)
    file.write_bytes(b"<html>")
    with pytest.raises(Refused, match=r"is damaged, or not https://.*: its SHA-256 does not begin with .*; delete it"):
        read_origin(Published("torchvision:ResNet18_Weights.IMAGENET1K_V1"), roots)
    assert capfd.readouterr().out == ""


def test_torchvisions_files_with_old_names_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """DenseNet's and ViT's are older than the names in its code."""
    from types import SimpleNamespace

    import transferability.trained.published as module

    dense, vit = "features.denseblock1.denselayer2", "encoder.layers.encoder_layer_0.mlp"
    names = [f"{dense}.norm1.weight", f"{dense}.conv2.weight", f"{vit}.0.bias", f"{vit}.3.bias"]
    old = [f"{dense}.norm.1.weight", f"{dense}.conv.2.weight", f"{vit}.linear_1.bias", f"{vit}.linear_2.bias"]
    wanted = {name: torch.full((2,), float(i)) for i, name in enumerate(names)}
    monkeypatch.setattr(module, "in_one_piece", lambda *_: SimpleNamespace(state_dict=lambda: wanted))
    given = Origin(dict(zip(old, wanted.values(), strict=True)), np.zeros(3), np.ones(3))
    weights = fitted(Published("torchvision:densenet121"), given, chain(residual, 14))
    assert weights.keys() == wanted.keys() and all(torch.equal(weights[name], wanted[name]) for name in names)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("package:",), "a name has to follow the colon"),
        (("weights.onnx",), "or a file that ends with .safetensors"),
        (("weights.pth",), "does not say how images are normalised; write mean and std"),
        (("weights.pth", 9, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "are of pixels from 0 to 1; multiply"),
        (("weights.pth", 9, MEAN, (1.0, 0.0, 1.0)), "std above 0"),
        (("weights.pth", 9, (1.0, 2.0), STD), "write three numbers, for red, green and blue"),
        (("weights.pth", 1, MEAN, STD), "write the number of its outputs"),
        (("weights.pth", 9, MEAN, STD, "shape"), "not names or order"),
        (("weights.pth", 9, MEAN, STD, "names", "abc"), "not 64 hexadecimal digits"),
    ],
)
def test_descriptions_that_cannot_be_meant_are_refused(arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        Published(*arguments)


def test_only_a_base_is_published_and_once() -> None:
    published = Published("weights.pth", **GIVEN)
    base, copy = (network(full_name(name), RECIPE) for name in ("baseA", "A2B"))
    with pytest.raises(Refused, match="only a base can be published"):
        Study("s", "tiny", chain(residual, 14), (base, replace(copy, recipe=published)))
    twice = tuple(replace(base, recipe=published, seed=seed) for seed in (0, 1))
    with pytest.raises(Refused, match="it is the same for every seed; name it once"):
        Study("s", "tiny", chain(residual, 14), twice)


def test_the_commands_know_it(roots: Path, packed: PackedImages) -> None:
    from trained import statuses

    from transferability.launch.plan import totals, trouble
    from transferability.study import fleets

    write_tiny(roots / "data" / "other", classes=4)
    study = published_study(str(saved(roots, "safetensors", original())), ("A2B",), **GIVEN)
    lines = totals(study, study.networks, fleets(study.networks))
    assert lines[0] == "2 networks (1 base, 1 transfer) in 2 fleets"
    assert trouble(study, study_folder("published"), data_root(), study.networks) == ""
    assert [status.state for status in statuses(study, study.networks)] == ["missing", "waiting"]
    train(study)
    assert [status.state for status in statuses(study, study.networks)] == ["done", "done"]


def test_it_is_loaded_and_exported_like_any_other(roots: Path, packed: PackedImages) -> None:
    """Its scores are those of the original network on the same input."""
    study = published_study(str(saved(roots, "safetensors", original())), **GIVEN)
    train(study)
    trained = load_network(study, "elsewhere-tiny/baseA", study_folder("published"), data_root())
    assert trained.classes[:2] == ("class 0", "class 1") and len(trained.classes) == 9
    assert (trained.preprocessing.size, trained.preprocessing.crop, trained.preprocessing.squash) == (16, 14, False)
    module = residual(9)
    module.load_state_dict(original())
    x = trained.preprocessing(packed.val.images[:5])
    with torch.no_grad():
        assert torch.equal(trained(x), module.eval()(x))
    assert "9 classes" in export(trained, roots / "base.safetensors")
    assert safetensors.torch.load_file(roots / "base.safetensors").keys() == original().keys()
    with pytest.raises(Refused, match="is published: the images that it is validated on are not in this study"):
        trained.accuracy()


def test_a_new_top_is_drawn_and_the_rest_is_the_files(roots: Path, packed: PackedImages) -> None:
    study = published_study(str(saved(roots, "safetensors", original())), ("A3B", "baseB"), **GIVEN)
    study = replace(study, architecture=chain(residual, 14, top=Top((20,), 0.3, after="2")))
    train(study)
    weights = outcome("published", "elsewhere-tiny/A3B").weights
    trunk = [name for name in original() if name.startswith(("0.", "1.", "2."))]
    assert all(torch.equal(weights[name], original()[name]) for name in trunk)
    assert weights["top1.weight"].shape == (20, 12) and weights["output.weight"].shape == (12, 20)
    result = json.loads(study_folder("published").result("elsewhere-tiny/baseA/seed-0").read_text())
    assert result["provenance"]["published"]["not_validated"] == "its top is new"
