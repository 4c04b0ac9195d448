"""Features that the readouts of a study ask for: of which images, in which files, and how large. Needs no torch.

Readouts that read the same network share its features, whatever their classifiers and seeds: one pass over the images
gives all layers that any of them asks for. A file holds one block of the packed images, from one view, as one layer
sees them; it is written whole or not at all, and so a kill costs a block at most.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from transferability.data.packed import PackedImages, human_bytes
from transferability.data.tasks import ChosenImages, Tasks
from transferability.files import Missing, Refused, refusing_damage, write_atomically
from transferability.networks.facts import layer_facts
from transferability.published import Published
from transferability.readout import PENALISED, VIEWS, Readout
from transferability.runs.paths import StudyFolder
from transferability.runs.result import read_result
from transferability.study import Network, Study, record

FORMAT = 1
AGAIN = "remove it, and run the same command again"
BLOCK = 512  # images of a packed set that one file is about
SPARE_BYTES = 2**28  # of a disk that features do not fill
# A side that HOG's cells divide, and the numbers that it gives (`training/handmade.py`).
HOG_SIDE, HOG_NUMBERS, WORD_NUMBERS = 128, 1764, 8100


class Sheet(NamedTuple):
    """One vector per image: what layer n puts out, pooled; or handmade numbers. Its name is that of its folder."""

    n: int
    pooling: str | int
    tokens: str = "class"
    handmade: str = ""

    @property
    def name(self) -> str:
        if self.handmade in ("hog", "words"):
            return self.handmade
        tokens = "" if self.tokens == "class" else f"-{self.tokens}"
        return f"{self.n}-{self.pooling}{tokens}"


class Place(NamedTuple):
    """A folder of blocks: of one part (train or val) of the packed set, one view, one sheet."""

    part: str
    view: str
    sheet: Sheet

    def file(self, folder: Path, block: int) -> Path:
        return folder / f"{self.part}-{self.view}" / self.sheet.name / f"{block}.safetensors"


@dataclass
class Wanted:
    """What the readouts of one network ask for. reader: one of them. rows: of the packed set, ascending, by place."""

    reader: Network
    rows: dict[Place, np.ndarray] = field(default_factory=dict)

    def add(self, place: Place, rows: np.ndarray) -> None:
        known = self.rows.get(place)
        self.rows[place] = np.unique(rows) if known is None else np.union1d(known, rows)


def readout_of(network: Network) -> Readout:
    """The recipe of a network that is a readout."""
    assert isinstance(network.recipe, Readout), network.name
    return network.recipe


def sheet_of(network: Network) -> Sheet:
    """What a readout reads."""
    recipe, n = readout_of(network), network.treatment.n
    if n:
        return Sheet(n, recipe.pooling, recipe.tokens)
    return Sheet(0, recipe.pooling if recipe.handmade == "pixels" else "flat", handmade=recipe.handmade)


def read_network(study: Study, network: Network) -> str:
    """A name for whose features a readout reads: its source's, random layers', or `images` for n = 0.

    A published network is the same in every split, and so are the images of a packed set. Layers that are drawn or see
    images in another way than usual are another network.
    """
    data, recipe = study.part(network.split, network.treatment.target).data, readout_of(network)
    if not network.treatment.n:
        return f"{data}/images-{recipe.shrink}"
    unusual = [
        name for name in ("shrink", "scale", "initialisation") if getattr(recipe, name) != getattr(Readout, name)
    ]
    ending = "".join(f"-{name}-{getattr(recipe, name)}" for name in unusual)
    if network.source_name is None:
        return f"{network.split}/R-{network.treatment.target}/seed-{network.seed}{ending}"
    source = study.by_name[network.source_name].recipe
    if isinstance(source, Published):
        word = re.sub(r"[^A-Za-z0-9_.-]", "-", source.place.rpartition("/")[2])
        return f"{data}/{word}-{_digest(source.record)}{ending}"
    return f"{network.source_name}/{data}"


def training_images(network: Network, tasks: Tasks) -> ChosenImages:
    """The images that a readout is fitted to (`Readout.trained_on`)."""
    recipe, letters = readout_of(network), (network.treatment.source, network.treatment.target)
    if recipe.trained_on == "target":
        return tasks.target(network).training(network.images_per_class, network.drawn)
    source, target = (tasks.task(network.split, letter, network.seed) for letter in letters)
    images = source.training(network.images_per_class, network.drawn)
    if recipe.trained_on == "both":
        more = target.training(recipe.target_images, network.drawn)
        return ChosenImages(
            images.images, np.concatenate([images.rows, more.rows]), np.concatenate([images.labels, more.labels])
        )
    return images


def part_of(packed: PackedImages, chosen: ChosenImages) -> str:
    """train or val: the part of the packed set that images were chosen from."""
    return "val" if chosen.images is packed.val.images else "train"


def wanted(study: Study, tasks: Tasks, networks: Iterable[Network] | None = None) -> dict[str, Wanted]:
    """What is asked of each network, by its name in `read_network`; of those alone that any of `networks` reads."""
    names = None if networks is None else {read_network(study, n) for n in networks if isinstance(n.recipe, Readout)}
    asked: dict[str, Wanted] = {}
    chosen: dict[tuple[Any, ...], tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]] = {}
    for network in study.networks:
        recipe = network.recipe
        if not isinstance(recipe, Readout) or (names is not None and read_network(study, network) not in names):
            continue
        key = (network.stream, recipe.trained_on, recipe.target_images, network.treatment.source)
        if key not in chosen:
            task = tasks.target(network)
            images, judged = training_images(network, tasks), task.validation_images()
            parts = [part_of(task.packed, images), part_of(task.packed, judged)]
            chosen[key] = (parts[0], images.rows), (parts[1], judged.rows)
        entry = asked.setdefault(read_network(study, network), Wanted(network))
        for (part, rows), views in zip(chosen[key], (recipe.train_views, recipe.test_views), strict=True):
            for view in VIEWS[views]:
                entry.add(Place(part, view, sheet_of(network)), rows)
    return asked


# ------------------------------------------------------------------------------------------ what they depend on


def dependence(study: Study, network: Network, folder: StudyFolder, tasks: Tasks) -> dict[str, Any]:
    """What the features that a readout reads depend on, as JSON. Missing if its source is not trained yet."""
    recipe, part = readout_of(network), study.part(network.split, network.treatment.target)
    content: dict[str, Any] = {"format": FORMAT, "data": tasks.packed(part.data).checksum, "shrink": recipe.shrink}
    if not network.treatment.n:
        return content | {"crop": recipe.crop}
    content["scale"] = recipe.scale
    name = network.source_name
    if name is not None:
        weights = read_result(folder.result(name)).weights_sha256
        return content | {"network": record(study, study.by_name[name], tasks.checksums), "weights": weights}
    task = tasks.target(network)
    mean = [task.name, part.group, part.domain, study.validation]  # whose training images' mean is subtracted
    random = {"split": network.split, "seed": network.seed, "initialisation": recipe.initialisation}
    return content | {"random": random, "mean": mean, "architecture": study.architecture_record}


def features_folder(study: Study, network: Network, folder: StudyFolder, depends: dict[str, Any]) -> Path:
    """Where the features lie that a readout reads."""
    return folder.features(read_network(study, network), _digest(depends))


def _digest(content: Mapping[str, Any]) -> str:
    text = orjson.dumps(dict(content), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=6).hexdigest()


# ------------------------------------------------------------------------------------------ blocks


def blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the block, its rows), for rows that ascend."""
    numbers = rows // BLOCK
    for number in np.unique(numbers).tolist():
        yield number, rows[numbers == number]


