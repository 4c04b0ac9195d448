"""One stream of images: which pictures a step sees, where they are cropped, which are mirrored.

The stream is addressed: batch number `step` is a pure function of (owner of the stream, step), so it starts
anywhere, and each process takes its own rows of the global batch. Pictures stay uint8 up to the device.
"""

import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor

from transferability import available_cores
from transferability.data.packed import ImageSet, PackedImages
from transferability.draws import numpy_generator
from transferability.files import Refused, write_atomically
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
    """The images of one task: `rows` (n,) of `images` (N, S, S, 3) uint8, and their `labels` (n,) int64 from 0.

    `pinned`: crops are gathered into page-locked memory, for a GPU.
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

    def windows(self, places: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
        """(b, 3, crop, crop) uint8, channels last: one crop of each of the images at `places` (b,)."""
        rows = self.rows[places]
        if not self.pinned:
            return windows(self.images, rows, ys, xs, crop)
        # torch gives page-locked memory out again as soon as the copy out of it is done.
        out = torch.empty(len(rows), crop, crop, 3, dtype=torch.uint8, pin_memory=True)
        copy_windows(self.images, rows, ys, xs, out.numpy())
        return out.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ResidentImages:
    """The images of one task in a device's memory: `images` (n, S, S, 3) uint8, `labels` (n,) int64 on the host."""

    images: Tensor
    labels: np.ndarray

    @property
    def size(self) -> int:
        return int(self.images.shape[1])

    def windows(self, places: np.ndarray, ys: np.ndarray, xs: np.ndarray, crop: int) -> Tensor:
        """(b, 3, crop, crop) uint8, channels last, on the device: one crop of each of the images at `places` (b,)."""
        n, size, _, _ = self.images.shape
        picture, line, pixel, _ = self.images.stride()
        view = self.images.as_strided(
            (n, size - crop + 1, size - crop + 1, crop, crop, 3), (picture, line, pixel, line, pixel, 1)
        )
        where = (to_device(torch.from_numpy(index), self.images.device) for index in (places, ys, xs))
        return view[tuple(where)].permute(0, 3, 1, 2)


def resident(images: TaskImages, device: torch.device) -> ResidentImages:
    """`images` in the memory of `device`; a block at a time goes through the host's."""
    held = torch.empty(len(images.rows), images.size, images.size, 3, dtype=torch.uint8, device=device)
    for start in range(0, len(images.rows), 1024):
        held[start : start + 1024] = torch.from_numpy(images.images[images.rows[start : start + 1024]])
    return ResidentImages(held, images.labels)


def to_device(part: Tensor, device: torch.device) -> Tensor:
    """`part` on `device`. To a GPU from page-locked memory: then nobody waits for the copy."""
    if device.type != "cuda" or part.is_cuda:
        return part.to(device)
    return (part if part.is_pinned() else part.pin_memory()).to(device, non_blocking=True)


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


def copy_windows(images: np.ndarray, rows: np.ndarray, ys: np.ndarray, xs: np.ndarray, out: np.ndarray) -> None:
    """Writes the windows into `out` (b, crop, crop, 3). For large crops: nothing is allocated, twice as fast."""
    crop = out.shape[1]
    for place, (row, y, x) in enumerate(zip(rows.tolist(), ys.tolist(), xs.tolist(), strict=True)):
        out[place] = images[row, y : y + crop, x : x + crop]


