"""What a letter of a split stands for, opened: classes and images of a packed set. Needs no torch.

Which images of a pool train and which validate is drawn by the seed, and so are the first k per class: the fewer are
among the more. A set with its own validation part gives its first k per class, in the packed order, unless a network
says `drawn`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transferability.data.descriptions import Descriptions, read_descriptions
from transferability.data.packed import ImageSet, PackedImages, open_packed, refuse_few
from transferability.draws import numpy_generator
from transferability.files import Refused
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study, table_key
from transferability.zero_shot import ZeroShot


class ChosenImages(NamedTuple):
    """Some of the images of a packed set, as a task sees them.

    images: (N, S, S, 3) uint8, of the whole part of the set. rows: (n,) int64, which of them. labels: (n,) int64, from
    0, in the task's numbering; where images have several labels (n, classes) int8: 1 present, 0 absent, -1 not known.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


class Normalisation(NamedTuple):
    """How pixels, 0 to 255, become a network's input: (pixel - mean) * scale.

    mean: (S, S, 3) float32, for images of S x S pixels. scale: one factor, or one for each channel.
    """

    mean: np.ndarray
    scale: float | tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """A letter of a split, in one study and for one seed.

    classes: (k,) int64, the indices of its classes in the packed set, ascending; a class's position is its label.
    domain: only images of this domain; "": of all. validation: of a pool, images per class that validate, or their
    share. seed: draws, of a pool, which ones.
    """

    split: str
    letter: str
    packed: PackedImages
    classes: np.ndarray
    domain: str = ""
    validation: float | int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """What its mean image is called after: the seed is in it where it draws images."""
        return f"{self.split}-{self.letter}" + (f"-seed-{self.seed}" if self.packed.pool else "")

    @property
    def class_ids(self) -> tuple[str, ...]:
        return tuple(self.packed.classes[index].id for index in self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.packed.classes[index].name for index in self.classes)

    @property
    def has_several_labels(self) -> bool:
        return self.packed.train.several is not None

    def training(self, images_per_class: int | None = None, drawn: bool = False) -> ChosenImages:
        """Its training images: at most so many of each class; a class that has fewer gives all.

        # Paper: the reduced data sets take up to 1,300 per class of ILSVRC 2012, whose classes have 732 to 1,300.

        drawn: the seed draws which ones. Refused if no class has so many.
        """
        parts = [rows for _, rows in self._training_rows(drawn)]
        refuse_few(images_per_class, max(len(rows) for rows in parts))
        return self._chosen(self.packed.train, [rows[:images_per_class] for rows in parts])

    def unlabelled(self, validation: bool = False) -> ChosenImages:
        """Its training (or validation) images without their labels, all of which are -1. Their order tells no class.

        A packed set is ordered by class, so images are put in the order of the SHA-256 of their pixels. No label is
        read, except where labels say which images are the task's: of a pool, whose images that validate are drawn class
        by class, and of a part of the classes.
        """
        images = self.packed.val if validation and not self.packed.pool else self.packed.train
        if self.packed.pool or len(self.classes) < len(self.packed.classes):
            rows = (self.validation_images() if validation else self.training()).rows
        elif self.domain:
            rows = np.flatnonzero(np.asarray(images.domains) == self.packed.domains.index(self.domain))
        else:
            rows = np.arange(len(images.images))
        order = sorted(rows.tolist(), key=lambda row: hashlib.sha256(images.images[row].tobytes()).digest())
        return ChosenImages(images.images, np.array(order, np.int64), np.full(len(order), -1))

    def training_counts(self) -> np.ndarray:
        """(k,) int64: training images of each class."""
        return np.array([len(rows) for _, rows in self._training_rows(False)])

    def validation_images(self) -> ChosenImages:
        """Its validation images, all of them."""
        if not self.packed.pool:
            return self._chosen(self.packed.val, [rows for _, rows in self._rows(self.packed.val)])
        if self.has_several_labels:
            return self._chosen(self.packed.train, [self._validating()])
        parts = [self._drawn(name, rows)[: self._count(name, rows)] for name, rows in self._rows(self.packed.train)]
        return self._chosen(self.packed.train, [np.sort(rows) for rows in parts])

    def _validating(self) -> np.ndarray:
        """Of a pool whose images have several labels: the rows of those that validate.

        An image counts for all of its classes. The rarest class chooses first, the others only what they still lack,
        and no image that is the last one of a class to train on.
        """
        assert self.packed.train.several is not None
        present = self.packed.train.several[:, self.classes] == 1
        classes = sorted(self._rows(self.packed.train), key=lambda part: len(part[1]))
        validating = np.zeros(len(present), bool)
        left = present[np.unique(np.concatenate([rows for _, rows in classes]))].sum(0)
        for name, rows in classes:
            lacking = self._count(name, rows) - int(validating[rows].sum())
            for row in self._drawn(name, rows):
                if lacking > 0 and not validating[row] and (left[present[row]] > 1).all():
                    validating[row] = True
                    left -= present[row]
                    lacking -= 1
        return np.flatnonzero(validating)

    def _rows(self, images: ImageSet) -> Iterator[tuple[str, np.ndarray]]:
        """(id of the class, rows of its images), for each class."""
        kept: np.ndarray = np.ones(len(images.labels), bool)
        if self.domain:
            kept = np.asarray(images.domains) == self.packed.domains.index(self.domain)
        for index in self.classes:
            if images.several is not None:
                rows = np.flatnonzero((images.several[:, index] == 1) & kept)
            else:  # labels ascend in a packed set
                first, last = np.searchsorted(images.labels, [index, index + 1])
                rows = np.arange(first, last)[kept[first:last]]
            yield self.packed.classes[index].id, rows

    def _training_rows(self, drawn: bool) -> Iterator[tuple[str, np.ndarray]]:
        if not self.packed.pool:
            for name, rows in self._rows(self.packed.train):
                yield name, self._drawn(name, rows) if drawn else rows
            return
        validating = (
            self.validation_images().rows
        )  # of several labels: an image may validate for another of its classes
        for name, rows in self._rows(self.packed.train):
            order = self._drawn(name, rows)
            yield name, order[~np.isin(order, validating)]

    def _drawn(self, class_id: str, rows: np.ndarray) -> np.ndarray:
        """The rows of a class in the seed's order: the first ones of a pool validate, the others train."""
        return numpy_generator("images", self.seed, class_id, self.domain).permutation(rows)

    def _count(self, class_id: str, rows: np.ndarray) -> int:
        """How many images of a class validate."""
        wanted = self.validation
        if wanted is None:
            raise Refused(
                f"{self.packed.folder} was packed as one pool: say in the study how many images of each class "
                "validate, as Study(…, validation=20) or validation=0.25"
            )
        count = max(1, round(wanted * len(rows))) if isinstance(wanted, float) else wanted
        if count >= len(rows):
            raise Refused(
                f"{self.packed.folder}: class {class_id!r} has {len(rows)} images, of which {count} are to validate: "
                "none is left to train on; make `validation` smaller, or leave that class out"
            )
        return count

    def _chosen(self, images: ImageSet, parts: list[np.ndarray]) -> ChosenImages:
        if images.several is None:
            rows, labels = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            return ChosenImages(images.images, rows, labels)
        rows = np.unique(np.concatenate(parts))
        return ChosenImages(images.images, rows, images.several[rows][:, self.classes])


