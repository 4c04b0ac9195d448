"""Which images a step sees, where they are cropped and which are mirrored.

The stream is addressed: batch number `step` is a pure function of (owner of the stream, step). So a stream starts at
any step, and each process takes its own rows of the global batch. Pixels stay uint8 until they are on the device.
"""

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferability.data.augment import draw_changes
from transferability.data.tasks import ChosenImages, Task
from transferability.draws import numpy_generator
from transferability.files import Refused, write_atomically
from transferability.recipe import Recipe
from transferability.study import Fleet, Network

# The same on every machine: a sum over a batch is rounded, so accuracies and losses depend on the batch size.
VALIDATION_BATCH = 500
BLOCK = 1024  # images that are read, shrunk or copied at a time


class Batch(NamedTuple):
    """b images, cropped to c x c pixels, and where they come from.

    pixels: (b, 3, c, c) uint8, channels last in memory. labels: (b,) int64, in the task's numbering; (b, classes) int8
    where images have several (`ChosenImages`). rows: (b,) int64, places in the global batch. ys, xs: (b,) int64, upper
    left corner of the crop. mirror: (b,) bool. changes: (b, k) float32, what is still to be done on the device
    (`augment.py`); k is 0 for nothing. Where crops are resized, pixels are the whole images.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor
    ys: Tensor
    xs: Tensor
    mirror: Tensor
    changes: Tensor


# ------------------------------------------------------------------------------------------ images of a task


@dataclass(frozen=True)
class TaskImages:
    """The images of one task: `rows` (n,) of `images` (N, S, S, 3) uint8, and `labels` as `ChosenImages` has them.

    `pinned`: crops are gathered in page-locked memory, for a GPU.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    pinned: bool = False

    @property
    def size(self) -> int:
        return int(self.images.shape[1])

    @property
    def bytes(self) -> int:
        return len(self.rows) * self.size**2 * 3

    def first(self, count: int | None) -> "TaskImages":
        """The first `count` of these images; None: all."""
        return replace(self, rows=self.rows[:count], labels=self.labels[:count])

    def windows(self, places: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
        """(b, 3, crop, crop) uint8, channels last: one crop of each of the images at `places` (b,)."""
        rows = self.rows[places]
        if not self.pinned:
            return windows(self.images, rows, ys, xs, crop)
        # PyTorch's page-locked allocator does not reuse this memory before the copy out of it has finished.
        buffer = torch.empty(len(rows), crop, crop, 3, dtype=torch.uint8, pin_memory=True)
        copy_windows(self.images, rows, ys, xs, buffer.numpy())
        return buffer.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ResidentImages:
    """The images of one task in a device's memory: `images` (n, S, S, 3) uint8; `labels` (n,) int64 on the host."""

    images: Tensor
    labels: np.ndarray

    @property
    def size(self) -> int:
        return int(self.images.shape[1])

    def windows(self, places: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
        """(b, 3, crop, crop) uint8, channels last, on the device: one crop of each of the images at `places` (b,)."""
        n, size, _, _ = self.images.shape
        image, line, pixel, _ = self.images.stride()
        view = self.images.as_strided(
            (n, size - crop + 1, size - crop + 1, crop, crop, 3), (image, line, pixel, line, pixel, 1)
        )
        indices = (to_device(torch.from_numpy(index), self.images.device) for index in (places, ys, xs))
        return view[tuple(indices)].permute(0, 3, 1, 2)


class FleetImages(NamedTuple):
    """The images that a fleet sees.

    training: with labels; the target's, or, where the target's labels are not seen, the source's. validation: the
    target's. inner: those that are held out of the training images. beside: training images of another task that each
    step sees, too: the target's without their labels (-1), or, where two tasks share layers, the second one's; training
    and validation are the first one's then. beside_validation: validation images of that task, or of the source. None:
    there are none.
    """

    training: TaskImages
    validation: TaskImages
    inner: TaskImages | None = None
    beside: TaskImages | None = None
    beside_validation: TaskImages | None = None


def task_sets(task: Task, of: Network | Fleet) -> tuple[TaskImages, TaskImages]:
    """The training images of a network or a fleet, and the validation images of its target.

    Raises Refused, as `Task.training` does, and where images are smaller than the recipe's crop.
    """
    recipe = of.training_recipe
    recipe.refuse_size(task.packed.size, str(task.packed.folder))
    training = task_images(task.training(of.images_per_class, of.drawn), recipe.shrink)
    return training, task_images(task.validation_images(), recipe.shrink)


def task_images(chosen: ChosenImages, shrink: int) -> TaskImages:
    """Images of a task, as they are fed. shrink: whole factor of a box average, made once, in memory; divides the size.

    # Paper, section 3: labels are numbered anew in each half, in the order of the classes.
    """
    images, rows, labels = chosen
    if shrink == 1:
        return TaskImages(images, rows, labels)
    side = images.shape[1] // shrink  # without a rest: `Recipe.refuse_size`
    shrunk = np.empty((len(rows), side, side, 3), np.uint8)
    for start in range(0, len(rows), BLOCK):
        part = images[rows[start : start + BLOCK]].reshape(-1, side, shrink, side, shrink, 3)
        doubled = part.sum(axis=(2, 4), dtype=np.uint32) * 2 + shrink * shrink
        shrunk[start : start + BLOCK] = doubled // (2 * shrink * shrink)  # the mean, rounded to nearest, in integers
    return TaskImages(shrunk, np.arange(len(rows)), labels)


def held_out(images: TaskImages, owner: str, share: float) -> tuple[TaskImages, TaskImages]:
    """(training, held out): `share` of the images of each class, one at least, is held out; drawn for each owner.

    owner: of the stream of training images, so that a base and what copies from it hold out the same ones. Refused: a
    class of one image.
    """
    chosen, labels = np.zeros(len(images.labels), bool), images.labels
    several = labels.ndim > 1
    for label in range(labels.shape[1]) if several else np.unique(labels):
        places = np.flatnonzero(labels[:, label] == 1 if several else labels == label)
        if len(places) < 2:
            raise Refused("a class has one training image, of which none can be held out (recipe: stop 'inner')")
        count = min(len(places) - 1, max(1, round(share * len(places))))
        chosen[numpy_generator("held out", owner, int(label)).permutation(places)[:count]] = True
    parts = [replace(images, rows=images.rows[part], labels=images.labels[part]) for part in (~chosen, chosen)]
    return parts[0], parts[1]


def windows(images: np.ndarray, rows: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
    """(b, 3, crop, crop) uint8, channels last: one window of each image, gathered in one go."""
    view = np.lib.stride_tricks.sliding_window_view(images, (crop, crop), axis=(1, 2))  # type: ignore[call-overload]
    return torch.from_numpy(view[rows, ys, xs])


def copy_windows(images: np.ndarray, rows: np.ndarray, ys: np.ndarray, xs: np.ndarray, buffer: np.ndarray) -> None:
    """Writes the windows into `buffer` (b, crop, crop, 3). Nothing is allocated: twice as fast for large crops."""
    crop = buffer.shape[1]
    for place, (row, y, x) in enumerate(zip(rows.tolist(), ys.tolist(), xs.tolist(), strict=True)):
        buffer[place] = images[row, y : y + crop, x : x + crop]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. To a GPU it goes from page-locked memory, so that the host need not wait for the copy."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


# ------------------------------------------------------------------------------------------------- batches


@dataclass(frozen=True)
class TrainingBatches:
    """Batches `start` … `stop` - 1 of the stream `owner`: this process's rows of each. An iterable for Lightning.

    Batch s holds places s * batch … (s + 1) * batch - 1 of the concatenation of the epochs' permutations. So every
    image is seen once per epoch, and none is left out at the end of an epoch.
    """

    images: TaskImages | ResidentImages
    recipe: Recipe
    owner: str
    start: int
    stop: int
    rank: int = 0
    world: int = 1
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Batch:
        return self.batch(self.start + index)

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))

    def order(self, epoch: int) -> np.ndarray:
        """Permutation (n,) of the task's images in an epoch. Several threads may call it."""
        with self._lock:
            if epoch not in self._orders:
                for old in [e for e in self._orders if e < epoch - 1]:
                    del self._orders[old]
                self._orders[epoch] = numpy_generator("order", self.owner, epoch).permutation(len(self.images.labels))
            return self._orders[epoch]

    def places(self, step: int) -> np.ndarray:
        """(global batch,) places in the task's images, of one step."""
        position = np.arange(step * self.recipe.batch, (step + 1) * self.recipe.batch)
        epochs, places = np.divmod(position, len(self.images.labels))
        return np.concatenate([self.order(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def batch(self, step: int) -> Batch:
        """This process's rows of the global batch of one step."""
        total = self.recipe.batch
        crop = self.images.size if self.recipe.crops == "resized" else self.recipe.crop
        generator = numpy_generator("crop", self.owner, step)
        # Drawn for the whole global batch in every process: the crop of a row is the same whichever process takes it.
        ys, xs = generator.integers(0, self.images.size - crop + 1, (2, total))
        mirror = generator.random(total) < 0.5 if self.recipe.mirror else np.zeros(total, bool)
        count = total // self.world
        rows = slice(self.rank * count, (self.rank + 1) * count)
        places = self.places(step)[rows]
        return Batch(
            self.images.windows(places, ys[rows], xs[rows], crop),
            torch.from_numpy(self.images.labels[places]),
            torch.arange(rows.start, rows.stop),
            torch.from_numpy(ys[rows]),
            torch.from_numpy(xs[rows]),
            torch.from_numpy(mirror[rows]),
            torch.from_numpy(draw_changes(self.recipe, self.images.size, self.owner, step)[rows]),
        )


@dataclass(frozen=True)
class DomainBatches:
    """Batches of labelled images of one task, and behind them as many of another.

    The places of the others in the global batch follow those of all of the first. Where images have several labels,
    the task of fewer classes is filled up with such as are not known (-1). An iterable for Lightning.
    """

    labelled: TrainingBatches
    beside: TrainingBatches

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> Batch:
        first, second = self.labelled[index], self.beside[index]
        second = second._replace(rows=second.rows + self.labelled.recipe.batch)
        if first.labels.ndim > 1:
            most = max(first.labels.shape[1], second.labels.shape[1])
            first, second = (
                batch._replace(labels=F.pad(batch.labels, (0, most - batch.labels.shape[1]), value=-1))
                for batch in (first, second)
            )
        return Batch(*(torch.cat(parts) for parts in zip(first, second, strict=True)))

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class ValidationBatches:
    """Every image of a task once, cropped at the centre: this process's batches. An iterable for Lightning.

    Whole batches are dealt to the processes, and the last one is short: so every image counts once, whatever the
    number of processes.
    """

    images: TaskImages | ResidentImages
    crop: int
    rank: int = 0
    world: int = 1

    @property
    def size(self) -> int:
        """Images per batch: fewer than usual where the last process would otherwise get none."""
        return min(VALIDATION_BATCH, max(1, len(self.images.labels) // self.world))

    def starts(self) -> range:
        """Places of the first image of each of this process's batches."""
        return range(self.rank * self.size, len(self.images.labels), self.world * self.size)

    def __len__(self) -> int:
        return len(self.starts())

    def __getitem__(self, index: int) -> Batch:
        start = self.starts()[index]
        places = np.arange(start, min(start + self.size, len(self.images.labels)))
        offset = np.full(len(places), (self.images.size - self.crop) // 2)
        return Batch(
            self.images.windows(places, offset, offset, self.crop),
            torch.from_numpy(self.images.labels[places]),
            torch.from_numpy(places),
            torch.from_numpy(offset),
            torch.from_numpy(offset),
            torch.zeros(len(places), dtype=torch.bool),
            torch.empty(len(places), 0),
        )

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


# ---------------------------------------------------------------------------------------------- mean image


def mean_image(task: Task, shrink: int, path: Path) -> np.ndarray:
    """(S, S, 3) float32: the mean of the task's training images, 0..255 (paper: the data set's mean image).

    Computed once, from exact integer sums, and stored under `path` with the checksum of the packed set; computed again
    where another packed set has taken the place of the first, or where the file is damaged.
    """
    checksum = task.packed.checksum
    if path.is_file():
        try:
            with np.load(path) as stored:
                if stored["data"] == checksum:
                    return np.asarray(stored["mean"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # damaged
    images = task_images(task.training(), shrink)
    total = np.zeros(images.images.shape[1:], np.int64)
    for start in range(0, len(images.rows), BLOCK):
        total += images.images[images.rows[start : start + BLOCK]].sum(axis=0, dtype=np.int64)
    mean = (total / len(images.rows)).astype(np.float32)
    with write_atomically(path) as handle:
        np.savez(handle, mean=mean, data=np.array(checksum))
    return mean