@dataclass(frozen=True)
class TrainingBatches:
    """Batches `start` … `stop` - 1 of the stream `owner`: this process's rows of each. An iterable for Lightning.

    Batch s holds places s * batch … of the concatenation of the epochs' permutations, so every image is seen
    once an epoch, and no image is left out at an epoch's end.
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
        """Permutation (n,) of the task's images in an epoch. Several threads may ask."""
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
        total, crop = self.recipe.batch, self.recipe.crop
        draw = numpy_generator("crop", self.owner, step)
        # Drawn for the whole global batch, in every process: a row's crop does not depend on who takes it.
        ys, xs = draw.integers(0, self.images.size - crop + 1, (2, total))
        mirror = draw.random(total) < 0.5 if self.recipe.mirror else np.zeros(total, bool)
        share = total // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)
        places = self.places(step)[mine]
        return Batch(
            self.images.windows(places, ys[mine], xs[mine], crop),
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

    images: TaskImages | ResidentImages
    crop: int
    rank: int = 0
    world: int = 1

    @property
    def size(self) -> int:
        """Images of a batch: fewer where there would be none left for the last process."""
        return min(VALIDATION_BATCH, max(1, len(self.images.labels) // self.world))

    def starts(self) -> range:
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
        )

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Prefetched:
    """`batches` in the memory of `device`, each made by one of `threads` threads, up to `ahead` ahead of its use.

    On a GPU, copies and crops run in a stream of their own, beside the training step, which waits there for its
    batch; the host waits for nothing.
    """

    batches: TrainingBatches | ValidationBatches
    device: torch.device
    threads: int = 1
    ahead: int = 3

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        gpu = self.device.type == "cuda"
        beside: Any = torch.cuda.Stream(self.device) if gpu else None

        def make(index: int) -> tuple[Batch, Any]:
            with torch.cuda.stream(beside) if gpu else nullcontext():
                batch = Batch(*(to_device(part, self.device) for part in self.batches[index]))
                return batch, beside.record_event() if gpu else None

        def taken(made: Future[tuple[Batch, Any]]) -> Batch:
            batch, is_there = made.result()
            if gpu:
                using = torch.cuda.current_stream(self.device)
                using.wait_event(is_there)
                for part in batch:
                    part.record_stream(using)  # else its memory might be given out again while it is in use
            return batch

        waiting: deque[Future[tuple[Batch, Any]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for index in range(len(self.batches)):
                    waiting.append(pool.submit(make, index))
                    if len(waiting) > self.ahead:
                        yield taken(waiting.popleft())
                while waiting:
                    yield taken(waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)  # the reader may have left


def prefetch_threads(images: TaskImages | ResidentImages) -> int:
    """How many threads make batches of `images` for a GPU: several where a page may have to come from the disk."""
    return 1 if isinstance(images, ResidentImages) else max(1, min(4, available_cores() - 1))


class ImagesModule(L.LightningDataModule):
    """The training and validation images of one task of one split, for one fleet.

    `position()` gives (first step, end step) of the next stretch of training: up to the next validation.
    `most_validated`: so many validation images at most, for dry runs. `keep`: whether the pictures are held in the
    device's memory, "yes", "no", or "auto": on a GPU that has room for them beside `needed` bytes.
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
        keep: str = "no",
        needed: float = 0.0,
    ) -> None:
        super().__init__()
        classes = task_classes(packed.classes, split, task)
        self.training: TaskImages | ResidentImages = task_images(packed.train, classes, images_per_class, recipe.shrink)
        self.validation: TaskImages | ResidentImages = task_images(packed.val, classes, None, recipe.shrink)
        if self.training.size < recipe.crop:
            raise Refused(
                f"{packed.folder}: pictures of {self.training.size} pixels cannot be cropped to {recipe.crop}; "
                f"pack them with --size {recipe.crop * 8 // 7 * recipe.shrink} or so"
            )
        if most_validated is not None:
            few = self.validation
            self.validation = TaskImages(few.images, few.rows[:most_validated], few.labels[:most_validated])
        self.recipe, self.owner, self.position, self.keep, self.needed = recipe, owner, position, keep, needed

    def setup(self, stage: str) -> None:
        """Called by Lightning when the device is known."""
        training, validation = self.training, self.validation
        if isinstance(training, ResidentImages) or isinstance(validation, ResidentImages):
            return
        trainer = self.trainer
        assert trainer is not None
        device = trainer.strategy.root_device
        gpu = device.type == "cuda"
        size = training.bytes + validation.bytes
        room = torch.cuda.mem_get_info(device)[0] if gpu else 0
        if self.keep == "yes" or (self.keep == "auto" and size + self.needed <= room):
            if gpu and size > room:
                raise Refused(
                    f"--resident yes: the pictures take {size / 1e9:.0f} GB, and {room / 1e9:.0f} GB of the GPU's "
                    "memory are free; leave it out, and they are prefetched"
                )
            self.training, self.validation = resident(training, device), resident(validation, device)
        elif gpu:
            self.training, self.validation = replace(training, pinned=True), replace(validation, pinned=True)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches are made where they are used: Lightning has nothing to move."""
        return batch

    def _prefetched(self, batches: TrainingBatches | ValidationBatches) -> Any:
        trainer = self.trainer
        assert trainer is not None
        if (device := trainer.strategy.root_device).type != "cuda":
            return batches
        return Prefetched(batches, device, prefetch_threads(self.training))

    def train_dataloader(self) -> Any:
        """Batches up to the next validation; for a GPU, in its memory."""
        trainer = self.trainer
        assert trainer is not None
        start, stop = self.position()
        rank, world = trainer.global_rank, trainer.world_size
        return self._prefetched(TrainingBatches(self.training, self.recipe, self.owner, start, stop, rank, world))

    def val_dataloader(self) -> Any:
        trainer = self.trainer
        assert trainer is not None
        batches = ValidationBatches(self.validation, self.recipe.crop, trainer.global_rank, trainer.world_size)
        return self._prefetched(batches)


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