@dataclass(frozen=True)
class Tasks:
    """The tasks of a study. Each packed set is opened once, when it is first asked for.

    data: the folder of packed sets.
    """

    study: Study
    data: Path
    _opened: dict[str, PackedImages] = field(default_factory=dict, repr=False)
    _tasks: dict[tuple[str, str, int], Task] = field(default_factory=dict, repr=False)

    def packed(self, name: str) -> PackedImages:
        """A packed set of the study. Refused if it cannot be opened, or has validation images beside `validation`."""
        if name not in self._opened:
            packed = open_packed(self.data / name)
            if self.study.validation is not None and not packed.pool and name == self.study.data:
                raise Refused(
                    f"{packed.folder} has validation images of its own: leave `validation` out of study "
                    f"{self.study.name!r}, or pack the images as one pool"
                )
            self._opened[name] = packed
        return self._opened[name]

    @property
    def checksums(self) -> Mapping[str, str]:
        """Name of each packed set that the study trains on, and of each table of classes → its checksum."""
        tables = {table_key(name): self.descriptions(name).checksum for name in self.study.tables}
        return {name: self.packed(name).checksum for name in self.study.data_sets} | tables

    def descriptions(self, name: str) -> Descriptions:
        """What a table says of classes (`ZeroShot.table`)."""
        return read_descriptions(name, self.data)

    def task(self, split: str, letter: str, seed: int = 0) -> Task:
        """What a letter stands for. Refused: a split or a letter that there is not, a domain that lacks classes."""
        part = self.study.part(split, letter)
        packed = self.packed(part.data)
        key = split, letter, seed
        if key not in self._tasks:
            classes = task_classes(packed.classes, split, letter, self.study.splits)
            if part.domain:
                _refuse_domain(packed, part.domain, classes)
            self._tasks[key] = Task(split, letter, packed, classes, part.domain, self.study.validation, seed)
        return self._tasks[key]

    def target(self, of: Network | Fleet) -> Task:
        """The task that a network, or a fleet, is trained on."""
        letter = of.treatment.target if isinstance(of, Network) else of.target
        return self._as_seen(of, letter)

    def labelled(self, of: Network | Fleet) -> Task:
        """The task whose labelled images a network, or a fleet, is trained on: its target, or the source."""
        return self._as_seen(of, of.labelled)

    def all_of(self, of: Network | Fleet) -> list[Task]:
        """The tasks whose images a network, or a fleet, is trained on or judged on."""
        return [self._as_seen(of, letter) for letter in of.tasks]

    def _as_seen(self, of: Network | Fleet, letter: str) -> Task:
        """A task; without the classes that the recipe leaves out, since no table describes them."""
        task, recipe = self.task(of.split, letter, of.seed), of.recipe
        if not isinstance(recipe, ZeroShot) or recipe.undescribed == "refused":
            return task
        described = self.descriptions(recipe.table)
        kept = np.array([name in described.ids for name in task.class_ids])
        if kept.sum() < 2:
            raise Refused(
                f"{described.place} describes {kept.sum()} of the classes of {letter} of split {of.split}; "
                "two are needed"
            )
        return replace(task, classes=task.classes[kept])


def _refuse_domain(packed: PackedImages, domain: str, classes: np.ndarray) -> None:
    """Refuses a domain that the set has not, or in which a class has no image."""
    if domain not in packed.domains:
        raise Refused(
            f"{packed.folder} has no domain {domain!r}: its domains are {', '.join(packed.domains) or 'not known'}"
        )
    for images, word in ((packed.train, "training"), (packed.val, "validation")):
        if packed.pool and images is packed.val:
            continue
        assert images.domains is not None
        here = images.labels[images.domains == packed.domains.index(domain)]
        lacking = [packed.classes[index].name for index in classes if index not in here]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise Refused(
                f"{packed.folder}: domain {domain} has no {word} image of class {lacking[0]!r}{more}; a domain split "
                "needs all classes in both domains: leave these classes out of the pictures"
            )
