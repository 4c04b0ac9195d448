"""The network that won, handed over as a file that knows its classes and how pictures are prepared; and `predict`."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from transferability.ask.answer import Candidate, name_of
from transferability.data.tasks import Tasks
from transferability.files import Refused, write_atomically
from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.networks.layers import build, copy, in_one_piece, tensors
from transferability.runs.features import Place, Sheet, part_of, read_features, readout_of, sheet_of, training_images
from transferability.runs.paths import StudyFolder
from transferability.study import Network, Study
from transferability.trained.export import COMPARED, export, onnx_file, read_metadata
from transferability.trained.network import load_network
from transferability.trained.preprocessing import Preprocessing, preprocessing_of
from transferability.trained.weights import base_weights
from transferability.training.classifiers import Shared, fit_classifier, folds_of
from transferability.training.features import make_features, pooled
from transferability.training.vectors import transformed

CPU = torch.device("cpu")

SNIPPET = {
    "torchvision": """import safetensors.torch
import torchvision

network = torchvision.models.get_model("{name}", weights=None, num_classes={classes})
network.load_state_dict(safetensors.torch.load_file("best.safetensors"))
network.eval()
""",
    "timm": """import safetensors.torch
import timm

network = timm.create_model("{name}", num_classes={classes})
network.load_state_dict(safetensors.torch.load_file("best.safetensors"))
network.eval()
""",
    "readout": "",
}
WITH_PREDICTOR = """
# Or, with the preparation of pictures and the names of the classes:
from transferability.ask.best import load