def write_block(file: Path, rows: np.ndarray, features: np.ndarray) -> None:
    """rows: (m,) int64. features: (m, numbers) float32."""
    import safetensors.numpy

    content = safetensors.numpy.save({"rows": rows.astype(np.int64), "features": np.ascontiguousarray(features)})
    with write_atomically(file) as handle:
        handle.write(content)


def rows_in(file: Path) -> np.ndarray:
    """(m,) int64: the rows whose features a file holds; none if there is no such file."""
    import safetensors

    if not file.exists():
        return np.empty(0, np.int64)
    with refusing_damage(file, AGAIN), safetensors.safe_open(file, "np") as mapped:
        return mapped.get_tensor("rows")


def read_features(folder: Path, place: Place, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """(len(rows), numbers) float32, in the order of `rows`. Missing if they are not there."""
    import safetensors

    rows = np.asarray(rows, np.int64)
    features: np.ndarray | None = None
    numbers = rows // BLOCK
    for number in np.unique(numbers).tolist():
        file, here = place.file(folder, number), np.flatnonzero(numbers == number)
        known = rows_in(file)
        places = np.searchsorted(known, rows[here])
        if not len(known) or (known[np.minimum(places, len(known) - 1)] != rows[here]).any():
            raise Missing(f"{file} does not hold the features of all images; run the study to compute them")
        # Mapped into memory.
        with refusing_damage(file, AGAIN), safetensors.safe_open(file, "np") as mapped:
            block = mapped.get_tensor("features")
        if features is None:
            features = np.empty((len(rows), block.shape[1]), np.float32)
        features[here] = block[places]
    assert features is not None
    return features


# ------------------------------------------------------------------------------------------ how much


def numbers_of(study: Study, network: Network) -> int:
    """How many numbers per image a readout reads."""
    recipe, n = readout_of(network), network.treatment.n
    if n:
        return recipe.numbers(layer_facts(study.architecture, 1000)[n - 1].shape)
    if recipe.handmade == "pixels":
        return recipe.numbers((3, recipe.crop, recipe.crop))
    return HOG_NUMBERS if recipe.handmade == "hog" else WORD_NUMBERS


def missing_bytes(study: Study, asked: Wanted, folder: StudyFolder, tasks: Tasks) -> tuple[int, int]:
    """(bytes of all features of one network that are asked for, bytes of those that are not computed yet)."""
    shapes = {
        sheet_of(network): numbers_of(study, network)
        for network in study.networks
        if isinstance(network.recipe, Readout) and read_network(study, network) == read_network(study, asked.reader)
    }
    try:
        place = features_folder(study, asked.reader, folder, dependence(study, asked.reader, folder, tasks))
    except Missing:
        place = None
    total = missing = 0
    for where, rows in asked.rows.items():
        size = 4 * shapes[where.sheet]
        total += size * len(rows)
        for number, here in blocks(rows):
            is_there = place is not None and where.file(place, number).exists()
            missing += 0 if is_there else size * len(here)
    return total, missing


def room(study: Study, folder: StudyFolder, networks: Sequence[Network], tasks: Tasks) -> str:
    """A line that says how large the features are that `networks` read; "" if none reads any.

    Refused if there is no room for those that are not computed yet.
    """
    asked = wanted(study, tasks, networks)
    if not asked:
        return ""
    sizes = [missing_bytes(study, each, folder, tasks) for each in asked.values()]
    total, missing = (sum(column) for column in zip(*sizes, strict=True))
    images = max(len(rows) for each in asked.values() for rows in each.rows.values())
    layers = len({(name, where.sheet) for name, each in asked.items() for where in each.rows})
    free = shutil.disk_usage(next(place for place in (folder.root, *folder.root.parents) if place.exists())).free
    if missing > free - SPARE_BYTES:
        raise Refused(
            f"the features that readouts of study {study.name!r} read take {human_bytes(missing)}, and "
            f"{human_bytes(free)} are free in {folder.root}; make room, ask for fewer layers, or pool them more"
        )
    return f"features: {layers} layers, up to {images:,} images each, take {human_bytes(total)} in {folder.root}" + (
        f", of which {human_bytes(missing)} are still to be computed" if 0 < missing < total else ""
    )


# Of the classifiers, for a first estimate: iterations per penalty, and an eigendecomposition's operations over n³.
ITERATIONS, EIGEN = 20, 10


def reading_operations(study: Study, networks: Sequence[Network], tasks: Tasks) -> tuple[float, float]:
    """Floating-point operations of the passes over the images, and roughly of the classifiers of `networks`."""
    facts = layer_facts(study.architecture, 1000)
    forward = 0.0
    for asked in wanted(study, tasks, networks).values():
        by_view: dict[tuple[str, str], tuple[int, int]] = {}
        for place, rows in asked.rows.items():
            n, count = by_view.get((place.part, place.view), (0, 0))
            by_view[place.part, place.view] = max(n, place.sheet.n), max(count, len(rows))
        forward += sum(count * sum(fact.operations for fact in facts[:n]) for n, count in by_view.values())
    fits = 0.0
    factored: set[tuple[Any, ...]] = set()
    for network in networks:
        recipe = network.recipe
        if not isinstance(recipe, Readout):
            continue
        task = tasks.target(network)
        images = len(VIEWS[recipe.train_views]) * len(training_images(network, tasks).rows)
        rank = min(images, numbers_of(study, network))
        key = (read_network(study, network), network.stream, sheet_of(network), recipe.transforms, recipe.train_views)
        if key not in factored:
            factored.add(key)
            fits += 2 * images * numbers_of(study, network) * rank + EIGEN * rank**3
        if recipe.classifier in PENALISED:
            problems = len(task.classes) * (1 + recipe.folds * len(recipe.penalties) * recipe.needs_folds)
            fits += ITERATIONS * 4 * images * rank * problems
    return forward, fits
