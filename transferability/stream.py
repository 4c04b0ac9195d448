"""One stream of images: which pictures a step sees, where they are cropped, which are mirrored.

The stream is addressed: batch number `step` is a pure function of (owner of the stream, step), so it starts
anywhere, and each process takes its own rows of the global batch. Pictures stay uint8 up to the device.
"""

import queue
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor

from transferability.draws import numpy_generator
from transferability.files import Refused, write_atomically
from transferability.images import ImageSet, PackedImages
from transferability.recipe import Recipe
from transferability.splits import task_classes

# The same whatever the machine: a sum over a batch is rounded, and must not depend on where it was made.
VALIDATION_BATCH = 500


class Batch(NamedTuple):
    """Pictures and where they come from. b rows, crops of c pixels.

    pixels: (b, 3, c, c) uint8, channels last in memory. labels: (b,) int64, in the task's numbering. rows: (b,)
    int64, places in the global batch. ys, xs: (b,) int64, upper left corner of the crop. mirror: (b,) bool.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor
    ys: Tensor
    xs: Tensor
    mirror: Tensor


@dataclass(frozen=True)
class TaskImages:
    """The images of one task: `rows` (n,) of `images` (N, S, S, 3) uint8, and their `labels` (n,) int64 from 0."""

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> int:
        return int(self.images.shape[1])


def task_images(images: ImageSet, classes: np.ndarray, images_per_class: int | None, shrink: int) -> TaskImages:
    """The images of `classes` (ascending indices), labels renumbered in that order (paper, section 3).

    `images_per_class`: the first so many of each class, in the packed order, or all that a class has (paper: the
    reduced data sets take up to 1,300 a class of ILSVRC 2012, which has 732 to 1,300). Refused if none has so many.
    `shrink`: whole factor of a box average, made once, in memory.
    """
    rows = []
    for index in classes:
        # Labels ascend in a packed set.
        first, last = np.searchsorted(images.labels, [index, index + 1])
        rows.append(np.arange(first, last)[:images_per_class])
    most = max(len(part) for part in rows)
    if images_per_class is not None and most < images_per_class:
        raise Refused(f"no class has {images_per_class} training images, the largest has {most}; write @{most} or less")
    chosen = np.concatenate(rows)
    labels = np.repeat(np.arange(len(classes)), [len(part) for part in rows])
    if shrink == 1:
        return TaskImages(images.images, chosen, labels)
    side, rest = divmod(images.images.shape[1], shrink)
    if rest:
        raise Refused(f"pictures of {images.images.shape[1]} pixels do not shrink by {shrink}; pack them with --size")
    shrunk = np.empty((len(chosen), side, side, 3), np.uint8)
    for start in range(0, len(chosen), 1024):
        part = images.images[chosen[start : start + 1024]].reshape(-1, side, shrink, side, shrink, 3)
        mean = part.sum(axis=(2, 4), dtype=np.uint32) * 2 + shrink * shrink
        shrunk[start : start + 1024] = mean // (2 * shrink * shrink)  # rounded to nearest, in integers
    return TaskImages(shrunk, np.arange(len(chosen)), labels)


def windows(images: np.ndarray, rows: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
    """(b, 3, crop, crop) uint8, channels last: one window of each picture, gathered in one go."""
    view = np.lib.stride_tricks.sliding_window_view(images, (crop, crop), axis=(1, 2))  # type: ignore[call-overload]
    return torch.from_numpy(view[rows, ys, xs])


@dataclass(frozen=True)
class TrainingBatches:
    """Batches `start` … `stop` - 1 of the stream `owner`: this process's rows of each. An iterable for Lightning.

    Batch s holds places s * batch … of the concatenation of the epochs' permutations, so every image is seen
    once an epoch, and no image is left out at an epoch's end.
    """

    images: TaskImages
    recipe: Recipe
    owner: str
    start: int
    stop: int
    rank: int = 0
    world: int = 1
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(step) for step in range(self.start, self.stop))

    def order(self, epoch: int) -> np.ndarray:
        """Permutation (n,) of the task's images in an epoch."""
        if epoch not in self._orders:
            for old in [e for e in self._orders if e < epoch - 1]:
                del self._orders[old]
            self._orders[epoch] = numpy_generator("order", self.owner, epoch).permutation(len(self.images.rows))
        return self._orders[epoch]

    def places(self, step: int) -> np.ndarray:
        """(global batch,) places in the task's images, of one step."""
        position = np.arange(step * self.recipe.batch, (step + 1) * self.recipe.batch)
        epochs, places = np.divmod(position, len(self.images.rows))
        return np.concatenate([self.order(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def batch(self, step: int) -> Batch:
        total, crop = self.recipe.batch, self.recipe.crop
        draw = numpy_generator("crop", self.owner, step)
        # Drawn for the whole global batch, in every process: a row's crop does not depend on who takes it.
        ys, xs = draw.integers(0, self.images.size - crop + 1, (2, total))
        mirror = draw.random(total) < 0.5 if self.recipe.mirror else np.zeros(total, bool)
        share = total // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)
        places = self.places(step)[mine]
        return Batch(
            windows(self.images.images, self.images.rows[places], ys[mine], xs[mine], crop),
            torch.from_numpy(self.images.labels[places]),
            torch.arange(mine.start, mine.stop),
            torch.from_numpy(ys[mine]),
            torch.from_numpy(xs[mine]),
            torch.from_numpy(mirror[mine]),
        )


@dataclass(frozen=True)
class ValidationBatches:
    """Every image of a task once, centre crop: this process's batches. An iterable for Lightning.

    The batches are dealt out whole, and their last one is short, so the count is exact in any number of
    processes.
    """

    images: TaskImages
    crop: int
    rank: int = 0
    world: int = 1

    @property
    def size(self) -> int:
        """Images of a batch: fewer where there would be none left for the last process."""
        return min(VALIDATION_BATCH, max(1, len(self.images.rows) // self.world))

    def starts(self) -> range:
        return range(self.rank * self.size, len(self.images.rows), self.world * self.size)

    def __len__(self) -> int:
        return len(self.starts())

    def __iter__(self) -> Iterator[Batch]:
        centre = (self.images.size - self.crop) // 2
        for start in self.starts():
            rows = self.images.rows[start : start + self.size]
            offset = np.full(len(rows), centre)
            yield Batch(
                windows(self.images.images, rows, offset, offset, self.crop),
                torch.from_numpy(self.images.labels[start : start + self.size]),
                torch.arange(start, start + len(rows)),
                torch.from_numpy(offset),
                torch.from_numpy(offset),
                torch.zeros(len(rows), dtype=torch.bool),
            )


@dataclass(frozen=True)
class Prefetched:
    """`batches`, made by a thread up to `ahead` batches ahead, in page-locked memory: for a GPU."""

    batches: TrainingBatches | ValidationBatches
    ahead: int = 3

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self.ahead)
        stopped = threading.Event()

        def make() -> None:
            try:
                for batch in self.batches:
                    ready.put(Batch(*(part.pin_memory() for part in batch)))
                    if stopped.is_set():
                        return
                ready.put(None)
            except BaseException as error:  # raised where the batches are used
                ready.put(error)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            while thread.is_alive():  # it may wait for room in the queue
                try:
                    ready.get(timeout=0.01)
                except queue.Empty:
                    pass


class ImagesModule(L.LightningDataModule):
    """The training and validation images of one task of one split, for one fleet.

    `position()` gives (first step, end step) of the next stretch of training: up to the next validation.
    `most_validated`: so many validation images at most, for dry runs.
    """

    def __init__(
        self,
        packed: PackedImages,
        split: str,
        task: str,
        images_per_class: int | None,
        recipe: Recipe,
        owner: str,
        position: Callable[[], tuple[int, int]],
        most_validated: int | None = None,
    ) -> None:
        super().__init__()
        classes = task_classes(packed.classes, split, task)
        self.training = task_images(packed.train, classes, images_per_class, recipe.shrink)
        self.validation = task_images(packed.val, classes, None, recipe.shrink)
        if self.training.size < recipe.crop:
            raise Refused(
                f"{packed.folder}: pictures of {self.training.size} pixels cannot be cropped to {recipe.crop}; "
                f"pack them with --size {recipe.crop * 8 // 7 * recipe.shrink} or so"
            )
        if most_validated is not None:
            few = self.validation
            self.validation = TaskImages(few.images, few.rows[:most_validated], few.labels[:most_validated])
        self.recipe, self.owner, self.position = recipe, owner, position

    def _process(self) -> tuple[int, int, bool]:
        trainer = self.trainer
        assert trainer is not None
        return trainer.global_rank, trainer.world_size, trainer.strategy.root_device.type == "cuda"

    def train_dataloader(self) -> TrainingBatches | Prefetched:
        rank, world, gpu = self._process()
        start, stop = self.position()
        batches = TrainingBatches(self.training, self.recipe, self.owner, start, stop, rank, world)
        return Prefetched(batches) if gpu else batches

    def val_dataloader(self) -> ValidationBatches | Prefetched:
        rank, world, gpu = self._process()
        batches = ValidationBatches(self.validation, self.recipe.crop, rank, world)
        return Prefetched(batches) if gpu else batches


def mean_image(packed: PackedImages, split: str, task: str, shrink: int, path: Path) -> np.ndarray:
    """(S, S, 3) float32: the mean of the task's training images, 0..255 (paper: the data set's mean image).

    Computed once, from exact integer sums, a block at a time, and stored under `path` with the checksum of the
    packed set: after another set was packed under the same name, it is computed anew.
    """
    if path.is_file():
        try:
            with np.load(path) as stored:
                if stored["data"] == packed.checksum:
                    return np.asarray(stored["mean"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # damaged
    images = task_images(packed.train, task_classes(packed.classes, split, task), None, shrink)
    total = np.zeros(images.images.shape[1:], np.int64)
    for start in range(0, len(images.rows), 1024):
        total += images.images[images.rows[start : start + 1024]].sum(axis=0, dtype=np.int64)
    mean = (total / len(images.rows)).astype(np.float32)
    with write_atomically(path) as handle:
        np.savez(handle, mean=mean, data=np.array(packed.checksum))
    return mean