predictor = load("best.safetensors")
print(predictor.likeliest(["picture.jpg"]))
"""


class ReadOut(nn.Module):
    """The first n layers of a network and a linear classifier on them: (b, 3, crop, crop) prepared → scores."""

    def __init__(self, layers: Sequence[nn.Module], sheet: Sheet, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layers, self.sheet = nn.ModuleList(layers), sheet
        self.readout = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.readout.weight.copy_(weight)
            self.readout.bias.copy_(bias)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        scores: Tensor = self.readout(pooled(x.float(), self.sheet))
        return scores


class Predictor(NamedTuple):
    """network: from prepared pictures to scores. classes: the name of each score."""

    network: Any
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @torch.no_grad()
    def scores(self, pictures: Any) -> np.ndarray:
        """(b, classes) float32, probabilities. pictures: as `Preprocessing` takes them."""
        return torch.softmax(self.network(self.preprocessing(pictures)).float(), 1).numpy()

    def likeliest(self, pictures: Any, count: int = 3) -> list[list[tuple[str, float]]]:
        """Of each picture the likeliest classes, with their probabilities."""
        lines = self.scores(pictures)
        return [[(self.classes[k], float(line[k])) for k in np.argsort(-line, kind="stable")[:count]] for line in lines]


# ------------------------------------------------------------------------------------------ handing over


def hand_over(
    study: Study, folder: StudyFolder, data: Path, candidate: Candidate, onnx: bool = False
) -> tuple[Path, Predictor]:
    """Writes <runs>/<study>/best.safetensors, with onnx also best.onnx, and best.py, which loads it."""
    file = folder.root / "best.safetensors"
    network = study.by_name[name_of(candidate)]
    if candidate.rule == "linear":
        predictor = _write_readout(study, network, folder, data, file, onnx)
    else:
        trained = load_network(study, network.name, folder, data)
        export(trained, file)
        if onnx:
            export(trained, file.with_suffix(".onnx"))
        predictor = Predictor(trained, trained.classes, trained.preprocessing)
    library, _, name = str(getattr(study.architecture, "network", "")).partition(":")
    kind = "readout" if candidate.rule == "linear" else library
    snippet = SNIPPET.get(kind, "").format(name=name, classes=len(predictor.classes)) + WITH_PREDICTOR
    with write_atomically(file.with_suffix(".py"), "w") as handle:
        handle.write(snippet.lstrip())
    return file, predictor


def _write_readout(
    study: Study, network: Network, folder: StudyFolder, data: Path, file: Path, onnx: bool
) -> Predictor:
    tasks = Tasks(study, data)
    task, sheet = tasks.target(network), sheet_of(network)
    weight, bias = _linear(study, network, folder, tasks)
    source = study.by_name[str(network.source_name)]
    weights, outputs = base_weights(study, network, folder, tasks), source.recipe.classes  # type: ignore[union-attr]
    layers: list[nn.Module] = []
    named: dict[str, Tensor] = {}
    for _, (name, layer) in zip(range(sheet.n), build(study.architecture, outputs), strict=False):
        copy(name, layer, weights)
        named |= {key: value.detach().clone() for key, value in tensors(name, layer).items()}
        layers.append(layer)
    preprocessing = preprocessing_of(network, tasks, folder)
    assert isinstance(study.architecture, Chain)
    content = {
        "format": "pt",
        "network": network.name,
        "study": study.name,
        "architecture": str(study.architecture.network),
        "classes": json.dumps(task.class_names),
        "readout": json.dumps({"n": sheet.n, "pooling": sheet.pooling, "tokens": sheet.tokens, "outputs": outputs}),
        **preprocessing.metadata(),
    }
    everything = named | {"readout.weight": weight, "readout.bias": bias}
    with write_atomically(file) as handle:
        handle.write(safetensors.torch.save({k: v.contiguous() for k, v in everything.items()}, content))
    predictor = Predictor(ReadOut(layers, sheet, weight, bias), task.class_names, preprocessing)
    if onnx:
        chosen = task.validation_images()
        pixels = preprocessing.pixels(chosen.images[chosen.rows[:COMPARED]])
        with torch.no_grad():
            expected = predictor.network(preprocessing.normalised(pixels))
        in_onnx = onnx_file(network.name, predictor.network, preprocessing, content, pixels, expected)
        with write_atomically(file.with_suffix(".onnx")) as handle:
            handle.write(in_onnx)
    return predictor


def _linear(study: Study, network: Network, folder: StudyFolder, tasks: Tasks) -> tuple[Tensor, Tensor]:
    """((classes, numbers), (classes,)): the classifier of a readout, from features as they are.

    Standardising and the classifier are affine: what they say of the unit vectors and of 0 is all of it.
    """
    recipe, task, sheet = readout_of(network), tasks.target(network), sheet_of(network)
    place = make_features(study, network, folder, tasks, CPU)
    training = training_images(network, tasks)
    rows = read_features(place, Place(part_of(task.packed, training), "centre", sheet), training.rows)
    probes = np.concatenate([np.zeros((1, rows.shape[1]), np.float32), np.eye(rows.shape[1], dtype=np.float32)])
    vectors, probes = transformed(rows, probes, recipe.transforms)
    labels = torch.from_numpy(training.labels)
    shared = Shared(torch.from_numpy(vectors), labels, folds_of(training.labels, recipe.folds), len(task.classes))
    scores = fit_classifier(recipe, shared, torch.from_numpy(probes)).scores.double()
    return (scores[1:] - scores[0]).T.float().contiguous(), scores[0].float()


# ------------------------------------------------------------------------------------------ reading it again


def load(file: Path | str) -> Predictor:
    """What `ask`, or `transferability export`, wrote to a .safetensors file. Refused if it is none."""
    file = Path(file)
    metadata = read_metadata(file)
    preprocessing = Preprocessing.of_metadata(metadata)
    classes, name = tuple(json.loads(metadata["classes"])), metadata["architecture"]
    if file.suffix != ".safetensors" or ":" not in name:
        raise Refused(f"{file}: only .safetensors files of torchvision's and timm's networks can be loaded by name")
    architecture, weights = chain(name, preprocessing.crop), safetensors.torch.load_file(file)
    if "readout" not in metadata:
        network = in_one_piece(architecture, len(classes))
        network.load_state_dict(weights, strict=True)
        return Predictor(network.eval().requires_grad_(False), classes, preprocessing)
    about, layers = json.loads(metadata["readout"]), []
    for _, (layer_name, layer) in zip(range(about["n"]), build(architecture, about["outputs"]), strict=False):
        copy(layer_name, layer, weights)
        layers.append(layer)
    sheet = Sheet(about["n"], about["pooling"], about["tokens"])
    read_out = ReadOut(layers, sheet, weights["readout.weight"], weights["readout.bias"])
    return Predictor(read_out, classes, preprocessing)


# ------------------------------------------------------------------------------------------ confusions


class Confusion(NamedTuple):
    """Pictures of one class that are taken for another. rows: of the packed set."""

    is_class: str
    taken_for: str
    rows: tuple[int, ...]


@torch.no_grad()
def confusions(
    study: Study, data: Path, candidate: Candidate, predictor: Predictor
) -> tuple[list[Confusion], np.ndarray]:
    """The pairs of classes that are taken for each other most, of the pictures that judge it; and the images."""
    network = study.by_name[name_of(candidate)]
    chosen = Tasks(study, data).target(network).validation_images()
    predicted: list[int] = []
    for first in range(0, len(chosen.rows), 64):
        predicted += predictor.scores(chosen.images[chosen.rows[first : first + 64]]).argmax(1).tolist()
    wrong = [(int(a), b, int(row)) for a, b, row in zip(chosen.labels, predicted, chosen.rows, strict=True) if a != b]
    pairs = Counter((a, b) for a, b, _ in wrong)
    found = [
        Confusion(predictor.classes[a], predictor.classes[b], tuple(r for x, y, r in wrong if (x, y) == (a, b)))
        for (a, b), _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    ]
    return found, chosen.images
